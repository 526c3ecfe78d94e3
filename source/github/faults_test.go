package github

import (
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/source/github/fake"
	"github.com/godwit-ota/godwit/vfs"
)

// released is a world with one release.
func released(t *testing.T, kind string) *world {
	t.Helper()
	w := newWorld(t, kind)
	w.git("tag", "v1.0.0")
	w.host.Publish(fake.Release{Tag: "v1.0.0"})
	return w
}

// TestRenamed: the new name is followed, and said once.
func TestRenamed(t *testing.T) {
	for _, kind := range []string{GitHub, Gitea} {
		w := newWorldAt(t, fake.Config{Kind: kind, Token: "T"})
		w.git("tag", "v1.0.0")
		w.host.Publish(fake.Release{Tag: "v1.0.0"})
		w.host.Rename("acme", "weather")
		d, err := w.update()
		if err != nil {
			t.Fatal(kind, err)
		}
		if len(w.tree(d.Listing)) != 3 {
			t.Error("files are missing")
		}
		said := 0
		for _, e := range w.events {
			if e.Level == godwit.Warning && strings.Contains(e.Text, "another name") {
				said++
			}
		}
		if said != 1 {
			t.Errorf("said %d times", said)
		}
	}
}

// TestTruncated: what a host leaves out is asked for folder by folder.
func TestTruncated(t *testing.T) {
	w := newWorld(t, GitHub)
	files := map[string]string{"a.b": "x", "z": "last"}
	for i := range 60 {
		files[fmt.Sprintf("a/%d/f%d", i%4, i)] = strconv.Itoa(i)
		files[fmt.Sprintf("b/%d", i)] = strconv.Itoa(i)
	}
	w.commit(files)
	w.git("tag", "v1.0.0")
	w.host.Publish(fake.Release{Tag: "v1.0.0"})
	whole, err := w.update()
	if err != nil {
		t.Fatal(err)
	}
	want := w.tree(whole.Listing)
	for _, most := range []int{100, 60} {
		w.forget()
		w.host.MostListed = most
		w.paths()
		w.cfg.Limits.TreeFiles = len(files) + 3 // each is counted once
		d, err := w.update()
		if err != nil {
			t.Fatal(err)
		}
		w.want(w.tree(d.Listing), want)
		n := 0
		for _, p := range w.paths() {
			if strings.Contains(p, "trees") {
				n++
			}
		}
		if n < 3 {
			t.Errorf("%d trees were asked for", n)
		}
	}
	w.forget()
	w.host.MostListed = 59 // less than there is in one folder
	_, err = w.update()
	wantCode(t, err, godwit.CodeLimit)
}

// TestPages: lists that come in parts, and in an order of their own.
func TestPages(t *testing.T) {
	for _, kind := range []string{Gitea, GitLab} {
		w := newWorld(t, kind)
		files := map[string]string{}
		for i := range 30 {
			files[fmt.Sprintf("a/%d/f%d", i%4, i)] = strconv.Itoa(i)
		}
		w.commit(files)
		w.git("tag", "v1.0.0")
		w.host.Publish(fake.Release{Tag: "v1.0.0"})
		d, err := w.update()
		if err != nil {
			t.Fatal(err)
		}
		want := w.tree(d.Listing)
		w.host.Disorder = kind == GitLab
		for _, per := range []int{1, 7, 100} {
			w.forget()
			w.host.PerPage = per
			if d, err = w.update(); err != nil {
				t.Fatal(kind, per, err)
			}
			w.want(w.tree(d.Listing), want)
		}
	}
}

