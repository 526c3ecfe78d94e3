package device

import (
	"testing"
	"time"
)

// A host that has proved who it is moves the clock on, and nothing else: not
// back, not years ahead, and not into another zone, whose hours would be taken
// for those of the device.
func TestClock(t *testing.T) {
	old := time.Local
	time.Local = time.FixedZone("here", 8*3600)
	defer func() { time.Local = old }()
	for _, c := range []struct {
		name string
		said time.Duration // after now
		want time.Duration
	}{
		{"behind", -time.Hour, 0},
		{"ahead", time.Hour, 0},
		{"days ahead", 72 * time.Hour, 72 * time.Hour},
		{"far ahead", 2000 * 24 * time.Hour, 0},
	} {
		clk := &clock{}
		now := time.Now()
		clk.saw(now.Add(c.said).UTC())
		clk.saw(now.Add(-48 * time.Hour).UTC())
		got := clk.now()
		if d := got.Sub(now.Add(c.want)).Abs(); d > time.Minute {
			t.Errorf("%s: %v, which is %v off", c.name, got, d)
		}
		if got.Location() != time.Local {
			t.Errorf("%s: the time is told as in %v", c.name, got.Location())
		}
	}
}
