package engine_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/engine"
	"github.com/godwit-ota/godwit/internal/githost"
	"github.com/godwit-ota/godwit/store"
)

// A host that makes one ref stand for another gets the name that was asked for
// checked, not the one it would like.
func TestAttackSymbolicRefs(t *testing.T) {
	f := newFleet(t, store.Slots, githost.Config{})
	f.release("v1.0.0")
	f.release("v1.1.0")
	f.channel(1, "v1.0.0", "")
	first := f.git("rev-parse", "refs/tags/channel/stable")
	f.takes("v1.0.0")
	f.channel(2, "v1.1.0", "Halt: it burns")
	f.refuses(godwit.CodeHalted, "v1.0.0")
	f.tag("alice", "channel/dev", f.git("rev-parse", "v1.1.0^{commit}"), "Product: station\nSequence: 77\nRelease: v1.1.0")
	f.git("symbolic-ref", "refs/tags/channel/stable", "refs/tags/channel/dev")
	f.refuses(godwit.CodeWrongName, "v1.0.0")
	f.git("symbolic-ref", "-d", "refs/tags/channel/stable")
	f.git("update-ref", "refs/tags/channel/stable", first)
	f.refuses(godwit.CodeReplayed, "v1.0.0")

	f.follow.Channel, f.follow.Tag, f.trust.Channel = "", "v1.2.0", ""
	f.git("symbolic-ref", "refs/tags/v1.2.0", "refs/tags/v1.1.0")
	f.refuses(godwit.CodeWrongName, "v1.0.0")
}

// A device that was above a floor once can still go by way of it.
func TestFloorBelowWhatWasAccepted(t *testing.T) {
	layouts(t, func(t *testing.T, l store.Layout) {
		f := newFleet(t, l, githost.Config{})
		f.release("v1.0.0")
		f.release("v1.2.0")
		f.release("v1.4.0")
		f.channel(1, "v1.0.0", "")
		f.takes("v1.0.0")
		f.channel(2, "v1.4.0", "")
		f.takes("v1.4.0")
		e, done := f.engine()
		_, err := e.Rollback(context.Background()) // as after a trial that failed
		done()
		f.must(err)
		f.release("v1.4.1")
		f.channel(3, "v1.4.1", "Floor: v1.2.0")
		f.takes("v1.4.1")
		if m := f.memory(); m.Version != "v1.4.1" {
			t.Errorf("%+v", m)
		}
	})
}

// A person who insists gets past a halt, and not past an end.
func TestForce(t *testing.T) {
	f := newFleet(t, store.Slots, githost.Config{})
	f.release("v1.0.0")
	f.release("v1.1.0")
	f.channel(1, "v1.0.0", "")
	f.takes("v1.0.0")
	f.channel(2, "v1.1.0", "Halt: x\nNot-After: 2027-01-01T00:00:00Z")
	now := f.now
	f.now = time.Date(2027, 2, 1, 0, 0, 0, 0, time.UTC)
	if _, err := f.update(engine.UpdateOptions{Force: true}); godwit.CodeOf(err) != godwit.CodeExpired {
		t.Errorf("%v", err)
	}
	f.runs("v1.0.0")
	f.now = now
	if _, err := f.update(engine.UpdateOptions{Force: true}); err != nil {
		t.Error(err)
	}
	f.runs("v1.1.0")
}

// slow lets something happen between asking the channel and remembering what it
// said.
type slow struct {
	engine.Source
	engine.Channels
	engine.Versions
	meanwhile func()
}

func (s slow) Channel(ctx context.Context, t godwit.Tip) (godwit.Statement, error) {
	st, err := s.Channels.Channel(ctx, t)
	s.meanwhile()
	return st, err
}

// A check that began before an update does not bring the memory from before it.
func TestCheckBesideAnUpdate(t *testing.T) {
	f := newFleet(t, store.Slots, githost.Config{})
	f.release("v1.0.0")
	f.channel(1, "v1.0.0", "")
	f.takes("v1.0.0")
	f.release("v1.1.0", map[string]githost.Change{godwit.SignersPath: githost.Text(f.signers("alice"))})
	f.channel(2, "v1.1.0", "")
	e, done := f.engine()
	defer done()
	var after godwit.Memory
	e.Source = slow{e.Source, e.Source.(engine.Channels), e.Source.(engine.Versions), func() { f.takes("v1.1.0"); after = f.memory() }}
	if _, err := e.Check(context.Background()); err != nil {
		t.Error(err)
	}
	if m := f.memory(); !m.Equal(after) || m.Version != "v1.1.0" || m.Signers == "" {
		t.Errorf("%+v became %+v", after, m)
	}
}

