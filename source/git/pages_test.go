package git

import (
	"bytes"
	"fmt"
	"math/rand"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/internal/githost"
	"github.com/godwit-ota/godwit/internal/githost/nethttp"
	"github.com/godwit-ota/godwit/source/git/object"
	"github.com/godwit-ota/godwit/vfs"
)

// A pageHost is a host whose links break after so many bytes of an answer, and which
// has pages that give single files.
type pageHost struct {
	*world
	form  string
	front func(w http.ResponseWriter, r *http.Request) bool // instead of a page

	mu    sync.Mutex
	limit int64 // bytes of an answer, none if below 0
	once  int   // for so many answers of Git the limit holds, if not 0
	asked []string
}

func newPageHost(t *testing.T, o worldOptions) *pageHost {
	h := &pageHost{limit: -1, form: "/raw/commit/"}
	o.host.Wrap = nethttp.Wrap(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			limit := h.see(r.URL.Path)
			// A page is cut as any other answer.
			cutAfter(&limit)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if strings.Contains(r.URL.Path, "/raw/") && h.front != nil && h.front(w, r) {
					return
				}
				nethttp.Pages(filepath.Dir(h.repo.Dir), h.form)(next).ServeHTTP(w, r)
			})).ServeHTTP(w, r)
		})
	})
	h.world = newWorld(t, o)
	h.cfg.Remote.Attempts, h.cfg.Remote.Backoff = 2, time.Millisecond
	return h
}

// see notes a request, and gives the limit for its answer.
func (h *pageHost) see(path string) int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asked = append(h.asked, path)
	limit := h.limit
	if strings.HasSuffix(path, "upload-pack") {
		if h.once--; h.once == 0 {
			h.limit = -1 // from the next answer on
		}
	}
	return limit
}

// cut sets the limit.
func (h *pageHost) cut(limit int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.limit = limit
}

// pageRequests is how often pages were asked for since the last call.
func (h *pageHost) pageRequests() (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, at := range h.asked {
		if strings.Contains(at, "/raw/") {
			n++
		}
	}
	h.asked = nil
	return n
}

func noise(seed int64, n int) githost.Change {
	b := make([]byte, n)
	rand.New(rand.NewSource(seed)).Read(b)
	return githost.Change{Content: b}
}

// TestPages: a file that is larger than what comes between two cuts comes from the
// host's pages, at little more than its own size.
func TestPages(t *testing.T) {
	for _, o := range []worldOptions{{}, {format: "sha256"}, {host: githost.Config{NoFilter: true}}} {
		for _, form := range []string{"/raw/commit/", "/-/raw/", "/raw/"} {
			if form != "/raw/commit/" && o.name() != (worldOptions{}).name() {
				continue
			}
			t.Run(o.name()+form, func(t *testing.T) {
				h := newPageHost(t, o)
				h.form = form
				h.commit(bigTree(30, 1))
				h.update()
				if n := h.pageRequests(); n > 0 {
					t.Errorf("pages are asked for %d times where nothing breaks", n)
				}
				h.commit(map[string]githost.Change{"a name/with % and ü": noise(1, 1_000_000), "a-empty": githost.Text(""), "small": githost.Text("small\n"), "z": noise(2, 200_000)})
				h.cut(90_000)
				total, _ := h.traffic(h.untilDone)
				if most := int64(1_200_000 * 115 / 100); total > most && !o.host.NoFilter || total > most+90_000 {
					t.Errorf("%d bytes", total)
				}
				if n := h.pageRequests(); n < 14 || n > 20 {
					t.Errorf("%d requests for pages", n)
				}
				h.noBeginnings()
			})
		}
	}
}

// untilDone tries again as long as the link breaks.
func (h *pageHost) untilDone() {
	h.t.Helper()
	for range 6 {
		rel, err := h.tryUpdate()
		if err == nil {
			h.check(rel.Commit)
			return
		}
		if godwit.CodeOf(err) != godwit.CodeNetwork {
			h.t.Fatalf("%v (%s)", err, godwit.CodeOf(err))
		}
		h.t.Log(err)
	}
	h.t.Error("it never ends")
}

