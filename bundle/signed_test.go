package bundle

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/airdeck/airdeck/internal/storagetest"
	"github.com/airdeck/airdeck/layout"
)

const signatures = `{"what":"a signature"}` + "\n"

// writeSigned gives a bundle with signatures.
func writeSigned(t *testing.T, c *storagetest.Content, comp Compression) []byte {
	t.Helper()
	p, err := Prepare(t.Context(), c, c.Index)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Attach([]byte(signatures)); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := p.Write(t.Context(), &b, &WriteOptions{Compression: comp}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Whoever decides by the signatures is asked before any blob is read, and nothing is
// read after a refusal.
func TestTrustIsAskedFirst(t *testing.T) {
	c := storagetest.Small()
	refused := layout.Errorf(layout.ClassSignature, "not by us")
	for name, comp := range compressions {
		b := writeSigned(t, c, comp)
		file := filepath.Join(t.TempDir(), "talks")
		if err := os.WriteFile(file, b, 0o644); err != nil {
			t.Fatal(err)
		}
		for _, answer := range []error{nil, refused} {
			asked := 0
			trust := func(index, sigs []byte) error {
				asked++
				if string(sigs) != signatures || !bytes.Contains(index, []byte("small:v1")) {
					t.Errorf("%s: asked with %q", name, sigs)
				}
				return answer
			}
			r, err := OpenFile(t.Context(), file, &FileOptions{Trust: trust})
			if (err == nil) != (answer == nil) || err != nil && (!errors.Is(err, refused) || !errors.Is(err, layout.ErrUntrusted)) {
				t.Errorf("%s: %v", name, err)
			}
			if err == nil {
				if _, _, err := r.Verify(t.Context(), nil); err != nil || string(r.Signatures()) != signatures {
					t.Errorf("%s: %q, %v", name, r.Signatures(), err)
				}
				r.Close()
			}
			if asked != 1 {
				t.Errorf("%s: asked %d times", name, asked)
			}
			if _, err := verifyStream(b, &VerifyOptions{Trust: trust}); !errors.Is(err, answer) || asked != 2 {
				t.Errorf("%s, from a pipe: asked %d times, %v", name, asked, err)
			}
		}
	}
	// The blobs are damaged: that is never found out.
	b := writeSigned(t, c, None)
	b[bytes.Index(b, []byte("first slide"))] ^= 1
	if _, err := verifyStream(b, &VerifyOptions{Trust: func(_, _ []byte) error { return refused }}); !errors.Is(err, refused) {
		t.Errorf("%v", err)
	}
}

func TestSignaturesChangeNothingElse(t *testing.T) {
	c := storagetest.Small()
	signed, plain := writeSigned(t, c, None), writeContent(t, c, None)
	ms := members(t, signed)
	if ms[2].name != "index.sigstore.json" || ms[2].content != signatures {
		t.Fatalf("the third member is %q", ms[2].name)
	}
	if got := slices.Delete(ms, 2, 3); !slices.EqualFunc(got, members(t, plain), func(a, b memberOf) bool { return a.name == b.name && a.content == b.content }) {
		t.Error("the other members differ")
	}
	v, rep, err := verifyBytes(signed, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, want, err := verifyBytes(plain, nil)
	if err != nil || rep.Digest != want.Digest {
		t.Errorf("%s is not %s: %v", rep.Digest, want.Digest, err)
	}
	// Unpacked, it is signed as well.
	dir := filepath.Join(t.TempDir(), "unpacked")
	if err := v.Unpack(t.Context(), dir, nil); err != nil {
		t.Fatal(err)
	}
	r, err := OpenLayout(t.Context(), dir)
	if err != nil || string(r.Signatures()) != signatures {
		t.Errorf("%q, %v", r.Signatures(), err)
	}
	r.Close()
}

// A reader is as strict with this member as with others.
func TestSignatureMember(t *testing.T) {
	c := storagetest.Small()
	ms := members(t, writeSigned(t, c, None))
	for name, tt := range map[string]struct {
		members []memberOf
		class   layout.Class
	}{
		"at the end": {append(slices.Delete(slices.Clone(ms), 2, 3), ms[2]), ""},
		"twice":      {append(slices.Clone(ms), ms[2]), layout.ClassDuplicate},
		"too large":  {append(slices.Delete(slices.Clone(ms), 2, 3), memberOf{name: ms[2].name, content: string(make([]byte, MaxSignatures+1))}), layout.ClassLimit},
	} {
		b := pack(t, tt.members...)
		for how, v := range everyWay(t, b) {
			if err := v(); (err == nil) != (tt.class == "") || err != nil && layout.ClassOf(err) != tt.class {
				t.Errorf("%s, %s: %v", name, how, err)
			}
		}
	}
}

// Signed or not, what airdeck writes has its place by the rule, so that opening it reads
// no header behind the manifests.
func TestBundlesAreOpenedByTheRule(t *testing.T) {
	c := storagetest.Small()
	for name, b := range map[string][]byte{"plain": writeContent(t, c, Zstd), "signed": writeSigned(t, c, Zstd)} {
		r, err := openBytes(b)
		if err != nil {
			t.Fatal(err)
		}
		if !r.content.(*tarArchive).canonical {
			t.Errorf("%s: all headers were read", name)
		}
	}
}
