package author

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/internal/semver"
	"github.com/godwit-ota/godwit/manifest"
)

// A channel is a signed tag that moves, refs/tags/channel/NAME. Each of its
// states says which tag object came before it, in the trailer Previous, and
// stays reachable as refs/godwit/channel/NAME/SEQUENCE: without such a ref, git
// would throw it away, here and at the host.
const (
	channelRefs = "refs/tags/channel/"
	trailRefs   = "refs/godwit/channel/"
)

// keys are the trailers of a channel in the order in which they are written.
var keys = []string{"Sequence", "Release", "Product", "Rollout", "Wave", "Window", "Floor", "Floor-Commit", "Not-After", "Rollback-To", "Halt", "Previous"}

// values are the trailers of a channel to be, by key.
type values map[string][]string

// carry gives what the next state takes over from this one.
func carry(s *State) values {
	v := values{}
	for _, k := range keys {
		v[k] = s.All(k)
	}
	v.set("Sequence")
	return v
}

// set gives a key these values, and nothing takes it away.
func (v values) set(key string, value ...string) { v[key] = value }

func (v values) get(key string) string {
	if len(v[key]) == 0 {
		return ""
	}
	return v[key][0]
}

// A State is one state of a channel.
type State struct {
	*Tag
	Sequence uint64
	Pushed   bool
	// Trailless says that the remote took the channel but no ref beside it, so
	// that it does not keep the states before.
	Trailless bool
	// Gone says that the remote no longer has the channel, and that this is its
	// last state on the trail, or here.
	Gone bool
}

// A Setting is what Set changes. For each text "" leaves it to Set and "none"
// takes it away.
type Setting struct {
	Version  string // "" is the release that the channel has already
	Product  string // "" is that of the release
	Rollout  string // "25%"
	Waves    []string
	Window   string // "02:00-04:00"
	Floor    string
	NotAfter time.Time
	Forever  bool   // no NotAfter, and there was one
	Rollback bool   // devices may go back to Version
	Number   uint64 // of the state, for a channel that is made anew; 0 is the next
	Local    bool   // leave the remote alone
}

// Set moves the channel, or makes it. With the release that the channel has
// already, what is not given stays; with another one, the window, the floor and
// the product stay, and it goes to all devices unless something else is given.
// before is nil if there was no channel.
//
// It refuses, with CodeRefused, what devices would refuse: a lower version
// without Rollback, an expired channel, a release that is not signed, is for
// another product or is not at the remote.
func (r *Repository) Set(ctx context.Context, name string, s Setting) (before, after *State, err error) {
	before, expected, err := r.present(ctx, name, s.Local)
	if err != nil {
		return nil, nil, err
	}
	v := values{}
	version := s.Version
	switch {
	case before == nil && version == "":
		return nil, nil, misuse("there is no channel "+name+" yet", "say which release it gives: godwit channel set "+name+" VERSION")
	case before != nil && (version == "" || version == before.Get("Release")):
		version = before.Get("Release")
		v = carry(before)
	case before != nil:
		for _, k := range []string{"Window", "Floor", "Not-After"} {
			v[k] = before.All(k)
		}
	}
	release, err := r.publishable(ctx, version, s.Local)
	if err != nil {
		return before, nil, err
	}
	product := release.Get("Product")
	for _, p := range []string{s.Product, r.config(ctx, "godwit.product")} {
		if product == "" {
			product = p // git tag -s, where the keys are for one product
		}
	}
	if product == "" {
		return before, nil, misuse("the release "+version+" does not say which product it is for", "give --product NAME, or: git config godwit.product NAME")
	}
	if s.Product != "" && s.Product != product || before != nil && before.Get("Product") != product {
		return before, nil, godwit.Fail(godwit.CodeWrongProduct, nil, "the release "+version+" is for the product "+product+", and the channel "+name+" is not", "look whether this is the right repository, or use another channel")
	}
	v.set("Release", version)
	v.set("Product", product)
	if s.Number > 0 {
		if s.Number > 1<<62 || before != nil && s.Number <= before.Sequence {
			return before, nil, usage("the number of the next state is above that of the last one, and --number " + strconv.FormatUint(s.Number, 10) + " is not")
		}
		v.set("Sequence", strconv.FormatUint(s.Number, 10))
	}
	if err := s.apply(v, r.now()); err != nil {
		return before, nil, err
	}
	if err := r.wayThere(ctx, before, release, &s, v); err != nil {
		return before, nil, err
	}
	after, err = r.move(ctx, name, before, expected, release.Commit, v, s.Local)
	return before, after, err
}