func (h *pageHost) noBeginnings() {
	h.t.Helper()
	h.cfg.State.ReadDir(h.cfg.Folder, func(i vfs.Info) error {
		if strings.HasPrefix(i.Name, pagePrefix) {
			h.t.Errorf("%s is left", i.Name)
		}
		return nil
	})
}

// TestPagesResume: what came before the process ended is not asked for again.
func TestPagesResume(t *testing.T) {
	h := newPageHost(t, worldOptions{})
	h.commit(bigTree(3, 1))
	h.update()
	h.cfg.Remote.Attempts = 1 // each run ends with the first cut
	h.commit(map[string]githost.Change{"noise": noise(1, 500_000)})
	h.cut(90_000)
	runs := 0
	total, _ := h.traffic(func() {
		for ; ; runs++ {
			rel, err := h.tryUpdate()
			if err == nil {
				h.check(rel.Commit)
				return
			}
			if runs > 12 {
				t.Fatal(err)
			}
		}
	})
	if runs < 5 || total > 500_000*145/100 {
		t.Errorf("%d bytes in %d runs", total, runs)
	}
	h.noBeginnings()
}

// TestPagesTorn: what a power cut made of a beginning is found out at the end, and
// the file comes anew.
func TestPagesTorn(t *testing.T) {
	for name, torn := range map[string][]byte{"zeros": make([]byte, 70_000), "too long": make([]byte, 300_000), "as long": make([]byte, 200_000)} {
		t.Run(name, func(t *testing.T) {
			h := newPageHost(t, worldOptions{})
			h.commit(bigTree(3, 1))
			h.update()
			file := noise(1, 200_000)
			h.commit(map[string]githost.Change{"noise": file})
			hash := object.NewHasher(object.SHA1)
			hash.Reset(object.Blob, int64(len(file.Content)))
			hash.Write(file.Content)
			id, err := hash.ID()
			if err != nil {
				t.Fatal(err)
			}
			if err := vfs.WriteFile(h.cfg.State, h.cfg.Folder+"/"+pageName(id), torn); err != nil {
				t.Fatal(err)
			}
			h.cut(90_000)
			rel, err := h.tryUpdate()
			if err != nil {
				t.Fatal(err)
			}
			h.check(rel.Commit)
			h.noBeginnings()
		})
	}
}

