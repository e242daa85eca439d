// Package deck turns a folder of slides and its deck.yaml into an OCI artifact,
// and the artifact into such a folder again. It knows what a slide is and
// nothing about moving it.
//
// # The artifact
//
// A deck is an OCI image manifest (image-spec v1.1) with
//
//	artifactType   application/vnd.airdeck.deck.v1
//	config         application/vnd.airdeck.deck.config.v1+json, the specification
//	layers         one a slide, in the order of the talk
//	annotations    what the specification says, for readers of any artifact:
//	               org.opencontainers.image.title        title
//	               org.opencontainers.image.authors      author
//	               org.opencontainers.image.created      date, at midnight UTC
//	                                                     where it has no time
//	               org.opencontainers.image.description  description
//	               org.opencontainers.image.licenses     license
//
// A layer is the image file, byte for byte. Its media type is the image's own,
// found from its bytes and never from its name: image/png (an animated one too),
// image/jpeg, image/webp, image/svg+xml, image/gif or image/avif. Its annotation
// org.opencontainers.image.title is its path relative to deck.yaml, with forward
// slashes. A slide that is shown twice is listed twice and stored once.
//
// The config is one JSON object with the keys of deck.yaml: title and images
// always, the others where they are given. images lists the paths of the layers;
// globs have been expanded. The config and the manifest are canonical JSON
// (RFC 8785).
//
// Nothing else goes into the artifact, above all no time of the build: the same
// deck has the same digest on every machine. A time given by
// [BuildOptions.SourceDate] becomes the date in the config if deck.yaml has none,
// so that the deck, when it has been pulled, builds to the same digest without it.
//
// # deck.yaml
//
// One YAML document of at most [MaxSpecSize] bytes. Unknown and repeated keys
// are errors.
//
//	title: Shipping across the gap   # required, one line
//	images:                          # required, in order, 1 to MaxSlides
//	  - title.svg
//	  - slides/*.png                 # natural order: slide-2 before slide-10
//	author: Ada Lovelace
//	date: 2026-01-31                 # or RFC 3339: 2026-01-31T09:00:00+01:00
//	description: What an air gap is, and how slides cross it.
//	license: CC-BY-4.0               # an SPDX expression
//	notes:                           # what the speaker says to a slide
//	  title.svg: Wait for the room.
//
// An entry of images with *, ? or [ in it is a glob as of [path.Match]; one with
// no more than [ is a path if a file has that name. A glob passes over folders
// and, unless it begins with a dot itself, names that do. It must match
// something.
//
// # Paths
//
// A path is legal if every system that airdeck runs on can hold it: relative,
// inside the folder, valid UTF-8, at most [MaxPathSize] bytes and 255 for each
// name in it, without control characters, without any of \ : * ? " < > |, with
// no name that ends in a dot or a space or that Windows reserves (CON, NUL, COM1),
// and not deck.yaml itself. No two paths may differ in case alone, and none may
// be the folder of another. Links may not leave the folder. The rules are the
// same when a deck is built and when one is extracted, so what was built on one
// machine is written on any other.
package deck

// Media types of a deck.
const (
	MediaTypeArtifact = "application/vnd.airdeck.deck.v1"
	MediaTypeConfig   = "application/vnd.airdeck.deck.config.v1+json"
)

// SpecName is the name of the file that describes a deck.
const SpecName = "deck.yaml"

// Limits of a deck.
const (
	// MaxSpecSize bounds deck.yaml, in bytes, both as it is written and with
	// its globs expanded. It keeps config and manifest below
	// layout.MaxManifestSize.
	MaxSpecSize = 1 << 20

	// MaxSlides bounds the slides of a deck. A layer takes about 250 bytes of
	// the manifest, for which registries allow 4 MiB.
	MaxSlides = 10_000

	// MaxPathSize bounds the path of a slide, in bytes. It is far below what
	// Linux takes (4096) and about what macOS takes (1024).
	MaxPathSize = 1000
)
