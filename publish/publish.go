// Package publish makes releases that need no Git host: manifests, and folders
// that any web server, bucket, CDN or USB stick can serve. It reads a revision
// of a Git repository, or a plain folder. Keys are its caller's business, what
// the files mean is said in docs/formats.md, and who reads them is source/web.
//
// Invariant: whoever reads the folder while it is written sees the release
// before or the new one: files come first, then their manifest, then what points
// to it, each put in place by one rename. What was published is not changed.
package publish

import (
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
}

// A Folder is a published folder.
type Folder struct {
	Dir    string
	Events godwit.Events
	Now    func() time.Time // nil is time.Now
}

// A Published tells what became of a release.
type Published struct {
	Version  string
	Manifest string // the SHA-256 of its manifest
	Files    int
	Bytes    int64 // of the files
	New      int   // files that were not in the folder yet
	NewBytes int64
	Already  bool // the release was published before, and is the same
	Skipped  []string
}

func (f Folder) now() time.Time {
	if f.Now != nil {
		return f.Now().UTC().Truncate(time.Second)
	}
	return time.Now().UTC().Truncate(time.Second)
}

// Publish puts a release into the folder, and makes it the one that
// manifest.json is, unless that has a higher version. A release that is there
// already stays as it is; one with the same version and other files is
// CodeRefused.
func (f Folder) Publish(ctx context.Context, r Release) (Published, error) {
	p := Published{Version: r.Head.Version}
	if err := checkVersion(r.Head.Version); err != nil {
		return p, err
	}
	if err := os.MkdirAll(f.Dir, 0o755); err != nil {
		return p, diskError(err)
	}
	r.Rules.Without = append(r.Rules.Without, f.Dir)
	dir := filepath.Join(f.Dir, filepath.FromSlash(web.Releases+r.Head.Version))
	old, there, err := readHead(filepath.Join(dir, web.ManifestName))
	if err != nil {
		return p, err
	}
	if r.Tree == nil {
		if !there {
			return p, godwit.Fail(godwit.CodeUsage, nil, "the folder has no release "+strconv.Quote(r.Head.Version), "give --rev or --from, to publish it")
		}
		p.Already, p.Files = true, old.Files
		p.Manifest, err = sumOf(filepath.Join(dir, web.ManifestName))
		return p, err
	}
	latest, _, err := readHead(filepath.Join(f.Dir, web.ManifestName))
	if err != nil {
		return p, err
	}
	if r.Head.Sequence == 0 && !there {
		r.Head.Sequence = latest.Sequence + 1
	}
	if r.Head.Product == "" {
		r.Head.Product = latest.Product
	}
	if there {
		r.Head.Generated, r.Head.Sequence = old.Generated, old.Sequence
		if r.Head.NotAfter.IsZero() {
			r.Head.NotAfter = old.NotAfter
		}
	} else if r.Head.Generated.IsZero() {
		r.Head.Generated = f.now()
	}
	new, err := os.CreateTemp(f.Dir, ".new-manifest-")
	if err != nil {
		return p, diskError(err)
	}
	defer os.Remove(new.Name())
	defer new.Close()
	err = r.write(ctx, new, &p, f.keep)
	if err != nil {
		return p, err
	}
	if there {
		return p, f.compare(&p, new.Name(), filepath.Join(dir, web.ManifestName))
	}
	if p.Manifest, err = sumOf(new.Name()); err != nil {
		return p, err
	}
	body, err := os.ReadFile(new.Name())
	if err != nil {
		return p, diskError(err)
	}
	var sig []byte
	if r.Sign != nil {
		if sig, err = r.Sign(ctx, body); err != nil {
			return p, err
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return p, diskError(err)
	}
	if err := putSigned(filepath.Join(dir, web.ManifestName), body, sig); err != nil {
		return p, err
	}
	if lower(r.Head.Version, latest.Version) {
		f.Events.Say(godwit.StagePlan, godwit.Warning, web.ManifestName+" stays the one of "+latest.Version+", which is a higher version than "+r.Head.Version)
		return p, nil
	}
	return p, putSigned(filepath.Join(f.Dir, web.ManifestName), body, sig)
}

// checkVersion checks that a version can be the name of a folder.
func checkVersion(version string) error {
	if version == "" || len(version) > 255 || manifest.CheckPath(version) != nil {
		return godwit.Fail(godwit.CodeUsage, nil, "there can be no release called "+strconv.Quote(version), "give it a version such as v1.4.0")
	}
	return nil
}

// lower reports whether a is a lower version than b, as far as both are
// versions.
func lower(a, b string) bool {
	va, ok1 := semver.Parse(a)
	vb, ok2 := semver.Parse(b)
	return ok1 && ok2 && semver.Compare(va, vb) < 0
}

// compare decides about a release that was published before.
func (f Folder) compare(p *Published, new, old string) error {
	b1, err1 := canonical(new)
	b2, err2 := canonical(old)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	if b1 != b2 {
		return godwit.Fail(godwit.CodeRefused, nil, "the release "+p.Version+" was published before, and what is to be published now differs from it",
			"devices take a version once: give this one a new version")
	}
	var err error
	p.Already = true
	p.Manifest, err = sumOf(old)
	return err
}

// canonical is the hash of a manifest's canonical form, which its HMAC is not
// part of.
func canonical(name string) (string, error) {
	f, size, err := open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	err = manifest.Canonical(h, f, size)
	return hex.EncodeToString(h.Sum(nil)), err
}

func open(name string) (*os.File, int64, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, info.Size(), nil
}

// readHead reads a manifest if there is one.
func readHead(name string) (h manifest.Head, there bool, err error) {
	f, size, err := open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return h, false, nil
	}
	if err != nil {
		return h, false, diskError(err)
	}
	defer f.Close()
	h, err = manifest.ReadHead(f, size, manifest.Limits{})
	return h, true, err
}

