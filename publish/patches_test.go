package publish_test

import (
	"bytes"
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/delta"
	"github.com/godwit-ota/godwit/delta/diff"
	"github.com/godwit-ota/godwit/manifest"
	"github.com/godwit-ota/godwit/publish"
	"github.com/godwit-ota/godwit/source/web"
)

// noise is n bytes that do not repeat.
func noise(seed uint32, n int) string {
	b := make([]byte, n)
	for i := range b {
		seed = seed*1664525 + 1013904223
		b[i] = byte(seed >> 24)
	}
	return string(b)
}

// offered gives the patches of a manifest by path.
func offered(t *testing.T, name string) map[string][]godwit.Patch {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	_, offers := manifest.Files(bytes.NewReader(b), int64(len(b)), manifest.Limits{})
	all := map[string][]godwit.Patch{}
	for o, err := range offers {
		if err != nil {
			t.Fatal(err)
		}
		all[o.Path] = append(all[o.Path], o.Patch)
	}
	return all
}

// A builder publishes versions of a folder.
type builder struct {
	t         *testing.T
	from, out string
	patches   publish.Patches
	product   string
	progress  int
}

func newBuilder(t *testing.T) *builder {
	return &builder{t: t, from: t.TempDir(), out: t.TempDir(), patches: publish.DefaultPatches, product: "p"}
}

func (b *builder) publish(version string, files map[string]string) (*publish.Published, error) {
	b.t.Helper()
	os.RemoveAll(b.from)
	write(b.t, b.from, files)
	f := publish.Folder{Dir: b.out, Events: func(e godwit.Event) {
		if e.Level == godwit.Progress {
			b.progress++
		}
	}}
	return f.Publish(ctx, &publish.Release{Tree: publish.Dir(b.from), Head: manifest.Head{Version: version, Product: b.product}, Patches: b.patches})
}

func (b *builder) must(version string, files map[string]string) *publish.Published {
	b.t.Helper()
	p, err := b.publish(version, files)
	if err != nil {
		b.t.Fatal(err)
	}
	return p
}

// three versions of a program and of other files.
func versionOf(n int) map[string]string {
	main, lib := []byte(noise(1, 9000)), []byte(noise(2, 5000))
	for v := 2; v <= n; v++ {
		copy(main[v*100:], "changed")
		copy(lib[v*90:], "other")
	}
	files := map[string]string{"main": string(main), "lib/a": string(lib), "same": noise(3, 4000), "small": noise(uint32(n), 900), "new": noise(uint32(100+n), 3000)}
	if n > 1 {
		files["lib/moved/b"], files["lib/b"] = noise(5, 6000)+"!", ""
		delete(files, "lib/b")
	} else {
		files["lib/b"] = noise(5, 6000)
	}
	return files
}