// Once a person edits the list on a device, lists of earlier releases are gone
// for good, and that of the next one counts.
func TestEditedList(t *testing.T) {
	f := newFleet(t, store.Slots, githost.Config{})
	carried := map[string]githost.Change{godwit.SignersPath: githost.Text(f.signers("alice", "mallory"))}
	f.release("v1.0.0", carried)
	f.takes("v1.0.0")
	f.allow("allowed_signers", "bob", "alice") // mallory's key was stolen
	bob, err := os.ReadFile(filepath.Join(f.dir, "bob.pub"))
	f.must(err)
	if _, err := f.repo.Commit("main", "no list", map[string]githost.Change{godwit.SignersPath: githost.Remove()}); err != nil {
		t.Fatal(err)
	}
	f.release("v1.1.0", map[string]githost.Change{godwit.RevokedPath: {Content: bob}})
	f.takes("v1.1.0")
	f.tag("mallory", "v1.2.0", f.commit("v1.2.0"), "Product: station")
	f.refuses(godwit.CodeUnknownSigner, "v1.1.0")
	f.git("update-ref", "-d", "refs/tags/v1.2.0")

	f.allow("allowed_signers", "alice", "bob", "mallory")
	f.release("v1.3.0", map[string]githost.Change{godwit.SignersPath: githost.Text(f.signers("alice"))})
	f.takes("v1.3.0")
	f.allow("allowed_signers", "bob", "alice", "mallory")
	f.release("v1.4.0", map[string]githost.Change{godwit.SignersPath: githost.Text(f.signers("alice"))})
	f.takes("v1.4.0")
	f.tag("mallory", "v1.5.0", f.commit("v1.5.0"), "Product: station")
	f.refuses(godwit.CodeUnknownSigner, "v1.4.0")
}

// Forgetting is for a new memory, not for a look.
func TestForget(t *testing.T) {
	f := newFleet(t, store.Slots, githost.Config{})
	f.release("v1.0.0", map[string]githost.Change{godwit.SignersPath: githost.Text(f.signers("alice"))})
	f.channel(7, "v1.0.0", "")
	f.takes("v1.0.0")
	before := f.memory()
	if _, err := f.update(engine.UpdateOptions{Forget: true, DryRun: true}); err != nil || !f.memory().Equal(before) {
		t.Errorf("%v: %+v became %+v", err, before, f.memory())
	}
	f.channel(3, "v1.0.0", "")
	f.refuses(godwit.CodeReplayed, "v1.0.0")
	if _, err := f.update(engine.UpdateOptions{Forget: true}); err != nil {
		t.Error(err)
	}
	if m := f.memory(); m.Sequence != 3 || m.Version != "v1.0.0" || m.Signers != "" || m.Product != "station" {
		t.Errorf("%+v", m)
	}
	f.takes("v1.0.0")
}

// A host that makes up new statements all the time fills no disk.
func TestAttackManyStatements(t *testing.T) {
	for _, host := range []githost.Config{{}, {NoFilter: true}} {
		f := newFleet(t, store.Slots, host)
		f.release("v1.0.0")
		f.channel(1, "v1.0.0", "")
		f.takes("v1.0.0")
		count := func() int {
			d, err := os.ReadDir(filepath.Join(f.dir, "device/.godwit/git"))
			f.must(err)
			return len(d)
		}
		evil, before := f.commit("evil"), count()
		for i := range 20 {
			f.put("channel/stable", fmt.Sprintf("object %s\ntype commit\ntag channel/stable\ntagger E <e@e> 1796200000 +0000\n\nevil %d\n", evil, i))
			e, done := f.engine()
			if _, err := e.Check(context.Background()); godwit.CodeOf(err) != godwit.CodeUnsigned {
				t.Errorf("%v", err)
			}
			done()
		}
		if n := count(); n != before {
			t.Errorf("%d files became %d", before, n)
		}
	}
}

// The same release under other rules is still the one that the channel names.
func TestMovedReleaseUnderNewRules(t *testing.T) {
	f := newFleet(t, store.Slots, githost.Config{})
	f.release("v1.0.0")
	f.channel(1, "v1.0.0", "")
	f.takes("v1.0.0")
	f.tag("alice", "v1.0.0", f.commit("v1.0.0 other"), "Product: station")
	f.rules.Ignore = []string{"lib"}
	f.refuses(godwit.CodeWrongName, "v1.0.0")
}

// What a channel named is taken or refused; nothing that an older version says
// comes in its place, whatever the host shows in the next request.
func TestAttackBelowAChannel(t *testing.T) {
	f := newFleet(t, store.Slots, githost.Config{})
	f.release("v1.0.0")
	f.channel(1, "v1.0.0", "")
	f.takes("v1.0.0")
	f.release("v1.1.0")
	f.release("v1.2.0")
	f.channel(2, "v1.2.0", "")
	tag := f.git("rev-parse", "refs/tags/v1.2.0")
	text := f.git("cat-file", "tag", tag)
	f.put("v1.2.0", text[:strings.Index(text, "-----BEGIN")])
	e, done := f.engine()
	defer done()
	e.Source = slow{e.Source, e.Source.(engine.Channels), e.Source.(engine.Versions), func() { f.git("update-ref", "-d", "refs/tags/channel/stable") }}
	if _, err := e.Update(context.Background(), engine.UpdateOptions{}); godwit.CodeOf(err) != godwit.CodeUnsigned {
		t.Errorf("%v", err)
	}
	f.runs("v1.0.0")
}

