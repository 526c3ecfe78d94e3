package publish

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/manifest"
	"github.com/godwit-ota/godwit/source/web"
)

// Orders are what to set a channel to. Its name, the release and its manifest,
// the sequence and the time are filled in.
type Orders struct {
	manifest.Channel
	Back bool   // the release may have a lower version than the present one
	Sign Sign   // nil leaves it without a .sig
	Key  []byte // for the HMAC within; nil for none
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
// it said before, if it was there, and what it says now. It is CodeRefused to go
// back to a lower version without Back, which devices would not follow.
func (f Folder) SetChannel(ctx context.Context, p *Published, o *Orders) (before, after *manifest.Channel, err error) {
	if manifest.CheckPath(o.Name) != nil || filepath.Base(o.Name) != o.Name {
		return nil, nil, usage("there can be no channel called "+strconv.Quote(o.Name), "give it a name such as stable")
	}
	if before, err = f.Channel(o.Name); err != nil {
		return before, nil, err
	}
	release, err := readManifest(filepath.Join(f.Dir, filepath.FromSlash(web.Releases+p.Version), web.ManifestName))
	if err != nil {
		return before, nil, err
	}
	now := o.Channel
	c := &now
	c.Release, c.Manifest, c.Product, c.Sequence, c.Time = p.Version, p.Manifest, release.Product, 1, f.now().UTC().Truncate(time.Second)
	if before != nil {
		c.Sequence = before.Sequence + 1
		refused := func(text, hint string) error {
			return godwit.Fail(godwit.CodeRefused, nil, "the channel "+o.Name+" "+text, hint)
		}
		back := lower(p.Version, before.Release)
		switch {
		case c.Time.Before(before.Time):
			return before, c, refused("was set at "+before.Time.Format(time.DateTime)+" UTC, and it is earlier now by this clock", "set the clock")
		case back && !o.Back:
			return before, c, refused("is at "+before.Release+", which is a higher version than "+p.Version, "give --rollback if devices are to go back")
		case back:
			c.RollbackTo = p.Version
		}
	}
	if c.Floor != "" {
		floor, err := readManifest(filepath.Join(f.Dir, filepath.FromSlash(web.Releases+c.Floor), web.ManifestName))
		if err != nil || floor.body == nil {
			return before, c, usage("the floor "+strconv.Quote(c.Floor)+" is not a release of this folder", "publish it first: devices below it go there on their way")
		}
	}
	b := c.Append(nil)
	if len(o.Key) > 0 {
		if b, err = manifest.AddHMAC(b, o.Key); err != nil {
			return before, c, err
		}
	}
	// What cannot be read back is not published.
	if *c, err = manifest.ReadChannel(bytes.NewReader(b), int64(len(b))); err != nil {
		return before, c, err
	}
	sig, err := signed(ctx, o.Sign, b)
	if err == nil {
		err = putSigned(filepath.Join(f.Dir, web.ChannelFile(o.Name)), b, sig)
	}
	return before, c, err
}