// TestTreeLimits: what is too much is refused with advice.
func TestTreeLimits(t *testing.T) {
	for _, kind := range kinds {
		w := released(t, kind)
		for _, l := range []Limits{{TreeFiles: 2}, {TreeBytes: 300}} {
			w.cfg.Limits = l
			_, err := w.update()
			wantCode(t, err, godwit.CodeLimit)
			if hint := hintOf(err); !strings.Contains(hint, "manifest") || !strings.Contains(hint, `"git"`) {
				t.Errorf("the hint of %v is %q", err, hint)
			}
		}
		w.cfg.Limits = Limits{TreeFiles: 3}
		if _, err := w.update(); err != nil {
			t.Error(err)
		}
	}
	w := newWorld(t, GitHub)
	w.git("tag", "v1.0.0")
	w.host.Publish(fake.Release{Tag: "v1.0.0", Assets: map[string][]byte{manifestName: w.manifestOf("v1.0.0", "main.py"), signatureName: make([]byte, maxSignatures+1)}})
	_, err := w.update()
	wantCode(t, err, godwit.CodeLimit)
	w.host.Publish(fake.Release{Tag: "v1.0.0", Assets: map[string][]byte{manifestName: w.manifestOf("v1.0.0", "main.py")}})
	w.cfg.Limits.TreeBytes = 64
	_, err = w.update()
	wantCode(t, err, godwit.CodeLimit)
	w.cfg.Limits.TreeBytes = 0
	deep := strings.Repeat("d/", 40) + "f"
	w.commit(map[string]string{deep: "x"})
	w.git("tag", "v1.1.0")
	w.host.Publish(fake.Release{Tag: "v1.1.0"})
	w.cfg.Limits.Depth = 30
	_, err = w.update()
	wantCode(t, err, godwit.CodeLimit)
}

func hintOf(err error) string {
	if e, ok := err.(*godwit.Error); ok {
		return e.Hint
	}
	return ""
}

// TestSubmodule: it is an error, unless it is left out.
func TestSubmodule(t *testing.T) {
	w := newWorld(t, GitHub)
	w.git("update-index", "--add", "--cacheinfo", "160000,"+w.git("rev-parse", "HEAD")+",sub")
	w.git("commit", "-qm", "submodule")
	w.git("tag", "v1.0.0")
	w.host.Publish(fake.Release{Tag: "v1.0.0"})
	_, err := w.update()
	wantCode(t, err, godwit.CodeSubmodule)
	w.cfg.Filter = func(path string) bool { return path != "sub" }
	if d, err := w.update(); err != nil || len(w.tree(d.Listing)) != 3 {
		t.Error(err)
	}
	w.cfg.Filter, w.cfg.SkipSubmodules = nil, true
	if _, err := w.update(); err != nil {
		t.Error(err)
	}
}

