package publish

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/manifest"
	"github.com/godwit-ota/godwit/source/web"
)

// None as a text of Orders takes a value away.
const None = "none"

// Orders are what to set a channel to. With the release that it has already,
// what is not given stays; with another one the window, the floor and the end
// stay, and it goes to all devices unless something else is given.
type Orders struct {
	Name     string
	Rollout  string // "25%"
	Waves    []string
	Window   string // "02:00-04:00"
	Floor    string
	NotAfter time.Time
	Forever  bool   // no NotAfter, and there was one
	Back     bool   // devices may go back to the release
	Halt     string // why nobody is to take it; "" lets it go on
	Number   uint64 // the sequence, where the channel is made anew; 0 is the next one
	Sign     Sign   // nil leaves it without a .sig
	Key      []byte // for the HMAC within; nil for none
}

// Channel returns the present state of a channel of the folder, nil if it has
// none.
func (f Folder) Channel(name string) (*manifest.Channel, error) {
	b, err := os.ReadFile(filepath.Join(f.Dir, web.ChannelFile(name)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, diskError(err)
	}
	c, err := manifest.ReadChannel(bytes.NewReader(b), int64(len(b)))
	return &c, err
}

// SetChannel points a channel to a release that was published, and returns what
// it said before, if it was there, and what it says now. It refuses, with
// CodeRefused, what devices would refuse: a version that is lower than one that
// the channel gave before, without Back, and an end that is over.
func (f Folder) SetChannel(ctx context.Context, p *Published, o *Orders) (before, after *manifest.Channel, err error) {
	if manifest.CheckPath(o.Name) != nil || filepath.Base(o.Name) != o.Name {
		return nil, nil, usage("there can be no channel called "+strconv.Quote(o.Name), "give it a name such as stable")
	}
	if before, err = f.Channel(o.Name); err != nil {
		return before, nil, err
	}
	c := &manifest.Channel{Rollout: 100}
	if before != nil {
		if before.Release == p.Version {
			*c = *before
		} else {
			c.Window, c.Floor, c.FloorManifest, c.NotAfter, c.Highest = before.Window, before.Floor, before.FloorManifest, before.NotAfter, before.Highest
		}
		c.Sequence = before.Sequence
	}
	if err := o.apply(c); err != nil {
		return before, nil, err
	}
	c.Name, c.Release, c.Manifest, c.Product, c.Time = o.Name, p.Version, p.Manifest, p.Product, f.now().UTC().Truncate(time.Second)
	if c.Sequence++; o.Number > 0 {
		if o.Number < c.Sequence {
			return before, nil, usage("the channel "+o.Name+" had the number "+strconv.FormatUint(c.Sequence-1, 10)+" already", "give a higher one, or none")
		}
		c.Sequence = o.Number
	}
	if err := f.wayThere(c, before, o); err != nil {
		return before, nil, err
	}
	b := c.Append(nil)
	if len(o.Key) > 0 {
		if b, err = manifest.AddHMAC(b, o.Key); err != nil {
			return before, nil, err
		}
	}
	// What cannot be read back is not published.
	if *c, err = manifest.ReadChannel(bytes.NewReader(b), int64(len(b))); err != nil {
		return before, nil, err
	}
	sig, err := signed(ctx, o.Sign, b)
	if err == nil {
		err = putSigned(filepath.Join(f.Dir, web.ChannelFile(o.Name)), b, sig)
	}
	return before, c, err
}

// Check finds what SetChannel would not understand, with CodeUsage.
func (o *Orders) Check() error { return o.apply(new(manifest.Channel)) }

// apply puts what is given into c.
func (o *Orders) apply(c *manifest.Channel) (err error) {
	if o.Waves != nil {
		if c.Waves = nil; len(o.Waves) != 1 || o.Waves[0] != None {
			c.Rollout = 0 // these devices only
			for _, w := range o.Waves {
				l, err := manifest.ParseLabel(w)
				if err != nil {
					return usage("a wave: "+err.Error(), "")
				}
				c.Waves = append(c.Waves, l)
			}
		} else if c.Rollout == 0 {
			c.Rollout = 100
		}
	}
	c.Halt = o.Halt
	if o.Rollout != "" {
		n, err := strconv.Atoi(strings.TrimSuffix(o.Rollout, "%"))
		if err != nil || n < 0 || n > 100 {
			return usage("a roll-out is 0% to 100%, and not "+o.Rollout, "")
		}
		if c.Rollout = n; n == 0 && c.Halt == "" {
			c.Halt = manifest.HaltZero
		}
	}
	switch o.Window {
	case "":
	case None:
		c.Window = godwit.Window{}
	default:
		if c.Window, err = manifest.ParseWindow(o.Window); err != nil {
			return usage("a window: "+err.Error(), "")
		}
	}
	switch o.Floor {
	case "":
	case None:
		c.Floor, c.FloorManifest = "", ""
	default:
		c.Floor = o.Floor
	}
	if o.Forever || !o.NotAfter.IsZero() {
		c.NotAfter = o.NotAfter
	}
	return nil
}

// wayThere sees to it that devices can follow from where they are.
func (f Folder) wayThere(c, before *manifest.Channel, o *Orders) error {
	refused := func(text, hint string) error {
		return godwit.Fail(godwit.CodeRefused, nil, "the channel "+c.Name+" "+text, hint)
	}
	if !c.NotAfter.IsZero() && !c.NotAfter.After(c.Time) {
		return refused("would be over already, since "+c.NotAfter.Format(time.DateTime)+" UTC", "give a later end, or none")
	}
	if before != nil && before.Product != c.Product {
		return refused("is for the product "+strconv.Quote(before.Product)+", and "+c.Release+" is for "+strconv.Quote(c.Product), "use another channel")
	}
	if before != nil && c.Time.Before(before.Time) {
		return refused("was set at "+before.Time.Format(time.DateTime)+" UTC, and it is earlier now by this clock", "set the clock")
	}
	for _, version := range []string{c.Release, c.Floor} {
		if version == "" {
			continue
		}
		name, release, err := f.release(version)
		if err != nil {
			return err
		}
		if version == c.Floor {
			c.FloorManifest = sumOf(release.body)
		}
		_, unsigned := os.Stat(name + web.Suffix)
		switch {
		case unsigned != nil && o.Sign != nil:
			return refused("leads to "+version+", which is not signed: devices would refuse it", "give what is in it a new version, and sign that")
		case release.Product != c.Product:
			return refused("is for the product "+strconv.Quote(c.Product)+", and "+version+" is for "+strconv.Quote(release.Product), "name another release")
		case !release.NotAfter.IsZero() && !release.NotAfter.After(c.Time):
			return refused("leads to "+version+", which expired at "+release.NotAfter.Format(time.DateTime)+" UTC", "name another release")
		case lower(c.Release, version):
			return refused("has the floor "+version+", which is higher than "+c.Release, "give a lower floor, or none")
		}
	}
	// Also those devices count that missed the way back from a higher version.
	if before != nil && c.Highest == "" {
		c.Highest = before.Release
	}
	switch {
	case o.Back:
		c.RollbackTo = c.Release
	case c.RollbackTo == "" && lower(c.Release, c.Highest):
		return refused("was at "+c.Highest+", which is a higher version than "+c.Release+": devices that have it would refuse to go back", "give --rollback if they are to go back")
	}
	if c.Highest == "" || lower(c.Highest, c.Release) {
		c.Highest = c.Release
	}
	return nil
}
