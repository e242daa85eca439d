package trust

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/airdeck/airdeck/layout"
)

// placed is an error that says its line.
type placed struct {
	line int
	err  error
}

func (e *placed) Error() string { return fmt.Sprintf("line %d: %v", e.line, e.err) }
func (e *placed) Unwrap() error { return e.err }

// atLine says where in a policy an error is, unless it says so itself.
func atLine(line int, err error) error {
	var p *placed
	if err == nil || errors.As(err, &p) {
		return err
	}
	return &placed{line, err}
}

// document reads the one document of a policy. Nothing in it stands for something
// elsewhere in it: who reads a rule must see all of it.
//
// Errors: [layout.ClassPolicy] for none, [layout.ClassTrailing] for a second,
// [layout.ClassJSON] for no YAML and for an alias.
func document(b []byte) (*yaml.Node, error) {
	dec := yaml.NewDecoder(bytes.NewReader(b))
	var doc, next yaml.Node
	if err := dec.Decode(&doc); err == io.EOF {
		return nil, layout.Errorf(layout.ClassPolicy, "it is empty: give it rules or bundle")
	} else if err != nil {
		return nil, syntaxError(err)
	}
	if err := dec.Decode(&next); err == nil {
		return nil, atLine(next.Line, layout.Errorf(layout.ClassTrailing, "a second document begins: a policy is one"))
	} else if err != io.EOF {
		return nil, syntaxError(err)
	}
	return doc.Content[0], noAlias(&doc)
}

func syntaxError(err error) error {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	return layout.Errorf(layout.ClassJSON, "%s", strings.Join(strings.Fields(text), " "))
}

func noAlias(n *yaml.Node) error {
	if n.Kind == yaml.AliasNode {
		return atLine(n.Line, layout.Errorf(layout.ClassJSON, "%q is an alias: write out what it stands for", "*"+n.Value))
	}
	for _, c := range n.Content {
		if err := noAlias(c); err != nil {
			return err
		}
	}
	return nil
}

// eachKey calls f for the keys of a map, in order, each key once.
func eachKey(n *yaml.Node, what string, f func(key string, value *yaml.Node) error) error {
	if n.Kind != yaml.MappingNode {
		return atLine(n.Line, layout.Errorf(layout.ClassJSON, "%s must be a map: write its lines as key: value", what))
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		key, err := textOf(k, "a key")
		if err != nil {
			return err
		}
		if first, ok := seen[key]; ok {
			return atLine(k.Line, layout.Errorf(layout.ClassDuplicate, "key %q stands in line %d already: remove one", key, first))
		}
		seen[key] = k.Line
		if err := f(key, n.Content[i+1]); err != nil {
			return atLine(k.Line, err)
		}
	}
	return nil
}

// eachItem calls f for the items of a list, of which there must be some.
func eachItem(n *yaml.Node, what string, limit int, f func(*yaml.Node) error) error {
	if n.Kind != yaml.SequenceNode || len(n.Content) == 0 {
		return atLine(n.Line, layout.Errorf(layout.ClassJSON, "%s must be a list: begin each line with a dash", what))
	}
	if len(n.Content) > limit {
		return atLine(n.Line, layout.Errorf(layout.ClassLimit, "%s has %d items, over the limit of %d", what, len(n.Content), limit))
	}
	for _, item := range n.Content {
		if err := f(item); err != nil {
			return atLine(item.Line, err)
		}
	}
	return nil
}

// eachText is eachItem for a list of texts, which may be one text.
func eachText(n *yaml.Node, what string, limit int, f func(string) error) error {
	item := func(n *yaml.Node) error {
		s, err := textOf(n, "an item of "+what)
		if err != nil {
			return err
		}
		return atLine(n.Line, f(s))
	}
	if n.Kind == yaml.ScalarNode {
		return item(n)
	}
	return eachItem(n, what, limit, item)
}

// textOf gives a text. What YAML takes for something else, such as a number or
// nothing, is none.
func textOf(n *yaml.Node, what string) (string, error) {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!str" {
		return "", atLine(n.Line, layout.Errorf(layout.ClassJSON, "%s must be one text: put it in quotes", what))
	}
	if n.Value == "" {
		return "", atLine(n.Line, layout.Errorf(layout.ClassJSON, "%s is empty", what))
	}
	return n.Value, nil
}
