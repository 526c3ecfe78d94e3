//go:build linux

package main

import (
	"io"
	"testing"
)

// TestVerdict: the mean of tries is too much if chance does not explain it, a single
// one if it is above the limit.
func TestVerdict(t *testing.T) {
	calm := result{run: run{weather: plain, source: sources[0], update: small}, up: traffic{bytes: 1000}}
	for _, c := range []struct {
		bytes  int64
		chance float64
		want   bool
	}{{1150, 0, true}, {1170, 0, false}, {1170, 20, true}, {1200, 20, false}, {1700, 20, false}} {
		bad := calm
		bad.weather, bad.up.bytes, bad.chance = nbiot, c.bytes, c.chance
		if got := report(io.Discard, []result{calm, bad}); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
	one, three := calm, calm
	one.up.bytes, three.up.bytes = 100, 300
	if m := mean([]result{one, three}); m.wire() != 200 || m.chance != 100 {
		t.Errorf("%+v", m)
	}
}
