package engine_test

import (
	"bytes"
	"compress/zlib"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/engine"
	"github.com/godwit-ota/godwit/gate"
	"github.com/godwit-ota/godwit/internal/githost"
	"github.com/godwit-ota/godwit/store"
)

// The attacks of docs/security.md, played by somebody who owns the Git host: the
// repository is changed behind the back of those who sign, and a device asks a
// real git http-backend for it.

func TestAttackArbitrarySoftware(t *testing.T) {
	layouts(t, func(t *testing.T, l store.Layout) {
		for _, host := range []githost.Config{{}, {NoFilter: true}, {Version0: true}} {
			f := newFleet(t, l, host)
			f.release("v1.0.0")
			f.takes("v1.0.0")
			evil := f.commit("v2.0.0, evil")
			f.git("tag", "v2.0.0", evil) // no tag object at all: no version
			f.takes("v1.0.0")
			f.follow.Channel, f.follow.Tag = "", "v2.0.0"
			f.refuses(godwit.CodeUnsigned, "v1.0.0")
			f.follow.Channel, f.follow.Tag = "stable", ""
			f.put("v2.0.0", "object "+evil+"\ntype commit\ntag v2.0.0\ntagger E <e@e> 1796200000 +0000\n\nevil\n\nProduct: station\n")
			f.refuses(godwit.CodeUnsigned, "v1.0.0")
			f.tag("mallory", "v2.0.0", evil, "Product: station")
			f.refuses(godwit.CodeUnknownSigner, "v1.0.0")
			// A signature of alice's, below another text.
			good := f.tag("alice", "v2.0.0", f.git("rev-parse", "v1.0.0^{commit}"), "Product: station")
			f.put("v2.0.0", strings.Replace(good, f.git("rev-parse", "v1.0.0^{commit}"), evil, 1))
			f.refuses(godwit.CodeBadSignature, "v1.0.0")
			// The tip of a branch is nobody's word.
			f.follow.Channel, f.follow.Branch = "", "main"
			f.refuses(godwit.CodeUnsigned, "v1.0.0")
		}
	})
}

// Junk above the newest release keeps nobody from it, and does not go unseen.
func TestNewestSignedVersion(t *testing.T) {
	f := newFleet(t, store.Slots, githost.Config{})
	f.release("v1.0.0")
	f.takes("v1.0.0")
	f.release("v1.1.0")
	f.release("v1.2.0")
	f.tag("mallory", "v2.0.0", f.commit("v2.0.0"), "Product: station")
	f.tag("alice", "v3.0.0", f.commit("v3.0.0"), "Product: toaster")
	f.takes("v1.2.0")
	f.refuses(godwit.CodeWrongProduct, "v1.2.0")
	for i := range 9 {
		f.tag("mallory", fmt.Sprintf("v4.0.%d", i), f.git("rev-parse", "main"), "Product: station")
	}
	f.release("v1.3.0")
	f.refuses(godwit.CodeUnknownSigner, "v1.2.0") // withheld, visibly
}

func TestAttackRollback(t *testing.T) {
	layouts(t, func(t *testing.T, l store.Layout) {
		f := newFleet(t, l, githost.Config{})
		f.release("v1.0.0")
		old := f.git("rev-parse", "refs/tags/v1.0.0")
		f.takes("v1.0.0")
		f.release("v1.1.0")
		f.takes("v1.1.0")
		// The newest release disappears.
		f.git("update-ref", "-d", "refs/tags/v1.1.0")
		f.refuses(godwit.CodeDowngrade, "v1.1.0")
		// An old one gets a new name.
		f.git("update-ref", "refs/tags/v9.0.0", old)
		err := f.refuses(godwit.CodeWrongName, "v1.1.0")
		if !strings.Contains(err.Error(), "v9.0.0") || !strings.Contains(err.Error(), "v1.0.0") {
			t.Errorf("the sentence does not say which: %v", err)
		}
		f.git("update-ref", "-d", "refs/tags/v9.0.0")
		// Somebody on the device may.
		if _, err := f.update(engine.UpdateOptions{Forget: true}); err != nil {
			t.Error(err)
		}
		f.runs("v1.0.0")
		if m := f.memory(); m.Version != "v1.0.0" {
			t.Errorf("%+v", m)
		}
	})
}

