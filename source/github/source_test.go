package github

import (
	"strings"
	"testing"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/source/github/fake"
)

var kinds = []string{GitHub, Gitea, GitLab}

// TestTree: a release without a manifest is the tree of its commit, with
// everything that a tree can hold.
func TestTree(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			w := newWorld(t, kind)
			w.commit(map[string]string{
				"run.sh": "#!/bin/sh\n", "link": "-> lib/a.py", "a.b": "1", "a/b": "2", "a0": "3", "a-": "4", "a/b.c/d": "5",
				"naïve file #1?.txt": "ü", "big": strings.Repeat("0123456789abcdef", 40_000),
			})
			w.git("tag", "v1.0.0")
			w.host.Publish(fake.Release{Tag: "v1.0.0"})
			d, err := w.update()
			if err != nil {
				t.Fatal(err)
			}
			if d.Ref != "refs/tags/v1.0.0" || d.Commit != w.git("rev-parse", "HEAD") || d.Version != "v1.0.0" || d.Time.IsZero() {
				t.Errorf("got %+v", d.Verified)
			}
			lines := w.tree(d.Listing)
			for i, l := range lines {
				if strings.HasPrefix(l, "file big") && len(l) > 640_000 {
					lines[i] = "file big"
				}
			}
			w.want(lines, []string{`file a- "4"`, `file a.b "1"`, `file a/b "2"`, `file a/b.c/d "5"`, `file a0 "3"`, "file big", `file lib/__init__.py ""`, `file lib/a.py "a = 1\n"`,
				`link link "lib/a.py"`, `file main.py "print('one')\n"`, `file naïve file #1?.txt "ü"`, `exec run.sh "#!/bin/sh\n"`})
			// The same again: nothing is fetched that is there.
			w.paths()
			if _, err := w.update(); err != nil {
				t.Fatal(err)
			}
			for _, p := range w.paths() {
				if strings.Contains(p, "raw") || strings.Contains(p, "tree") && kind != GitLab {
					t.Error("asked again: " + p)
				}
			}
		})
	}
}

// TestOnlyWhatChanged: the next release costs the files that it changed.
func TestOnlyWhatChanged(t *testing.T) {
	w := newWorld(t, GitHub)
	w.cfg.Channel, w.cfg.Branch = "", "main"
	if _, err := w.update(); err != nil {
		t.Fatal(err)
	}
	w.commit(map[string]string{"main.py": "print('two')\n", "lib/a.py": "-"})
	w.paths()
	d, err := w.update()
	if err != nil {
		t.Fatal(err)
	}
	w.want(w.tree(d.Listing), []string{`file lib/__init__.py ""`, `file main.py "print('two')\n"`})
	files := 0
	for _, p := range w.paths() {
		if strings.HasPrefix(p, "raw") {
			files++
		}
	}
	if files != 1 {
		t.Errorf("%d files were fetched", files)
	}
}

// TestFollowing: latest release, pinned tag, branch; annotated tags and plain
// ones; drafts and pre-releases do not count.
func TestFollowing(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			w := newWorld(t, kind)
			one := w.git("rev-parse", "HEAD")
			w.git("tag", "v1.0.0")
			w.git("tag", "-am", "two", "v1.1.0", w.commit(map[string]string{"main.py": "2"}))
			two := w.git("rev-parse", "HEAD")
			w.git("tag", "-am", "tag of a tag", "v1.1.1", "v1.1.0")
			three := w.commit(map[string]string{"main.py": "3"})
			w.git("tag", "v2.0.0-rc.1")
			w.git("branch", "feature/x")
			for _, r := range []fake.Release{{Tag: "v1.0.0"}, {Tag: "v1.1.0"}, {Tag: "v2.0.0-rc.1", Prerelease: true}} {
				w.host.Publish(r)
			}
			for _, c := range []struct {
				name                 string
				channel, branch, tag string
				ref, commit          string
				annotated            bool
			}{
				{"latest", stable, "", "", "refs/tags/v1.1.0", two, true},
				{"plain tag", "", "", "v1.0.0", "refs/tags/v1.0.0", one, false},
				{"full name", "", "", "refs/tags/v1.0.0", "refs/tags/v1.0.0", one, false},
				{"pre-release", "", "", "v2.0.0-rc.1", "refs/tags/v2.0.0-rc.1", three, false},
				{"nested tag", "", "", "v1.1.1", "refs/tags/v1.1.1", two, true},
				{"branch", "", "main", "", "refs/heads/main", three, false},
				{"branch with a slash", "", "feature/x", "", "refs/heads/feature/x", three, false},
			} {
				w.cfg.Channel, w.cfg.Branch, w.cfg.Tag = c.channel, c.branch, c.tag
				tip, err := w.tip()
				if err != nil {
					t.Fatal(c.name, err)
				}
				if tip.Ref != c.ref || tip.Commit != c.commit || tip.Channel != "" || (tip.Tag != "") != (c.annotated && kind != GitLab) {
					t.Errorf("%s: got %+v", c.name, tip)
				}
			}
		})
	}
}

