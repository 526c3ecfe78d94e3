package engine_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/godwit-ota/godwit/engine"
	"github.com/godwit-ota/godwit/internal/githost"
	"github.com/godwit-ota/godwit/store"
)

// A host that does whatever comes to its mind: it puts tags and states of the
// channel under each other's names, makes one ref stand for another, deletes and
// brings back, and shows what strangers signed. Whatever it does, the device
// runs what the last state that it saw has named, and nothing is forgotten; and
// once the host is honest again, the device gets to the newest release.
// GODWIT_SEEDS says how many such hosts there are.
func TestAttackRandomHost(t *testing.T) {
	seeds, _ := strconv.Atoi(os.Getenv("GODWIT_SEEDS"))
	for seed := range max(seeds, 3) {
		t.Run(strconv.Itoa(seed), func(t *testing.T) { randomHost(t, uint64(seed)) })
	}
}

func randomHost(t *testing.T, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 7))
	f := newFleet(t, []store.Layout{store.InPlace, store.Slots}[seed%2], githost.Config{NoFilter: seed%3 == 0})
	names := []string{"v1.0.0", "v1.1.0", "v1.2.0", "v1.3.0", "v1.4.0", "v1.5.0"}
	objects, commits := map[string]string{}, map[string]string{}
	keep := func(label, ref string) { objects[label] = f.git("rev-parse", "refs/tags/"+ref) }
	for _, n := range names {
		commits[n] = f.release(n)
		keep(n, n)
	}
	// What the author has said over time, and what a device that saw it may run.
	states := []struct {
		release, more string
		way           string // a floor
		halted        bool
	}{
		1: {"v1.1.0", "", "", false}, 2: {"v1.2.0", "Halt: no", "", true}, 3: {"v1.2.0", "", "", false}, 4: {"v1.3.0", "Floor: v1.2.0", "v1.2.0", false},
		5: {"v1.2.0", "Rollback-To: v1.2.0", "", false}, 6: {"v1.2.0", "Rollback-To: v1.2.0\nRollout: 1%", "", false}, 7: {"v1.4.0", "Floor: v1.3.0", "v1.3.0", false}, 8: {"v1.4.0", "Halt: yes", "", true},
	}
	for n, s := range states {
		if n > 0 {
			f.channel(n, s.release, s.more)
			keep(fmt.Sprint("state ", n), "channel/stable")
		}
	}
	for i, r := range []string{"v1.5.0", "v1.0.0"} {
		f.tag("alice", "channel/dev", commits[r], fmt.Sprintf("Product: station\nSequence: %d\nRelease: %s", 50+i, r))
		keep(fmt.Sprint("another channel ", i), "channel/dev")
	}
	f.tag("mallory", "channel/stable", commits["v1.5.0"], "Product: station\nSequence: 90\nRelease: v1.5.0")
	keep("a stranger's channel", "channel/stable")
	f.tag("mallory", "v1.5.0", f.commit("v1.5.0 evil"), "Product: station")
	keep("a stranger's release", "v1.5.0")
	f.tag("alice", "v1.3.0", f.commit("v1.3.0 toaster"), "Product: toaster")
	keep("another product's", "v1.3.0")
	refs := append([]string{"channel/stable", "channel/dev"}, names...)
	honest := func() {
		for _, r := range refs {
			f.git("update-ref", "--no-deref", "-d", "refs/tags/"+r)
		}
		for _, n := range names {
			f.git("update-ref", "refs/tags/"+n, objects[n])
		}
	}
	honest()
	f.git("update-ref", "refs/tags/channel/stable", objects["state 1"])
	f.takes("v1.1.0")
	var labels []string
	for l := range objects {
		labels = append(labels, l)
	}
	slices.Sort(labels)

	for range 50 {
		ref := refs[max(0, random.IntN(len(refs)+2)-2)] // mostly the channel
		full := "refs/tags/" + ref
		what := "delete " + ref
		f.git("update-ref", "--no-deref", "-d", full)
		put := func(label string) {
			f.git("update-ref", "--no-deref", full, objects[label])
			what = ref + " is " + label
		}
		switch k := random.IntN(10); {
		case k == 0:
		case k == 1:
			to := refs[random.IntN(len(refs))]
			what = ref + " stands for " + to
			if to != ref {
				f.git("symbolic-ref", full, "refs/tags/"+to)
			}
		case k < 5 && ref == "channel/stable":
			put(fmt.Sprint("state ", 1+random.IntN(len(states)-1)))
		case k < 8 && objects[ref] != "":
			put(ref)
		default:
			put(labels[random.IntN(len(labels))])
		}

		before, was := f.memory(), f.running()
		var err error
		forced := false
		switch random.IntN(4) {
		case 0:
			e, done := f.engine()
			_, err = e.Check(context.Background())
			done()
		case 1:
			forced = true
			_, err = f.update(engine.UpdateOptions{Force: true})
		default:
			_, err = f.update(engine.UpdateOptions{})
		}
		m, now := f.memory(), f.running()
		line := fmt.Sprintf("%s; forced %v: %v; runs %s, remembers %s and number %d", what, forced, err, now.Name, m.Version, m.Sequence)
		t.Log(line)
		switch state := states[min(m.Sequence, uint64(len(states)-1))]; {
		case m.Sequence < before.Sequence || m.Sequence >= uint64(len(states)) || m.Channel != "stable":
			t.Fatalf("the channel's number is wrong: %s", line)
		case m.Version < before.Version && m.Sequence != 5 && m.Sequence != 6:
			t.Fatalf("%s was forgotten: %s", before.Version, line)
		case now.ID == was.ID:
		case commits[now.Name] != now.ID:
			t.Fatalf("that is not this release: %s", line)
		case now.Name != state.release && now.Name != state.way:
			t.Fatalf("the channel did not say so: %s", line)
		case state.halted && !forced:
			t.Fatalf("it was halted: %s", line)
		}
	}
	honest()
	f.now = f.now.Add(time.Hour)
	f.channel(9, "v1.5.0", "Floor: v1.3.0")
	f.takes("v1.5.0")
}

func (f *fleet) running() store.Version {
	f.t.Helper()
	s, err := store.Open(f.fs, store.Options{Layout: f.layout})
	f.must(err)
	return s.Record().Running
}