// apply puts what is given into values.
func (s *Setting) apply(v values, now time.Time) error {
	if s.Rollout != "" {
		n, err := strconv.Atoi(strings.TrimSuffix(s.Rollout, "%"))
		if err != nil || n < 0 || n > 100 {
			return usage("--rollout takes 0% to 100%, and not " + s.Rollout)
		}
		v.set("Rollout", strconv.Itoa(n)+"%")
	}
	switch {
	case slices.Equal(s.Waves, []string{"none"}):
		v.set("Wave")
	case len(s.Waves) > 0:
		for _, w := range s.Waves {
			if _, err := manifest.ParseLabel(w); err != nil {
				return usage("--wave takes a label of devices such as site=lab, and not " + w)
			}
		}
		v.set("Wave", s.Waves...)
		if s.Rollout == "" {
			v.set("Rollout") // these devices only
		}
	}
	if v.get("Rollout") == "" && v.get("Wave") == "" {
		v.set("Rollout", "100%")
	}
	if s.Window != "" {
		if v.set("Window", s.Window); s.Window == "none" {
			v.set("Window")
		} else if _, err := manifest.ParseWindow(s.Window); err != nil {
			return usage("--window takes hours such as 02:00-04:00, and not " + s.Window)
		}
	}
	if s.Floor != "" {
		v.set("Floor", s.Floor)
		if _, ok := semver.Parse(s.Floor); s.Floor == "none" {
			v.set("Floor")
		} else if !ok {
			return usage("--floor takes a version, and not " + s.Floor)
		}
	}
	if s.Forever {
		v.set("Not-After")
	}
	if !s.NotAfter.IsZero() {
		v.set("Not-After", s.NotAfter.UTC().Format(time.RFC3339))
	}
	if end := v.get("Not-After"); end != "" {
		if at, err := time.Parse(time.RFC3339, end); err != nil || !at.After(now) {
			return refuse("the channel would be over already, since "+end, "give a later time: --not-after 90d, or --not-after none")
		}
	}
	return nil
}

func usage(text string) error {
	return misuse(text, "see `godwit channel --help`")
}

// wayThere sees to it that devices can follow from where they are.
func (r *Repository) wayThere(ctx context.Context, before *State, release *Tag, s *Setting, v values) error {
	version := release.Name
	this, ok := semver.Parse(version)
	if !ok {
		return usage("\"" + version + "\" is not a version")
	}
	v.set("Floor-Commit")
	if floor := v.get("Floor"); floor != "" {
		if f, _ := semver.Parse(floor); semver.Compare(f, this) > 0 {
			return refuse("the floor "+floor+" is higher than the release "+version, "lower it: --floor VERSION, or --floor none")
		}
		step, err := r.publishable(ctx, floor, s.Local)
		if err != nil {
			return err
		}
		if p := step.Get("Product"); p != "" && p != v.get("Product") {
			return godwit.Fail(godwit.CodeWrongProduct, nil, "the floor "+floor+" is for the product "+p, "devices would refuse to go there: give another --floor")
		}
		if step.Time.After(release.Time) {
			return refuse("the floor "+floor+" was made at "+step.Time.Format(time.RFC3339)+", after the release "+version, "devices that went there would refuse "+version+" as older: release it again, under a higher version")
		}
		v.set("Floor-Commit", step.Commit)
	}
	if before != nil && before.Get("Previous") != "" && !s.Local {
		if err := r.fetchTrail(ctx, strings.TrimPrefix(before.Name, "channel/")); err != nil {
			return err
		}
	}
	// Also those devices count that missed the way back from a higher version.
	highest, higher := "", semver.Version{}
	var newest *Tag
	for past := before; past != nil; {
		name := past.Get("Release")
		if w, ok := semver.Parse(name); ok && semver.Compare(w, higher) > 0 {
			highest, higher = name, w
		}
		if t, err := r.release(ctx, name); err == nil && (newest == nil || t.Time.After(newest.Time)) {
			newest = t
		}
		t, err := r.tag(ctx, past.Get("Previous"))
		if err != nil {
			break
		}
		past = &State{Tag: t}
	}
	if s.Rollback {
		v.set("Rollback-To", version)
	}
	switch {
	case v.get("Rollback-To") != "":
		if newest != nil {
			return r.notBefore(ctx, newest)
		}
	case semver.Compare(this, higher) < 0:
		return refuse(version+" is lower than "+highest+", which the channel gave before: devices that have it would refuse to go back",
			"if they are to go back, add --rollback")
	}
	return nil
}

