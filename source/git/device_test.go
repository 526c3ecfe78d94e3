package git

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"maps"
	"math/rand"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/internal/githost"
	"github.com/godwit-ota/godwit/source/git/wire"
	"github.com/godwit-ota/godwit/vfs"
)

// A world is a repository, its host, and a device that follows it.
type world struct {
	t    *testing.T
	repo *githost.Repo
	host *githost.Host
	cfg  Config
	device
}

// device is what a device holds: contents by digest, and the tree it runs.
type device struct {
	contents map[godwit.Digest][]byte
	fail     func(size int64) error // of Create, if set
	tree     map[string]godwit.Entry
	have     []string // commits, the running one first
	created  int64
	openings int
}

func (d *device) Has(id godwit.Digest) bool { _, ok := d.contents[id]; return ok }

type content struct{ *bytes.Reader }

func (content) Close() error { return nil }

func (d *device) Open(id godwit.Digest) (godwit.Object, error) {
	d.openings++
	b, ok := d.contents[id]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return content{bytes.NewReader(b)}, nil
}

func (d *device) Create(size int64) (godwit.NewObject, error) {
	if d.fail != nil {
		if err := d.fail(size); err != nil {
			return nil, err
		}
	}
	d.created += size
	return &newContent{d: d, size: size}, nil
}

type newContent struct {
	d    *device
	size int64
	b    []byte
}

func (n *newContent) Write(p []byte) (int, error) { n.b = append(n.b, p...); return len(p), nil }
func (n *newContent) ReadAt(p []byte, off int64) (int, error) {
	return bytes.NewReader(n.b).ReadAt(p, off)
}
func (n *newContent) Abort() {}
func (n *newContent) Commit(id godwit.Digest) error {
	if int64(len(n.b)) != n.size {
		return fmt.Errorf("content of %d bytes was announced with %d", len(n.b), n.size)
	}
	h := id.Algorithm.New(n.size)
	h.Write(n.b)
	if godwit.MakeDigest(id.Algorithm, h.Sum(nil)) != id {
		return fmt.Errorf("content is not %s", id)
	}
	n.d.contents[id] = n.b
	return nil
}

type worldOptions struct {
	format string
	host   githost.Config
	path   bool // follow it by its path instead of http
}

func (o worldOptions) name() string {
	n := "http"
	switch {
	case o.path:
		n = "path"
	case o.host.NoFilter:
		n = "http without filter"
	case o.host.Version0:
		n = "http version 0"
	}
	return strings.TrimSpace(n + " " + o.format)
}

func newWorld(t *testing.T, o worldOptions) *world {
	t.Helper()
	if o.format == "" {
		o.format = "sha1"
	}
	root := t.TempDir()
	repo, err := githost.InitRepo(filepath.Join(root, "r.git"), o.format)
	if err != nil {
		t.Fatal(err)
	}
	o.host.Root = root
	host, err := githost.Start(o.host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { host.Close() })
	state, err := vfs.OS(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { state.Close() })
	w := &world{t: t, repo: repo, host: host}
	if err := vfs.MkdirAll(state, ".godwit/git"); err != nil { // the store's business
		t.Fatal(err)
	}
	w.cfg = Config{State: state, Folder: ".godwit/git", Branch: "main",
		Remote: wire.Config{URL: host.URL("r.git"), Attempts: 1, IdleTimeout: 5 * time.Second}}
	if o.path {
		w.cfg.Remote.URL = repo.Dir
	}
	// The store makes the folder.
	if err := vfs.MkdirAll(state, w.cfg.Folder); err != nil {
		t.Fatal(err)
	}
	w.contents = make(map[godwit.Digest][]byte)
	return w
}

func (w *world) commit(changes map[string]githost.Change) string {
	w.t.Helper()
	id, err := w.repo.Commit("main", "a change", changes)
	if err != nil {
		w.t.Fatal(err)
	}
	return id
}

