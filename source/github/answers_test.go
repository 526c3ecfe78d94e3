package github

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/internal/http1"
	"github.com/godwit-ota/godwit/internal/webclient"
	"github.com/godwit-ota/godwit/source/github/fake"
	"github.com/godwit-ota/godwit/vfs"
)

// TestNothingNew: a poll that finds nothing new is answered with 304s, in a run
// of its own too, which do not count for who shows a token.
func TestNothingNew(t *testing.T) {
	for _, annotated := range []bool{false, true} {
		w := newWorldAt(t, fake.Config{Token: "T"})
		w.host.Limit = 60
		if annotated {
			w.git("tag", "-am", "one", "v1.0.0")
		} else {
			w.git("tag", "v1.0.0")
		}
		w.host.Publish(fake.Release{Tag: "v1.0.0"})
		if _, err := w.update(); err != nil {
			t.Fatal(err)
		}
		w.paths()
		used := w.host.Used()
		first, err := w.tip()
		if err != nil {
			t.Fatal(err)
		}
		paths := w.paths()
		for _, p := range paths {
			if !strings.HasPrefix(p, "api 304 ") {
				t.Error(p)
			}
		}
		if len(paths) != 2 || w.host.Used() != used {
			t.Errorf("%d requests, of which %d count: %v", len(paths), w.host.Used()-used, paths)
		}
		before := w.files()
		if again, err := w.tip(); err != nil || again != first {
			t.Errorf("got %+v, %v", again, err)
		}
		if after := w.files(); after != before {
			t.Errorf("a poll that finds nothing new has written:\n%s\nbefore:\n%s", after, before)
		}
		// And what is new is seen.
		w.commit(map[string]string{"main.py": "2"})
		w.git("tag", "v1.1.0")
		w.host.Publish(fake.Release{Tag: "v1.1.0"})
		if tip, err := w.tip(); err != nil || tip.Ref != "refs/tags/v1.1.0" || tip.Commit != w.git("rev-parse", "HEAD") {
			t.Errorf("got %+v, %v", tip, err)
		}
		// So is a tag that was moved.
		w.git("tag", "-f", "v1.1.0", w.commit(map[string]string{"main.py": "3"}))
		if tip, err := w.tip(); err != nil || tip.Commit != w.git("rev-parse", "HEAD") {
			t.Errorf("got %+v, %v", tip, err)
		}
	}
}

// files is what is in the state folder, with the times of the last writes.
func (w *world) files() (text string) {
	w.Helper()
	list, err := os.ReadDir(filepath.Join(w.home, "api"))
	if err != nil {
		w.Fatal(err)
	}
	for _, e := range list {
		i, err := e.Info()
		if err != nil {
			w.Fatal(err)
		}
		text += fmt.Sprintln(e.Name(), i.Size(), i.ModTime())
	}
	return text
}