func sumOf(name string) (string, error) {
	f, _, err := open(name)
	if err != nil {
		return "", diskError(err)
	}
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	return hex.EncodeToString(h.Sum(nil)), diskError(err)
}

// keep puts a file into files/ and returns its digest.
func (f Folder) keep(_ File, r io.Reader, p *Published) (sums, error) {
	t, err := os.CreateTemp(f.Dir, ".new-file-")
	if err != nil {
		return sums{}, diskError(err)
	}
	defer os.Remove(t.Name())
	defer t.Close()
	s, err := hashed(t, r)
	if err != nil {
		return s, err
	}
	name := filepath.Join(f.Dir, filepath.FromSlash(web.FileName(s.Digest)))
	if info, err := os.Stat(name); err == nil && info.Size() == s.Size {
		if sum, err := sumOf(name); err == nil && sum == s.Digest.Hex() {
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

// putSigned writes a file after its signature. Without one, that of what was
// there before goes.
func putSigned(name string, b, sig []byte) error {
	var err error
	if len(sig) > 0 {
		err = put(name+web.Suffix, sig)
	} else if err = os.Remove(name + web.Suffix); errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err != nil {
		return diskError(err)
	}
	return put(name, b)
}

// Assets writes what a release on a Git host needs as assets into dir:
// manifest.json, and manifest.json.sig if it is signed. Devices fetch the files
// themselves from the repository.
func Assets(ctx context.Context, dir string, r Release, now time.Time) (Published, error) {
	p := Published{Version: r.Head.Version}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return p, diskError(err)
	}
	r.Rules.Without = append(r.Rules.Without, dir)
	return p, r.file(ctx, filepath.Join(dir, web.ManifestName), &p, now)
}

// Manifest writes the manifest of a release, and beside it the signature if
// there is one. It never lists itself.
func Manifest(ctx context.Context, name string, r Release, now time.Time) (Published, error) {
	p := Published{Version: r.Head.Version}
	r.Rules.Without = append(r.Rules.Without, name, name+web.Suffix)
	return p, r.file(ctx, name, &p, now)
}

// file writes a manifest without putting files anywhere.
func (r Release) file(ctx context.Context, name string, p *Published, now time.Time) error {
	if r.Head.Generated.IsZero() {
		r.Head.Generated = now.UTC().Truncate(time.Second)
	}
	t, err := os.CreateTemp(filepath.Dir(name), ".new-manifest-")
	if err != nil {
		return diskError(err)
	}
	defer os.Remove(t.Name())
	defer t.Close()
	if err := r.write(ctx, t, p, justHash); err != nil {
		return err
	}
	if p.Manifest, err = sumOf(t.Name()); err != nil {
		return err
	}
	b, err := os.ReadFile(t.Name())
	if err != nil {
		return diskError(err)
	}
	var sig []byte
	if r.Sign != nil {
		if sig, err = r.Sign(ctx, b); err != nil {
			return err
		}
	}
	return putSigned(name, b, sig)
}

// Preview writes the manifest to w and changes nothing, but for a temporary
// file.
func Preview(ctx context.Context, w io.Writer, r Release, now time.Time) (Published, error) {
	p := Published{Version: r.Head.Version}
	if r.Head.Generated.IsZero() {
		r.Head.Generated = now.UTC().Truncate(time.Second)
	}
	t, err := os.CreateTemp("", "godwit-manifest-")
	if err != nil {
		return p, diskError(err)
	}
	defer os.Remove(t.Name())
	defer t.Close()
	if err := r.write(ctx, t, &p, justHash); err != nil {
		return p, err
	}
	if _, err := t.Seek(0, io.SeekStart); err != nil {
		return p, diskError(err)
	}
	_, err = io.Copy(w, t)
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
