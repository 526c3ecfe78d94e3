package lfs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/source/git/wire"
	"github.com/godwit-ota/godwit/vfs"
)

var _ Remote = (*wire.Client)(nil)

func pointerTo(b []byte) Pointer {
	sum := sha256.Sum256(b)
	return Pointer{OID: hex.EncodeToString(sum[:]), Size: int64(len(b))}
}

func noise(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{1})
	r.Read(b)
	return b
}

// An lfsServer is a Git host with LFS, and a storage host beside it.
type lfsServer struct {
	t        testing.TB
	host     *httptest.Server // batch API, and storage if near is set
	storage  *httptest.Server
	objects  map[string][]byte
	near     bool // the objects are on the Git host itself
	user     string
	password string

	mu      sync.Mutex
	batches int
	gets    []string // the Range of each request for an object
	serve   func(w http.ResponseWriter, r *http.Request, content []byte)
	answer  func(w http.ResponseWriter) bool // replaces the batch answer
	token   string                           // what the storage asks for; changes when it expires
}

func newServer(t testing.TB, contents ...[]byte) *lfsServer {
	s := &lfsServer{t: t, objects: map[string][]byte{}, user: "x-access-token", password: "s3cret", token: "one"}
	for _, c := range contents {
		s.objects[pointerTo(c).OID] = c
	}
	s.host = httptest.NewServer(http.HandlerFunc(s.onHost))
	s.storage = httptest.NewServer(http.HandlerFunc(s.onStorage))
	t.Cleanup(s.host.Close)
	t.Cleanup(s.storage.Close)
	s.serve = func(w http.ResponseWriter, r *http.Request, content []byte) {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	}
	return s
}

