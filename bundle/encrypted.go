package bundle

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	"filippo.io/age"

	"github.com/airdeck/airdeck/internal/disk"
	"github.com/airdeck/airdeck/layout"
)

// ageMagic is how every age file begins, whatever its version.
var ageMagic = []byte("age-encryption.org/")

// The payload of an age file: a nonce, and then chunks that are encrypted each for
// itself (https://age-encryption.org/v1, "Payload").
const (
	ageNonce = 16
	ageChunk = 64 << 10 // of content
	ageTag   = 16       // at the end of each chunk
)

// decrypted is what is in an age file, for reading at random. Only what is asked for is
// decrypted, in memory. Its errors have a class.
type decrypted struct {
	r       io.ReaderAt
	size    int64
	payload int64 // where the first chunk begins in the file
}

// decrypt opens an age file.
//
// Errors: [layout.ErrEncrypted] where no identity decrypts it, and a class for what is
// wrong with it.
func decrypt(f io.ReaderAt, size int64, identities []age.Identity) (*decrypted, error) {
	in := &inputAt{f}
	header, err := age.ExtractHeader(io.NewSectionReader(in, 0, size))
	if err != nil {
		return nil, headerError(err)
	}
	if len(identities) == 0 {
		return nil, errNoIdentity
	}
	key, err := age.DecryptHeader(header, identities...)
	if err != nil {
		return nil, headerError(err)
	}
	d := &decrypted{payload: int64(len(header)) + ageNonce}
	d.r, d.size, err = age.DecryptReaderAt(in, size, age.NewInjectedFileKeyIdentity(key))
	if err == nil || isClassed(err) {
		return d, err
	}
	// The size says how many chunks there are, and only the last can end the file.
	return nil, errEnd(size)
}

func (d *decrypted) ReadAt(p []byte, off int64) (int, error) {
	n, err := d.r.ReadAt(p, off)
	if err == nil || err == io.EOF || isClassed(err) {
		return n, err
	}
	return n, errChunk(d.place((off + int64(n)) / ageChunk * ageChunk))
}

// place gives where something of the content lies in the file. In a chunk, every byte
// has its place.
func (d *decrypted) place(off int64) int64 { return d.payload + off + off/ageChunk*ageTag }

// placed is a container in an encrypted file.
type placed struct {
	container
	file *decrypted
}

// span is that of whole chunks: what is changed in one is lost with all of it.
func (p placed) span(off, n int64) (from, to int64) {
	from, to = p.container.span(off, n)
	first, behind := from/ageChunk, (max(to, from+1)-1)/ageChunk+1
	return p.file.place(first * ageChunk), p.file.payload + min(behind*ageChunk, p.file.size) + behind*ageTag
}

// decryptStream gives what is in an age file that is read in sequence, or what r gives
// if that is none. It has the errors of decrypt, and they end the reading.
func decryptStream(r io.Reader, identities []age.Identity) (io.Reader, error) {
	br := bufio.NewReaderSize(r, 256<<10)
	head, err := br.Peek(len(ageMagic))
	if err != nil && err != io.EOF {
		return nil, mediumError(err)
	}
	if !bytes.HasPrefix(head, ageMagic) {
		return br, nil
	}
	if len(identities) == 0 {
		return nil, errNoIdentity
	}
	src := &input{r: br}
	plain, err := age.Decrypt(src, identities...)
	if err != nil {
		return nil, headerError(err)
	}
	return &decryptedStream{r: plain, src: src}, nil
}

type decryptedStream struct {
	r   io.Reader
	src *input
}

func (d *decryptedStream) Read(p []byte) (int, error) {
	n, err := d.r.Read(p)
	switch {
	case err == nil || err == io.EOF || isClassed(err):
		return n, err
	case d.src.ended:
		return n, errEnd(d.src.n)
	}
	return n, errChunk(d.src.n - ageChunk - ageTag)
}

// errEnd is the error for a file whose last chunk does not decrypt as the last one: that
// it is cut can't be told from other damage.
func errEnd(size int64) error {
	return layout.Errorf(layout.ClassTruncated, "the encrypted file does not end as it should, at offset %d: the copy is not complete, or its end is damaged", size)
}

func errChunk(off int64) error {
	return layout.Errorf(layout.ClassArchive, "the encrypted chunk at offset %d of the file is damaged", off)
}

var errNoIdentity = fmt.Errorf("%w, and no identity was given", layout.ErrEncrypted)

