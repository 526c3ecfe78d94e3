package web_test

import (
	"bytes"
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/source/web"
)

// serve writes a whole answer with a length that may be wrong, and breaks the
// connection where less came than was promised.
func serve(w http.ResponseWriter, b []byte, length string) bool {
	if length != "" {
		w.Header().Set("Content-Length", length)
	}
	w.WriteHeader(http.StatusOK)
	w.Write(b)
	if length == "" {
		w.(http.Flusher).Flush()
	}
	return true
}

// TestFaults: whatever a server does, the right bytes come or none.
func TestFaults(t *testing.T) {
	big, small := tree["big.bin"], tree["app/main.py"]
	bigName, smallName := web.FileName(digestOf(big)), web.FileName(digestOf(small))
	other := content(9, len(big))
	for _, c := range []struct {
		name  string
		code  godwit.Code // "" if all comes
		fault func(n int, w http.ResponseWriter, r *http.Request, path string) bool
	}{
		{"ranges are ignored", "", func(n int, w http.ResponseWriter, r *http.Request, path string) bool {
			if path != bigName {
				return false
			}
			if n == 0 {
				return serve(w, big[:len(big)/2], "716800")
			}
			return serve(w, big, "")
		}},
		{"cut again and again", "", func(n int, w http.ResponseWriter, r *http.Request, path string) bool {
			if path != bigName || n > 6 {
				return false
			}
			w.Header().Set("ETag", `"x"`)
			from := 0
			if r.Header.Get("Range") != "" {
				from = n * 100_000
				w.Header().Set("Content-Range", "bytes "+strings.TrimPrefix(r.Header.Get("Range"), "bytes=")+"716799/716800")
				w.WriteHeader(http.StatusPartialContent)
			} else {
				w.Header().Set("Content-Length", "716800")
			}
			w.Write(big[from : from+100_000])
			panic(http.ErrAbortHandler)
		}},
		{"truncated, and it says so", godwit.CodeBadObject, func(n int, w http.ResponseWriter, r *http.Request, path string) bool {
			return path == bigName && serve(w, big[:1000], "1000")
		}},
		{"truncated without a length", godwit.CodeNetwork, func(n int, w http.ResponseWriter, r *http.Request, path string) bool {
			return path == smallName && serve(w, small[:1000], "")
		}},
		{"longer, and it says so", godwit.CodeBadObject, func(n int, w http.ResponseWriter, r *http.Request, path string) bool {
			return path == smallName && serve(w, append(bytes.Clone(small), 1), "5001")
		}},
		{"longer without a length", godwit.CodeBadObject, func(n int, w http.ResponseWriter, r *http.Request, path string) bool {
			return path == bigName && serve(w, append(bytes.Clone(big), make([]byte, 100_000)...), "")
		}},
		{"other bytes", godwit.CodeBadObject, func(n int, w http.ResponseWriter, r *http.Request, path string) bool {
			return path == bigName && serve(w, other, "")
		}},
		{"changed in the middle of the first answer", "", func(n int, w http.ResponseWriter, r *http.Request, path string) bool {
			if path != bigName || n > 0 {
				return false
			}
			w.Header().Set("ETag", `"old"`)
			return serve(w, other[:300_000], "716800")
		}},
		{"changed, and ranges go on regardless", "", func(n int, w http.ResponseWriter, r *http.Request, path string) bool {
			if path != bigName || n > 0 {
				return false
			}
			return serve(w, other[:300_000], "716800") // without an ETag
		}},
		{"gone", godwit.CodeNetwork, func(n int, w http.ResponseWriter, r *http.Request, path string) bool {
			if path == smallName {
				http.NotFound(w, r)
			}
			return path == smallName
		}},
		{"a bucket that does not say what it lacks", godwit.CodeNetwork, func(n int, w http.ResponseWriter, r *http.Request, path string) bool {
			if path == smallName {
				w.WriteHeader(http.StatusForbidden)
			}
			return path == smallName
		}},
		{"a fault of the server", godwit.CodeNetwork, func(n int, w http.ResponseWriter, r *http.Request, path string) bool {
			if path == smallName {
				w.WriteHeader(http.StatusBadGateway)
			}
			return path == smallName
		}},
		{"nothing to be had at the offset", "", func(n int, w http.ResponseWriter, r *http.Request, path string) bool {
			if path != bigName {
				return false
			}
			if n == 0 {
				return serve(w, big[:1000], "716800")
			}
			if r.Header.Get("Range") != "" {
				w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
				return true
			}
			return false
		}},
		{"an odd status", godwit.CodeProtocol, func(n int, w http.ResponseWriter, r *http.Request, path string) bool {
			if path == smallName {
				w.WriteHeader(http.StatusTeapot)
			}
			return path == smallName
		}},
		{"no data but for ever", godwit.CodeBadObject, func(n int, w http.ResponseWriter, r *http.Request, path string) bool {
			if path != smallName {
				return false
			}
			for range 10_000 {
				if _, err := w.Write(make([]byte, 4096)); err != nil {
					break
				}
			}
			return true
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newShelf(t, published(t, "v1.0.0", tree))
			asked := map[string]int{}
			s.fault = func(w http.ResponseWriter, r *http.Request, path string) bool {
				n := asked[path]
				asked[path]++
				return c.fault(n, w, r, path)
			}
			w := newWorld(t, web.Config{}, s)
			err := w.fetch(w.describe(w.tip()))
			wantCode(t, err, c.code)
			for p, b := range tree {
				if got, ok := w.device[digestOf(b)]; c.code == "" && !ok || ok && !bytes.Equal(got, b) {
					t.Errorf("%s is not here, or not right", p)
				}
			}
			// The same through a second mirror that is whole.
			clear(asked)
			w = newWorld(t, web.Config{}, s, newShelf(t, published(t, "v1.0.0", tree)))
			w.update(tree)
		})
	}
}

