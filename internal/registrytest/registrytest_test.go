package registrytest

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/url"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// A secret is found in every form, wherever it stands, and another is not.
func TestFindSecret(t *testing.T) {
	const secret = "c4n4ry/s3cr3t+of ?~Ada"
	for before := range 7 {
		for after := range 4 {
			text := []byte(strings.Repeat("b", before) + secret + strings.Repeat("a", after))
			for form, in := range map[string]string{
				"plain":      string(text),
				"query":      url.QueryEscape(string(text)),
				"path":       url.PathEscape(string(text)),
				"hex":        hex.EncodeToString(text),
				"HEX":        strings.ToUpper(hex.EncodeToString(text)),
				"base64":     base64.StdEncoding.EncodeToString(text),
				"raw base64": base64.RawStdEncoding.EncodeToString(text),
				"base64 url": base64.URLEncoding.EncodeToString(text),
				"raw url":    base64.RawURLEncoding.EncodeToString(text),
				"percent":    percent(text),
			} {
				if FindSecret([]byte("x "+in+" y"), secret) == "" {
					t.Errorf("%s, after %d and before %d bytes: not found", form, before, after)
				}
				if found := FindSecret([]byte("x "+in+" y"), "another"+secret); found != "" {
					t.Errorf("%s: another secret was found, %s", form, found)
				}
			}
		}
	}
}

func percent(b []byte) string {
	var s strings.Builder
	for _, c := range b {
		fmt.Fprintf(&s, "%%%02x", c)
	}
	return s.String()
}

// An audit sees what is missing below a tag, however deep, and in its own repository.
func TestAudit(t *testing.T) {
	r := Start(Options{Mount: true})
	defer r.Close()
	blob := r.AddBlob("a", "text/plain", []byte("x"))
	child := r.AddManifest("a", ocispec.MediaTypeImageManifest, ocispec.Manifest{Config: blob, Layers: []ocispec.Descriptor{blob}})
	r.AddManifest("a", ocispec.MediaTypeImageIndex, ocispec.Index{Manifests: []ocispec.Descriptor{child}}, "v1")
	if err := r.Audit(); err != nil {
		t.Error(err)
	}
	r.AddManifest("b", ocispec.MediaTypeImageManifest, ocispec.Manifest{Config: blob})
	if err := r.Audit(); err != nil {
		t.Errorf("no tag names it: %v", err)
	}
	child = r.AddManifest("b", ocispec.MediaTypeImageManifest, ocispec.Manifest{Config: blob}, "below")
	r.AddManifest("b", ocispec.MediaTypeImageIndex, ocispec.Index{Manifests: []ocispec.Descriptor{child}}, "v1")
	for _, name := range []string{"b:below", "b:v1"} {
		if err := r.Audit(); err == nil || !strings.Contains(err.Error(), name+" is incomplete: "+blob.Digest.String()) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Every case has a name of its own, and faults.
func TestCases(t *testing.T) {
	r := Start(Options{})
	defer r.Close()
	e := StartElsewhere(r)
	defer e.Close()
	seen := map[string]bool{}
	for _, c := range Cases() {
		if c.Name == "" || seen[c.Name] || c.Want == "" || len(c.Faults(r, e)) == 0 {
			t.Errorf("case %+v", c)
		}
		seen[c.Name] = true
	}
	if len(seen) < 100 {
		t.Errorf("%d cases", len(seen))
	}
}
