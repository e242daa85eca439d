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

	// MaxMembers bounds the members of an archive. A million blobs take 300 MB
	// of memory to keep track of.
	MaxMembers = 1_000_000

	// MaxFrames bounds the frames of an archive: one of 4 TiB in large blobs has
	// as many.
	MaxFrames = 1 << 20

	// MaxTrailingZeros bounds the zeros behind the end of an archive, in bytes: tar
	// pads to its record size, which people set to a megabyte for tapes.
	MaxTrailingZeros = 1 << 20

	// MaxFaults bounds the faults that a report tells, and MaxFaultArtifacts the
	// artifacts that it tells of each. Beyond that it counts.
	MaxFaults         = 1_000
	MaxFaultArtifacts = 100

	// MaxFrameSize bounds the content of a frame, in bytes, where frames are
	// read at random: readers hold a few of them at once. Archives of larger
	// frames are read as one stream.
	MaxFrameSize = 8 << 20

	// MaxWindow bounds the window that a zstd frame may ask for, in bytes. It is
	// what zstd itself accepts without being told (ZSTD_WINDOWLOG_LIMIT_DEFAULT).
	MaxWindow = 128 << 20

	// MaxExtendedHeader bounds the PAX records of one member, in bytes.
	MaxExtendedHeader = 64 << 10

	// MaxRetained bounds what [VerifyStream] holds in memory of an archive whose
	// index comes after its manifests, in bytes.
	MaxRetained = 32 << 20
)
