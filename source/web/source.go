// Package web is where releases come from that lie in a published folder: what
// `godwit publish` writes, or a manifest.json beside the files that it lists, on
// any static web server, bucket or CDN, on several of them, or on a disk. How to
// reach such a place is a mirror's business, whom to trust the gate's, which
// files to install the engine's. docs/formats.md describes the folder.
//
// Invariant: nothing is handed on that was not hashed on its way in, no more is
// written than the manifest says, and manifests and channel files lie in the
// state folder, under their own digests, and not in memory.
package web

import (
	"bytes"
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/manifest"
	"github.com/godwit-ota/godwit/source/web/mirror"
	"github.com/godwit-ota/godwit/vfs"
)

// The names in a published folder.
const (
	ManifestName = "manifest.json"
	ChannelName  = "channel.json" // of the channel Stable
	Stable       = "stable"
	Suffix       = ".sig"      // behind the name of what is signed
	Releases     = "releases/" // releases/VERSION/manifest.json
	Files        = "files/"    // files/AA/DIGEST
	Patches      = "patches/"  // patches/AA/DIGEST
)

// ChannelFile is the name of the file of a channel: channel.json for stable,
// channel-NAME.json for others.
func ChannelFile(name string) string {
	if name == Stable {
		return ChannelName
	}
	return "channel-" + name + ".json"
}

// FileName is the name of the file with a content.
func FileName(d godwit.Digest) string {
	hex := d.Hex()
	return Files + hex[:2] + "/" + hex
}

// PatchName is the name of the file of a patch, by the patch's own digest.
func PatchName(d godwit.Digest) string {
	hex := d.Hex()
	return Patches + hex[:2] + "/" + hex
}

// Config says which releases to bring. Mirrors, State and Folder are required.
type Config struct {
	// Mirrors hold the same folder and are tried in order. One that failed, or
	// that gave something that was refused, is tried last.
	Mirrors []mirror.Mirror
	Names   []string // of the mirrors, for messages; may be nil

	State  vfs.FS // where manifests and the beginnings of large files are kept
	Folder string // in State; made when needed

	// Which release: of Channel, or the one called Tag, or what manifest.json is.
	// The channel Stable may be missing, then it is manifest.json.
	Channel, Tag string

	// Patches lets manifests come by patches. Those for files are the plan's choice.
	Patches bool

	Limits      manifest.Limits
	Transferred func() (sent, received int64) // bytes so far; may be nil
	Close       func() error                  // closes the mirrors; may be nil
	Events      godwit.Events
}

// A Source is one published folder. It is not safe for concurrent use, except
// that the listings it gave may be read by several at once.
type Source struct {
	cfg     Config
	order   []int // of the mirrors
	spool   spool
	asked   notes
	loaded  bool
	from    int             // the mirror that gave the last document, -1 if none did
	fresh   map[string]bool // documents that came in this run, by digest
	byPath  bool            // the folder has its files by path
	channel string          // the digest of the channel's file that was asked for last
	buf     []byte
	mem     []byte // for applying patches; nil until there is one
	patched godwit.Patched
}

const (
	maxChannel   = 64 << 10
	maxSignature = 64 << 10
	bufferSize   = 16 << 10
)

// New returns a Source. It asks nothing of any mirror.
func New(cfg Config) (*Source, error) {
	if cfg.Channel != "" && cfg.Tag != "" {
		return nil, godwit.Fail(godwit.CodeConfig, nil, "both a channel and a tag are given", "keep one of source.channel and source.tag")
	}
	if name := cfg.Channel + cfg.Tag; name != "" && !isName(name) {
		return nil, godwit.Fail(godwit.CodeConfig, nil, "there can be no release or channel called "+strconv.Quote(name), "check source.channel and source.tag")
	}
	if cfg.Limits.Bytes <= 0 {
		cfg.Limits.Bytes = 64 << 20
	}
	s := &Source{cfg: cfg, from: -1, spool: spool{fsys: cfg.State, folder: cfg.Folder}, fresh: map[string]bool{}, buf: make([]byte, bufferSize)}
	for i := range cfg.Mirrors {
		s.order = append(s.order, i)
	}
	return s, nil
}

