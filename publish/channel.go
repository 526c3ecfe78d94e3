package publish

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

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

// Channel returns the present state of a channel of the folder, if it has it.
func (f Folder) Channel(name string) (c manifest.Channel, there bool, err error) {
	r, size, err := open(filepath.Join(f.Dir, web.ChannelFile(name)))
	if errors.Is(err, fs.ErrNotExist) {
		return c, false, nil
	}
	if err != nil {
		return c, false, diskError(err)
	}
	defer r.Close()
	c, err = manifest.ReadChannel(r, size)
	return c, true, err
}

// SetChannel points a channel to a release that was published. It is CodeRefused
// to go back to a lower version without Back, which devices would not follow.
func (f Folder) SetChannel(ctx context.Context, p Published, o Orders) (before, after manifest.Channel, err error) {
	if o.Name == "" || manifest.CheckPath(o.Name) != nil || filepath.Base(o.Name) != o.Name {
		return before, after, godwit.Fail(godwit.CodeUsage, nil, "there can be no channel called "+strconv.Quote(o.Name), "give it a name such as stable")
	}
	before, there, err := f.Channel(o.Name)
	if err != nil {
		return before, after, err
	}
	head, _, err := readHead(filepath.Join(f.Dir, filepath.FromSlash(web.Releases+p.Version), web.ManifestName))
	if err != nil {
		return before, after, err
	}
	c := o.Channel
	c.Release, c.Manifest, c.Product, c.Sequence, c.Time = p.Version, p.Manifest, head.Product, before.Sequence+1, f.now()
	if there && c.Time.Before(before.Time) {
		return before, c, godwit.Fail(godwit.CodeRefused, nil, "the channel "+o.Name+" was set at "+before.Time.Format("2006-01-02 15:04:05")+" UTC, and it is earlier now by this clock", "set the clock")
	}
	if lower(p.Version, before.Release) {
		if !o.Back {
			return before, c, godwit.Fail(godwit.CodeRefused, nil, "the channel "+o.Name+" is at "+before.Release+", which is a higher version than "+p.Version, "give --rollback if devices are to go back")
		}
		c.RollbackTo = p.Version
	}
	if c.Floor != "" {
		if _, there, err := readHead(filepath.Join(f.Dir, filepath.FromSlash(web.Releases+c.Floor), web.ManifestName)); err != nil || !there {
			return before, c, godwit.Fail(godwit.CodeUsage, err, "the floor "+strconv.Quote(c.Floor)+" is not a release of this folder", "publish it first: devices below it go there on their way")
		}
	}
	t, err := os.CreateTemp(f.Dir, ".new-channel-")
	if err != nil {
		return before, c, diskError(err)
	}
	defer os.Remove(t.Name())
	defer t.Close()
	b := c.Append(nil)
	if _, err := t.Write(b); err != nil {
		return before, c, diskError(err)
	}
	if len(o.Key) > 0 {
		if _, err := manifest.AddHMAC(t, int64(len(b)), o.Key); err != nil {
			return before, c, err
		}
	}
	if b, err = os.ReadFile(t.Name()); err != nil {
		return before, c, diskError(err)
	}
	// What cannot be read back is not published.
	r, size, err := open(t.Name())
	if err != nil {
		return before, c, diskError(err)
	}
	defer r.Close()
	if after, err = manifest.ReadChannel(r, size); err != nil {
		return before, after, err
	}
	var sig []byte
	if o.Sign != nil {
		if sig, err = o.Sign(ctx, b); err != nil {
			return before, after, err
		}
	}
	return before, after, putSigned(filepath.Join(f.Dir, web.ChannelFile(o.Name)), b, sig)
}
