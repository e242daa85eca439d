package bundle

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/airdeck/airdeck/internal/storagetest"
	"github.com/airdeck/airdeck/layout"
)

// smith has what forging takes time to make.
type smith struct {
	once           *zstd.Encoder    // tells sizes
	plain, checked *zstd.Encoder    // of streams
	readers        [2]*zstd.Decoder // with checksums and without
}

func newSmith(f *testing.F) *smith {
	f.Helper()
	s := &smith{once: newEncoder(f)}
	for i, e := range []**zstd.Encoder{&s.plain, &s.checked} {
		var err error
		if *e, err = zstd.NewWriter(nil, zstd.WithEncoderCRC(i == 1), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(64<<10)); err != nil {
			f.Fatal(err)
		}
	}
	for i := range s.readers {
		var err error
		s.readers[i], err = zstd.NewReader(nil, zstd.IgnoreChecksum(i == 1), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(MaxWindow))
		if err != nil {
			f.Fatal(err)
		}
	}
	return s
}

// stream is a frame that does not tell its size.
func (s *smith) stream(enc *zstd.Encoder, plain []byte) []byte {
	var out bytes.Buffer
	enc.Reset(&out)
	half := len(plain) / 2
	_, _ = enc.Write(plain[:half])
	_ = enc.Flush()
	_, _ = enc.Write(plain[half:])
	_ = enc.Close()
	return out.Bytes()
}

// forge makes a file of zstd frames of every kind as the dice have it, and a seek
// table that may lie.
func (s *smith) forge(d *storagetest.Dice) []byte {
	le := binary.LittleEndian
	var b []byte
	var table []seekEntry
	for range d.N(6) {
		plain := sizedBlob(d, d.N(256)*storagetest.Pick(d, 0, 1, 3, 700))
		var fr []byte
		switch d.N(6) {
		case 0:
			fr = s.once.EncodeAll(plain, nil)
		case 1:
			fr = s.stream(storagetest.Pick(d, s.plain, s.checked), plain)
		case 2:
			fr = appendRawFrame(nil, plain)
		case 3: // raw and repeated blocks of any size, without a checksum
			header := storagetest.Pick(d, []byte{0b10_1_00000}, []byte{0b10_1_00000}, []byte{0b10_0_00000, 0}, []byte{0b10_1_00001, 7}) // a window of 1 KiB, a dictionary
			told := len(plain)
			if d.Once(6) {
				told = 0
			}
			fr = append(le.AppendUint32(append(slices.Clone(zstdMagic), header...), uint32(told)), blocksOf(d, plain)...)
		case 4: // skippable
			fr = append(le.AppendUint32(le.AppendUint32(nil, 0x184D2A50+uint32(d.N(16))), uint32(len(plain))), plain...)
		case 5:
			fr = d.Bytes(d.N(40))
		}
		b = append(b, fr...)
		if len(plain) > 0 {
			table = append(table, seekEntry{uint32(len(fr)), uint32(len(plain)), 0})
		}
	}
	for range d.N(4) {
		if len(b) > 0 {
			b[(d.N(256)<<8+d.N(256))%len(b)] ^= byte(1 << d.N(8))
		}
	}
	if len(table) > 0 && d.Once(2) {
		for range d.N(3) {
			e := &table[d.N(len(table))]
			e.csize += uint32(d.N(5) - 2)
			e.size += uint32(d.N(5) - 2)
		}
		if i := d.N(len(table)); i > 0 && d.Once(2) { // one that hides what follows it
			table[i-1].csize += table[i].csize
			table = slices.Delete(table, i, i+1)
		}
		b = appendSeekTable(b, table)
	}
	return b
}

// blocksOf cuts content into raw blocks, and repeats the first byte of some.
func blocksOf(d *storagetest.Dice, plain []byte) (b []byte) {
	for {
		n := min(len(plain), d.N(256)*storagetest.Pick(d, 1, 100))
		if !d.More() {
			n = min(len(plain), maxRawBlock)
		}
		v := uint32(n) << 3
		if n == len(plain) {
			v |= 1
		}
		content := plain[:n]
		if n > 0 && d.Once(5) {
			v, content = v|2, plain[:1]
		}
		b = append(append(b, byte(v), byte(v>>8), byte(v>>16)), content...)
		if plain = plain[n:]; v&1 != 0 {
			return b
		}
	}
}

