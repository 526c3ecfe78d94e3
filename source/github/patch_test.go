package github

import (
	"bytes"
	"fmt"
	"io/fs"
	"net/http"
	"strings"
	"testing"

	"github.com/godwit-ota/godwit"
)

// A shop is a device that can open what it has.
type shop struct{ device }

func (s shop) Open(id godwit.Digest) (godwit.Object, error) {
	b, ok := s.device[id]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return opened{bytes.NewReader(b)}, nil
}

type opened struct{ *bytes.Reader }

func (opened) Close() error { return nil }

// fetchPatched fetches all of the tip, with the patches that are for the files of
// old, and gives what the host was asked for.
func (w *world) fetchPatched(old map[string]string) (asked []string, got godwit.Patched) {
	w.Helper()
	w.cfg.Patches = true
	s := w.open()
	defer s.Close()
	d, err := w.describe(s)
	if err != nil {
		w.Fatal(err)
	}
	offers := d.Offers
	d.Offers = nil
	if offers != nil { // as a plan chooses them
		d.Offers = func(yield func(godwit.Offer, error) bool) {
			for o, err := range offers {
				content, there := old[o.Path]
				if err == nil && !there {
					continue
				}
				o.From = blobOf([]byte(content))
				if !yield(o, err) {
					return
				}
			}
		}
	}
	here := shop{device{}}
	for _, content := range old {
		here.device[blobOf([]byte(content))] = []byte(content)
	}
	w.host.Requests()
	var want []godwit.Entry
	for e, err := range d.Listing {
		if err != nil {
			w.Fatal(err)
		}
		if !strings.HasPrefix(e.Path, ".deltas/") {
			want = append(want, e)
		}
	}
	err = s.Fetch(w.Context(), d, func(yield func(godwit.Entry, error) bool) {
		for _, e := range want {
			if !yield(e, nil) {
				return
			}
		}
	}, here)
	if err != nil {
		w.Fatal(err)
	}
	for _, e := range want {
		if !here.Has(e.Digest) {
			w.Errorf("%s did not come", e.Path)
		}
	}
	for _, r := range w.host.Requests() {
		asked = append(asked, r.Path)
	}
	return asked, s.Patched()
}

func blobOf(b []byte) godwit.Digest {
	h := godwit.GitSHA1.New(int64(len(b)))
	h.Write(b)
	return godwit.MakeDigest(godwit.GitSHA1, h.Sum(nil))
}

const lines = "# a module\nimport machine\npin = machine.Pin(15)\npin.on()\n"

// patchOf puts a first line before the lines.
func patchOf(first string) string {
	return "OTADELTA\x01" + "\x02" + string(rune(len(first))) + first + "\x01\x00" + string(rune(len(lines))) + "\xff"
}

func TestReferencePatches(t *testing.T) {
	old := map[string]string{"main.py": lines, "lib/a.py": lines, "lib/b.py": lines}
	for _, kind := range []string{GitHub, Gitea} {
		t.Run(kind, func(t *testing.T) {
			w := newWorld(t, kind)
			w.cfg.Channel, w.cfg.Branch = "", "main"
			w.commit(map[string]string{
				"main.py": "# 2\n" + lines, ".deltas/main.py.delta": patchOf("# 2\n"),
				"lib/a.py": "# 3\n" + lines, ".deltas/lib_a.py.delta": patchOf("# 1\n"), // of another version
				"lib/b.py": "# 4\n" + lines, ".deltas/lib_b.py.delta": patchOf("# 4\n")[:16],
				"lib/c.py": "# 5\n" + lines, ".deltas/lib_c.py.delta": patchOf("# 5\n"), // of a file that is not here
			})
			asked, got := w.fetchPatched(old)
			if got.Applied != 1 || got.Failed != 2 || got.Saved != int64(len("# 2\n"+lines)-len(patchOf("# 2\n"))) {
				t.Errorf("%+v", got)
			}
			if !strings.HasPrefix(got.Reason, "lib/b.py: ") {
				t.Errorf("the reason is %q", got.Reason)
			}
			warned := 0
			for _, e := range w.events {
				if e.Level == godwit.Warning && strings.Contains(e.Text, "is of no use") {
					warned++
				}
			}
			if warned != 2 {
				t.Errorf("%d warnings", warned)
			}
			if kind != GitHub {
				return
			}
			if all := strings.Join(asked, "\n"); strings.Contains(all, "/main.py\n") || !strings.Contains(all, ".deltas/main.py.delta") || strings.Contains(all, "lib_c") {
				t.Errorf("asked for\n%s", all)
			}
		})
	}
}

// Without patches in the tree nothing more is asked.
func TestNoReferencePatches(t *testing.T) {
	w := newWorld(t, GitHub)
	w.cfg.Channel, w.cfg.Branch = "", "main"
	w.commit(map[string]string{"main.py": "# 2\n" + lines, ".deltas.txt": "x", ".delta": "y"})
	asked, got := w.fetchPatched(map[string]string{"main.py": lines})
	if all := strings.Join(asked, "\n"); strings.Contains(all, "deltas/") || got != (godwit.Patched{}) {
		t.Errorf("%+v\n%s", got, all)
	}
}

// A device with another version soon stops trying.
func TestUselessReferencePatches(t *testing.T) {
	w := newWorld(t, GitHub)
	w.cfg.Channel, w.cfg.Branch = "", "main"
	files, old := map[string]string{}, map[string]string{}
	for i := range 20 {
		name := fmt.Sprintf("m%02d.py", i)
		files[name], files[".deltas/"+name+".delta"] = fmt.Sprintf("# %2d\n", i)+lines, patchOf("# of\n")
		old[name] = lines
	}
	w.commit(files)
	if _, got := w.fetchPatched(old); got.Failed != maxUseless || got.Applied != 0 {
		t.Errorf("%+v", got)
	}
}

// A host that loses its patches, or does not answer for them, breaks nothing.
func TestReferencePatchesGone(t *testing.T) {
	for _, status := range []int{404, 500, 403} {
		w := newWorld(t, GitHub)
		w.cfg.Channel, w.cfg.Branch = "", "main"
		w.commit(map[string]string{"main.py": "# 2\n" + lines, ".deltas/main.py.delta": patchOf("# 2\n")})
		w.before(".delta", func(rw http.ResponseWriter, r *http.Request) { rw.WriteHeader(status) })
		w.cfg.Raw = w.host.Raw()
		if _, got := w.fetchPatched(map[string]string{"main.py": lines}); got.Failed+got.Applied != 1 {
			t.Errorf("%d: %+v", status, got)
		}
	}
}