// TestLies: nothing that is not what its id says is taken, and nothing of it is
// kept.
func TestLies(t *testing.T) {
	other := strings.Repeat("0", 40)
	for _, c := range []struct {
		name           string
		part, old, new string
		code           godwit.Code
	}{
		{"content", "/main.py", "one", "two", godwit.CodeBadObject},
		{"longer content", "/main.py", "one", "one more", godwit.CodeBadObject},
		{"shorter content", "/main.py", "one", "", godwit.CodeBadObject},
		{"blob in the tree", "git/trees/", "$BLOB", other, godwit.CodeBadObject},
		{"entry without an id", "git/trees/", `"sha":"$BLOB"`, `"x":1`, godwit.CodeProtocol},
		{"name in the tree", "git/trees/", "main.py", "evil.py", godwit.CodeBadObject},
		{"mode in the tree", "git/trees/", "100644", "100755", godwit.CodeBadObject},
		{"link in the tree", "git/trees/", "100644", "120000", godwit.CodeBadObject},
		{"subtree", "git/trees/", "$SUB", other, godwit.CodeBadObject},
		{"file in another folder", "git/trees/", "lib/a.py", "bib/a.py", godwit.CodeBadObject},
		{"size of a file", "git/trees/", `"size":13`, `"size":14`, godwit.CodeBadObject},
		{"size beyond all", "git/trees/", `"size":13`, `"size":99999999999999`, godwit.CodeLimit},
		{"size that is none", "git/trees/", `"size":13`, `"size":-13`, ""}, // not needed
		{"no tree", "git/trees/", `"tree":`, `"three":`, godwit.CodeBadObject},
		{"entry twice", "git/trees/", `"tree":[`, `"tree":[{"path":"a","mode":"100644","sha":"$BLOB"},{"path":"a","mode":"100644","sha":"$BLOB"},`, godwit.CodeBadObject},
		{"no JSON", "git/trees/", `{`, `<html>`, godwit.CodeProtocol},
		{"mode that is none", "git/trees/", "100644", "777777", godwit.CodeProtocol},
		{"tree of the commit", "git/commits/", "$TREE", other, godwit.CodeMissingObject},
		{"tree that is another", "git/commits/", "$TREE", "$SUB", ""}, // the host's word, where nothing is checked
		{"no id of a tree", "git/commits/", "$TREE", "../../x", godwit.CodeProtocol},
		{"commit of the tag", "matching-refs", "$COMMIT", other, godwit.CodeMissingObject},
		{"no id of a commit", "matching-refs", "$COMMIT", "../../x", godwit.CodeProtocol},
		{"release without a tag", "releases/latest", `"tag_name"`, `"tag"`, godwit.CodeNoRef},
		{"release that is a pre-release", "releases/latest", `"prerelease":false`, `"prerelease":true`, godwit.CodeNoRef},
		{"release that is a draft", "releases/latest", `"draft":false`, `"draft":true`, godwit.CodeNoRef},
		{"release that is a list", "releases/latest", `{"assets"`, `[{"assets"`, godwit.CodeProtocol},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := released(t, GitHub)
			for _, id := range []struct{ name, rev string }{{"$BLOB", "HEAD:main.py"}, {"$SUB", "HEAD:lib"}, {"$TREE", "HEAD^{tree}"}, {"$COMMIT", "HEAD"}} {
				hex := w.git("rev-parse", id.rev)
				c.old, c.new = strings.ReplaceAll(c.old, id.name, hex), strings.ReplaceAll(c.new, id.name, hex)
			}
			w.lie(c.part, c.old, c.new)
			_, err := w.update()
			wantCode(t, err, c.code)
			for d, b := range w.device {
				if strings.Contains(string(b), "two") {
					t.Errorf("%s is %q", d, b)
				}
			}
			w.host.Front(nil)
			if c.code == "" {
				return
			}
			if d, err := w.update(); err != nil || len(w.tree(d.Listing)) != 3 {
				t.Errorf("after the lie: %v", err)
			}
		})
	}
}

// TestHugeAnswers: an answer without end is given up.
func TestHugeAnswers(t *testing.T) {
	endless := func(head, again string) http.HandlerFunc {
		return func(rw http.ResponseWriter, r *http.Request) {
			io.WriteString(rw, head)
			for block := strings.Repeat(again, 1+4096/len(again)); ; {
				if _, err := io.WriteString(rw, block); err != nil {
					return
				}
			}
		}
	}
	for _, c := range []struct {
		name, part, head, again string
	}{
		{"tree", "git/trees/", `{"tree":[`, `{"path":"x","mode":"100644","type":"blob","sha":"0000000000000000000000000000000000000000"},`},
		{"spaces", "git/trees/", `{`, ` `},
		{"string", "git/trees/", `{"tree":[{"path":"`, `x`},
		{"release", "releases/latest", `{"body":"`, `x`},
		{"assets", "releases/latest", `{"assets":[`, `{"name":"x"},`},
		{"refs", "matching-refs", `[`, `{"ref":"refs/tags/v1"},`},
		{"commit", "git/commits/", `{"message":"`, `x`},
		{"commit id", "/commits/heads/", "", "a"},
		{"content", "/main.py", "", "x"},
	} {
		w := released(t, GitHub)
		if c.name == "commit id" {
			w.cfg.Channel, w.cfg.Branch = "", "main"
		}
		w.cfg.Limits = Limits{TreeBytes: 1 << 20, FileBytes: 1 << 20}
		w.before(c.part, endless(c.head, c.again))
		_, err := w.update()
		if code := godwit.CodeOf(err); code != godwit.CodeProtocol && code != godwit.CodeLimit && code != godwit.CodeBadObject {
			t.Errorf("%s: %v (%s)", c.name, err, code)
		}
	}
}