// TestPagesThatAreNoUse: whatever the pages give, the tree is right or the error says
// what it is about.
func TestPagesThatAreNoUse(t *testing.T) {
	wrong := noise(9, 200_000).Content
	for name, front := range map[string]func(w http.ResponseWriter, r *http.Request){
		"none":         http.NotFound,
		"a login page": func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("<html>please log in")) },
		"elsewhere":    func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/login", http.StatusFound) },
		"no ranges":    func(w http.ResponseWriter, r *http.Request) { w.Write(wrong) },
		"forbidden":    func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusForbidden) },
		"another content": func(w http.ResponseWriter, r *http.Request) {
			http.ServeContent(w, r, "", time.Time{}, strings.NewReader(string(wrong[1:])))
		},
		"another size": func(w http.ResponseWriter, r *http.Request) {
			http.ServeContent(w, r, "", time.Time{}, strings.NewReader("short"))
		},
		"the wrong range": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Range", "bytes 5-9/200000")
			w.WriteHeader(http.StatusPartialContent)
			w.Write(wrong[5:10])
		},
		"a size unknown": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Range", "bytes 0-9/*")
			w.WriteHeader(http.StatusPartialContent)
			w.Write(wrong[:10])
		},
		"more than it said": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Range", "bytes 0-9/10")
			w.WriteHeader(http.StatusPartialContent)
			w.Write(wrong[:100])
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newPageHost(t, worldOptions{})
			first := h.commit(bigTree(3, 1))
			h.update()
			h.commit(map[string]githost.Change{"noise": noise(1, 200_000)})
			h.front = func(w http.ResponseWriter, r *http.Request) bool { front(w, r); return true }
			h.cut(90_000)
			if _, err := h.tryUpdate(); err == nil || !strings.Contains(err.Error(), "broke before the file that is missing was whole") {
				t.Error(err)
			}
			h.check(first)
			h.noBeginnings()
			h.cut(-1)
			h.update()
		})
	}
}

// TestPagesTooLarge: what the device takes no file of, it does not take from pages
// either, and nothing stays of it.
func TestPagesTooLarge(t *testing.T) {
	for name, c := range map[string]struct {
		err     error // of the device, for large files
		reserve int64
		want    godwit.Code
	}{
		"limit":                   {godwit.Fail(godwit.CodeLimit, nil, "too large", ""), 0, godwit.CodeLimit},
		"no room":                 {godwit.Fail(godwit.CodeDiskFull, nil, "no room", ""), 0, godwit.CodeDiskFull},
		"no room for two of them": {nil, 1 << 50, godwit.CodeNetwork},
	} {
		t.Run(name, func(t *testing.T) {
			h := newPageHost(t, worldOptions{})
			h.commit(bigTree(3, 1))
			h.update()
			h.commit(map[string]githost.Change{"noise": noise(1, 200_000)})
			h.cfg.Reserve = c.reserve
			h.front = func(w http.ResponseWriter, r *http.Request) bool {
				w.Header().Set("Content-Range", "bytes 0-999999999/1000000000")
				w.WriteHeader(http.StatusPartialContent)
				for range 1000 {
					w.Write(make([]byte, 1000))
				}
				return true
			}
			h.fail = func(size int64) error {
				if size > 250_000 {
					return c.err
				}
				return nil
			}
			h.cut(90_000)
			_, err := h.tryUpdate()
			if godwit.CodeOf(err) != c.want {
				t.Errorf("%v (%s)", err, godwit.CodeOf(err))
			}
			h.noBeginnings()
		})
	}
}

// TestPagesDown: pages that do not answer do not keep a file from coming with Git.
func TestPagesDown(t *testing.T) {
	for name, front := range map[string]func(w http.ResponseWriter, r *http.Request){
		"hang up": func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) },
		"fault":   func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusBadGateway) },
	} {
		for _, begun := range []bool{false, true} {
			t.Run(fmt.Sprint(name, " begun ", begun), func(t *testing.T) {
				h := newPageHost(t, worldOptions{})
				h.commit(bigTree(3, 1))
				h.update()
				h.commit(map[string]githost.Change{"noise": noise(1, 300_000)})
				var answered atomic.Int32
				h.front = func(w http.ResponseWriter, r *http.Request) bool {
					if answered.Add(1) == 1 && begun {
						return false
					}
					front(w, r)
					return true
				}
				h.cut(90_000)
				if _, err := h.tryUpdate(); godwit.CodeOf(err) != godwit.CodeNetwork {
					t.Fatalf("%v (%s)", err, godwit.CodeOf(err))
				}
				h.cut(-1)
				h.update()
				h.commit(map[string]githost.Change{"noise": noise(2, 300)})
				h.update()
				h.noBeginnings() // of the release before
			})
		}
	}
}

// TestPagesAfterAFault: a server that begins anew in the middle costs no bytes.
func TestPagesAfterAFault(t *testing.T) {
	h := newPageHost(t, worldOptions{})
	h.commit(bigTree(3, 1))
	h.update()
	h.commit(map[string]githost.Change{"noise": noise(1, 600_000)})
	var answered atomic.Int32
	h.front = func(w http.ResponseWriter, r *http.Request) bool {
		if answered.Add(1) != 5 {
			return false
		}
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	}
	h.cut(90_000)
	total, _ := h.traffic(h.untilDone)
	if total > 600_000*135/100 {
		t.Errorf("%d bytes", total)
	}
	h.noBeginnings()
}

// TestPagesAndDifferences: of a file that is here in an older version Git sends the
// difference. One cut is no reason to fetch all of it.
func TestPagesAndDifferences(t *testing.T) {
	h := newPageHost(t, worldOptions{})
	old := noise(1, 2_000_000).Content
	h.commit(map[string]githost.Change{"file": {Content: old}})
	h.update()
	changed := bytes.Clone(old)
	copy(changed[1_000_000:], noise(2, 60_000).Content)
	h.commit(map[string]githost.Change{"file": {Content: changed}})
	h.cut(50_000)
	h.once = 2 // the list of refs, and a pack
	total, _ := h.traffic(h.untilDone)
	if n := h.pageRequests(); n > 0 || total > 130_000 {
		t.Errorf("%d bytes, %d requests for pages", total, n)
	}
}
