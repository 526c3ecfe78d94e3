package wire

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"iter"
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
	"github.com/godwit-ota/godwit/internal/githost"
)

// memory is a State for tests.
type memory struct {
	mu    sync.Mutex
	files map[string][]byte
	fail  error
}

func (m *memory) Load(name string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, ok := m.files[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return b, nil
}

func (m *memory) Save(name string, b []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return m.fail
	}
	if m.files == nil {
		m.files = map[string][]byte{}
	}
	m.files[name] = slices.Clone(b)
	return nil
}

// a testRepo is a bare repository with two commits on main and a tag.
type testRepo struct {
	t        testing.TB
	root     string // what a host serves
	dir      string // root/repo.git
	old, new string // commits; new is main
	tag      string // object id of the annotated tag v1.0 on old
}

func git(t testing.TB, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null",
		"GIT_AUTHOR_NAME=A", "GIT_AUTHOR_EMAIL=a@example.org", "GIT_AUTHOR_DATE=1700000000 +0000",
		"GIT_COMMITTER_NAME=A", "GIT_COMMITTER_EMAIL=a@example.org", "GIT_COMMITTER_DATE=1700000000 +0000")
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, exit.Stderr)
		}
		t.Fatalf("git %s: %v", strings.Join(args, " "), err)
	}
	return strings.TrimSpace(string(out))
}