// TestCut: answers that break off are asked for again.
func TestCut(t *testing.T) {
	w := released(t, GitHub)
	cuts := map[string]int{}
	w.host.Front(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		key := r.URL.Path
		if cuts[key]++; cuts[key] < 3 {
			next.ServeHTTP(&cutter{rw, 10}, r)
			panic(http.ErrAbortHandler)
		}
		next.ServeHTTP(rw, r)
	})
	if d, err := w.update(); err != nil || len(w.tree(d.Listing)) != 3 {
		t.Fatal(err)
	}
	w.host.Front(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		next.ServeHTTP(&cutter{rw, 10}, r)
	})
	clear(w.device)
	w.forget()
	_, err := w.update()
	wantCode(t, err, godwit.CodeNetwork)
}

// A cutter breaks the connection after some bytes.
type cutter struct {
	http.ResponseWriter
	left int
}

func (c *cutter) Write(b []byte) (int, error) {
	if len(b) > c.left {
		c.ResponseWriter.Write(b[:c.left])
		c.ResponseWriter.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	c.left -= len(b)
	return c.ResponseWriter.Write(b)
}

// TestResume: of a large file that broke off only the rest comes in the next run.
func TestResume(t *testing.T) {
	for _, kind := range kinds {
		w := newWorld(t, kind)
		big := strings.Repeat("0123456789abcdef", 60_000)
		w.commit(map[string]string{"big": big})
		w.git("tag", "v1.0.0")
		w.host.Publish(fake.Release{Tag: "v1.0.0"})
		part := "/big"
		if kind == GitLab {
			part = "/raw"
		}
		cut := func(n int) {
			w.host.Front(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
				if strings.Contains(r.URL.Path, part) && len(rw.Header()) == 0 {
					if r.Header.Get("Range") != "" {
						panic(http.ErrAbortHandler)
					}
					next.ServeHTTP(&cutter{rw, n}, r)
					return
				}
				next.ServeHTTP(rw, r)
			})
		}
		cut(600_000)
		_, err := w.update()
		wantCode(t, err, godwit.CodeNetwork)
		w.host.Front(nil)
		w.host.Requests()
		if _, err := w.update(); err != nil {
			t.Fatal(kind, err)
		}
		sent := int64(0)
		for _, r := range w.host.Requests() {
			if strings.Contains(r.Path, part) && r.Sent > 10_000 {
				sent += r.Sent
			}
		}
		if kind != GitLab && (sent > 400_000 || sent < 300_000) {
			t.Errorf("%s: %d bytes came again", kind, sent)
		}
		for d, b := range w.device {
			if len(b) > 1000 && string(b) != big {
				t.Errorf("%s: another content under %s", kind, d)
			}
		}
		if left, _ := filepath.Glob(filepath.Join(w.home, "api", partPrefix+"*")); len(left) > 0 {
			t.Error(left)
		}
		if kind == GitLab {
			continue
		}
		// What is in the way of a beginning is thrown away.
		clear(w.device)
		cut(500_000)
		_, err = w.update()
		wantCode(t, err, godwit.CodeNetwork)
		left, _ := filepath.Glob(filepath.Join(w.home, "api", partPrefix+"*"))
		if len(left) != 1 {
			t.Fatal(left)
		}
		b, _ := os.ReadFile(left[0])
		b[1000] ^= 1
		os.WriteFile(left[0], b, 0o600)
		w.host.Front(nil)
		if _, err := w.update(); err != nil {
			t.Error(kind, err)
		}
	}
}

// TestSilentHost: who says nothing is not waited for without end.
func TestSilentHost(t *testing.T) {
	w := released(t, GitHub)
	end := make(chan bool)
	defer close(end)
	w.cfg.Web.IdleTimeout = 50 * time.Millisecond
	w.before("git/trees/", func(rw http.ResponseWriter, r *http.Request) {
		io.WriteString(rw, `{"tree":[`)
		rw.(http.Flusher).Flush()
		<-end
	})
	_, err := w.update()
	wantCode(t, err, godwit.CodeTimeout)
}