// TestDamagedNotes: what does not read as it was written counts as absent.
func TestDamagedNotes(t *testing.T) {
	w := released(t, GitHub)
	if _, err := w.update(); err != nil {
		t.Fatal(err)
	}
	list, _ := filepath.Glob(filepath.Join(w.home, "api", "*"))
	if len(list) < 2 {
		t.Fatal(list)
	}
	for _, name := range list {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, damaged := range [][]byte{nil, b[:len(b)/2], append([]byte("x"), b...), []byte(strings.Replace(string(b), "1", "2", 1))} {
			if err := os.WriteFile(name, damaged, 0o600); err != nil {
				t.Fatal(err)
			}
			clear(w.device)
			if d, err := w.update(); err != nil || len(w.tree(d.Listing)) != 3 {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// TestRateLimit: when the quota is used up nothing is asked before it begins
// anew, and what is left is told.
func TestRateLimit(t *testing.T) {
	w := released(t, GitHub)
	w.host.Limit = 60
	now := time.Now()
	w.host.Reset = now.Add(30 * time.Minute).Truncate(time.Second)
	w.cfg.Web.Now = func() time.Time { return now }
	if _, err := w.update(); err != nil {
		t.Fatal(err)
	}
	limit, remaining, reset := w.open().RateLimit()
	if off := remaining - (60 - w.host.Used()); limit != 60 || off < 0 || off > 6 || !reset.Equal(w.host.Reset) {
		t.Errorf("got %d of %d until %s", remaining, limit, reset)
	}
	w.host.SetUsed(60)
	_, err := w.tip()
	wantCode(t, err, godwit.CodeRetryAfter)
	if !strings.Contains(err.Error(), w.host.Reset.Add(time.Second).UTC().Format("15:04:05")) {
		t.Errorf("%v does not say %s", err, w.host.Reset)
	}
	w.paths()
	_, err = w.tip()
	wantCode(t, err, godwit.CodeRetryAfter)
	if p := w.paths(); len(p) != 0 {
		t.Error(p)
	}
	if _, remaining, _ := w.open().RateLimit(); remaining != 0 {
		t.Errorf("%d remain", remaining)
	}
	now = now.Add(31 * time.Minute)
	w.host.SetUsed(0)
	if _, err = w.tip(); err != nil {
		t.Error(err)
	}
	// Forbidden for another reason is not a pause.
	w.before("/releases/", func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("X-RateLimit-Remaining", "20")
		rw.WriteHeader(403)
		io.WriteString(rw, `{"message":"Resource not accessible by personal access token"}`)
	})
	_, err = w.tip()
	wantCode(t, err, godwit.CodeUnauthorized)
	if !strings.Contains(err.Error(), "Resource not accessible") {
		t.Error(err)
	}
}

// TestNextPage: only pages of the same host are followed.
func TestNextPage(t *testing.T) {
	u, _ := url.Parse("https://host/api?page=1")
	for _, c := range []struct{ link, want string }{
		{`<https://host/api?page=2>; rel="next"`, "https://host/api?page=2"},
		{`</api?page=2>; rel="next"`, "https://host/api?page=2"},
		{`<https://host/api?page=9>; rel="last", <https://host/api?page=2>; rel="next"`, "https://host/api?page=2"},
		{`<https://evil/api?page=2>; rel="next"`, ""},
		{`<http://host/api?page=2>; rel="next"`, ""},
		{`<https://host/api?page=9>; rel="last"`, ""},
		{`https://host/api?page=2; rel="next"`, ""},
		{``, ""},
	} {
		if got := next(&webclient.Answer{URL: u, Header: http1.Header{"Link": {c.link}}}); got != c.want {
			t.Errorf("%s: %q", c.link, got)
		}
	}
}

// TestSameAnswer: what is known already is no reason to write.
func TestSameAnswer(t *testing.T) {
	w := newWorld(t, GitHub)
	if err := w.cfg.State.Mkdir("api"); err != nil {
		t.Fatal(err)
	}
	m := answers{notes: vfs.Notes{FS: w.cfg.State, Folder: "api"}}
	a := answer{"u", "e", "t"}
	m.put("k", a)
	m.save()
	m.put("k", a)
	if m.changed {
		t.Error("it would be written again")
	}
	for i := range 2 * maxAnswers {
		m.put(strconv.Itoa(i), a)
	}
	if m.save(); len(m.list) != maxAnswers || m.get("k", "u") != nil {
		t.Errorf("%d answers are kept", len(m.list))
	}
	again := answers{notes: m.notes}
	if got := again.get(strconv.Itoa(2*maxAnswers-1), "u"); got == nil || *got != a {
		t.Errorf("got %v", got)
	}
	if again.get(strconv.Itoa(2*maxAnswers-1), "another") != nil {
		t.Error("the answer to another question")
	}
}

// TestSameManifest: a manifest that is here already is not sent again, nor
// written; one that was damaged is.
func TestSameManifest(t *testing.T) {
	for _, kind := range kinds {
		w := newWorld(t, kind)
		w.git("tag", "v1.0.0")
		m := w.manifestOf("v1.0.0", "main.py")
		w.host.Publish(fake.Release{Tag: "v1.0.0", Assets: map[string][]byte{manifestName: m}})
		bring := func() (sent int64) {
			t.Helper()
			s := w.open()
			defer s.Close()
			tip, err := s.Tip(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			w.host.Requests()
			rel, err := s.Release(t.Context(), tip)
			if err != nil || body(t, rel.Statement) != string(m) {
				t.Fatalf("%s: %+v, %v", kind, rel.Statement, err)
			}
			for _, r := range w.host.Requests() {
				if r.Sent == int64(len(m)) {
					sent += r.Sent
				}
			}
			return sent
		}
		if sent := bring(); sent != int64(len(m)) {
			t.Errorf("%s: %d bytes at first", kind, sent)
		}
		before := w.files()
		if sent := bring(); sent != 0 {
			t.Errorf("%s: %d bytes again", kind, sent)
		}
		if after := w.files(); after != before {
			t.Errorf("%s: it was written again:\n%s\nbefore:\n%s", kind, after, before)
		}
		name := filepath.Join(w.home, "api", manifestFile)
		if err := os.WriteFile(name, m[1:], 0o600); err != nil {
			t.Fatal(err)
		}
		if sent := bring(); sent != int64(len(m)) {
			t.Errorf("%s: %d bytes after damage", kind, sent)
		}
		m = append(m, '\n')
		w.host.Publish(fake.Release{Tag: "v1.0.0", Assets: map[string][]byte{manifestName: m}})
		if sent := bring(); sent != int64(len(m)) {
			t.Errorf("%s: %d bytes of another", kind, sent)
		}
	}
}
