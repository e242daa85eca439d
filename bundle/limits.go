package bundle

// The numbers of the format, and the limits of its readers.
const (
	// FrameSize is the most content that a frame holds, in bytes. Larger frames
	// compress no better and cost each reader twice their size in memory.
	FrameSize = 4 << 20

	// LargeMember is the size in the archive, in bytes, from which a member has
	// frames of its own. Below it sharing pays: what is read together with a
	// small member is at most this much.
	LargeMember = 1 << 20

	// MaxMembers bounds the members of an archive, with folders and global headers:
	// a small file can have any number of these. A million blobs take 300 MB of
	// memory to keep track of.
	MaxMembers = 1_000_000

	// MaxFrames bounds the frames of an archive: one of 4 TiB in large blobs has
	// as many.
	MaxFrames = 1 << 20

	// MaxTrailingZeros bounds the zeros behind the end of an archive, in bytes: tar
	// pads to its record size, which people set to a megabyte for tapes.
	MaxTrailingZeros = 1 << 20

	// MaxFaults bounds the faults that a report tells. Beyond that it counts: whoever
	// reads as many asks for the whole bundle again.
	MaxFaults = 1_000

	// MaxLost bounds the blobs that are looked for and are not there, or not as they are
	// listed. A manifest can name any number, and each takes 500 bytes of memory until it
	// is told what needs it. Who lost as many asks for the whole bundle again.
	MaxLost = 50_000

	// MaxLinks bounds how often manifests name other manifests and what is lost, beside
	// once for each blob of the bundle, where that is kept to tell what needs what. All
	// manifests may name the same.
	MaxLinks = 250_000

	// MaxFaultArtifacts bounds the artifacts that a report tells of each fault: an
	// empty config may be in all of them.
	MaxFaultArtifacts = 100

	// MaxFrameSize bounds the content of a frame, in bytes, where frames are
	// read at random: readers hold a few of them at once. Archives of larger
	// frames are read as one stream.
	MaxFrameSize = 8 << 20

	// MaxRereads bounds how much is decoded to read the manifests of an archive in another
	// order than that of a bundle, in multiples of its content: a hundred thousand small
	// ones can lie in large frames in turns. Beyond that it is read as one stream.
	MaxRereads = 4

	// MaxWindow bounds the window that a zstd frame may ask for, in bytes. It is
	// what zstd itself accepts without being told (ZSTD_WINDOWLOG_LIMIT_DEFAULT).
	MaxWindow = 128 << 20

	// MaxExtendedHeader bounds the PAX records of one member, in bytes. They are read
	// at once, and what tar writes of times, owners and attributes is far smaller.
	MaxExtendedHeader = 64 << 10

	// MaxSignatures bounds index.sigstore.json, in bytes: a signature has less than a
	// kilobyte, and some ten with the proofs of a log.
	MaxSignatures = 1 << 20

	// MaxRetained bounds the manifests that [VerifyStream] holds in memory, in bytes, with
	// manifest.json: what they lead to is known when the pipe has ended.
	MaxRetained = 32 << 20

	// MaxPending bounds the manifests that [VerifyStream] knows of and waits for, and the
	// signatures. So many do not fit into MaxRetained.
	MaxPending = 100_000

	// MaxRecipients bounds for how many a bundle is encrypted: age reads headers of at
	// most 2 MiB, and the largest keys take 3 KiB each.
	MaxRecipients = 500

	// MaxWorkFactor bounds what it costs to try a passphrase, as a power of two: 2^20
	// takes 1 GiB of memory and some seconds, and age writes 2^18.
	MaxWorkFactor = 20
)
