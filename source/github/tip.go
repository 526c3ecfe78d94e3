package github

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/internal/semver"
	"github.com/godwit-ota/godwit/internal/webclient"
	"github.com/godwit-ota/godwit/source/git/object"
)

const tagPrefix = "refs/tags/"

// Keys of remembered answers.
const (
	latestKey = "latest"
	branchKey = "branch"
)

// Tip asks what the followed channel, branch or tag names now. While nothing
// changes these are at most three requests, which the host answers with 304 and
// no content.
func (s *Source) Tip(ctx context.Context) (t godwit.Tip, err error) {
	switch {
	case s.cfg.Branch != "":
		return s.branchTip(ctx, strings.TrimPrefix(s.cfg.Branch, "refs/heads/"))
	case s.cfg.Tag != "":
		return s.Named(ctx, strings.TrimPrefix(s.cfg.Tag, tagPrefix), "")
	}
	signedTags := s.cfg.Signed && !s.cfg.HMAC && s.knowsTrees()
	if signedTags {
		t, err = s.exact(ctx, "channel/"+s.cfg.Channel, "channel")
		if err != nil || t.Ref != "" {
			if t.Channel = t.Tag; t.Channel == "" {
				t.Channel = t.Commit // nobody signed it: its statement is empty
			}
			return t, err
		}
		if s.cfg.Channel != stable {
			return t, s.missing(ctx, "godwit channel set makes it", "channel ", quote(s.cfg.Channel))
		}
	}
	s.latest, err = s.askRelease(ctx, s.at(latestRelease, ""), latestKey)
	name := s.latest.tag
	if err == nil && name == "" && signedTags {
		name, err = s.newestVersion(ctx, "")
	}
	if err == nil && name == "" {
		err = s.missing(ctx, "publish a release, or follow a branch: source.branch = \"main\". Drafts and pre-releases do not count", "release")
	}
	if err != nil {
		return t, err
	}
	return s.Named(ctx, name, "")
}

// branchTip asks for the commit at the tip of a branch.
func (s *Source) branchTip(ctx context.Context, name string) (godwit.Tip, error) {
	t := godwit.Tip{Ref: "refs/heads/" + name}
	q := question{at: s.at(branchTip, name), what: "the branch " + quote(name), key: branchKey}
	q.see = func(path, text []byte) error {
		if p := string(path); p == "" || p == "commit.id" { // GitHub's is nothing but the id
			t.Commit = string(text)
		}
		return nil
	}
	q.result = func(*webclient.Answer) string { return t.Commit }
	id, ok, err := s.ask(ctx, &q)
	if err == nil && !ok {
		err = s.missing(ctx, "set source.branch to one that it has", "branch ", quote(name))
	}
	if err == nil {
		err = s.checkID(id, q.what)
	}
	t.Commit = id
	return t, err
}

// Named asks for the tip of the release called name, such as "v1.4.0".
func (s *Source) Named(ctx context.Context, name, _ string) (godwit.Tip, error) {
	t, err := s.exact(ctx, name, "tag")
	if err == nil && t.Ref == "" {
		err = s.missing(ctx, "push that tag, or publish the release again", "tag ", quote(name))
	}
	if err == nil && t.Commit == "" {
		t.Commit, err = s.follow(ctx, t.Tag)
	}
	return t, err
}

func (s *Source) checkID(id, what string) error {
	if _, err := object.ParseID(id); err != nil {
		return s.odd(what, errors.New("it names "+quote(id)+", which is no id"))
	}
	return nil
}

// A ref is one reference of a list: GitHub's "git-ref", Gitea's "Reference"; or
// what GitLab says of a tag.
type ref struct{ name, kind, id string }

// see takes in a value and reports whether the reference is complete.
func (r *ref) see(path, text []byte) bool {
	switch string(path) {
	case "ref":
		r.name = string(text)
	case "object.type":
		r.kind = string(text)
	case "object.sha":
		r.id = string(text)
	case "commit.id":
		r.kind, r.id = "commit", string(text)
	case "/":
		return true
	}
	return false
}

// exact asks for one tag. Without Commit it is an annotated one; the zero Tip
// means that there is none.
func (s *Source) exact(ctx context.Context, name, key string) (t godwit.Tip, err error) {
	q := question{at: s.at(references, "tags/"+name), what: "the tag " + quote(name), key: key, most: maxList}
	if q.at == "" {
		q.at = s.at(plainTag, name)
	}
	var found, r ref
	q.see = func(path, text []byte) error {
		if r.see(path, text) {
			if r.name == tagPrefix+name {
				found = r
			}
			r = ref{}
		}
		return nil
	}
	q.result = func(*webclient.Answer) string {
		// GitLab's answer is one object; so is Gitea's if nothing else begins so.
		if !s.knowsTrees() || r.name == tagPrefix+name {
			found = r
		}
		if found.id == "" {
			return ""
		}
		return found.kind + " " + found.id
	}
	text, ok, err := s.ask(ctx, &q)
	if err != nil || !ok || text == "" {
		return t, err
	}
	kind, id, _ := strings.Cut(text, " ")
	if err := s.checkID(id, q.what); err != nil {
		return t, err
	}
	t.Ref = tagPrefix + name
	switch kind {
	case "commit":
		t.Commit = id
	case "tag":
		t.Tag = id
	default:
		return t, notCommit(kind)
	}
	return t, nil
}

