package engine_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/engine"
	"github.com/godwit-ota/godwit/gate"
	"github.com/godwit-ota/godwit/internal/githost"
	"github.com/godwit-ota/godwit/plan"
	"github.com/godwit-ota/godwit/source/git"
	"github.com/godwit-ota/godwit/source/git/wire"
	"github.com/godwit-ota/godwit/store"
	"github.com/godwit-ota/godwit/trust"
	"github.com/godwit-ota/godwit/vfs"
)

// A fleet is one device that trusts alice (and bob), and the repository that it
// follows.
type fleet struct {
	t      *testing.T
	dir    string
	repo   *githost.Repo
	host   *githost.Host
	fs     *vfs.OSFS
	layout store.Layout
	now    time.Time // on all clocks
	trust  trust.Config
	device gate.Device
	follow git.Config
	rules  plan.Rules
}

func newFleet(t *testing.T, layout store.Layout, cfg githost.Config) *fleet {
	t.Helper()
	for _, p := range []string{"git", "ssh-keygen"} {
		if _, err := exec.LookPath(p); err != nil {
			t.Skip(p + " is not installed (apt install git openssh-client)")
		}
	}
	f := &fleet{t: t, dir: t.TempDir(), layout: layout, now: time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC), device: gate.Device{ID: "device-1"}}
	var err error
	if f.repo, err = githost.InitRepo(filepath.Join(f.dir, "repo.git"), "sha1"); err != nil {
		t.Fatal(err)
	}
	cfg.Root = f.dir
	if f.host, err = githost.Start(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.host.Close() })
	for _, who := range []string{"alice", "bob", "mallory"} {
		f.must(exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", who, "-f", filepath.Join(f.dir, who)).Run())
	}
	f.allow("allowed_signers", "alice", "bob")
	root := filepath.Join(f.dir, "device")
	f.must(os.Mkdir(root, 0o755))
	if f.fs, err = vfs.OS(root); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.fs.Close() })
	f.trust = trust.Config{Mode: trust.Signed, Product: "station", Channel: "stable", Allowed: func() (io.ReadCloser, error) { return os.Open(filepath.Join(f.dir, "allowed_signers")) }}
	f.follow = git.Config{Channel: "stable"}
	return f
}

func (f *fleet) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *fleet) git(args ...string) string {
	f.t.Helper()
	out, err := f.repo.Git(args...)
	f.must(err)
	return out
}

// signers is the text of a list that allows people.
func (f *fleet) signers(people ...string) string {
	f.t.Helper()
	text := ""
	for _, p := range people {
		b, err := os.ReadFile(filepath.Join(f.dir, p+".pub"))
		f.must(err)
		text += p + " " + string(b)
	}
	return text
}

func (f *fleet) allow(file string, people ...string) {
	f.t.Helper()
	f.must(os.WriteFile(filepath.Join(f.dir, file), []byte(f.signers(people...)), 0o644))
}

// commit makes the version of a program, and returns its commit.
func (f *fleet) commit(text string, more ...map[string]githost.Change) string {
	f.t.Helper()
	changes := map[string]githost.Change{"main.py": githost.Text(text), "lib/a.py": githost.Text("a\n")}
	for _, m := range more {
		for k, v := range m {
			changes[k] = v
		}
	}
	id, err := f.repo.Commit("main", text, changes)
	f.must(err)
	return id
}

// tag signs a tag, as git does, and later ones a second later.
func (f *fleet) tag(who, name, commit, trailers string) string {
	f.t.Helper()
	f.now = f.now.Add(time.Second)
	text := fmt.Sprintf("object %s\ntype commit\ntag %s\ntagger %s <%s@example.org> %d +0000\n\n%s\n\n%s\n", commit, name, who, who, f.now.Unix(), name, trailers)
	return f.put(name, text+f.sign(who, text))
}

func (f *fleet) sign(who, text string) string {
	f.t.Helper()
	cmd := exec.Command("ssh-keygen", "-q", "-Y", "sign", "-n", "git", "-f", filepath.Join(f.dir, who))
	cmd.Stdin = strings.NewReader(text)
	sig, err := cmd.Output()
	f.must(err)
	return string(sig)
}

// put makes refs/tags/NAME a tag object of this text.
func (f *fleet) put(name, object string) string {
	f.t.Helper()
	id, err := f.repo.GitInput(strings.NewReader(object), "hash-object", "-t", "tag", "-w", "--stdin")
	f.must(err)
	f.git("update-ref", "refs/tags/"+name, id)
	return object
}

func (f *fleet) cosign(who, name, object string) {
	f.t.Helper()
	f.put(name, object+f.sign(who, object))
}

