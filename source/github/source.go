// Package github is where releases come from when a host is asked by its API:
// GitHub and GitHub Enterprise, Gitea and Forgejo, GitLab. It asks for the latest
// release, a tag or the tip of a branch, brings the signed tag or the manifest
// that a gate judges, and then a listing and the files that a device lacks.
//
// A release with an asset manifest.json is described by it. Any other is
// described by the Git tree of its commit, which is put together again from the
// host's answers and must have the id that the commit or the signed tag names.
// Files come as they are in the repository: pointers of Git LFS stay pointers.
// Of the same releases source/git brings the same files, mostly with fewer
// bytes; this package is for manifests, and for networks that let only the API
// through.
//
// How to talk HTTP is internal/webclient's business, which release to trust and
// which files to install the engine's.
//
// Invariant: no content is handed on that does not have its entry's digest, and
// where releases are signed no listing that does not follow from what was
// signed.
//
// Formats: the OpenAPI descriptions of GitHub (npm: @octokit/openapi), Gitea
// (/swagger.v1.json) and GitLab (docs.gitlab.com/api), gitformat-signature.
package github

import (
	"context"
	"net/url"
	"strings"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/internal/jsontext"
	"github.com/godwit-ota/godwit/internal/webclient"
	"github.com/godwit-ota/godwit/vfs"
)

// Kinds of hosts.
const (
	GitHub = "github" // also GitHub Enterprise
	Gitea  = "gitea"  // also Forgejo
	GitLab = "gitlab"
)

// Config says which releases of which repository to bring. URL, State and Folder
// are required.
type Config struct {
	Kind string // "" is GitHub
	URL  string // of the repository as a browser shows it: https://github.com/acme/station
	API  string // where the API is, if not where the host usually has it: https://github.example.org/api/v3
	Raw  string // GitHub: where files are, as RAW/OWNER/REPO/COMMIT/PATH; "" is raw.githubusercontent.com, or else the API

	Token string // sent to the API's origin, and to Raw's

	// What to follow: one of them. Channel is "stable": the latest release that
	// the host shows, and never a draft or pre-release. Where Signed is set a
	// channel is a signed tag channel/NAME, and "stable", where there is none, is
	// the latest release or else the tag with the highest version.
	Branch, Tag, Channel string

	Signed bool // releases and channels bring a statement
	HMAC   bool // only manifests are statements; Signed should be set too

	State  vfs.FS // where answers, listings and beginnings of files are kept
	Folder string // in State; made when needed

	Web    webclient.Config // its Notes and Events may be left to this package
	Filter func(path string) bool
	// SkipSubmodules leaves submodules out of listings; otherwise they are errors
	// unless Filter leaves them out.
	SkipSubmodules bool
	Limits         Limits
	Events         godwit.Events
}

// Limits bound what is taken. A zero field takes the default.
type Limits struct {
	TreeBytes int64 // of the answers that list a tree, or of a manifest; default 256 MiB
	TreeFiles int   // files in a tree; default 1 million
	Depth     int   // folders in folders; default 128
	FileBytes int64 // of one file; default 16 GiB
}

func (l Limits) withDefaults() Limits {
	if l.TreeBytes <= 0 {
		l.TreeBytes = 256 << 20
	}
	if l.TreeFiles <= 0 {
		l.TreeFiles = 1 << 20
	}
	if l.Depth <= 0 {
		l.Depth = 128
	}
	if l.FileBytes <= 0 {
		l.FileBytes = 16 << 30
	}
	return l
}

const stable = "stable"

// A Source is one repository. It is not safe for concurrent use. The listing of
// a release, and the body of a statement, are good until Describe, or Release,
// is called for another release.
type Source struct {
	cfg    Config
	host   forge
	web    *webclient.Client
	name   string // OWNER/REPO, for messages
	origin string // of the API: where the token may go
	told   bool   // that the repository was renamed

	answers  answers
	rate     rate
	latest   release        // what Tip saw
	tagID    string         // of tag
	tag      jsontext.Value // the tag object asked for last, as the API shows it
	manifest vfs.File
}

// New returns a Source. It asks nothing of the network.
func New(cfg Config) (*Source, error) {
	chosen := 0
	for _, s := range []string{cfg.Branch, cfg.Tag, cfg.Channel} {
		if s != "" {
			chosen++
		}
	}
	if chosen != 1 {
		return nil, godwit.Fail(godwit.CodeConfig, nil, "what to follow is not clear", "set one of source.channel, source.branch and source.tag")
	}
	if cfg.Channel != "" && cfg.Channel != stable && (!cfg.Signed || cfg.Kind == GitLab) {
		return nil, godwit.Fail(godwit.CodeConfig, nil, "the channel "+quote(cfg.Channel)+" is a signed tag, and signed tags are not read here",
			"follow source.channel = \"stable\", a branch or a tag, or set source.type = \"git\"")
	}
	cfg.Limits = cfg.Limits.withDefaults()
	s := &Source{cfg: cfg}
	if err := s.locate(); err != nil {
		return nil, err
	}
	keep := notes{cfg.State, cfg.Folder}
	s.answers.notes, s.rate.notes = keep, keep
	if cfg.Web.Notes == nil {
		cfg.Web.Notes = keep
	}
	if cfg.Web.Events == nil {
		cfg.Web.Events = cfg.Events
	}
	var err error
	s.web, err = webclient.New(cfg.Web)
	return s, err
}

