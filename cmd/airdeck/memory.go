package main

import (
	"os"
	"runtime/debug"

	"github.com/airdeck/airdeck/layout"
)

// What a command may take of memory, in bytes: so much whatever the data, and so much
// for each blob. The program's own code, which the runtime does not count, is part of
// the first.
const (
	readingMemory  = 64 << 20
	packingMemory  = 128 << 20
	memoryPerBlob  = 300
	programsMemory = 24 << 20
)

// limitMemory has the garbage collector keep to the promise that memory does not grow
// with the data. Left alone it lets the heap double before it looks. Who sets
// GOMEMLIMIT decides otherwise.
func limitMemory(base int64, blobs int) {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(base - programsMemory + int64(blobs)*memoryPerBlob)
	}
}

// limitStream is limitMemory for a pipe, of which nobody knows how many blobs are to
// come: it follows the progress, which advances with each. VerifyStream tells it in turn.
func limitStream(p layout.Progress) layout.Progress {
	const step = 10_000
	limitMemory(readingMemory, step)
	blobs := 0
	return func(e layout.Event) {
		if e.Kind == layout.EventAdvance {
			if blobs++; blobs%step == 0 {
				limitMemory(readingMemory, blobs+step)
			}
		}
		if p != nil {
			p(e)
		}
	}
}