// TestNoRanges: a host that knows no ranges sends all of it again.
func TestNoRanges(t *testing.T) {
	w := newWorld(t, GitHub)
	big := strings.Repeat("0123456789abcdef", 60_000)
	w.commit(map[string]string{"big": big})
	w.git("tag", "v1.0.0")
	w.host.Publish(fake.Release{Tag: "v1.0.0"})
	cut := true
	w.host.Front(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		if strings.Contains(r.URL.Path, "/big") {
			r.Header.Del("Range")
			if cut {
				rw = &cutter{rw, 500_000}
			}
		}
		next.ServeHTTP(rw, r)
	})
	_, err := w.update()
	wantCode(t, err, godwit.CodeNetwork)
	cut = false
	w.host.Requests()
	d, err := w.update()
	if err != nil || len(w.tree(d.Listing)) != 4 {
		t.Fatal(err)
	}
	whole := 0
	for _, r := range w.host.Requests() {
		if strings.Contains(r.Path, "/big") && r.Sent == int64(len(big)) {
			whole++
		}
	}
	if whole != 1 {
		t.Errorf("it came %d times", whole)
	}
}

// TestHTTPSOnly: what an answer names is not fetched without encryption, where the
// API has it.
func TestHTTPSOnly(t *testing.T) {
	w := newWorldAt(t, fake.Config{Kind: Gitea, TLS: true})
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: w.host.Certificate()}), 0o600); err != nil {
		t.Fatal(err)
	}
	w.cfg.Web.CAFile = ca
	w.git("tag", "v1.0.0")
	m := w.manifestOf("v1.0.0", "main.py")
	w.host.Publish(fake.Release{Tag: "v1.0.0", Assets: map[string][]byte{manifestName: m}})
	if _, err := w.update(); err != nil {
		t.Fatal(err)
	}
	plain := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { rw.Write(m) }))
	defer plain.Close()
	w.lie("releases/latest", `"browser_download_url":"`+w.cfg.URL, `"browser_download_url":"`+plain.URL)
	_, err := w.update()
	wantCode(t, err, godwit.CodeRedirect)
}

// TestRawHostLacksIt: the API has what the host of files does not.
func TestRawHostLacksIt(t *testing.T) {
	w := released(t, GitHub)
	w.cfg.Raw = w.host.Raw() + "/elsewhere"
	if d, err := w.update(); err != nil || len(w.tree(d.Listing)) != 3 {
		t.Error(err)
	}
}

// TestTokenStaysHome: an address in an answer does not get the token.
func TestTokenStaysHome(t *testing.T) {
	w := newWorldAt(t, fake.Config{Kind: Gitea, Token: "T"})
	w.git("tag", "v1.0.0")
	w.host.Publish(fake.Release{Tag: "v1.0.0", Assets: map[string][]byte{manifestName: w.manifestOf("v1.0.0", "main.py")}})
	thief := newWorld(t, GitHub).host
	w.lie("releases/latest", `"browser_download_url":"`+w.cfg.URL, `"browser_download_url":"`+thief.Raw())
	_, err := w.update()
	if err == nil {
		t.Error("the manifest was taken from elsewhere")
	}
	for _, r := range thief.Requests() {
		if r.Header.Get("Authorization") != "" {
			t.Error("the token was sent to another host")
		}
	}
}

// TestFullDisk: it is said what is missing.
func TestFullDisk(t *testing.T) {
	w := released(t, GitHub)
	w.cfg.State = fullFS{w.cfg.State}
	_, err := w.update()
	wantCode(t, err, godwit.CodeDiskFull)
}

type fullFS struct{ vfs.FS }

func (f fullFS) Open(name string, flag vfs.Flag) (vfs.File, error) {
	file, err := f.FS.Open(name, flag)
	if err == nil && flag&vfs.Write != 0 && strings.Contains(name, "level") {
		return fullFile{file}, nil
	}
	return file, err
}

type fullFile struct{ vfs.File }

func (fullFile) WriteAt([]byte, int64) (int, error) { return 0, vfs.ErrFull }