// locate finds out where the API is.
func (s *Source) locate() error {
	bad := func(text string) error {
		return godwit.Fail(godwit.CodeConfig, nil, text, "write source.url like https://github.com/acme/station")
	}
	u, err := url.Parse(strings.TrimRight(s.cfg.URL, "/"))
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return bad("the address of the repository is not one of a web page")
	}
	if u.User != nil {
		return bad("the address of the repository has credentials in it: they belong into source.token")
	}
	parts := strings.Split(strings.TrimSuffix(strings.Trim(u.Path, "/"), ".git"), "/")
	if len(parts) < 2 {
		return bad("the address of the repository does not name its owner and itself")
	}
	for _, p := range parts {
		if p == "" || p == "." || p == ".." {
			return bad("the address of the repository has an empty part")
		}
	}
	n := len(parts)
	root := u.Scheme + "://" + u.Host
	if n > 2 && s.cfg.Kind != GitLab { // a host below a path
		root += "/" + escape(strings.Join(parts[:n-2], "/"))
		parts = parts[n-2:]
	}
	s.name = strings.Join(parts, "/")
	api := strings.TrimRight(s.cfg.API, "/")
	if api != "" {
		if a, err := url.Parse(api); err != nil || a.Scheme != "https" && a.Scheme != "http" || a.Host == "" || a.User != nil {
			return godwit.Fail(godwit.CodeConfig, nil, "source.api_url is not a web address", "write it like https://github.example.org/api/v3")
		}
	}
	public := false
	switch s.cfg.Kind {
	case "", GitHub:
		public = api == "" && (u.Host == "github.com" || u.Host == "www.github.com") || api == publicAPI
		if public {
			api = publicAPI
		} else if api == "" {
			api = root + "/api/v3"
		}
		raw := strings.TrimRight(s.cfg.Raw, "/")
		if public && raw == "" {
			raw = "https://raw.githubusercontent.com"
		}
		if raw != "" {
			raw += "/" + escape(s.name)
		}
		s.host = &gitHub{api + "/repos/" + escape(s.name), raw}
	case Gitea:
		if api == "" {
			api = root + "/api/v1"
		}
		s.host = gitea(api + "/repos/" + escape(s.name))
	case GitLab:
		if api == "" {
			api = root + "/api/v4"
		}
		s.host = gitLab(api + "/projects/" + url.PathEscape(s.name))
	default:
		return godwit.Fail(godwit.CodeConfig, nil, "there is no source.type "+quote(s.cfg.Kind), "write \"github\", \"gitea\" or \"gitlab\"")
	}
	a, err := url.Parse(api)
	if err != nil {
		return bad("the address of the API is not one of a web page")
	}
	s.origin = webclient.OriginOf(a)
	return nil
}

const publicAPI = "https://api.github.com"

// Close ends the connections and closes what is open.
func (s *Source) Close() error {
	if s.manifest != nil {
		s.manifest.Close()
		s.manifest = nil
	}
	s.answers.save()
	s.rate.save()
	return s.web.Close()
}

// Transferred is the number of bytes sent and received so far.
func (s *Source) Transferred() (sent, received int64) { return s.web.Transferred() }

// RateLimit is what the host said last about how often it may be asked: so many
// requests up to reset, of which remaining are left. It also knows what it said
// to an earlier run. limit is 0 if it never said anything.
func (s *Source) RateLimit() (limit, remaining int, reset time.Time) {
	s.rate.load()
	return s.rate.limit, s.rate.remaining, s.rate.reset
}

// Release brings what a gate needs to judge the release that tip names: its
// manifest, if it has one, or else its signed tag.
func (s *Source) Release(ctx context.Context, tip godwit.Tip) (godwit.Release, error) {
	name, tagged := strings.CutPrefix(tip.Ref, tagPrefix)
	rel := godwit.Release{Tip: tip, Version: strings.TrimPrefix(name, "refs/heads/")}
	if !tagged {
		return rel, nil
	}
	r := s.latest
	if r.tag != name {
		var err error
		if r, _, err = s.askRelease(ctx, s.host.release(name), "", "the release "+quote(name)); err != nil {
			return rel, err
		}
	}
	// Of a manifest that nobody signed and a signed tag the tag says more.
	unsigned := s.cfg.Signed && !s.cfg.HMAC && r.signature == ""
	var err error
	switch {
	case r.manifest != "" && !(unsigned && tip.Tag != "" && s.host.tag("") != ""):
		rel.Statement, err = s.bringManifest(ctx, r)
	case s.cfg.Signed && !s.cfg.HMAC && tip.Tag != "":
		rel.Statement, err = s.statement(ctx, tip.Tag, name)
	case s.cfg.Signed && s.cfg.HMAC:
		err = godwit.Fail(godwit.CodeUnsigned, nil, "the release "+quote(name)+" has no "+manifestName, "attach the manifest to the release: godwit manifest makes it")
	}
	return rel, err
}

// Channel brings the tag object of the channel that tip names.
func (s *Source) Channel(ctx context.Context, tip godwit.Tip) (godwit.Statement, error) {
	if tip.Tag == "" {
		return godwit.Statement{}, nil
	}
	return s.statement(ctx, tip.Tag, strings.TrimPrefix(tip.Ref, tagPrefix))
}
