//go:build race

package crash

// raceDetector says that airdeck is built with it too.
const raceDetector = true
