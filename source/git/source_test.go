package git

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/internal/githost"
	"github.com/godwit-ota/godwit/internal/githost/nethttp"
	"github.com/godwit-ota/godwit/vfs"
)

// The same story on every kind of host: install, change everything that can
// change, go back, and find nothing new.
func TestUpdates(t *testing.T) {
	for name, o := range map[string]worldOptions{
		"http":                  {},
		"http without filter":   {host: githost.Config{NoFilter: true}},
		"http version 0":        {host: githost.Config{Version0: true}},
		"version 0, any wanted": {host: githost.Config{Version0: true, Config: map[string]string{"uploadpack.allowAnySHA1InWant": "true"}}},
		"sha256":                {format: "sha256"},
		"no filter by type":     {host: githost.Config{Config: map[string]string{"uploadpackfilter.object:type.allow": "false"}}},
		"path":                  {path: true},
		"path sha256":           {path: true, format: "sha256"},
	} {
		for _, filter := range []func(string) bool{nil, func(p string) bool { return !strings.HasPrefix(p, "dir1/") && p != "large.bin" }} {
			if filter != nil && strings.HasPrefix(name, "path") || filter == nil && name == "no filter by type" {
				continue // the same requests as over http, or none
			}
			t.Run(fmt.Sprint(name, " filter ", filter != nil), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, o)
				w.cfg.Filter = filter
				first := w.commit(bigTree(60, 1))
				rel := w.update()
				if rel.Ref != "refs/heads/main" || rel.Version != "main" || rel.Time.Unix() != 1700000000 || rel.ID() != first {
					t.Errorf("%+v", rel)
				}
				second := w.commit(map[string]githost.Change{
					"empty":           githost.Text("not empty\n"),
					"run.sh":          githost.Text("#!/bin/sh\necho\n"), // loses its exec bit
					"link":            {Mode: "120000", Content: []byte("dir2")},
					"same/b":          githost.Exec("the same content\n"),
					"a/b":             githost.Text("a folder becomes a file\n"),
					"dir1/sub1/file1": githost.Text("changed\n"),
					"dir2/sub2/file2": githost.Text("changed too\n"),
					"dir3":            githost.Remove(),
					"new/folder/file": githost.Text("new\n"),
					"large.bin":       {Content: []byte("small now")},
					"dir4/renamed":    bigTree(60, 1)["dir5/sub1/file16"],
				})
				w.update()
				if _, err := w.repo.Git("update-ref", "refs/heads/main", first); err != nil {
					t.Fatal(err)
				}
				w.update()
				if _, err := w.repo.Git("update-ref", "refs/heads/main", second); err != nil {
					t.Fatal(err)
				}
				// Nothing but the one request of the poll: all is here.
				_, requests := w.traffic(func() { w.update() })
				if requests > 1 && !o.host.Version0 {
					t.Errorf("%d requests for a release that is here", requests)
				}
				if name != "http" || filter != nil {
					return // the cache is the same for all hosts
				}
				for i := range maxSegments {
					w.commit(map[string]githost.Change{fmt.Sprint("dir", i, "/more"): githost.Text(fmt.Sprint(i))})
					w.update()
				}
				if list, _ := filepath.Glob(filepath.Join(stateDir(w), "objects-*")); len(list) > maxSegments+1 {
					t.Errorf("%d segments", len(list))
				}
				if list, _ := filepath.Glob(filepath.Join(stateDir(w), "pack-*")); len(list) > 0 {
					t.Errorf("packs are left: %s", list)
				}
			})
		}
	}
}

func stateDir(w *world) string {
	return filepath.Join(w.cfg.State.(interface{ Dir() string }).Dir(), w.cfg.Folder)
}

// A poll that finds nothing new is one request.
func TestPoll(t *testing.T) {
	w := newWorld(t, worldOptions{})
	w.commit(bigTree(10, 1))
	w.update()
	bytes, requests := w.traffic(func() {
		s := w.source()
		defer s.Close()
		if _, err := s.Tip(context.Background()); err != nil {
			t.Fatal(err)
		}
	})
	if requests != 1 || bytes > 1000 {
		t.Errorf("%d requests, %d bytes", requests, bytes)
	}
}

