package layout_test

import (
	"bytes"
	"encoding/json"
	"testing"
)

// exactDigests lists what a reader sees in a manifest that takes no key for
// another: maps mind case where structs of encoding/json do not.
func exactDigests(t *testing.T, b []byte) (digests []any) {
	t.Helper()
	var m map[string]any
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	if err := dec.Decode(&m); err != nil {
		t.Fatal(err)
	}
	add := func(v any) {
		var dg any
		if d, ok := v.(map[string]any); ok {
			dg = d["digest"]
		}
		digests = append(digests, dg)
	}
	if m["config"] != nil {
		add(m["config"])
	}
	for _, key := range []string{"layers", "blobs", "manifests"} {
		list, _ := m[key].([]any)
		for _, v := range list {
			add(v)
		}
	}
	return digests
}
