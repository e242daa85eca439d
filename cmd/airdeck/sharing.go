package main

import "github.com/opencontainers/go-digest"

// Bounds of what is kept in memory to tell which artifacts share a blob. A small file can
// list any number of blobs that are not there, and give one manifest any number of names.
const (
	// maxShared bounds the blobs that are not in the file, or for all that is known may
	// not be, of which it is found out who shares them.
	maxShared = 100_000

	// maxMentions bounds the work for that, in blobs and manifests, each counted where it
	// is listed and for every artifact that leads to it.
	maxMentions = 4_000_000

	// maxShown bounds the artifacts that are named for each blob: an empty config may be
	// in all of them.
	maxShown = 20
)

// sharing finds out which artifacts need a blob, as far as its bounds allow.
type sharing struct {
	places     map[digest.Digest]int32 // in users
	users      []users                 // of each blob
	most       int                     // blobs
	left       int                     // of maxMentions
	incomplete bool
}

// users are the artifacts that need a blob, by their places in the index. Most blobs
// have one, and there may be a hundred thousand blobs.
type users struct {
	first, last int32
	others      int32   // how many beside the first
	more        []int32 // the first of these
}

func (u *users) add(entry int32) {
	switch {
	case u.first == none:
		u.first = entry
	case u.last != entry:
		u.others++
		if len(u.more) < maxShown {
			u.more = append(u.more, entry)
		}
	}
	u.last = entry
}

// spend takes mentions from those that are left, if there are as many.
func (s *sharing) spend(mentions int) bool {
	if s.left -= mentions; s.left < 0 {
		s.incomplete = true
	}
	return !s.incomplete
}

// place gives the place of a blob in users, or none if there is no more room.
func (s *sharing) place(d digest.Digest) int32 {
	if s.incomplete {
		return none
	}
	place, ok := s.places[d]
	if !ok {
		if len(s.users) == s.most {
			s.incomplete = true
			return none
		}
		place = int32(len(s.users))
		s.places[d] = place
		s.users = append(s.users, users{first: none, last: none})
	}
	return place
}

// countBelow notes that an entry needs the blobs below a node.
func (o *outline) countBelow(place, entry int32) {
	n := &o.nodes[place]
	if n.counted == entry || !o.spend(1+len(n.blobs)+len(n.children)) {
		return
	}
	n.counted = entry
	for _, b := range n.blobs {
		o.users[b].add(entry)
	}
	for _, c := range n.children {
		o.countBelow(c, entry)
	}
}

// share tells of a blob which other artifacts have it too.
func (o *outline) share(b *inspectedBlob, self int32) {
	place, ok := o.places[b.Digest]
	if !ok || o.users[place].others == 0 {
		return
	}
	u := &o.users[place]
	b.Shared = int(u.others)
	name := o.nameOf(self)
	for i := none; i < len(u.more) && len(b.SharedWith) < maxShown; i++ {
		other := u.first
		if i >= 0 {
			other = u.more[i]
		}
		if n := o.nameOf(other); n != name {
			b.SharedWith = append(b.SharedWith, n)
		}
	}
}