func makeRepo(t testing.TB, format string) *testRepo {
	t.Helper()
	r := &testRepo{t: t, root: t.TempDir()}
	r.dir = filepath.Join(r.root, "repo.git")
	git(t, r.root, "init", "-q", "--bare", "--object-format="+format, "-b", "main", "repo.git")
	work := filepath.Join(t.TempDir(), "work")
	git(t, r.root, "init", "-q", "--object-format="+format, "-b", "main", work)
	write := func(name, content string) {
		if err := os.WriteFile(filepath.Join(work, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 20 {
		write("f"+strconv.Itoa(i), strings.Repeat("line of file "+strconv.Itoa(i)+"\n", 300))
	}
	git(t, work, "add", ".")
	git(t, work, "commit", "-q", "-m", "one")
	git(t, work, "tag", "-a", "-m", "first", "v1.0")
	write("f3", strings.Repeat("line of file 3\n", 299)+"changed\n")
	git(t, work, "commit", "-q", "-a", "-m", "two")
	git(t, work, "push", "-q", r.dir, "HEAD:main", "v1.0")
	git(t, r.dir, "symbolic-ref", "HEAD", "refs/heads/main")
	r.old, r.new, r.tag = git(t, r.dir, "rev-parse", "main~"), git(t, r.dir, "rev-parse", "main"), git(t, r.dir, "rev-parse", "v1.0")
	return r
}

func (r *testRepo) host(cfg githost.Config) *githost.Host {
	r.t.Helper()
	cfg.Root = r.root
	h, err := githost.Start(cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { h.Close() })
	return h
}

func dial(t testing.TB, cfg Config) *Client {
	t.Helper()
	if cfg.Backoff == 0 {
		cfg.Backoff = time.Millisecond
	}
	c, err := Dial(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func list(t testing.TB, c *Client, prefixes ...string) []Ref {
	t.Helper()
	var refs []Ref
	if err := c.ListRefs(context.Background(), prefixes, func(r Ref) error { refs = append(refs, r); return nil }); err != nil {
		t.Fatal(err)
	}
	return refs
}

// fetchInto fetches and indexes the pack with git itself, in a fresh
// repository, or in one that holds have. It gives the number of bytes.
func fetchInto(t testing.TB, c *Client, dir string, r FetchRequest) (int64, FetchInfo) {
	t.Helper()
	pack, info, err := c.Fetch(context.Background(), r)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	n, err := io.Copy(&b, pack)
	if err != nil {
		t.Fatal(err)
	}
	if err := pack.Close(); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("git", "index-pack", "--stdin", "--fix-thin")
	cmd.Dir = dir
	cmd.Stdin = &b
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("index-pack: %v\n%s", err, out)
	}
	return n, info
}

func codeIs(t testing.TB, err error, want godwit.Code) {
	t.Helper()
	if got := godwit.CodeOf(err); got != want {
		t.Fatalf("code %q, want %q: %v", got, want, err)
	}
	var e *godwit.Error
	if !errors.As(err, &e) || e.Text == "" || strings.ContainsAny(e.Text, "\n\x1b") || strings.HasSuffix(e.Text, ".") {
		t.Fatalf("not one clean sentence: %q", err)
	}
	t.Logf("%s: %v\n\thint: %s", want, err, e.Hint)
}

func seq(ids ...string) iter.Seq[string] { return slices.Values(ids) }

// transports gives the URL of the repository over each way there is.
func eachTransport(t *testing.T, r *testRepo, fn func(t *testing.T, cfg Config)) {
	t.Run("http", func(t *testing.T) { fn(t, Config{URL: r.host(githost.Config{}).URL("repo.git")}) })
	t.Run("http-v0", func(t *testing.T) { fn(t, Config{URL: r.host(githost.Config{Version0: true}).URL("repo.git")}) })
	t.Run("file", func(t *testing.T) { fn(t, Config{URL: "file://" + r.dir}) })
	t.Run("path", func(t *testing.T) { fn(t, Config{URL: r.dir}) })
}

func TestListAndFetch(t *testing.T) {
	for _, format := range []string{"sha1", "sha256"} {
		t.Run(format, func(t *testing.T) {
			r := makeRepo(t, format)
			git(t, r.dir, "config", "uploadpack.allowFilter", "true")
			eachTransport(t, r, func(t *testing.T, cfg Config) {
				c := dial(t, cfg)
				caps, err := c.Capabilities(context.Background())
				if err != nil {
					t.Fatal(err)
				}
				if caps.ObjectFormat != format || !caps.Shallow || !caps.Filter {
					t.Fatalf("capabilities %+v", caps)
				}
				refs := list(t, c)
				want := []Ref{{Name: "HEAD", ID: r.new, SymrefTarget: "refs/heads/main"},
					{Name: "refs/heads/main", ID: r.new}, {Name: "refs/tags/v1.0", ID: r.tag, Peeled: r.old}}
				if !slices.Equal(refs, want) {
					t.Fatalf("refs %+v, want %+v", refs, want)
				}
				if refs := list(t, c, "refs/tags/v1"); !slices.Equal(refs, want[2:]) {
					t.Fatalf("refs/tags/: %+v", refs)
				}
				if refs := list(t, c, "refs/heads/none"); len(refs) != 0 {
					t.Fatalf("none: %+v", refs)
				}
				stop := errors.New("stop")
				if err := c.ListRefs(context.Background(), nil, func(Ref) error { return stop }); err != stop {
					t.Fatalf("error of the function: %v", err)
				}

				// First the tagged commit alone, then the step to main as a thin
				// pack, in the two phases.
				dir := t.TempDir()
				git(t, dir, "init", "-q", "--bare", "--object-format="+format)
				first, info := fetchInto(t, c, dir, FetchRequest{Want: []string{r.tag}, Depth: 1, OfsDelta: true})
				if !slices.Equal(info.Shallow, []string{r.old}) {
					t.Fatalf("shallow %+v", info)
				}
				if err := os.WriteFile(filepath.Join(dir, "shallow"), []byte(r.old+"\n"), 0o644); err != nil {
					t.Fatal(err)
				}
				step := FetchRequest{Want: []string{r.new}, Have: seq(r.old), Shallow: []string{r.old}, Depth: 1, OfsDelta: true, ThinPack: true}
				trees := step
				trees.Filter = "blob:none"
				n1, _ := fetchInto(t, c, dir, trees)
				n2, _ := fetchInto(t, c, dir, step)
				t.Logf("first %d, trees %d, all %d bytes", first, n1, n2)
				if n1 >= n2 || n2 >= first {
					t.Fatal("the pack is not thin, or not filtered")
				}
				if got := git(t, dir, "show", r.new+":f3"); !strings.HasSuffix(got, "changed") {
					t.Fatalf("content %q", got)
				}
				if sent, received := c.Transferred(); sent == 0 || received < first {
					t.Fatalf("transferred %d, %d", sent, received)
				}
			})
		})
	}
}

func TestManyHaves(t *testing.T) {
	r := makeRepo(t, "sha1")
	eachTransport(t, r, func(t *testing.T, cfg Config) {
		c := dial(t, cfg)
		have := func(yield func(string) bool) {
			for i := range 20000 {
				s := strconv.Itoa(i)
				if !yield(strings.Repeat("a", 40-len(s)) + s) {
					return
				}
			}
			yield(r.old)
		}
		dir := t.TempDir()
		git(t, dir, "clone", "-q", "--bare", r.dir, ".")
		n, _ := fetchInto(t, c, dir, FetchRequest{Want: []string{r.new}, Have: have, ThinPack: true})
		if n > 2000 {
			t.Fatalf("%d bytes: the last have line was not seen", n)
		}
	})
}

func TestPollIsOneRequest(t *testing.T) {
	for _, version0 := range []bool{false, true} {
		r := makeRepo(t, "sha1")
		h := r.host(githost.Config{Version0: version0})
		state := &memory{}
		cfg := Config{URL: h.URL("repo.git"), State: state}
		list(t, dial(t, cfg), "refs/heads/main")
		before := h.Requests()
		c := dial(t, cfg)
		if refs := list(t, c, "refs/heads/main"); len(refs) != 1 || refs[0].ID != r.new {
			t.Fatalf("%+v", refs)
		}
		if n := h.Requests() - before; n != 1 {
			t.Errorf("version 0 %v: %d requests for a poll", version0, n)
		}
		sent, received := c.Transferred()
		t.Logf("version 0 %v: %d bytes sent, %d received", version0, sent, received)
	}
}