func (s *lfsServer) onHost(w http.ResponseWriter, r *http.Request) {
	if user, password, _ := r.BasicAuth(); user != s.user || password != s.password {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if s.near && strings.HasPrefix(r.URL.Path, "/objects/") {
		s.object(w, r)
		return
	}
	if r.URL.Path != "/team/repo.git/info/lfs/objects/batch" || r.Method != http.MethodPost ||
		r.Header.Get("Accept") != mediaType || r.Header.Get("Content-Type") != mediaType || r.ContentLength <= 0 {
		s.t.Errorf("%s %s %v", r.Method, r.URL, r.Header)
		w.WriteHeader(http.StatusNotFound)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.batches++
	if s.answer != nil && s.answer(w) {
		return
	}
	var q struct {
		Operation string
		Transfers []string
		Objects   []struct {
			OID  string
			Size int64
		}
	}
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil || q.Operation != "download" || !slices.Equal(q.Transfers, []string{"basic"}) {
		s.t.Errorf("batch request: %+v %v", q, err)
	}
	objects := []any{}
	for _, o := range q.Objects {
		if _, ok := s.objects[o.OID]; !ok {
			objects = append(objects, map[string]any{"oid": o.OID, "size": o.Size, "error": map[string]any{"code": 404, "message": "no such \x1b object"}})
			continue
		}
		href, header := s.storage.URL, map[string]string{"X-Storage": s.token, "Range": "bytes=0-0", "Host": "evil"}
		if s.near {
			href, header = s.host.URL, nil
		}
		objects = append(objects, map[string]any{"oid": o.OID, "size": o.Size, "actions": map[string]any{
			"download": map[string]any{"href": href + "/objects/" + o.OID, "header": header, "expires_in": 60}}})
	}
	w.Header().Set("Content-Type", mediaType)
	json.NewEncoder(w).Encode(map[string]any{"transfer": "basic", "objects": objects})
}

func (s *lfsServer) onStorage(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "" {
		s.t.Errorf("the Git host's credentials reached the storage: %v", r.Header)
	}
	s.mu.Lock()
	token := s.token
	s.mu.Unlock()
	if r.Header.Get("X-Storage") != token {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	s.object(w, r)
}

func (s *lfsServer) object(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.gets = append(s.gets, r.Header.Get("Range"))
	serve := s.serve
	s.mu.Unlock()
	serve(w, r, s.objects[strings.TrimPrefix(r.URL.Path, "/objects/")])
}

func (s *lfsServer) client() *Client {
	c, err := wire.Dial(wire.Config{URL: s.host.URL + "/team/repo", Token: s.password, Backoff: time.Millisecond})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	return New(c, "")
}

// a part is a real file.
func newPart(t testing.TB, content []byte) vfs.File {
	t.Helper()
	fsys, err := vfs.OS(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	f, err := fsys.Open("part", vfs.Write)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		f.Close()
		fsys.Close()
	})
	if _, err := f.WriteAt(content, 0); err != nil {
		t.Fatal(err)
	}
	return f
}

func contentOf(t testing.TB, f vfs.File) []byte {
	t.Helper()
	size, err := f.Size()
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, size)
	if _, err := f.ReadAt(b, 0); err != nil && err != io.EOF {
		t.Fatal(err)
	}
	return b
}

func TestDownload(t *testing.T) {
	content := noise(300_000)
	wrong := noise(300_001)[1:]
	cutAt := func(n int, times int) func(http.ResponseWriter, *http.Request, []byte) {
		return func(w http.ResponseWriter, r *http.Request, c []byte) {
			if times--; times < 0 {
				http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(c))
				return
			}
			rec := httptest.NewRecorder()
			http.ServeContent(rec, r, "", time.Time{}, bytes.NewReader(c))
			for k, v := range rec.Header() {
				w.Header()[k] = v
			}
			w.WriteHeader(rec.Code)
			w.Write(rec.Body.Bytes()[:min(n, rec.Body.Len())])
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}
	}
	always200 := func(w http.ResponseWriter, r *http.Request, c []byte) { w.Write(c) }
	for _, c := range []struct {
		name  string
		begin []byte // in part before
		serve func(http.ResponseWriter, *http.Request, []byte)
		code  godwit.Code
		gets  []string
		near  bool
	}{
		{name: "whole", gets: []string{""}},
		{name: "on the Git host", gets: []string{""}, near: true},
		{name: "resumed", begin: content[:100_000], gets: []string{"bytes=100000-"}},
		{name: "all there", begin: content, gets: nil},
		{name: "all there but wrong", begin: wrong, gets: []string{""}},
		{name: "too much there", begin: append(bytes.Clone(content), 0), gets: []string{""}},
		{name: "resumed from a wrong beginning", begin: wrong[:100_000], gets: []string{"bytes=100000-", ""}},
		{name: "cut twice", serve: cutAt(100_000, 2), gets: []string{"", "bytes=100000-", "bytes=200000-"}},
		{name: "cut for ever", serve: cutAt(0, 1000), code: godwit.CodeNetwork, gets: []string{"", "", "", ""}},
		{name: "no ranges, 200", begin: content[:100_000], serve: always200, gets: []string{"bytes=100000-"}},
		{name: "no ranges and cut at the same place", serve: func(w http.ResponseWriter, r *http.Request, c []byte) {
			w.Header().Set("Content-Length", strconv.Itoa(len(c)))
			w.Write(c[:50_000])
			panic(http.ErrAbortHandler)
		}, code: godwit.CodeNetwork, gets: []string{"", "bytes=50000-", "bytes=50000-", "bytes=50000-"}},
		{name: "206 from elsewhere", begin: content[:100_000], serve: func(w http.ResponseWriter, r *http.Request, c []byte) {
			if r.Header.Get("Range") == "" {
				w.Write(c)
				return
			}
			w.Header().Set("Content-Range", "bytes 0-299999/300000")
			w.WriteHeader(http.StatusPartialContent)
			w.Write(c)
		}, gets: []string{"bytes=100000-", ""}},
		{name: "206 without a range", begin: content[:100_000], serve: func(w http.ResponseWriter, r *http.Request, c []byte) {
			w.WriteHeader(http.StatusPartialContent)
			w.Write(c)
		}, code: godwit.CodeProtocol, gets: []string{"bytes=100000-", "", "", ""}},
		{name: "206 of another length", begin: content[:100_000], serve: func(w http.ResponseWriter, r *http.Request, c []byte) {
			if r.Header.Get("Range") == "" {
				w.Write(c)
				return
			}
			w.Header().Set("Content-Range", "bytes 100000-299999/300001")
			w.WriteHeader(http.StatusPartialContent)
			w.Write(c[100_000:])
		}, gets: []string{"bytes=100000-", ""}},
		{name: "416", begin: content[:100_000], serve: func(w http.ResponseWriter, r *http.Request, c []byte) {
			if r.Header.Get("Range") != "" {
				w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
				return
			}
			w.Write(c)
		}, gets: []string{"bytes=100000-", ""}},
		{name: "wrong content", serve: func(w http.ResponseWriter, r *http.Request, c []byte) { w.Write(wrong) }, code: godwit.CodeBadObject, gets: []string{""}},
		{name: "changed body after a cut", serve: func() func(http.ResponseWriter, *http.Request, []byte) {
			n := 0
			return func(w http.ResponseWriter, r *http.Request, c []byte) {
				switch n++; n {
				case 1:
					cutAt(100_000, 1)(w, r, wrong)
				default:
					http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(c))
				}
			}
		}(), gets: []string{"", "bytes=100000-", ""}},
		{name: "longer", serve: func(w http.ResponseWriter, r *http.Request, c []byte) {
			w.(http.Flusher).Flush() // no Content-Length
			w.Write(c)
			w.Write([]byte("more"))
		}, code: godwit.CodeBadObject, gets: []string{""}},
		{name: "longer, said beforehand", serve: func(w http.ResponseWriter, r *http.Request, c []byte) {
			w.Header().Set("Content-Length", strconv.Itoa(len(c)+1))
			w.Write(append(bytes.Clone(c), 0))
		}, code: godwit.CodeBadObject, gets: []string{""}},
		{name: "shorter", serve: func(w http.ResponseWriter, r *http.Request, c []byte) { w.Write(c[:1000]) }, code: godwit.CodeBadObject, gets: []string{""}},
		{name: "gzip", serve: func(w http.ResponseWriter, r *http.Request, c []byte) {
			w.Header().Set("Content-Encoding", "gzip")
			w.(http.Flusher).Flush()
		}, code: godwit.CodeProtocol, gets: []string{""}},
		{name: "500", serve: func(w http.ResponseWriter, r *http.Request, c []byte) { w.WriteHeader(500) }, code: godwit.CodeNetwork, gets: []string{""}},
		{name: "404", serve: func(w http.ResponseWriter, r *http.Request, c []byte) { w.WriteHeader(404) }, code: godwit.CodeNotFound, gets: []string{"", ""}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newServer(t, content)
			s.near = c.near
			if c.serve != nil {
				s.serve = c.serve
			}
			part := newPart(t, c.begin)
			var last int64
			client := s.client()
			if err := client.Prepare(context.Background(), []Pointer{pointerTo(content)}); err != nil {
				t.Fatal(err)
			}
			err := client.Download(context.Background(), pointerTo(content), part, func(n int64) { last = n })
			if got := godwit.CodeOf(err); got != c.code {
				t.Fatalf("code %q, want %q: %v", got, c.code, err)
			}
			if err != nil {
				t.Log(err)
			} else if !bytes.Equal(contentOf(t, part), content) {
				t.Fatal("the content is wrong")
			} else if len(c.gets) > 0 && last != int64(len(content)) {
				t.Errorf("progress ended at %d", last)
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			if !slices.Equal(s.gets, c.gets) {
				t.Errorf("ranges %q, want %q", s.gets, c.gets)
			}
		})
	}
}

