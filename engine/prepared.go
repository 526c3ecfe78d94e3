package engine

import (
	"bytes"
	"context"
	"io"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/plan"
	"github.com/godwit-ota/godwit/store"
)

// A Prepared update has all that its switch needs on this device, and was held by
// Permit. It lets a later Update switch where the source cannot be reached: what
// the source said is judged anew, as if it were said then. It is good for as long as
// the process lives and nothing else is installed.
type Prepared struct {
	tip     godwit.Tip
	channel godwit.Statement
	named   map[string]godwit.Tip
	release godwit.Release
	rest    godwit.Described // without listings
	listing string
}

// maxPrepared bounds the statements that are kept in memory, in bytes.
const maxPrepared = 128 << 10

// A recorder is a source that remembers what it said.
type recorder struct {
	Source
	said *Prepared // nil before it said anything
}

func (r *recorder) Tip(ctx context.Context) (godwit.Tip, error) {
	t, err := r.Source.Tip(ctx)
	if err != nil {
		return t, err
	}
	r.said = &Prepared{tip: t, named: map[string]godwit.Tip{}}
	return t, nil
}

// movedOn reports whether the source names something else now than what p is.
func (r *recorder) movedOn(p *Prepared) bool { return r.said != nil && r.said.tip != p.tip }

func (r *recorder) Channel(ctx context.Context, tip godwit.Tip) (godwit.Statement, error) {
	c, ok := r.Source.(Channels)
	if !ok {
		return godwit.Statement{}, noChannels
	}
	s, err := c.Channel(ctx, tip)
	if err == nil {
		r.said.channel, err = kept(s)
	}
	return s, err
}

func (r *recorder) Named(ctx context.Context, name, id string) (godwit.Tip, error) {
	c, ok := r.Source.(Channels)
	if !ok {
		return godwit.Tip{}, noChannels
	}
	t, err := c.Named(ctx, name, id)
	if err == nil {
		r.said.named[name] = t
	}
	return t, err
}

var noChannels = godwit.Fail(godwit.CodeConfig, nil, "this source has no channels", "follow a tag, or use another source.type")

func (r *recorder) Release(ctx context.Context, tip godwit.Tip) (godwit.Release, error) {
	rel, err := r.Source.Release(ctx, tip)
	if err == nil {
		r.said.release = rel
		r.said.release.Statement, err = kept(rel.Statement)
	}
	return rel, err
}

func (r *recorder) Below(ctx context.Context, tip godwit.Tip) (godwit.Tip, error) {
	if v, ok := r.Source.(Versions); ok {
		return v.Below(ctx, tip)
	}
	return godwit.Tip{}, nil
}

func (r *recorder) Describe(ctx context.Context, v godwit.Verified, have []string) (godwit.Described, error) {
	d, err := r.Source.Describe(ctx, v, have)
	r.said.rest = d
	r.said.rest.Listing, r.said.rest.Offers, r.said.rest.Trees, r.said.rest.Installed = nil, nil, nil, nil
	return d, err
}

// Patched is that of a source that knows of patches.
func (r *recorder) Patched() godwit.Patched {
	if p, ok := r.Source.(Patches); ok {
		return p.Patched()
	}
	return godwit.Patched{}
}

// kept is a statement that outlives its source. One that is too large is left out,
// which makes what is prepared unfit.
func kept(s godwit.Statement) (godwit.Statement, error) {
	if s.Form == godwit.NoStatement || s.Body == nil {
		return s, nil
	}
	if s.Size > maxPrepared {
		return godwit.Statement{Form: s.Form}, nil
	}
	b := make([]byte, s.Size)
	if _, err := s.Body.ReadAt(b, 0); err != nil && err != io.EOF {
		return s, err
	}
	s.Body = bytes.NewReader(b)
	return s, nil
}

// prepared keeps what a switch to the release needs, whose target p names. It is nil
// where that cannot be kept.
func (e *Engine) prepared(r *recorder, p *plan.Plan) *Prepared {
	if before, ok := r.Source.(replay); ok {
		return before.Prepared // as old as it was
	}
	said := r.said
	if said == nil || said.release.Commit != said.rest.Commit || unfit(said.channel) || unfit(said.release.Statement) {
		return nil
	}
	name, err := e.Store.KeepListing(p.Target())
	if err != nil {
		e.Events.Say(godwit.StagePlan, godwit.Debug, err.Error())
		return nil
	}
	said.listing = name
	return said
}

func unfit(s godwit.Statement) bool { return s.Form != godwit.NoStatement && s.Body == nil }

// A replay is a source that says again what it said before.
type replay struct {
	*Prepared
	store *store.Store
}

func (r replay) Tip(context.Context) (godwit.Tip, error) { return r.tip, nil }

func (r replay) Channel(context.Context, godwit.Tip) (godwit.Statement, error) { return r.channel, nil }

func (r replay) Named(_ context.Context, name, _ string) (godwit.Tip, error) {
	if t, ok := r.named[name]; ok {
		return t, nil
	}
	return godwit.Tip{}, unreachable
}

func (r replay) Release(_ context.Context, tip godwit.Tip) (godwit.Release, error) {
	if tip.Commit != r.release.Commit {
		return godwit.Release{}, unreachable
	}
	return r.release, nil
}

func (r replay) Describe(_ context.Context, v godwit.Verified, _ []string) (godwit.Described, error) {
	d := r.rest
	d.Verified, d.Listing = v, r.store.Listing(store.Version{Listing: r.listing})
	if v.Time.IsZero() {
		d.Time = r.rest.Time // only the listing told
	}
	return d, nil
}

func (r replay) Fetch(context.Context, godwit.Described, godwit.Listing, godwit.Objects) error {
	return unreachable
}

var unreachable = godwit.Fail(godwit.CodeNetwork, nil, "the source cannot be reached, and not all of the release is here", "")

// reached reports whether err says something else than that the source cannot be
// reached.
func reached(err error) bool {
	switch godwit.CodeOf(err) {
	case godwit.CodeNetwork, godwit.CodeTimeout, godwit.CodeTLS:
		return false
	}
	return true
}
