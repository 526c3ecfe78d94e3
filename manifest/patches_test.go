package manifest

import (
	"bytes"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/godwit-ota/godwit"
)

var sumB, sumC = strings.Repeat("0b", 32), strings.Repeat("0c", 32)

// patchOf is a patch as manifests describe it.
func patchOf(from, sum string, size, memory int) string {
	return `{"from": "` + from + `", "size": ` + strconv.Itoa(size) + `, "sha256": "` + sum + `", "memory": ` + strconv.Itoa(memory) + `}`
}

// patched has patches for files, one of them of a format that is not known, and
// one for the whole tree.
var patched = `{"version": "v1", "patches": [` + patchOf(sumC, sumB, 7, 6144) + `], "files": [
	{"path": "b", "size": 3, "sha256": "` + sumA + `", "patches": [` + patchOf(sumB, sumC, 70, 65536) + `, {"format": "later", "size": 9}]},
	{"patches": [` + patchOf(sumB, sumA, 1, 6144) + "," + patchOf(sumC, sumB, 1<<20, 1<<20) + `], "path": "a", "size": 3, "sha256": "` + sumA + `"},
	{"path": "c", "size": 3, "sha256": "` + sumA + `", "patches": null}, ` + entryOf("d") + `]}`

func digestOf(hex string) godwit.Digest {
	d, err := godwit.ParseDigest("sha256:" + hex)
	if err != nil {
		panic(err)
	}
	return d
}

func offered(o godwit.Offers) (offers []godwit.Offer, err error) {
	for v, err := range o {
		if err != nil {
			return offers, err
		}
		offers = append(offers, v)
	}
	return offers, nil
}

