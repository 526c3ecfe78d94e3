// Package publish makes releases that need no Git host: manifests, and folders
// that any web server, bucket, CDN or USB stick can serve. It reads a revision
// of a Git repository, or a plain folder. Keys are its caller's business, what
// the files mean is said in docs/formats.md, and who reads them is source/web.
//
// Invariant: whoever reads the folder while it is written sees the release
// before or the new one: files and patches come first, then their manifest, then what points
// to it, each put in place by one rename. What was published is not changed.
package publish

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/internal/semver"
	"github.com/godwit-ota/godwit/manifest"
	"github.com/godwit-ota/godwit/source/web"
)

// Sign gives the armored SSH signature of a message, for the namespace
// "godwit".
type Sign func(ctx context.Context, message []byte) ([]byte, error)

// A Release is what to publish.
type Release struct {
	Tree  Tree // where its files come from; nil for what lies in the folder already
	Rules Rules
	Head  manifest.Head // Version is required; a zero Sequence or Generated is filled in

	Sign  Sign   // nil leaves manifests without a .sig
	Key   []byte // for the HMAC within; nil for none
	CRC32 bool   // also give files a CRC-32

	Patches Patches // for devices that have earlier releases
}

// A Folder is a published folder.
type Folder struct {
	Dir    string
	Events godwit.Events
	Now    func() time.Time // nil is time.Now
}

// A Published tells what became of a release.
type Published struct {
	Version    string
	Product    string
	Manifest   string // the SHA-256 of its manifest
	Files      int
	Bytes      int64 // of the files
	New        int   // files that were not in the folder yet
	NewBytes   int64
	Already    bool // the release was published before, and is the same
	Savings    []Saving
	Patches    int   // patches that were made for it
	Reused     int   // patches for it that were in the folder
	PatchBytes int64 // of those that were made
	Skipped    []string
}

func (f Folder) now() time.Time {
	if f.Now == nil {
		return time.Now()
	}
	return f.Now()
}

// Publish puts a release into the folder, and makes it the one that
// manifest.json is, unless that has a higher version. A release that is there
// already stays as it is; one with the same version and other files is
// CodeRefused.
func (f Folder) Publish(ctx context.Context, r *Release) (*Published, error) {
	mine := *r
	r = &mine
	p := &Published{Version: r.Head.Version}
	if p.Version == "" || len(p.Version) > 255 || manifest.CheckPath(p.Version) != nil {
		return p, usage("there can be no release called "+strconv.Quote(p.Version), "give it a version such as v1.4.0")
	}
	if d, ok := r.Tree.(Dir); ok && d.within(f.Dir) {
		return p, usage("the folder to publish, "+string(d)+", is the published folder itself or lies in it", "publish into another one: --out")
	}
	own, old, err := f.release(p.Version)
	if err != nil && (r.Tree == nil || old.body != nil || godwit.CodeOf(err) != godwit.CodeUsage) {
		return p, err
	}
	if r.Tree == nil {
		p.Already, p.Product, p.Files, p.Manifest = true, old.Product, old.Files, sumOf(old.body)
		return p, nil
	}
	latest, err := readManifest(filepath.Join(f.Dir, web.ManifestName))
	if err != nil {
		return p, err
	}
	h := &r.Head
	if h.Product == "" {
		h.Product = latest.Product
	}
	if old.body != nil {
		h.Generated, h.Sequence = old.Generated, old.Sequence
		if h.NotAfter.IsZero() {
			h.NotAfter = old.NotAfter
		}
	} else if h.Sequence == 0 {
		h.Sequence = latest.Sequence + 1
	}
	if err := os.MkdirAll(filepath.Dir(own), 0o755); err != nil {
		return p, diskError(err)
	}
	defer os.Remove(filepath.Dir(own)) // if nothing came of it
	r.Rules.Without = append(r.Rules.Without, f.Dir)
	var before []*earlier
	finish := func(files []manifest.File, h *manifest.Head) (err error) {
		if before, err = f.earlier(h, r.Patches.Releases); err != nil {
			return err
		}
		return f.patch(ctx, r.Patches, before, files, h, p)
	}
	if old.body != nil {
		finish = old.patches // what was published is not changed
	}
	body, err := r.compose(ctx, p, f.now(), f.keep, finish)
	if err != nil {
		return p, err
	}
	if old.body != nil {
		return p, p.compare(body, old.body)
	}
	sig, err := signed(ctx, r.Sign, body)
	if err == nil {
		err = f.manifestPatches(ctx, p.Version, body, before)
	}
	if err == nil {
		err = putSigned(own, body, sig)
	}
	if err != nil {
		return p, err
	}
	if lower(p.Version, latest.Version) {
		f.Events.Say(godwit.StagePlan, godwit.Warning, web.ManifestName+" stays the one of "+latest.Version+", which is a higher version than "+p.Version)
		return p, nil
	}
	return p, putSigned(filepath.Join(f.Dir, web.ManifestName), body, sig)
}