// isName reports whether a release or channel may have this name.
func isName(name string) bool {
	return len(name) < 256 && manifest.CheckPath(name) == nil && !strings.ContainsAny(name, " \\?#%*\n\r")
}

// Close closes the files that statements and listings are read from.
func (s *Source) Close() error {
	s.spool.close()
	if s.cfg.Close != nil {
		return s.cfg.Close()
	}
	return nil
}

// Transferred is the number of bytes sent and received so far.
func (s *Source) Transferred() (sent, received int64) {
	if s.cfg.Transferred == nil {
		return 0, 0
	}
	return s.cfg.Transferred()
}

// Tip asks for the channel's file, for the pinned release's manifest, or for
// manifest.json, with a conditional request.
func (s *Source) Tip(ctx context.Context) (godwit.Tip, error) {
	if s.cfg.Tag != "" {
		return s.Named(ctx, s.cfg.Tag, "")
	}
	if name := s.cfg.Channel; name != "" {
		sum, err := s.document(ctx, ChannelFile(name), maxChannel, name == Stable)
		if err == nil {
			return godwit.Tip{Ref: "channel/" + name, Channel: sum}, nil
		}
		if !isMissing(err) || name != Stable {
			return godwit.Tip{}, noRef(err, "the folder has no channel "+strconv.Quote(name), "check source.channel, or make it with `godwit publish --channel "+name+"`")
		}
	}
	sum, err := s.document(ctx, ManifestName, s.cfg.Limits.Bytes, false)
	if err != nil {
		return godwit.Tip{}, noRef(err, "there is no published folder here: it lacks "+ManifestName, "check source.url (and source.token, if the server asks for one), and make the folder with `godwit publish`")
	}
	return godwit.Tip{Ref: ManifestName, Commit: sum}, nil
}

// Named asks for the manifest of the release called name. If id is not empty it
// is known to be the SHA-256 of that: then a manifest that is here already is not
// asked for, and another may come by a patch.
func (s *Source) Named(ctx context.Context, name, id string) (godwit.Tip, error) {
	if !isName(name) {
		return godwit.Tip{}, godwit.Fail(godwit.CodeNoRef, nil, "there can be no release called "+strconv.Quote(name), "")
	}
	tip := godwit.Tip{Ref: Releases + name, Commit: id}
	done, err := s.renew(ctx, name, id)
	if err == nil && !done {
		tip.Commit, err = s.document(ctx, manifestOf(tip.Ref), s.cfg.Limits.Bytes, false)
	}
	if err != nil {
		return godwit.Tip{}, noRef(err, "the folder has no release "+strconv.Quote(name), "publish it, or name one that is there")
	}
	return tip, nil
}

// manifestOf is the file of the release that a ref names.
func manifestOf(ref string) string {
	if strings.HasPrefix(ref, Releases) {
		return ref + "/" + ManifestName
	}
	return ManifestName
}

// errMissing says that no mirror has a file.
var errMissing = errors.New("no mirror has it")

func isMissing(err error) bool { return errors.Is(err, errMissing) }

// noRef words that something is missing; other errors it passes on.
func noRef(err error, text, hint string) error {
	if isMissing(err) {
		return godwit.Fail(godwit.CodeNoRef, nil, text, hint)
	}
	return err
}

// Release brings the signatures to the manifest that tip names.
func (s *Source) Release(ctx context.Context, tip godwit.Tip) (godwit.Release, error) {
	r := godwit.Release{Tip: tip}
	if name, ok := strings.CutPrefix(tip.Ref, Releases); ok {
		r.Version = name
	}
	var err error
	r.Statement, err = s.statement(ctx, manifestOf(tip.Ref), tip.Commit, s.cfg.Limits.Bytes, false)
	return r, err
}

// Channel brings the signatures to the channel's file. Those that came with the
// same file before are taken from the state folder.
func (s *Source) Channel(ctx context.Context, tip godwit.Tip) (godwit.Statement, error) {
	name := strings.TrimPrefix(tip.Ref, "channel/")
	return s.statement(ctx, ChannelFile(name), tip.Channel, maxChannel, true)
}

