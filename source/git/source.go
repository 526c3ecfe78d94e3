// Package git is where releases come from: a repository on any Git host. It
// asks what a ref names, brings the tag, commit and trees of a release, and
// then the contents that a device lacks, mostly as deltas against files that it
// has. How to talk to a host is source/git/wire's business, what packs look
// like source/git/object's, which release to trust and which files to install
// the engine's.
//
// There is no .git folder on the device: only its installed files, and the
// trees of its releases in a cache that may be lost at any time.
//
// Invariant: nothing is handed on that was not hashed on its way in, and what
// was handed on is kept by its digest, so that any exchange may be cut at any
// byte and begun again.
package git

import (
	"context"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/source/git/object"
	"github.com/godwit-ota/godwit/source/git/wire"
	"github.com/godwit-ota/godwit/vfs"
)

// stable is the channel that a repository without channels has as well.
const stable = "stable"

// Config says which releases of which repository to bring. Remote.URL, State
// and Folder are required.
type Config struct {
	Remote wire.Config // its State may be left to this package

	// Which ref to follow: at most one of them. Nothing at all follows the
	// branch that the repository's HEAD names.
	Branch string // "main", or "refs/heads/main"
	Tag    string // "v1.4.0", or "refs/tags/v1.4.0"
	// Channel is the signed tag "channel/NAME" where Signed is set. For "stable",
	// where there is no such tag or nothing is signed, it is the tag with the
	// highest version (semver.org) that is no pre-release.
	Channel string

	State  vfs.FS // where the cache lives
	Folder string // in State; made when needed

	// Filter says which paths of a release may be wanted; nil takes all. It
	// saves bytes: what it leaves out is not sent.
	Filter func(path string) bool
	// Signed makes Release bring the tag object alone, so that a gate can judge it
	// before anything else comes. Only annotated tags count as versions then.
	Signed bool
	// SkipSubmodules leaves submodules out of listings; otherwise they are
	// errors.
	SkipSubmodules bool

	// LFS replaces Git LFS pointers by the contents that they stand for. It needs
	// a host that can filter.
	LFS         bool
	LFSEndpoint string // URL of the LFS server; "" is the one that belongs to the repository

	Limits  Limits
	Reserve int64 // bytes that must stay free on the disk
	Events  godwit.Events
}

// Limits bound what a repository may hold. A zero field takes the default.
type Limits struct {
	object.Limits     // of each pack
	Files         int // files and folders in a tree; default 1 million
	Depth         int // folders in folders; default 128
	Path          int // bytes in a path; default 4096
}

func (l Limits) withDefaults() Limits {
	if l.Files <= 0 {
		l.Files = 1 << 20
	}
	if l.Depth <= 0 {
		l.Depth = 128
	}
	if l.Path <= 0 {
		l.Path = 4096
	}
	return l
}

// A Source is one repository. It is not safe for concurrent use, except that
// the listings it gave may be read by several at once while nothing else goes
// on.
type Source struct {
	cfg    Config
	remote *wire.Client
	cache  *cache           // opened when first needed
	unpack *object.Unpacker // made when first needed

	// What is known of the release described last, for Fetch.
	described object.ID
	bases     []object.ID // commits that the server knows and whose trees are here

	noTypeFilter bool // the server refused to filter by type

	pages   string // the form of the pages that the host has, once that is known
	noPages bool   // the host has none that are of use
}

// New returns a Source. It reads key files but asks nothing of the network.
func New(cfg Config) (*Source, error) {
	chosen := 0
	for _, s := range []string{cfg.Branch, cfg.Tag, cfg.Channel} {
		if s != "" {
			chosen++
		}
	}
	if chosen > 1 {
		return nil, godwit.Fail(godwit.CodeConfig, nil, "more than one of branch, tag and channel is given", "keep one of source.branch, source.tag and source.channel")
	}
	if cfg.Channel != "" && cfg.Channel != stable && !cfg.Signed {
		return nil, godwit.Fail(godwit.CodeConfig, nil, "the channel "+quote(cfg.Channel)+" is a signed tag, and signatures are not checked here",
			"set trust.mode = \"signed\", or follow source.channel = \"stable\", a branch or a tag")
	}
	cfg.Limits = cfg.Limits.withDefaults()
	if cfg.Remote.State == nil {
		cfg.Remote.State = vfs.Notes{FS: cfg.State, Folder: cfg.Folder}
	}
	remote, err := wire.Dial(cfg.Remote)
	if err != nil {
		return nil, err
	}
	return &Source{cfg: cfg, remote: remote}, nil
}

