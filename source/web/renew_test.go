package web_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/delta"
	"github.com/godwit-ota/godwit/source/web"
)

// modules is version n of files enough for a manifest of some length.
func modules(n int) map[string][]byte {
	files := map[string][]byte{"main": content(1000+n, 300)}
	for i := range 30 {
		files[fmt.Sprintf("lib/module-%02d", i)] = content(i, 200)
	}
	return files
}

// twoReleases are those of two versions of files, and the two manifests.
func twoReleases(t *testing.T) (all map[string][]byte, one, two []byte) {
	all = published(t, "v1.0.0", modules(1))
	maps.Copy(all, published(t, "v2.0.0", modules(2)))
	return all, all["releases/v1.0.0/manifest.json"], all["releases/v2.0.0/manifest.json"]
}

const patchOfTwo = "releases/v2.0.0/from-"

// named asks for a release and gives its files, and what was asked for.
func (w *world) named(version string, manifest []byte) (asked []string) {
	w.t.Helper()
	for _, s := range w.shelves {
		s.seen()
	}
	tip, err := w.src.Named(context.Background(), version, hexOf(manifest))
	if err != nil {
		w.t.Fatal(err)
	}
	if tip.Ref != "releases/"+version || tip.Commit != hexOf(manifest) {
		w.t.Errorf("%+v", tip)
	}
	for _, s := range w.shelves {
		asked = append(asked, s.seen()...)
	}
	return asked
}

// install goes from Named to the end.
func (w *world) install(version string, manifest []byte, files map[string][]byte, have ...string) {
	w.t.Helper()
	w.named(version, manifest)
	rel, err := w.src.Release(context.Background(), godwit.Tip{Ref: "releases/" + version, Commit: hexOf(manifest)})
	if err != nil {
		w.t.Fatal(err)
	}
	if string(rel.Statement.Signatures) != "signature of "+version {
		w.t.Errorf("%q", rel.Statement.Signatures)
	}
	d, err := w.src.Describe(context.Background(), godwit.Verified{Release: rel, Policy: "none"}, have)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := w.fetch(d); err != nil {
		w.t.Fatal(err)
	}
	for path, b := range files {
		if !bytes.Equal(w.device[digestOf(b)], b) {
			w.t.Errorf("%s did not come", path)
		}
	}
}