// TestResumeAfterAPowerCut: what came of a large file is kept, and checked.
func TestResumeAfterAPowerCut(t *testing.T) {
	big := tree["big.bin"]
	name := web.FileName(digestOf(big))
	for _, torn := range []bool{false, true} {
		s := newShelf(t, published(t, "v1.0.0", tree))
		s.fault = func(w http.ResponseWriter, r *http.Request, path string) bool {
			return path == name && serve(w, big[:400_000], "716800")
		}
		w := newWorld(t, web.Config{}, s)
		wantCode(t, w.fetch(w.describe(w.tip())), godwit.CodeNetwork)
		part := "state/web/part-" + hexOf(big)
		info, err := w.cfg.State.Lstat(part)
		if err != nil || info.Size != 400_000 {
			t.Fatal(info, err)
		}
		if torn {
			f, err := w.cfg.State.Open(part, 2)
			if err != nil {
				t.Fatal(err)
			}
			f.WriteAt(make([]byte, 4096), 100_000)
			f.Close()
		}
		s.fault = nil
		w.restart()
		s.seen()
		w.update(tree)
		got := slices.DeleteFunc(s.seen(), func(r string) bool { return !strings.HasPrefix(r, name) })
		want := []string{name + " from 400000"}
		if torn {
			want = append(want, name)
		}
		if !slices.Equal(got, want) {
			t.Errorf("torn %v: %q", torn, got)
		}
		if _, err := w.cfg.State.Lstat(part); err == nil {
			t.Error("the beginning is left")
		}
	}
}

func TestMirrors(t *testing.T) {
	files := published(t, "v1.0.0", tree)
	down, up := newShelf(t, files), newShelf(t, files)
	down.fault = func(w http.ResponseWriter, _ *http.Request, _ string) bool {
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	}
	w := newWorld(t, web.Config{}, down, up)
	w.update(tree)
	if got := down.seen(); len(got) != 2 { // the client tries twice
		t.Errorf("a mirror that is down was asked %d times: %q", len(got), got)
	}
	// None is up.
	up.fault = down.fault
	_, err := w.src.Tip(context.Background())
	wantCode(t, err, godwit.CodeNetwork)
	// What need not be there is not there, if those that answer say so.
	up.fault, up.files = nil, maps.Clone(files)
	delete(up.files, "manifest.json.sig")
	w = newWorld(t, web.Config{Channel: "stable"}, down, up)
	if d := w.describe(w.tip()); d.Ref != "manifest.json" || d.Statement.Signatures != nil {
		t.Errorf("%+v", d)
	}
	// But not if none answers.
	up.fault = down.fault
	_, err = w.src.Tip(context.Background())
	wantCode(t, err, godwit.CodeNetwork)
	// One that lacks a file is not worse for it.
	lacking := maps.Clone(files)
	delete(lacking, web.FileName(digestOf(tree["big.bin"])))
	a, b := newShelf(t, lacking), newShelf(t, files)
	w = newWorld(t, web.Config{}, a, b)
	w.update(tree)
	for _, r := range b.seen() {
		if r != web.FileName(digestOf(tree["big.bin"])) {
			t.Errorf("the second mirror was asked for %s", r)
		}
	}
}

// TestStaleMirror: what a mirror gave was refused, so another one is asked next
// time, also by another process.
func TestStaleMirror(t *testing.T) {
	old, current := newShelf(t, published(t, "v1.0.0", tree)), newShelf(t, published(t, "v2.0.0", tree))
	w := newWorld(t, web.Config{}, old, current)
	if w.tip().Commit != hexOf(old.files["manifest.json"]) {
		t.Fatal("the first mirror is not asked first")
	}
	w.src.Discard()
	for range 2 {
		d := w.describe(w.tip())
		if d.Commit != hexOf(current.files["manifest.json"]) || string(d.Statement.Signatures) != "signature of v2.0.0" {
			t.Error("the mirror whose answer was refused is asked again")
		}
		w.restart()
	}
	// And back, if that one is refused as well.
	w.tip()
	w.src.Discard()
	w.restart()
	if w.tip().Commit != hexOf(old.files["manifest.json"]) {
		t.Error("the first mirror is never asked again")
	}
}

// TestManifestChangedMidway: the signatures and files of another manifest are
// not taken for those of the one that was judged.
func TestManifestChangedMidway(t *testing.T) {
	s := newShelf(t, published(t, "v1.0.0", tree))
	w := newWorld(t, web.Config{}, s)
	tip := w.tip()
	s.files["manifest.json"] = manifestOf(t, "v2.0.0", nil)
	d := w.describe(tip)
	n := 0
	for _, err := range d.Listing {
		if n++; err != nil {
			t.Fatal(err)
		}
	}
	if n != len(tree) {
		t.Errorf("%d files", n)
	}
	if err := w.cfg.State.Remove("state/web/" + tip.Commit); err != nil {
		t.Fatal(err)
	}
	w.restart()
	_, err := w.src.Release(context.Background(), tip)
	wantCode(t, err, godwit.CodeMissingObject)
}

func TestNotModifiedWithoutCause(t *testing.T) {
	s := newShelf(t, nil)
	s.fault = func(w http.ResponseWriter, _ *http.Request, _ string) bool {
		w.WriteHeader(http.StatusNotModified)
		return true
	}
	w := newWorld(t, web.Config{}, s)
	_, err := w.src.Tip(context.Background())
	wantCode(t, err, godwit.CodeProtocol)
}
