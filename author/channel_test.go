package author

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/godwit-ota/godwit"
)

// released is a desk where v1.0.0 to v1.3.0 are tagged; all but the last are
// pushed.
func released(t *testing.T) *desk {
	d := newDesk(t)
	for _, v := range []string{"v1.0.0", "v1.1.0", "v1.2.0", "v1.3.0"} {
		d.commit("one", v, v)
		if _, err := d.at("one", "alice").Tag(t.Context(), NewTag{Version: v, Product: "station", Push: v != "v1.3.0"}); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

// orders has a device read a channel of the remote, and git.
func (d *desk) orders(name string, m godwit.Memory) (godwit.Orders, error) {
	d.t.Helper()
	rel, err := d.at("origin.git", "alice").Statement(d.t.Context(), "channel/"+name)
	if err != nil {
		d.t.Fatal(err)
	}
	o, err := d.gate(1).Orders(d.t.Context(), rel.Statement, rel.Tip, m)
	if out, theirs := d.try("origin.git", "-c", "gpg.format=ssh", "-c", "gpg.ssh.allowedSignersFile="+d.path("allowed"), "verify-tag", "channel/"+name); theirs != nil && err == nil {
		d.t.Errorf("git verify-tag channel/%s: %v\n%s", name, theirs, out)
	}
	return o, err
}

func TestChannel(t *testing.T) {
	d := released(t)
	ctx := t.Context()
	r := d.at("one", "alice")
	var m godwit.Memory
	// check has a device follow, one that remembers, and compares what it reads.
	check := func(want godwit.Orders) {
		t.Helper()
		o, err := d.orders("stable", m)
		if err != nil {
			t.Fatal(err)
		}
		m = o.Memory
		if o.Commit != d.git("origin.git", "rev-parse", want.Release+"^{commit}") {
			t.Errorf("commit %s is not that of %s", o.Commit, want.Release)
		}
		if o.Sequence != want.Sequence || o.Release != want.Release || o.Rollout != want.Rollout || len(o.Waves) != len(want.Waves) || o.Window != want.Window ||
			o.Floor != want.Floor || !o.NotAfter.Equal(want.NotAfter) || o.RollbackTo != want.RollbackTo || o.Halt != want.Halt || o.Product != "station" {
			t.Errorf("a device reads\n%+v, want\n%+v", o, want)
		}
	}
	set := func(s Setting) *State {
		t.Helper()
		_, after, err := r.Set(ctx, "stable", s)
		if err != nil {
			t.Fatal(err)
		}
		return after
	}
	after := set(Setting{Version: "v1.0.0"})
	if !after.Pushed || after.Trailless {
		t.Errorf("%+v", after)
	}
	check(godwit.Orders{Sequence: 1, Release: "v1.0.0", Rollout: 100})
	later := time.Now().Add(48 * time.Hour).Truncate(time.Second)
	set(Setting{Version: "v1.1.0", Rollout: "25%", Waves: []string{"site=lab", "site=roof"}, Window: "02:00-04:00", Floor: "v1.0.0", NotAfter: later})
	labels := []godwit.Label{{Key: "site", Value: "lab"}, {Key: "site", Value: "roof"}}
	want := godwit.Orders{Sequence: 2, Release: "v1.1.0", Rollout: 25, Waves: labels, Window: godwit.Window{From: 120, To: 240}, Floor: "v1.0.0", NotAfter: later}
	check(want)
	if s, err := r.Show(ctx, "stable", false); err != nil || s.Get("Floor-Commit") != d.git("one", "rev-parse", "v1.0.0^{commit}") {
		t.Errorf("%+v, %v", s, err)
	}
	// The same release: what is not given stays.
	set(Setting{Rollout: "50"})
	want.Sequence, want.Rollout = 3, 50
	check(want)
	if _, _, err := r.Halt(ctx, "stable", "battery drain", false); err != nil {
		t.Fatal(err)
	}
	want.Sequence, want.Halt = 4, "battery drain"
	check(want)
	if _, _, err := r.Resume(ctx, "stable", false); err != nil {
		t.Fatal(err)
	}
	want.Sequence, want.Halt = 5, ""
	check(want)
	if _, _, err := r.Resume(ctx, "stable", false); godwit.CodeOf(err) != godwit.CodeRefused {
		t.Errorf("resumed twice: %v", err)
	}
	// Another release: roll-out and waves begin anew, the rest stays.
	set(Setting{Version: "v1.2.0"})
	want = godwit.Orders{Sequence: 6, Release: "v1.2.0", Rollout: 100, Window: want.Window, Floor: "v1.0.0", NotAfter: later}
	check(want)
	set(Setting{Window: "none", Floor: "none", Forever: true, Waves: []string{"site=lab"}})
	want = godwit.Orders{Sequence: 7, Release: "v1.2.0", Waves: labels[:1]}
	check(want)
	set(Setting{Waves: []string{"none"}})
	want = godwit.Orders{Sequence: 8, Release: "v1.2.0", Rollout: 100}
	check(want)
	// And back.
	if _, _, err := r.Set(ctx, "stable", Setting{Version: "v1.0.0"}); godwit.CodeOf(err) != godwit.CodeRefused || !strings.Contains(err.Error(), "lower than v1.2.0") {
		t.Errorf("lower, without saying so: %v", err)
	}
	set(Setting{Version: "v1.0.0", Rollback: true})
	check(godwit.Orders{Sequence: 9, Release: "v1.0.0", Rollout: 100, RollbackTo: "v1.0.0"})
	// A device that missed the way back would refuse this.
	if _, _, err := r.Set(ctx, "stable", Setting{Version: "v1.1.0"}); godwit.CodeOf(err) != godwit.CodeRefused || !strings.Contains(err.Error(), "lower than v1.2.0") {
		t.Errorf("lower than what was given before: %v", err)
	}
	d.git("", "clone", "--quiet", "--no-tags", "file://"+d.path("origin.git"), "three") // nor would it there, where nothing is known of the past
	if _, _, err := d.at("three", "alice").Set(ctx, "stable", Setting{Version: "v1.1.0"}); godwit.CodeOf(err) != godwit.CodeRefused || !strings.Contains(err.Error(), "lower than v1.2.0") {
		t.Errorf("from a fresh clone: %v", err)
	}
	set(Setting{Rollout: "10%"}) // the same release: the way back stays
	check(godwit.Orders{Sequence: 10, Release: "v1.0.0", Rollout: 10, RollbackTo: "v1.0.0"})
	set(Setting{Version: "v1.2.0"})
	check(godwit.Orders{Sequence: 11, Release: "v1.2.0", Rollout: 100})

	// All of it is still there, in any clone.
	var numbers []uint64
	complete, err := d.at("two", "alice").Log(ctx, "stable", false, func(s *State) error { numbers = append(numbers, s.Sequence); return nil })
	if err != nil || !complete || len(numbers) != 11 || numbers[0] != 11 || numbers[10] != 1 {
		t.Errorf("%v, %v, %v", numbers, complete, err)
	}
	d.git("origin.git", "gc", "--quiet", "--prune=now")
	if _, err := d.orders("stable", m); err != nil {
		t.Error(err)
	}
	if out := d.git("origin.git", "fsck", "--strict", "--unreachable"); strings.Contains(out, "unreachable") {
		t.Errorf("git would throw away:\n%s", out)
	}
}

func TestChannelRefuses(t *testing.T) {
	d := released(t)
	ctx := t.Context()
	r := d.at("one", "alice")
	if _, _, err := r.Set(ctx, "stable", Setting{Version: "v1.1.0", NotAfter: time.Now().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	d.git("one", "tag", "-a", "v1.4.0", "-m", "not signed", "-m", "Product: station")
	d.git("one", "tag", "v1.5.0")
	d.git("one", "push", "--quiet", "origin", "v1.4.0", "v1.5.0")
	if _, err := r.Tag(ctx, NewTag{Version: "v2.0.0", Product: "pump", Push: true}); err != nil {
		t.Fatal(err)
	}
	for _, n := range []NewTag{{Version: "v1.4.1", Product: "pump"}, {Version: "v1.4.2", Product: "station", NotAfter: time.Now().Add(30 * time.Minute)}, {Version: "v1.6.0", Product: "station"}} {
		n.AllowLower, n.Push = true, true
		if _, err := r.Tag(ctx, n); err != nil {
			t.Fatal(err)
		}
	}
	r.now = func() time.Time { return time.Now().Add(45 * time.Minute) } // v1.4.2 is over then
	before := d.git("origin.git", "for-each-ref")
	for _, c := range []struct {
		name    string
		channel string
		s       Setting
		code    godwit.Code
		say     string
	}{
		{"a new channel and no release", "beta", Setting{}, godwit.CodeUsage, "no channel beta yet"},
		{"a name that is none", "a/b", Setting{Version: "v1.1.0"}, godwit.CodeUsage, "no name for a channel"},
		{"a name with dots", "a..b", Setting{Version: "v1.1.0"}, godwit.CodeUsage, "no name for a channel"},
		{"an option for a name", "-f", Setting{Version: "v1.1.0"}, godwit.CodeUsage, "no name for a channel"},
		{"not released", "stable", Setting{Version: "v7.0.0"}, godwit.CodeRefused, "has no release v7.0.0"},
		{"not pushed", "stable", Setting{Version: "v1.3.0"}, godwit.CodeRefused, "has no release v1.3.0"},
		{"not signed", "stable", Setting{Version: "v1.4.0"}, godwit.CodeUnsigned, "not signed"},
		{"not a tag", "stable", Setting{Version: "v1.5.0"}, godwit.CodeUnsigned, "plain name of a commit"},
		{"another product", "stable", Setting{Version: "v2.0.0"}, godwit.CodeWrongProduct, "for the product pump"},
		{"another product by flag", "stable", Setting{Product: "pump"}, godwit.CodeWrongProduct, "for the product station"},
		{"roll-out above all", "stable", Setting{Rollout: "101%"}, godwit.CodeUsage, "--rollout"},
		{"roll-out in words", "stable", Setting{Rollout: "all"}, godwit.CodeUsage, "--rollout"},
		{"wave without a value", "stable", Setting{Waves: []string{"lab"}}, godwit.CodeUsage, "--wave"},
		{"window without an end", "stable", Setting{Window: "02:00"}, godwit.CodeUsage, "--window"},
		{"floor in words", "stable", Setting{Floor: "old"}, godwit.CodeUsage, "--floor"},
		{"floor above", "stable", Setting{Floor: "v1.2.0"}, godwit.CodeRefused, "floor v1.2.0 is higher"},
		{"floor not released", "stable", Setting{Floor: "v0.1.0"}, godwit.CodeRefused, "no release v0.1.0"},
		{"floor not pushed", "stable", Setting{Version: "v1.6.0", Floor: "v1.3.0"}, godwit.CodeRefused, "no release v1.3.0"},
		{"floor not signed", "stable", Setting{Version: "v1.6.0", Floor: "v1.4.0"}, godwit.CodeUnsigned, "v1.4.0 is not signed"},
		{"floor of another product", "stable", Setting{Version: "v1.6.0", Floor: "v1.4.1"}, godwit.CodeWrongProduct, "floor v1.4.1 is for the product pump"},
		{"floor that is over", "stable", Setting{Version: "v1.6.0", Floor: "v1.4.2"}, godwit.CodeRefused, "release v1.4.2 is over"},
		{"release that is over", "stable", Setting{Version: "v1.4.2"}, godwit.CodeRefused, "release v1.4.2 is over"},
		{"over already", "stable", Setting{NotAfter: time.Now().Add(-time.Minute)}, godwit.CodeRefused, "over already"},
		{"no such remote", "stable", Setting{Rollout: "1%"}, godwit.CodeNetwork, "elsewhere cannot be asked"},
	} {
		r := r
		if c.code == godwit.CodeNetwork {
			r = d.at("one", "alice")
			r.remote = "elsewhere"
		}
		if _, _, err := r.Set(ctx, c.channel, c.s); godwit.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.say) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	// What expired has to be renewed, not carried on.
	r.now = func() time.Time { return time.Now().Add(2 * time.Hour) }
	if _, _, err := r.Set(ctx, "stable", Setting{Rollout: "5%"}); godwit.CodeOf(err) != godwit.CodeRefused || !strings.Contains(err.Error(), "over already") {
		t.Errorf("expired: %v", err)
	}
	r.now = time.Now
	for _, do := range []func() error{
		func() error { _, _, err := r.Halt(ctx, "beta", "", false); return err },
		func() error { _, _, err := r.Resume(ctx, "beta", false); return err },
		func() error { _, err := r.Show(ctx, "beta", false); return err },
		func() error { _, err := r.Log(ctx, "beta", false, nil); return err },
	} {
		if err := do(); godwit.CodeOf(err) != godwit.CodeNoRef {
			t.Errorf("no such channel: %v", err)
		}
	}
	if after := d.git("origin.git", "for-each-ref"); after != before {
		t.Errorf("refs changed:\n%s", after)
	}
}

// TestDates: devices take older orders for old ones, so none are made.
func TestDates(t *testing.T) {
	d := released(t)
	ctx := t.Context()
	r := d.at("one", "alice")
	at := func(when time.Duration) { t.Setenv("GIT_COMMITTER_DATE", time.Now().Add(when).Format(time.RFC3339)) }
	set := func(s Setting, say string) {
		t.Helper()
		_, _, err := r.Set(ctx, "stable", s)
		if (err == nil) != (say == "") || err != nil && (godwit.CodeOf(err) != godwit.CodeRefused || !strings.Contains(err.Error(), say)) {
			t.Error(err)
		}
	}
	set(Setting{Version: "v1.2.0"}, "")
	at(-time.Hour)
	set(Setting{Rollout: "10%"}, "channel/stable was made at")
	if _, _, err := r.Halt(ctx, "stable", "", false); godwit.CodeOf(err) != godwit.CodeRefused {
		t.Errorf("halted in the past: %v", err)
	}
	// A release from a machine whose clock is ahead.
	at(time.Hour)
	d.commit("one", "e.txt", "e")
	if _, err := r.Tag(ctx, NewTag{Version: "v1.5.0", Push: true}); err != nil {
		t.Fatal(err)
	}
	at(time.Minute)
	set(Setting{Version: "v1.5.0"}, "")
	d.commit("one", "f.txt", "f")
	if _, err := r.Tag(ctx, NewTag{Version: "v1.6.0", AllowLower: true, Push: true}); err != nil {
		t.Fatal(err)
	}
	set(Setting{Version: "v1.6.0", Floor: "v1.5.0"}, "after the release v1.6.0")
	at(2 * time.Minute)
	set(Setting{Version: "v1.2.0", Rollback: true}, "v1.5.0 was made at")
	at(2 * time.Hour)
	set(Setting{Version: "v1.2.0", Rollback: true}, "")
}

// TestNumber: a channel that is made anew goes on above the old one's number.
func TestNumber(t *testing.T) {
	d := released(t)
	ctx := t.Context()
	r := d.at("one", "alice")
	if _, after, err := r.Set(ctx, "stable", Setting{Version: "v1.0.0", Number: 43}); err != nil || after.Sequence != 43 {
		t.Fatalf("%+v, %v", after, err)
	}
	if _, after, err := r.Set(ctx, "stable", Setting{Rollout: "5%"}); err != nil || after.Sequence != 44 {
		t.Errorf("%+v, %v", after, err)
	}
	for _, n := range []uint64{1, 44, 1 << 63} {
		if _, _, err := r.Set(ctx, "stable", Setting{Rollout: "6%", Number: n}); godwit.CodeOf(err) != godwit.CodeUsage {
			t.Errorf("%d: %v", n, err)
		}
	}
	if _, after, err := r.Halt(ctx, "stable", "", false); err != nil || after.Sequence != 45 {
		t.Errorf("%+v, %v", after, err)
	}
}

// TestRace: two people set a channel at once, and one of them hears of it.
func TestRace(t *testing.T) {
	d := released(t)
	ctx := t.Context()
	one, two := d.at("one", "alice"), d.at("two", "alice")
	if _, _, err := one.Set(ctx, "stable", Setting{Version: "v1.0.0"}); err != nil {
		t.Fatal(err)
	}
	seen, expected, err := one.present(ctx, "stable", false)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := two.Set(ctx, "stable", Setting{Version: "v1.1.0"}); err != nil {
		t.Fatal(err)
	}
	there := d.git("origin.git", "for-each-ref")
	_, err = one.move(ctx, "stable", seen, expected, seen.Commit, values{"Release": {"v1.0.0"}, "Product": {"station"}, "Rollout": {"100%"}}, false)
	if godwit.CodeOf(err) != godwit.CodeRefused || !strings.Contains(err.Error(), "somebody else") {
		t.Errorf("the second one: %v", err)
	}
	if after := d.git("origin.git", "for-each-ref"); after != there {
		t.Errorf("refs changed:\n%s", after)
	}
	if _, after, err := one.Set(ctx, "stable", Setting{Rollout: "5%"}); err != nil || after.Sequence != 3 || after.Get("Release") != "v1.1.0" {
		t.Errorf("tried again: %+v, %v", after, err)
	}
	// A channel that both begin.
	if _, _, err := two.Set(ctx, "beta", Setting{Version: "v1.1.0"}); err != nil {
		t.Fatal(err)
	}
	if _, err := one.move(ctx, "beta", nil, "", seen.Commit, values{"Release": {"v1.0.0"}, "Product": {"station"}}, false); godwit.CodeOf(err) != godwit.CodeRefused {
		t.Errorf("begun twice: %v", err)
	}
}

func TestCosignChannel(t *testing.T) {
	d := released(t)
	ctx := t.Context()
	d.key("bob")
	if _, _, err := d.at("one", "alice").Set(ctx, "stable", Setting{Version: "v1.1.0", Rollout: "10%"}); err != nil {
		t.Fatal(err)
	}
	judged := func() (godwit.Orders, error) {
		rel, err := d.at("origin.git", "alice").Statement(ctx, "channel/stable")
		if err != nil {
			t.Fatal(err)
		}
		return d.gate(2).Orders(ctx, rel.Statement, rel.Tip, godwit.Memory{})
	}
	if _, err := judged(); godwit.CodeOf(err) != godwit.CodeThreshold {
		t.Errorf("one of two: %v", err)
	}
	if _, _, err := d.at("one", "alice").CosignChannel(ctx, "stable", false); godwit.CodeOf(err) != godwit.CodeRefused {
		t.Errorf("the same key again: %v", err)
	}
	before, after, err := d.at("two", "bob").CosignChannel(ctx, "stable", false)
	if err != nil || len(after.Keys) != 2 || after.Sequence != 1 || before.Sequence != 1 || !after.Pushed {
		t.Fatalf("%+v, %v", after, err)
	}
	if o, err := judged(); err != nil || o.Sequence != 1 || o.Rollout != 10 {
		t.Errorf("%+v, %v", o, err)
	}
	if _, err := d.orders("stable", godwit.Memory{}); err != nil { // and git agrees
		t.Error(err)
	}
	if trail := d.git("origin.git", "rev-parse", "refs/godwit/channel/stable/1"); trail != after.ID {
		t.Errorf("the trail has %s, not %s", trail, after.ID)
	}
	// The next state begins with one signature.
	_, next, err := d.at("one", "alice").Set(ctx, "stable", Setting{Rollout: "20%"})
	if err != nil || next.Sequence != 2 || len(next.Keys) != 1 || next.Get("Previous") != after.ID {
		t.Errorf("%+v, %v", next, err)
	}
	// A channel that leads elsewhere than its release is not signed.
	d.git("two", "fetch", "--quiet", "origin", "refs/tags/v1.1.0:refs/tags/v1.1.0")
	if _, err := d.at("one", "alice").move(ctx, "odd", nil, "", d.git("one", "rev-parse", "v1.0.0^{commit}"), values{"Release": {"v1.1.0"}, "Product": {"station"}}, false); err != nil {
		t.Fatal(err)
	}
	if _, _, err := d.at("two", "bob").CosignChannel(ctx, "odd", false); godwit.CodeOf(err) != godwit.CodeTampered {
		t.Errorf("odd: %v", err)
	}
	if _, _, err := d.at("two", "bob").CosignChannel(ctx, "none", false); godwit.CodeOf(err) != godwit.CodeNoRef {
		t.Errorf("none: %v", err)
	}
}

// TestHostWithoutTrail: a host that takes only tags and branches.
func TestHostWithoutTrail(t *testing.T) {
	d := released(t)
	d.write("origin.git/hooks/update", "#!/bin/sh\ncase $1 in refs/godwit/*) echo no such refs here >&2; exit 1;; esac\n")
	if err := os.Chmod(d.path("origin.git/hooks/update"), 0o755); err != nil {
		t.Fatal(err)
	}
	r := d.at("one", "alice")
	for n, version := range []string{"v1.0.0", "v1.1.0"} {
		_, after, err := r.Set(t.Context(), "stable", Setting{Version: version})
		if err != nil || !after.Pushed || !after.Trailless || after.Sequence != uint64(n+1) {
			t.Fatalf("%+v, %v", after, err)
		}
	}
	if o, err := d.orders("stable", godwit.Memory{}); err != nil || o.Release != "v1.1.0" {
		t.Errorf("%+v, %v", o, err)
	}
	for clone, want := range map[string]int{"one": 2, "two": 1} {
		n := 0
		complete, err := d.at(clone, "alice").Log(t.Context(), "stable", false, func(*State) error { n++; return nil })
		if err != nil || n != want || complete != (n == 2) {
			t.Errorf("%s has %d states, %v, %v", clone, n, complete, err)
		}
	}
	// One that takes no tags either.
	d.write("origin.git/hooks/update", "#!/bin/sh\necho protected >&2; exit 1\n")
	before := d.git("one", "for-each-ref")
	if _, _, err := r.Set(t.Context(), "stable", Setting{Version: "v1.2.0"}); godwit.CodeOf(err) != godwit.CodeNetwork || !strings.Contains(err.Error(), "cannot be pushed") {
		t.Errorf("protected: %v", err)
	}
	if after := d.git("one", "for-each-ref"); after != before {
		t.Errorf("what was not pushed stays here:\n%s", after)
	}
}

// TestLocal: without the remote, and then with it.
func TestLocal(t *testing.T) {
	d := released(t)
	ctx := t.Context()
	r := d.at("one", "alice")
	d.git("one", "remote", "rename", "origin", "later")
	for _, version := range []string{"v1.0.0", "v1.3.0"} { // one of which was not pushed
		if _, after, err := r.Set(ctx, "stable", Setting{Version: version, Local: true}); err != nil || after.Pushed {
			t.Fatalf("%+v, %v", after, err)
		}
	}
	if s, err := r.Show(ctx, "stable", true); err != nil || s.Sequence != 2 {
		t.Errorf("%+v, %v", s, err)
	}
	d.git("one", "remote", "rename", "later", "origin")
	d.git("one", "push", "--quiet", "origin", "v1.3.0")
	if _, after, err := r.Set(ctx, "stable", Setting{Rollout: "10%"}); err != nil || after.Sequence != 3 || !after.Pushed {
		t.Errorf("%+v, %v", after, err)
	}
	if o, err := d.orders("stable", godwit.Memory{}); err != nil || o.Sequence != 3 || o.Release != "v1.3.0" || o.Rollout != 10 {
		t.Errorf("%+v, %v", o, err)
	}
}

// A channel that was deleted at the remote goes on after its last number, also
// in a clone that never saw it, or saw an earlier one.
func TestLostChannel(t *testing.T) {
	d := released(t)
	ctx := t.Context()
	one := d.at("one", "alice")
	for i, v := range []string{"v1.0.0", "v1.1.0", "v1.2.0"} {
		if _, after, err := one.Set(ctx, "stable", Setting{Version: v}); err != nil || after.Sequence != uint64(i+1) {
			t.Fatalf("%+v, %v", after, err)
		}
		if i == 0 {
			d.git(".", "clone", "--quiet", "origin.git", "old")
			d.git("old", "fetch", "--quiet", "origin", "refs/tags/channel/stable:refs/tags/channel/stable")
		}
	}
	m := godwit.Memory{}
	if o, err := d.orders("stable", m); err != nil {
		t.Fatal(err)
	} else {
		m = o.Memory
	}
	d.git("origin.git", "update-ref", "-d", "refs/tags/channel/stable")
	d.git(".", "clone", "--quiet", "origin.git", "fresh")
	for i, clone := range []string{"old", "fresh", "one"} {
		before, after, err := d.at(clone, "alice").Set(ctx, "stable", Setting{Version: "v1.2.0"})
		if err != nil || before == nil || !before.Gone || after.Sequence != uint64(4+i) || after.Get("Previous") != before.ID {
			t.Fatalf("%s: %+v, %+v, %v", clone, before, after, err)
		}
		if _, err := d.orders("stable", m); err != nil {
			t.Errorf("%s: a device that followed it: %v", clone, err)
		}
		d.git("origin.git", "update-ref", "-d", "refs/tags/channel/stable")
	}
}