func notCommit(kind string) error {
	return fail(godwit.CodeNoRef, "tag a commit", "the tag names a ", webclient.Printable(kind), " and not a commit")
}

const (
	maxList  = 16 << 20 // bytes of a list of references: about 50,000 of GitHub's
	maxPages = 1000     // of it
)

// Below asks for the newest version below the one that tip is, after a gate has
// refused that. It is the zero Tip when there is none, or when it was not chosen
// as the newest: of releases the host says which is the latest.
func (s *Source) Below(ctx context.Context, tip godwit.Tip) (t godwit.Tip, err error) {
	if s.cfg.Channel != stable || !s.cfg.Signed || s.cfg.HMAC || !s.knowsTrees() || s.latest.tag != "" {
		return t, nil
	}
	name, err := s.newestVersion(ctx, strings.TrimPrefix(tip.Ref, tagPrefix))
	if err != nil || name == "" {
		return t, err
	}
	return s.Named(ctx, name, "")
}

// newestVersion looks through all tags for the highest version that is no
// pre-release, and below another if there is one. As releases are signed only
// annotated tags count. It is "" if there is none.
func (s *Source) newestVersion(ctx context.Context, below string) (name string, err error) {
	var best semver.Version
	most, limited := semver.Parse(below)
	q := question{at: s.at(references, "tags/"), what: "its tags", key: "tags", most: maxList}
	if limited {
		q.key = ""
	}
	for page := 1; q.at != ""; page++ {
		if page > maxPages {
			return "", fail(godwit.CodeLimit, "publish releases, or make a channel: godwit channel set", s.name, " has too many tags to look through")
		}
		var r ref
		q.see = func(path, text []byte) error {
			if r.see(path, text) {
				n := strings.TrimPrefix(r.name, tagPrefix)
				if v, ok := semver.Parse(n); ok && !v.Prerelease() && r.kind == "tag" && (!limited || semver.Compare(v, most) < 0) && (name == "" || semver.Compare(v, best) >= 0) {
					name, best = n, v
				}
				r = ref{}
			}
			return nil
		}
		// What is remembered of the first page is the best of it.
		q.result = func(a *webclient.Answer) string { return next(a) + " " + name }
		text, ok, err := s.ask(ctx, &q)
		if err != nil || !ok {
			return name, err
		}
		q.at, name, _ = strings.Cut(text, " ")
		best, _ = semver.Parse(name)
		q.key = ""
	}
	return name, nil
}

// next gives the address of the next page that the header field Link (RFC 8288)
// names, "" if there is none or if it is on another host.
func next(a *webclient.Answer) string {
	for _, field := range a.Header.Values("Link") {
		for _, part := range strings.Split(field, ",") {
			address, rest, ok := strings.Cut(strings.TrimSpace(part), ">")
			if !ok || !strings.HasPrefix(address, "<") || !strings.Contains(rest, `rel="next"`) {
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

// A release is what the host calls one. The zero release is none.
type release struct {
	tag                 string
	manifest, signature string // addresses of the attached files, "" if there are none
}

const (
	manifestName  = "manifest.json"
	signatureName = manifestName + ".sig"
)

// askRelease asks for a release.
func (s *Source) askRelease(ctx context.Context, address, key string) (r release, err error) {
	var unfit bool
	var name, at string // of the attached file that is being read
	q := question{at: address, what: "the release", key: key, most: 8 << 20}
	q.begin = func() error {
		r, unfit = release{}, false
		return nil
	}
	q.see = func(path, text []byte) error {
		switch string(path) {
		case "tag_name":
			r.tag = string(text)
		case "prerelease", "upcoming_release":
			unfit = unfit || key == latestKey && string(text) == "true"
		case "draft":
			unfit = unfit || string(text) == "true"
		case "assets.name", "assets.links.name":
			name = string(text)
		case "assets.id":
			// The address that GitHub gives needs another way of showing the token.
			if s.kind == gitHub {
				at = s.at(asset, string(text))
			}
		case "assets.links.url":
			at = string(text)
		case "assets.browser_download_url", "assets.links.direct_asset_url":
			if at == "" {
				at = string(text)
			}
		case "assets/", "assets.links/":
			switch name {
			case manifestName:
				r.manifest = at
			case signatureName:
				r.signature = at
			}
			name, at = "", ""
		}
		return nil
	}
	q.result = func(*webclient.Answer) string {
		if unfit || r.tag == "" {
			return ""
		}
		return strconv.Quote(r.tag) + " " + strconv.Quote(r.manifest) + " " + strconv.Quote(r.signature)
	}
	text, ok, err := s.ask(ctx, &q)
	if v := unquote(text); err == nil && ok && len(v) == 3 {
		return release{v[0], v[1], v[2]}, nil
	}
	return release{}, err
}