// TestRestart: what an interrupted run left is where the next one goes on.
func TestRestart(t *testing.T) {
	content := noise(2_000_000)
	s := newServer(t, content)
	part := newPart(t, nil)
	var total int64
	for runs := 0; ; runs++ {
		if runs > 100 {
			t.Fatal("no end")
		}
		ctx, cancel := context.WithCancel(context.Background())
		before, _ := part.Size()
		err := s.client().Download(ctx, pointerTo(content), part, func(n int64) {
			if n > before+250_000 {
				cancel()
			}
		})
		cancel()
		after, _ := part.Size()
		total += after - before
		if err == nil {
			break
		}
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(contentOf(t, part), content) || total != int64(len(content)) {
		t.Fatalf("%d bytes received", total)
	}
	t.Logf("%d requests", len(s.gets))
}

func TestExpiredAddress(t *testing.T) {
	content := noise(1000)
	s := newServer(t, content)
	c := s.client()
	if err := c.Prepare(context.Background(), []Pointer{pointerTo(content)}); err != nil {
		t.Fatal(err)
	}
	s.token = "two"
	if err := c.Download(context.Background(), pointerTo(content), newPart(t, nil), nil); err != nil {
		t.Fatal(err)
	}
	if s.batches != 2 {
		t.Errorf("%d batch requests", s.batches)
	}
}

func TestBatch(t *testing.T) {
	content, missing := noise(1000), pointerTo([]byte("missing"))
	say := func(status int, kind, body string) func(http.ResponseWriter) bool {
		return func(w http.ResponseWriter) bool {
			w.Header().Set("Content-Type", kind)
			w.WriteHeader(status)
			io.WriteString(w, body)
			return true
		}
	}
	download := func(href string) string {
		p := pointerTo(content)
		return fmt.Sprintf(`{"objects":[{"oid":%q,"size":%d,"actions":{"download":{"href":%q}}}]}`, p.OID, p.Size, href)
	}
	for name, c := range map[string]struct {
		answer func(http.ResponseWriter) bool
		p      Pointer
		code   godwit.Code
	}{
		"missing":            {nil, missing, godwit.CodeMissingObject},
		"401":                {say(401, "", ""), pointerTo(content), godwit.CodeUnauthorized},
		"404":                {say(404, "", ""), pointerTo(content), godwit.CodeNotFound},
		"429":                {say(429, "", ""), pointerTo(content), godwit.CodeRetryAfter},
		"500":                {say(500, "", ""), pointerTo(content), godwit.CodeNetwork},
		"302":                {say(302, "", ""), pointerTo(content), godwit.CodeRedirect},
		"html":               {say(200, "text/html", "<html>"), pointerTo(content), godwit.CodeProtocol},
		"empty":              {say(200, mediaType, "{}"), pointerTo(content), godwit.CodeMissingObject},
		"endless":            {say(200, mediaType, strings.Repeat(" ", maxBatchAnswer+10)), pointerTo(content), godwit.CodeProtocol},
		"other transfer":     {say(200, mediaType, `{"transfer":"tus"}`), pointerTo(content), godwit.CodeProtocol},
		"other hash":         {say(200, mediaType, `{"hash_algo":"md5"}`), pointerTo(content), godwit.CodeProtocol},
		"other size":         {say(200, mediaType, strings.Replace(download("http://h/x"), `"size":1000`, `"size":1001`, 1)), pointerTo(content), godwit.CodeBadObject},
		"relative":           {say(200, mediaType, download("/x")), pointerTo(content), godwit.CodeProtocol},
		"file":               {say(200, mediaType, download("file:///etc/passwd")), pointerTo(content), godwit.CodeProtocol},
		"refused":            {say(200, mediaType, `{"objects":[{"oid":"`+pointerTo(content).OID+`","error":{"code":403,"message":"no"}}]}`), pointerTo(content), godwit.CodeUnauthorized},
		"not a pointer":      {nil, Pointer{OID: "../../etc/passwd", Size: 1}, godwit.CodeBadObject},
		"nobody is there":    {say(200, mediaType, download("http://127.0.0.1:1/x")), pointerTo(content), godwit.CodeNetwork},
		"what was not asked": {say(200, mediaType, strings.Replace(download("http://h/x"), pointerTo(content).OID, missing.OID, 1)), pointerTo(content), godwit.CodeMissingObject},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, content)
			s.answer = c.answer
			part := newPart(t, nil)
			err := s.client().Download(context.Background(), c.p, part, nil)
			if got := godwit.CodeOf(err); got != c.code {
				t.Fatalf("code %q, want %q: %v", got, c.code, err)
			}
			if strings.ContainsAny(err.Error(), "\x1b\n") {
				t.Errorf("control characters in %q", err)
			}
			t.Log(err)
		})
	}
	t.Run("many at once", func(t *testing.T) {
		var contents [][]byte
		var pointers []Pointer
		for i := range 60 {
			b := []byte(strconv.Itoa(i))
			contents, pointers = append(contents, b), append(pointers, pointerTo(b))
		}
		s := newServer(t, contents...)
		c := s.client()
		// One that is missing does not keep the others back.
		if err := c.Prepare(context.Background(), append(pointers, missing)); err != nil {
			t.Fatal(err)
		}
		for i, p := range pointers {
			part := newPart(t, nil)
			if err := c.Download(context.Background(), p, part, nil); err != nil || !bytes.Equal(contentOf(t, part), contents[i]) {
				t.Fatal(i, err)
			}
		}
		if s.batches != 1 {
			t.Errorf("%d batch requests", s.batches)
		}
		if err := c.Download(context.Background(), missing, newPart(t, nil), nil); godwit.CodeOf(err) != godwit.CodeMissingObject {
			t.Error(err)
		}
	})
}

