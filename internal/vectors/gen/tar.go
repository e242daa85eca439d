package main

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// block is the unit of a tar archive.
const block = 512

// member is one member of an archive, written as it is told and not as it should be.
type member struct {
	name string
	kind byte   // '0' where it is 0
	link string // what a link leads to
	body string
	size string // the field, where it is not the size of the body
	// edit changes the header before its checksum is made, and after after that.
	edit, after func(h []byte)
	pad         string // what stands in the padding, where it is not zeros
}

func file(name, body string) member { return member{name: name, body: body} }

// The fields of a header and where they begin (POSIX.1-1988).
const (
	fieldMode     = 100
	fieldUID      = 108
	fieldSize     = 124
	fieldTime     = 136
	fieldChecksum = 148
	fieldKind     = 156
	fieldLink     = 157
	fieldMagic    = 257
	fieldOwner    = 265
	fieldDevice   = 329
	fieldPrefix   = 345
)

func (m member) header() []byte {
	h := make([]byte, block)
	copy(h[:100], m.name)
	copy(h[fieldMode:], "0000644\x000000000\x000000000\x00")
	if m.size == "" {
		m.size = octal(int64(len(m.body)))
	}
	copy(h[fieldSize:fieldTime], m.size)
	copy(h[fieldTime:], "00000000000\x00")
	if h[fieldKind] = m.kind; m.kind == 0 {
		h[fieldKind] = '0'
	}
	copy(h[fieldLink:fieldMagic], m.link)
	copy(h[fieldMagic:], "ustar\x0000")
	copy(h[fieldDevice:], "0000000\x000000000\x00")
	if m.edit != nil {
		m.edit(h)
	}
	copy(h[fieldChecksum:], "        ")
	sum := 0
	for _, c := range h {
		sum += int(c)
	}
	copy(h[fieldChecksum:], fmt.Sprintf("%06o\x00 ", sum))
	if m.after != nil {
		m.after(h)
	}
	return h
}

func (m member) bytes() []byte {
	b := append(m.header(), m.body...)
	pad := make([]byte, -len(m.body)&(block-1))
	copy(pad, m.pad)
	return append(b, pad...)
}

// octal is a size as the field has it.
func octal(n int64) string { return fmt.Sprintf("%011o\x00", n) }

// base256 is a size in GNU's form: a mark, and the number in big endian.
func base256(n int64) string {
	b := make([]byte, 12)
	for i := range b {
		b[i] = byte(n >> 63) // the sign
	}
	binary.BigEndian.PutUint64(b[4:], uint64(n))
	b[0] |= 0x80
	return string(b)
}

// put gives an edit that writes a field.
func put(at int, text string) func([]byte) {
	return func(h []byte) { copy(h[at:], text) }
}

// both makes one edit of several.
func both(edits ...func([]byte)) func([]byte) {
	return func(h []byte) {
		for _, e := range edits {
			e(h)
		}
	}
}

// extended is an extended header of PAX with records as they are told.
func extended(kind byte, records ...string) member {
	return member{name: "PaxHeaders/x", kind: kind, body: strings.Join(records, "")}
}

// record is "LENGTH KEY=VALUE\n", whose length counts itself.
func record(key, value string) string {
	rest := " " + key + "=" + value + "\n"
	n := len(rest)
	for d := 0; d != len(fmt.Sprint(n)); n = len(rest) + d {
		d = len(fmt.Sprint(n))
	}
	return fmt.Sprint(n) + rest
}

// end is what ends an archive.
var end = make([]byte, 2*block)

// tarOf is an archive without its end.
func tarOf(ms ...member) []byte {
	var b []byte
	for _, m := range ms {
		b = append(b, m.bytes()...)
	}
	return b
}

// archive is a whole archive.
func archive(ms ...member) []byte { return append(tarOf(ms...), end...) }
