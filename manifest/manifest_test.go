package manifest

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/godwit-ota/godwit"
)

func source(doc string) (io.ReaderAt, int64) { return strings.NewReader(doc), int64(len(doc)) }

func listed(l godwit.Listing) (entries []godwit.Entry, err error) {
	for e, err := range l {
		if err != nil {
			return entries, err
		}
		entries = append(entries, e)
	}
	return entries, nil
}

var sumA = strings.Repeat("0a", 32)

func entryOf(path string) string {
	return `{"path": "` + path + `", "size": 3, "sha256": "` + sumA + `"}`
}

func manifestOf(files ...string) string {
	return `{"version": "v1", "files": [` + strings.Join(files, ",\n") + `]}`
}

func TestReadHead(t *testing.T) {
	doc := `{"version": "v1.0.0", "generated_at": "2025-11-12T12:00:00.5+01:00", "product": "station", "sequence": 18446744073709551615,
		"not_after": "2027-01-31T00:00:00Z", "tree": "` + strings.Repeat("1", 40) + `", "commit": "` + strings.Repeat("2", 64) + `",
		"files": [` + entryOf("a") + `, {}], "deletes": ["old.py", "lib/x"], "post_update": "hooks/post.py", "rollback": "hooks/undo.py",
		"later": [{"from": 1}], "signature": "00ff"}`
	want := Head{
		Version: "v1.0.0", Generated: time.Date(2025, 11, 12, 11, 0, 0, 5e8, time.UTC), Product: "station", Sequence: 1<<64 - 1,
		NotAfter: time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC), Tree: strings.Repeat("1", 40), Commit: strings.Repeat("2", 64),
		Deletes: []string{"old.py", "lib/x"}, PostUpdate: "hooks/post.py", Rollback: "hooks/undo.py", Files: 2, Signature: "00ff",
	}
	r, n := source(doc)
	if got, err := ReadHead(r, n, Limits{}); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	r, n = source(`{"version": "dev", "generated_at": "2025-11-12T12:00:00", "product": null, "deletes": null, "files": null, "post_update": "", "": 1}`)
	want = Head{Version: "dev", Generated: time.Date(2025, 11, 12, 12, 0, 0, 0, time.UTC)}
	if got, err := ReadHead(r, n, Limits{}); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestReadHeadRefuses(t *testing.T) {
	for _, c := range []struct {
		name, doc string
		code      godwit.Code
		text      string
	}{
		{"nothing", ``, godwit.CodeBadManifest, "the manifest is not JSON: line 1: it ends too early"},
		{"a list", `[]`, godwit.CodeBadManifest, "it is not an object"},
		{"cut off", `{"version": "v1",` + "\n" + `"files": [`, godwit.CodeBadManifest, "line 2: it ends too early"},
		{"something behind it", `{"version": "v1"} x`, godwit.CodeBadManifest, "there is something after its end"},
		{"no version", `{}`, godwit.CodeBadManifest, "it has no version"},
		{"a number as version", `{"version": 1}`, godwit.CodeBadManifest, `"version" must be a text`},
		{"a version of two lines", `{"version": "v1\nv2"}`, godwit.CodeBadManifest, `"version" must be a text of one line`},
		{"a version that moves the cursor", `{"version": "v1\u001b[2J"}`, godwit.CodeBadManifest, `"version" must be a text of one line`},
		{"a version that turns the line around", `{"version": "v\u202e1"}`, godwit.CodeBadManifest, `"version" must be a text of one line`},
		{"half a character", `{"version": "v\ud800"}`, godwit.CodeBadManifest, `"version" must be a text of one line`},
		{"a long product", `{"version": "v1", "product": "` + strings.Repeat("x", 256) + `"}`, godwit.CodeBadManifest, `"product" must be`},
		{"twice", `{"version": "v1", "files": [], "files": []}`, godwit.CodeBadManifest, `"files" appears twice`},
		{"twice, by an escape", `{"version": "v1", "deletes": [], "d\u0065letes": []}`, godwit.CodeBadManifest, `"deletes" appears twice`},
		{"no time", `{"version": "v1", "not_after": "tomorrow"}`, godwit.CodeBadManifest, `"not_after" must be a time`},
		{"a number as time", `{"version": "v1", "generated_at": 5}`, godwit.CodeBadManifest, `"generated_at" must be a time`},
		{"a negative sequence", `{"version": "v1", "sequence": -1}`, godwit.CodeBadManifest, `"sequence" must be a number`},
		{"half a sequence", `{"version": "v1", "sequence": 1.5}`, godwit.CodeBadManifest, `"sequence" must be a number`},
		{"a sequence too far", `{"version": "v1", "sequence": 18446744073709551616}`, godwit.CodeBadManifest, `"sequence" must be a number`},
		{"no tree", `{"version": "v1", "tree": "HEAD"}`, godwit.CodeBadManifest, `"tree" must be an id`},
		{"deletes upwards", `{"version": "v1", "deletes": ["../x"]}`, godwit.CodeBadPath, `a part ".."`},
		{"deletes nothing", `{"version": "v1", "deletes": [""]}`, godwit.CodeBadManifest, `"deletes" must be a path`},
		{"deletes a number", `{"version": "v1", "deletes": [1]}`, godwit.CodeBadManifest, `"deletes" must be a path`},
		{"no list", `{"version": "v1", "deletes": "x"}`, godwit.CodeBadManifest, `"deletes" must be a list`},
		{"an absolute hook", `{"version": "v1", "post_update": "/bin/sh"}`, godwit.CodeBadPath, "it is absolute"},
		{"a file that is none", `{"version": "v1", "files": ["a"]}`, godwit.CodeBadManifest, "an object for each file"},
		{"many deletes", `{"version": "v1", "deletes": ["a", "b", "c"]}`, godwit.CodeLimit, "more than 2 paths to delete"},
		{"many files", `{"version": "v1", "files": [{}, {}, {}, {}]}`, godwit.CodeLimit, "more than 3 files"},
		{"long", `{"version": "v1"}` + strings.Repeat(" ", 290), godwit.CodeLimit, "at most 300 are taken"},
		{"a long text", `{"version": "v1", "x": "` + strings.Repeat("x", 20<<10) + `"}`, godwit.CodeLimit, "longer than 16384 bytes"},
		{"many members", `{"version": "v1"` + manyMembers(64) + `}`, godwit.CodeBadManifest, "more than 64 members"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, n := source(c.doc)
			l := Limits{Files: 3, Deletes: 2, Bytes: 300}
			if len(c.doc) > 500 {
				l.Bytes = 0
			}
			_, err := ReadHead(r, n, l)
			if godwit.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.text) {
				t.Errorf("%s: %v; want %s: …%s…", godwit.CodeOf(err), err, c.code, c.text)
			}
		})
	}
}

