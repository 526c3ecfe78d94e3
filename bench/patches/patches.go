// Package patches sets Godwit's patches beside those of bsdiff, xdelta3, zstd
// and HDiffPatch: bytes, memory and speed, on the pairs of the corpus.
package patches

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/godwit-ota/godwit/bench/corpus"
)

// A Cost is what one run of a program took.
type Cost struct {
	RSS  int64 // largest resident set, bytes
	Wall time.Duration
}

// Options say what to measure.
type Options struct {
	Godwit string         // the program
	Dir    string         // folder of the corpus
	Set    string         // of the corpus
	Pairs  *regexp.Regexp // only pairs whose class/name this matches
	Tiers  []string
	Budget string // how long godwit may look for one patch, "" for its own choice
	Each   bool   // a row for each pair as well
	// Trainer makes a godwit that was trained on some pairs only, for figures of
	// pairs that it has not seen. It is run with a list of pairs, as pairs.txt
	// is, and the file to write the program to.
	Trainer string
	Measure func(args ...string) (Cost, error)
	Log     io.Writer // progress
}

// AllTiers are the budgets of memory that Godwit's patches are made for.
var AllTiers = []string{"6k", "64k", "1m"}

// A run is one go at measuring.
type run struct {
	Options
	w     io.Writer
	peers []peer
	cache *cache
	tmp   string
	start time.Duration // what starting godwit takes
	floor int64         // resident set of the one that measures: less cannot be told
}

// Run fetches the corpus, measures and prints Markdown.
func Run(w io.Writer, o Options) (err error) {
	all, err := corpus.Table()
	if err != nil {
		return err
	}
	if o.Dir, err = filepath.Abs(o.Dir); err != nil {
		return err
	}
	if err := os.MkdirAll(o.Dir, 0o755); err != nil {
		return err
	}
	store := &corpus.Store{Dir: o.Dir, Log: o.Log}
	wanted := func(p corpus.Pair) bool {
		return p.Set == o.Set && (o.Pairs == nil || o.Pairs.MatchString(p.Class+"/"+p.Name))
	}
	fetched := store.Fetch(all, wanted, corpus.Locked())
	var pairs []corpus.Have
	for _, h := range store.There(all) {
		if wanted(h.Pair) {
			pairs = append(pairs, h)
		}
	}
	if len(pairs) == 0 {
		return errors.Join(errors.New("no pairs to measure"), fetched)
	}
	b := &run{Options: o, w: w, cache: openCache(filepath.Join(o.Dir, "peers.tsv"))}
	if b.tmp, err = os.MkdirTemp(o.Dir, "run"); err != nil {
		return err
	}
	defer os.RemoveAll(b.tmp)
	least, err := b.Measure("true")
	if err != nil {
		return err
	}
	b.floor = least.RSS + least.RSS/20
	var absent []string
	b.peers, absent = peers(store)
	b.head(pairs, absent, fetched)
	if o.Trainer != "" {
		return b.halves(pairs)
	}
	rows, err := b.rows(pairs)
	if err != nil {
		return err
	}
	b.classes(rows)
	if o.Each {
		b.each(rows)
	}
	if o.Godwit == "" {
		return nil
	}
	return b.special()
}

// head says what is measured, and what could not be had.
func (b *run) head(pairs []corpus.Have, absent []string, fetched error) {
	fmt.Fprintf(b.w, "\n## Patches\n\n%d pairs of the set %s (docs/patch-corpus.md). Trees: the peers get a ustar archive of each version, sorted, times 0.\n", len(pairs), b.Set)
	for _, p := range b.peers {
		fmt.Fprintf(b.w, "%s: %s. ", p.name, p.what)
	}
	fmt.Fprintln(b.w)
	for _, a := range absent {
		fmt.Fprintf(b.w, "Left out: %s.\n", a)
	}
	if fetched != nil {
		fmt.Fprintf(b.w, "Not to be had, and left out:\n\n```\n%v\n```\n", fetched)
	}
}

// A row is a pair with what was measured of it.
type row struct {
	corpus.Have
	oldSize, newSize int64
	peers            map[string]peerResult
	godwit           map[string]result // by tier
}

// rows measures all pairs, the peers and godwit.
func (b *run) rows(pairs []corpus.Have) ([]row, error) {
	if b.Godwit != "" {
		if err := b.startup(); err != nil {
			return nil, err
		}
	}
	var rows []row
	for _, h := range pairs {
		r, err := b.measure(h)
		if err != nil {
			return nil, fmt.Errorf("%s/%s: %w", h.Class, h.Name, err)
		}
		rows = append(rows, r)
		fmt.Fprintln(b.Log, r)
	}
	return rows, nil
}

func (b *run) measure(h corpus.Have) (row, error) {
	r := row{Have: h, peers: map[string]peerResult{}, godwit: map[string]result{}}
	old, new := h.OldPath, h.NewPath
	if h.Class == "tree" {
		var err error
		if old, err = pack(old, filepath.Join(b.tmp, "old.tar")); err != nil {
			return r, err
		}
		if new, err = pack(new, filepath.Join(b.tmp, "new.tar")); err != nil {
			return r, err
		}
	}
	oldSum, err := corpus.Sum(old)
	if err != nil {
		return r, err
	}
	newSum, err := corpus.Sum(new)
	if err != nil {
		return r, err
	}
	if r.oldSize, err = size(old); err != nil {
		return r, err
	}
	if r.newSize, err = size(new); err != nil {
		return r, err
	}
	for _, p := range b.peers {
		key := cacheKey{p.name + " " + p.what, oldSum, newSum}
		got, ok := b.cache.get(key)
		if !ok {
			if got, err = b.try(p, old, new, newSum); err != nil {
				return r, fmt.Errorf("%s: %w", p.name, err)
			}
			if err := b.cache.put(key, got); err != nil {
				return r, err
			}
		}
		r.peers[p.name] = got
	}
	if b.Godwit == "" {
		return r, nil
	}
	for _, tier := range b.Tiers {
		if r.godwit[tier], err = b.godwit(h.OldPath, h.NewPath, tier); err != nil {
			return r, fmt.Errorf("godwit at %s: %w", tier, err)
		}
	}
	return r, nil
}

// best is the smallest patch of the peers.
func (r row) best() int64 {
	var n int64
	for name, p := range r.peers {
		if name != whole && (n == 0 || p.size < n) {
			n = p.size
		}
	}
	return n
}

func (r row) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s/%s: %d;", r.Class, r.Name, r.newSize)
	for _, tier := range AllTiers {
		if g, ok := r.godwit[tier]; ok {
			fmt.Fprintf(&b, " %s %d", tier, g.size)
		}
	}
	fmt.Fprintf(&b, "; best peer %d", r.best())
	return b.String()
}

func size(file string) (int64, error) {
	i, err := os.Stat(file)
	if err != nil {
		return 0, err
	}
	return i.Size(), nil
}