// inOneStream decodes a file by a decoder that knows nothing of frames.
func inOneStream(r *zstd.Decoder, b []byte) ([]byte, error) {
	const most = 16 << 20
	// Without Len it is read as a pipe is.
	if err := r.Reset(io.MultiReader(bytes.NewReader(b))); err != nil {
		return nil, err
	}
	out, err := io.ReadAll(io.LimitReader(r, most+1))
	if len(out) > most {
		return nil, fmt.Errorf("more than %d bytes", most)
	}
	return out, err
}

// readFrames reads all frames, by pieces of n bytes.
func readFrames(b []byte, frames []frame, n int64, verify bool) ([]byte, error) {
	c, err := newFramed(bytes.NewReader(b), frames)
	if err != nil {
		return nil, err
	}
	var out []byte
	var buf chunkBuffer
	for int64(len(out)) < c.size() {
		part, err := c.chunk(int64(len(out)), n, &buf, verify)
		if err != nil {
			return out, err
		}
		out = append(out, part...)
	}
	return out, nil
}

// FuzzFrames holds the seek table, the scan of frames and the reading of raw blocks
// where they lie against a decoder that reads from the beginning to the end.
func FuzzFrames(f *testing.F) {
	for seed := range byte(48) {
		f.Add(storagetest.Random(seed, 200), uint16(seed)*37)
	}
	smith := newSmith(f)
	f.Fuzz(func(t *testing.T, script []byte, piece uint16) {
		b := smith.forge(storagetest.NewDice(script))
		want, wantErr := inOneStream(smith.readers[0], b)
		lax, laxErr := inOneStream(smith.readers[1], b)
		check := func(how string, frames []frame) {
			n := int64(piece) + 1
			got, err := readFrames(b, frames, n, true)
			if err == nil && wantErr == nil && !bytes.Equal(got, want) {
				t.Fatalf("%s: %d bytes, want %d", how, len(got), len(want))
			}
			if wantErr == nil && err != nil && how == "scanned" {
				t.Fatalf("scanned: %v", err)
			}
			// What one reader takes and another does not, may be another archive to that.
			if wantErr != nil && err == nil {
				t.Fatalf("%s: it is read, and in one stream: %v", how, wantErr)
			}
			got, err = readFrames(b, frames, n, false)
			if err == nil && laxErr == nil && !bytes.Equal(got, lax) {
				t.Fatalf("%s, without checksums: %d bytes, want %d", how, len(got), len(lax))
			}
			if wantErr == nil && err != nil && how == "scanned" {
				t.Fatalf("scanned, without checksums: %v", err)
			}
		}
		size := int64(len(b))
		scanned, known, err := scanFrames(bytes.NewReader(b), size)
		if err == nil {
			if wantErr == nil && known != int64(len(want)) {
				t.Fatalf("%d bytes are known of %d", known, len(want))
			}
			check("scanned", scanned)
			var table []seekEntry
			for _, fr := range scanned {
				table = append(table, seekEntry{fr.csize, fr.size, 0})
			}
			// What no encoder makes, blocks of a few bytes in plenty, is read from a file
			// without a table and refused in one that has it.
			whole, over := len(scanned) > 0 && scanned[0].at == 0, false
			for i, fr := range scanned {
				whole = whole && (i == 0 || scanned[i-1].at+int64(scanned[i-1].csize) == fr.at)
				over = over || int64(fr.csize) > compressBound(int64(fr.size))
			}
			if whole {
				last := scanned[len(scanned)-1]
				again := appendSeekTable(slices.Clone(b[:last.at+int64(last.csize)]), table)
				read, ok, err := readSeekTable(bytes.NewReader(again), int64(len(again)))
				switch {
				case over && layout.ClassOf(err) != layout.ClassLimit:
					t.Fatalf("a table of %v, with a frame that has grown too much: %v", scanned, err)
				case !over && (err != nil || !ok || !slices.Equal(read, scanned)):
					t.Fatalf("a table of %v is read as %v, %v, %v", scanned, read, ok, err)
				}
			}
		}
		if table, ok, err := readSeekTable(bytes.NewReader(b), size); err == nil && ok {
			check("by the table", table)
		}
	})
}
