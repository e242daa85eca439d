package layout

import (
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/errdef"
)

// The sentinel errors of airdeck. All of them are here; test for them with
// [errors.Is].
var (
	// ErrNotFound says that the content or the reference is not there. It is
	// oras-go's error, so that a Source can stand in for an oras target.
	ErrNotFound = errdef.ErrNotFound

	// ErrUntrusted says that a bundle is not what it claims to be. Nothing of
	// it was used.
	ErrUntrusted = errors.New("the bundle is not to be trusted")

	// ErrPartial says that some artifacts were mirrored and some were not.
	ErrPartial = errors.New("some artifacts were not mirrored")

	// ErrDiffers says that a registry does not have what it was compared with.
	ErrDiffers = errors.New("the registry differs")

	// ErrConflict says that a tag names something else already.
	ErrConflict = errors.New("the tag names something else")

	// ErrBusy says that another process uses the layout or writes the file.
	ErrBusy = errors.New("in use by another process")

	// ErrExists says that the output is there already.
	ErrExists = errors.New("exists already")

	// ErrNotSeekable says that an archive has to be unpacked to be read at
	// random: it is one long compressed stream.
	ErrNotSeekable = errors.New("the archive cannot be read at random")

	// ErrEncrypted says that a file is encrypted, and that what was given to decrypt
	// it does not. What is in it nobody knows, so it says nothing against the file.
	ErrEncrypted = errors.New("the file is encrypted with age")
)

// Class says what kind of fault an error is. The words are part of the
// interface: reports, test vectors and messages use them.
type Class string

// The classes of faults.
const (
	ClassArchive   Class = "archive"   // container or tar syntax
	ClassName      Class = "name"      // an illegal member name or type
	ClassDuplicate Class = "duplicate" // a second member
	ClassLimit     Class = "limit"     // a resource limit
	ClassLayout    Class = "layout"    // layout metadata
	ClassJSON      Class = "json"      // JSON syntax or ambiguity
	ClassDigest    Class = "digest"    // content does not hash to its name
	ClassSize      Class = "size"      // content does not have its size
	ClassMediaType Class = "mediatype" // type confusion
	ClassMissing   Class = "missing"   // something referenced is absent
	ClassGraph     Class = "graph"     // cycle, depth or count
	ClassTruncated Class = "truncated" // the input ends early
	ClassTrailing  Class = "trailing"  // data after the end
	ClassPolicy    Class = "policy"    // valid, but refused
	ClassSignature Class = "signature" // trust failure
	ClassRemote    Class = "remote"    // a registry misbehaves
	ClassOrigin    Class = "origin"    // credentials would leave their origin
	ClassLocal     Class = "local"     // a fault of this machine
)

// Error is an error of a known class.
type Error struct {
	Class Class
	Err   error
}

// Errorf makes an [Error] of a class, as [fmt.Errorf] does.
func Errorf(c Class, format string, args ...any) error {
	return &Error{Class: c, Err: fmt.Errorf(format, args...)}
}

func (e *Error) Error() string { return e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// ClassOf gives the class of the outermost error in err's tree that has one,
// and [ClassLocal] where none has.
func ClassOf(err error) Class {
	var (
		classed *Error
		corrupt *CorruptError
	)
	switch {
	case errors.As(err, &classed):
		return classed.Class
	case errors.As(err, &corrupt):
		return corrupt.Class()
	case errors.Is(err, ErrNotFound):
		return ClassMissing
	}
	return ClassLocal
}

// CorruptError says that content is not what its descriptor promises.
type CorruptError struct {
	Descriptor ocispec.Descriptor
	// Read is the number of bytes that were seen. For content that is too
	// long it is the promised size plus what was seen beyond it.
	Read int64
	// Got is the digest of the content. It is empty where the size was wrong.
	Got digest.Digest
}

// Class is [ClassSize] where the size was wrong and [ClassDigest] otherwise.
func (e *CorruptError) Class() Class {
	if e.Got == "" {
		return ClassSize
	}
	return ClassDigest
}

func (e *CorruptError) Error() string {
	switch want := e.Descriptor; {
	case e.Got != "":
		return fmt.Sprintf("blob %s is damaged: its %d bytes hash to %s", want.Digest, want.Size, e.Got)
	case e.Read > want.Size:
		return fmt.Sprintf("blob %s is damaged: it goes on after its %d bytes", want.Digest, want.Size)
	default:
		return fmt.Sprintf("blob %s is damaged: it ends after %d of %d bytes", want.Digest, e.Read, want.Size)
	}
}
