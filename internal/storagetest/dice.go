package storagetest

// Dice decides by the bytes of a fuzzer, and takes the first of each choice when they
// have come to their end.
type Dice struct{ left []byte }

// NewDice decides by b.
func NewDice(b []byte) *Dice { return &Dice{b} }

// More reports whether bytes are left.
func (d *Dice) More() bool { return len(d.left) > 0 }

// N gives a number from 0 to n-1, for n up to 256.
func (d *Dice) N(n int) int {
	if len(d.left) == 0 {
		return 0
	}
	b := d.left[0]
	d.left = d.left[1:]
	return int(b) % n
}

// Once is true once in n times, and never when the bytes have come to their end.
func (d *Dice) Once(n int) bool { return d.N(n) == n-1 }

// Bytes gives the next n bytes, or fewer at the end.
func (d *Dice) Bytes(n int) []byte {
	b := d.left[:min(n, len(d.left))]
	d.left = d.left[len(b):]
	return b
}

// Pick chooses one of a list.
func Pick[T any](d *Dice, list ...T) T { return list[d.N(len(list))] }