func TestManifestByPatch(t *testing.T) {
	all, one, two := twoReleases(t)
	patch := makePatch(t, one, two, delta.Tiny)
	if len(two) < web.ManifestPatchFrom || len(patch) > len(two)/8 {
		t.Fatalf("%d bytes of manifest, %d of patch", len(two), len(patch))
	}
	all[web.ManifestPatch("v2.0.0", hexOf(one))] = patch
	s := newShelf(t, all)
	w := newWorld(t, web.Config{Channel: "stable", Patches: true}, s)
	w.install("v1.0.0", one, modules(1))
	w.restart()
	if got, want := w.named("v2.0.0", two), []string{patchOfTwo + hexOf(one)[:16]}; !slices.Equal(got, want) {
		t.Errorf("%q was asked for, not %q", got, want)
	}
	if got, want := w.src.Patched(), (godwit.Patched{Applied: 1, Saved: int64(len(two) - len(patch))}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	// What is here is not asked for again, in another process either.
	w.restart()
	if got := w.named("v2.0.0", two); len(got) > 0 {
		t.Errorf("%q was asked for again", got)
	}
	w.install("v2.0.0", two, modules(2), hexOf(one))
	if got := w.left(); !slices.Contains(got, hexOf(one)) || !slices.Contains(got, hexOf(two)) {
		t.Errorf("%q is left", got)
	}
	// A manifest that nothing runs of goes.
	w.install("v2.0.0", two, modules(2))
	if got := w.left(); slices.Contains(got, hexOf(one)) || !slices.Contains(got, hexOf(two)) {
		t.Errorf("%q is left", got)
	}
}

// TestManifestWhole: where there can be no patch none is asked for.
func TestManifestWhole(t *testing.T) {
	all, one, two := twoReleases(t)
	small := published(t, "v1.0.0", map[string][]byte{"main": []byte("1")})["releases/v1.0.0/manifest.json"]
	for _, c := range []struct {
		name    string
		first   []byte
		patches bool
		id      string
		want    []string
	}{
		{"no patches wanted", one, false, hexOf(two), []string{"releases/v2.0.0/manifest.json"}},
		{"nobody says which one it is", one, true, "", []string{"releases/v2.0.0/manifest.json"}},
		{"too little to patch", small, true, hexOf(two), []string{"releases/v2.0.0/manifest.json"}},
		{"nothing here", nil, true, hexOf(two), []string{"releases/v2.0.0/manifest.json"}},
		{"no patch made", one, true, hexOf(two), []string{patchOfTwo + hexOf(one)[:16], "releases/v2.0.0/manifest.json"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newShelf(t, all)
			w := newWorld(t, web.Config{Channel: "stable", Patches: c.patches, Events: func(e godwit.Event) {
				if e.Level == godwit.Warning {
					t.Error(e.Text)
				}
			}}, s)
			if c.first != nil {
				s.files["releases/v1.0.0/manifest.json"] = c.first
				w.named("v1.0.0", c.first)
			}
			s.seen()
			tip, err := w.src.Named(context.Background(), "v2.0.0", c.id)
			if got := s.seen(); err != nil || tip.Commit != hexOf(two) || !slices.Equal(got, c.want) {
				t.Errorf("%+v, %v; asked for %q", tip, err, got)
			}
			if got := w.src.Patched(); got != (godwit.Patched{}) {
				t.Errorf("%+v", got)
			}
		})
	}
}

// TestManifestPatchesThatAreNoUse: whatever comes as a patch, the manifest is the
// one that the channel names, or all of it is fetched.
func TestManifestPatchesThatAreNoUse(t *testing.T) {
	all, one, two := twoReleases(t)
	good := makePatch(t, one, two, delta.Tiny)
	header := delta.Header{Tier: delta.Tiny, OldSize: int64(len(one)), NewSize: int64(len(two)), OldSum: sumOf(one), NewSum: sumOf(two)}
	bomb := header
	bomb.NewSize = 1 << 39
	changed := bytes.Replace(two, []byte("module-07"), []byte("module-70"), 1)
	lie := header
	lie.NewSum = sumOf(changed)
	cases := map[string]struct {
		patch []byte
		why   string
		fault func(w http.ResponseWriter) bool
	}{
		"no patch at all":       {[]byte("all of this is text"), "no patch that this version", nil},
		"nothing":               {nil, "", nil},
		"cut":                   {good[:len(good)/2], "the patch is damaged", nil},
		"another status":        {good, "418", func(w http.ResponseWriter) bool { w.WriteHeader(http.StatusTeapot); return true }},
		"from another manifest": {makePatch(t, changed, two, delta.Tiny), "another old content", nil},
		"to another manifest":   {makePatch(t, one, changed, delta.Tiny), "another manifest", nil},
		"to another as it says": {append(lie.Append(nil), changed...), "another manifest", nil},
		"a bomb":                {append(bomb.Append(nil), two...), "too large", nil},
		"with more memory":      {makePatch(t, one, two, delta.Small), "more memory", nil},
	}
	for i := range 40 {
		b := bytes.Clone(good)
		b[len(b)*i/40] ^= 1 << (i % 8)
		cases[fmt.Sprint("damage ", i)] = struct {
			patch []byte
			why   string
			fault func(w http.ResponseWriter) bool
		}{b, "", nil}
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			path := web.ManifestPatch("v2.0.0", hexOf(one))
			s := newShelf(t, all)
			s.files[path] = c.patch
			s.fault = func(w http.ResponseWriter, _ *http.Request, at string) bool {
				return at == path && c.fault != nil && c.fault(w)
			}
			var warnings []string
			w := newWorld(t, web.Config{Channel: "stable", Patches: true, Events: func(e godwit.Event) {
				if e.Level == godwit.Warning {
					warnings = append(warnings, e.Text)
				}
			}}, s)
			w.install("v1.0.0", one, modules(1))
			got := w.named("v2.0.0", two)
			if len(got) < 2 || got[0] != path || got[len(got)-1] != "releases/v2.0.0/manifest.json" {
				t.Errorf("asked for %q", got)
			}
			if p := w.src.Patched(); p.Failed != 1 || p.Applied != 0 || !strings.HasPrefix(p.Reason, "the manifest: ") || !strings.Contains(p.Reason, c.why) {
				t.Errorf("%+v", p)
			}
			if len(warnings) != 1 || !strings.Contains(warnings[0], c.why) || !strings.Contains(warnings[0], "all of it is fetched") {
				t.Errorf("%q", warnings)
			}
			w.install("v2.0.0", two, modules(2), hexOf(one))
			for _, n := range w.left() {
				if n != "notes" && !strings.HasPrefix(n, hexOf(one)) && !strings.HasPrefix(n, hexOf(two)) {
					t.Errorf("%s is left", n)
				}
			}
		})
	}
}