func manyMembers(n int) string {
	s := ""
	for i := range n {
		s += fmt.Sprintf(`,"m%d":0`, i)
	}
	return s
}

func TestEntries(t *testing.T) {
	r, n := source(manifestOf(
		`{"path": ".godwit/allowed_signers", "size": 0, "sha256": "`+strings.ToUpper(sumA)+`"}`,
		`{"crc32": 305419896, "mode": "exec", "path": "bin/run", "x": {"path": "y"}, "size": 65536, "sha256": null}`,
		`{"path": "lib/ü", "sha256": "`+sumA+`", "mode": "link", "size": 4611686018427387904, "crc32": 1}`,
	))
	l := Entries(r, n, Limits{})
	sum := bytes.Repeat([]byte{10}, 32)
	want := []godwit.Entry{
		{Path: ".godwit/allowed_signers", Mode: godwit.File, Digest: godwit.MakeDigest(godwit.SHA256, sum)},
		{Path: "bin/run", Mode: godwit.Executable, Size: 65536, Digest: godwit.MakeDigest(godwit.CRC32, []byte{0x12, 0x34, 0x56, 0x78, 0, 0, 0, 0, 0, 1, 0, 0})},
		{Path: "lib/ü", Mode: godwit.Symlink, Size: 1 << 62, Digest: godwit.MakeDigest(godwit.SHA256, sum)},
	}
	for range 2 {
		if got, err := listed(l); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%+v, %v", got, err)
		}
	}
	for e, err := range l { // an early end
		if err != nil || e.Path != want[0].Path {
			t.Error(e, err)
		}
		break
	}
}

// TestCRC32 holds the digest of files without a SHA-256 to what the device
// computes.
func TestCRC32(t *testing.T) {
	content := []byte("content")
	r, n := source(manifestOf(fmt.Sprintf(`{"path": "a", "size": %d, "crc32": %d}`, len(content), crc32.ChecksumIEEE(content))))
	got, err := listed(Entries(r, n, Limits{}))
	h := godwit.CRC32.New(int64(len(content)))
	h.Write(content)
	if err != nil || got[0].Digest != godwit.MakeDigest(godwit.CRC32, h.Sum(nil)) {
		t.Errorf("%v, %v", got, err)
	}
}

