package history

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/vfs/crashfs"
	"pgregory.net/rapid"
)

// A model is what a history should be, written down plainly.
type model struct {
	events  []string // "kind name xN", the oldest first
	metered int64
	free    int64
}

const (
	modelLimit    = 6
	modelAttempts = 3
)

func (m *model) add(kind Kind, name string) {
	count := 1
	if kind == KindError {
		seen := 0
		for i := len(m.events) - 1; i >= 0 && seen < recentErrors; i-- {
			var k, n string
			var c int
			fmt.Sscanf(m.events[i], "%s %s x%d", &k, &n, &c)
			if Kind(k) != KindError {
				continue
			}
			if seen++; n == name {
				count += c
				m.events = slices.Delete(m.events, i, i+1)
				break
			}
		}
	}
	m.events = append(m.events, fmt.Sprintf("%s %s x%d", kind, name, count))
	most := modelLimit
	if kind == KindUpdate {
		most = modelAttempts
	}
	var same []int
	for i, e := range m.events {
		if strings.HasPrefix(e, string(kind)+" ") {
			same = append(same, i)
		}
	}
	if len(same) > most {
		m.events = slices.Delete(m.events, same[0], same[0]+1)
	}
}

func (m model) String() string {
	return fmt.Sprint(strings.Join(m.events, ", "), "; ", m.metered, " ", m.free)
}

func (m model) clone() model { m.events = slices.Clone(m.events); return m }

func modelOf(h *History) model {
	var m model
	for e := range h.Events() {
		m.events = append(m.events, fmt.Sprintf("%s %s x%d", e.Kind, e.Name, e.Count))
	}
	slices.Reverse(m.events)
	for _, b := range h.Bytes() {
		m.metered += b.MeteredSent + b.MeteredReceived
		m.free += b.Sent + b.Received
	}
	return m
}

// A history does what the model does, also when it is read again; and a power
// cut leaves it as it was at some moment since the last call that promises to
// write, and within the bounds for what may be lost.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
		disk := crashfs.New(rapid.SampledFrom(disks).Draw(t, "disk").o)
		if err := disk.Mkdir(".godwit"); err != nil {
			t.Fatal(err)
		}
		disk.Sync()
		opt := Options{Now: func() time.Time { return now }, Limit: modelLimit, Attempts: modelAttempts}
		var h *History
		open := func() {
			var err error
			if h, err = Open(disk, ".godwit", opt); err != nil {
				t.Fatal(err)
			}
		}
		open()
		var m model
		type moment struct {
			model
			at time.Time
		}
		since := []moment{{m, now}} // the first is on the disk
		boots := 0
		booted := ""
		step := func(promise bool, err error) {
			if err != nil {
				t.Fatal(err)
			}
			if got := modelOf(h).String(); got != m.String() {
				t.Fatalf("history: %s\nmodel:   %s", got, m)
			}
			if promise {
				since = nil
			}
			since = append(since, moment{m.clone(), now})
		}
		boot := func() {
			boots++
			id := fmt.Sprint("b", boots)
			closed := h.s.boot.closed || h.s.boot.id == ""
			crashed, err := h.Boot(id, false, "")
			if crashed == closed {
				t.Fatalf("crashed %v, closed %v", crashed, closed)
			}
			if crashed {
				m.add(KindCrash, "unclean boot")
				m.events[len(m.events)-1] = "crash unclean boot x1"
			}
			booted = id
			step(true, err)
		}
		// found takes the disk as it is after a cut or a kill.
		found := func() {
			open()
			got := modelOf(h)
			i := slices.IndexFunc(since, func(x moment) bool { return x.String() == got.String() })
			if i < 0 {
				t.Fatalf("found: %s\nwhich it never was since %s", got, since[0])
			}
			// What was lost is young, and not much.
			for j := i + 1; j < len(since); j++ {
				if now.Sub(since[j].at) > 12*time.Hour {
					t.Fatalf("%s was lost after %v", since[j], now.Sub(since[j].at))
				}
			}
			if last := since[len(since)-1]; last.metered-got.metered >= 64<<10 || last.free-got.free >= 4<<20 {
				t.Fatalf("lost: from %s to %s", last, got)
			}
			m = got
			since = []moment{{m.clone(), now}}
		}
		name := rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f"})
		actions := map[string]func(*rapid.T){
			"crash": func(t *rapid.T) {
				n := name.Draw(t, "name")
				m.add(KindCrash, n)
				step(true, h.Crash(n, ""))
			},
			"error": func(t *rapid.T) {
				n := name.Draw(t, "name")
				m.add(KindError, n)
				step(false, h.Error(godwit.Code(n), "stage", "text"))
			},
			"attempt": func(t *rapid.T) {
				n := name.Draw(t, "name")
				m.add(KindUpdate, n)
				step(true, h.Attempt("x", "y", n, "", 1, time.Second))
			},
			"bytes": func(t *rapid.T) {
				n, metered := rapid.Int64Range(0, 40000).Draw(t, "n"), rapid.Bool().Draw(t, "metered")
				if metered {
					m.metered += n
				} else {
					m.free += 2 * n
					n *= 2
				}
				step(false, h.AddBytes(metered, n/2, n-n/2))
			},
			"check": func(t *rapid.T) { step(false, h.SetLastCheck(now, time.Hour)) },
			"wait": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(1, 200).Draw(t, "minutes")) * time.Minute)
				step(false, h.Tick())
			},
			"flush": func(t *rapid.T) { step(true, h.Flush()) },
			"close": func(t *rapid.T) {
				if err := h.Close(); err != nil {
					t.Fatal(err)
				}
				step(true, nil)
				open()
				step(true, nil)
				boot()
			},
			"kill": func(t *rapid.T) {
				disk = disk.Clone()
				found()
				if _, err := h.Boot(booted, false, ""); err != nil {
					t.Fatal(err)
				}
			},
			"cut": func(t *rapid.T) {
				disk = disk.Crash(crashfs.Seeded(rapid.Uint64().Draw(t, "seed")))
				found()
				boot()
			},
		}
		boot()
		t.Repeat(actions)
	})
}
