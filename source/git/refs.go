package git

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/internal/semver"
	"github.com/godwit-ota/godwit/source/git/wire"
)

func quote(s string) string { return strconv.Quote(s) }

func isAbsent(err error) bool { return errors.Is(err, errAbsent) }

// shortRef is the name of a ref for people.
func shortRef(ref string) string {
	for _, p := range []string{"refs/tags/", "refs/heads/"} {
		if s, ok := strings.CutPrefix(ref, p); ok {
			return s
		}
	}
	return ref
}

// Tip asks what the followed ref names now: one request, unless the host is new
// or has changed.
func (s *Source) Tip(ctx context.Context) (godwit.Tip, error) {
	var tip godwit.Tip
	var err error
	switch {
	case s.cfg.Channel != "":
		tip, err = s.channel(ctx)
	case s.cfg.Tag != "":
		tip, err = s.exact(ctx, full("refs/tags/", s.cfg.Tag))
	case s.cfg.Branch != "":
		tip, err = s.exact(ctx, full("refs/heads/", s.cfg.Branch))
	default:
		tip, err = s.exact(ctx, "HEAD")
	}
	if err == nil && tip.Commit == "" {
		err = s.noRef(ctx)
	}
	return tip, err
}

func full(prefix, name string) string {
	if strings.HasPrefix(name, "refs/") {
		return name
	}
	return prefix + name
}

func tipOf(r wire.Ref) godwit.Tip {
	t := godwit.Tip{Ref: r.Name, Commit: r.ID}
	if r.Peeled != "" {
		t.Commit, t.Tag = r.Peeled, r.ID
	}
	// HEAD is asked for to learn which branch it is. Anything else goes by the name
	// that was asked for, or a host could pass one ref off as another.
	if r.Name == "HEAD" && r.SymrefTarget != "" {
		t.Ref = r.SymrefTarget
	}
	return t
}

// exact asks for one ref. The zero Tip means that there is none.
func (s *Source) exact(ctx context.Context, name string) (tip godwit.Tip, err error) {
	err = s.remote.ListRefs(ctx, []string{name}, func(r wire.Ref) error {
		if r.Name == name && r.ID != "" {
			tip = tipOf(r)
		}
		return nil
	})
	return tip, err
}

// newestVersion asks for all tags and takes the one with the highest version,
// of annotated tags where releases are signed. steered is the channel's tag.
// Only versions below the one called below are looked at, if that is one.
func (s *Source) newestVersion(ctx context.Context, below string) (tip, steered godwit.Tip, err error) {
	limit, limited := semver.Parse(below)
	var best semver.Version
	channel := channelRef(s.cfg.Channel)
	err = s.remote.ListRefs(ctx, []string{"refs/tags/"}, func(r wire.Ref) error {
		if s.cfg.Signed && r.Name == channel && r.ID != "" {
			steered = channelTip(r)
			return nil
		}
		v, ok := semver.Parse(strings.TrimPrefix(r.Name, "refs/tags/"))
		// Of two tags for one version ("v1.0.0" and "1.0.0") the later in the
		// list is as good as any, and always the same.
		if limited && semver.Compare(v, limit) >= 0 {
			return nil
		}
		if ok && r.ID != "" && !v.Prerelease() && (!s.cfg.Signed || r.Peeled != "") && (tip.Commit == "" || semver.Compare(v, best) >= 0) {
			best, tip = v, tipOf(r)
		}
		return nil
	})
	return tip, steered, err
}

func channelRef(name string) string { return "refs/tags/channel/" + name }

// channelTip is a channel's tip. A channel that nobody signed has a statement
// too, which is empty.
func channelTip(r wire.Ref) godwit.Tip {
	t := tipOf(r)
	if t.Channel = t.Tag; t.Channel == "" {
		t.Channel = t.Commit
	}
	return t
}

// channelNote is the file that says that the repository has a channel: then one
// ref is asked for instead of all tags.
const channelNote = "channel"

// channel asks for the channel's tag, and for the newest version where a
// repository has no such tag.
func (s *Source) channel(ctx context.Context) (tip godwit.Tip, err error) {
	name := channelRef(s.cfg.Channel)
	remembered, _ := s.cfg.Remote.State.Load(channelNote)
	if s.cfg.Signed && (string(remembered) == name || s.cfg.Channel != stable) {
		err = s.remote.ListRefs(ctx, []string{name}, func(r wire.Ref) error {
			if r.Name == name && r.ID != "" {
				tip = channelTip(r)
			}
			return nil
		})
		if err != nil || tip.Commit != "" || s.cfg.Channel != stable {
			return tip, err
		}
	}
	tip, steered, err := s.newestVersion(ctx, "")
	if err == nil && steered.Channel != "" {
		tip = steered
		if string(remembered) != name {
			// Without the note the next check costs more, and that is all.
			_ = s.cfg.Remote.State.Save(channelNote, []byte(name))
		}
	}
	return tip, err
}

// Below asks for the newest version below the one that tip is, after a gate has
// refused that. It is the zero Tip when there is none, or when the device does
// not follow the newest version.
func (s *Source) Below(ctx context.Context, tip godwit.Tip) (godwit.Tip, error) {
	name := shortRef(tip.Ref)
	if _, ok := semver.Parse(name); !ok || s.cfg.Channel != stable {
		return godwit.Tip{}, nil
	}
	lower, steered, err := s.newestVersion(ctx, name)
	if steered.Channel != "" {
		return godwit.Tip{}, err
	}
	return lower, err
}

// Named asks for the tip of the release called name, such as "v1.4.0".
func (s *Source) Named(ctx context.Context, name, _ string) (godwit.Tip, error) {
	tip, err := s.exact(ctx, full("refs/tags/", name))
	if err == nil && tip.Commit == "" {
		err = godwit.Fail(godwit.CodeNoRef, nil, "the repository has no tag "+quote(name)+", which its channel names", "push that tag")
	}
	return tip, err
}

// noRef finds out why there is nothing to follow. It costs one more request.
func (s *Source) noRef(ctx context.Context) error {
	prefix, what, word := "refs/heads/", "branch "+quote(s.cfg.Branch), "branches"
	switch {
	case s.cfg.Channel != "":
		prefix, what, word = "refs/tags/", "tag that is a version, like v1.4.0", "tags"
		if s.cfg.Channel != stable {
			what = "channel " + quote(s.cfg.Channel)
		} else if s.cfg.Signed {
			what = "signed tag that is a version, like v1.4.0"
		}
	case s.cfg.Tag != "":
		prefix, what, word = "refs/tags/", "tag "+quote(s.cfg.Tag), "tags"
	case s.cfg.Branch == "":
		what = "branch that its HEAD names"
	}
	var names []string
	total, any := 0, false
	err := s.remote.ListRefs(ctx, nil, func(r wire.Ref) error {
		any = any || r.ID != ""
		if n, ok := strings.CutPrefix(r.Name, prefix); ok {
			if total++; total <= 8 {
				names = append(names, n)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if !any {
		return godwit.Fail(godwit.CodeNoRef, nil, "the repository is empty", "push a first commit, and look whether source.url is the right repository")
	}
	hint := "it has no " + word + " at all"
	if total > 0 {
		hint = "its " + word + " are: " + strings.Join(names, ", ")
		if total > len(names) {
			hint += " and " + strconv.Itoa(total-len(names)) + " more"
		}
	}
	return godwit.Fail(godwit.CodeNoRef, nil, "the repository has no "+what, hint)
}
