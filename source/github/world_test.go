package github

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/source/github/fake"
	"github.com/godwit-ota/godwit/vfs"
)

// A world is a repository, a host that knows of it, and a device.
type world struct {
	*testing.T
	dir    string // the repository
	home   string // the device's state
	host   *fake.Host
	cfg    Config
	events []godwit.Event
	device
}

// newWorld makes a repository with one commit and no releases.
func newWorld(t *testing.T, kind string) *world {
	t.Helper()
	return newWorldAt(t, fake.Config{Kind: kind})
}

func newWorldAt(t *testing.T, c fake.Config) *world {
	t.Helper()
	w := &world{T: t, dir: t.TempDir(), home: t.TempDir(), device: device{}}
	w.git("init", "-q", "-b", "main")
	w.commit(map[string]string{"main.py": "print('one')\n", "lib/__init__.py": "", "lib/a.py": "a = 1\n"})
	c.Dir = w.dir
	var err error
	if w.host, err = fake.New(c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.host.Close)
	state, err := vfs.OS(w.home)
	if err != nil {
		t.Fatal(err)
	}
	w.cfg = Config{Kind: c.Kind, URL: w.host.URL(), Channel: stable, Token: c.Token, State: state, Folder: "api", Events: func(e godwit.Event) { w.events = append(w.events, e) }}
	if c.Kind == "" || c.Kind == GitHub {
		w.cfg.Raw = w.host.Raw()
	}
	w.cfg.Web.Backoff = time.Millisecond
	return w
}

func (w *world) git(args ...string) string {
	w.Helper()
	cmd := exec.Command("git", append([]string{"-C", w.dir}, args...)...)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "TZ=Asia/Kolkata",
		"GIT_AUTHOR_NAME=Ann Author", "GIT_AUTHOR_EMAIL=ann@example.org", "GIT_COMMITTER_NAME=Çem Committer", "GIT_COMMITTER_EMAIL=cem@example.org")
	out, err := cmd.CombinedOutput()
	if err != nil {
		w.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// commit changes files; a content of "-" removes one, "-> x" makes a link to x.
func (w *world) commit(files map[string]string) string {
	w.Helper()
	for name, content := range files {
		p := filepath.Join(w.dir, name)
		os.MkdirAll(filepath.Dir(p), 0o755)
		os.Remove(p)
		var err error
		if target, ok := strings.CutPrefix(content, "-> "); ok {
			err = os.Symlink(target, p)
		} else if content != "-" {
			mode := fs.FileMode(0o644)
			if strings.HasPrefix(content, "#!") {
				mode = 0o755
			}
			err = os.WriteFile(p, []byte(content), mode)
		}
		if err != nil {
			w.Fatal(err)
		}
	}
	w.git("add", "-A")
	w.git("commit", "-qm", "change")
	return w.git("rev-parse", "HEAD")
}

// sign makes git sign with a new key.
func (w *world) sign() {
	w.Helper()
	key := filepath.Join(w.TempDir(), "key")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key).CombinedOutput(); err != nil {
		w.Fatalf("ssh-keygen: %v\n%s", err, out)
	}
	w.git("config", "gpg.format", "ssh")
	w.git("config", "user.signingKey", key)
}

// open begins a run of the device.
func (w *world) open() *Source {
	w.Helper()
	s, err := New(w.cfg)
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { s.Close() })
	return s
}

// tip asks for the tip in a run of its own.
func (w *world) tip() (godwit.Tip, error) {
	w.Helper()
	s := w.open()
	defer s.Close()
	return s.Tip(w.Context())
}

// update does what an update does, with a gate that lets everything through.
func (w *world) update() (godwit.Described, error) {
	w.Helper()
	s := w.open()
	d, err := w.describe(s)
	if err == nil {
		err = s.Fetch(w.Context(), d, d.Listing, &w.device)
	}
	if d.Statement.Form != godwit.FileStatement {
		s.Close()
	}
	return d, err
}

// forget empties the state folder.
func (w *world) forget() {
	w.Helper()
	list, _ := filepath.Glob(filepath.Join(w.home, "api", "*"))
	for _, name := range list {
		if err := os.Remove(name); err != nil {
			w.Fatal(err)
		}
	}
}

