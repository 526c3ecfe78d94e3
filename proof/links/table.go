//go:build linux

package main

import (
	"fmt"
	"io"
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
	worst := 0.0
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
		case ratio > most:
			verdict = "TOO MUCH"
		}
		ok = ok && verdict == "arrived"
		worst = max(worst, ratio)
		fmt.Fprintf(w, "| %s | %s | %s | %.0f | %d | %d | %d | %d | %.2f | %d | %s |\n", r.weather.name, r.source.name, r.update,
			r.took.Seconds(), r.attempts, r.cuts, r.payload, r.wire(), ratio, r.up.lost+r.down.lost, verdict)
	}
	fmt.Fprintf(w, "\n%d updates; the worst cost %.2f times the bytes of the undisturbed link, and %.2f are allowed\n", len(results), worst, most)
	return ok
}
