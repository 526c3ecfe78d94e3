package github

import (
	"context"
	"errors"
	"net/url"
	"strconv"
	"strings"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/internal/jsontext"
	"github.com/godwit-ota/godwit/internal/semver"
	"github.com/godwit-ota/godwit/internal/webclient"
	"github.com/godwit-ota/godwit/source/git/object"
)

const tagPrefix = "refs/tags/"

// Tip asks what the followed channel, branch or tag names now. While nothing
// changes these are at most three requests, which the host answers with 304 and
// no content.
func (s *Source) Tip(ctx context.Context) (godwit.Tip, error) {
	switch {
	case s.cfg.Branch != "":
		return s.branchTip(ctx, strings.TrimPrefix(s.cfg.Branch, "refs/heads/"))
	case s.cfg.Tag != "":
		return s.Named(ctx, strings.TrimPrefix(s.cfg.Tag, tagPrefix))
	}
	if s.cfg.Signed && !s.cfg.HMAC && s.host.refs("") != "" {
		name := "channel/" + s.cfg.Channel
		t, err := s.exact(ctx, name, "channel")
		if err != nil || t.Ref != "" {
			if t.Channel = t.Tag; t.Channel == "" {
				t.Channel = t.Commit // nobody signed it: its statement is empty
			}
			return t, err
		}
		if s.cfg.Channel != stable {
			return t, s.missing(ctx, "channel "+quote(s.cfg.Channel), "godwit channel set makes it")
		}
	}
	r, ok, err := s.askRelease(ctx, s.host.latest(), latestKey, "the latest release")
	if err != nil {
		return godwit.Tip{}, err
	}
	tag := r.tag
	if !ok && s.cfg.Signed && !s.cfg.HMAC && s.host.refs("") != "" {
		if tag, err = s.newestVersion(ctx); err != nil {
			return godwit.Tip{}, err
		}
	}
	if tag == "" {
		return godwit.Tip{}, s.missing(ctx, "release", "publish a release, or follow a branch: source.branch = \"main\". Drafts and pre-releases do not count")
	}
	s.latest = r
	return s.Named(ctx, tag)
}

// branchTip asks for the commit at the tip of a branch.
func (s *Source) branchTip(ctx context.Context, name string) (godwit.Tip, error) {
	address, accept := s.host.branch(name)
	id, ok, err := s.ask(ctx, question{url: address, accept: accept, what: "the branch " + quote(name), key: "branch", read: func(a *webclient.Answer) (string, error) {
		if accept != acceptJSON {
			var b [65]byte
			n, err := readFull(a.Body, b[:])
			return strings.TrimSpace(string(b[:n])), err
		}
		v, err := small(a)
		return v.Get("commit").Get("id").Text, err
	}})
	if err == nil && !ok {
		err = s.missing(ctx, "branch "+quote(name), "set source.branch to one that it has")
	}
	if err == nil {
		err = s.checkID(id, "the branch "+quote(name))
	}
	return godwit.Tip{Ref: "refs/heads/" + name, Commit: id}, err
}

// Named asks for the tip of the release called name, such as "v1.4.0".
func (s *Source) Named(ctx context.Context, name string) (godwit.Tip, error) {
	t, err := s.exact(ctx, name, "tag")
	if err == nil && t.Ref == "" {
		err = s.missing(ctx, "tag "+quote(name), "push that tag, or publish the release again")
	}
	if s.latest.tag != name {
		s.latest = release{}
	}
	if err != nil || t.Commit != "" {
		return t, err
	}
	t.Commit, err = s.follow(ctx, t.Tag)
	return t, err
}

func (s *Source) checkID(id, what string) error {
	if _, err := object.ParseID(id); err != nil {
		return s.odd(question{what: what}, errors.New("it names "+quote(webclient.Printable(id))+", which is no id"))
	}
	return nil
}

// exact asks for one tag. Without Commit it is an annotated one; the zero Tip
// means that there is none.
func (s *Source) exact(ctx context.Context, name, key string) (godwit.Tip, error) {
	t := godwit.Tip{Ref: tagPrefix + name}
	q := question{url: s.host.refs("tags/" + name), what: "the tag " + quote(name), key: key}
	q.read = func(a *webclient.Answer) (text string, err error) {
		err = refs(a, func(ref, kind, id string) error {
			if ref == t.Ref {
				text = kind + " " + id
			}
			return nil
		})
		return text, err
	}
	if q.url == "" {
		q.url = s.host.plainTag(name)
		q.read = func(a *webclient.Answer) (string, error) {
			v, err := small(a)
			return "commit " + v.Get("commit").Get("id").Text, err
		}
	}
	text, ok, err := s.ask(ctx, q)
	kind, id, _ := strings.Cut(text, " ")
	if err == nil && ok && text != "" {
		err = s.checkID(id, q.what)
	}
	if err != nil || !ok || text == "" {
		return godwit.Tip{}, err
	}
	switch kind {
	case "commit":
		t.Commit = id
	case "tag":
		t.Tag = id
	default:
		return t, godwit.Fail(godwit.CodeNoRef, nil, "the tag "+quote(name)+" names a "+webclient.Printable(kind)+" and not a commit", "tag a commit")
	}
	return t, nil
}

// refs reads a list of references: GitHub's "git-ref", Gitea's "Reference".
func refs(a *webclient.Answer, fn func(ref, kind, id string) error) error {
	const most = 16 << 20 // about 50,000 of GitHub's
	j := jsontext.NewReader(a.Body, jsontext.Limits{Bytes: most})
	if err := begin(j, jsontext.Array); err != nil {
		return err
	}
	return elements(j, func(jsontext.Kind) error {
		v, err := j.Value(16 << 10)
		if err != nil {
			return err
		}
		o := v.Get("object")
		return fn(v.Get("ref").Text, o.Get("type").Text, o.Get("sha").Text)
	})
}