// TestNothingToFollow: each absence has its words.
func TestNothingToFollow(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			w := newWorld(t, kind)
			w.git("tag", "v1.0.0")
			fails := func(code godwit.Code, text string) {
				t.Helper()
				_, err := w.tip()
				wantCode(t, err, code)
				if !strings.Contains(err.Error(), text) {
					t.Errorf("%q does not say %q", err, text)
				}
			}
			fails(godwit.CodeNoRef, "acme/station has no release")
			w.host.Publish(fake.Release{Tag: "v1.0.0", Draft: true})
			fails(godwit.CodeNoRef, "acme/station has no release")
			w.host.Publish(fake.Release{Tag: "v1.0.0"})
			if _, err := w.tip(); err != nil {
				t.Fatal(err)
			}
			w.host.Delete("v1.0.0")
			fails(godwit.CodeNoRef, "acme/station has no release")
			w.host.Publish(fake.Release{Tag: "v1.0.0"})
			w.git("tag", "-d", "v1.0.0")
			fails(godwit.CodeNoRef, `no tag "v1.0.0"`)
			w.cfg.Channel, w.cfg.Branch = "", "gone"
			fails(godwit.CodeNoRef, `no branch "gone"`)
			w.cfg.URL += "s"
			fails(godwit.CodeNotFound, "no repository acme/stations")
		})
	}
}

// TestPrivate: the token opens, and another one is told from none.
func TestPrivate(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			w := newWorldAt(t, fake.Config{Kind: kind, Token: "T0KEN"})
			w.git("tag", "v1.0.0")
			w.host.Publish(fake.Release{Tag: "v1.0.0", Assets: map[string][]byte{manifestName: w.manifestOf("v1.0.0", "main.py")}})
			d, err := w.update()
			if err != nil {
				t.Fatal(err)
			}
			w.want(w.tree(d.Listing), []string{`file main.py "print('one')\n"`})
			w.cfg.Token = "another"
			_, err = w.tip()
			wantCode(t, err, godwit.CodeUnauthorized)
			if strings.Contains(err.Error(), "another") {
				t.Error("the token is shown")
			}
			w.cfg.Token = ""
			_, err = w.tip()
			wantCode(t, err, godwit.CodeNotFound)
		})
	}
}

// TestManifest: a release with a manifest is what the manifest says. The token
// goes to the API and not to where attached files are.
func TestManifest(t *testing.T) {
	for _, kind := range kinds {
		for _, direct := range []bool{false, true} {
			w := newWorldAt(t, fake.Config{Kind: kind, Token: "T0KEN"})
			w.host.Direct = direct
			w.git("tag", "v1.0.0")
			m := w.manifestOf("v1.0.0", "lib/__init__.py", "main.py")
			w.host.Publish(fake.Release{Tag: "v1.0.0", Assets: map[string][]byte{manifestName: m, signatureName: []byte("signed"), "other": nil}})
			d, err := w.update()
			if err != nil {
				t.Fatal(err)
			}
			w.want(w.tree(d.Listing), []string{`file lib/__init__.py ""`, `file main.py "print('one')\n"`})
			if d.Statement.Form != godwit.FileStatement || body(t, d.Statement) != string(m) || string(d.Statement.Signatures) != "signed" || d.Version != "v1.0.0" {
				t.Errorf("got %+v", d.Statement)
			}
			stored := 0
			for _, r := range w.host.Requests() {
				if r.Server == "storage" {
					stored++
				}
				if r.Server == "storage" && (r.Header.Get("Authorization") != "" || r.Status != 200) {
					t.Errorf("the storage saw %v and said %d", r.Header, r.Status)
				}
			}
			if want := 2; kind == GitHub && !direct && stored != want {
				t.Errorf("%d files came from the storage", stored)
			}
		}
	}
}

