package publish

import (
	"bytes"
	"context"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/delta/diff"
	"github.com/godwit-ota/godwit/delta/tree"
	"github.com/godwit-ota/godwit/manifest"
)

// treeSaving is how much smaller than the patches for single files a patch for
// the whole tree has to be, in percent, to be worth its place in the folder.
const treeSaving = 10

// tree makes the patch that brings all that r lacks of files, and keeps it where
// it is smaller than what s says there is to fetch otherwise.
func (f Folder) tree(ctx context.Context, o Patches, r *earlier, files []manifest.File, h *manifest.Head, p *Published, s *Saving) error {
	if s.Files < 2 || s.Whole < o.Size || s.Whole > maxPatched {
		return nil
	}
	id, err := godwit.ParseDigest("sha256:" + sumOf(r.body))
	if err != nil {
		return err
	}
	file := func(e godwit.Entry) diff.File {
		return diff.File{Name: e.Path, Digest: e.Digest, Content: func() ([]byte, error) { return f.content(e.Digest) }}
	}
	var before, after []diff.File
	for e, err := range manifest.Entries(bytes.NewReader(r.body), int64(len(r.body)), manifest.Limits{}) {
		if err != nil {
			return err
		}
		if e.Digest.Algorithm != godwit.SHA256 {
			return nil
		}
		if isInstalled(e.Path) {
			before = append(before, file(e))
		}
	}
	for _, e := range files {
		if isInstalled(e.Path) {
			after = append(after, file(e.Entry))
		}
	}
	for _, tier := range o.Tiers {
		b, _, err := diff.MakeTree(ctx, before, after, diff.Options{Tier: tier})
		if err != nil {
			return err
		}
		if size := int64(len(b)); size*100 > s.Bytes*(100-treeSaving) || size*100 > s.Whole*int64(100-o.Saving) {
			continue
		}
		t, err := tree.Read(bytes.NewReader(b), 0)
		if err != nil {
			return err
		}
		patch := godwit.Patch{From: id, Sum: diff.Sum(b), Size: int64(len(b)),
			Memory: int64(tier.Memory() + tree.ContentMemory*(len(t.Old.Contents)+len(t.New.Contents)))}
		if err := f.keepPatch(patch, b); err != nil {
			return err
		}
		p.count(patch, false)
		h.Trees = append(h.Trees, patch)
		if patch.Size < s.Bytes {
			s.Bytes, s.Patched, s.Tree = patch.Size, s.Files, true
		}
	}
	return nil
}

// isInstalled reports whether devices have the file at path: the lists of keys
// that a release brings they keep elsewhere.
func isInstalled(path string) bool { return path != godwit.SignersPath && path != godwit.RevokedPath }