func TestEntriesInAnyOrder(t *testing.T) {
	paths := []string{"z", "a/b", "a-b", "m", "a/a", "é", "a.b"}
	var files []string
	for i, p := range paths {
		files = append(files, fmt.Sprintf(`{"path": %q, "size": %d, "sha256": "%s"}`, p, i, sumA))
	}
	r, n := source(manifestOf(files...))
	l := Entries(r, n, Limits{})
	for range 2 {
		got, err := listed(l)
		if err != nil || len(got) != len(paths) {
			t.Fatal(got, err)
		}
		for i, e := range got {
			if i > 0 && got[i-1].Path >= e.Path || paths[e.Size] != e.Path {
				t.Errorf("%+v", got)
			}
		}
	}
	many := make([]string, maxUnsorted+1)
	for i := range many {
		many[i] = entryOf(fmt.Sprintf("f%06d", len(many)-i))
	}
	r, n = source(manifestOf(many...))
	if _, err := listed(Entries(r, n, Limits{})); godwit.CodeOf(err) != godwit.CodeLimit {
		t.Error(err)
	}
	slices.Reverse(many)
	r, n = source(manifestOf(many...))
	if got, err := listed(Entries(r, n, Limits{})); err != nil || len(got) != len(many) {
		t.Error(len(got), err)
	}
}

func TestEntriesRefuses(t *testing.T) {
	file := func(members string) string { return manifestOf(`{"path": "p", ` + members + `}`) }
	for _, c := range []struct {
		name, doc string
		code      godwit.Code
		text      string
	}{
		{"twice", manifestOf(entryOf("a"), entryOf("a")), godwit.CodeBadManifest, `"a" twice`},
		{"twice, apart", manifestOf(entryOf("b"), entryOf("a"), entryOf("b")), godwit.CodeBadManifest, `"b" twice`},
		{"file and folder", manifestOf(entryOf("a"), entryOf("a-b"), entryOf("a/b")), godwit.CodeBadManifest, `"a" is a file, and a folder for "a/b"`},
		{"file and folder, apart", manifestOf(entryOf("a/b/c"), entryOf("x"), entryOf("a")), godwit.CodeBadManifest, `"a" is a file, and a folder for "a/b/c"`},
		{"no path", manifestOf(`{"size": 1, "sha256": "` + sumA + `"}`), godwit.CodeBadManifest, "a file has no path"},
		{"no size", file(`"sha256": "` + sumA + `"`), godwit.CodeBadManifest, `"p" has no size`},
		{"no digest", file(`"size": 1`), godwit.CodeBadManifest, "neither sha256 nor crc32"},
		{"an empty digest", file(`"size": 1, "sha256": ""`), godwit.CodeBadManifest, "neither sha256 nor crc32"},
		{"a short digest", file(`"size": 1, "sha256": "` + sumA[2:] + `"`), godwit.CodeBadManifest, `"sha256" must be 64`},
		{"a long digest", file(`"size": 1, "sha256": "` + sumA + sumA + `00"`), godwit.CodeBadManifest, `"sha256" must be 64`},
		{"a digest of letters", file(`"size": 1, "sha256": "` + strings.Repeat("zz", 32) + `"`), godwit.CodeBadManifest, `"sha256" must be 64`},
		{"a negative size", file(`"size": -1, "sha256": "` + sumA + `"`), godwit.CodeBadManifest, `"size" must be`},
		{"a size beyond all", file(`"size": 9223372036854775807, "sha256": "` + sumA + `"`), godwit.CodeBadManifest, `"size" must be`},
		{"half a byte", file(`"size": 1.5, "sha256": "` + sumA + `"`), godwit.CodeBadManifest, `"size" must be`},
		{"a size twice", file(`"size": 1, "size": 2, "sha256": "` + sumA + `"`), godwit.CodeBadManifest, `"size" appears twice`},
		{"a large crc", file(`"size": 1, "crc32": 4294967296`), godwit.CodeBadManifest, `"crc32" must be`},
		{"an unknown mode", file(`"size": 1, "crc32": 1, "mode": "socket"`), godwit.CodeBadManifest, `"mode" must be`},
		{"absolute", manifestOf(entryOf("/etc/passwd")), godwit.CodeBadPath, "absolute"},
		{"up", manifestOf(entryOf("a/../../b")), godwit.CodeBadPath, `".."`},
		{"here", manifestOf(entryOf("./a")), godwit.CodeBadPath, `"."`},
		{"empty part", manifestOf(entryOf("a//b")), godwit.CodeBadPath, "an empty part"},
		{"a folder", manifestOf(entryOf("a/")), godwit.CodeBadPath, "an empty part"},
		{"empty", manifestOf(entryOf("")), godwit.CodeBadPath, "empty"},
		{"hidden", manifestOf(entryOf("a/.ssh/b")), godwit.CodeBadPath, "hidden"},
		{"Godwit's own", manifestOf(entryOf(".godwit/record.0")), godwit.CodeBadPath, "hidden"},
		{"a list in a folder", manifestOf(entryOf("a/.godwit/allowed_signers")), godwit.CodeBadPath, "hidden"},
		{"NUL", manifestOf(entryOf(`a\u0000b`)), godwit.CodeBadPath, "NUL"},
		{"half a character", manifestOf(entryOf(`a\udc00`)), godwit.CodeBadPath, "not Unicode"},
		{"long", manifestOf(entryOf(strings.Repeat("a/", 2048) + "a")), godwit.CodeBadPath, "longer than 4096"},
		{"too many", manifestOf(entryOf("a"), entryOf("b"), entryOf("c"), entryOf("d")), godwit.CodeLimit, "more than 3 files"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, n := source(c.doc)
			_, err := listed(Entries(r, n, Limits{Files: 3}))
			if godwit.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.text) {
				t.Errorf("%s: %v; want %s: …%s…", godwit.CodeOf(err), err, c.code, c.text)
			}
		})
	}
}