func signed(ctx context.Context, sign Sign, body []byte) ([]byte, error) {
	if sign == nil {
		return nil, nil
	}
	return sign(ctx, body)
}

func usage(text, hint string) error { return godwit.Fail(godwit.CodeUsage, nil, text, hint) }

// lower reports whether a is a lower version than b, as far as both are
// versions.
func lower(a, b string) bool {
	va, ok1 := semver.Parse(a)
	vb, ok2 := semver.Parse(b)
	return ok1 && ok2 && semver.Compare(va, vb) < 0
}

// compare decides about a release that was published before. The HMAC within
// does not count.
func (p *Published) compare(body, old []byte) error {
	var a, b bytes.Buffer
	if err := manifest.Canonical(&a, bytes.NewReader(body), int64(len(body))); err != nil {
		return err
	}
	if err := manifest.Canonical(&b, bytes.NewReader(old), int64(len(old))); err != nil {
		return err
	}
	if !bytes.Equal(a.Bytes(), b.Bytes()) {
		return godwit.Fail(godwit.CodeRefused, nil, "the release "+p.Version+" was published before, and what is to be published now differs from it",
			"devices take a version once: give this one a new version")
	}
	p.Already, p.Manifest = true, sumOf(old)
	return nil
}

// A known manifest is one that was read from a folder; its body is nil if there
// is none.
type known struct {
	manifest.Head
	body []byte
}

func readManifest(name string) (k known, err error) {
	k.body, err = os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return k, nil
	}
	if err == nil {
		k.Head, err = manifest.ReadHead(bytes.NewReader(k.body), int64(len(k.body)), manifest.Limits{})
	}
	return k, diskError(err)
}

func sumOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// keep puts a file into files/ and returns its digest.
func (f Folder) keep(r io.Reader, p *Published) (s sums, err error) {
	t, err := os.CreateTemp(f.Dir, ".new-file-")
	if err != nil {
		return s, diskError(err)
	}
	defer os.Remove(t.Name())
	defer t.Close()
	if s, err = hashed(t, r); err != nil {
		return s, err
	}
	name := filepath.Join(f.Dir, filepath.FromSlash(web.FileName(s.Digest)))
	if there, err := os.Open(name); err == nil {
		is, err := hashed(io.Discard, there)
		there.Close()
		if err == nil && is.Digest == s.Digest {
			return s, nil
		}
	}
	p.New++
	p.NewBytes += s.Size
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return s, diskError(err)
	}
	return s, settle(t, name)
}

// Cosign adds a signature to a release that was published, and to a channel that
// leads to it unless its name is "". Devices may ask for more than one signer.
func (f Folder) Cosign(ctx context.Context, version, channel string, sign Sign) error {
	own, release, err := f.release(version)
	if err != nil {
		return err
	}
	names := []string{own}
	latest := filepath.Join(f.Dir, web.ManifestName)
	if b, err := os.ReadFile(latest); err == nil && bytes.Equal(b, release.body) {
		names = append(names, latest)
	}
	if channel != "" {
		c, err := f.Channel(channel)
		if err != nil {
			return err
		}
		if c == nil || c.Manifest != sumOf(release.body) {
			return usage("the channel "+strconv.Quote(channel)+" does not lead to "+version, "set it first")
		}
		names = append(names, filepath.Join(f.Dir, web.ChannelFile(channel)))
	}
	for _, name := range names {
		if err := cosign(ctx, name, sign); err != nil {
			return diskError(err)
		}
	}
	return nil
}

