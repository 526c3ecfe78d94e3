package git

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/internal/githost"
	"github.com/godwit-ota/godwit/internal/githost/nethttp"
)

// lfsServer answers for the LFS objects of a host's repositories.
type lfsServer struct {
	objects map[string][]byte
	cut     int // break downloads off after so many bytes, once each
	ranges  int
	batches int
}

func (l *lfsServer) pointer(b []byte) githost.Change {
	sum := sha256.Sum256(b)
	oid := hex.EncodeToString(sum[:])
	l.objects[oid] = b
	return githost.Text(fmt.Sprintf("version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize %d\n", oid, len(b)))
}

func (l *lfsServer) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/info/lfs/objects/batch"):
			l.batches++
			type object struct {
				OID     string         `json:"oid"`
				Size    int64          `json:"size"`
				Actions map[string]any `json:"actions"`
			}
			var body struct {
				Objects []object `json:"objects"`
			}
			json.NewDecoder(r.Body).Decode(&body)
			for i := range body.Objects {
				o := &body.Objects[i]
				o.Actions = map[string]any{"download": map[string]any{"href": "http://" + r.Host + "/lfs-object/" + o.OID}}
			}
			w.Header().Set("Content-Type", "application/vnd.git-lfs+json")
			json.NewEncoder(w).Encode(body)
		case strings.HasPrefix(r.URL.Path, "/lfs-object/"):
			b, ok := l.objects[strings.TrimPrefix(r.URL.Path, "/lfs-object/")]
			if !ok {
				http.NotFound(w, r)
				return
			}
			if r.Header.Get("Range") != "" {
				l.ranges++
			}
			if l.cut > 0 && len(b) > l.cut {
				n := l.cut
				l.cut = 0
				w.Header().Set("Content-Length", fmt.Sprint(len(b)))
				w.Write(b[:n])
				w.(http.Flusher).Flush()
				panic(http.ErrAbortHandler)
			}
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// checkLFS is world.check for a tree with pointers in it.
func (w *world) checkLFS(l *lfsServer, want map[string][]byte) {
	w.t.Helper()
	for p, b := range want {
		if e := w.tree[p]; e.Digest.Algorithm != godwit.SHA256 || e.Size != int64(len(b)) || !bytes.Equal(w.contents[e.Digest], b) {
			w.t.Errorf("%s is %+v", p, e)
		}
	}
}

func TestLFS(t *testing.T) {
	for _, filter := range []func(string) bool{nil, func(p string) bool { return !strings.HasPrefix(p, "dir1/") }} {
		for _, typed := range []string{"true", "false"} {
			t.Run(fmt.Sprint("filter ", filter != nil, " by type ", typed), func(t *testing.T) {
				l := &lfsServer{objects: make(map[string][]byte)}
				w := newWorld(t, worldOptions{host: githost.Config{Wrap: nethttp.Wrap(l.wrap), Config: map[string]string{"uploadpackfilter.object:type.allow": typed}}})
				w.cfg.LFS, w.cfg.Filter = true, filter
				rnd := rand.New(rand.NewSource(1))
				data := func(n int) []byte { b := make([]byte, n); rnd.Read(b); return b }
				one, two, three := data(50_000), data(3000), data(10)

				tree := bigTree(40, 1)
				tree["model.bin"], tree["dir2/other.bin"], tree["dir2/same.bin"] = l.pointer(one), l.pointer(two), l.pointer(two)
				tree["looks-like.one"] = githost.Text("version https://git-lfs.github.com/spec/v1\nno pointer\n")
				w.commit(tree)
				want := map[string][]byte{"model.bin": one, "dir2/other.bin": two, "dir2/same.bin": two}
				install := func() {
					t.Helper()
					if _, err := w.tryUpdate(); err != nil {
						t.Fatalf("%v (%s)", err, godwit.CodeOf(err))
					}
					w.checkLFS(l, want)
				}
				install()
				if e := w.tree["looks-like.one"]; e.Digest.Algorithm != godwit.GitSHA1 {
					t.Errorf("%+v", e)
				}
				if l.batches != 1 {
					t.Errorf("%d batches", l.batches)
				}
				// A plain file becomes a pointer, a pointer changes, one goes away.
				l.cut = 20_000
				w.commit(map[string]githost.Change{"empty": l.pointer(three), "model.bin": l.pointer(append(one, "more"...)), "dir2/same.bin": githost.Text("plain\n"),
					"dir3/file": githost.Text("more\n")})
				want["empty"], want["model.bin"] = three, append(one, "more"...)
				delete(want, "dir2/same.bin")
				install()
				if l.ranges == 0 {
					t.Error("the download did not go on where it was cut")
				}
				for i := range maxSegments + 2 {
					w.commit(map[string]githost.Change{"dir3/file": githost.Text(fmt.Sprint(i))})
					// Also behind the compaction of the cache the server need
					// send no more than what changed.
					if n, _ := w.traffic(install); n > 5000 {
						t.Errorf("%d bytes for one small change", n)
					}
				}
				if list, _ := filepath.Glob(filepath.Join(stateDir(w), "lfs-*")); len(list) > 0 {
					t.Errorf("left over: %s", list)
				}

				// Switched off, the pointers themselves are installed.
				w.cfg.LFS = false
				w.update()
				w.cfg.LFS = true
				install()
			})
		}
	}
}

