//go:build linux

package main

import (
	"fmt"
	"io"
	"math"
)

// report prints the table and gives the verdict on all of it.
func report(w io.Writer, results []result) bool {
	calm := map[string]result{}
	for _, r := range results {
		if r.weather.name == plain.name && r.err == nil {
			calm[r.source.name+r.update] = r
		}
	}
	ok := true
	worst := 0.0
	fmt.Fprintf(w, "\n| link | source | update | seconds | attempts | cuts | payload bytes | wire bytes | ratio | lost on the link | verdict |\n|---|---|---|--:|--:|--:|--:|--:|--:|--:|---|\n")
	for _, r := range results {
		verdict, ratio, chance := "arrived", 0.0, 0.0
		if c := calm[r.source.name+r.update]; c.wire() > 0 && r.wire() > 0 {
			ratio = float64(r.wire()) / float64(c.wire())
			chance = ratio * math.Hypot(r.chance/float64(r.wire()), c.chance/float64(c.wire()))
		}
		switch {
		case r.err != nil:
			verdict = "FAILED: " + r.err.Error()
		case ratio == 0:
			verdict = "NOTHING TO COMPARE WITH"
		case ratio-2*chance > most: // of a mean, what chance does not explain
			verdict = "TOO MUCH"
		}
		ok = ok && verdict == "arrived"
		worst = max(worst, ratio)
		fmt.Fprintf(w, "| %s | %s | %s | %.0f | %d | %d | %d | %d | %s | %d | %s |\n", r.weather.name, r.source.name, r.update,
			r.took.Seconds(), r.attempts, r.cuts, r.payload, r.wire(), figure(ratio, chance), r.up.lost+r.down.lost, verdict)
	}
	fmt.Fprintf(w, "\n%d updates; the worst cost %.2f times the bytes of the undisturbed link, and %.2f are allowed\n", len(results), worst, most)
	return ok
}

// figure is a ratio, and of a mean its standard error.
func figure(ratio, chance float64) string {
	if chance == 0 {
		return fmt.Sprintf("%.2f", ratio)
	}
	return fmt.Sprintf("%.2f ±%.2f", ratio, chance)
}