func TestAttackReplayedChannel(t *testing.T) {
	f := newFleet(t, store.Slots, githost.Config{})
	f.release("v1.0.0")
	f.release("v1.1.0")
	f.channel(1, "v1.0.0", "")
	first := f.git("rev-parse", "refs/tags/channel/stable")
	f.takes("v1.0.0")
	f.channel(2, "v1.1.0", "Halt: it burns")
	f.refuses(godwit.CodeHalted, "v1.0.0") // the halt was seen, and counts as seen
	f.git("update-ref", "refs/tags/channel/stable", first)
	f.refuses(godwit.CodeReplayed, "v1.0.0")
	f.git("update-ref", "-d", "refs/tags/channel/stable")
	f.refuses(godwit.CodeWithdrawn, "v1.0.0")
	f.git("update-ref", "refs/tags/channel/beta", first)
	f.follow.Channel, f.trust.Channel = "beta", "beta"
	f.refuses(godwit.CodeWrongName, "v1.0.0")
	f.follow.Channel, f.trust.Channel = "stable", "stable"
	// The release behind the channel is another one than it was signed for.
	f.channel(3, "v1.1.0", "")
	f.git("update-ref", "refs/tags/v1.1.0", f.git("rev-parse", "refs/tags/v1.0.0"))
	f.refuses(godwit.CodeWrongName, "v1.0.0")
	// A person can go on, after the author has.
	f.tag("alice", "v1.1.0", f.commit("v1.1.0"), "Product: station")
	f.channel(4, "v1.1.0", "")
	f.takes("v1.1.0")
}

// An author can go back, with a word newer than anything seen.
func TestSignedRollback(t *testing.T) {
	layouts(t, func(t *testing.T, l store.Layout) {
		f := newFleet(t, l, githost.Config{})
		f.release("v1.0.0")
		f.release("v1.1.0")
		f.channel(1, "v1.1.0", "")
		f.takes("v1.1.0")
		f.channel(2, "v1.0.0", "")
		f.refuses(godwit.CodeDowngrade, "v1.1.0")
		f.channel(3, "v1.0.0", "Rollback-To: v1.0.0")
		f.takes("v1.0.0")
		f.release("v1.0.1")
		f.channel(4, "v1.0.1", "")
		f.takes("v1.0.1")
	})
}

func TestAttackFreeze(t *testing.T) {
	f := newFleet(t, store.Slots, githost.Config{})
	f.release("v1.0.0")
	f.release("v1.1.0")
	f.channel(1, "v1.0.0", "Not-After: 2027-01-01T00:00:00Z")
	f.takes("v1.0.0")
	f.channel(2, "v1.1.0", "Not-After: 2027-01-01T00:00:00Z")
	f.now = time.Date(2027, 1, 2, 0, 0, 0, 0, time.UTC)
	f.refuses(godwit.CodeExpired, "v1.0.0")
	if _, err := f.update(engine.UpdateOptions{Force: true}); godwit.CodeOf(err) != godwit.CodeExpired {
		t.Errorf("forced: %v", err)
	}
	e, done := f.engine()
	s, err := e.Status()
	done()
	if err != nil || !s.Channel.Expired || s.Channel.Release != "v1.1.0" || !strings.Contains(s.LastCheck.Text, "good until") {
		t.Errorf("it cannot be seen: %+v, %v", s, err)
	}
	// A clock that somebody set back does not help: it is later than that.
	f.now = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	f.trust.Threshold = 1
	now := f.now
	f.now = time.Date(2027, 1, 3, 0, 0, 0, 0, time.UTC)
	f.channel(3, "v1.1.0", "Not-After: 2027-01-02T00:00:00Z")
	f.now = now
	f.refuses(godwit.CodeExpired, "v1.0.0")
	// Renewed.
	f.now = time.Date(2027, 1, 4, 0, 0, 0, 0, time.UTC)
	f.channel(4, "v1.1.0", "Not-After: 2027-02-01T00:00:00Z")
	f.takes("v1.1.0")
	// What runs goes on running, and is up to date, whatever expires.
	f.now = time.Date(2028, 1, 1, 0, 0, 0, 0, time.UTC)
	f.takes("v1.1.0")
}

// What was refused leaves no trace in the memory, so nobody without a key can
// push it ahead.
func TestAttackFastForward(t *testing.T) {
	f := newFleet(t, store.Slots, githost.Config{})
	f.release("v1.0.0")
	f.takes("v1.0.0")
	before := f.memory()
	f.tag("mallory", "v999.0.0", f.commit("v999.0.0"), "Product: station")
	f.refuses(godwit.CodeUnknownSigner, "v1.0.0")
	f.tag("mallory", "channel/stable", f.git("rev-parse", "main"), "Product: station\nSequence: 999999\nRelease: v999.0.0")
	f.refuses(godwit.CodeUnknownSigner, "v1.0.0")
	if m := f.memory(); m != before {
		t.Errorf("%+v became %+v", before, m)
	}
	f.git("update-ref", "-d", "refs/tags/v999.0.0")
	f.git("update-ref", "-d", "refs/tags/channel/stable")
	f.release("v1.1.0")
	f.takes("v1.1.0")
}

