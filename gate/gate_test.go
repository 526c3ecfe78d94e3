package gate

import (
	"testing"
	"time"

	"github.com/godwit-ota/godwit"
)

// The cohort is the reference updater's, evenly spread and another one for each
// release.
func TestCohort(t *testing.T) {
	// printf 'v1.0.0:device-1' | sha256sum begins with d31b7c71.
	if got := Cohort("v1.0.0", "device-1"); got != 0xd31b7c71%100 {
		t.Errorf("%d", got)
	}
	var places [100]int
	both := 0
	for i := range 20000 {
		id := "device-" + string(rune('a'+i%26)) + string(rune('0'+i/26%10)) + string(rune('A'+i/260%60)) + string(rune('!'+i/15600))
		a, b := Cohort("v1.0.0", id), Cohort("v1.1.0", id)
		places[a]++
		if a < 10 && b < 10 {
			both++
		}
	}
	for p, n := range places {
		if n < 120 || n > 290 {
			t.Errorf("place %d has %d of 20,000 devices", p, n)
		}
	}
	if both < 120 || both > 290 {
		t.Errorf("%d of 20,000 devices are among the first tenth twice", both)
	}
}

func TestDecide(t *testing.T) {
	noon := time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)
	lab := []godwit.Label{{Key: "site", Value: "lab"}}
	place := Cohort("v1", "me")
	for _, tt := range []struct {
		what   string
		orders godwit.Orders
		labels []godwit.Label
		unset  bool
		want   godwit.Code
	}{
		{what: "everybody", orders: godwit.Orders{Rollout: 100}},
		{what: "in the cohort", orders: godwit.Orders{Rollout: place + 1}},
		{what: "not in the cohort", orders: godwit.Orders{Rollout: place}, want: godwit.CodeRollout},
		{what: "not in the wave", orders: godwit.Orders{Waves: lab}, want: godwit.CodeRollout},
		{what: "in the wave", orders: godwit.Orders{Waves: lab}, labels: lab},
		{what: "in another wave", orders: godwit.Orders{Waves: lab}, labels: []godwit.Label{{Key: "site", Value: "field"}}, want: godwit.CodeRollout},
		{what: "beside the wave", orders: godwit.Orders{Waves: lab, Rollout: 100}},
		{what: "halted", orders: godwit.Orders{Rollout: 100, Halt: "why"}, labels: lab, want: godwit.CodeHalted},
		{what: "halted and expired", orders: godwit.Orders{Rollout: 100, Halt: "why", NotAfter: noon.Add(-time.Second)}, want: godwit.CodeExpired},
		{what: "expired", orders: godwit.Orders{Rollout: 100, NotAfter: noon.Add(-time.Second)}, want: godwit.CodeExpired},
		{what: "not expired", orders: godwit.Orders{Rollout: 100, NotAfter: noon}},
		{what: "in the window", orders: godwit.Orders{Rollout: 100, Window: godwit.Window{From: 720, To: 721}}},
		{what: "before the window", orders: godwit.Orders{Rollout: 100, Window: godwit.Window{From: 721, To: 800}}, want: godwit.CodeWindow},
		{what: "after the window", orders: godwit.Orders{Rollout: 100, Window: godwit.Window{From: 700, To: 720}}, want: godwit.CodeWindow},
		{what: "across midnight, out", orders: godwit.Orders{Rollout: 100, Window: godwit.Window{From: 1320, To: 720}}, want: godwit.CodeWindow},
		{what: "across midnight, in", orders: godwit.Orders{Rollout: 100, Window: godwit.Window{From: 1320, To: 721}}},
		{what: "without a clock", orders: godwit.Orders{Rollout: 100, Window: godwit.Window{From: 721, To: 800}}, unset: true},
		{what: "expired, without a clock", orders: godwit.Orders{Rollout: 100, NotAfter: noon.Add(-time.Second)}, unset: true, want: godwit.CodeExpired},
	} {
		tt.orders.Release, tt.orders.Channel = "v1", "stable"
		err := Decide(tt.orders, Device{ID: "me", Labels: tt.labels}, noon, !tt.unset)
		if godwit.CodeOf(err) != tt.want {
			t.Errorf("%s: %v, want %q", tt.what, err, tt.want)
		}
	}
}

func TestFloor(t *testing.T) {
	for _, tt := range []struct {
		floor, running string
		want           bool
	}{
		{"v1.2.0", "v1.1.9", true}, {"v1.2.0", "v1.2.0", false}, {"v1.2.0", "1.10.0", false}, {"v1.2.0", "v1.2.0-rc.1", true},
		{"", "v1.0.0", false}, {"v1.2.0", "", false}, {"v1.2.0", "main", false},
	} {
		if got := BelowFloor(godwit.Orders{Floor: tt.floor}, tt.running); got != tt.want {
			t.Errorf("floor %q, running %q: %v", tt.floor, tt.running, got)
		}
	}
}
