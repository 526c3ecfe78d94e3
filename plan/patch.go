package plan

import (
	"strconv"

	"github.com/godwit-ota/godwit"
)

// A Use says when patches are taken in the place of whole contents.
type Use string

// The uses.
const (
	// Auto takes those that save at least 30 % of a content; where the link is
	// slow or costs, all that save anything.
	Auto   Use = "auto"
	Always Use = "always" // all that save anything
	Never  Use = "never"
)

// Patching says which patches a device takes.
type Patching struct {
	Use Use // "" is Auto
	// Memory is how many bytes there are to apply one; 0 is none. The table of a
	// patch for the whole tree may take as many again: it grows with the number of
	// files, and is no part of what a maker can choose.
	Memory int64
}

// saving is the part of a content that a patch has to save in Auto, in percent:
// with less, the work and the risk of a second download are not worth it.
const saving = 30

// saves reports whether it is worth while to fetch patch bytes in the place of
// whole.
func (in *Input) saves(patch, whole int64) bool {
	switch {
	case in.Patching.Use == Never || patch >= whole:
		return false
	case in.Patching.Use == Always || in.Limits.Metered:
		return true
	}
	return patch <= whole/100*(100-saving)+whole%100*(100-saving)/100
}

// patch is the smallest patch of offers, which it changes, that leads to the new
// content of s, is worth while, and whose old content is here; zero if there is
// none. One that does not say what it was made for is for what is at the path.
func (in *Input) patch(s Step, offers []godwit.Patch) godwit.Patch {
	e := s.New
	if e.Mode == godwit.Symlink || e.Size <= 0 || e.Digest.Algorithm == godwit.CRC32 || in.Has == nil {
		return godwit.Patch{}
	}
	for i := range offers {
		if offers[i].From.IsZero() && s.Op == Replace && s.Old.Mode != godwit.Symlink {
			offers[i].From = s.Old.Digest
		}
	}
	for len(offers) > 0 {
		best := 0
		for i, p := range offers {
			if p.Size < offers[best].Size {
				best = i
			}
		}
		// The old content is hashed to find out, so nothing else is left to ask.
		if p := offers[best]; !p.From.IsZero() && p.Memory <= in.Patching.Memory && in.saves(p.Size, e.Size) && in.Has(p.From) {
			return p
		}
		offers[best] = offers[len(offers)-1]
		offers = offers[:len(offers)-1]
	}
	return godwit.Patch{}
}

// choose finds the patch for the whole tree that is smaller than all that there
// is to fetch otherwise. It is for a device that takes every file of the release.
func (p *Plan) choose() {
	if p.Skipped > 0 || p.FetchFiles == 0 || !p.Exact {
		return
	}
	whole := p.FetchBytes + p.SavedBytes
	for _, t := range p.in.Trees {
		if t.From.Hex() == p.From && t.Memory <= 2*p.in.Patching.Memory && t.Size < p.FetchBytes && p.in.saves(t.Size, whole) {
			p.Tree = t
			p.PatchFiles, p.FetchBytes, p.SavedBytes = p.FetchFiles, t.Size, whole-t.Size
		}
	}
}

// Chosen is d for whoever fetches: with the patches that the plan takes, and no
// others. Those for single files are there as well where there is one for the
// tree: they take its place if it is of no use.
func (p *Plan) Chosen(d godwit.Described) godwit.Described {
	d.Offers, d.Trees, d.Installed = nil, nil, p.in.Installed
	if !p.Tree.IsZero() {
		d.Trees = []godwit.Patch{p.Tree}
	}
	if p.PatchFiles == 0 {
		return d
	}
	d.Offers = func(yield func(godwit.Offer, error) bool) {
		for s, err := range p.Steps() {
			if err == nil && s.Patch.IsZero() {
				continue
			}
			if !yield(godwit.Offer{Path: s.Path, Patch: s.Patch}, err) || err != nil {
				return
			}
		}
	}
	return d
}

// Cost is about what fetching costs on a metered link, in US dollars; 0 where the
// link costs nothing, or nobody knows how much.
func (p *Plan) Cost() float64 {
	if !p.in.Limits.Metered {
		return 0
	}
	return float64(p.FetchBytes) / 1e6 * p.in.Limits.CostPerMB
}

// Dollars words a cost.
func Dollars(usd float64) string {
	if usd < 0.01 {
		return "less than 0.01 USD"
	}
	return "about " + strconv.FormatFloat(usd, 'f', 2, 64) + " USD"
}