// TestEnterprise: without a host for files everything comes from the API.
func TestEnterprise(t *testing.T) {
	w := newWorldAt(t, fake.Config{Token: "T"})
	w.cfg.Raw = ""
	w.commit(map[string]string{"link": "-> lib/a.py"})
	w.git("tag", "v1.0.0")
	w.host.Publish(fake.Release{Tag: "v1.0.0"})
	d, err := w.update()
	if err != nil {
		t.Fatal(err)
	}
	tree := []string{`file lib/__init__.py ""`, `file lib/a.py "a = 1\n"`, `link link "lib/a.py"`, `file main.py "print('one')\n"`}
	w.want(w.tree(d.Listing), tree)
	w.host.Publish(fake.Release{Tag: "v1.0.0", Assets: map[string][]byte{manifestName: w.manifestOf("v1.0.0", "main.py")}})
	if d, err = w.update(); err != nil {
		t.Fatal(err)
	}
	w.want(w.tree(d.Listing), tree[3:])
}

func TestAddresses(t *testing.T) {
	for _, c := range []struct {
		cfg       Config
		home, raw string
	}{
		{Config{URL: "https://github.com/acme/station"}, "https://api.github.com/repos/acme/station", "https://raw.githubusercontent.com/acme/station"},
		{Config{URL: "https://github.com/acme/station.git/"}, "https://api.github.com/repos/acme/station", "https://raw.githubusercontent.com/acme/station"},
		{Config{URL: "https://github.com/acme/station", API: "https://api.github.com"}, "https://api.github.com/repos/acme/station", "https://raw.githubusercontent.com/acme/station"},
		{Config{URL: "https://git.example.org/acme/station"}, "https://git.example.org/api/v3/repos/acme/station", ""},
		{Config{URL: "https://git.example.org/acme/station", API: "https://api.example.org/v3/"}, "https://api.example.org/v3/repos/acme/station", ""},
		{Config{Kind: Gitea, URL: "https://example.org/code/acme/station"}, "https://example.org/code/api/v1/repos/acme/station", ""},
		{Config{Kind: GitLab, URL: "https://gitlab.com/acme/iot/station"}, "https://gitlab.com/api/v4/projects/acme%2Fiot%2Fstation", ""},
	} {
		c.cfg.Channel = stable
		s, err := New(c.cfg)
		if err != nil {
			t.Fatal(err)
		}
		if s.api != c.home || s.raw != c.raw {
			t.Errorf("%s: %s and %s", c.cfg.URL, s.api, s.raw)
		}
	}
	for _, c := range []Config{
		{URL: "github.com/acme/station"}, {URL: "https://github.com/acme"}, {URL: "https://github.com/acme/../x"}, {URL: "https://u:p@github.com/a/b"},
		{URL: "ssh://github.com/a/b"}, {URL: "https://github.com/a/b?x"}, {URL: "https://github.com/a/b", Kind: "svn"}, {URL: "https://github.com/a/b", API: "api"},
		{URL: "https://github.com/a/b", Branch: "main"}, {URL: "https://github.com/a/b", Channel: "beta"},
		{URL: "https://gitlab.com/a/b", Kind: GitLab, Channel: "beta", Signed: true}, {URL: "https://gitlab.com/a/b", API: "https://u:p@host"},
	} {
		if c.Channel == "" {
			c.Channel = stable
		}
		_, err := New(c)
		wantCode(t, err, godwit.CodeConfig)
	}
}
