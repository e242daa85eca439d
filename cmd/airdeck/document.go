package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/airdeck/airdeck/trust"
)

// writeJSON writes the result of inspect, as [ui.result] would if it were one value.
func (o *outline) writeJSON(ctx context.Context, w io.Writer, signatures *checker) error {
	out := bufio.NewWriterSize(w, 64<<10) // it keeps the first error
	d := &document{out: out}
	d.object(struct {
		Digest digest.Digest `json:"digest"`
	}{o.r.Digest()})
	if len(o.entries) == 0 {
		d.fields(struct {
			Artifacts []string `json:"artifacts"`
		}{[]string{}})
	}
	if err := o.show(ctx, d); err != nil {
		return err
	}
	d.fields(struct {
		SharingIncomplete bool                   `json:"sharingIncomplete,omitempty"` // sharedWith does not tell all
		Signatures        []trust.IndexSignature `json:"signatures,omitempty"`        // of the bundle
	}{o.incomplete, signatures.found})
	for _, a := range signatures.artifacts { // those that artifacts carry
		d.item("artifactSignatures", a)
		d.end()
	}
	d.fields(signatures.denial)
	d.end()
	_, _ = out.WriteString("\n")
	return out.Flush()
}

// document writes JSON of which no more than one object is in memory: each is an item of
// a list of the one before it that has not ended. The bytes are those of package json.
type document struct {
	out  *bufio.Writer
	open []string // the list that each open object is at, or ""
}

func (d *document) begin(list string, m *inspectedManifest) { d.item(list, m) }

func (d *document) blob(b *inspectedBlob) {
	d.item(listBlobs, b)
	d.end()
}

// item begins an object of a list. The lists of an object must come one after the other.
func (d *document) item(list string, v any) {
	if at := &d.open[len(d.open)-1]; *at == list {
		d.write(",\n")
	} else {
		d.endList()
		*at = list
		d.write(",\n" + d.indent() + `  "` + list + "\": [\n")
	}
	d.write(d.indent() + "    ")
	d.object(v)
}

func (d *document) object(v any) {
	d.open = append(d.open, "")
	d.write("{" + d.encode(v))
}

// fields adds to the object that is open. They may be none.
func (d *document) fields(v any) {
	d.endList()
	if text := d.encode(v); text != "" {
		d.write("," + text)
	}
}

func (d *document) end() {
	d.endList()
	d.write("\n" + d.indent() + "}")
	d.open = d.open[:len(d.open)-1]
}

func (d *document) endList() {
	if at := &d.open[len(d.open)-1]; *at != "" {
		*at = ""
		d.write("\n" + d.indent() + "  ]")
	}
}

// encode gives the fields of a value, each on its line.
func (d *document) encode(v any) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent(d.indent(), "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(err) // the types are ours, and can be encoded
	}
	text := strings.TrimSpace(b.String())
	return strings.TrimSuffix(text[1:len(text)-1], "\n"+d.indent())
}

// indent is that of the object that is open: each lies in a list of another.
func (d *document) indent() string { return strings.Repeat("    ", len(d.open)-1) }

func (d *document) write(text string) { _, _ = escaper{d.out}.Write([]byte(text)) }