// maxPages bounds the pages of a list: 100 tags each, or 30.
const maxPages = 1000

// newestVersion looks through all tags for the highest version that is no
// pre-release. Where releases are signed only annotated tags count. It is "" if
// there is none.
func (s *Source) newestVersion(ctx context.Context) (string, error) {
	name := ""
	var best semver.Version
	next, key := s.host.refs("tags/"), "tags"
	for page := 1; next != ""; page++ {
		if page > maxPages {
			return "", godwit.Fail(godwit.CodeLimit, nil, s.name+" has too many tags to look through", "publish releases, or make a channel: godwit channel set")
		}
		at := next
		// What is remembered of the only page is the best of it.
		text, ok, err := s.ask(ctx, question{url: at, what: "its tags", key: key, read: func(a *webclient.Answer) (string, error) {
			found, next := "", link(a, "next")
			var top semver.Version
			err := refs(a, func(ref, kind, _ string) error {
				n := strings.TrimPrefix(ref, tagPrefix)
				v, ok := semver.Parse(n)
				if ok && !v.Prerelease() && kind == "tag" && (found == "" || semver.Compare(v, top) >= 0) {
					found, top = n, v
				}
				return nil
			})
			return next + " " + found, err
		}})
		if err != nil || !ok {
			return name, err
		}
		var found string
		next, found, _ = strings.Cut(text, " ")
		if v, ok := semver.Parse(found); ok && (name == "" || semver.Compare(v, best) >= 0) {
			name, best = found, v
		}
		key = ""
	}
	return name, nil
}

// link gives the address that a header field Link (RFC 8288) names for a
// relation, "" if there is none or if it leads to another host.
func link(a *webclient.Answer, relation string) string {
	for _, field := range a.Header.Values("Link") {
		for part := range strings.SplitSeq(field, ",") {
			address, rest, ok := strings.Cut(strings.TrimSpace(part), ">")
			if !ok || !strings.HasPrefix(address, "<") || !strings.Contains(rest, `rel="`+relation+`"`) {
				continue
			}
			u, err := a.URL.Parse(address[1:])
			if err == nil && webclient.OriginOf(u) == webclient.OriginOf(a.URL) && !strings.Contains(u.String(), " ") {
				return u.String()
			}
		}
	}
	return ""
}

// A release is what the host calls one.
type release struct {
	tag                 string
	manifest, signature string // addresses of the attached files, "" if there are none
}

const (
	manifestName  = "manifest.json"
	signatureName = manifestName + ".sig"
)

const latestKey = "latest"

// askRelease asks for a release. ok is false if there is none.
func (s *Source) askRelease(ctx context.Context, address, key, what string) (r release, ok bool, err error) {
	text, ok, err := s.ask(ctx, question{url: address, what: what, key: key, read: func(a *webclient.Answer) (string, error) {
		r, draft, early, err := s.readRelease(a)
		if err == nil && r.tag == "" && !draft {
			err = errors.New("it names no tag")
		}
		if err != nil || draft || early && key == latestKey {
			return "", err
		}
		return strings.Join([]string{quote(r.tag), quote(r.manifest), quote(r.signature)}, " "), nil
	}})
	if err != nil || !ok || text == "" {
		return r, false, err
	}
	for _, into := range []*string{&r.tag, &r.manifest, &r.signature} {
		q, err := strconv.QuotedPrefix(text)
		if err != nil {
			return release{}, false, nil
		}
		*into, _ = strconv.Unquote(q)
		text = strings.TrimPrefix(text[len(q):], " ")
	}
	return r, true, nil
}

// readRelease reads one release as the three kinds of hosts describe it. early is
// set for pre-releases and releases to come.
func (s *Source) readRelease(a *webclient.Answer) (r release, draft, early bool, err error) {
	const most = 8 << 20
	j := jsontext.NewReader(a.Body, jsontext.Limits{Bytes: most, Text: 1 << 20})
	if err = begin(j, jsontext.Object); err != nil {
		return r, false, false, err
	}
	assets := func(k jsontext.Kind) error {
		v, err := j.Value(64 << 10)
		if err != nil {
			return err
		}
		address := s.host.asset(v)
		switch v.Get("name").Text {
		case manifestName:
			r.manifest = address
		case signatureName:
			r.signature = address
		}
		return nil
	}
	err = members(j, func(name string) error {
		switch name {
		case "tag_name", "draft", "prerelease", "upcoming_release":
			v, err := j.Value(4 << 10)
			switch {
			case name == "tag_name":
				r.tag = v.Text
			case name == "draft":
				draft = v.Text == "true"
			case v.Text == "true":
				early = true
			}
			return err
		case "assets":
			k, err := j.Next()
			switch {
			case err != nil:
				return err
			case k == jsontext.Array:
				return elements(j, assets)
			case k != jsontext.Object:
				return nil
			}
			return members(j, func(name string) error { // GitLab
				if name != "links" {
					return j.Skip()
				}
				if err := begin(j, jsontext.Array); err != nil {
					return err
				}
				return elements(j, assets)
			})
		}
		return j.Skip()
	})
	for _, address := range []*string{&r.manifest, &r.signature} {
		u, e := url.Parse(*address)
		if *address != "" && (e != nil || u.Host == "" || strings.ContainsAny(*address, " \n")) {
			*address = ""
		}
	}
	return r, draft, early, err
}
