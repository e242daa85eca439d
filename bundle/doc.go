// Package bundle writes, opens and verifies bundles: OCI image layouts in one
// file. It knows nothing of networks.
//
// # The format
//
// A bundle is an ordinary file: a tar archive of an OCI image layout
// (https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md),
// compressed with zstd (RFC 8878). GNU tar, skopeo, regctl and podman read it
// without airdeck. Nothing in it is private to airdeck.
//
// NAME.tar.zst is the default, NAME.tar is the same archive without compression,
// and NAME.tar.gz the same in one gzip stream (RFC 1952), which can't be read at
// random.
//
// # The members
//
// Members stand in this order, and there are no others:
//
//  1. oci-layout, with the bytes {"imageLayoutVersion":"1.0.0"}
//  2. index.json
//  3. index.sigstore.json, where the bundle is signed: the signatures of the bytes of
//     index.json, each a Sigstore bundle with a message signature
//     (https://docs.sigstore.dev/about/bundle/) in a line of its own. With one
//     signature it is what cosign verify-blob takes as --bundle.
//  4. manifest.json, where entries with a tag are container images: what docker
//     load and podman load need. It follows from the index and is never read as
//     the truth; one that gives content or names otherwise is refused.
//  5. blobs/<algorithm>/<hex>: all manifests and indexes, then all configs, then
//     all other blobs, each digest once, in order of first mention when the
//     index is walked depth first, children in their listed order
//
// The order of first mention means that a reader of a pipe knows all that is to
// come when it has read the manifests, and that the blobs of one artifact lie
// together on the medium. A digest that is listed as a manifest and as something
// else stands among the manifests; one that is a config and a layer, among the
// configs.
//
// Since sizes and order follow from the index and the manifests, so does the
// place of every byte: [Open] reads no more than these.
//
// # The headers
//
// Members are regular files with USTAR headers (POSIX.1-1988): mode 0644, uid
// and gid 0, no owner names, mtime 0. From 8 GiB the size is in GNU's base-256
// form, which is read more widely than a PAX record. The name of a sha512 blob
// does not fit a header; it stands in a PAX record before it (POSIX.1-2001), the
// only one there is. Two blocks of zeros end the archive, and nothing follows
// them.
//
// # index.json
//
// Its entries are sorted by reference. Each named entry carries the full
// reference, such as ghcr.io/acme/decks/intro:v1, in
// org.opencontainers.image.ref.name (podman, skopeo) and in
// io.containerd.image.name (docker, containerd). What refers to an artifact, such
// as a signature, is an entry without a name and with its artifactType; these
// follow the named ones, sorted by digest.
//
// What is left out on purpose is listed in the annotation io.github.airdeck.absent
// of index.json: digests, sorted and separated by commas, of manifests that an index
// names (platforms that were not asked for) and of layers that are not to be
// distributed. They are not members, nor is what only they lead to. An entry that is
// one platform of an index tells the digest of the index in
// io.github.airdeck.platform-of, and in io.github.airdeck.uncovered the digests of
// what belongs to that index, such as its signatures.
//
// The sha256 digest of the bytes of index.json is the bundle's identity. It pins
// every byte of every artifact, and it does not change with the compression or with
// the signatures.
//
// # The frames
//
// The tar archive is cut into frames of at most [FrameSize] bytes, each a zstd
// frame of its own with content size and checksum. A member of [LargeMember]
// bytes or more, header and padding included, begins a frame and shares its
// frames with no other member. Smaller members share frames of up to LargeMember
// bytes; none lies in two. The first config, the first other blob and the end of
// the archive begin frames of their own. Thus any member can be read by decoding
// what it occupies, and each frame once when all are read. A frame of large members
// that do not compress is made of raw blocks, and can be read where it lies.
//
// After the last frame stands the seek table of the zstd seekable format
// (https://github.com/facebook/zstd/blob/v1.5.7/contrib/seekable_format/zstd_seekable_compression_format.md)
// in a skippable frame: for each frame its compressed and decompressed size and
// the low 32 bits of the XXH64 of its content. Other decoders skip it. A reader
// that finds no table may find the frames by their headers.
//
// # Encrypted bundles
//
// NAME.tar.zst.age is an age file (https://age-encryption.org/v1), without armor, of a
// bundle in zstd, and NAME.tar.age and NAME.tar.gz.age are those of the other forms. A
// reader knows one by its first line, whatever its name is. What age encrypts is the
// bundle to the last byte, with its digest, and age -d gives it back. The content is
// encrypted and authenticated in chunks of 64 KiB, so what can be read at random can
// still be. A bundle that is encrypted twice is refused.
//
// # Same inputs, same bytes
//
// The uncompressed tar depends on index.json and the blobs alone, and is the same
// in every version of airdeck. The compressed file also depends on the version
// of the encoder. An encrypted file is another one each time, since its keys are; what
// is in it is the same.
//
// # Reading
//
// [Open] checks structure and limits and gives a [Reader], which describes but
// can't fetch. [Reader.Verify] hashes everything and walks the graph, and gives
// a [Verified], which is a [layout.Source]. Whatever was verified is verified
// again while it is read.
//
// What index.json lists as absent is not missed, if it is of a kind that can be left
// out. Nothing else may be missing.
//
// A reader is strict: links, devices, sparse members, unknown names, a second
// member of one name, data after the end and sizes that contradict each other
// are refused. It is lenient where known writers need it: one leading "./",
// directory members, another order of members, blobs that nothing refers to, PAX
// records that give a name or a size where the header can't, some zeros after the
// end, a missing seek table, a missing oci-layout in what hauler wrote, and the
// files repositories, store.json and audit.log, which are not read.
package bundle