// A server that does not give what a pointer names, and a host that cannot
// filter, leave the old tree.
func TestLFSFaults(t *testing.T) {
	l := &lfsServer{objects: make(map[string][]byte)}
	w := newWorld(t, worldOptions{host: githost.Config{Wrap: nethttp.Wrap(l.wrap)}})
	w.cfg.LFS = true
	w.commit(map[string]githost.Change{"a": l.pointer([]byte("content"))})
	for oid := range l.objects {
		l.objects[oid] = []byte("tampered")[:7]
	}
	if _, err := w.tryUpdate(); godwit.CodeOf(err) != godwit.CodeBadObject {
		t.Errorf("tampered: %v (%s)", err, godwit.CodeOf(err))
	}
	clear(l.objects)
	if _, err := w.tryUpdate(); godwit.CodeOf(err) != godwit.CodeNotFound && godwit.CodeOf(err) != godwit.CodeMissingObject {
		t.Errorf("missing: %v (%s)", err, godwit.CodeOf(err))
	}
	w = newWorld(t, worldOptions{host: githost.Config{NoFilter: true}})
	w.cfg.LFS = true
	w.commit(map[string]githost.Change{"a": githost.Text("b")})
	if _, err := w.tryUpdate(); godwit.CodeOf(err) != godwit.CodeProtocol || !strings.Contains(err.Error(), "LFS") {
		t.Errorf("without filter: %v (%s)", err, godwit.CodeOf(err))
	}
	if len(w.tree) != 0 {
		t.Error("something was installed")
	}
}

// The pointers of an exchange that was cut are asked for again.
func TestLFSCut(t *testing.T) {
	l := &lfsServer{objects: make(map[string][]byte)}
	limit := int64(-1)
	w := newWorld(t, worldOptions{host: githost.Config{Wrap: nethttp.Wrap(func(next http.Handler) http.Handler { return l.wrap(cutAfter(&limit)(next)) })}})
	w.cfg.LFS = true
	content := []byte("the content that the pointer stands for")
	tree := bigTree(30, 1)
	tree["model.bin"] = l.pointer(content)
	w.commit(tree)
	ends := 0
	for n := int64(200); ends == 0; n += 700 {
		limit = n
		if _, err := w.tryUpdate(); err == nil {
			ends++
		} else if godwit.CodeOf(err) != godwit.CodeNetwork {
			t.Fatalf("after %d bytes: %v (%s)", n, err, godwit.CodeOf(err))
		}
		if n > 1<<20 {
			t.Fatal("it never ends")
		}
		if _, err := os.Stat(stateDir(w)); err != nil {
			t.Fatal(err)
		}
	}
	w.checkLFS(l, map[string][]byte{"model.bin": content})
}

// TestLFSGoesOn: a server that falls silent again and again is asked for the rest in
// the same run.
func TestLFSGoesOn(t *testing.T) {
	l := &lfsServer{objects: make(map[string][]byte)}
	content := make([]byte, 40_000)
	rand.New(rand.NewSource(1)).Read(content)
	done := make(chan bool)
	w := newWorld(t, worldOptions{host: githost.Config{Wrap: nethttp.Wrap(func(next http.Handler) http.Handler {
		next = l.wrap(next)
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if !strings.HasPrefix(r.URL.Path, "/lfs-object/") {
				next.ServeHTTP(rw, r)
				return
			}
			from := 0
			fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from)
			if from > 0 {
				l.ranges++
				rw.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(content)-1, len(content)))
			}
			rw.Header().Set("Content-Length", fmt.Sprint(len(content)-from))
			if from > 0 {
				rw.WriteHeader(http.StatusPartialContent)
			}
			n := min(15_000, len(content)-from)
			rw.Write(content[from : from+n])
			rw.(http.Flusher).Flush()
			if from+n < len(content) {
				<-done
			}
		})
	})}})
	t.Cleanup(func() { close(done) })
	w.cfg.LFS = true
	w.cfg.Remote.Attempts, w.cfg.Remote.Backoff, w.cfg.Remote.IdleTimeout = 2, time.Millisecond, 500*time.Millisecond
	tree := bigTree(3, 1)
	tree["model.bin"] = l.pointer(content)
	w.commit(tree)
	if _, err := w.tryUpdate(); err != nil {
		t.Fatal(err)
	}
	w.checkLFS(l, map[string][]byte{"model.bin": content})
	if l.ranges != 2 {
		t.Errorf("%d ranges were asked for", l.ranges)
	}
}
