package manifest

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/godwit-ota/godwit"
)

// reference signs each document that it is given the way the MicroPython
// updater's generator does.
const reference = `
import hashlib, hmac, json, sys
for line in sys.stdin:
    text, key = json.loads(line)
    try:
        doc = json.loads(text)
        assert isinstance(doc, dict)
        doc.pop("signature", None)
        canonical = json.dumps(doc, sort_keys=True, separators=(",", ":"))
        if "Infinity" in canonical or "NaN" in canonical:
            raise ValueError(canonical)
        mac = hmac.new(key.encode(), canonical.encode(), hashlib.sha256).hexdigest()
        print(json.dumps([canonical, mac]))
    except (ValueError, AssertionError) as e:
        print(json.dumps([None, str(e)]))
`

// python runs the reference over documents. The answers are canonical forms and
// signatures; the former is nil where Python does not take the document.
func python(t *testing.T, key string, docs []string) (canonical []*string, sums []string) {
	t.Helper()
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("python3 is not installed: the reference cannot be asked")
	}
	var in bytes.Buffer
	for _, d := range docs {
		b, err := json.Marshal([]string{d, key})
		if err != nil {
			t.Fatal(err)
		}
		in.Write(append(b, '\n'))
	}
	cmd := exec.Command("python3", "-c", reference)
	cmd.Stdin = &in
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("python3: %v\n%s", err, &complaint)
	}
	for line := range strings.Lines(string(out)) {
		var answer []*string
		if err := json.Unmarshal([]byte(line), &answer); err != nil || len(answer) != 2 {
			t.Fatalf("%q: %v", line, err)
		}
		canonical = append(canonical, answer[0])
		sums = append(sums, *answer[1])
	}
	if len(canonical) != len(docs) {
		t.Fatalf("%d answers to %d documents", len(canonical), len(docs))
	}
	return canonical, sums
}

const testKey = "a shared secret with ümlauts"

func canonicalOf(doc string) (string, error) {
	var b bytes.Buffer
	err := Canonical(&b, strings.NewReader(doc), int64(len(doc)))
	return b.String(), err
}

// compareWithPython demands the same canonical form and signature. What we
// refuse, Python may take; not the other way round.
func compareWithPython(t *testing.T, docs []string) (taken int) {
	t.Helper()
	canonical, sums := python(t, testKey, docs)
	for i, doc := range docs {
		got, err := canonicalOf(doc)
		if err != nil {
			continue
		}
		if canonical[i] == nil {
			t.Fatalf("Python refuses %q (%s), and we write %q", doc, sums[i], got)
		}
		if got != *canonical[i] {
			t.Fatalf("%q:\n  ours   %q\n  Python %q", doc, got, *canonical[i])
		}
		sum, err := HMAC(strings.NewReader(doc), int64(len(doc)), []byte(testKey))
		if err != nil || sum != sums[i] {
			t.Fatalf("%q: %s, %v, and Python signs with %s", doc, sum, err, sums[i])
		}
		taken++
	}
	return taken
}

// canonicalCases are documents at the edges of what Python does.
var canonicalCases = []string{
	`{}`, ` { } `, `{"a":1,"A":2,"é":3,"\ud83d\ude00":4,"\uffff":5,"":6,"b":null,"signature":"00"}`,
	`{"b":[{"z":1,"y":{"c":true,"a":false,"b":[[],{},[{"q":0,"p":"x"}]]}},[1,[2]],null,"s"],"a":{"b":{"d":1,"c":2},"a":[]}}`,
	`{"n":[0,-0,-1,12345678901234567890123456789,1.0,-0.0,0.1,1e5,1E5,1e16,1e15,123456789012345680.0,0.0001,0.00001,1.5e-7,1e22,1e23,5e-324,1.7976931348623157e308,2.5,100.0,3.14159]}`,
	`{"s":["\"\\\/\b\f\n\r\t\u0000\u001f\u007f ~\u0080é€😀\ud83d\ude00","\ud800","\udc00\ud800","x\ud83dy"]}`,
	`{"\ud800":1,"\uffff":2,"😀":3,"\udfff":4}`,
	`{"version":"v1","files":[{"sha256":"00","path":"ü","size":1}],"deletes":[],"signature":null}`,
}

func TestCanonicalFormIsPythons(t *testing.T) {
	if n := compareWithPython(t, canonicalCases); n != len(canonicalCases) {
		t.Errorf("only %d of %d were taken", n, len(canonicalCases))
	}
}

