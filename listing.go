package godwit

import "iter"

// A Pair is what two listings say about one path. A side that has no entry for
// it is nil. The entries are valid until the next pair.
type Pair struct{ A, B *Entry }

// Path is the path that the pair is about.
func (p Pair) Path() string {
	if p.A != nil {
		return p.A.Path
	}
	return p.B.Path
}

// Merge walks two listings side by side, in ascending order of path, and yields
// each path of either once. A nil listing is empty.
func Merge(a, b Listing) iter.Seq2[Pair, error] {
	return func(yield func(Pair, error) bool) {
		next := func(l Listing) (func() (Entry, error, bool), func()) {
			if l == nil {
				return func() (Entry, error, bool) { return Entry{}, nil, false }, func() {}
			}
			return iter.Pull2(iter.Seq2[Entry, error](l))
		}
		nextA, stopA := next(a)
		defer stopA()
		nextB, stopB := next(b)
		defer stopB()
		ea, errA, okA := nextA()
		eb, errB, okB := nextB()
		for okA || okB {
			if errA != nil || errB != nil {
				if errA == nil {
					errA = errB
				}
				yield(Pair{}, errA)
				return
			}
			var p Pair
			if okA && (!okB || ea.Path <= eb.Path) {
				p.A = &ea
			}
			if okB && (!okA || eb.Path <= ea.Path) {
				p.B = &eb
			}
			useA, useB := p.A != nil, p.B != nil
			if !yield(p, nil) {
				return
			}
			if useA {
				ea, errA, okA = nextA()
			}
			if useB {
				eb, errB, okB = nextB()
			}
		}
	}
}
