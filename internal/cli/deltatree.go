package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/delta"
	"github.com/godwit-ota/godwit/delta/diff"
	"github.com/godwit-ota/godwit/delta/tree"
	"github.com/godwit-ota/godwit/manifest"
	"github.com/godwit-ota/godwit/plan"
	"github.com/godwit-ota/godwit/publish"
)

// A patch of a tree names no paths; the manifest of the new tree, beside it, does.
const listSuffix = ".json"

// isFolder reports whether a name is that of a folder.
func isFolder(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}

// deltaMakeTree makes a patch from a folder to a folder, and the manifest of the
// new one.
func (c *command) deltaMakeTree(ctx context.Context, o *patching, oldName, newName string) error {
	options, err := o.options(c.progress(stageDiff, newName))
	if err != nil {
		return err
	}
	if options.Block > 0 {
		return usageText("--in-place is for files", "delta")
	}
	old, err := filesIn(ctx, oldName)
	if err != nil {
		return err
	}
	list := o.out + listSuffix
	for _, folder := range []string{oldName, newName} {
		if within(o.out, folder) {
			return usageText("the patch would lie in "+folder+", which it is for: name a file elsewhere", "delta")
		}
	}
	body, made, err := manifestOf(ctx, newName)
	if err != nil {
		return err
	}
	new, err := filesOf(body, newName)
	if err != nil {
		return err
	}
	begun := time.Now()
	patch, report, err := diff.MakeTree(ctx, old, new, options)
	if err != nil {
		return treeError(err, o.out)
	}
	if err = putFile(o.out, patch); err == nil {
		err = putFile(list, body)
	}
	if err != nil {
		return err
	}
	p := c.printer()
	if n := len(made.Skipped); n > 0 {
		p.Warn("hidden files are never part of a release, and are left out: " + strings.Join(made.Skipped[:min(n, 3)], ", "))
	}
	line := begin("patch")
	line.text("out", o.out)
	line.text("manifest", list)
	line.number("files", int64(made.Files))
	line.number("tree_size", made.Bytes)
	line.headerFields(report.Header)
	line.number("size", report.Size)
	line.number("milliseconds", time.Since(begun).Milliseconds())
	p.Emit(line.done())
	p.Printf("%s: %s for what is new in %s of %s; needs %s of memory\n", o.out, plan.Bytes(report.Size), files(made.Files), plan.Bytes(made.Bytes), memory(report.Header.Tier))
	p.Printf("%s: the list of the files, which goes with it\n", list)
	return nil
}

// within reports whether the file name lies in a folder.
func within(name, folder string) bool {
	a, err := filepath.Abs(filepath.Dir(name))
	b, err2 := filepath.Abs(folder)
	rel, err3 := filepath.Rel(b, a)
	return err == nil && err2 == nil && err3 == nil && filepath.IsLocal(rel)
}

// manifestOf makes the manifest of a folder.
func manifestOf(ctx context.Context, folder string) ([]byte, *publish.Published, error) {
	var b bytes.Buffer
	r := &publish.Release{Tree: publish.Dir(folder), Rules: publish.Rules{Manifests: true}}
	r.Head.Version = filepath.Base(folder)
	if r.Head.Version == "." || r.Head.Version == ".." || r.Head.Version == string(filepath.Separator) {
		r.Head.Version = "new"
	}
	p, err := publish.Preview(ctx, &b, r)
	return b.Bytes(), p, err
}

// filesOf gives the files that a manifest lists, of a folder.
func filesOf(body []byte, folder string) (list []diff.File, err error) {
	for e, err := range manifest.Entries(bytes.NewReader(body), int64(len(body)), manifest.Limits{}) {
		if err != nil {
			return nil, err
		}
		name, link := filepath.Join(folder, filepath.FromSlash(e.Path)), e.Mode == godwit.Symlink
		list = append(list, diff.File{Name: e.Path, Digest: e.Digest, Content: func() ([]byte, error) {
			if link {
				target, err := os.Readlink(name)
				return []byte(filepath.ToSlash(target)), err
			}
			return os.ReadFile(name)
		}})
	}
	return list, nil
}

// filesIn gives the regular files of a folder, hashed.
func filesIn(ctx context.Context, folder string) (list []diff.File, err error) {
	err = filepath.WalkDir(folder, func(name string, e fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		d, err := hashFile(name)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(folder, name)
		list = append(list, diff.File{Name: filepath.ToSlash(rel), Digest: d, Content: func() ([]byte, error) { return os.ReadFile(name) }})
		return err
	})
	if err != nil && ctx.Err() == nil {
		err = godwit.Fail(godwit.CodeUsage, err, folder+" cannot be read", "name a folder that may be read")
	}
	return list, err
}

func hashFile(name string) (godwit.Digest, error) {
	f, err := os.Open(name)
	if err != nil {
		return godwit.Digest{}, err
	}
	defer f.Close()
	h := godwit.SHA256.New(0)
	if _, err := io.Copy(h, f); err != nil {
		return godwit.Digest{}, err
	}
	return godwit.MakeDigest(godwit.SHA256, h.Sum(nil)), nil
}