func (w *world) source() *Source {
	w.t.Helper()
	s, err := New(w.cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// tryUpdate does what the engine does, with a new Source as after a restart.
func (w *world) tryUpdate() (godwit.Described, error) {
	w.t.Helper()
	ctx := context.Background()
	s := w.source()
	defer s.Close()
	tip, err := s.Tip(ctx)
	if err != nil {
		return godwit.Described{}, err
	}
	rel, err := s.Release(ctx, tip)
	if err != nil {
		return godwit.Described{}, err
	}
	d, err := s.Describe(ctx, godwit.Verified{Release: rel}, w.have)
	if err != nil {
		return d, err
	}
	return d, w.install(s, d)
}

// install fetches what the device lacks of the release, and then runs it.
func (w *world) install(s *Source, rel godwit.Described) error {
	permits := func(p string) bool { return w.cfg.Filter == nil || w.cfg.Filter(p) }
	want := godwit.Listing(func(yield func(godwit.Entry, error) bool) {
		for e, err := range rel.Listing {
			if (err != nil || permits(e.Path) && !w.Has(e.Digest)) && !yield(e, err) {
				return
			}
		}
	})
	// The engine hands over a listing that does not change while it is read.
	var fixed []godwit.Entry
	for e, err := range want {
		if err != nil {
			return err
		}
		fixed = append(fixed, e)
	}
	rel.Installed = func(yield func(godwit.Entry, error) bool) {
		for _, path := range slices.Sorted(maps.Keys(w.tree)) {
			if !yield(w.tree[path], nil) {
				return
			}
		}
	}
	if len(fixed) > 0 {
		err := s.Fetch(context.Background(), rel, func(yield func(godwit.Entry, error) bool) {
			for _, e := range fixed {
				if !yield(e, nil) {
					return
				}
			}
		}, &w.device)
		if err != nil {
			return err
		}
	}
	tree := make(map[string]godwit.Entry)
	for e, err := range rel.Listing {
		if err != nil {
			return err
		}
		if permits(e.Path) {
			if !w.Has(e.Digest) {
				return fmt.Errorf("%s did not come", e.Path)
			}
			tree[e.Path] = e
		}
	}
	// Keep what this and the last version hold.
	keep := make(map[godwit.Digest][]byte)
	for _, t := range []map[string]godwit.Entry{tree, w.tree} {
		for _, e := range t {
			keep[e.Digest] = w.contents[e.Digest]
		}
	}
	w.contents, w.tree = keep, tree
	w.have = append([]string{rel.Commit}, w.have[:min(1, len(w.have))]...)
	return nil
}

func (w *world) update() godwit.Described {
	w.t.Helper()
	rel, err := w.tryUpdate()
	if err != nil {
		w.t.Fatalf("%v (%s)", err, godwit.CodeOf(err))
	}
	w.check(rel.Commit)
	return rel
}

// check compares the device's tree with what git says the commit holds.
func (w *world) check(commit string) {
	w.t.Helper()
	dir := filepath.Join(w.t.TempDir(), "tree")
	if err := w.repo.Export(commit, dir); err != nil {
		w.t.Fatal(err)
	}
	seen := 0
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, _ := filepath.Rel(dir, name)
		if w.cfg.Filter != nil && !w.cfg.Filter(rel) {
			return nil
		}
		seen++
		e, ok := w.tree[rel]
		if !ok {
			w.t.Errorf("%s is not in the device's tree", rel)
			return nil
		}
		var b []byte
		mode := godwit.File
		info, err := d.Info()
		switch {
		case err != nil:
			return err
		case d.Type()&fs.ModeSymlink != 0:
			mode = godwit.Symlink
			target, _ := os.Readlink(name)
			b = []byte(target)
		default:
			if info.Mode()&0o100 != 0 {
				mode = godwit.Executable
			}
			if b, err = os.ReadFile(name); err != nil {
				return err
			}
		}
		if e.Mode != mode || !bytes.Equal(w.contents[e.Digest], b) {
			w.t.Errorf("%s: the device has a %s of %d bytes, git a %s of %d", rel, e.Mode, len(w.contents[e.Digest]), mode, len(b))
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	if seen != len(w.tree) {
		w.t.Errorf("the device has %d files, git %d", len(w.tree), seen)
	}
}

// traffic runs fn and gives the bytes that the host sent and the requests.
func (w *world) traffic(fn func()) (bytes, requests int64) {
	b, _ := w.host.Traffic()
	r := w.host.Requests()
	fn()
	after, _ := w.host.Traffic()
	return after - b, w.host.Requests() - r
}

// bigTree makes changes that fill a tree: n files in folders, some large.
func bigTree(n int, seed int64) map[string]githost.Change {
	rnd := rand.New(rand.NewSource(seed))
	c := map[string]githost.Change{
		"empty":         githost.Text(""),
		"run.sh":        githost.Exec("#!/bin/sh\necho\n"),
		"link":          {Mode: "120000", Content: []byte("dir1/file1")},
		"same/a":        githost.Text("the same content\n"),
		"same/b":        githost.Text("the same content\n"),
		"a/b/c/d/e/f/g": githost.Text("deep\n"),
	}
	for i := range n {
		var b strings.Builder
		for range 5 + rnd.Intn(60) {
			fmt.Fprintf(&b, "%x %d\n", rnd.Int63(), i)
		}
		c[fmt.Sprintf("dir%d/sub%d/file%d", i%11, i%3, i)] = githost.Text(b.String())
	}
	large := make([]byte, 60<<10)
	rnd.Read(large)
	c["large.bin"] = githost.Change{Content: large}
	return c
}

// cutAfter makes a host break off answers after n bytes of their bodies; n may
// change, and a negative n lets all pass.
func cutAfter(n *int64) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if *n < 0 || r.Method != http.MethodPost && !strings.Contains(r.URL.Path, "/raw/") {
				next.ServeHTTP(w, r)
				return
			}
			next.ServeHTTP(&cutWriter{w, *n}, r)
		})
	}
}

type cutWriter struct {
	http.ResponseWriter
	left int64
}

func (c *cutWriter) Write(p []byte) (int, error) {
	if int64(len(p)) > c.left {
		c.ResponseWriter.Write(p[:c.left])
		c.ResponseWriter.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	c.left -= int64(len(p))
	return c.ResponseWriter.Write(p)
}
