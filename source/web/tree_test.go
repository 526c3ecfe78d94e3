package web_test

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/delta"
	"github.com/godwit-ota/godwit/delta/diff"
	treepatch "github.com/godwit-ota/godwit/delta/tree"
	"github.com/godwit-ota/godwit/manifest"
	"github.com/godwit-ota/godwit/source/web"
)

// Two trees, by path.
var (
	oldTree = map[string][]byte{"a": content(1, 9000), "b": content(2, 4000), "keep": content(3, 100)}
	newTree = map[string][]byte{"a": slices.Concat(content(1, 5000), content(4, 10), content(1, 9000)[5000:]), "c": slices.Concat(content(2, 4000), []byte("more")), "keep": content(3, 100)}
)

func filesOf(files map[string][]byte) (out []diff.File) {
	for p, b := range files {
		out = append(out, diff.File{Name: p, Digest: digestOf(b), Content: func() ([]byte, error) { return b, nil }})
	}
	return out
}

func listingOf(files map[string][]byte) godwit.Listing {
	return func(yield func(godwit.Entry, error) bool) {
		var b bytes.Buffer
		w := manifest.NewWriter(&b, manifest.Head{Version: "v"})
		for _, p := range sorted(files) {
			w.Add(manifest.File{Entry: godwit.Entry{Path: p, Mode: godwit.File, Size: int64(len(files[p])), Digest: digestOf(files[p])}})
		}
		w.Close()
		manifest.Entries(bytes.NewReader(b.Bytes()), int64(b.Len()), manifest.Limits{})(yield)
	}
}

func sorted(files map[string][]byte) (paths []string) {
	for p := range files {
		paths = append(paths, p)
	}
	slices.Sort(paths)
	return paths
}

// treeOf is a patch between trees.
func treeOf(t *testing.T, from, to map[string][]byte) []byte {
	t.Helper()
	b, _, err := diff.MakeTree(context.Background(), filesOf(from), filesOf(to), diff.Options{Tier: delta.Small})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestTreePatch: one patch brings all that is missing, or, whatever is wrong with
// it, the files come one by one, and it is not asked for again.
func TestTreePatch(t *testing.T) {
	good := treeOf(t, oldTree, newTree)
	damaged := bytes.Clone(good)
	damaged[len(good)-8] ^= 0x55
	memory := int64(delta.Small.Memory() + 6*treepatch.ContentMemory)
	other := map[string][]byte{"a": content(5, 9000), "b": content(2, 4000)}
	for _, c := range []struct {
		name   string
		patch  []byte
		memory int64
		lacks  string // an old file that is not there any more
		why    string // "" if it works
	}{
		{"works", good, memory, "", ""},
		{"takes more memory than it said", good, int64(delta.Small.Memory()), "", "more memory than the manifest"},
		{"from other files", treeOf(t, other, newTree), memory, "", "made for another old content"},
		{"to other files", treeOf(t, oldTree, map[string][]byte{"a": content(6, 500)}), memory, "", "none of the files that are missing"},
		{"damaged", damaged, memory, "", "the patch is damaged"},
		{"too short", good[:len(good)/2], memory, "", "the patch is damaged"},
		{"a patch for one file", makePatch(t, oldFile, newFile, delta.Small), memory, "", "no patch that this version"},
		{"an old file is gone", good, memory, "b", "made for another old content"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := patchOf(c.patch, []byte("the old manifest"), c.memory)
			var b bytes.Buffer
			w := manifest.NewWriter(&b, manifest.Head{Version: "v2", Trees: []godwit.Patch{p}})
			files := map[string][]byte{web.PatchName(p.Sum): c.patch}
			for _, path := range sorted(newTree) {
				f := newTree[path]
				files[web.FileName(digestOf(f))] = f
				if err := w.Add(manifest.File{Entry: godwit.Entry{Path: path, Mode: godwit.File, Size: int64(len(f)), Digest: digestOf(f)}}); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			files[web.ManifestName] = b.Bytes()
			s := newShelf(t, files)
			d := newWorld(t, web.Config{}, s)
			for run := range 2 {
				d.restart()
				d.device = device{}
				installed := map[string][]byte{}
				for path, b := range oldTree {
					if path != c.lacks {
						d.device[digestOf(b)], installed[path] = b, b
					}
				}
				rel := d.describe(d.tip())
				if c.why != "" && len(rel.Trees) != 1-run {
					t.Errorf("run %d: %d patches are offered", run, len(rel.Trees))
				}
				rel.Installed = listingOf(installed)
				s.seen()
				if err := d.fetch(rel); err != nil {
					t.Fatal(err)
				}
				for path, b := range newTree {
					if !bytes.Equal(d.device[digestOf(b)], b) {
						t.Errorf("%s did not come", path)
					}
				}
				got, whole := d.src.Patched(), strings.Contains(strings.Join(s.seen(), " "), web.Files)
				switch {
				case c.why == "" && (got.Applied != 1 || whole):
					t.Errorf("%+v; files were fetched: %v", got, whole)
				case c.why != "" && run == 0 && (got.Failed != 1 || got.Applied != 0 || !strings.Contains(got.Reason, c.why) || !whole):
					t.Errorf("%+v; files were fetched: %v", got, whole)
				case c.why != "" && run == 1 && got != (godwit.Patched{}):
					t.Errorf("it is tried again: %+v", got)
				}
			}
		})
	}
}

// What the patch brings and this device does not want is not staged, and what it
// does not bring comes as well.
func TestTreePatchForSomeFiles(t *testing.T) {
	patch := treeOf(t, oldTree, newTree)
	p := patchOf(patch, []byte("the old manifest"), int64(delta.Small.Memory()+6*treepatch.ContentMemory))
	extra := content(7, 700)
	s := newShelf(t, map[string][]byte{web.PatchName(p.Sum): patch, web.FileName(digestOf(extra)): extra})
	d := newWorld(t, web.Config{}, s)
	for _, b := range oldTree {
		d.device[digestOf(b)] = b
	}
	wanted := map[string][]byte{"c": newTree["c"], "d": extra}
	rel := godwit.Described{Trees: []godwit.Patch{p}, Installed: listingOf(oldTree), Listing: listingOf(wanted)}
	if err := d.fetch(rel); err != nil {
		t.Fatal(err)
	}
	for path, b := range wanted {
		if !bytes.Equal(d.device[digestOf(b)], b) {
			t.Errorf("%s did not come", path)
		}
	}
	if d.device.Has(digestOf(newTree["a"])) {
		t.Error("what nobody wanted is there")
	}
	if got := d.src.Patched(); got.Applied != 1 || got.Failed != 0 {
		t.Errorf("%+v", got)
	}
}
