package github

import (
	"bytes"
	"context"
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
		d.Listing, err = s.treeOf(ctx, &d.Verified)
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
	maxSignatures = 64 << 10
)

// bringManifest brings the manifest of a release, and the signatures beside it.
func (s *Source) bringManifest(ctx context.Context, r release) (st godwit.Statement, err error) {
	if err := s.makeFolder(); err != nil {
		return st, err
	}
	s.closeManifest()
	name := s.inFolder(manifestFile)
	if err := s.cfg.State.Remove(name); err != nil && !isAbsent(err) {
		return st, diskError(err)
	}
	f, err := s.cfg.State.Open(name, vfs.Write|vfs.Excl)
	if err != nil {
		return st, diskError(err)
	}
	s.manifest = f
	st.Form, st.Body = godwit.FileStatement, f
	st.Size, err = s.download(ctx, r.manifest, manifestName, s.cfg.Limits.TreeBytes, f)
	if err == nil && r.signature != "" {
		var b bytes.Buffer
		_, err = s.download(ctx, r.signature, signatureName, maxSignatures, &b)
		st.Signatures = b.Bytes()
	}
	return st, err
}

func (s *Source) closeManifest() {
	if s.manifest != nil {
		s.manifest.Close()
		s.manifest = nil
	}
}

// download brings an attached file.
func (s *Source) download(ctx context.Context, address, name string, most int64, to io.Writer) (int64, error) {
	what := "the attached file " + name
	a, err := s.get(ctx, webclient.Request{URL: address, Header: map[string]string{"Accept": "application/octet-stream"}, Resume: true})
	if err != nil {
		return 0, err
	}
	defer a.Body.Close()
	switch a.Status {
	case 200:
	case 404, 410:
		return 0, gone(what)
	default:
		return 0, s.refused(a, what)
	}
	in := &meter{r: a.Body, left: most, what: func() error {
		return fail(godwit.CodeLimit, "raise max_tree_size_kb (limits.max_tree_bytes), if the release is meant to be like this", what, " is larger than it may be")
	}}
	n, err := io.CopyBuffer(struct{ io.Writer }{to}, in, make([]byte, copySize))
	return n, diskError(err)
}
