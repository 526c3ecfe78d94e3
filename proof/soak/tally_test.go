package soak

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/report"
)

// A tally is what there was to count in one life.
type tally struct {
	days, boots, reboots, kills, outages, pauses, broken, full, clocks int
	checks, requests, mostRequests, fetched, confirmed, refusals       int
	withdrawn, looks, quietDays, mostWrites, mostPending, missing      int
	bytes, mostDisk, dropped                                           int64
	longest, found                                                     time.Duration
	cuts                                                               map[string]int
	releases                                                           map[kind]int
	deferred, failed                                                   map[godwit.Code]int
	reports                                                            map[report.Verdict]int
	unlucky                                                            map[string]bool
	odd                                                                []string // errors that nobody expects
}

func newTally() tally {
	return tally{cuts: map[string]int{}, releases: map[kind]int{}, deferred: map[godwit.Code]int{}, failed: map[godwit.Code]int{},
		reports: map[report.Verdict]int{}, unlucky: map[string]bool{}}
}

// list writes counters in the order of their names, after their sum.
func list[K cmp.Ordered](m map[K]int) string {
	var parts []string
	sum := 0
	for _, k := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, fmt.Sprintf("%v %d", k, m[k]))
		sum += m[k]
	}
	return fmt.Sprintf("%d (%s)", sum, strings.Join(parts, ", "))
}

func (t tally) String() string {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "  %-12s %s\n", name, fmt.Sprintf(format, args...))
	}
	line("time", "%d days, %d boots, %d of them restarts in order", t.days, t.boots, t.reboots)
	line("power cuts", "%s", list(t.cuts))
	line("trouble", "%d kills, %d outages, %d pauses asked for, %d transfers broken, %d times a full disk, %d times a wrong clock",
		t.kills, t.outages, t.pauses, t.broken, t.full, t.clocks)
	line("releases", "%s, %d withdrawn", list(t.releases), t.withdrawn)
	line("checks", "%d with %d requests, at most %d on one day", t.checks, t.requests, t.mostRequests)
	line("confirmed", "%d updates with %d files and %d bytes in all", t.confirmed, t.fetched, t.bytes)
	line("deferred", "%s", list(t.deferred))
	line("ended", "%s", list(t.failed))
	for _, o := range t.odd {
		line("odd", "%s", o)
	}
	line("good ones", "%d were given up because their trial was cut short too often", len(t.unlucky))
	line("looks", "%d at the whole tree; at most %d bytes of disk", t.looks, t.mostDisk)
	line("behind", "%v at most with nothing in the way", t.longest.Round(time.Second))
	line("quiet days", "%d, with at most %d changes of the disk", t.quietDays, t.mostWrites)
	line("reports", "%s, at most %d waited, %d dropped, %d confirmed ones not reported", list(t.reports), t.mostPending, t.dropped, t.missing)
	return b.String()
}

// A tail keeps the last lines that were written to it.
type tail struct{ b []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.b = append(t.b, p...)
	if len(t.b) > 32<<10 {
		t.b = slices.Clone(t.b[len(t.b)-8<<10:])
	}
	return len(p), nil
}

func (t *tail) last(n int) string {
	lines := bytes.Split(bytes.TrimRight(t.b, "\n"), []byte("\n"))
	return string(bytes.Join(lines[max(0, len(lines)-n):], []byte("\n")))
}