// headerError is what an error of age's about a header means. Those of the medium and
// of identities have a class.
func headerError(err error) error {
	var other *age.NoIdentityMatchError
	switch {
	case errors.As(err, &other) && slices.Contains(other.StanzaTypes, "scrypt"):
		return fmt.Errorf("%w: the passphrase is wrong, or the file's header is damaged", layout.ErrEncrypted)
	case errors.As(err, &other):
		return fmt.Errorf("%w: no identity that was given fits: it is for others, or its header is damaged", layout.ErrEncrypted)
	case isClassed(err):
		return err
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return layout.Errorf(layout.ClassTruncated, "the encrypted file ends in its header: the copy is not complete")
	}
	return layout.Errorf(layout.ClassArchive, "the header of the encrypted file is damaged: %w", err)
}

func isClassed(err error) bool {
	var classed *layout.Error
	return errors.As(err, &classed)
}

// input tells errors of what is read from those of who decrypts it, and where it is.
type input struct {
	r     io.Reader
	n     int64
	ended bool
}

func (m *input) Read(p []byte) (int, error) {
	n, err := m.r.Read(p)
	m.n += int64(n)
	m.ended = m.ended || err == io.EOF
	return n, local(err)
}

type inputAt struct{ io.ReaderAt }

func (m *inputAt) ReadAt(p []byte, off int64) (int, error) {
	n, err := m.ReaderAt.ReadAt(p, off)
	return n, local(err)
}

func local(err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return mediumError(err)
}

// passphrase is the identity of who knows one.
type passphrase struct{ ask func() (string, error) }

// Passphrase gives the identity for files that are encrypted with a passphrase. It is
// asked for when such a file comes, and not before. An error of ask is the error of
// whoever reads the file.
func Passphrase(ask func() (string, error)) age.Identity { return &passphrase{ask} }

// Unwrap implements [age.Identity].
func (p *passphrase) Unwrap(stanzas []*age.Stanza) ([]byte, error) {
	if len(stanzas) != 1 || stanzas[0].Type != "scrypt" {
		return nil, age.ErrIncorrectIdentity
	}
	// Who wrote the file chose what it costs to try.
	if args := stanzas[0].Args; len(args) == 2 {
		if n, err := strconv.Atoi(args[1]); err == nil && n > MaxWorkFactor {
			return nil, layout.Errorf(layout.ClassLimit, "the file asks for 2^%d rounds of scrypt to try a passphrase, over the limit of 2^%d", n, MaxWorkFactor)
		}
	}
	text, err := p.ask()
	if err != nil {
		return nil, layout.Errorf(layout.ClassLocal, "%w", err)
	}
	id, err := age.NewScryptIdentity(text)
	if err != nil {
		return nil, layout.Errorf(layout.ClassLocal, "%w", err)
	}
	return id.Unwrap(stanzas)
}

// encrypt gives a writer of an age file, which closing completes.
func encrypt(w io.Writer, recipients []age.Recipient) (io.WriteCloser, error) {
	if len(recipients) > MaxRecipients {
		return nil, layout.Errorf(layout.ClassLimit, "%d recipients, over the limit of %d", len(recipients), MaxRecipients)
	}
	enc, err := age.Encrypt(w, recipients...)
	if err != nil {
		return nil, fmt.Errorf("encrypt: %w", err)
	}
	return enc, nil
}

// encryptedSize is no less than what n bytes take when they are encrypted.
func encryptedSize(n int64, recipients int) int64 {
	const header, recipient = 256, 4 << 10 // an RSA key of 16384 bits takes 3 KiB
	return n + (n/ageChunk+1)*ageTag + header + int64(recipients)*recipient
}

// scratch is a temporary file that is written and then read. For what was encrypted it is
// encrypted again, with a key that is nowhere but in memory.
type scratch struct {
	io.Writer
	file   disk.File
	key    *age.X25519Identity // nil: nothing is encrypted
	sealed io.WriteCloser
	n      counter // of the file
}

func newScratch(file disk.File, encrypted bool) (s *scratch, err error) {
	s = &scratch{Writer: file, file: file, n: counter{w: file}}
	if !encrypted {
		return s, nil
	}
	if s.key, err = age.GenerateX25519Identity(); err != nil {
		return nil, err
	}
	s.sealed, err = age.Encrypt(&s.n, s.key.Recipient())
	s.Writer = s.sealed
	return s, err
}

// Close ends the writing. The file stays open.
func (s *scratch) Close() error {
	if s.key == nil {
		return nil
	}
	return s.sealed.Close()
}

// content is what was written, when that has ended.
func (s *scratch) content() (io.ReaderAt, error) {
	if s.key == nil {
		return s.file, nil
	}
	r, _, err := age.DecryptReaderAt(s.file, s.n.n, s.key)
	return r, err
}
