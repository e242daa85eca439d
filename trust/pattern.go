package trust

import (
	"path"
	"strings"

	"github.com/airdeck/airdeck/layout"
)

// everything is the pattern for all artifacts, also those without a full name.
const everything = "**"

// pattern stands for repositories: components of a name, separated by slashes. A *
// stands for anything in a component, and ** at the end for one component or more.
type pattern string

// parsePattern refuses what can't be a pattern.
//
// Error: [layout.ClassPolicy].
func parsePattern(s string) (pattern, error) {
	if s == everything {
		return everything, nil
	}
	host, rest, _ := strings.Cut(s, "/")
	switch {
	case host == "" || rest == "":
		return "", layout.Errorf(layout.ClassPolicy, "%q is no pattern: write registry/repository, such as ghcr.io/acme/**, or ** for all", s)
	case strings.ContainsAny(rest, ":@"):
		return "", layout.Errorf(layout.ClassPolicy, "pattern %q: it stands for repositories: leave the tag or digest out", s)
	case strings.ContainsAny(s, "?[]\\{}! \t\n"):
		return "", layout.Errorf(layout.ClassPolicy, "pattern %q: only * and ** have a meaning, and no name has these characters", s)
	}
	parts := strings.Split(s, "/")
	for i, p := range parts {
		if p == "" || strings.Contains(p, "**") && (p != "**" || i < len(parts)-1) {
			return "", layout.Errorf(layout.ClassPolicy, "pattern %q: ** must be its last component, and none may be empty", s)
		}
	}
	return pattern(strings.ToLower(host) + "/" + rest), nil
}

// matches reports whether a pattern stands for an artifact by the name that it has
// in an index.json.
func (p pattern) matches(name string) bool {
	if p == everything {
		return true
	}
	ref, err := layout.ParseReference(name)
	if err != nil {
		return false
	}
	// Names of hosts have no case.
	have := strings.Split(strings.ToLower(ref.Registry)+"/"+ref.Repository, "/")
	want := strings.Split(string(p), "/")
	for i, w := range want {
		switch {
		case i >= len(have):
			return false
		case w == everything:
			return true
		}
		if ok, err := path.Match(w, have[i]); !ok || err != nil {
			return false
		}
	}
	return len(want) == len(have)
}
