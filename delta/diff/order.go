package diff

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/godwit-ota/godwit"
)

const (
	// worthwhile is how many samples of new contents must be in an old content,
	// and in no other that is drawn from, for its entry in the table to pay: an
	// entry is about 6 bytes, a sample stands for some 16 that are the same. Of 3, 5,
	// 8 and 12 this gave the smallest patches of releases of this module, within one
	// in a hundred of drawing from everything, whose table is longer.
	worthwhile = 3
	// reach is how large files that did not change may be altogether if they are
	// to be looked through, in bytes.
	reach = 32 << 20
	// window is how many bytes of two contents must be the same to be noticed.
	window = 16
)

// choose gives the contents that the patch draws from, in order of path, and
// those that it brings, each where the one is that it is like: so the patch goes
// through the old contents in one direction.
func choose(ctx context.Context, before, after []*source) (sources, targets []*source, err error) {
	had := map[godwit.Digest]bool{}
	at := map[string]*source{}
	for _, f := range before {
		had[f.Digest] = true
		at[f.Name] = f
	}
	has := map[godwit.Digest]bool{}
	for _, f := range after {
		has[f.Digest] = true
		if !had[f.Digest] {
			targets = append(targets, f)
		}
	}
	wanted := map[uint64]bool{} // the samples of new contents: whether an old one has them
	for _, f := range targets {
		if f.Content == nil {
			return nil, nil, errors.New("the content of " + strconv.Quote(f.Name) + " is not to be had")
		}
		if err := f.load(); err != nil {
			return nil, nil, err
		}
		f.sketch = sample(f.body, nil)
		for _, h := range f.sketch {
			wanted[h] = false
		}
	}
	taken := map[*source]bool{}
	take := func(f *source) error {
		if err := f.load(); err != nil {
			return err
		}
		if len(f.body) == 0 {
			return nil
		}
		taken[f] = true
		for _, h := range f.sketch {
			wanted[h] = true
		}
		return nil
	}
	sketch := func(f *source) (int, error) {
		err := f.load()
		if err != nil {
			return 0, err
		}
		n := len(f.body)
		f.sketch = sample(f.body, wanted)
		if has[f.Digest] {
			f.body, f.loaded = nil, false
		}
		return n, ctx.Err()
	}
	for _, f := range targets {
		if was := at[f.Name]; was != nil && was.Content != nil {
			if _, err := sketch(was); err != nil {
				return nil, nil, err
			}
			if err := take(was); err != nil {
				return nil, nil, err
			}
		}
	}
	// The others: first those that are gone, of which renamed files are made.
	var others []*source
	for _, gone := range []bool{true, false} {
		looked := 0
		for _, f := range before {
			if f.Content == nil || taken[f] || has[f.Digest] == gone || looked > reach && !gone {
				continue
			}
			n, err := sketch(f)
			if err != nil {
				return nil, nil, err
			}
			if looked += n; len(f.sketch) >= worthwhile {
				others = append(others, f)
			}
		}
	}
	slices.SortStableFunc(others, func(a, b *source) int { return cmp.Compare(len(b.sketch), len(a.sketch)) })
	for _, f := range others {
		gain := 0
		for _, h := range f.sketch {
			if !wanted[h] {
				gain++
			}
		}
		if gain < worthwhile {
			continue
		}
		if err := take(f); err != nil {
			return nil, nil, err
		}
	}
	for _, f := range before {
		if taken[f] {
			sources = append(sources, f)
		}
	}
	return sources, inOrder(sources, targets, at), nil
}

// inOrder sorts targets by the path of the source that each is like.
func inOrder(sources, targets []*source, at map[string]*source) []*source {
	owner := map[uint64][]int{}
	for i, s := range sources {
		for _, h := range s.sketch {
			if len(owner[h]) < 8 { // what is everywhere tells nothing
				owner[h] = append(owner[h], i)
			}
		}
	}
	anchor := map[*source]string{}
	for _, t := range targets {
		anchor[t] = t.Name
		if at[t.Name] != nil {
			continue
		}
		count, best := map[int]int{}, -1
		for _, h := range t.sketch {
			for _, i := range owner[h] {
				if count[i]++; count[i] >= worthwhile && (best < 0 || count[i] > count[best]) {
					best = i
				}
			}
		}
		if best >= 0 {
			anchor[t] = sources[best].Name
		}
	}
	targets = slices.Clone(targets)
	slices.SortStableFunc(targets, func(a, b *source) int {
		return cmp.Or(strings.Compare(anchor[a], anchor[b]), strings.Compare(a.Name, b.Name))
	})
	return targets
}

// sample gives hashes of about one in 16 of all windows of b, each once: the same
// ones wherever the windows lie. With only, those that are in it.
func sample(b []byte, only map[uint64]bool) []uint64 {
	const mul = 0x9E3779B97F4A7C15
	drop := uint64(1)
	for range window {
		drop *= mul
	}
	var out []uint64
	seen := map[uint64]bool{}
	h := uint64(0)
	for i, c := range b {
		h = h*mul + uint64(c) + 1
		if i >= window {
			h -= drop * (uint64(b[i-window]) + 1)
		}
		if i < window-1 || (h^h>>29)*mul>>60 != 0 || seen[h] {
			continue
		}
		if only != nil {
			if _, ok := only[h]; !ok {
				continue
			}
		}
		seen[h] = true
		out = append(out, h)
	}
	return out
}