func TestPatches(t *testing.T) {
	b := newBuilder(t)
	if p := b.must("v1", versionOf(1)); p.Patches != 0 || p.Savings != nil {
		t.Errorf("%+v", p)
	}
	two := b.must("v2", versionOf(2))
	if len(two.Savings) != 1 || two.Patches < 3 || two.Savings[0].From != "v1" || b.progress != 5 {
		t.Errorf("%+v, progress %d", two, b.progress)
	}
	// One patch brings all, of which only "new" has nothing in common with any file
	// that was there.
	whole := int64(9000 + 5000 + 6001 + 900 + 3000)
	if s := two.Savings[0]; !s.Tree || s.Files != 5 || s.Patched != 5 || s.Whole != whole || s.Bytes < 3000 || s.Bytes > 3400 {
		t.Errorf("%+v", s)
	}
	// By themselves come main, lib/a and what moved; not what is small or the same,
	// nor what has nothing in common with what it was.
	own := filepath.Join(b.out, "releases/v2/manifest.json")
	offers := offered(t, own)
	if got := slices.Sorted(maps.Keys(offers)); !slices.Equal(got, []string{"lib/a", "lib/moved/b", "main"}) {
		t.Errorf("patches for %q", got)
	}
	// What is offered is there, and does what it says.
	content := func(name string) []byte {
		c, err := os.ReadFile(filepath.Join(b.out, filepath.FromSlash(name)))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	_, entries := listing(t, own)
	for path, list := range offers {
		for _, p := range list {
			body := content(web.PatchName(p.Sum))
			if diff.Sum(body) != p.Sum || int64(len(body)) != p.Size || p.Memory != int64(delta.Small.Memory()) {
				t.Errorf("%s: %+v", path, p)
			}
			old := content(web.FileName(p.From))
			var out text
			if err := delta.Apply(make([]byte, p.Memory), bytes.NewReader(body), bytes.NewReader(old), int64(len(old)), &out); err != nil || diff.Sum(out) != entries[path].Digest {
				t.Errorf("%s: %v", path, err)
			}
		}
	}

	// The same anew is the same; patches that are there are not made again.
	again := b.must("v2", versionOf(2))
	if !again.Already || again.Manifest != two.Manifest || again.Patches != 0 {
		t.Errorf("%+v", again)
	}
	if _, err := b.publish("v2", versionOf(3)); godwit.CodeOf(err) != godwit.CodeRefused {
		t.Error(err)
	}
	before := every(t, filepath.Join(b.out, "patches"))
	os.RemoveAll(filepath.Join(b.out, "releases/v2"))
	third := b.must("v2.1", versionOf(2))
	if third.Reused != 3 || third.Manifest == two.Manifest {
		t.Errorf("%+v", third)
	}
	for name := range before {
		if _, err := os.Stat(filepath.Join(b.out, "patches", name)); err != nil {
			t.Error(err)
		}
	}

	// From the releases before, the newest first, as many as are asked for.
	b.patches.Releases = 2
	b.must("v3", versionOf(3))
	four := b.must("v4", versionOf(4))
	if len(four.Savings) != 2 || four.Savings[0].From != "v3" || four.Savings[1].From != "v2.1" {
		t.Errorf("%+v", four.Savings)
	}
	if n := len(offered(t, filepath.Join(b.out, "manifest.json"))["main"]); n != 2 {
		t.Errorf("%d patches for main", n)
	}
	b.patches.Releases = 0
	if five := b.must("v5", versionOf(5)); five.Savings != nil || len(offered(t, filepath.Join(b.out, "manifest.json"))) != 0 {
		t.Errorf("%+v", five)
	}
	// Releases of another product are none of this one's.
	b.patches.Releases, b.product = 9, "q"
	if other := b.must("v6", versionOf(6)); other.Savings != nil {
		t.Errorf("%+v", other.Savings)
	}
}

type text []byte

func (o *text) Write(p []byte) (int, error) { *o = append(*o, p...); return len(p), nil }

func (o *text) ReadAt(p []byte, off int64) (int, error) { return bytes.NewReader(*o).ReadAt(p, off) }

// What the flags leave out is not offered, and each tier has patches of its own.
func TestWhichPatches(t *testing.T) {
	for _, c := range []struct {
		name    string
		patches publish.Patches
		want    int // patches for main
	}{
		{"two tiers", publish.Patches{Releases: 1, Size: 1, Tiers: []delta.Tier{delta.Tiny, delta.Small}}, 2},
		{"only large files", publish.Patches{Releases: 1, Size: 9001}, 0},
		{"only what saves a lot", publish.Patches{Releases: 1, Size: 1, Saving: 100}, 0},
		{"by default", publish.DefaultPatches, 1},
	} {
		b := newBuilder(t)
		b.patches = c.patches
		b.must("v1", versionOf(1))
		b.must("v2", versionOf(2))
		got := offered(t, filepath.Join(b.out, "manifest.json"))["main"]
		if len(got) != c.want || c.want == 2 && got[0].Memory == got[1].Memory {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
}

// Whoever reads the folder while it is written finds each patch that a manifest
// names: they come first.
func TestPatchesComeBeforeTheirManifest(t *testing.T) {
	b := newBuilder(t)
	b.must("v1", versionOf(1))
	os.RemoveAll(b.from)
	write(t, b.from, versionOf(2))
	ctx, cancel := context.WithCancel(ctx)
	f := publish.Folder{Dir: b.out, Events: func(e godwit.Event) {
		if e.Level == godwit.Progress && e.Done == e.Total {
			cancel() // as if it were killed once the patches are there
		}
	}}
	sign := func(ctx context.Context, _ []byte) ([]byte, error) { return nil, ctx.Err() }
	r := &publish.Release{Tree: publish.Dir(b.from), Head: manifest.Head{Version: "v2", Product: "p"}, Patches: publish.DefaultPatches, Sign: sign}
	if _, err := f.Publish(ctx, r); err == nil {
		t.Fatal("it was not stopped")
	}
	if _, err := os.Stat(filepath.Join(b.out, "releases/v2/manifest.json")); err == nil {
		t.Error("the manifest is there before its time")
	}
	if n := len(every(t, filepath.Join(b.out, "patches"))); n == 0 {
		t.Error("no patches")
	}
	if p := b.must("v2", versionOf(2)); p.Reused != 3 {
		t.Errorf("%+v", p)
	}
}

// A file of the folder that is not what its name says makes no patch.
func TestPatchesFromADamagedFolder(t *testing.T) {
	b := newBuilder(t)
	b.must("v1", versionOf(1))
	name := filepath.Join(b.out, filepath.FromSlash(web.FileName(diff.Sum([]byte(versionOf(1)["main"])))))
	if err := os.WriteFile(name, []byte(strings.ToUpper(versionOf(1)["main"])), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := b.publish("v2", versionOf(2))
	wantCode(t, err, godwit.CodeBadObject)
}

// TestManifestPatches: the manifests of the releases before are turned into the new
// one, where they are long enough.
func TestManifestPatches(t *testing.T) {
	b := newBuilder(t)
	b.patches.Releases = 2
	files := map[string]string{"main": noise(1, 300)}
	manifestAt := func(version string) []byte {
		body, err := os.ReadFile(filepath.Join(b.out, "releases", version, "manifest.json"))
		if err != nil {
			t.Fatal(err)
		}
		return body
	}
	patches := func(version string) []string {
		names, _ := filepath.Glob(filepath.Join(b.out, "releases", version, "from-*"))
		return names
	}
	b.must("v0", files)
	for i := range 20 {
		files["module"+strings.Repeat("x", i)] = noise(uint32(i), 100)
	}
	for i, version := range []string{"v1", "v2", "v3", "v4"} {
		files["main"] = noise(uint32(50+i), 300)
		b.must(version, files)
	}
	if got := patches("v1"); len(got) != 0 {
		t.Errorf("%q", got)
	}
	if got := patches("v2"); len(got) != 1 {
		t.Errorf("%q", got)
	}
	if got := patches("v4"); len(got) != 2 {
		t.Errorf("%q", got)
	}
	want := manifestAt("v4")
	for _, version := range []string{"v2", "v3"} {
		old := manifestAt(version)
		patch, err := os.ReadFile(filepath.Join(b.out, filepath.FromSlash(web.ManifestPatch("v4", diff.Sum(old).Hex()))))
		if err != nil {
			t.Fatal(err)
		}
		var out written
		if err := delta.Apply(make([]byte, delta.Tiny.Memory()), bytes.NewReader(patch), bytes.NewReader(old), int64(len(old)), &out); err != nil || !bytes.Equal(out, want) {
			t.Errorf("from %s: %v, %d bytes", version, err, len(out))
		}
		if len(patch) > len(want)/4 {
			t.Errorf("from %s: %d bytes for %d", version, len(patch), len(want))
		}
	}
	b.patches.Releases = 0
	files["main"] = noise(60, 300)
	b.must("v5", files)
	if got := patches("v5"); len(got) != 0 {
		t.Errorf("%q", got)
	}
}

type written []byte

func (w *written) Write(p []byte) (int, error) { *w = append(*w, p...); return len(p), nil }

func (w *written) ReadAt(p []byte, off int64) (int, error) { return bytes.NewReader(*w).ReadAt(p, off) }
