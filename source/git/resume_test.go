package git

import (
	"context"
	"fmt"
	"math/rand"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/internal/githost"
	"github.com/godwit-ota/godwit/internal/githost/nethttp"
)

// Exchanges that are cut again and again, a little further each time, reach
// their end, and cost little more than one that is not cut.
func TestResume(t *testing.T) {
	for _, o := range []worldOptions{{}, {host: githost.Config{NoFilter: true}}} {
		for _, install := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s install %v", o.name(), install), func(t *testing.T) {
				t.Parallel()
				limit, o := int64(-1), o
				o.host.Wrap = nethttp.Wrap(cutAfter(&limit))
				measure := func(cut bool) (bytes int64, cuts int) {
					limit = -1
					w := newWorld(t, o)
					if !install {
						w.commit(bigTree(30, 1))
						w.update()
					}
					w.commit(bigTree(400, 2))
					bytes, _ = w.traffic(func() {
						for !cut {
							w.update()
							return
						}
						for limit = 90_000; ; cuts++ {
							rel, err := w.tryUpdate()
							if err == nil {
								w.check(rel.Commit)
								return
							}
							if godwit.CodeOf(err) != godwit.CodeNetwork {
								t.Fatalf("%v (%s)", err, godwit.CodeOf(err))
							}
							if cuts > 12 {
								t.Fatal("it never ends")
							}
						}
					})
					return bytes, cuts
				}
				whole, _ := measure(false)
				resumed, cuts := measure(true)
				t.Logf("%d bytes at once, %d with %d cuts", whole, resumed, cuts)
				if cuts == 0 || resumed > whole*3/2 {
					t.Errorf("%d bytes at once, %d with %d cuts", whole, resumed, cuts)
				}
			})
		}
	}
}

// TestGoesOnAfterCuts: a device that tries requests more than once needs one run for
// all cuts, as long as each exchange brings something.
func TestGoesOnAfterCuts(t *testing.T) {
	for _, install := range []bool{true, false} {
		limit := int64(-1)
		w := newWorld(t, worldOptions{host: githost.Config{Wrap: nethttp.Wrap(cutAfter(&limit))}})
		w.cfg.Remote.Attempts, w.cfg.Remote.Backoff = 2, time.Millisecond
		if !install {
			w.commit(bigTree(30, 1))
			w.update()
		}
		w.commit(bigTree(400, 2))
		limit = 90_000
		w.update()
		// A content that is larger than what gets through is asked for no more often
		// than before, but for the pages that this host does not have.
		limit = -1
		noise := make([]byte, 200_000)
		rand.New(rand.NewSource(1)).Read(noise)
		w.commit(map[string]githost.Change{"noise": {Content: noise}})
		limit = 90_000
		_, requests := w.traffic(func() {
			_, err := w.tryUpdate()
			if godwit.CodeOf(err) != godwit.CodeNetwork || !strings.Contains(err.Error(), "broke before the file that is missing was whole") {
				t.Errorf("%v (%s)", err, godwit.CodeOf(err))
			}
		})
		if requests > 7 {
			t.Errorf("%d requests", requests)
		}
	}
}

// A cut at any byte leaves nothing that a second try stumbles over.
func TestCutAnywhere(t *testing.T) {
	limit := int64(-1)
	w := newWorld(t, worldOptions{host: githost.Config{Wrap: nethttp.Wrap(cutAfter(&limit))}})
	first := w.commit(bigTree(20, 1))
	w.update()
	w.commit(map[string]githost.Change{"dir1/sub1/file1": githost.Text("changed\n"), "large.bin": githost.Text("x"), "new": githost.Text("new\n")})
	for n := int64(100); n < 1500; n += 90 {
		limit = n
		_, err := w.tryUpdate()
		limit = -1
		if err == nil {
			break
		}
		if godwit.CodeOf(err) != godwit.CodeNetwork {
			t.Fatalf("after %d bytes: %v (%s)", n, err, godwit.CodeOf(err))
		}
		w.check(first)
	}
	w.update()
}

// The byte goal: no more than git itself needs, and far less with a filter.
func TestBytes(t *testing.T) {
	w := newWorld(t, worldOptions{})
	w.commit(bigTree(600, 1))
	clone := filepath.Join(t.TempDir(), "clone")
	git := func(args ...string) {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-c", "gc.auto=0", "-c", "maintenance.auto=false"}, args...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %s: %v: %s", args, err, out)
		}
	}
	theirs, _ := w.traffic(func() { git("clone", "-q", "--depth=1", "--bare", w.cfg.Remote.URL, clone) })
	ours, _ := w.traffic(func() { w.update() })
	check := func(what string, slack int64) {
		t.Helper()
		t.Logf("%s: git %d bytes, Godwit %d: %.3f", what, theirs, ours, float64(ours)/float64(theirs))
		if ours > theirs*105/100+slack {
			t.Errorf("%s: git %d bytes, Godwit %d", what, theirs, ours)
		}
	}
	check("install", 0)
	fetch := func() {
		theirs, _ = w.traffic(func() { git("-C", clone, "fetch", "-q", "--depth=1", "origin", "+main:main") })
		ours, _ = w.traffic(func() { w.update() })
	}
	w.commit(map[string]githost.Change{"dir1/sub1/file1": githost.Text("changed\n")})
	fetch()
	check("one small file", 0)
	edits := make(map[string]githost.Change)
	for p, c := range bigTree(600, 1) {
		if strings.Contains(p, "dir1") {
			edits[p] = githost.Text(string(c.Content) + "one more line\n")
		}
	}
	w.commit(edits)
	fetch()
	check("a line in each of many files", 0)
	w.commit(bigTree(600, 5))
	fetch()
	check("everything", 0)

	w.cfg.Filter = func(p string) bool { return strings.HasPrefix(p, "dir3/") }
	w.commit(bigTree(600, 6))
	fetch()
	t.Logf("everything, a tenth of it wanted: git %d bytes, Godwit %d", theirs, ours)
	if ours > theirs/6 {
		t.Errorf("with a filter: git %d bytes, Godwit %d", theirs, ours)
	}
	w.cfg.Filter = nil
	_, requests := w.traffic(func() {
		s := w.source()
		defer s.Close()
		if _, err := s.Tip(context.Background()); err != nil {
			t.Fatal(err)
		}
	})
	if requests != 1 {
		t.Errorf("%d requests for a poll", requests)
	}
}
