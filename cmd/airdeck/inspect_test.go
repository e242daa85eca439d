package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"testing"
)

// What is written object by object has the bytes of one value.
func TestDocument(t *testing.T) {
	type manifest struct {
		inspectedManifest
		Blobs     []inspectedBlob `json:"blobs,omitempty"`
		Manifests []manifest      `json:"manifests,omitempty"`
		Referrers []manifest      `json:"referrers,omitempty"`
	}
	type bundle struct {
		Digest    string     `json:"digest"`
		Artifacts []manifest `json:"artifacts"`
		denial
	}
	of := func(kind string) inspectedManifest {
		return inspectedManifest{Kind: kind, Title: "<&>\u202e\x1b\u2028", Size: 1}
	}
	blob := inspectedBlob{MediaType: "a/b", SharedWith: []string{"one", "two"}, Shared: 2}
	value := bundle{"sha256:0", []manifest{
		{of("index"), nil, []manifest{
			{of("image"), []inspectedBlob{blob, {Config: true}}, nil, []manifest{{inspectedManifest: of("signature")}}},
			{inspectedManifest: of("image")},
		}, []manifest{{inspectedManifest: of("SBOM")}}},
		{inspectedManifest: of("deck")},
	}, denial{Error: "it is denied"}}

	var want, got bytes.Buffer
	enc := json.NewEncoder(escaper{&want})
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(value); err != nil {
		t.Fatal(err)
	}
	d := &document{out: bufio.NewWriter(&got)}
	var show func(list string, m *manifest)
	show = func(list string, m *manifest) {
		d.begin(list, &m.inspectedManifest)
		for i := range m.Blobs {
			d.blob(&m.Blobs[i])
		}
		for i := range m.Manifests {
			show(listManifests, &m.Manifests[i])
		}
		for i := range m.Referrers {
			show(listReferrers, &m.Referrers[i])
		}
		d.end()
	}
	d.object(struct {
		Digest string `json:"digest"`
	}{value.Digest})
	for i := range value.Artifacts {
		show(listArtifacts, &value.Artifacts[i])
	}
	d.fields(denial{}) // there may be none
	d.fields(value.denial)
	d.end()
	d.write("\n")
	d.out.Flush()
	if !bytes.Equal(got.Bytes(), want.Bytes()) {
		t.Errorf("got\n%s\nwant\n%s", got.Bytes(), want.Bytes())
	}
}
