package web_test

import (
	"net/http"
	"slices"
	"testing"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/source/web"
)

// TestWrongMirrorIsNamed: that a mirror gave something wrong is said once though
// another one had the right thing; that one is down is no news.
func TestWrongMirrorIsNamed(t *testing.T) {
	files := published(t, "v1.0.0", tree)
	for _, c := range []struct {
		title string
		fault func(w http.ResponseWriter, path string) bool
		want  []string
	}{
		{"wrong contents", func(w http.ResponseWriter, path string) bool {
			b, ok := files[path]
			return ok && path != web.ManifestName && serve(w, content(7, len(b)), "")
		}, []string{`first: the file "app/main.py" has another content there than by the manifest; it is taken from second`}},
		{"a server error", func(w http.ResponseWriter, path string) bool {
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		}, nil},
		{"nothing there", func(w http.ResponseWriter, path string) bool {
			w.WriteHeader(http.StatusNotFound)
			return true
		}, nil},
	} {
		bad, good := newShelf(t, files), newShelf(t, files)
		bad.fault = func(w http.ResponseWriter, _ *http.Request, path string) bool { return c.fault(w, path) }
		var said []string
		w := newWorld(t, web.Config{Names: []string{"first", "second"}, Events: func(e godwit.Event) {
			if e.Level == godwit.Warning {
				said = append(said, e.Text)
			}
		}}, bad, good)
		w.update(tree)
		if !slices.Equal(said, c.want) {
			t.Errorf("%s: %q", c.title, said)
		}
	}
}
