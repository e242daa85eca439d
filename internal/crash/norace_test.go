//go:build !race

package crash

// raceDetector says that airdeck is built without it, as the tests are.
const raceDetector = false
