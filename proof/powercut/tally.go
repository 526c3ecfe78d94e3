package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
)

// A tally counts what happened in one setting.
type tally struct {
	setting setting

	mu         sync.Mutex
	cuts       int // power cuts
	inRecovery int // of which before the payload had mended and checked the tree
	checks     int // trees found whole and right
	lost       int // writes whose fate was open at a cut
	wrongs     []string
	unmounted  []string
	deeds      map[string]int
	errs       []error
}

func (t *tally) cut(_ Fate, lost int, checked bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cuts++
	t.lost += lost
	if !checked {
		t.inRecovery++
	}
}

func (t *tally) checked() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.checks++
}

func (t *tally) did(what string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.deeds == nil {
		t.deeds = map[string]int{}
	}
	t.deeds[what]++
}

// wrong notes a finding and reports whether it is worth keeping the disk.
func (t *tally) wrong(what string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.wrongs = append(t.wrongs, what)
	if t.setting.damage == "" {
		fmt.Printf("WRONG [%s] %s\n", t.setting, what)
	}
	return t.setting.damage == "" && len(t.wrongs) == 1
}

func (t *tally) found() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.wrongs) > 0
}

// unmountable notes that the file system itself did not survive, and reports
// whether it is worth keeping the disk.
func (t *tally) unmountable(what string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.unmounted = append(t.unmounted, what)
	fmt.Printf("[%s] the file system itself did not survive: %s\n", t.setting, what)
	return len(t.unmounted) == 1
}

func (t *tally) fail(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.errs = append(t.errs, err)
	fmt.Printf("FAILED [%s] %v\n", t.setting, err)
}

// right is the verdict: nothing wrong, or for planted damage something wrong.
func (t *tally) right() (bool, string) {
	switch {
	case len(t.errs) > 0:
		return false, "THE PROOF FAILED"
	case t.setting.damage != "" && len(t.wrongs) == 0:
		return false, "PLANTED DAMAGE NOT SEEN"
	case t.setting.damage != "":
		return true, "planted damage seen"
	case len(t.wrongs) > 0:
		return false, "WRONG"
	case t.checks == 0:
		return false, "NOTHING CHECKED"
	}
	return true, "right"
}

// report prints the table and gives the verdict on all of it.
func report(w io.Writer, tallies []*tally) bool {
	ok := true
	total := tally{deeds: map[string]int{}}
	fmt.Fprintf(w, "\n| setting | cuts | in recovery | trees checked | wrong | unmountable | open writes per cut | verdict |\n|---|--:|--:|--:|--:|--:|--:|---|\n")
	for _, t := range tallies {
		good, verdict := t.right()
		ok = ok && good
		fmt.Fprintf(w, "| %s | %d | %d | %d | %d | %d | %.1f | %s |\n", t.setting, t.cuts, t.inRecovery, t.checks,
			len(t.wrongs), len(t.unmounted), float64(t.lost)/float64(max(1, t.cuts)), verdict)
		if t.setting.damage == "" {
			total.cuts += t.cuts
			total.checks += t.checks
			total.wrongs = append(total.wrongs, t.wrongs...)
			for k, n := range t.deeds {
				total.deeds[k] += n
			}
		}
	}
	var deeds []string
	for _, k := range slices.Sorted(maps.Keys(total.deeds)) {
		deeds = append(deeds, fmt.Sprintf("%d × %s", total.deeds[k], k))
	}
	fmt.Fprintf(w, "\n%d power cuts, %d trees checked, %d wrong. Done between the cuts: %s\n",
		total.cuts, total.checks, len(total.wrongs), strings.Join(deeds, ", "))
	return ok
}
