package layout

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"unicode"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// decodeStrict reads one JSON value as no other reader can misread it: readers
// disagree about duplicate keys, keys in another case, invalid UTF-8 and what
// follows the value, and what is verified here is read by others later.
//
// The decoder is the one that Go's next encoding/json is made of. It refuses
// duplicate keys and invalid UTF-8 by itself, and is five times as fast as the
// present one, which matters where a bundle has a hundred thousand blobs.
func decodeStrict(b []byte, v any) error {
	if err := checkKeys(b); err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return Errorf(ClassJSON, "%w", err)
	}
	return nil
}

// checkKeys reads all tokens, and refuses keys that some readers take for one that
// has a meaning.
func checkKeys(b []byte) error {
	dec := jsontext.NewDecoder(bytes.NewBuffer(b))
	var levels [MaxJSONDepth + 1]level
	keys, items := 0, 0
	for values := 0; ; {
		tok, err := dec.ReadToken()
		switch {
		case err == io.EOF && values == 1:
			return nil
		case err == io.EOF:
			return Errorf(ClassJSON, "not JSON: %w", io.ErrUnexpectedEOF)
		case errors.Is(err, jsontext.ErrDuplicateName):
			return Errorf(ClassJSON, "key %q occurs twice", clip(dec.StackPointer().LastToken()))
		case err != nil && values == 1:
			return Errorf(ClassJSON, "data follows the JSON value")
		case err != nil:
			return Errorf(ClassJSON, "not JSON: %w", err)
		}
		depth := dec.StackDepth()
		if depth > MaxJSONDepth {
			return Errorf(ClassLimit, "JSON nests deeper than %d levels", MaxJSONDepth)
		}
		kind := tok.Kind()
		around := depth // of what the value stands in
		if kind == '{' || kind == '[' {
			around--
		}
		in, n := dec.StackIndex(around)
		switch {
		case kind == '}' || kind == ']':
		case in == '[':
			items++
		case in == '{' && n%2 == 1:
			keys++
		}
		if items > MaxListed {
			return Errorf(ClassLimit, "its lists have more than %d items", MaxListed)
		}
		if keys > MaxKeys {
			return Errorf(ClassLimit, "it has more than %d keys", MaxKeys)
		}
		switch {
		case kind == '{':
			// Below annotations keys are data, and case matters in them.
			levels[depth] = level{data: depth > 1 && levels[depth-1].annotations}
		case kind == '[':
			levels[depth] = level{}
		case kind == '"' && in == '{' && n%2 == 1: // a key and no value
			if err := levels[depth].key(tok.String()); err != nil {
				return err
			}
		}
		if depth == 0 {
			values++
		}
		if values > 1 {
			return Errorf(ClassJSON, "data follows the JSON value")
		}
	}
}

// level is an object that is being read.
type level struct {
	annotations bool // the value that comes next is that of the key annotations
	data        bool
	strange     map[string]string // the keys without a meaning, folded
}

func (l *level) key(key string) error {
	l.annotations = key == "annotations"
	if l.data || exactKeys[key] {
		return nil
	}
	folded := fold(key)
	if known := knownKeys[folded]; known != "" {
		return Errorf(ClassJSON, "key %q is ambiguous with %q", clip(key), known)
	}
	if l.strange[folded] != "" {
		return Errorf(ClassJSON, "key %q occurs twice", clip(key))
	}
	if l.strange == nil {
		l.strange = map[string]string{}
	}
	l.strange[folded] = key
	return nil
}

// fold is the folding of encoding/json, which also takes U+017F for an s.
func fold(key string) string {
	return strings.Map(func(r rune) rune {
		for {
			next := unicode.SimpleFold(r)
			if next <= r {
				return next
			}
			r = next
		}
	}, key)
}

// knownKeys are the keys that image-spec gives a meaning, folded:
// encoding/json takes "Layers" for "layers", other readers do not.
var knownKeys, exactKeys = func() (folded map[string]string, exact map[string]bool) {
	folded, exact = map[string]string{}, map[string]bool{}
	for _, k := range []string{
		"schemaVersion", "mediaType", "artifactType", "config", "layers", "blobs", "manifests",
		"subject", "annotations", "digest", "size", "urls", "data", "platform", "imageLayoutVersion",
		"os", "architecture", "variant", "os.version", "os.features", "features",
	} {
		folded[fold(k)] = k
		exact[k] = true
	}
	return folded, exact
}()