// release makes and signs a version in one go.
func (f *fleet) release(name string, more ...map[string]githost.Change) string {
	f.t.Helper()
	commit := f.commit(name, more...)
	f.tag("alice", name, commit, "Product: station")
	return commit
}

func (f *fleet) channel(n int, release, more string) {
	f.t.Helper()
	f.tag("alice", "channel/stable", f.git("rev-parse", release+"^{commit}"), fmt.Sprintf("Product: station\nSequence: %d\nRelease: %s\n%s", n, release, more))
}

// engine is a new process on the device.
func (f *fleet) engine() (*engine.Engine, func()) {
	f.t.Helper()
	s, err := store.Open(f.fs, store.Options{Layout: f.layout})
	f.must(err)
	src := f.follow
	src.Remote = wire.Config{URL: f.host.URL("repo.git")}
	src.State, src.Folder, src.Signed = f.fs, ".godwit/git", f.trust.Mode == trust.Signed
	source, err := git.New(src)
	f.must(err)
	c := f.trust
	clock := func() time.Time { return f.now }
	c.Now, c.Kept = clock, s.List
	g, err := trust.New(c)
	f.must(err)
	e := engine.New(engine.Config{Store: s, Source: source, Gate: g, Device: f.device, Rules: f.rules, Now: clock, Events: func(e godwit.Event) {
		if e.Level != godwit.Progress {
			f.t.Logf("%s: %s", e.Stage, e.Text)
		}
	}})
	return e, func() { source.Close() }
}

func (f *fleet) update(opt engine.UpdateOptions) (engine.Result, error) {
	f.t.Helper()
	e, done := f.engine()
	defer done()
	return e.Update(context.Background(), opt)
}

// takes updates, and wants the device to run a version after it.
func (f *fleet) takes(name string) {
	f.t.Helper()
	if _, err := f.update(engine.UpdateOptions{}); err != nil {
		f.t.Fatalf("%s: %v", name, err)
	}
	f.runs(name)
}

// refuses updates, and wants a code, one sentence, the old version, and nothing
// left of the new one.
func (f *fleet) refuses(want godwit.Code, still string) error {
	f.t.Helper()
	_, err := f.update(engine.UpdateOptions{})
	if godwit.CodeOf(err) != want {
		f.t.Errorf("%v: code %q, want %q", err, godwit.CodeOf(err), want)
	}
	if err != nil && strings.ContainsAny(err.Error(), "\n") {
		f.t.Errorf("more than a sentence: %q", err)
	}
	f.runs(still)
	f.nothingStaged()
	return err
}

func (f *fleet) nothingStaged() {
	f.t.Helper()
	m := f.memory()
	for _, dir := range []string{".godwit/stage", ".godwit/put", ".godwit/git", ".godwit/list"} {
		entries, err := os.ReadDir(filepath.Join(f.dir, "device", dir))
		if err != nil && !os.IsNotExist(err) {
			f.t.Error(err)
		}
		for _, e := range entries {
			name := e.Name()
			kept := dir == ".godwit/git" && !strings.HasPrefix(name, "pack-")
			if dir == ".godwit/list" { // of files and, with a digest's name, of keys
				digest := strings.Replace(strings.TrimSuffix(name, ".2"), "-sha1-", "-sha1:", 1)
				kept = !strings.Contains(digest, ":") || digest == m.Signers || digest == m.Revoked
			}
			if !kept {
				f.t.Errorf("%s/%s is left of a release that was refused", dir, e.Name())
			}
		}
	}
}

func (f *fleet) memory() godwit.Memory {
	f.t.Helper()
	s, err := store.Open(f.fs, store.Options{Layout: f.layout})
	f.must(err)
	return s.Record().Memory
}

// runs holds the tree and the record against the repository's own idea.
func (f *fleet) runs(name string) {
	f.t.Helper()
	s, err := store.Open(f.fs, store.Options{Layout: f.layout})
	f.must(err)
	if got := s.Record().Running.Name; got != name {
		f.t.Errorf("the device says that it runs %q, not %q", got, name)
	}
	if name == "" {
		return
	}
	tree := filepath.Join(f.dir, "device")
	if f.layout == store.Slots {
		tree = filepath.Join(tree, store.Current)
	}
	b, err := os.ReadFile(filepath.Join(tree, "main.py"))
	if err != nil || !strings.HasPrefix(string(b), s.Record().Running.Name) {
		f.t.Errorf("main.py is %q, %v", b, err)
	}
}

func layouts(t *testing.T, fn func(*testing.T, store.Layout)) {
	for _, l := range []store.Layout{store.Slots, store.InPlace} {
		t.Run(string(l), func(t *testing.T) { fn(t, l) })
	}
}