func TestRefs(t *testing.T) {
	w := newWorld(t, worldOptions{})
	tip := func(branch, tag, channel string) (godwit.Tip, error) {
		w.cfg.Branch, w.cfg.Tag, w.cfg.Channel = branch, tag, channel
		s := w.source()
		defer s.Close()
		return s.Tip(context.Background())
	}
	for _, which := range [][3]string{{"main"}, {"", "v1"}, {"", "", "stable"}, {}} {
		_, err := tip(which[0], which[1], which[2])
		if godwit.CodeOf(err) != godwit.CodeNoRef || !strings.Contains(err.Error(), "empty") {
			t.Errorf("%q in an empty repository: %v", which, err)
		}
	}
	one := w.commit(map[string]githost.Change{"a": githost.Text("1")})
	two := w.commit(map[string]githost.Change{"a": githost.Text("2")})
	if _, err := tip("", "", "stable"); godwit.CodeOf(err) != godwit.CodeNoRef || !strings.Contains(err.Error(), "no tag that is a version") {
		t.Errorf("stable without tags: %v", err)
	}
	for _, v := range []string{"v1.2.0", "v1.10.0", "v1.9.9", "v2.0.0-rc.1", "vendor", "v3", "1.2.3.4"} {
		if _, err := w.repo.Tag(v, one, v); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.repo.Git("tag", "light", two); err != nil {
		t.Fatal(err)
	}
	w.repo.Git("update-ref", "refs/heads/mainly", one)
	object, err := w.repo.Git("rev-parse", "v1.10.0")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		branch, tag, channel string
		want                 godwit.Tip
	}{
		{"main", "", "", godwit.Tip{Ref: "refs/heads/main", Commit: two}},
		{"refs/heads/mainly", "", "", godwit.Tip{Ref: "refs/heads/mainly", Commit: one}},
		{"", "light", "", godwit.Tip{Ref: "refs/tags/light", Commit: two}},
		{"", "v1.10.0", "", godwit.Tip{Ref: "refs/tags/v1.10.0", Commit: one, Tag: object}},
		{"", "", "stable", godwit.Tip{Ref: "refs/tags/v1.10.0", Commit: one, Tag: object}},
		{"", "", "", godwit.Tip{Ref: "refs/heads/main", Commit: two}},
	} {
		if got, err := tip(tt.branch, tt.tag, tt.channel); err != nil || got != tt.want {
			t.Errorf("%q %q %q: %+v, %v", tt.branch, tt.tag, tt.channel, got, err)
		}
	}
	for _, which := range [][2]string{{"mai"}, {"", "v1.10"}} {
		_, err := tip(which[0], which[1], "")
		if godwit.CodeOf(err) != godwit.CodeNoRef {
			t.Errorf("%q: %v", which, err)
		}
	}
	w.cfg.Branch, w.cfg.Tag = "main", "v1"
	if _, err := New(w.cfg); godwit.CodeOf(err) != godwit.CodeConfig {
		t.Errorf("branch and tag: %v", err)
	}
	w.cfg.Branch, w.cfg.Tag, w.cfg.Channel = "", "", "nightly"
	if _, err := New(w.cfg); godwit.CodeOf(err) != godwit.CodeConfig {
		t.Errorf("unknown channel: %v", err)
	}
}

// statement is the tag object that Release brings for what the device follows.
func (w *world) statement() string {
	w.t.Helper()
	s := w.source()
	defer s.Close()
	tip, err := s.Tip(context.Background())
	if err != nil {
		w.t.Fatal(err)
	}
	rel, err := s.Release(context.Background(), tip)
	if err != nil || rel.Statement.Form != godwit.TagStatement {
		w.t.Fatalf("%+v, %v", rel, err)
	}
	b := make([]byte, rel.Statement.Size)
	if _, err := rel.Statement.Body.ReadAt(b, 0); err != nil && err != io.EOF {
		w.t.Fatal(err)
	}
	return string(b)
}

// The tag object comes alone, before anything else, also one that names a tag.
func TestStatement(t *testing.T) {
	for _, o := range []worldOptions{{}, {host: githost.Config{NoFilter: true}}, {host: githost.Config{Version0: true}}} {
		t.Run(o.name(), func(t *testing.T) {
			w := newWorld(t, o)
			commit := w.commit(bigTree(50, 1))
			if _, err := w.repo.Tag("v1.0.0", commit, "the first"); err != nil {
				t.Fatal(err)
			}
			if _, err := w.repo.Git("tag", "--annotate", "-m", "outer", "v1.0.1", "v1.0.0"); err != nil {
				t.Fatal(err)
			}
			w.cfg.Branch, w.cfg.Signed = "", true
			for _, tag := range []string{"v1.0.0", "v1.0.1"} {
				w.cfg.Tag = tag
				want, err := w.repo.Git("cat-file", "tag", tag)
				if err != nil {
					t.Fatal(err)
				}
				var got string
				bytes, _ := w.traffic(func() { got = w.statement() })
				if got != want+"\n" || bytes > 3000 && !o.host.NoFilter && !o.host.Version0 {
					t.Errorf("%q after %d bytes", got, bytes)
				}
				if again, _ := w.traffic(func() { got = w.statement() }); got != want+"\n" || again > 1500 {
					t.Errorf("once more: %q after %d bytes", got, again)
				}
				if d := w.update(); d.Commit != commit || d.Time.IsZero() {
					t.Errorf("%+v", d)
				}
			}
		})
	}
}

