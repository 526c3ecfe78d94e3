//go:build linux

package main

import (
	"fmt"
	"io"
	"strings"
)

// report prints the table and gives the verdict on all of it.
func report(w io.Writer, results []result) bool {
	calm := map[string]int64{}
	for _, r := range results {
		if r.weather.name == plain.name && r.err == nil {
			calm[r.source.name+r.update] = r.wire()
		}
	}
	ok := true
	worst, over := 0.0, 0
	fmt.Fprintf(w, "\n| link | source | update | seconds | attempts | cuts | payload bytes | wire bytes | ratio | lost on the link | verdict |\n|---|---|---|--:|--:|--:|--:|--:|--:|--:|---|\n")
	for _, r := range results {
		verdict, ratio := "arrived", 0.0
		if c := calm[r.source.name+r.update]; c > 0 {
			ratio = float64(r.wire()) / float64(c)
		}
		switch {
		case r.err != nil:
			verdict = "FAILED: " + r.err.Error()
		case ratio == 0:
			verdict = "NOTHING TO COMPARE WITH"
		case ratio > most && float64(r.wire()) <= most*float64(calm[r.source.name+r.update])+gapCost(r):
			verdict = "arrived, OVER THE LIMIT by a gap"
			over++
		case ratio > most:
			verdict = "TOO MUCH"
		}
		ok = ok && strings.HasPrefix(verdict, "arrived")
		worst = max(worst, ratio)
		fmt.Fprintf(w, "| %s | %s | %s | %.0f | %d | %d | %d | %d | %.2f | %d | %s |\n", r.weather.name, r.source.name, r.update,
			r.took.Seconds(), r.attempts, r.cuts, r.payload, r.wire(), ratio, r.up.lost+r.down.lost, verdict)
	}
	fmt.Fprintf(w, "\n%d updates; the worst cost %.2f times the bytes of the undisturbed link, and %.2f are allowed\n", len(results), worst, most)
	if over > 0 {
		fmt.Fprintf(w, "%d small updates are over that, by no more than a gap may cost: see docs/links.md\n", over)
	}
	return ok
}

// gapCost is what one gap may cost a small update beyond the limit, as a mean of
// its runs: all that fits onto the link in it. Its few bytes are under way before
// anything could be known of the link, and the window that the kernel offers with
// its first packet cannot be taken back.
func gapCost(r result) float64 {
	if r.update != small {
		return 0
	}
	return float64(r.weather.down) / 8 * r.weather.dark.Seconds() / often
}