func TestPatches(t *testing.T) {
	r, n := source(patched)
	h, err := ReadHead(r, n, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if want := []godwit.Patch{{From: digestOf(sumC), Sum: digestOf(sumB), Size: 7, Memory: 6144}}; !slices.Equal(h.Trees, want) {
		t.Errorf("%+v", h.Trees)
	}
	entries, offers := Files(r, n, Limits{})
	want := []godwit.Offer{
		{Path: "a", Patch: godwit.Patch{From: digestOf(sumB), Sum: digestOf(sumA), Size: 1, Memory: 6144}},
		{Path: "a", Patch: godwit.Patch{From: digestOf(sumC), Sum: digestOf(sumB), Size: 1 << 20, Memory: 1 << 20}},
		{Path: "b", Patch: godwit.Patch{From: digestOf(sumB), Sum: digestOf(sumC), Size: 70, Memory: 65536}},
	}
	for range 2 {
		if got, err := offered(offers); err != nil || !slices.Equal(got, want) {
			t.Errorf("%+v, %v", got, err)
		}
	}
	if got, err := listed(entries); err != nil || len(got) != 4 {
		t.Errorf("%+v, %v", got, err)
	}
	next, stop := offers.At()
	defer stop()
	for _, c := range []struct {
		path string
		n    int
	}{{"Z", 0}, {"a", 2}, {"aa", 0}, {"b", 1}, {"d", 0}} {
		if got, err := next(c.path); err != nil || len(got) != c.n {
			t.Errorf("%s: %+v, %v", c.path, got, err)
		}
	}
}

// What a Writer writes of patches is read as it was.
func TestWritePatches(t *testing.T) {
	p := godwit.Patch{From: digestOf(sumA), Sum: digestOf(sumB), Size: 12, Memory: 65536}
	q := godwit.Patch{From: digestOf(sumC), Sum: digestOf(sumA), Size: 13, Memory: 6144}
	var b bytes.Buffer
	w := NewWriter(&b, Head{Version: "v2", Trees: []godwit.Patch{q, p}})
	for _, f := range []File{
		{Entry: godwit.Entry{Path: "a", Mode: godwit.Executable, Size: 5, Digest: digestOf(sumC)}, Patches: []godwit.Patch{p, q}},
		{Entry: godwit.Entry{Path: "b", Mode: godwit.File, Size: 5, Digest: digestOf(sumB)}},
	} {
		if err := w.Add(f); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	r, n := bytes.NewReader(b.Bytes()), int64(b.Len())
	h, err := ReadHead(r, n, Limits{})
	if err != nil || !slices.Equal(h.Trees, []godwit.Patch{q, p}) {
		t.Errorf("%+v, %v", h, err)
	}
	_, offers := Files(r, n, Limits{})
	got, err := offered(offers)
	if err != nil || !slices.Equal(got, []godwit.Offer{{Path: "a", Patch: p}, {Path: "a", Patch: q}}) {
		t.Errorf("%+v, %v", got, err)
	}
	want := `{
  "version": "v2",
  "patches": [
    {"from": "` + sumC + `", "size": 13, "sha256": "` + sumA + `", "memory": 6144},
    {"from": "` + sumA + `", "size": 12, "sha256": "` + sumB + `", "memory": 65536}],
  "files": [
    {"path": "a", "size": 5, "sha256": "` + sumC + `", "mode": "exec", "patches": [
      {"from": "` + sumA + `", "size": 12, "sha256": "` + sumB + `", "memory": 65536},
      {"from": "` + sumC + `", "size": 13, "sha256": "` + sumA + `", "memory": 6144}]},
    {"path": "b", "size": 5, "sha256": "` + sumB + `"}
  ]
}
`
	if b.String() != want {
		t.Errorf("%s\nwant %s", &b, want)
	}
}

// withPatches is a manifest with one file and these patches.
func withPatches(patches string) string {
	return manifestOf(`{"path": "a", "size": 3, "sha256": "` + sumA + `", "patches": ` + patches + `}`)
}

func TestBadPatches(t *testing.T) {
	good := patchOf(sumB, sumC, 70, 65536)
	for name, patches := range map[string]string{
		"no list":         `{}`,
		"no object":       `[7]`,
		"no from":         `[` + strings.Replace(good, `"from"`, `"x"`, 1) + `]`,
		"no size":         `[` + strings.Replace(good, `"size"`, `"x"`, 1) + `]`,
		"no sha256":       `[` + strings.Replace(good, `"sha256"`, `"x"`, 1) + `]`,
		"no memory":       `[` + strings.Replace(good, `"memory"`, `"x"`, 1) + `]`,
		"null memory":     `[` + strings.Replace(good, `65536`, `null`, 1) + `]`,
		"twice":           `[` + strings.Replace(good, `{`, `{"size": 70, `, 1) + `]`,
		"short from":      `[` + strings.Replace(good, sumB, sumB[2:], 1) + `]`,
		"no hexadecimal":  `[` + strings.Replace(good, sumC, "x"+sumC[1:], 1) + `]`,
		"size 0":          `[` + strings.Replace(good, ` 70`, ` 0`, 1) + `]`,
		"negative size":   `[` + strings.Replace(good, ` 70`, ` -1`, 1) + `]`,
		"a size too far":  `[` + strings.Replace(good, ` 70`, ` 1099511627777`, 1) + `]`,
		"too many":        `[` + strings.Repeat(good+",", maxPatches) + good + `]`,
		"format no text":  `[{"format": 2}]`,
		"patches twice":   `[], "patches": []`,
		"not to its end":  `[` + good,
		"size a fraction": `[` + strings.Replace(good, ` 70`, ` 7.5`, 1) + `]`,
	} {
		r, n := source(withPatches(patches))
		entries, offers := Files(r, n, Limits{})
		_, err := listed(entries)
		_, err2 := offered(offers)
		want := godwit.CodeBadManifest
		if name == "too many" {
			want = godwit.CodeLimit
		}
		if godwit.CodeOf(err) != want || godwit.CodeOf(err2) != want {
			t.Errorf("%s: %v, %v", name, err, err2)
		}
		if name == "patches twice" {
			continue
		}
		doc := `{"version": "v1", "patches": ` + patches + `}`
		r, n = source(doc)
		if _, err := ReadHead(r, n, Limits{}); godwit.CodeOf(err) != want {
			t.Errorf("%s for the tree: %v", name, err)
		}
	}
}

// checkOffers holds Offers against what they promise, whatever the document.
func checkOffers(t *testing.T, doc string) {
	r, n := source(doc)
	entries, offers := Files(r, n, Limits{})
	list, err := listed(entries)
	got, err2 := offered(offers)
	if (err == nil) != (err2 == nil) {
		t.Fatalf("%v, %v of %q", err, err2, doc)
	}
	if err != nil {
		return
	}
	paths := map[string]int{}
	for i, o := range got {
		if i > 0 && o.Path < got[i-1].Path || o.From.IsZero() || o.IsZero() || o.Size <= 0 || o.Memory <= 0 {
			t.Fatalf("%+v of %q", got, doc)
		}
		if paths[o.Path]++; paths[o.Path] > maxPatches {
			t.Fatalf("%d patches for %q", paths[o.Path], o.Path)
		}
	}
	for _, e := range list {
		delete(paths, e.Path)
	}
	if len(paths) > 0 {
		t.Fatalf("patches for files that are not there: %v", paths)
	}
	if again, err := offered(offers); err != nil || !reflect.DeepEqual(again, got) {
		t.Fatalf("%+v, then %+v, %v", got, again, err)
	}
}