// notBefore checks that a tag made now is not older than another one: devices
// take older orders for old ones.
func (r *Repository) notBefore(ctx context.Context, t *Tag) error {
	who, err := r.tagger(ctx)
	if err != nil {
		return err
	}
	f := strings.Fields(who)
	seconds, err := strconv.ParseInt(f[max(0, len(f)-2)], 10, 64)
	if err == nil && seconds < t.Time.Unix() {
		err = refuse(t.Name+" was made at "+t.Time.Format(time.RFC3339)+", and here it is only "+time.Unix(seconds, 0).UTC().Format(time.RFC3339),
			"set the clock of this machine: devices refuse orders that are older than what they have seen")
	}
	return err
}

// CosignChannel adds a signature to the present state of a channel, for devices that
// ask for more than one signer. The number stays: devices that took the state
// with fewer signatures see it change under them and wait for the next one, so
// sign before the first device has seen it, or have all devices ask for as many.
func (r *Repository) CosignChannel(ctx context.Context, name string, local bool) (before, after *State, err error) {
	before, expected, err := r.present(ctx, name, local)
	if err != nil {
		return nil, nil, err
	}
	if before == nil {
		return nil, nil, noChannel(name)
	}
	release, err := r.publishable(ctx, before.Get("Release"), local)
	if err != nil {
		return before, nil, err
	}
	if release.Commit != before.Commit {
		return before, nil, godwit.Fail(godwit.CodeTampered, nil, "the channel "+name+" is set for another commit than that of "+release.Name, "do not sign it: somebody made a mistake, or worse")
	}
	t, err := r.cosign(ctx, before.Tag)
	if err != nil {
		return before, nil, err
	}
	after = &State{Tag: t, Sequence: before.Sequence}
	ref, trail := channelRefs+name, trailRefs+name+"/"+strconv.FormatUint(before.Sequence, 10)
	if !local {
		there, err := r.remoteRefs(ctx, trail)
		if err == nil {
			err = r.publish(ctx, after, ref, trail, expected, there[trail])
		}
		if err != nil {
			return before, nil, err
		}
	}
	if _, err = r.git(ctx, nil, "update-ref", ref, t.ID, before.ID); err == nil {
		_, err = r.git(ctx, nil, "update-ref", trail, t.ID)
	}
	return before, after, err
}

// Halt stops a channel: no device takes its release any more. why is shown to
// those who ask a device.
func (r *Repository) Halt(ctx context.Context, name, why string, local bool) (before, after *State, err error) {
	if why == "" {
		why = "halted by those who make the releases"
	}
	return r.change(ctx, name, local, func(_ *State, v values) error {
		v.set("Halt", why)
		return nil
	})
}

// Resume lets a halted channel go on.
func (r *Repository) Resume(ctx context.Context, name string, local bool) (before, after *State, err error) {
	return r.change(ctx, name, local, func(s *State, v values) error {
		if s.Get("Halt") == "" {
			return refuse("the channel "+name+" is not halted", "see `godwit channel show "+name+"`; a roll-out of 0% ends with `godwit channel set "+name+" --rollout 100%`")
		}
		v.set("Halt")
		return nil
	})
}

// change moves a channel to its next state with the same release.
func (r *Repository) change(ctx context.Context, name string, local bool, edit func(*State, values) error) (before, after *State, err error) {
	before, expected, err := r.present(ctx, name, local)
	if err != nil {
		return nil, nil, err
	}
	if before == nil {
		return nil, nil, noChannel(name)
	}
	v := carry(before)
	if err := edit(before, v); err != nil {
		return before, nil, err
	}
	after, err = r.move(ctx, name, before, expected, before.Commit, v, local)
	return before, after, err
}

func noChannel(name string) error {
	return godwit.Fail(godwit.CodeNoRef, nil, "there is no channel "+name, "make it: godwit channel set "+name+" VERSION")
}