func (w *world) describe(s *Source) (godwit.Described, error) {
	w.Helper()
	tip, err := s.Tip(w.Context())
	if err != nil {
		return godwit.Described{}, err
	}
	rel, err := s.Release(w.Context(), tip)
	if err != nil {
		return godwit.Described{}, err
	}
	return s.Describe(w.Context(), godwit.Verified{Release: rel}, nil)
}

// describeTree lists the tree of the last commit, whoever signed it.
func (w *world) describeTree(s *Source) (godwit.Listing, error) {
	return s.listTree(w.Context(), w.git("rev-parse", "HEAD^{tree}"))
}

// tree is what a listing holds, as "MODE PATH CONTENT".
func (w *world) tree(l godwit.Listing) (lines []string) {
	w.Helper()
	for e, err := range l {
		if err != nil {
			w.Fatal(err)
		}
		b, ok := w.device[e.Digest]
		if !ok {
			w.Fatalf("no content for %s", e.Path)
		}
		lines = append(lines, fmt.Sprintf("%s %s %q", e.Mode, e.Path, b))
	}
	return lines
}

func (w *world) want(got, want []string) {
	w.Helper()
	if !slices.Equal(got, want) {
		w.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// paths are the requests since the last call, as "SERVER STATUS PATH".
func (w *world) paths() (list []string) {
	for _, r := range w.host.Requests() {
		list = append(list, fmt.Sprintf("%s %d %s", r.Server, r.Status, r.Path))
	}
	return list
}

func wantCode(t *testing.T, err error, code godwit.Code) {
	t.Helper()
	if godwit.CodeOf(err) != code {
		t.Fatalf("got %v (%s), want code %s", err, godwit.CodeOf(err), code)
	}
}

// manifestOf makes a manifest of files of the repository.
func (w *world) manifestOf(version string, names ...string) []byte {
	w.Helper()
	type file struct {
		Path   string `json:"path"`
		Size   int    `json:"size"`
		SHA256 string `json:"sha256"`
	}
	files := []file{}
	for _, n := range names {
		b, err := os.ReadFile(filepath.Join(w.dir, n))
		if err != nil {
			w.Fatal(err)
		}
		sum := sha256.Sum256(b)
		files = append(files, file{n, len(b), hex.EncodeToString(sum[:])})
	}
	b, err := json.Marshal(map[string]any{"version": version, "files": files})
	if err != nil {
		w.Fatal(err)
	}
	return b
}

// device is the contents that a device holds.
type device map[godwit.Digest][]byte

func (d device) Has(id godwit.Digest) bool { _, ok := d[id]; return ok }

func (d device) Open(id godwit.Digest) (godwit.Object, error) { return nil, fs.ErrNotExist }

func (d device) Create(size int64) (godwit.NewObject, error) {
	return &newContent{d: d, size: size}, nil
}

type newContent struct {
	d    device
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
	n.d[id] = n.b
	return nil
}

// body reads a statement.
func body(t *testing.T, s godwit.Statement) string {
	t.Helper()
	b, err := io.ReadAll(io.NewSectionReader(s.Body, 0, s.Size))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// before lets fn answer requests whose path has a part, instead of the host.
func (w *world) before(part string, fn http.HandlerFunc) {
	w.host.Front(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		if strings.Contains(r.URL.RequestURI(), part) {
			fn(rw, r)
		} else {
			next.ServeHTTP(rw, r)
		}
	})
}

// lie replaces a text in the host's answers to requests whose path has a part.
func (w *world) lie(part, old, new string) {
	w.host.Front(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		if !strings.Contains(r.URL.RequestURI(), part) {
			next.ServeHTTP(rw, r)
			return
		}
		rec := httptest.NewRecorder()
		next.ServeHTTP(rec, r)
		b := bytes.ReplaceAll(rec.Body.Bytes(), []byte(old), []byte(new))
		for k, v := range rec.Header() {
			rw.Header()[k] = v
		}
		rw.Header().Set("Content-Length", fmt.Sprint(len(b)))
		rw.WriteHeader(rec.Code)
		rw.Write(b)
	})
}

// answer gives a fixed answer to requests whose path has a part.
func (w *world) answer(part, text string) {
	w.before(part, func(rw http.ResponseWriter, r *http.Request) { io.WriteString(rw, text) })
}

var time1 = time.Unix(1_800_000_000, 0)