// statement gives a document with its signatures.
func (s *Source) statement(ctx context.Context, path, sum string, limit int64, keep bool) (godwit.Statement, error) {
	st := godwit.Statement{Form: godwit.FileStatement}
	f, err := s.spool.open(sum)
	if err == errNotSpooled {
		var got string
		if got, err = s.document(ctx, path, limit, false); err == nil && got != sum {
			err = godwit.Fail(godwit.CodeMissingObject, nil, path+" has changed meanwhile", "try again")
		}
		if err == nil {
			f, err = s.spool.open(sum)
		}
	}
	if err != nil {
		return st, noRef(err, "no mirror has "+path+" any more", "try again later")
	}
	if st.Size, err = f.Size(); err != nil {
		return st, vfs.StateError(err)
	}
	st.Body = f
	name := sum + Suffix
	var kept []byte
	if keep {
		s.channel = sum
		if b, err := s.spool.read(name, maxSignature); err == nil {
			kept = b
		}
		if !s.fresh[sum] && s.asked.refused != sum && len(kept) > 0 {
			st.Signatures = kept
			return st, nil
		}
	}
	// Of a document of an earlier run it is remembered who gave it.
	if doc := s.doc(path); doc != nil && doc.sum == sum && doc.mirror < len(s.cfg.Mirrors) {
		s.from = doc.mirror
	}
	if st.Signatures, err = s.signatures(ctx, path+Suffix, s.from); err != nil && !isMissing(err) {
		return st, err
	}
	delete(s.fresh, sum)
	if keep && len(st.Signatures) > 0 && !bytes.Equal(st.Signatures, kept) {
		return st, s.spool.write(name, st.Signatures)
	}
	return st, nil
}

// Describe gives the files of the admitted release. Without its manifest, as
// when an installed tree is repaired later, the listing is empty and Fetch goes
// by the digests of what is wanted.
func (s *Source) Describe(_ context.Context, v godwit.Verified, have []string) (godwit.Described, error) {
	d := godwit.Described{Verified: v, Listing: func(func(godwit.Entry, error) bool) {}}
	s.load()
	if s.channel != "" && s.asked.refused != "" {
		s.asked.refused = "" // it was believed
		s.save()
	}
	keep := append([]string{v.Commit}, have...)
	s.forget(keep)
	for _, doc := range s.asked.docs {
		keep = append(keep, doc.sum)
	}
	if err := s.spool.prune(keep); err != nil {
		return d, err
	}
	f, err := s.spool.open(v.Commit)
	if err == errNotSpooled {
		return d, nil
	}
	if err != nil {
		return d, err
	}
	size, err := f.Size()
	if err != nil {
		return d, vfs.StateError(err)
	}
	h, err := manifest.ReadHead(f, size, s.cfg.Limits)
	if err != nil {
		return d, err
	}
	if d.Time.IsZero() {
		d.Time = h.Generated
	}
	var offers godwit.Offers
	d.Listing, offers = manifest.Files(f, size, s.cfg.Limits)
	d.Offers = s.offers(v.Commit, offers)
	for _, p := range h.Trees {
		if s.usable(v.Commit, p) {
			d.Trees = append(d.Trees, p)
		}
	}
	return d, nil
}

// Discard forgets what came from the mirrors, after some of it was refused. The
// mirror that gave it is tried last from now on, and those behind it first.
//
// Where there is one mirror alone, what may be asked for again and again stays,
// so that as long as it is refused it is not sent and written each time. The
// signatures of the channel are asked for anew: there may be others by then.
func (s *Source) Discard() {
	s.load()
	if len(s.cfg.Mirrors) == 1 {
		var keep []string
		for _, d := range s.asked.docs {
			if f, err := s.spool.open(d.sum); err == nil {
				if size, err := f.Size(); err == nil && size <= maxKept {
					keep = append(keep, d.sum)
				}
			}
		}
		s.asked.refused = s.channel
		s.spool.prune(keep)
		s.save()
		return
	}
	s.spool.prune(nil)
	s.asked.docs = nil
	s.asked.shunned = -1
	if s.from >= 0 && len(s.cfg.Mirrors) > 1 {
		s.shun(s.from)
	}
	s.save()
}

// maxKept is the size up to which what was refused may stay.
const maxKept = 1 << 20
