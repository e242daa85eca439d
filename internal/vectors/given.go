package vectors

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Given is what the reader of a vector is given to judge signatures by.
type Given struct {
	Keys       []string // the files of public keys: one of them has to have signed the bundle
	Signatures []string // the files of signatures of the bundle that are not in it
	Policy     string   // the file of a policy
	// Files are the texts of these, and of those that the policy names.
	Files map[string]string
}

// None reports whether the reader is given nothing.
func (g *Given) None() bool { return len(g.Files) == 0 }

// Write writes the files into a folder.
func (g *Given) Write(dir string) error {
	for name, text := range g.Files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// set takes a key of the header that is one of its own.
func (g *Given) set(key, value string) (bool, error) {
	switch key {
	case "key":
		g.Keys = append(g.Keys, value)
	case "signature":
		g.Signatures = append(g.Signatures, value)
	case "policy":
		g.Policy = value
	case "file":
		name, quoted, _ := strings.Cut(value, " ")
		if _, ok := g.Files[name]; ok || name == "" || name != filepath.Base(name) {
			return true, fmt.Errorf("the file %q is there already, or its name is none", name)
		}
		var text string
		if err := json.Unmarshal([]byte(quoted), &text); err != nil {
			return true, fmt.Errorf("the file %s: %w", name, err)
		}
		g.Files[name] = text
	default:
		return false, nil
	}
	return true, nil
}

// named are the files that the header names.
func (g *Given) named() []string {
	names := slices.Concat(g.Keys, g.Signatures)
	if g.Policy != "" {
		names = append(names, g.Policy)
	}
	return names
}

// complete is nil if each file that is named is there.
func (g *Given) complete() error {
	for _, name := range g.named() {
		if _, ok := g.Files[name]; !ok {
			return fmt.Errorf("there is no file %q", name)
		}
	}
	return nil
}

// marshal gives the lines of the header.
func (g *Given) marshal(line func(key, value string)) error {
	for _, k := range g.Keys {
		line("key", k)
	}
	for _, s := range g.Signatures {
		line("signature", s)
	}
	line("policy", g.Policy)
	for _, name := range slices.Sorted(maps.Keys(g.Files)) {
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(g.Files[name]); err != nil {
			return err
		}
		line("file", name+" "+strings.TrimSpace(b.String()))
	}
	return nil
}