// TestManifestPatchOfAnotherMirror: one mirror that gives what is wrong, even a copy of
// what is here, does not keep the patch of the next one from its use.
func TestManifestPatchOfAnotherMirror(t *testing.T) {
	all, one, two := twoReleases(t)
	path := web.ManifestPatch("v2.0.0", hexOf(one))
	for _, wrong := range [][]byte{makePatch(t, two, one, delta.Tiny), makePatch(t, one, one, delta.Tiny)} {
		all[path] = wrong
		bad := newShelf(t, all)
		all[path] = makePatch(t, one, two, delta.Tiny)
		w := newWorld(t, web.Config{Channel: "stable", Patches: true}, bad, newShelf(t, all))
		w.install("v1.0.0", one, modules(1))
		if got := w.named("v2.0.0", two); !slices.Equal(got, []string{path, path}) {
			t.Errorf("asked for %q", got)
		}
		if p := w.src.Patched(); p.Applied != 1 || p.Failed != 0 {
			t.Errorf("%+v", p)
		}
		if got := w.left(); !slices.Contains(got, hexOf(one)) {
			t.Errorf("%q is left", got)
		}
		w.install("v2.0.0", two, modules(2))
	}
}

// TestManifestPatchComesFirst: a mirror that has the patch and not yet the manifest
// with its signature does not keep those of another one from being found.
func TestManifestPatchComesFirst(t *testing.T) {
	all, one, two := twoReleases(t)
	all[web.ManifestPatch("v2.0.0", hexOf(one))] = makePatch(t, one, two, delta.Tiny)
	early := newShelf(t, all)
	delete(early.files, "releases/v2.0.0/manifest.json")
	delete(early.files, "releases/v2.0.0/manifest.json.sig")
	w := newWorld(t, web.Config{Channel: "stable", Patches: true}, early, newShelf(t, all))
	w.install("v1.0.0", one, modules(1))
	w.install("v2.0.0", two, modules(2))
	w.restart()
	w.install("v2.0.0", two, modules(2))
}

// TestManifestPatchFromAServerThatFails: the link may be to blame, so that the patch
// is not called useless.
func TestManifestPatchFromAServerThatFails(t *testing.T) {
	all, one, two := twoReleases(t)
	path := web.ManifestPatch("v2.0.0", hexOf(one))
	s := newShelf(t, all)
	s.fault = func(w http.ResponseWriter, _ *http.Request, at string) bool {
		if at == path {
			w.WriteHeader(http.StatusBadGateway)
		}
		return at == path
	}
	w := newWorld(t, web.Config{Channel: "stable", Patches: true}, s)
	w.install("v1.0.0", one, modules(1))
	w.install("v2.0.0", two, modules(2), hexOf(one))
	if p := w.src.Patched(); p != (godwit.Patched{}) {
		t.Errorf("%+v", p)
	}
}