// TestCanonicalFormOfRandomDocuments compares documents that nobody thought of.
func TestCanonicalFormOfRandomDocuments(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var docs []string
	for range 600 {
		docs = append(docs, randomObject(rng, 0))
	}
	if n := compareWithPython(t, docs); n < 300 {
		t.Errorf("only %d of %d were taken", n, len(docs))
	}
}

func randomObject(rng *rand.Rand, depth int) string {
	var b strings.Builder
	b.WriteByte('{')
	for i := range rng.IntN(6) {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(randomString(rng) + strings.Repeat(" ", rng.IntN(2)) + ":" + randomValue(rng, depth+1))
	}
	return b.String() + "}"
}

func randomValue(rng *rand.Rand, depth int) string {
	switch n := rng.IntN(9); {
	case n < 2 && depth < 5:
		return randomObject(rng, depth)
	case n < 4 && depth < 5:
		var list []string
		for range rng.IntN(4) {
			list = append(list, randomValue(rng, depth+1))
		}
		return "[" + strings.Join(list, " ,\n") + "]"
	case n < 6:
		return randomString(rng)
	case n == 6:
		return []string{"true", "false", "null"}[rng.IntN(3)]
	case n == 7:
		return strconv.FormatInt(rng.Int64()-rng.Int64(), 10)
	}
	f := rng.Float64() * []float64{1, 1e-5, 1e15, 1e16, 1e300, 1e-300}[rng.IntN(6)]
	return strconv.FormatFloat(f, "efg"[rng.IntN(3)], []int{-1, 3, 17}[rng.IntN(3)], 64)
}

func randomString(rng *rand.Rand) string {
	pieces := []string{"a", "B", "z", "_", "é", "ÿ", "€", "\uffff", "😀", "𐀀", `\n`, `\u00e9`, `\ud83d\ude00`, `\ud800`, `\udc00`, `\"`, `\\`, `\/`, "\x7f", `\u0000`, "~", " "}
	s := ""
	for range rng.IntN(5) {
		s += pieces[rng.IntN(len(pieces))]
	}
	return `"` + s + `"`
}

// TestManifestOfPython checks a manifest with the layout and the signature that
// a few lines of Python give it.
func TestManifestOfPython(t *testing.T) {
	doc := `{"version": "v1.0.0", "generated_at": "2025-11-12T12:00:00Z",
	 "files": [{"path": "main.py", "size": 123, "sha256": "` + strings.Repeat("ab", 32) + `", "crc32": 305419896}],
	 "deletes": ["old.py"], "post_update": "hooks/post.py", "rollback": "hooks/undo.py"}`
	_, sums := python(t, testKey, []string{doc})
	signed := doc[:len(doc)-1] + `, "signature": "` + sums[0] + `"}`
	check := func(doc, key string) error {
		return CheckHMAC(strings.NewReader(doc), int64(len(doc)), []byte(key))
	}
	if err := check(signed, testKey); err != nil {
		t.Error(err)
	}
	for _, c := range []struct {
		name, doc, key string
		want           godwit.Code
	}{
		{"not signed", doc, testKey, godwit.CodeUnsigned},
		{"no signature in it", doc[:len(doc)-1] + `, "signature": ""}`, testKey, godwit.CodeUnsigned},
		{"null", doc[:len(doc)-1] + `, "signature": null}`, testKey, godwit.CodeUnsigned},
		{"another key", signed, testKey + "x", godwit.CodeBadSignature},
		{"another size", strings.Replace(signed, "123", "124", 1), testKey, godwit.CodeBadSignature},
		{"one more member", strings.Replace(signed, `"version"`, `"x":0,"version"`, 1), testKey, godwit.CodeBadSignature},
		{"a signature cut short", strings.Replace(signed, sums[0], sums[0][:63], 1), testKey, godwit.CodeBadSignature},
		{"a member twice", strings.Replace(signed, `"version"`, `"files":[],"version"`, 1), testKey, godwit.CodeBadManifest},
		{"a signature twice", strings.Replace(signed, `"version"`, `"signature":"00","version"`, 1), testKey, godwit.CodeBadManifest},
		{"a member of a file twice", strings.Replace(signed, `"size"`, `"size":0,"size"`, 1), testKey, godwit.CodeBadManifest},
		{"a number of no size", strings.Replace(signed, `123`, `1e999`, 1), testKey, godwit.CodeBadManifest},
		{"not JSON", signed[1:], testKey, godwit.CodeBadManifest},
	} {
		if got := godwit.CodeOf(check(c.doc, c.key)); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}
