package bundle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"filippo.io/age"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/airdeck/airdeck/internal/disk"
	"github.com/airdeck/airdeck/layout"
)

// readingRuns change nothing that stays.
func readingRuns(t *testing.T) map[string]diskRun {
	_, later := decks()
	key := newKey(t)
	file := func(b []byte) func(*testing.T, string) {
		return func(t *testing.T, name string) {
			if err := os.WriteFile(name, b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	directory := verifyRun(func(t *testing.T, name string) { storeContent(t, name, later) })
	directory.kept = func(dir string) error { return holds(filepath.Join(dir, "talks"), later) }
	return map[string]diskRun{
		"verify a directory":               directory,
		"verify what is spooled":           verifyRun(file(writeContent(t, later, Gzip))),
		"verify what is spooled encrypted": verifyRun(file(sealed(t, later, Gzip, key)), key),
	}
}

// verifyRun reads something in all ways that write no result.
func verifyRun(bring func(t *testing.T, name string), keys ...age.Identity) diskRun {
	return diskRun{
		before: func(t *testing.T, dir string) { bring(t, filepath.Join(dir, "talks")) },
		do: func(system disk.System, dir string) error {
			ctx := context.Background()
			r, err := OpenFile(ctx, filepath.Join(dir, "talks"), &FileOptions{TempDir: dir, System: system, Identities: keys})
			if err != nil {
				return err
			}
			for _, e := range r.Index().Manifests {
				err = errors.Join(err, r.Walk(ctx, e, func(layout.Node) error { return nil }, nil))
			}
			v, _, verr := r.Verify(ctx, &VerifyOptions{Jobs: 1})
			if err = errors.Join(err, verr); err == nil {
				err = layout.Copy(ctx, nowhere{}, v, v.Index().Manifests, nil)
			}
			return errors.Join(err, r.Close())
		},
		kept: func(string) error { return nil },
		done: func(dir string) error {
			if names, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(names) != 1 {
				return fmt.Errorf("there is %q: %w", names, err)
			}
			return nil
		},
	}
}

// nowhere takes content and keeps none.
type nowhere struct{}

func (nowhere) Exists(context.Context, ocispec.Descriptor) (bool, error) { return false, nil }

func (nowhere) Push(_ context.Context, _ ocispec.Descriptor, r io.Reader) error {
	_, err := io.Copy(io.Discard, r)
	return err
}
