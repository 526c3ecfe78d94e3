package publish_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/manifest"
	"github.com/godwit-ota/godwit/publish"
	"github.com/godwit-ota/godwit/source/web"
)

var ctx = context.Background()

func write(t *testing.T, root string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		name = filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		mode := os.FileMode(0o644)
		if strings.HasPrefix(text, "#!") {
			mode = 0o755
		}
		if err := os.WriteFile(name, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
}

// every gives the files below root with their contents.
func every(t *testing.T, root string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(root, func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(name)
		rel, _ := filepath.Rel(root, name)
		files[filepath.ToSlash(rel)] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func listing(t *testing.T, name string) (paths []string, entries map[string]godwit.Entry) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	entries = map[string]godwit.Entry{}
	for e, err := range manifest.Entries(bytes.NewReader(b), int64(len(b)), manifest.Limits{}) {
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, e.Path)
		entries[e.Path] = e
	}
	return paths, entries
}

func head(t *testing.T, name string) manifest.Head {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	h, err := manifest.ReadHead(bytes.NewReader(b), int64(len(b)), manifest.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func wantCode(t *testing.T, err error, code godwit.Code) {
	t.Helper()
	if godwit.CodeOf(err) != code {
		t.Errorf("%s (%v), want %s", godwit.CodeOf(err), err, code)
	}
}

var app = map[string]string{
	"main.py": "print(1)\n", "bin/run": "#!/bin/sh\n", "lib/__init__.py": "", "lib/größe.py": "x = 1\n", "lib/__pycache__/a.pyc": "c",
	".gitignore": "x", ".env": "secret", ".godwit/allowed_signers": "key", "docs/.hidden/x": "y",
}

var appPaths = []string{".godwit/allowed_signers", "bin/run", "lib/__init__.py", "lib/größe.py", "main.py"}

func TestPublishAFolder(t *testing.T) {
	from, out := t.TempDir(), t.TempDir()
	write(t, from, app)
	if err := os.Symlink("bin/run", filepath.Join(from, "start")); err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	f := publish.Folder{Dir: out, Now: func() time.Time { return now }}
	r := &publish.Release{Tree: publish.Dir(from), Rules: publish.Rules{Exclude: publish.DefaultExclude}, Head: manifest.Head{Version: "v1.0.0", Product: "station"}}
	p, err := f.Publish(ctx, r)
	if err != nil {
		t.Fatal(err)
	}
	if p.Files != 6 || p.New != 6 || p.Already || !slices.Equal(p.Skipped, []string{".env", "docs/.hidden/x"}) {
		t.Errorf("%+v", p)
	}
	paths, entries := listing(t, filepath.Join(out, "manifest.json"))
	if want := append(slices.Clone(appPaths), "start"); !slices.Equal(paths, want) {
		t.Errorf("%q", paths)
	}
	if entries["bin/run"].Mode != godwit.Executable || entries["start"].Mode != godwit.Symlink || entries["start"].Size != 7 || entries["main.py"].Mode != godwit.File {
		t.Errorf("%+v", entries)
	}
	h := head(t, filepath.Join(out, "manifest.json"))
	if want := (manifest.Head{Version: "v1.0.0", Product: "station", Sequence: 1, Generated: now, Files: 6}); !reflect.DeepEqual(h, want) {
		t.Errorf("%+v", h)
	}
	files := every(t, out)
	if files["releases/v1.0.0/manifest.json"] != files["manifest.json"] {
		t.Error("there are two manifests")
	}
	for name, text := range files {
		if strings.HasPrefix(name, "files/") != (len(text) < 100) {
			t.Errorf("%s is left", name)
		}
	}
	if info, _ := os.Stat(filepath.Join(out, "manifest.json")); info.Mode().Perm() != 0o644 {
		t.Error(info.Mode())
	}
	// Again it is the same, and nothing is written.
	now = now.Add(time.Hour)
	if p, err = f.Publish(ctx, r); err != nil || !p.Already || p.New != 0 {
		t.Errorf("%+v, %v", p, err)
	}
	if again := every(t, out); !reflect.DeepEqual(again, files) {
		t.Error("publishing it again changed the folder")
	}
	// Other files under the same version are refused.
	write(t, from, map[string]string{"main.py": "print(2)\n"})
	_, err = f.Publish(ctx, r)
	wantCode(t, err, godwit.CodeRefused)
	if again := every(t, out); again["manifest.json"] != files["manifest.json"] {
		t.Error("a refusal changed the folder")
	}
	// The next version keeps the product, counts on, and keeps the old release.
	write(t, from, map[string]string{"main.py": "print(3)\n"})
	r.Head.Version, r.Head.Product = "v1.1.0", ""
	if p, err = f.Publish(ctx, r); err != nil || p.New != 1 {
		t.Errorf("%+v, %v", p, err)
	}
	if h := head(t, filepath.Join(out, "manifest.json")); h.Version != "v1.1.0" || h.Sequence != 2 || h.Product != "station" || !h.Generated.Equal(now) {
		t.Errorf("%+v", h)
	}
	if every(t, out)["releases/v1.0.0/manifest.json"] != files["manifest.json"] {
		t.Error("the old release is gone or changed")
	}
	// A lower one does not become the latest.
	r.Head.Version = "v1.0.1"
	if _, err = f.Publish(ctx, r); err != nil || head(t, filepath.Join(out, "manifest.json")).Version != "v1.1.0" {
		t.Error(err)
	}
	for _, version := range []string{"", "../x", ".x", "/v1"} {
		r.Head.Version = version
		_, err := f.Publish(ctx, r)
		wantCode(t, err, godwit.CodeUsage)
	}
	r.Head.Version, r.Tree = "v9", nil
	_, err = f.Publish(ctx, r)
	wantCode(t, err, godwit.CodeUsage)
}

// TestIntoItself: a folder that is published into one of its own folders does
// not list what was published before.
func TestIntoItself(t *testing.T) {
	from := t.TempDir()
	write(t, from, map[string]string{"a": "1"})
	f := publish.Folder{Dir: filepath.Join(from, "public")}
	for i := range 2 {
		r := &publish.Release{Tree: publish.Dir(from), Head: manifest.Head{Version: fmt.Sprintf("v%d.0.0", i)}}
		if p, err := f.Publish(ctx, r); err != nil || p.Files != 1 {
			t.Fatal(p, err)
		}
	}
	name := filepath.Join(from, "manifest.json")
	for range 2 {
		if p, err := publish.Manifest(ctx, name, &publish.Release{Tree: publish.Dir(from), Rules: publish.Rules{Exclude: []string{"public"}}, Head: manifest.Head{Version: "dev"}}); err != nil || p.Files != 1 {
			t.Fatal(p, err)
		}
	}
}

func git(t *testing.T, dir string, args ...string) {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is not installed")
	}
	cmd := exec.Command("git", append([]string{"-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main"}, args...)...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("git %q: %v\n%s", args, err, out)
	}
}

func TestPublishARevision(t *testing.T) {
	repo, out := t.TempDir(), t.TempDir()
	write(t, repo, app)
	git(t, repo, "init", "-q")
	git(t, repo, "add", "-f", ".")
	git(t, repo, "commit", "-qm", "one")
	git(t, repo, "tag", "v1.0.0")
	write(t, repo, map[string]string{"main.py": "not committed", "new.py": "not added"})
	rev, err := publish.Resolve(ctx, filepath.Join(repo, "lib"), "v1.0.0")
	if err != nil || rev.Tag != "v1.0.0" || len(rev.Commit) != 40 || len(rev.Tree) != 40 {
		t.Fatal(rev, err)
	}
	f := publish.Folder{Dir: out}
	p, err := f.Publish(ctx, &publish.Release{Tree: rev, Rules: publish.Rules{Exclude: publish.DefaultExclude}, Head: manifest.Head{Version: rev.Tag, Commit: rev.Commit, Tree: rev.Tree}})
	if err != nil || p.Files != len(appPaths) {
		t.Fatal(p, err)
	}
	paths, entries := listing(t, filepath.Join(out, "manifest.json"))
	if !slices.Equal(paths, appPaths) || entries["bin/run"].Mode != godwit.Executable {
		t.Errorf("%+v", entries)
	}
	for _, path := range paths {
		b, err := os.ReadFile(filepath.Join(out, web.FileName(entries[path].Digest)))
		if err != nil || string(b) != app[path] {
			t.Errorf("%s is %q, %v", path, b, err)
		}
	}
	if h := head(t, filepath.Join(out, "manifest.json")); h.Commit != rev.Commit || h.Tree != rev.Tree {
		t.Errorf("%+v", h)
	}
	for _, name := range []string{"v2", "--help", "HEAD:main.py"} {
		_, err := publish.Resolve(ctx, repo, name)
		wantCode(t, err, godwit.CodeUsage)
	}
	git(t, repo, "config", "godwit.product", "sonde")
	if rev, err := publish.Resolve(ctx, repo, "main"); err != nil || rev.Tag != "" || rev.Product != "sonde" {
		t.Error(rev, err)
	}
	git(t, repo, "tag", "-a", "-m", "Release v1.0.1\n\nTree: x\nProduct: station", "v1.0.1")
	if rev, err := publish.Resolve(ctx, repo, "refs/tags/v1.0.1"); err != nil || rev.Tag != "v1.0.1" || rev.Product != "station" {
		t.Error(rev, err)
	}
	// Assets have no files.
	assets := filepath.Join(t.TempDir(), "assets")
	sign := func(_ context.Context, b []byte) ([]byte, error) { return []byte("signed\n"), nil }
	if _, err := publish.Manifest(ctx, filepath.Join(assets, "manifest.json"), &publish.Release{Tree: rev, Head: manifest.Head{Version: "v1.0.0"}, Sign: sign}); err != nil {
		t.Fatal(err)
	}
	if got := every(t, assets); len(got) != 2 || got["manifest.json.sig"] != "signed\n" {
		t.Errorf("%q", got)
	}
}

// TestNothingChangesWhenItFails: a release that cannot be signed, or whose files
// cannot be read, leaves what devices see as it is.
func TestNothingChangesWhenItFails(t *testing.T) {
	from, out := t.TempDir(), t.TempDir()
	write(t, from, map[string]string{"a": "1", "b": "2"})
	f := publish.Folder{Dir: out}
	ok := publish.Release{Tree: publish.Dir(from), Head: manifest.Head{Version: "v1.0.0"}}
	if _, err := f.Publish(ctx, &ok); err != nil {
		t.Fatal(err)
	}
	before := every(t, out)
	write(t, from, map[string]string{"a": "3"})
	for name, change := range map[string]func(*publish.Release){
		"no signature": func(r *publish.Release) {
			r.Sign = func(context.Context, []byte) ([]byte, error) { return nil, io.EOF }
		},
		"no such hook":       func(r *publish.Release) { r.Head.PostUpdate = "none" },
		"a hook left out":    func(r *publish.Release) { r.Head.Rollback, r.Rules.Exclude = "a", []string{"a"} },
		"a hook of a folder": func(r *publish.Release) { r.Head.Rollback = "." },
		"deletes its own":    func(r *publish.Release) { r.Head.Deletes = []string{"a"} },
		"deletes others'":    func(r *publish.Release) { r.Head.Deletes = []string{"../a"} },
		"no such file":       func(r *publish.Release) { r.Rules.Only = []string{"none"} },
		"no file":            func(r *publish.Release) { r.Rules.Include = []string{"*.c"} },
		"no pattern":         func(r *publish.Release) { r.Rules.Include = []string{"[a"} },
		"no folder":          func(r *publish.Release) { r.Tree = publish.Dir(filepath.Join(from, "none")) },
	} {
		r := ok
		r.Head.Version = "v2.0.0"
		change(&r)
		if _, err := f.Publish(ctx, &r); err == nil {
			t.Errorf("%s: published", name)
		}
		after := every(t, out)
		for n := range after {
			if strings.HasPrefix(n, "files/") && before[n] == "" {
				delete(after, n) // contents that nothing names do no harm
			}
		}
		if !reflect.DeepEqual(after, before) {
			t.Errorf("%s: the folder is changed", name)
		}
	}
}

func TestRules(t *testing.T) {
	from := t.TempDir()
	write(t, from, map[string]string{"a.py": "", "a.txt": "", "lib/b.py": "", "lib/deep/c.py": "", "tests/d.py": "", "lib/tests/e.py": "", "big.bin/f": ""})
	for _, c := range []struct {
		name  string
		rules publish.Rules
		want  string
	}{
		{"all", publish.Rules{}, "a.py a.txt big.bin/f lib/b.py lib/deep/c.py lib/tests/e.py tests/d.py"},
		{"names anywhere", publish.Rules{Include: []string{"*.py"}}, "a.py lib/b.py lib/deep/c.py lib/tests/e.py tests/d.py"},
		{"folders anywhere", publish.Rules{Exclude: []string{"tests", "*.bin"}}, "a.py a.txt lib/b.py lib/deep/c.py"},
		{"a folder from the root", publish.Rules{Exclude: []string{"/tests"}}, "a.py a.txt big.bin/f lib/b.py lib/deep/c.py lib/tests/e.py"},
		{"with a slash behind it", publish.Rules{Include: []string{"lib/"}}, "lib/b.py lib/deep/c.py lib/tests/e.py"},
		{"below a folder", publish.Rules{Include: []string{"lib/*.py"}}, "lib/b.py"},
		{"at any depth", publish.Rules{Include: []string{"lib/**/*.py"}}, "lib/b.py lib/deep/c.py lib/tests/e.py"},
		{"any folders", publish.Rules{Include: []string{"./**/tests"}}, "lib/tests/e.py tests/d.py"},
		{"exclude wins", publish.Rules{Include: []string{"lib"}, Exclude: []string{"lib/deep", "e.py"}}, "lib/b.py"},
		{"a list", publish.Rules{Only: []string{"./a.txt", "lib/b.py"}}, "a.txt lib/b.py"},
		{"a list, and less", publish.Rules{Only: []string{"a.txt", "lib/b.py"}, Exclude: []string{"*.txt"}}, "lib/b.py"},
	} {
		var b bytes.Buffer
		if _, err := publish.Preview(ctx, &b, &publish.Release{Tree: publish.Dir(from), Rules: c.rules, Head: manifest.Head{Version: "v1"}}); err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		name := filepath.Join(t.TempDir(), "m")
		os.WriteFile(name, b.Bytes(), 0o644)
		if paths, _ := listing(t, name); strings.Join(paths, " ") != c.want {
			t.Errorf("%s: %q", c.name, paths)
		}
	}
}

func TestChannels(t *testing.T) {
	from, out := t.TempDir(), t.TempDir()
	write(t, from, map[string]string{"a": "1"})
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	f := publish.Folder{Dir: out, Now: func() time.Time { return now }}
	releases := map[string]*publish.Published{}
	for _, v := range []string{"v1.0.0", "v1.1.0", "v1.2.0"} {
		p, err := f.Publish(ctx, &publish.Release{Tree: publish.Dir(from), Head: manifest.Head{Version: v, Product: "station"}})
		if err != nil {
			t.Fatal(err)
		}
		releases[v] = p
	}
	set := func(v string, o publish.Orders) (manifest.Channel, error) {
		_, after, err := f.SetChannel(ctx, releases[v], &o)
		if err != nil {
			return manifest.Channel{}, err
		}
		return *after, nil
	}
	o := publish.Orders{Name: "stable"}
	c, err := set("v1.1.0", o)
	want := manifest.Channel{Name: "stable", Sequence: 1, Release: "v1.1.0", Manifest: releases["v1.1.0"].Manifest, Product: "station", Rollout: 100, Time: now, Highest: "v1.1.0"}
	if err != nil || !reflect.DeepEqual(c, want) {
		t.Fatalf("%+v, %v", c, err)
	}
	// step sets it and demands what the file says then.
	step := func(title, version string, o publish.Orders, change func(*manifest.Channel)) {
		t.Helper()
		o.Name = "stable"
		c, err := set(version, o)
		want.Sequence++
		want.Release, want.Manifest = version, releases[version].Manifest
		change(&want)
		if err != nil || !reflect.DeepEqual(c, want) {
			t.Fatalf("%s:\n%+v, %v\n%+v", title, c, err, want)
		}
	}
	refuse := func(title, version string, code godwit.Code, o publish.Orders) {
		t.Helper()
		o.Name = "stable"
		before := every(t, out)["channel.json"]
		if _, err := set(version, o); godwit.CodeOf(err) != code || every(t, out)["channel.json"] != before {
			t.Errorf("%s: %v", title, err)
		}
	}
	later := now.Add(48 * time.Hour)
	step("a part", "v1.1.0", publish.Orders{Rollout: "25%", Floor: "v1.0.0", Window: "02:00-04:00", NotAfter: later}, func(c *manifest.Channel) {
		c.Rollout, c.Floor, c.FloorManifest, c.Window, c.NotAfter = 25, "v1.0.0", releases["v1.0.0"].Manifest, godwit.Window{From: 120, To: 240}, later
	})
	step("what is not given stays", "v1.1.0", publish.Orders{Waves: []string{"site=lab"}, Rollout: "50"}, func(c *manifest.Channel) {
		c.Rollout, c.Waves = 50, []godwit.Label{{Key: "site", Value: "lab"}}
	})
	step("another release begins anew, but for when and by what way", "v1.2.0", publish.Orders{}, func(c *manifest.Channel) { c.Rollout, c.Waves, c.Highest = 100, nil, "v1.2.0" })
	step("waves only", "v1.2.0", publish.Orders{Waves: []string{"site=lab"}}, func(c *manifest.Channel) {
		c.Rollout, c.Waves = 0, []godwit.Label{{Key: "site", Value: "lab"}}
	})
	step("values go", "v1.2.0", publish.Orders{Waves: []string{"none"}, Window: "none", Floor: "none", Forever: true}, func(c *manifest.Channel) {
		c.Rollout, c.Waves, c.Window, c.Floor, c.FloorManifest, c.NotAfter = 100, nil, godwit.Window{}, "", "", time.Time{}
	})
	step("halted", "v1.2.0", publish.Orders{Halt: "loud"}, func(c *manifest.Channel) { c.Halt = "loud" })
	step("and on", "v1.2.0", publish.Orders{}, func(c *manifest.Channel) { c.Halt = "" })
	step("0 %", "v1.2.0", publish.Orders{Rollout: "0%"}, func(c *manifest.Channel) { c.Rollout, c.Halt = 0, manifest.HaltZero })
	refuse("a number that was there", "v1.2.0", godwit.CodeUsage, publish.Orders{Number: 9})
	step("a number far ahead", "v1.2.0", publish.Orders{Number: 42}, func(c *manifest.Channel) { c.Sequence = 42 })
	step("100 %", "v1.2.0", publish.Orders{Rollout: "100%"}, func(c *manifest.Channel) { c.Rollout, c.Halt = 100, "" })
	refuse("back", "v1.0.0", godwit.CodeRefused, publish.Orders{})
	step("back, said so", "v1.0.0", publish.Orders{Back: true, Rollout: "10%"}, func(c *manifest.Channel) { c.RollbackTo, c.Rollout = "v1.0.0", 10 })
	step("back, for all", "v1.0.0", publish.Orders{Back: true, Rollout: "100%"}, func(c *manifest.Channel) { c.Rollout = 100 })
	step("back stays", "v1.0.0", publish.Orders{Window: "01:00-02:00"}, func(c *manifest.Channel) { c.Window = godwit.Window{From: 60, To: 120} })
	refuse("higher than now, lower than what some have", "v1.1.0", godwit.CodeRefused, publish.Orders{})
	step("higher than all", "v1.2.0", publish.Orders{Window: "none"}, func(c *manifest.Channel) { c.RollbackTo, c.Window = "", godwit.Window{} })
	refuse("a floor that is not there", "v1.2.0", godwit.CodeUsage, publish.Orders{Floor: "v0.9.0"})
	refuse("a floor above it", "v1.0.0", godwit.CodeRefused, publish.Orders{Floor: "v1.1.0", Back: true})
	sign := func(context.Context, []byte) ([]byte, error) { return []byte("signed\n"), nil }
	refuse("a release without a signature", "v1.2.0", godwit.CodeRefused, publish.Orders{Sign: sign})
	for version, head := range map[string]manifest.Head{
		"v2.0.0": {Version: "v2.0.0", Product: "sonde"}, "v2.0.1": {Version: "v2.0.1", Product: "station", NotAfter: now}, "v2.0.2": {Version: "v2.0.2", Product: "station"},
	} {
		releases[version], err = f.Publish(ctx, &publish.Release{Tree: publish.Dir(from), Head: head, Sign: sign})
		if err != nil {
			t.Fatal(err)
		}
	}
	refuse("a floor of another product", "v2.0.2", godwit.CodeRefused, publish.Orders{Floor: "v2.0.0"})
	refuse("a floor that expired", "v2.0.2", godwit.CodeRefused, publish.Orders{Floor: "v2.0.1"})
	refuse("a floor without a signature", "v2.0.2", godwit.CodeRefused, publish.Orders{Floor: "v1.1.0", Sign: sign})
	refuse("a release that expired", "v2.0.1", godwit.CodeRefused, publish.Orders{})
	refuse("over already", "v1.2.0", godwit.CodeRefused, publish.Orders{NotAfter: now})
	refuse("101 %", "v1.2.0", godwit.CodeUsage, publish.Orders{Rollout: "101%"})
	refuse("no label", "v1.2.0", godwit.CodeUsage, publish.Orders{Waves: []string{"lab"}})
	refuse("no hours", "v1.2.0", godwit.CodeUsage, publish.Orders{Window: "2-4"})

	o.Key = []byte("secret")
	if c, err = set("v1.2.0", o); err != nil {
		t.Errorf("%+v, %v", c, err)
	}
	b := []byte(every(t, out)["channel.json"])
	if err := manifest.CheckHMAC(bytes.NewReader(b), int64(len(b)), o.Key); err != nil {
		t.Error(err)
	}
	o.Name = "beta"
	if c, err = set("v1.0.0", o); err != nil || c.Sequence != 1 || every(t, out)["channel-beta.json"] == "" {
		t.Errorf("%+v, %v", c, err)
	}
	now = now.Add(-time.Hour)
	_, err = set("v1.1.0", o)
	wantCode(t, err, godwit.CodeRefused)
	for _, name := range []string{"", "a/b", "..", ".x"} {
		o.Name = name
		_, err = set("v1.1.0", o)
		wantCode(t, err, godwit.CodeUsage)
	}
}