func TestStorageRedirects(t *testing.T) {
	content := noise(1000)
	s := newServer(t, content)
	far := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Storage") != "" || r.Header.Get("Authorization") != "" {
			t.Errorf("a token went further than the host it is for: %v", r.Header)
		}
		if r.URL.Path == "/loop" {
			http.Redirect(w, r, "/loop", http.StatusFound)
			return
		}
		w.Write(content)
	}))
	t.Cleanup(far.Close)
	to := "/x"
	s.serve = func(w http.ResponseWriter, r *http.Request, _ []byte) {
		http.Redirect(w, r, far.URL+to, http.StatusFound)
	}
	if err := s.client().Download(context.Background(), pointerTo(content), newPart(t, nil), nil); err != nil {
		t.Fatal(err)
	}
	to = "/loop"
	if err := s.client().Download(context.Background(), pointerTo(content), newPart(t, nil), nil); godwit.CodeOf(err) != godwit.CodeRedirect {
		t.Fatal(err)
	}
}

// TestDiskErrors: they reach the caller as they are, for it to name.
func TestDiskErrors(t *testing.T) {
	content := noise(1000)
	s := newServer(t, content)
	full := errors.New("no space left")
	err := s.client().Download(context.Background(), pointerTo(content), badPart{full}, nil)
	if !errors.Is(err, full) {
		t.Fatal(err)
	}
}

