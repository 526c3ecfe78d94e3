package device

import (
	"context"
	"strconv"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/config"
	"github.com/godwit-ota/godwit/engine"
	"github.com/godwit-ota/godwit/plan"
)

// A source is what a source offers beside the engine's methods.
type source interface {
	engine.Source
	Transferred() (sent, received int64)
	Close() error
}

// A lateSource opens the source when it is first asked: most commands need no
// network, and no secret either.
type lateSource struct {
	meter  *meter
	limits config.Limits
	open   func() (source, error)
	opened source // nil until it is asked
}

func (l *lateSource) get() (source, error) {
	if l.opened == nil {
		s, err := l.open()
		if err != nil {
			return nil, err
		}
		l.opened = s
	}
	return l.opened, nil
}

func (l *lateSource) Tip(ctx context.Context) (godwit.Tip, error) {
	s, err := l.get()
	if err != nil {
		return godwit.Tip{}, err
	}
	return s.Tip(ctx)
}

// channels is the source as one that has channels.
func (l *lateSource) channels() (engine.Channels, error) {
	s, err := l.get()
	if err != nil {
		return nil, err
	}
	c, ok := s.(engine.Channels)
	if !ok {
		return nil, godwit.Fail(godwit.CodeConfig, nil, "this source has no channels", "follow a tag, or use another source.type")
	}
	return c, nil
}

func (l *lateSource) Channel(ctx context.Context, tip godwit.Tip) (godwit.Statement, error) {
	c, err := l.channels()
	if err != nil {
		return godwit.Statement{}, err
	}
	return c.Channel(ctx, tip)
}

func (l *lateSource) Named(ctx context.Context, name, id string) (godwit.Tip, error) {
	c, err := l.channels()
	if err != nil {
		return godwit.Tip{}, err
	}
	return c.Named(ctx, name, id)
}

// Below is for sources that have many versions.
func (l *lateSource) Below(ctx context.Context, tip godwit.Tip) (godwit.Tip, error) {
	s, err := l.get()
	if v, ok := s.(engine.Versions); err == nil && ok {
		return v.Below(ctx, tip)
	}
	return godwit.Tip{}, err
}

func (l *lateSource) Release(ctx context.Context, tip godwit.Tip) (godwit.Release, error) {
	s, err := l.get()
	if err != nil {
		return godwit.Release{}, err
	}
	return s.Release(ctx, tip)
}

func (l *lateSource) Describe(ctx context.Context, v godwit.Verified, have []string) (godwit.Described, error) {
	s, err := l.get()
	if err != nil {
		return godwit.Described{}, err
	}
	defer l.meter.run(godwit.StageDescribe, s.Transferred)()
	d, err := s.Describe(ctx, v, have)
	if d.Listing != nil {
		d.Listing = limited(d.Listing, l.limits)
	}
	return d, err
}

// limited is a listing that ends with an error where it is longer than the
// limits on trees say. Sources have limits of their own as well. Its bytes are counted as Git's tree objects have them:
// mode, name and a digest of 20 bytes (gitformat-index and git-mktree(1)).
func limited(listing godwit.Listing, l config.Limits) godwit.Listing {
	if l.MaxTreeFiles == 0 && l.MaxTreeBytes == 0 {
		return listing
	}
	return func(yield func(godwit.Entry, error) bool) {
		n, bytes := 0, config.Size(0)
		for e, err := range listing {
			if err == nil {
				n++
				bytes += config.Size(len("100644 ") + len(e.Path) + 1 + 20)
				switch {
				case l.MaxTreeFiles > 0 && n > l.MaxTreeFiles:
					err = treeTooLong("more than "+strconv.Itoa(l.MaxTreeFiles)+" files", "limits.max_tree_files")
				case l.MaxTreeBytes > 0 && bytes > l.MaxTreeBytes:
					err = treeTooLong("more than "+plan.Bytes(int64(l.MaxTreeBytes)), "limits.max_tree_bytes")
				}
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

func treeTooLong(what, key string) error {
	return godwit.Fail(godwit.CodeLimit, nil, "the release's list of files has "+what+", and "+key+" allows no more",
		"raise "+key+", or give the device a repository, or a release with a manifest, that holds only what it needs")
}

func (l *lateSource) Fetch(ctx context.Context, d godwit.Described, want godwit.Listing, into godwit.Objects) error {
	s, err := l.get()
	if err != nil {
		return err
	}
	defer l.meter.run(godwit.StageFetch, s.Transferred)()
	return s.Fetch(ctx, d, want, into)
}

// Transferred counts the bytes of this run.
func (l *lateSource) Transferred() (sent, received int64) {
	if l.opened == nil {
		return 0, 0
	}
	return l.opened.Transferred()
}

// Patched tells what became of patches in this run.
func (l *lateSource) Patched() godwit.Patched {
	if p, ok := l.opened.(engine.Patches); ok {
		return p.Patched()
	}
	return godwit.Patched{}
}

// Discard forgets what was brought of a release that was refused.
func (l *lateSource) Discard() {
	if d, ok := l.opened.(interface{ Discard() }); ok {
		d.Discard()
	}
}

func (l *lateSource) close() {
	if l.opened != nil {
		l.opened.Close()
	}
}