func TestAttackWrongProduct(t *testing.T) {
	f := newFleet(t, store.Slots, githost.Config{})
	f.release("v1.0.0")
	f.takes("v1.0.0")
	f.tag("alice", "v2.0.0", f.commit("v2.0.0"), "Product: toaster")
	f.refuses(godwit.CodeWrongProduct, "v1.0.0")
	f.tag("alice", "v2.0.0", f.commit("v2.0.0"), "")
	f.refuses(godwit.CodeWrongProduct, "v1.0.0")
}

// replace puts other bytes into the repository under the name of an object.
func (f *fleet) replace(id, kind string, content []byte) {
	f.t.Helper()
	name := filepath.Join(f.repo.Dir, "objects", id[:2], id[2:])
	var b bytes.Buffer
	z := zlib.NewWriter(&b)
	fmt.Fprintf(z, "%s %d\x00", kind, len(content))
	z.Write(content)
	f.must(z.Close())
	f.must(os.Chmod(name, 0o644))
	f.must(os.WriteFile(name, b.Bytes(), 0o644))
}

// A blob, a tree, a commit or a tag that is not what its name says.
func TestAttackMixAndMatch(t *testing.T) {
	for _, host := range []githost.Config{{}, {NoFilter: true}} {
		for _, what := range []string{"blob", "tree", "commit", "tag"} {
			t.Run(fmt.Sprintf("%s, no filter %v", what, host.NoFilter), func(t *testing.T) {
				f := newFleet(t, store.Slots, host)
				f.release("v1.0.0", map[string]githost.Change{"data": githost.Text("one\n")})
				f.takes("v1.0.0")
				f.release("v1.1.0", map[string]githost.Change{"data": githost.Text("two\n")})
				id := map[string]string{"blob": "v1.1.0:data", "tree": "v1.1.0:lib", "commit": "v1.1.0^{commit}", "tag": "v1.1.0"}
				if what == "tree" {
					f.release("v1.1.0", map[string]githost.Change{"lib/b.py": githost.Text("b\n")})
				}
				victim := f.git("rev-parse", id[what])
				var other []byte
				switch what {
				case "blob":
					other = []byte("owe\n")
				case "tree":
					out, err := f.repo.GitInput(nil, "cat-file", "tree", "v1.0.0:lib")
					f.must(err)
					other = []byte(out)
				default:
					out, err := f.repo.GitInput(nil, "cat-file", what, id[what])
					f.must(err)
					other = []byte(strings.Replace(out, "v1.1.0", "v1.1.1", 1) + "\n")
				}
				f.replace(victim, what, other)
				_, err := f.update(engine.UpdateOptions{})
				// git itself may notice, and then there is no answer at all.
				switch c := godwit.CodeOf(err); c {
				case "":
					// Its name is then the name of nothing, and it is no version.
					if what != "tag" {
						t.Error("it was not noticed")
					}
				case godwit.CodeTampered:
				case godwit.CodeNetwork, godwit.CodeProtocol:
					if what != "commit" && what != "tag" {
						t.Errorf("%s: %v", c, err)
					}
				default:
					t.Errorf("%s: %v", c, err)
				}
				f.runs("v1.0.0")
				if godwit.CodeOf(err).Refusal() {
					f.nothingStaged()
				}
			})
		}
	}
}