// A channel is one ref: once it was seen, nothing else is asked for.
func TestChannel(t *testing.T) {
	w := newWorld(t, worldOptions{})
	commit := w.commit(bigTree(5, 1))
	for i := range 200 {
		if _, err := w.repo.Tag(fmt.Sprintf("v1.%d.0", i), commit, "release"); err != nil {
			t.Fatal(err)
		}
	}
	w.repo.Git("tag", "v2.0.0", commit)
	w.cfg.Branch, w.cfg.Channel, w.cfg.Signed = "", "stable", true
	ctx := context.Background()
	ask := func() (tip godwit.Tip) {
		s := w.source()
		defer s.Close()
		tip, err := s.Tip(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return tip
	}
	if tip := ask(); tip.Ref != "refs/tags/v1.199.0" || tip.Channel != "" {
		t.Errorf("without a channel: %+v", tip)
	}
	if _, err := w.repo.Tag("channel/stable", commit, "Release: v1.7.0"); err != nil {
		t.Fatal(err)
	}
	first, _ := w.traffic(func() {
		if tip := ask(); tip.Ref != "refs/tags/channel/stable" || tip.Channel == "" || tip.Channel != tip.Tag || tip.Commit != commit {
			t.Errorf("with a channel: %+v", tip)
		}
	})
	then, requests := w.traffic(func() { ask() })
	if then > 1000 || then > first/5 || requests > 1 {
		t.Errorf("the second time: %d bytes in %d requests; the first time %d", then, requests, first)
	}
	s := w.source()
	defer s.Close()
	tip, err := s.Named(ctx, "v1.7.0", "")
	if err != nil || tip.Ref != "refs/tags/v1.7.0" || tip.Commit != commit || tip.Channel != "" {
		t.Errorf("%+v, %v", tip, err)
	}
	if _, err := s.Named(ctx, "v3.0.0", ""); godwit.CodeOf(err) != godwit.CodeNoRef {
		t.Errorf("a release that is not there: %v", err)
	}
	st, err := s.Channel(ctx, ask())
	if err != nil || st.Form != godwit.TagStatement {
		t.Errorf("%+v, %v", st, err)
	}
	w.repo.Git("update-ref", "-d", "refs/tags/channel/stable")
	if tip := ask(); tip.Ref != "refs/tags/v1.199.0" {
		t.Errorf("a channel that is gone: %+v", tip)
	}
	w.cfg.Channel = "beta"
	if _, err := w.source().Tip(ctx); godwit.CodeOf(err) != godwit.CodeNoRef {
		t.Errorf("a channel that never was: %v", err)
	}
}

// Tags, also one that names a tag.
func TestTags(t *testing.T) {
	w := newWorld(t, worldOptions{})
	commit := w.commit(bigTree(5, 1))
	if _, err := w.repo.Tag("v1.0.0", commit, "the first"); err != nil {
		t.Fatal(err)
	}
	w.cfg.Branch, w.cfg.Tag = "", "v1.0.0"
	rel := w.update()
	if rel.Commit != commit || rel.Version != "v1.0.0" {
		t.Errorf("%+v", rel)
	}
	// The same commit under another tag costs the tag alone.
	if _, err := w.repo.Git("tag", "--annotate", "-m", "outer", "v1.0.1", "v1.0.0"); err != nil {
		t.Fatal(err)
	}
	w.cfg.Tag = "v1.0.1"
	bytes, _ := w.traffic(func() { rel = w.update() })
	if rel.Commit != commit || bytes > 4000 {
		t.Errorf("%+v after %d bytes", rel, bytes)
	}
	// A tag of something that is no commit.
	blob, err := w.repo.Git("rev-parse", "v1.0.0:empty")
	if err != nil {
		t.Fatal(err)
	}
	w.repo.Tag("v2", blob, "a blob")
	w.cfg.Tag = "v2"
	if _, err := w.tryUpdate(); godwit.CodeOf(err) != godwit.CodeBadObject && godwit.CodeOf(err) != godwit.CodeMissingObject {
		t.Errorf("a tag of a blob: %v", err)
	}
}

// History that was rewritten, with and without the old commit on the server.
func TestRewrittenHistory(t *testing.T) {
	for _, gone := range []bool{false, true} {
		for _, o := range []worldOptions{{}, {host: githost.Config{NoFilter: true}}, {host: githost.Config{Version0: true}}} {
			t.Run(fmt.Sprintf("gone %v %s", gone, o.name()), func(t *testing.T) {
				w := newWorld(t, o)
				tree := bigTree(300, 1)
				w.commit(tree)
				whole, _ := w.traffic(func() { w.update() })
				if _, err := w.repo.Git("update-ref", "-d", "refs/heads/main"); err != nil {
					t.Fatal(err)
				}
				if gone {
					if _, err := w.repo.Git("gc", "--quiet", "--prune=now"); err != nil {
						t.Fatal(err)
					}
				}
				tree = maps.Clone(tree)
				tree["dir1/sub1/file1"] = githost.Text("rewritten\n")
				w.commit(tree)
				bytes, _ := w.traffic(func() { w.update() })
				t.Logf("install %d bytes, rewritten %d", whole, bytes)
				if bytes > whole/10 && !(gone && (o.host.Version0 || o.host.NoFilter)) {
					t.Errorf("%d bytes, the first install was %d", bytes, whole)
				}
			})
		}
	}
}

// What the server takes for installed and is not: drifted files, a wider
// filter, a lost cache.
func TestWhatIsNotThere(t *testing.T) {
	for _, o := range []worldOptions{{}, {host: githost.Config{NoFilter: true}}, {host: githost.Config{Version0: true}}, {format: "sha256", path: true}} {
		t.Run(o.name(), func(t *testing.T) {
			w := newWorld(t, o)
			w.commit(bigTree(150, 1))
			w.cfg.Filter = func(p string) bool { return strings.HasPrefix(p, "dir1/") }
			w.update()

			w.commit(map[string]githost.Change{"dir2/sub2/file2": githost.Text("two\n")})
			w.cfg.Filter = func(p string) bool { return !strings.HasPrefix(p, "dir5/") }
			w.update() // wider

			w.cfg.Filter = nil
			w.commit(map[string]githost.Change{"dir2/sub2/file2": githost.Text("three\n"), "large.bin": githost.Text("x")})
			// Half of what is installed has drifted, among it bases of deltas.
			n := 0
			for d := range w.contents {
				if n++; n%2 == 0 {
					delete(w.contents, d)
				}
			}
			w.update()

			// Repair: the same release again, with some of it gone.
			for _, p := range []string{"dir1/sub1/file1", "large.bin", "empty", "dir2/sub2/file2"} {
				delete(w.contents, w.tree[p].Digest)
			}
			w.update()

			// The cache is gone, or damaged in every file.
			if err := vfs.RemoveAll(w.cfg.State, w.cfg.Folder); err != nil {
				t.Fatal(err)
			}
			w.commit(map[string]githost.Change{"dir2/sub2/file2": githost.Text("four\n")})
			w.update()
			list, _ := filepath.Glob(filepath.Join(stateDir(w), "objects-*"))
			if len(list) == 0 {
				t.Fatal("no segments")
			}
			for _, name := range list {
				b, err := os.ReadFile(name)
				if err != nil {
					t.Fatal(err)
				}
				b[len(b)/2] ^= 1
				if err := os.WriteFile(name, b, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			w.commit(map[string]githost.Change{"dir2/sub2/file2": githost.Text("five\n")})
			w.update()
		})
	}
}

// TestOneConnection: all requests of a signed update go over one connection. On a
// slow link each more costs as much as a small update.
func TestOneConnection(t *testing.T) {
	var mu sync.Mutex
	from := map[string]bool{}
	w := newWorld(t, worldOptions{host: githost.Config{Wrap: nethttp.Wrap(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			mu.Lock()
			from[r.RemoteAddr] = true
			mu.Unlock()
			next.ServeHTTP(rw, r)
		})
	})}})
	w.cfg.Branch, w.cfg.Channel, w.cfg.Signed = "", "stable", true
	for i, v := range []string{"v1.0.0", "v1.1.0"} {
		commit := w.commit(bigTree(10, int64(i)))
		if _, err := w.repo.Tag(v, commit, v); err != nil {
			t.Fatal(err)
		}
		clear(from)
		if _, requests := w.traffic(func() { w.update() }); requests < 3 || len(from) != 1 {
			t.Errorf("%s: %d requests over %d connections", v, requests, len(from))
		}
	}
}