type badPart struct{ err error }

func (badPart) ReadAt([]byte, int64) (int, error)    { return 0, io.EOF }
func (b badPart) WriteAt([]byte, int64) (int, error) { return 0, b.err }
func (badPart) Size() (int64, error)                 { return 0, nil }
func (badPart) Truncate(int64) error                 { return nil }

// TestRealClient takes pointers that git lfs made, from a repository that it
// pushed to.
func TestRealClient(t *testing.T) {
	if out, err := exec.Command("git", "lfs", "version").CombinedOutput(); err != nil {
		t.Skipf("there is no git lfs here (Debian: git-lfs): %s", out)
	}
	dir := t.TempDir()
	bare, work := filepath.Join(dir, "repo.git"), filepath.Join(dir, "work")
	git := func(at string, args ...string) []byte {
		t.Helper()
		cmd := exec.Command("git", args...)
		cmd.Dir = at
		cmd.Env = append(os.Environ(), "HOME="+dir, "GIT_CONFIG_NOSYSTEM=1", "GIT_AUTHOR_NAME=A", "GIT_AUTHOR_EMAIL=a@b", "GIT_COMMITTER_NAME=A", "GIT_COMMITTER_EMAIL=a@b")
		var problems bytes.Buffer
		cmd.Stderr = &problems
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, problems.Bytes())
		}
		return out
	}
	git(dir, "init", "-q", "--bare", "-b", "main", bare)
	git(dir, "init", "-q", "-b", "main", work)
	git(work, "lfs", "install", "--local")
	git(work, "lfs", "track", "*.bin")
	content := noise(200_000)
	if err := os.WriteFile(filepath.Join(work, "big.bin"), content, 0o644); err != nil {
		t.Fatal(err)
	}
	git(work, "add", ".")
	git(work, "commit", "-q", "-m", "one")
	git(work, "remote", "add", "origin", "file://"+bare)
	git(work, "push", "-q", "origin", "main")
	p, err := ParsePointer(git(bare, "cat-file", "blob", "main:big.bin"))
	if err != nil || p != pointerTo(content) {
		t.Fatalf("%+v, %v", p, err)
	}
	if d := p.Digest(); d.Hex() != p.OID || d.Algorithm != godwit.SHA256 {
		t.Fatal(d)
	}
	for _, u := range []string{"file://" + bare, bare, work} {
		remote, err := wire.Dial(wire.Config{URL: u})
		if err != nil {
			t.Fatal(err)
		}
		for name, begin := range map[string][]byte{"empty": nil, "begun": content[:1234], "wrong": noise(77)[7:], "whole": content} {
			part := newPart(t, begin)
			c := New(remote, "")
			if err := c.Prepare(context.Background(), []Pointer{p}); err != nil {
				t.Fatal(err)
			}
			if err := c.Download(context.Background(), p, part, nil); err != nil || !bytes.Equal(contentOf(t, part), content) {
				t.Fatalf("%s, %s: %v", u, name, err)
			}
			if err := c.Download(context.Background(), pointerTo([]byte("other")), newPart(t, nil), nil); godwit.CodeOf(err) != godwit.CodeMissingObject {
				t.Fatal(err)
			}
		}
		remote.Close()
	}
	// A damaged object of the repository is told.
	oid := p.OID
	stored := filepath.Join(bare, "lfs", "objects", oid[:2], oid[2:4], oid)
	for name, damaged := range map[string][]byte{"short": content[:5], "long": append(bytes.Clone(content), 1), "wrong": noise(200_001)[1:]} {
		os.Chmod(stored, 0o644)
		if err := os.WriteFile(stored, damaged, 0o644); err != nil {
			t.Fatal(err)
		}
		remote, _ := wire.Dial(wire.Config{URL: bare})
		if err := New(remote, "").Download(context.Background(), p, newPart(t, nil), nil); godwit.CodeOf(err) != godwit.CodeBadObject {
			t.Errorf("%s: %v", name, err)
		}
		remote.Close()
	}
}
