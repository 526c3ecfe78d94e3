package web_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/delta"
	"github.com/godwit-ota/godwit/delta/diff"
	"github.com/godwit-ota/godwit/manifest"
	"github.com/godwit-ota/godwit/source/web"
)

// The file that patches lead to, and the one that the device has.
var (
	newFile = slices.Concat(content(7, 40_000), content(8, 1000), content(7, 9000))
	oldFile = slices.Concat(content(7, 40_000), content(9, 500), content(7, 9000))
)

func makePatch(t *testing.T, from, to []byte, tier delta.Tier) []byte {
	t.Helper()
	b, _, err := diff.Make(context.Background(), from, to, diff.Options{Tier: tier})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// patchOf describes a patch.
func patchOf(patch, from []byte, memory int64) godwit.Patch {
	return godwit.Patch{From: digestOf(from), Sum: digestOf(patch), Size: int64(len(patch)), Memory: memory}
}

// patchedRelease is a folder with one file and a patch for it.
func patchedRelease(t *testing.T, to []byte, patch []byte, p godwit.Patch) map[string][]byte {
	t.Helper()
	var b bytes.Buffer
	w := manifest.NewWriter(&b, manifest.Head{Version: "v2"})
	if err := w.Add(manifest.File{Entry: godwit.Entry{Path: "app/main", Mode: godwit.File, Size: int64(len(to)), Digest: digestOf(to)}, Patches: []godwit.Patch{p}}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return map[string][]byte{web.ManifestName: b.Bytes(), web.FileName(digestOf(to)): to, web.PatchName(p.Sum): patch}
}

func TestPatch(t *testing.T) {
	for _, tier := range []delta.Tier{delta.Tiny, delta.Small, delta.Large} {
		patch := makePatch(t, oldFile, newFile, tier)
		s := newShelf(t, patchedRelease(t, newFile, patch, patchOf(patch, oldFile, int64(tier.Memory()))))
		w := newWorld(t, web.Config{}, s)
		w.device[digestOf(oldFile)] = oldFile
		d := w.describe(w.tip())
		s.seen()
		if err := w.fetch(d); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(w.device[digestOf(newFile)], newFile) {
			t.Error("the file did not come")
		}
		if got := s.seen(); len(got) != 1 || got[0] != web.PatchName(digestOf(patch)) {
			t.Errorf("%q was asked for", got)
		}
		if got, want := w.src.Patched(), (godwit.Patched{Applied: 1, Saved: int64(len(newFile) - len(patch))}); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
		for _, n := range w.left() {
			if n != "notes" && n != d.Commit {
				t.Errorf("%s is left", n)
			}
		}
	}
}

// TestPatchesThatAreNoUse: whatever is wrong with a patch, the file comes whole,
// it is said and counted, and the patch is not asked for again.
func TestPatchesThatAreNoUse(t *testing.T) {
	good := makePatch(t, oldFile, newFile, delta.Small)
	header := delta.Header{Tier: delta.Small, OldSize: int64(len(oldFile)), NewSize: int64(len(newFile)), OldSum: sumOf(oldFile), NewSum: sumOf(newFile)}
	bomb := header
	bomb.NewSize = 1 << 39
	hungry := header
	hungry.Tier = delta.Large
	swapped := bytes.Clone(newFile)
	swapped[100]++
	for _, c := range []struct {
		name  string
		patch []byte
		why   string
		// serve is what comes in the place of the patch; nil is the patch.
		fault func(w http.ResponseWriter) bool
	}{
		{"missing", good, "the folder does not have it", func(w http.ResponseWriter) bool { w.WriteHeader(http.StatusNotFound); return true }},
		{"other bytes", good, "differs from what the manifest says", func(w http.ResponseWriter) bool { return serve(w, content(1, len(good)), "") }},
		{"cut, and it says so", good, "bytes long there", func(w http.ResponseWriter) bool { return serve(w, good[:9], "9") }},
		{"longer", good, "is longer there", func(w http.ResponseWriter) bool { return serve(w, append(bytes.Clone(good), 0), "") }},
		{"no patch at all", []byte("all of this is text"), "no patch that this version", nil},
		{"one that ends too soon", good[:len(good)/2], "the patch is damaged", nil},
		{"for another file", makePatch(t, newFile, newFile[1:], delta.Small), "another number of bytes", nil},
		{"from another file", makePatch(t, newFile[1:], newFile, delta.Small), "was made for another old content", nil},
		{"from another file of that size", makePatch(t, content(1, len(oldFile)), newFile, delta.Small), "was made for another old content", nil},
		{"to another file of that size", makePatch(t, oldFile, swapped, delta.Small), "another content than the manifest", nil},
		{"a bomb", append(bomb.Append(nil), newFile...), "another number of bytes", nil},
		{"with more memory than it said", append(hungry.Append(nil), newFile...), "more memory than the manifest", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := patchOf(c.patch, oldFile, int64(delta.Small.Memory()))
			name := web.PatchName(p.Sum)
			s := newShelf(t, patchedRelease(t, newFile, c.patch, p))
			s.fault = func(w http.ResponseWriter, _ *http.Request, path string) bool {
				return path == name && c.fault != nil && c.fault(w)
			}
			var warnings []string
			w := newWorld(t, web.Config{Events: func(e godwit.Event) {
				if e.Level == godwit.Warning {
					warnings = append(warnings, e.Text)
				}
			}}, s)
			for run := range 2 {
				w.restart()
				w.device = device{digestOf(oldFile): oldFile}
				warnings = nil
				d := w.describe(w.tip())
				if err := w.fetch(d); err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(w.device[digestOf(newFile)], newFile) {
					t.Error("the file did not come")
				}
				got, asked := w.src.Patched(), slices.Contains(s.seen(), name)
				if run == 1 {
					if got != (godwit.Patched{}) || asked {
						t.Errorf("it is tried again: %+v", got)
					}
					continue
				}
				if got.Failed != 1 || got.Applied != 0 || !strings.HasPrefix(got.Reason, `"app/main": `) || !strings.Contains(got.Reason, c.why) || !asked {
					t.Errorf("%+v, asked for: %v", got, asked)
				}
				if len(warnings) != 1 || !strings.Contains(warnings[0], c.why) || !strings.Contains(warnings[0], "all of the file is fetched") {
					t.Errorf("%q", warnings)
				}
			}
			for _, n := range w.left() {
				if strings.HasPrefix(n, "part-") {
					t.Errorf("%s is left", n)
				}
			}
		})
	}
}

func sumOf(b []byte) delta.Sum { return delta.SumOf([32]byte(digestOf(b).Sum())) }

// A patch that cannot be had for the time being is waited for once: on a slow
// link the next run goes on with it.
func TestPatchFromAServerThatFails(t *testing.T) {
	patch := makePatch(t, oldFile, newFile, delta.Small)
	name := web.PatchName(digestOf(patch))
	s := newShelf(t, patchedRelease(t, newFile, patch, patchOf(patch, oldFile, 65536)))
	s.fault = func(w http.ResponseWriter, r *http.Request, path string) bool {
		if path == name {
			w.WriteHeader(http.StatusBadGateway)
		}
		return path == name
	}
	w := newWorld(t, web.Config{}, s)
	w.device[digestOf(oldFile)] = oldFile
	wantCode(t, w.fetch(w.describe(w.tip())), godwit.CodeNetwork)
	w.restart()
	w.update(map[string][]byte{"app/main": newFile})
	if got := w.src.Patched(); got.Failed != 1 {
		t.Errorf("%+v", got)
	}
}

// What came of a patch before the power went is not asked for again.
func TestPatchResumes(t *testing.T) {
	patch := makePatch(t, oldFile, newFile, delta.Small)
	name := web.PatchName(digestOf(patch))
	half := len(patch) / 2
	s := newShelf(t, patchedRelease(t, newFile, patch, patchOf(patch, oldFile, 65536)))
	var back atomic.Bool
	s.fault = func(w http.ResponseWriter, r *http.Request, path string) bool {
		if path != name || back.Load() {
			return false
		}
		if r.Header.Get("Range") != "" {
			panic(http.ErrAbortHandler)
		}
		w.Write(patch[:half])
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	w := newWorld(t, web.Config{}, s)
	w.device[digestOf(oldFile)] = oldFile
	wantCode(t, w.fetch(w.describe(w.tip())), godwit.CodeNetwork)
	if !slices.Contains(w.left(), "part-"+hexOf(patch)) {
		t.Fatalf("what came is not kept: %q", w.left())
	}
	back.Store(true)
	w.restart()
	s.seen()
	w.update(map[string][]byte{"app/main": newFile})
	got := s.seen()
	if !slices.ContainsFunc(got, func(r string) bool { return strings.HasPrefix(r, name+" from ") }) || slices.Contains(got, name) {
		t.Errorf("%q", got)
	}
	if p := w.src.Patched(); p.Applied != 1 || p.Failed != 0 {
		t.Errorf("%+v", p)
	}
}

// A mirror that gives something else in the place of a patch is no reason to do
// without it.
func TestPatchFromAnotherMirror(t *testing.T) {
	patch := makePatch(t, oldFile, newFile, delta.Small)
	files := patchedRelease(t, newFile, patch, patchOf(patch, oldFile, 65536))
	bad, right := newShelf(t, files), newShelf(t, files)
	bad.files[web.PatchName(digestOf(patch))] = content(3, len(patch))
	w := newWorld(t, web.Config{}, bad, right)
	w.device[digestOf(oldFile)] = oldFile
	w.update(map[string][]byte{"app/main": newFile})
	if got := w.src.Patched(); got.Applied != 1 || got.Failed != 0 {
		t.Errorf("%+v", got)
	}
}

// A disk is as full for the whole file as for the patched one.
func TestPatchOnAFullDisk(t *testing.T) {
	patch := makePatch(t, oldFile, newFile, delta.Small)
	s := newShelf(t, patchedRelease(t, newFile, patch, patchOf(patch, oldFile, 65536)))
	full := godwit.Fail(godwit.CodeDiskFull, nil, "full", "")
	for _, at := range []int{-1, 0, 20_000} {
		w := newWorld(t, web.Config{}, s)
		w.device[digestOf(oldFile)] = oldFile
		d := w.describe(w.tip())
		s.seen()
		err := w.src.Fetch(context.Background(), d, d.Listing, fullDevice{w.device, at, full})
		if !errors.Is(err, full) || w.src.Patched().Failed != 0 {
			t.Errorf("%v, %+v", err, w.src.Patched())
		}
		if got := s.seen(); slices.Contains(got, web.FileName(digestOf(newFile))) {
			t.Errorf("all of the file was asked for: %q", got)
		}
	}
}

// A fullDevice has room for so many bytes; -1 is none for a file at all.
type fullDevice struct {
	device
	room int
	err  error
}

func (d fullDevice) Create(size int64) (godwit.NewObject, error) {
	if d.room < 0 {
		return nil, d.err
	}
	n, err := d.device.Create(size)
	return fullObject{n, &d}, err
}

type fullObject struct {
	godwit.NewObject
	d *fullDevice
}

func (o fullObject) Write(p []byte) (int, error) {
	if o.d.room -= len(p); o.d.room < 0 {
		return 0, o.d.err
	}
	return o.NewObject.Write(p)
}

// What the device had when the plan was made may be gone by now.
func TestPatchWithoutItsOldFile(t *testing.T) {
	patch := makePatch(t, oldFile, newFile, delta.Small)
	s := newShelf(t, patchedRelease(t, newFile, patch, patchOf(patch, oldFile, 65536)))
	w := newWorld(t, web.Config{}, s)
	w.update(map[string][]byte{"app/main": newFile})
	if got := w.src.Patched(); got.Failed != 1 || !strings.Contains(got.Reason, "no longer on this device") {
		t.Errorf("%+v", got)
	}
	w.device = device{digestOf(oldFile): oldFile}
	w.restart()
	w.update(map[string][]byte{"app/main": newFile})
	if got := w.src.Patched(); got.Applied != 1 {
		t.Errorf("it is not tried again: %+v", got)
	}
}