// Close ends the connection and closes the cache.
func (s *Source) Close() error {
	if s.cache != nil {
		s.cache.close()
		s.cache = nil
	}
	return s.remote.Close()
}

// Transferred is the number of bytes sent and received so far.
func (s *Source) Transferred() (sent, received int64) { return s.remote.Transferred() }

// open opens the cache for a repository with ids like this one.
func (s *Source) open(id object.ID) error {
	if s.cache != nil && s.cache.format == id.Format() {
		return nil
	}
	if s.cache != nil {
		s.cache.close()
		s.cache = nil
	}
	c, err := openCache(s.cfg.State, s.cfg.Folder, id.Format(), s.cfg.LFS)
	if err != nil {
		return err
	}
	s.cache = c
	s.unpack = object.NewUnpacker(id.Format(), s.cfg.Limits.Limits)
	return nil
}

// Describe brings the commit and trees of an admitted release, as far as they
// are not in the cache, and gives its listing. have names commits that this
// device has installed; trees that none of them and not the release need are
// dropped from the cache in time.
//
// Without a path filter, or where the server cannot leave out contents, the
// contents come along. They are kept in the state folder until Fetch unpacks
// them: one exchange instead of two.
func (s *Source) Describe(ctx context.Context, v godwit.Verified, have []string) (godwit.Described, error) {
	tip := v.Tip
	commit, err := object.ParseID(tip.Commit)
	if err != nil {
		return godwit.Described{}, err
	}
	if err := s.open(commit); err != nil {
		return godwit.Described{}, err
	}
	var known []object.ID
	for _, h := range have {
		id, err := object.ParseID(h)
		if err == nil && id.Format() == commit.Format() && id != commit && s.cache.has(id) && s.pointersKnown(id) {
			known = append(known, id)
		}
	}
	s.described, s.bases = commit, known
	d, err := s.describe(v, commit)
	if isAbsent(err) {
		d, err = s.bring(ctx, v, commit)
	}
	if err == errPointers {
		if err = s.bringPointers(ctx, commit); err == nil {
			d, err = s.describe(v, commit)
		}
	}
	if err != nil {
		return godwit.Described{}, err
	}
	keep := append([]object.ID{commit}, known...)
	if tip.Tag != "" {
		if id, err := object.ParseID(tip.Tag); err == nil {
			keep = append(keep, id)
		}
	}
	if err := s.cache.compact(keep); err != nil {
		return godwit.Described{}, err
	}
	return d, s.dropPartials(d.Listing)
}

// describe gives the listing of a release out of the cache. The error has
// errAbsent in its chain if some of it is missing.
func (s *Source) describe(v godwit.Verified, commit object.ID) (godwit.Described, error) {
	d := godwit.Described{Verified: v}
	var tagged time.Time
	if v.Tag != "" {
		var err error
		if tagged, err = s.followTag(v.Tip, commit); err != nil {
			return d, err
		}
	}
	info, err := s.cache.commit(commit)
	if err != nil {
		return d, err
	}
	if d.Time.IsZero() {
		d.Time = tagged
	}
	if d.Time.IsZero() {
		d.Time = info.Committed
	}
	if v.Tree != "" && v.Tree != info.Tree.String() {
		return d, godwit.Fail(godwit.CodeBadStatement, nil, "the signed tag "+shortRef(v.Ref)+" says that its tree is "+v.Tree+", and its commit has "+info.Tree.String(),
			"make the tag again with godwit tag")
	}
	if err := newWalker(s.cache).complete(info.Tree, s.cfg.Limits); err != nil {
		return d, err
	}
	if !s.pointersKnown(commit) {
		return d, errPointers
	}
	d.Listing = s.listing(info.Tree)
	return d, nil
}

// followTag follows the tag object, and tags that it names, to the commit.
func (s *Source) followTag(tip godwit.Tip, commit object.ID) (tagged time.Time, err error) {
	id, err := object.ParseID(tip.Tag)
	if err != nil {
		return tagged, err
	}
	for range maxTagChain {
		info, err := s.cache.tag(id)
		if err != nil {
			return tagged, err
		}
		if tagged.IsZero() {
			tagged = info.Tagged
		}
		if info.Type != object.Tag {
			if info.Object != commit || info.Type != object.Commit {
				return tagged, godwit.Fail(godwit.CodeBadObject, nil,
					"the tag "+tip.Ref+" names "+info.Object.String()+", and the host says "+tip.Commit, "the host or somebody between lies, or the tag is damaged")
			}
			return tagged, nil
		}
		id = info.Object
	}
	return tagged, godwit.Fail(godwit.CodeBadObject, nil, "the tag "+tip.Ref+" names a tag that names a tag, and so on", "tag the commit itself")
}
