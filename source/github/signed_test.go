package github

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/source/github/fake"
)

// TestSignedTag: the statement is the tag object as git has it, byte for byte,
// and the listing follows from it alone.
func TestSignedTag(t *testing.T) {
	w := newWorld(t, GitHub)
	w.sign()
	w.cfg.Signed = true
	tree := w.git("rev-parse", "HEAD^{tree}")
	w.git("tag", "-s", "-m", "One.\n\nProduct: station\nTree: "+tree, "v1.0.0")
	w.host.Publish(fake.Release{Tag: "v1.0.0"})
	s := w.open()
	tip, err := s.Tip(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	rel, err := s.Release(t.Context(), tip)
	if err != nil {
		t.Fatal(err)
	}
	raw := w.git("cat-file", "tag", "v1.0.0") + "\n"
	if got := body(t, rel.Statement); rel.Statement.Form != godwit.TagStatement || got != raw || tip.Tag != w.git("rev-parse", "v1.0.0") {
		t.Errorf("got %q, want %q", got, raw)
	}
	// The commit is not asked for where the tag says all.
	w.paths()
	v := godwit.Verified{Release: rel, Tree: tree, Time: time1}
	d, err := s.Describe(t.Context(), v, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range w.paths() {
		if strings.Contains(p, "commits") {
			t.Error(p)
		}
	}
	if err := s.Fetch(t.Context(), d, d.Listing, w.device); err != nil {
		t.Fatal(err)
	}
	w.want(w.tree(d.Listing), []string{`file lib/__init__.py ""`, `file lib/a.py "a = 1\n"`, `file main.py "print('one')\n"`})
	// Another tree than the signed one does not do.
	w.commit(map[string]string{"main.py": "evil"})
	v.Tree = strings.Repeat("0", 40)
	_, err = s.Describe(t.Context(), v, nil)
	wantCode(t, err, godwit.CodeMissingObject)
}

// TestGiteaSignedTag: Gitea shows the signature within the message, or not at all.
func TestGiteaSignedTag(t *testing.T) {
	w := newWorld(t, Gitea)
	w.sign()
	w.cfg.Signed = true
	w.git("tag", "-s", "-m", "One.", "v1.0.0")
	w.host.Publish(fake.Release{Tag: "v1.0.0"})
	s := w.open()
	tip, err := s.Tip(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	rel, err := s.Release(t.Context(), tip)
	if err != nil || body(t, rel.Statement) != w.git("cat-file", "tag", "v1.0.0")+"\n" {
		t.Errorf("got %+v, %v", rel.Statement, err)
	}
}

// TestTagThatCannotBeShown: what is not the tag object is not passed off as it.
func TestTagThatCannotBeShown(t *testing.T) {
	w := newWorld(t, GitHub)
	w.sign()
	w.cfg.Signed = true
	w.git("tag", "-s", "-m", "One.", "v1.0.0")
	w.host.Publish(fake.Release{Tag: "v1.0.0"})
	s := w.open()
	tip, err := s.Tip(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.tagID = "" // what Tip saw is asked for anew
	w.lie("git/tags/", "v1.0.0", "v2.0.0")
	_, err = s.Release(t.Context(), tip)
	wantCode(t, err, godwit.CodeProtocol)
	if !strings.Contains(err.Error(), "does not show the tag") {
		t.Error(err)
	}
}

// TestGiteaHidesSignature: Gitea 1.22 shows a tag that was signed by SSH as if it were
// not. That is not called unsigned.
func TestGiteaHidesSignature(t *testing.T) {
	w := newWorld(t, Gitea)
	w.sign()
	w.cfg.Signed = true
	w.git("tag", "-s", "-m", "One.", "v1.0.0")
	w.host.Publish(fake.Release{Tag: "v1.0.0"})
	_, signature, _ := strings.Cut(w.git("cat-file", "tag", "v1.0.0"), "One.")
	w.lie("git/tags/", strings.ReplaceAll(strings.TrimRight(signature, "\n"), "\n", `\n`), "")
	s := w.open()
	tip, err := s.Tip(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Release(t.Context(), tip)
	wantCode(t, err, godwit.CodeUnsigned)
	if hint := godwit.HintOf(err); !strings.Contains(hint, "signed manifest") {
		t.Errorf("%v, %s", err, hint)
	}
}

// TestUnsignedTag: a tag that nobody signed is shown as such, for the gate to
// refuse.
func TestUnsignedTag(t *testing.T) {
	for _, kind := range []string{GitHub, Gitea} {
		w := newWorld(t, kind)
		w.cfg.Signed = true
		w.git("tag", "-am", "One.", "v1.0.0")
		w.host.Publish(fake.Release{Tag: "v1.0.0"})
		s := w.open()
		tip, err := s.Tip(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		rel, err := s.Release(t.Context(), tip)
		if err != nil || body(t, rel.Statement) != w.git("cat-file", "tag", "v1.0.0")+"\n" {
			t.Errorf("%s: got %+v, %v", kind, rel.Statement, err)
		}
		w.git("tag", "v1.1.0")
		w.host.Publish(fake.Release{Tag: "v1.1.0"})
		if tip, err = s.Tip(t.Context()); err != nil {
			t.Fatal(err)
		}
		if rel, err = s.Release(t.Context(), tip); err != nil || rel.Statement.Form != godwit.NoStatement {
			t.Errorf("%s: got %+v, %v", kind, rel.Statement, err)
		}
	}
}

// TestChannel: where releases are signed a channel tag comes before all.
func TestChannel(t *testing.T) {
	for _, kind := range []string{GitHub, Gitea} {
		w := newWorld(t, kind)
		w.sign()
		w.cfg.Signed = true
		w.git("tag", "-s", "-m", "one", "v1.0.0")
		w.git("tag", "-s", "-m", "ten", "v1.10.0")
		w.git("tag", "-s", "-m", "nine", "v1.9.0")
		w.git("tag", "-s", "-m", "next", "v2.0.0-rc.1")
		w.git("tag", "v3.0.0")
		// Neither a channel nor a release: the highest version of signed tags.
		tip, err := w.tip()
		if err != nil || tip.Ref != "refs/tags/v1.10.0" || tip.Tag != w.git("rev-parse", "v1.10.0") {
			t.Fatalf("%s: got %+v, %v", kind, tip, err)
		}
		s := w.open()
		for _, below := range []string{"v1.10.0", "v1.9.0", "v1.0.0", ""} {
			if below == "v1.10.0" {
				tip, err = s.Tip(t.Context())
			} else {
				tip, err = s.Below(t.Context(), tip)
			}
			if err != nil || strings.TrimPrefix(tip.Ref, "refs/tags/") != below {
				t.Errorf("%s: %s: got %+v, %v", kind, below, tip, err)
			}
		}
		w.host.Publish(fake.Release{Tag: "v1.9.0"})
		s = w.open()
		if tip, err = s.Tip(t.Context()); err != nil {
			t.Fatal(err)
		}
		if tip, err = s.Below(t.Context(), tip); err != nil || tip.Ref != "" {
			t.Errorf("%s: below the latest release: got %+v, %v", kind, tip, err)
		}
		if tip, err = w.tip(); err != nil || tip.Ref != "refs/tags/v1.9.0" {
			t.Fatalf("%s: got %+v, %v", kind, tip, err)
		}
		w.git("tag", "-s", "-m", "Sequence: 1\nRelease: v1.0.0", "channel/stable")
		w.git("tag", "-s", "-m", "Sequence: 1\nRelease: v1.10.0", "channel/stable-lab")
		s = w.open()
		if tip, err = s.Tip(t.Context()); err != nil || tip.Ref != "refs/tags/channel/stable" || tip.Channel != w.git("rev-parse", "channel/stable") {
			t.Fatalf("%s: got %+v, %v", kind, tip, err)
		}
		st, err := s.Channel(t.Context(), tip)
		if err != nil || body(t, st) != w.git("cat-file", "tag", "channel/stable")+"\n" {
			t.Errorf("%s: got %+v, %v", kind, st, err)
		}
		// It is kept, and what was damaged is not taken for it.
		if _, err := w.describeTree(s); err != nil {
			t.Fatal(err)
		}
		if _, err = s.Channel(t.Context(), tip); err != nil {
			t.Fatal(err)
		}
		w.paths()
		kept, _ := filepath.Glob(filepath.Join(w.home, "api", channelPrefix+"*"))
		for _, damage := range []bool{false, true} {
			if len(kept) != 1 {
				t.Fatal(kept)
			}
			if damage {
				if err := os.WriteFile(kept[0], []byte("object"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			again, err := w.open().Channel(t.Context(), tip)
			if err != nil || body(t, again) != body(t, st) {
				t.Errorf("%s: got %+v, %v", kind, again, err)
			}
			if n := len(w.paths()); (n > 0) != damage {
				t.Errorf("%s: asked %d times", kind, n)
			}
		}
		if tip, err = s.Named(t.Context(), "v1.0.0", ""); err != nil || tip.Commit != w.git("rev-parse", "HEAD") || tip.Channel != "" {
			t.Errorf("%s: got %+v, %v", kind, tip, err)
		}
		w.cfg.Channel = "stable-lab"
		if tip, err = w.tip(); err != nil || tip.Ref != "refs/tags/channel/stable-lab" {
			t.Errorf("%s: got %+v, %v", kind, tip, err)
		}
		w.cfg.Channel = "none"
		_, err = w.tip()
		wantCode(t, err, godwit.CodeNoRef)
		w.cfg.Channel, w.cfg.Signed = stable, false
		if tip, err = w.tip(); err != nil || tip.Ref != "refs/tags/v1.9.0" {
			t.Errorf("%s, unsigned: got %+v, %v", kind, tip, err)
		}
	}
}

// TestProof: without a Tree: trailer the commit is put together again, signed or
// not, whatever zone its makers' clocks have, and must have the id that the tag
// names.
func TestProof(t *testing.T) {
	for _, kind := range []string{GitHub, Gitea} {
		for _, signed := range []bool{false, true} {
			w := newWorld(t, kind)
			w.sign()
			w.cfg.Signed = true
			if signed {
				w.git("config", "commit.gpgSign", "true")
			}
			w.git("commit", "-q", "--allow-empty", "--date", "2026-03-04T05:06:07-0330", "-m", "First line\n\nMore words, ünd others.\n")
			w.git("tag", "-s", "-m", "one", "v1.0.0")
			w.host.Publish(fake.Release{Tag: "v1.0.0"})
			s := w.open()
			d, err := w.describe(s)
			if err != nil {
				t.Fatal(kind, signed, err)
			}
			if err := s.Fetch(t.Context(), d, d.Listing, w.device); err != nil {
				t.Fatal(err)
			}
			if len(w.tree(d.Listing)) != 3 {
				t.Error("files are missing")
			}
			// A host that shows another tree for the commit is found out.
			old := w.git("rev-parse", "HEAD^{tree}")
			w.commit(map[string]string{"main.py": "evil"})
			w.lie("git/commits/", old, w.git("rev-parse", "HEAD^{tree}"))
			_, err = w.describe(w.open())
			wantCode(t, err, godwit.CodeBadSignature)
		}
	}
}

// TestWhichStatement: of a manifest and a tag the one that somebody signed.
func TestWhichStatement(t *testing.T) {
	m := map[string][]byte{manifestName: []byte("{}")}
	both := map[string][]byte{manifestName: []byte("{}"), signatureName: []byte("s")}
	for _, c := range []struct {
		name         string
		kind         string
		signed, hmac bool
		annotated    bool
		assets       map[string][]byte
		form         godwit.Form
		code         godwit.Code
	}{
		{"nothing is checked", GitHub, false, false, true, m, godwit.FileStatement, ""},
		{"nothing is checked, no manifest", GitHub, false, false, true, nil, godwit.NoStatement, ""},
		{"signed manifest", GitHub, true, false, true, both, godwit.FileStatement, ""},
		{"unsigned manifest, tag", GitHub, true, false, true, m, godwit.TagStatement, ""},
		{"unsigned manifest, plain tag", GitHub, true, false, false, m, godwit.FileStatement, ""},
		{"unsigned manifest, no tag objects", GitLab, true, false, true, m, godwit.FileStatement, ""},
		{"HMAC", GitHub, true, true, true, m, godwit.FileStatement, ""},
		{"HMAC, no manifest", GitHub, true, true, true, nil, godwit.NoStatement, godwit.CodeUnsigned},
	} {
		w := newWorld(t, c.kind)
		w.cfg.Signed, w.cfg.HMAC = c.signed, c.hmac
		if c.annotated {
			w.git("tag", "-am", "one", "v1.0.0")
		} else {
			w.git("tag", "v1.0.0")
		}
		w.host.Publish(fake.Release{Tag: "v1.0.0", Assets: c.assets})
		s := w.open()
		tip, err := s.Tip(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		rel, err := s.Release(t.Context(), tip)
		if godwit.CodeOf(err) != c.code || rel.Statement.Form != c.form {
			t.Errorf("%s: got form %d, %v", c.name, rel.Statement.Form, err)
		}
		// Another run, which did not ask for the tip, sees the same.
		rel, err = w.open().Release(t.Context(), tip)
		if godwit.CodeOf(err) != c.code || rel.Statement.Form != c.form {
			t.Errorf("%s, asked by name: got form %d, %v", c.name, rel.Statement.Form, err)
		}
	}
}

// TestNamesInTrees: what has the id of a tree and yet is no list of files is
// refused. Two lists can be the same tree if a name may hide an entry.
func TestNamesInTrees(t *testing.T) {
	b := strings.Repeat("b", 20) // an id
	for _, c := range []struct {
		name, inTree, inJSON string
		code                 godwit.Code
	}{
		{"plain", "x", "x", ""},
		{"NUL", "x\x00" + strings.Repeat("a", 20) + "100644 y", `x\u0000` + strings.Repeat("a", 20) + "100644 y", godwit.CodeBadPath},
		{"slash", "x/y", "x/y", godwit.CodeBadObject},
	} {
		w := newWorld(t, GitHub)
		content := "100644 " + c.inTree + "\x00" + b
		sum := sha1.Sum([]byte(fmt.Sprintf("tree %d\x00%s", len(content), content)))
		root := hex.EncodeToString(sum[:])
		w.answer("git/trees", `{"sha":"x","truncated":false,"tree":[{"path":"`+c.inJSON+`","mode":"100644","type":"blob","size":1,"sha":"`+hex.EncodeToString([]byte(b))+`"}]}`)
		_, err := w.open().listTree(context.Background(), root)
		if godwit.CodeOf(err) != c.code {
			t.Errorf("%s: got %v", c.name, err)
		}
		if _, err := os.Stat(filepath.Join(w.home, "api", treePrefix+root)); (err == nil) != (c.code == "") {
			t.Errorf("%s: the listing: %v", c.name, err)
		}
	}
}
