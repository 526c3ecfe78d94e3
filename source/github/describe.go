package github

import (
	"context"
	"io"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/internal/webclient"
	"github.com/godwit-ota/godwit/manifest"
	"github.com/godwit-ota/godwit/vfs"
)

// Describe gives the listing of an admitted release: the files of its manifest,
// or the tree of its commit.
func (s *Source) Describe(ctx context.Context, v godwit.Verified, have []string) (godwit.Described, error) {
	d := godwit.Described{Verified: v}
	if v.Statement.Form == godwit.FileStatement {
		d.Listing = manifest.Entries(v.Statement.Body, v.Statement.Size, s.manifestLimits())
		return d, nil
	}
	root := v.Tree
	if root == "" || v.Time.IsZero() {
		c, err := s.askCommit(ctx, v.Commit)
		if err != nil {
			return d, err
		}
		if d.Time.IsZero() {
			d.Time = c.when
		}
		switch {
		case root != "":
		case c.tree == "":
			root = v.Commit
		case s.cfg.Signed:
			root, err = c.prove(v.Commit)
		default:
			root = c.tree
		}
		if err != nil {
			return d, err
		}
	}
	var err error
	d.Listing, err = s.listTree(ctx, root)
	return d, err
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
	st.Form = godwit.FileStatement
	if err := vfs.MkdirAll(s.cfg.State, s.cfg.Folder); err != nil {
		return st, diskError(err)
	}
	if s.manifest != nil {
		s.manifest.Close()
		s.manifest = nil
	}
	name := s.cfg.Folder + "/" + manifestFile
	if err := s.cfg.State.Remove(name); err != nil && !isAbsent(err) {
		return st, diskError(err)
	}
	f, err := s.cfg.State.Open(name, vfs.Write|vfs.Excl)
	if err != nil {
		return st, diskError(err)
	}
	s.manifest = f
	st.Size, err = s.asset(ctx, r.manifest, r.tag+": "+manifestName, s.cfg.Limits.TreeBytes, f)
	if err != nil {
		return st, err
	}
	st.Body = f
	if r.signature != "" {
		var b limited
		if _, err = s.asset(ctx, r.signature, r.tag+": "+signatureName, maxSignatures, &b); err != nil {
			return st, err
		}
		st.Signatures = b
	}
	return st, nil
}

// limited is a writer into memory; whoever writes keeps to a limit.
type limited []byte

func (l *limited) Write(p []byte) (int, error) {
	*l = append(*l, p...)
	return len(p), nil
}

// asset brings an attached file.
func (s *Source) asset(ctx context.Context, address, what string, most int64, to io.Writer) (int64, error) {
	a, err := s.get(ctx, webclient.Request{URL: address, Header: map[string]string{"Accept": acceptRaw}, Resume: true})
	if err != nil {
		return 0, err
	}
	defer a.Body.Close()
	tooLarge := func() error {
		return godwit.Fail(godwit.CodeLimit, nil, "the attached file "+what+" is larger than it may be", "raise max_tree_size_kb (limits.max_tree_bytes), if the release is meant to be like this")
	}
	switch {
	case a.Status == 404 || a.Status == 410:
		return 0, godwit.Fail(godwit.CodeMissingObject, nil, "the host does not have the attached file "+what+", which it named itself", "it may just have been replaced: try again")
	case a.Status != 200:
		return 0, s.refused(a, "the attached file "+what)
	case a.Size > most:
		return 0, tooLarge()
	}
	n, err := io.CopyBuffer(struct{ io.Writer }{to}, &meter{r: a.Body, left: most, what: tooLarge}, make([]byte, copySize))
	return n, diskError(err)
}
