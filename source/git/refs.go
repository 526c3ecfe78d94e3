package git

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/godwit-ota/godwit"
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
		tip, err = s.newestVersion(ctx)
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
	if r.SymrefTarget != "" {
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

// newestVersion asks for all tags and takes the one with the highest version.
func (s *Source) newestVersion(ctx context.Context) (tip godwit.Tip, err error) {
	var best version
	err = s.remote.ListRefs(ctx, []string{"refs/tags/"}, func(r wire.Ref) error {
		v, ok := parseVersion(strings.TrimPrefix(r.Name, "refs/tags/"))
		// Of two tags for one version ("v1.0.0" and "1.0.0") the later in the
		// list is as good as any, and always the same.
		if ok && r.ID != "" && !v.pre && (tip.Commit == "" || v.compare(best) >= 0) {
			best, tip = v, tipOf(r)
		}
		return nil
	})
	return tip, err
}

// noRef finds out why there is nothing to follow. It costs one more request.
func (s *Source) noRef(ctx context.Context) error {
	prefix, what, word := "refs/heads/", "branch "+quote(s.cfg.Branch), "branches"
	switch {
	case s.cfg.Channel != "":
		prefix, what, word = "refs/tags/", "tag that is a version, like v1.4.0", "tags"
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

// A version is a semantic version (semver.org), with or without "v" in front.
// Two numbers ("1.4") are taken too.
type version struct {
	n   [3]string // without leading zeros
	pre bool
}

func parseVersion(s string) (v version, ok bool) {
	s = strings.TrimPrefix(s, "v")
	s, build, hasBuild := strings.Cut(s, "+")
	s, pre, hasPre := strings.Cut(s, "-")
	if hasPre && !identifiers(pre) || hasBuild && !identifiers(build) {
		return v, false
	}
	parts := strings.Split(s, ".")
	if len(parts) < 2 || len(parts) > 3 {
		return v, false
	}
	for i, p := range parts {
		if p == "" || len(p) > 18 || strings.Trim(p, "0123456789") != "" || len(p) > 1 && p[0] == '0' {
			return v, false
		}
		v.n[i] = p
	}
	if len(parts) == 2 {
		v.n[2] = "0"
	}
	v.pre = hasPre
	return v, true
}

// identifiers reports whether s is dot-separated words of letters, digits and
// hyphens.
func identifiers(s string) bool {
	for word := range strings.SplitSeq(s, ".") {
		if word == "" {
			return false
		}
		for i := range len(word) {
			c := word[i]
			if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '-') {
				return false
			}
		}
	}
	return true
}

// compare orders versions without pre-release parts.
func (v version) compare(o version) int {
	for i := range v.n {
		if len(v.n[i]) != len(o.n[i]) {
			return len(v.n[i]) - len(o.n[i])
		}
		if c := strings.Compare(v.n[i], o.n[i]); c != 0 {
			return c
		}
	}
	return 0
}
