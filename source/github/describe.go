package github

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/internal/webclient"
	"github.com/godwit-ota/godwit/manifest"
	"github.com/godwit-ota/godwit/vfs"
)

// Describe gives the listing of an admitted release: the files of its manifest,
// or the tree of its commit. Of a release that was installed before, which comes
// without a statement and with its time, nothing is asked until its listing is
// ranged over: Fetch does without.
func (s *Source) Describe(ctx context.Context, v godwit.Verified, have []string) (d godwit.Described, err error) {
	d.Verified = v
	switch {
	case v.Statement.Form == godwit.FileStatement:
		d.Listing = manifest.Entries(v.Statement.Body, v.Statement.Size, s.manifestLimits())
	case v.Statement.Form == godwit.NoStatement && !v.Time.IsZero():
		d.Listing = func(yield func(godwit.Entry, error) bool) {
			v := v
			l, err := s.treeOf(ctx, &v)
			if err != nil {
				yield(godwit.Entry{}, err)
				return
			}
			l(yield)
		}
	default:
		if d.Listing, err = s.treeOf(ctx, &d.Verified); err == nil && s.cfg.Patches {
			d.Offers, err = referencePatches(d.Listing)
		}
	}
	return d, err
}

// treeOf gives the tree of a release, and fills in its time.
func (s *Source) treeOf(ctx context.Context, v *godwit.Verified) (godwit.Listing, error) {
	root := v.Tree
	if root == "" || v.Time.IsZero() {
		f, when, err := s.askCommit(ctx, v.Commit)
		if v.Time.IsZero() {
			v.Time = when
		}
		switch {
		case err != nil:
		case root != "":
		case !s.knowsTrees():
			root = v.Commit
		case s.cfg.Signed:
			root, err = prove(v.Commit, f)
		default:
			root = f["tree.sha"]
		}
		if err != nil {
			return nil, err
		}
	}
	return s.listTree(ctx, root)
}

func (s *Source) manifestLimits() manifest.Limits {
	return manifest.Limits{Bytes: s.cfg.Limits.TreeBytes, Files: s.cfg.Limits.TreeFiles}
}

// Discard drops what came for a release that will not be installed.
func (s *Source) Discard() { s.dropFiles(partPrefix) }

const (
	manifestFile  = "manifest"
	manifestKey   = "manifest" // of answers: the SHA-256 of the file
	maxSignatures = 64 << 10
)

// bringManifest brings the manifest of a release, and the signatures beside it.
// What is here already is not sent again: a release that a gate refuses is looked
// at again and again.
func (s *Source) bringManifest(ctx context.Context, r release) (st godwit.Statement, err error) {
	if err := s.makeFolder(); err != nil {
		return st, err
	}
	s.closeManifest()
	f, err := s.cfg.State.Open(s.inFolder(manifestFile), vfs.Write)
	if err != nil {
		return st, vfs.StateError(err)
	}
	s.manifest = f
	st.Form, st.Body = godwit.FileStatement, f
	if st.Size, err = f.Size(); err != nil {
		return st, vfs.StateError(err)
	}
	h := sha256.New()
	old, etag := s.answers.get(manifestKey, r.manifest), ""
	if old != nil {
		if _, err := io.CopyBuffer(h, io.NewSectionReader(f, 0, st.Size), make([]byte, copySize)); err == nil && hex.EncodeToString(h.Sum(nil)) == old.text {
			etag = old.etag
		}
		h.Reset()
	}
	a, err := s.askAsset(ctx, r.manifest, manifestName, etag)
	if err != nil {
		return st, err
	}
	defer a.Body.Close()
	if a.Status != 304 {
		if err := f.Truncate(0); err != nil {
			return st, vfs.StateError(err)
		}
		if st.Size, err = s.takeAsset(a, manifestName, s.cfg.Limits.TreeBytes, io.MultiWriter(f, h)); err != nil {
			return st, err
		}
		s.answers.put(manifestKey, answer{r.manifest, a.ETag, hex.EncodeToString(h.Sum(nil))})
		s.answers.save()
	}
	if r.signature != "" {
		a, err := s.askAsset(ctx, r.signature, signatureName, "")
		if err != nil {
			return st, err
		}
		defer a.Body.Close()
		var b bytes.Buffer
		_, err = s.takeAsset(a, signatureName, maxSignatures, &b)
		st.Signatures = b.Bytes()
		return st, err
	}
	return st, nil
}

func (s *Source) closeManifest() {
	if s.manifest != nil {
		s.manifest.Close()
		s.manifest = nil
	}
}

// askAsset asks for an attached file. The answer's status is 200, or 304 if it
// still has the ETag.
func (s *Source) askAsset(ctx context.Context, address, name, etag string) (*webclient.Answer, error) {
	a, err := s.get(ctx, webclient.Request{URL: address, Header: map[string]string{"Accept": "application/octet-stream"}, IfNoneMatch: etag, Resume: true})
	if err != nil || a.Status == 200 || a.Status == 304 && etag != "" {
		return a, err
	}
	defer a.Body.Close()
	if a.Status == 404 || a.Status == 410 {
		return nil, gone("the attached file ", name)
	}
	return nil, s.refused(a, "the attached file "+name)
}

// takeAsset takes in what comes.
func (s *Source) takeAsset(a *webclient.Answer, name string, most int64, to io.Writer) (int64, error) {
	in := &meter{r: a.Body, left: most, what: func() error {
		return fail(godwit.CodeLimit, "raise max_tree_size_kb (limits.max_tree_bytes), if the release is meant to be like this", "the attached file ", name, " is larger than it may be")
	}}
	n, err := io.CopyBuffer(struct{ io.Writer }{to}, in, make([]byte, copySize))
	return n, vfs.StateError(err)
}
