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
	"strconv"
	"strings"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/internal/webclient"
	"github.com/godwit-ota/godwit/source/git/object"
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
	// Patches offers the patches of the reference updater that lie in the tree of a
	// release: see docs/reference-patches.md.
	Patches bool
	Limits  Limits
	Events  godwit.Events
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
	kind   int
	web    *webclient.Client
	name   string // OWNER/REPO, for messages
	api    string // address of the repository
	raw    string // of its files; "" is the API
	origin string // of the API: where the token may go
	told   bool   // that the repository was renamed

	answers  answers
	latest   release // what Tip saw
	tag      fields  // the tag object asked for last
	tagID    string
	manifest vfs.File
	patched  godwit.Patched
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
		return nil, fail(godwit.CodeConfig, "set one of source.channel, source.branch and source.tag", "what to follow is not clear")
	}
	if cfg.Channel != "" && cfg.Channel != stable && (!cfg.Signed || cfg.Kind == GitLab) {
		return nil, fail(godwit.CodeConfig, "follow source.channel = \"stable\", a branch or a tag, or set source.type = \"git\"",
			"the channel ", quote(cfg.Channel), " is a signed tag, and signed tags are not read here")
	}
	cfg.Limits = cfg.Limits.withDefaults()
	s := &Source{cfg: cfg}
	if err := s.locate(); err != nil {
		return nil, err
	}
	s.answers.notes = vfs.Notes{FS: cfg.State, Folder: cfg.Folder}
	if cfg.Web.Notes == nil {
		cfg.Web.Notes = s.answers.notes
	}
	if cfg.Web.Events == nil {
		cfg.Web.Events = cfg.Events
	}
	var err error
	s.web, err = webclient.New(cfg.Web)
	return s, err
}

// Close ends the connections and closes what is open.
func (s *Source) Close() error {
	s.closeManifest()
	s.answers.save()
	return s.web.Close()
}

// Transferred is the number of bytes sent and received so far.
func (s *Source) Transferred() (sent, received int64) { return s.web.Transferred() }

// RateLimit is what the host said last about how often it may be asked: so many
// requests up to reset, of which remaining are left. Of earlier runs it knows
// what the host said about, to a tenth of the limit, so that not every request
// is a reason to write. limit is 0 if the host never said anything.
func (s *Source) RateLimit() (limit, remaining int, reset time.Time) {
	r := s.answers.rate()
	return r.limit, r.remaining, time.Unix(r.reset, 0).UTC()
}

// Release brings what a gate needs to judge the release that tip names: its
// manifest, if it has one, or else its signed tag.
func (s *Source) Release(ctx context.Context, tip godwit.Tip) (rel godwit.Release, err error) {
	name, tagged := strings.CutPrefix(tip.Ref, tagPrefix)
	rel = godwit.Release{Tip: tip, Version: strings.TrimPrefix(name, "refs/heads/")}
	if !tagged {
		return rel, nil
	}
	r := s.latest
	if r.tag != name {
		if r, err = s.askRelease(ctx, s.at(namedRelease, name), ""); err != nil {
			return rel, err
		}
	}
	tag := s.cfg.Signed && !s.cfg.HMAC && tip.Tag != ""
	switch {
	// Of a manifest that nobody signed and a signed tag the tag says more.
	case r.manifest != "" && (!tag || r.signature != ""):
		rel.Statement, err = s.bringManifest(ctx, r)
	case tag:
		rel.Statement, err = s.statement(ctx, tip.Tag, name)
	case s.cfg.HMAC:
		err = fail(godwit.CodeUnsigned, "attach the manifest to the release: godwit manifest makes it", "the release ", quote(name), " has no ", manifestName)
	}
	return rel, err
}

// Channel brings the tag object of the channel that tip names. It is kept: while
// the channel stays as it is nothing is asked for again.
func (s *Source) Channel(ctx context.Context, tip godwit.Tip) (st godwit.Statement, err error) {
	if tip.Tag == "" {
		return st, nil
	}
	m, err := newMaker(tip.Tag, object.Tag)
	if err != nil {
		return st, err
	}
	name := channelPrefix + tip.Tag
	b, err := vfs.ReadFile(s.cfg.State, s.inFolder(name), maxStatement)
	if err == nil && m.try(string(b)) {
		return tagStatement(b), nil
	}
	st, err = s.statement(ctx, tip.Tag, strings.TrimPrefix(tip.Ref, tagPrefix))
	if err == nil {
		s.dropFiles(channelPrefix)
		b := make([]byte, st.Size)
		st.Body.ReadAt(b, 0)          // of memory
		s.answers.notes.Save(name, b) // if it is lost it is asked for
	}
	return st, err
}

// fail is godwit.Fail without a cause, with a text in parts.
func fail(code godwit.Code, hint string, text ...string) error {
	return godwit.Fail(code, nil, strings.Join(text, ""), hint)
}

func quote(s string) string { return strconv.Quote(webclient.Printable(s)) }