// One stolen key is not enough where two must sign, a lost one is revoked by a
// release that another key signed, and lists change with releases alone.
func TestAttackStolenKey(t *testing.T) {
	layouts(t, func(t *testing.T, l store.Layout) {
		f := newFleet(t, l, githost.Config{})
		f.trust.Threshold = 2
		commit := f.commit("v1.0.0")
		f.cosign("bob", "v1.0.0", f.tag("alice", "v1.0.0", commit, "Product: station"))
		f.takes("v1.0.0")
		f.tag("alice", "v1.1.0", f.commit("v1.1.0"), "Product: station")
		f.refuses(godwit.CodeThreshold, "v1.0.0")

		f.trust.Threshold = 1
		alice, err := os.ReadFile(filepath.Join(f.dir, "alice.pub"))
		f.must(err)
		commit = f.commit("v1.1.0", map[string]githost.Change{godwit.RevokedPath: {Content: alice}})
		f.tag("bob", "v1.1.0", commit, "Product: station")
		f.takes("v1.1.0")
		f.tag("alice", "v1.2.0", f.commit("v1.2.0"), "Product: station")
		f.refuses(godwit.CodeRevoked, "v1.1.0")
		f.git("update-ref", "-d", "refs/tags/v1.2.0")
		// Not even a release that takes the revocation back.
		if _, err := f.repo.Commit("main", "back", map[string]githost.Change{godwit.RevokedPath: githost.Remove()}); err != nil {
			t.Fatal(err)
		}
		f.tag("alice", "v1.2.1", f.git("rev-parse", "main"), "Product: station")
		f.refuses(godwit.CodeRevoked, "v1.1.0")
		f.git("update-ref", "-d", "refs/tags/v1.2.1")

		// Rotation: mallory turns out to be a new colleague.
		f.tag("bob", "v1.3.0", f.commit("v1.3.0", map[string]githost.Change{godwit.SignersPath: githost.Text(f.signers("mallory"))}), "Product: station")
		f.takes("v1.3.0")
		f.tag("bob", "v1.4.0", f.commit("v1.4.0"), "Product: station")
		f.refuses(godwit.CodeUnknownSigner, "v1.3.0")
		f.tag("mallory", "v1.4.0", f.git("rev-parse", "main"), "Product: station")
		f.takes("v1.4.0")
		// A list nobody could sign under.
		f.tag("mallory", "v1.5.0", f.commit("v1.5.0", map[string]githost.Change{godwit.SignersPath: githost.Text("# nobody\n")}), "Product: station")
		f.refuses(godwit.CodeBadStatement, "v1.4.0")
		// The lists are nowhere in the tree.
		for _, p := range []string{"current/" + godwit.SignersPath, godwit.SignersPath} {
			if _, err := os.Lstat(filepath.Join(f.dir, "device", p)); err == nil {
				t.Errorf("%s is installed", p)
			}
		}
		// They survive a rollback.
		e, done := f.engine()
		_, err = e.Rollback(context.Background())
		done()
		f.must(err)
		f.runs("v1.3.0")
		f.git("update-ref", "-d", "refs/tags/v1.5.0")
		f.tag("bob", "v1.6.0", f.commit("v1.6.0"), "Product: station")
		f.refuses(godwit.CodeUnknownSigner, "v1.3.0")
	})
}

// A list that a release brought and that is damaged later trusts nobody, until
// somebody on the device says so.
func TestDamagedList(t *testing.T) {
	f := newFleet(t, store.Slots, githost.Config{})
	f.release("v1.0.0", map[string]githost.Change{godwit.SignersPath: githost.Text(f.signers("alice"))})
	f.takes("v1.0.0")
	copies, err := filepath.Glob(filepath.Join(f.dir, "device/.godwit/list/git-sha1-*"))
	if err != nil || len(copies) != 2 {
		t.Fatalf("%q, %v", copies, err)
	}
	for i, name := range []string{"v1.1.0", "v1.2.0"} {
		f.must(os.WriteFile(copies[i], []byte(f.signers("mallory")), 0o644))
		f.release(name)
		if i == 0 {
			f.takes(name) // the other copy will do
		}
	}
	if _, err := f.update(engine.UpdateOptions{}); godwit.CodeOf(err) != godwit.CodeDamaged {
		t.Errorf("%v", err)
	}
	if _, err := f.update(engine.UpdateOptions{Forget: true}); err != nil {
		t.Error(err)
	}
	f.runs("v1.2.0")
}

// Stepping stones, cohorts and waves, end to end.
func TestChannelSteers(t *testing.T) {
	layouts(t, func(t *testing.T, l store.Layout) {
		f := newFleet(t, l, githost.Config{})
		f.release("v1.0.0")
		f.takes("v1.0.0")
		f.release("v1.2.0")
		f.release("v1.3.0")
		place := gate.Cohort("v1.3.0", f.device.ID)
		f.channel(1, "v1.3.0", fmt.Sprintf("Floor: v1.2.0\nRollout: %d%%\nWave: site=lab", max(place, 1)))
		if place > 0 {
			f.refuses(godwit.CodeRollout, "v1.0.0")
		}
		e, done := f.engine()
		c, err := e.Check(context.Background())
		done()
		if err != nil || place > 0 && (c.Available || godwit.CodeOf(c.Wait) != godwit.CodeRollout || c.Channel.Release != "v1.3.0") {
			t.Errorf("%+v, %v", c, err)
		}
		f.device.Labels = []godwit.Label{{Key: "site", Value: "lab"}}
		before := f.host.Requests()
		f.takes("v1.3.0")
		s, err := store.Open(f.fs, store.Options{Layout: l})
		f.must(err)
		if got := s.Record().Previous.Name; got != "v1.2.0" {
			t.Errorf("it came from %s, past the floor", got)
		}
		t.Logf("%d requests for two releases", f.host.Requests()-before)
		before = f.host.Requests()
		f.takes("v1.3.0")
		if n := f.host.Requests() - before; n > 1 {
			t.Errorf("%d requests to find nothing new", n)
		}
	})
}