func TestReadErrorsPassOn(t *testing.T) {
	broken := errors.New("the disk is gone")
	for name, err := range map[string]error{
		"head":    second(ReadHead(failing{broken}, 100, Limits{})),
		"entries": second(listed(Entries(failing{broken}, 100, Limits{}))),
		"hmac":    CheckHMAC(failing{broken}, 100, nil),
		"channel": second(ReadChannel(failing{broken}, 100)),
	} {
		if !errors.Is(err, broken) || godwit.CodeOf(err) != godwit.CodeIO {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

type failing struct{ err error }

func (f failing) ReadAt([]byte, int64) (int, error) { return 0, f.err }

func TestWriter(t *testing.T) {
	head := Head{Version: "v1.0.0", Generated: time.Date(2025, 11, 12, 12, 0, 0, 0, time.UTC), Deletes: []string{"old.py"}, PostUpdate: "hooks/post.py", Rollback: "hooks/undo.py"}
	sum := sha256.Sum256([]byte("x"))
	var f bytes.Buffer
	w := NewWriter(&f, head)
	want := []godwit.Entry{
		{Path: "main.py", Mode: godwit.File, Size: 123, Digest: godwit.MakeDigest(godwit.SHA256, sum[:])},
		{Path: "über/run", Mode: godwit.Executable, Size: 0, Digest: godwit.MakeDigest(godwit.SHA256, sum[:])},
	}
	if err := w.Add(File{Entry: want[0], CRC32: 305419896, HasCRC32: true}); err != nil {
		t.Fatal(err)
	}
	for _, wrong := range []godwit.Entry{want[0], {Path: "a", Digest: want[0].Digest}, {Path: "z"}, {Path: "z/.x", Digest: want[0].Digest}} {
		if err := w.Add(File{Entry: wrong}); err == nil {
			t.Errorf("%+v is written", wrong)
		}
	}
	if err := w.Add(File{Entry: want[1]}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := AddHMAC(f.Bytes(), []byte(testKey))
	if err != nil {
		t.Fatal(err)
	}
	r, size := bytes.NewReader(b), int64(len(b))
	text := `{
  "version": "v1.0.0",
  "generated_at": "2025-11-12T12:00:00Z",
  "files": [
    {"path": "main.py", "size": 123, "sha256": "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881", "crc32": 305419896},
    {"path": "über/run", "size": 0, "sha256": "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881", "mode": "exec"}
  ],
  "deletes": ["old.py"],
  "post_update": "hooks/post.py",
  "rollback": "hooks/undo.py",
  "signature": "`
	if !strings.HasPrefix(string(b), text) || !strings.HasSuffix(string(b), "\"\n}\n") {
		t.Errorf("%s", b)
	}
	if err := CheckHMAC(r, size, []byte(testKey)); err != nil {
		t.Error(err)
	}
	if compareWithPython(t, []string{string(b)}) != 1 {
		t.Error("the document is not taken")
	}
	got, err := ReadHead(r, size, Limits{})
	if head.Files, head.Signature = 2, got.Signature; err != nil || !reflect.DeepEqual(got, head) {
		t.Errorf("%+v, %v", got, err)
	}
	if entries, err := listed(Entries(r, size, Limits{})); err != nil || !reflect.DeepEqual(entries, want) {
		t.Errorf("%+v, %v", entries, err)
	}
}

func TestWriterOfNothing(t *testing.T) {
	var b bytes.Buffer
	if err := NewWriter(&b, Head{Version: "v1"}).Close(); err != nil || b.String() != "{\n  \"version\": \"v1\",\n  \"files\": []\n}\n" {
		t.Errorf("%q, %v", &b, err)
	}
}

// TestMemory reads a manifest of 100,000 files and demands that only what is
// asked for is held.
func TestMemory(t *testing.T) {
	var b bytes.Buffer
	w := NewWriter(&b, Head{Version: "v1"})
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 20_000 {
		var sum [32]byte
		sum[rng.IntN(32)] = byte(i)
		if err := w.Add(File{Entry: godwit.Entry{Path: fmt.Sprintf("lib/part%02d/file%06d", i/1000, i), Mode: godwit.File, Size: 5, Digest: godwit.MakeDigest(godwit.SHA256, sum[:])}}); err != nil {
			t.Fatal(err)
		}
	}
	w.Close()
	r, n := bytes.NewReader(b.Bytes()), int64(b.Len())
	for name, f := range map[string]func(){
		"head": func() { ReadHead(r, n, Limits{}) },
		"hmac": func() { HMAC(r, n, []byte("key")) },
	} {
		if got := testing.AllocsPerRun(1, f); got > 400 {
			t.Errorf("%s: %v allocations for 20,000 files", name, got)
		}
	}
}

func FuzzManifest(f *testing.F) {
	for _, s := range canonicalCases {
		f.Add(s)
	}
	f.Add(manifestOf(entryOf("b"), entryOf("a"), entryOf("a/b")))
	f.Add(manifestOf(`{"crc32": 305419896, "mode": "exec", "path": "bin/run", "size": 65536, "sha256": null}`, entryOf("a")))
	f.Add(`{"version": "v1.0.0", "generated_at": "2025-11-12T12:00:00Z", "sequence": 4, "not_after": "2027-01-31T00:00:00Z", "deletes": ["x"], "rollback": "y", "signature": "00"}`)
	f.Add(`{"channel": "stable", "sequence": 42, "release": "v1.4.0", "manifest": "` + sumA + `", "rollout": 25, "waves": ["site=lab"], "window": "02:00-04:00", "halt": "x", "time": "2026-11-23T12:00:00Z"}`)
	f.Add(patched)
	f.Fuzz(func(t *testing.T, doc string) {
		r, n := source(doc)
		checkOffers(t, doc)
		if h, err := ReadHead(r, n, Limits{}); err == nil {
			if h.Version == "" || !json.Valid([]byte(doc)) {
				t.Fatalf("%+v of %q", h, doc)
			}
			for _, p := range h.Deletes {
				if CheckPath(p) != nil {
					t.Fatal(p)
				}
			}
		} else if c := godwit.CodeOf(err); c != godwit.CodeBadManifest && c != godwit.CodeBadPath && c != godwit.CodeLimit {
			t.Fatal(err)
		}
		last := ""
		for e, err := range Entries(r, n, Limits{}) {
			if err != nil {
				break
			}
			if e.Path <= last || CheckPath(e.Path) != nil || e.Size < 0 || e.Digest.IsZero() {
				t.Fatalf("%+v after %q", e, last)
			}
			last = e.Path
		}
		if once, err := canonicalOf(doc); err == nil {
			twice, err := canonicalOf(once)
			if err != nil || once != twice {
				t.Fatalf("%q becomes %q becomes %q: %v", doc, once, twice, err)
			}
			var a, b map[string]any
			if json.Unmarshal([]byte(doc), &a) == nil && json.Unmarshal([]byte(once), &b) == nil {
				if delete(a, "signature"); !reflect.DeepEqual(a, b) {
					t.Fatalf("%q became %q", doc, once)
				}
			}
		}
		CheckHMAC(r, n, []byte("key"))
		if c, err := ReadChannel(r, n); err == nil {
			b := c.Append(nil)
			again, err := ReadChannel(bytes.NewReader(b), int64(len(b)))
			if err != nil || !reflect.DeepEqual(again, c) {
				t.Fatalf("%+v was written as %s: %+v, %v", c, b, again, err)
			}
		}
	})
}
