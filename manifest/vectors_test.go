package manifest

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/godwit-ota/godwit"
)

var writeVectors = flag.Bool("write-vectors", false, "write docs/vectors/manifest.json anew")

const vectorFile = "../docs/vectors/manifest.json"

// vectors are what other implementations can be held to.
type vectors struct {
	About   string      `json:"about"`
	Key     string      `json:"key"`
	Signed  []signed    `json:"signed"`
	Refused []wrong     `json:"refused"`
	Files   []listingOf `json:"files"`
}

type signed struct {
	Document  string `json:"document"`
	Canonical string `json:"canonical"`
	Signature string `json:"signature"`
}

type wrong struct {
	Why      string `json:"why"`
	Document string `json:"document"`
	Code     string `json:"code"`
}

type listingOf struct {
	Document string `json:"document"`
	Entries  []file `json:"entries"`
}

type file struct {
	Path   string `json:"path"`
	Mode   string `json:"mode"`
	Digest string `json:"digest"`
	Size   int64  `json:"size"`
	// Patches are those that are understood, in the order of the document.
	Patches []patch `json:"patches,omitempty"`
}

type patch struct {
	From   string `json:"from"`
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"`
	Memory int64  `json:"memory"`
}

// refusal is what ReadHead or Entries says against a document.
func refusal(doc string) godwit.Code {
	r, n := source(doc)
	if _, err := ReadHead(r, n, Limits{}); err != nil {
		return godwit.CodeOf(err)
	}
	_, err := listed(Entries(r, n, Limits{}))
	return godwit.CodeOf(err)
}

func filesOf(t *testing.T, doc string) (list []file) {
	t.Helper()
	r, n := source(doc)
	entries, offers := Files(r, n, Limits{})
	next, stop := offers.At()
	defer stop()
	for e, err := range entries {
		if err != nil {
			t.Fatal(err)
		}
		f := file{Path: e.Path, Mode: e.Mode.String(), Digest: e.Digest.String(), Size: e.Size}
		patches, err := next(e.Path)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range patches {
			f.Patches = append(f.Patches, patch{p.From.Hex(), p.Sum.Hex(), p.Size, p.Memory})
		}
		list = append(list, f)
	}
	return list
}

func makeVectors(t *testing.T) vectors {
	v := vectors{
		About: "Test vectors for the manifests of docs/formats.md. signed: documents, their canonical form, and HMAC-SHA256 of it with the key, as Python's json and hmac make them. refused: what no reader takes. files: what documents list, in order; a patch with a format is passed over.",
		Key:   testKey,
	}
	for _, doc := range canonicalCases {
		c, err := canonicalOf(doc)
		if err != nil {
			t.Fatal(err)
		}
		r, n := source(doc)
		sum, err := HMAC(r, n, []byte(v.Key))
		if err != nil {
			t.Fatal(err)
		}
		v.Signed = append(v.Signed, signed{doc, c, sum})
	}
	for _, w := range []wrong{
		{Why: "a member appears twice", Document: `{"version": "v1", "files": [], "files": []}`},
		{Why: "a member of a file appears twice", Document: manifestOf(`{"path": "a", "size": 1, "size": 2, "sha256": "` + sumA + `"}`)},
		{Why: "no version", Document: `{"files": []}`},
		{Why: "neither sha256 nor crc32", Document: manifestOf(`{"path": "a", "size": 1}`)},
		{Why: "no size", Document: manifestOf(`{"path": "a", "sha256": "` + sumA + `"}`)},
		{Why: "an absolute path", Document: manifestOf(entryOf("/a"))},
		{Why: "a part ..", Document: manifestOf(entryOf("a/../b"))},
		{Why: "an empty part", Document: manifestOf(entryOf("a//b"))},
		{Why: "a hidden part", Document: manifestOf(entryOf("a/.b"))},
		{Why: "a hidden path to delete", Document: `{"version": "v1", "deletes": [".ssh/id"]}`},
		{Why: "a file is also a folder", Document: manifestOf(entryOf("a/b"), entryOf("a"))},
		{Why: "a path appears twice", Document: manifestOf(entryOf("a"), entryOf("a"))},
		{Why: "a time that is none", Document: `{"version": "v1", "not_after": "soon"}`},
		{Why: "a patch without the memory it takes", Document: withPatches(`[{"from": "` + sumB + `", "size": 7, "sha256": "` + sumC + `"}]`)},
		{Why: "a member of a patch appears twice", Document: withPatches(`[{"size": 7, ` + patchOf(sumB, sumC, 7, 65536)[1:] + `]`)},
		{Why: "something after the end", Document: `{"version": "v1"} {}`},
	} {
		w.Code = string(refusal(w.Document))
		v.Refused = append(v.Refused, w)
	}
	for _, doc := range []string{
		manifestOf(entryOf("b"), entryOf("a.b"), entryOf("a/b"), entryOf(".godwit/allowed_signers")),
		manifestOf(`{"path": "x", "size": 0, "crc32": 0, "mode": "exec"}`, `{"path": "y", "size": 3, "crc32": 305419896, "sha256": "`+strings.ToUpper(sumA)+`", "mode": "link"}`),
	} {
		v.Files = append(v.Files, listingOf{doc, filesOf(t, doc)})
	}
	return v
}

func TestVectors(t *testing.T) {
	made := makeVectors(t)
	if *writeVectors {
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		if err := e.Encode(made); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(vectorFile, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(vectorFile)
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(v, made) {
		t.Errorf("%s is not what this package says: look at both, and write it anew with -write-vectors if the file is wrong", vectorFile)
	}
	for _, w := range v.Refused {
		if w.Code == "" {
			t.Errorf("%s: taken", w.Why)
		}
	}
	var docs []string
	for _, s := range v.Signed {
		docs = append(docs, s.Document)
	}
	canonical, sums := python(t, v.Key, docs)
	for i, s := range v.Signed {
		if canonical[i] == nil || *canonical[i] != s.Canonical || sums[i] != s.Signature {
			t.Errorf("%q: the vector is not Python's", s.Document)
		}
	}
}