func cosign(ctx context.Context, name string, sign Sign) error {
	body, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	name += web.Suffix
	old, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	sig, err := sign(ctx, body)
	if err != nil {
		return err
	}
	return put(name, append(old, sig...))
}

// release reads a release that was published; name is that of its manifest.
func (f Folder) release(version string) (name string, k known, err error) {
	name = filepath.Join(f.Dir, filepath.FromSlash(web.Releases+version), web.ManifestName)
	if k, err = readManifest(name); err == nil && k.body == nil {
		err = usage("the folder has no release "+strconv.Quote(version), "publish it first")
	}
	return name, k, err
}

// settle makes a temporary file the one called name, durably.
func settle(t *os.File, name string) error {
	err := t.Chmod(0o644)
	if err == nil {
		err = t.Sync()
	}
	if err == nil {
		err = os.Rename(t.Name(), name)
	}
	if err == nil {
		var dir *os.File
		if dir, err = os.Open(filepath.Dir(name)); err == nil {
			err = dir.Sync()
			dir.Close()
		}
	}
	return diskError(err)
}

// put writes a file at once.
func put(name string, b []byte) error {
	t, err := os.CreateTemp(filepath.Dir(name), ".new-")
	if err != nil {
		return diskError(err)
	}
	defer os.Remove(t.Name())
	defer t.Close()
	if _, err := t.Write(b); err != nil {
		return diskError(err)
	}
	return settle(t, name)
}

// putSigned writes a file and its signature. While the one is new and the other
// is not, the signature of either is there. Without a signature that of what was
// there before goes.
func putSigned(name string, b, sig []byte) error {
	old, err := os.ReadFile(name + web.Suffix)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return diskError(err)
	}
	if len(sig) > 0 {
		err = put(name+web.Suffix, append(bytes.Clone(sig), old...))
	} else {
		err = nil
	}
	if err == nil {
		err = put(name, b)
	}
	if err == nil && old != nil {
		if len(sig) > 0 {
			return put(name+web.Suffix, sig)
		}
		return diskError(os.Remove(name + web.Suffix))
	}
	return err
}

// Manifest writes the manifest of a release, and beside it the signature if
// there is one. It never lists itself.
//
// As assets of a release on a Git host the two are all that devices need: they
// fetch the files themselves from the repository.
func Manifest(ctx context.Context, name string, r *Release) (*Published, error) {
	p := &Published{Version: r.Head.Version}
	r.Rules.Without = append(r.Rules.Without, name, name+web.Suffix)
	body, err := r.compose(ctx, p, time.Now(), justHash, nil)
	var sig []byte
	if err == nil {
		sig, err = signed(ctx, r.Sign, body)
	}
	if err == nil {
		err = diskError(os.MkdirAll(filepath.Dir(name), 0o755))
	}
	if err == nil {
		err = putSigned(name, body, sig)
	}
	return p, err
}

// Preview writes the manifest to w and changes nothing.
func Preview(ctx context.Context, w io.Writer, r *Release) (*Published, error) {
	p := &Published{Version: r.Head.Version}
	body, err := r.compose(ctx, p, time.Now(), justHash, nil)
	if err == nil {
		_, err = w.Write(body)
	}
	return p, err
}

func diskError(err error) error {
	var known *godwit.Error
	switch {
	case err == nil || errors.As(err, &known):
		return err
	case errors.Is(err, fs.ErrNotExist):
		return godwit.Fail(godwit.CodeUsage, err, "there is no such file or folder", "check the name")
	case errors.Is(err, fs.ErrPermission):
		return godwit.Fail(godwit.CodeReadOnly, err, "this may not be written or read", "run it as a user who may, or choose another folder")
	}
	return godwit.Fail(godwit.CodeIO, err, "reading or writing failed", "look at the disk and at the names")
}
