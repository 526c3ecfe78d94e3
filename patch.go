package godwit

import "iter"

// A Patch is what turns a content that a device may have into one that it
// wants. It is known by what a release says of it; where it lies is its source's
// business, what its bytes mean that of package delta.
type Patch struct {
	// From is the SHA-256 of the content that it was made for, or of the manifest
	// where it is for a tree. It is zero for one that does not say so: it may be
	// for what is installed at the path, whatever that is.
	From   Digest
	Sum    Digest // of the patch itself: SHA-256, or the id of a Git blob
	Size   int64  // of the patch, in bytes
	Memory int64  // bytes that applying it takes
}

// IsZero reports whether there is no patch.
func (p Patch) IsZero() bool { return p.Sum.IsZero() }

// An Offer is a patch that leads to the file of a release at Path.
type Offer struct {
	Path string
	Patch
}

// Offers are patches in ascending byte order of Path, any number of them for
// each. They may be ranged over any number of times, also by several at once.
// After a non-nil error the sequence ends. Nil Offers are none.
type Offers iter.Seq2[Offer, error]

// At looks offers up for one path after the other. Call next with paths in
// ascending order, and stop in the end.
func (o Offers) At() (next func(path string) ([]Patch, error), stop func()) {
	if o == nil {
		return func(string) ([]Patch, error) { return nil, nil }, func() {}
	}
	pull, stop := iter.Pull2(iter.Seq2[Offer, error](o))
	var found []Patch
	ahead, err, more := pull()
	return func(path string) ([]Patch, error) {
		found = found[:0]
		for more && err == nil && ahead.Path <= path {
			if ahead.Path == path {
				found = append(found, ahead.Patch)
			}
			ahead, err, more = pull()
		}
		return found, err
	}, stop
}

// Patched counts what became of patches.
type Patched struct {
	Applied int    // contents that patches brought
	Saved   int64  // bytes that did not have to come because of them
	Failed  int    // patches in whose place the whole content was fetched
	Reason  string // why the last of those failed
}

// Plus adds what became of others, later.
func (p Patched) Plus(o Patched) Patched {
	if o.Reason == "" {
		o.Reason = p.Reason
	}
	return Patched{p.Applied + o.Applied, p.Saved + o.Saved, p.Failed + o.Failed, o.Reason}
}

// Minus is what came to before since then. Without a failure there is no reason.
func (p Patched) Minus(before Patched) Patched {
	d := Patched{p.Applied - before.Applied, p.Saved - before.Saved, p.Failed - before.Failed, p.Reason}
	if d.Failed == 0 {
		d.Reason = ""
	}
	return d
}