// treeMark is how patches of trees begin.
var treeMark = string((&tree.Table{}).Append(nil)[:2])

// isTreePatch reports whether a file begins as a patch of a tree does.
func isTreePatch(f io.ReaderAt) bool {
	b := make([]byte, len(treeMark))
	n, _ := f.ReadAt(b, 0)
	return string(b[:n]) == treeMark
}

// readTable reads the beginning of a patch of a tree.
func readTable(in *bufio.Reader, name string) (*tree.Table, error) {
	t, err := tree.Read(in, 0)
	return t, treeError(err, name)
}

// readList reads the manifest that goes with a patch.
func readList(name string) ([]godwit.Entry, error) {
	body, err := os.ReadFile(name)
	if err != nil {
		return nil, godwit.Fail(godwit.CodeUsage, err, "the list of the files that goes with the patch cannot be read", "it was written beside the patch; or name the manifest of the new version with --manifest FILE")
	}
	var list []godwit.Entry
	for e, err := range manifest.Entries(bytes.NewReader(body), int64(len(body)), manifest.Limits{}) {
		if err != nil {
			return nil, err
		}
		list = append(list, e)
	}
	return list, nil
}

func listing(list []godwit.Entry) godwit.Listing {
	return func(yield func(godwit.Entry, error) bool) {
		for _, e := range list {
			if !yield(e, nil) {
				return
			}
		}
	}
}

// deltaApplyTree makes a folder of an old one and a patch.
func (c *command) deltaApplyTree(ctx context.Context, o *patching, oldName, patchName string, patch *os.File, limit int64) (err error) {
	in := bufio.NewReaderSize(patch, patchBuffer)
	t, err := readTable(in, patchName)
	if err != nil {
		return err
	}
	if limit >= 0 && int64(t.Tier.Memory()) > limit {
		return tooLarge(patchName, t.Tier, delta.Tier.Memory, limit)
	}
	if names, err := os.ReadDir(o.out); err == nil && len(names) > 0 {
		return godwit.Fail(godwit.CodeUsage, nil, o.out+" is there already, and is not empty", "name a folder that is not there")
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return godwit.Fail(godwit.CodeUsage, err, o.out+" cannot be made", "name a folder that is not there")
	}
	if o.manifest == "" {
		o.manifest = patchName + listSuffix
	}
	want, err := readList(o.manifest)
	if err != nil {
		return err
	}
	old, err := filesIn(ctx, oldName)
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp(filepath.Dir(filepath.Clean(o.out)), ".godwit-new-")
	if err != nil {
		return writeError(err, o.out)
	}
	defer os.RemoveAll(work)
	begun := time.Now()
	objects := &folderObjects{old: map[godwit.Digest]string{}, work: work}
	var there []godwit.Entry
	for _, f := range old {
		name := filepath.Join(oldName, filepath.FromSlash(f.Name))
		info, err := os.Stat(name)
		if err != nil {
			return godwit.Fail(godwit.CodeIO, err, name+" cannot be read", "")
		}
		objects.old[f.Digest] = name
		there = append(there, godwit.Entry{Path: f.Name, Digest: f.Digest, Size: info.Size()})
	}
	_, err = t.Old.Find(listing(there))
	if err == nil {
		_, err = t.New.Find(listing(want))
	}
	if err == nil {
		err = tree.Apply(ctx, make([]byte, t.Tier.Memory()), in, t, objects, tree.Options{Progress: c.progress(stageApply, o.out)})
	}
	if err == nil {
		err = objects.build(want)
	}
	if err != nil {
		return treeError(err, patchName)
	}
	os.Remove(o.out) // an empty folder; of anything else the next line tells
	if err = os.Rename(filepath.Join(work, treeName), o.out); err == nil {
		err = settleFolder(filepath.Dir(filepath.Clean(o.out)))
	}
	if err != nil {
		return writeError(err, o.out)
	}
	var total int64
	for _, e := range want {
		total += e.Size
	}
	p := c.printer()
	line := begin("applied")
	line.text("out", o.out)
	line.text("tier", t.Tier.String())
	line.number("files", int64(len(want)))
	line.number("new_size", t.New.Size())
	line.number("tree_size", total)
	line.number("milliseconds", time.Since(begun).Milliseconds())
	p.Emit(line.done())
	p.Printf("%s: %s, %s, %s of it new\n", o.out, files(len(want)), plan.Bytes(total), plan.Bytes(t.New.Size()))
	return nil
}

// treeError words what can be wrong with a patch of a tree.
func treeError(err error, patch string) error {
	switch {
	case errors.Is(err, tree.ErrLimit):
		return godwit.Fail(godwit.CodeLimit, nil, patch+" is for more or larger contents than there can be", "patch a part of the tree")
	case errors.Is(err, delta.ErrWrongOld):
		return godwit.Fail(godwit.CodeWrongOld, nil, patch+" was made for another folder, or for another version of it", "`godwit delta info` shows what a patch is for")
	}
	return patchError(err, patch, "", delta.Header{})
}
