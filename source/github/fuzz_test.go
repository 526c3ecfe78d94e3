package github

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/internal/webclient"
	"github.com/godwit-ota/godwit/source/git/object"
	"github.com/godwit-ota/godwit/vfs"
)

const blobID = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"

// FuzzAnswers asks a host that says anything. What comes out of it has to be
// what it claims to be, and nothing may be written outside of the folder.
func FuzzAnswers(f *testing.F) {
	one := `{"path":"a","mode":"100644","type":"blob","size":0,"sha":"` + blobID + `"}`
	f.Add(uint8(0), `{"tag_name":"v1","assets":[{"id":1,"name":"manifest.json"}]}`)
	f.Add(uint8(1), `{"tag_name":"v1","draft":true}`)
	f.Add(uint8(2), `{"tag_name":"v1","assets":{"links":[{"name":"manifest.json","url":"http://127.0.0.1:1/x"}]}}`)
	f.Add(uint8(0), `[{"ref":"refs/tags/v1","object":{"type":"commit","sha":"`+blobID+`"}}]`)
	f.Add(uint8(3), `{"tree":[`+one+`],"truncated":false}`)
	f.Add(uint8(3), `{"tree":[{"path":"d","mode":"040000","sha":"4b825dc642cb6eb9a060e54bf8d69288fbee4904"},{"path":"d/a","mode":"100755","sha":"`+blobID+`"}],"truncated":true}`)
	f.Add(uint8(4), `{"tree":[`+one+`],"total_count":2}`)
	f.Add(uint8(5), `[{"path":"b","mode":"100644","id":"`+blobID+`"},{"path":"a","mode":"120000","id":"`+blobID+`"}]`)
	f.Add(uint8(3), `{"sha":"x","tree":{"sha":"y"},"author":{"date":"2026-01-02T03:04:05Z"},"verification":{"payload":"tree\n\nx","signature":"s"}}`)
	f.Fuzz(func(t *testing.T, kind uint8, text string) {
		kinds := [...]string{GitHub, Gitea, GitLab}
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("ETag", `"x"`)
			io.WriteString(w, text)
		}))
		defer srv.Close()
		state, err := vfs.OS(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		s, err := New(Config{Kind: kinds[kind%3], URL: srv.URL + "/acme/station", Channel: stable, Signed: kind%2 == 0, State: state, Folder: "api", Limits: Limits{TreeFiles: 100, TreeBytes: 1 << 16, Depth: 8}, Web: webclient.Config{Network: webclient.Network{Proxy: "none"}, Attempts: 1}})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		ctx := context.Background()
		if tip, err := s.Tip(ctx); err == nil {
			if _, err := object.ParseID(tip.Commit); err != nil && tip.Channel == "" {
				t.Errorf("a tip without a commit: %+v", tip)
			}
			s.Release(ctx, tip)
		}
		s.statement(ctx, blobID, "v1")
		if c, _, err := s.askCommit(ctx, blobID); err == nil {
			prove(blobID, c)
		}
		l, err := s.listTree(ctx, "4b825dc642cb6eb9a060e54bf8d69288fbee4904")
		if err != nil {
			return
		}
		last := ""
		for e, err := range l {
			if err != nil {
				return
			}
			if e.Path <= last || e.Digest.IsZero() || e.Mode < godwit.File || e.Mode > godwit.Symlink {
				t.Errorf("an entry %+v after %q", e, last)
			}
			last = e.Path
		}
	})
}

// FuzzListing reads files that may be anything: no more memory is taken than a
// record may have, and what is read is within bounds.
func FuzzListing(f *testing.F) {
	dir := f.TempDir()
	state, err := vfs.OS(dir)
	if err != nil {
		f.Fatal(err)
	}
	w, err := newListing(state, "x")
	if err != nil {
		f.Fatal(err)
	}
	id, _ := object.ParseID(blobID)
	w.add(&record{kind: kindDir, id: id})
	w.add(&record{kind: 1, mode: 0o100644, id: id, path: "a"})
	w.end()
	f.Add(bytes.Clone(w.buf))
	w.close()
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := vfs.WriteFile(state, "x", b); err != nil {
			t.Fatal(err)
		}
		err := each(state, "x", object.SHA1, func(r *record) error {
			if len(r.path) > maxPath || r.kind > kindSubmodule {
				return fmt.Errorf("a record %+v", r)
			}
			return nil
		})
		if err != nil && godwit.CodeOf(err) != godwit.CodeDamaged {
			t.Error(err)
		}
		tw := treeWalk{s: &Source{cfg: Config{State: state}}, format: object.SHA1}
		if err := tw.verify(id, "x"); err == nil {
			t.Error("it has the id of an empty file")
		}
	})
}

func FuzzAnswersNote(f *testing.F) {
	f.Add("latest", `"u" "e" "t"`)
	f.Add("rate-limit", `"" "-" "60 1 2"`)
	f.Add("x", `"\"" "\x00" "`)
	f.Fuzz(func(t *testing.T, key, value string) {
		unquote(value)
		if strings.ContainsAny(key, " \n") || strings.Contains(value, "\n") {
			return
		}
		n := webclient.NewNote(answersTitle)
		n.Add(key, value)
		dir, err := vfs.OS(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		if err := dir.Mkdir("api"); err != nil {
			t.Fatal(err)
		}
		if err := vfs.WriteFile(dir, "api/"+answersFile, n.Bytes()); err != nil {
			t.Fatal(err)
		}
		m := answers{notes: vfs.Notes{FS: dir, Folder: "api"}}
		if m.load(); len(m.list) == 0 && len(unquote(value)) == 3 && key != "sum" {
			t.Error("a sound answer was not read")
		}
		if r := m.rate(); r.limit < 0 || r.remaining < 0 || r.reset < 0 {
			t.Errorf("%+v", r)
		}
	})
}
