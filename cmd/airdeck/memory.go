package main

import (
	"os"
	"runtime/debug"
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
