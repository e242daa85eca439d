// Package layout holds airdeck's vocabulary and the shared OCI image layout
// directory.
//
// The vocabulary is small. A [Source] hands out content that is verified while
// it is read, a [Sink] stores content under its digest, a [Walker] visits the
// graph below a descriptor, and a [Class] says what kind of fault an error is.
// The other packages speak in these terms and import nothing else of ours, so
// that an archive can be written from a registry, a directory or another
// archive without either side knowing the other.
//
// A [Store] is an OCI image layout as image-spec v1.1 describes it
// (https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md):
//
//	oci-layout                 {"imageLayoutVersion":"1.0.0"}
//	index.json                 one entry a reference, sorted by reference
//	blobs/<algorithm>/<hex>    each blob once, however many artifacts share it
//	.airdeck/                  the lock files; other tools ignore it
//
// Each entry of index.json carries its full reference, such as
// ghcr.io/acme/decks/intro:v1, in org.opencontainers.image.ref.name and in
// io.containerd.image.name: a bare tag cannot tell two repositories apart.
//
// Several processes may use one Store at a time. A blob appears under its name
// by a rename, complete, and the index changes only under a lock. What exists
// is not trusted for that: a blob counts when its bytes hash to its name.
package layout