// The memory fits into the record, whoever signs and however they are called.
func TestManySigners(t *testing.T) {
	f := newFleet(t, store.Slots, githost.Config{})
	key, err := os.ReadFile(filepath.Join(f.dir, "alice.pub"))
	f.must(err)
	f.must(os.WriteFile(filepath.Join(f.dir, "allowed_signers"), []byte(strings.Repeat("somebody-with-a-name@example.org,", 200)+"alice "+string(key)), 0o644))
	for i := range 5 {
		name := fmt.Sprintf("v1.%d.0", i)
		f.release(name)
		f.takes(name)
	}
}

// A stepping stone that is what runs already, under another tag, keeps nobody;
// but the host's word for that is not enough.
func TestFloorUnderAnotherName(t *testing.T) {
	f := newFleet(t, store.Slots, githost.Config{})
	commit := f.release("v1.0.0")
	f.takes("v1.0.0")
	f.release("v1.1.0")
	f.tag("mallory", "v1.0.1", commit, "Product: station")
	f.channel(1, "v1.1.0", "Floor: v1.0.1")
	f.refuses(godwit.CodeUnknownSigner, "v1.0.0")
	f.tag("alice", "v1.0.1", commit, "Product: station")
	f.takes("v1.1.0")
}

// oldKey lets alice sign until the second of December 2026, and bob for ever; the
// device runs bob's v1.1.0 of February 2027. It returns a function that makes
// alice's key sign again, with the date that it needs for it.
func (f *fleet) oldKey() (stolen func(name, commit, trailers string)) {
	f.t.Helper()
	list := strings.Replace(f.signers("alice"), " ssh-ed", ` valid-before="20261202Z" ssh-ed`, 1) + f.signers("bob")
	f.must(os.WriteFile(filepath.Join(f.dir, "allowed_signers"), []byte(list), 0o644))
	then := f.now
	f.now = time.Date(2027, 2, 1, 0, 0, 0, 0, time.UTC)
	f.by("bob", "v1.1.0", "")
	f.takes("v1.1.0")
	return func(name, commit, trailers string) {
		now := f.now
		f.now = then
		f.tag("alice", name, commit, "Product: station\n"+trailers)
		then, f.now = f.now, now
	}
}

// by releases a version and, for it, the next number of the channel.
func (f *fleet) by(who, name, trailers string) {
	f.t.Helper()
	commit := f.commit(name)
	f.tag(who, name, commit, "Product: station")
	n := f.memory().Sequence + 1
	f.tag(who, "channel/stable", commit, fmt.Sprintf("Product: station\nSequence: %d\nRelease: %s\n%s", n, name, trailers))
}

// A key that has ended can still sign with an old date: it sends nobody back, and
// puts no stone in the way.
func TestAttackOldKey(t *testing.T) {
	f := newFleet(t, store.Slots, githost.Config{})
	old := f.release("v1.0.0")
	stolen := f.oldKey()
	stolen("channel/stable", old, "Sequence: 2\nRelease: v1.0.0\nRollback-To: v1.0.0")
	f.refuses(godwit.CodeReplayed, "v1.1.0")
	stolen("channel/stable", old, "Sequence: 3\nRelease: v1.0.0")
	f.refuses(godwit.CodeDowngrade, "v1.1.0")

	// Also not by the first channel that the device ever sees.
	f = newFleet(t, store.Slots, githost.Config{})
	old = f.release("v1.0.0")
	stolen = f.oldKey()
	f.follow.Channel, f.trust.Channel = "dev", "dev"
	stolen("channel/dev", old, "Sequence: 1\nRelease: v1.0.0\nRollback-To: v1.0.0")
	f.refuses(godwit.CodeReplayed, "v1.1.0")

	f = newFleet(t, store.Slots, githost.Config{})
	stolen = f.oldKey()
	f.tag("bob", "v1.2.0", f.commit("v1.2.0"), "Product: station")
	good := f.git("rev-parse", "v1.2.0^{commit}")
	f.by("bob", "v1.3.0", "Floor: v1.2.0")
	stolen("v1.2.0", f.commit("v1.2.0 evil"), "")
	f.refuses(godwit.CodeDowngrade, "v1.1.0")
	// Nor does anybody else, where the channel names the stone itself.
	f.by("bob", "v1.3.0", "Floor: v1.2.0\nFloor-Commit: "+good)
	f.tag("bob", "v1.2.0", f.git("rev-parse", "main"), "Product: station")
	f.refuses(godwit.CodeWrongName, "v1.1.0")
	f.tag("bob", "v1.2.0", good, "Product: station")
	f.by("bob", "v1.3.0", "Floor: v1.2.0\nFloor-Commit: "+good)
	f.takes("v1.3.0")
}
