package object

import (
	"bytes"
	"crypto/sha1"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/godwit-ota/godwit"
)

// treeOf makes a tree out of "MODE NAME" lines.
func treeOf(f Format, lines ...string) []byte {
	var b []byte
	for i, l := range lines {
		b = append(b, l...)
		b = append(b, 0)
		b = append(b, bytes.Repeat([]byte{byte(i + 1)}, f.Size())...)
	}
	return b
}

func readTree(b []byte, f Format) (lines []string, err error) {
	r := NewTreeReader(bytes.NewReader(b), f)
	for {
		e, err := r.Next()
		if err == io.EOF {
			return lines, nil
		}
		if err != nil {
			return lines, err
		}
		lines = append(lines, fmt.Sprintf("%o %s", e.Mode, e.Name))
	}
}

func TestTrees(t *testing.T) {
	long := strings.Repeat("n", MaxName)
	tests := []struct {
		name  string
		lines []string
		want  string // joined with ","; or the error
		code  godwit.Code
	}{
		{"empty", nil, "", ""},
		{"modes", []string{"100644 a", "100755 b", "120000 c", "160000 d", "40000 e"}, "100644 a,100755 b,120000 c,160000 d,40000 e", ""},
		{"legacy modes", []string{"100664 a", "100775 b", "100600 c", "040000 d"}, "100644 a,100755 b,100644 c,40000 d", ""},
		{"a directory sorts with its slash", []string{"100644 a-b", "40000 a", "100644 a0"}, "100644 a-b,40000 a,100644 a0", ""},
		{"the same the other way", []string{"40000 a", "100644 a-b"}, "not in order", godwit.CodeBadObject},
		{"out of order", []string{"100644 b", "100644 a"}, "not in order", godwit.CodeBadObject},
		{"twice", []string{"100644 a", "100644 a"}, "two entries named \"a\"", godwit.CodeBadPath},
		{"file and directory", []string{"100644 a", "40000 a"}, "two entries named \"a\"", godwit.CodeBadPath},
		{"file and directory apart", []string{"100644 a", "100644 a-", "100644 a-b", "100644 a.", "40000 a"}, "two entries named \"a\"", godwit.CodeBadPath},
		{"prefixes that are no twins", []string{"100644 a", "100644 a-", "100644 a-b", "100644 a.", "40000 a.d", "40000 ab"},
			"100644 a,100644 a-,100644 a-b,100644 a.,40000 a.d,40000 ab", ""},
		{"dot", []string{"40000 ."}, `named "."`, godwit.CodeBadPath},
		{"dot dot", []string{"40000 .."}, `named ".."`, godwit.CodeBadPath},
		{"dot git", []string{"40000 .git"}, `named ".git"`, godwit.CodeBadPath},
		{"dot GIT", []string{"40000 .GiT"}, `named ".GiT"`, godwit.CodeBadPath},
		{"dot gitignore", []string{"100644 .gitignore"}, "100644 .gitignore", ""},
		{"slash", []string{"100644 a/b"}, "slash", godwit.CodeBadPath},
		{"absolute", []string{"100644 /etc"}, "slash", godwit.CodeBadPath},
		{"no name", []string{"100644 "}, "without a name", godwit.CodeBadPath},
		{"long name", []string{"100644 " + long}, "100644 " + long, ""},
		{"longer name", []string{"100644 " + long + "n"}, "more than 4096 bytes", godwit.CodeBadPath},
		{"mode with 8", []string{"100648 a"}, "malformed mode", godwit.CodeBadObject},
		{"mode without end", []string{"1006440000000000000000 a"}, "malformed mode", godwit.CodeBadObject},
		{"unknown mode", []string{"010000 a"}, "mode 10000", godwit.CodeBadObject},
	}
	for _, tt := range tests {
		for _, f := range []Format{SHA1, SHA256} {
			t.Run(tt.name+" "+f.String(), func(t *testing.T) {
				lines, err := readTree(treeOf(f, tt.lines...), f)
				if godwit.CodeOf(err) != tt.code {
					t.Fatalf("%v has code %q, want %q", err, godwit.CodeOf(err), tt.code)
				}
				if err != nil {
					if !strings.Contains(err.Error(), tt.want) {
						t.Errorf("%v", err)
					}
				} else if got := strings.Join(lines, ","); got != tt.want {
					t.Errorf("got %s", got)
				}
			})
		}
	}
	whole := treeOf(SHA1, "100644 a", "100755 b")
	for n := 1; n < len(whole); n++ {
		if n == len(whole)/2 {
			continue // just the first entry
		}
		if _, err := readTree(whole[:n], SHA1); godwit.CodeOf(err) != godwit.CodeBadObject {
			t.Errorf("cut after %d bytes: %v", n, err)
		}
	}
}

func FuzzTree(f *testing.F) {
	f.Add(treeOf(SHA1, "100644 a", "100644 a-b", "40000 a.d"))
	f.Add(treeOf(SHA1, "100644 a", "100644 a-", "40000 a"))
	f.Add([]byte("40000 .git\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := NewTreeReader(bytes.NewReader(b), SHA1)
		kinds := make(map[string]bool)
		last := ""
		for {
			e, err := r.Next()
			if err == io.EOF {
				return
			}
			if err != nil {
				if c := godwit.CodeOf(err); c != godwit.CodeBadObject && c != godwit.CodeBadPath {
					t.Errorf("%v has code %s", err, c)
				}
				return
			}
			name := string(e.Name)
			if kinds[name] {
				t.Errorf("%q twice", name)
			}
			kinds[name] = true
			key := name
			if e.Mode == ModeDir {
				key += "/"
			}
			if name == "" || strings.Contains(name, "/") || key <= last {
				t.Errorf("%q after %q", key, last)
			}
			last = key
		}
	})
}

const commitText = "tree 1111111111111111111111111111111111111111\nparent 2222222222222222222222222222222222222222\n" +
	"author A U Thor <a@example.org> 1700000000 +0100\ncommitter C > O <c@example.org> 1700000060 -0530\ngpgsig -----BEGIN\n x\n -----END\n\nmessage\n"

func TestCommits(t *testing.T) {
	c, err := ReadCommit(strings.NewReader(commitText), SHA1)
	if err != nil || c.Tree.String() != strings.Repeat("1", 40) || c.Parents != 1 ||
		c.Committed.Format(time.RFC3339) != "2023-11-14T16:44:20-05:30" {
		t.Errorf("%+v, %v", c, err)
	}
	for name, text := range map[string]string{
		"empty":           "",
		"no tree":         strings.Replace(commitText, "tree", "twig", 1),
		"short id":        strings.Replace(commitText, "1111", "", 1),
		"upper-case id":   strings.Replace(commitText, "1111", "ABCD", 1),
		"not hexadecimal": strings.Replace(commitText, "1111", "wxyz", 1),
		"no author":       strings.Replace(commitText, "author", "writer", 1),
		"no committer":    strings.Replace(commitText, "committer", "x", 1),
		"cut":             commitText[:100],
		"NUL":             strings.Replace(commitText, "Thor", "\x00", 1),
		"endless line":    strings.Replace(commitText, "Thor", strings.Repeat("r", 5000), 1),
	} {
		if _, err := ReadCommit(strings.NewReader(text), SHA1); godwit.CodeOf(err) != godwit.CodeBadObject {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := ReadCommit(strings.NewReader(commitText), SHA256); err == nil {
		t.Error("a SHA-1 commit in a SHA-256 repository")
	}
}

const tagText = "object 1111111111111111111111111111111111111111\ntype commit\ntag v1.4.0\ntagger T <t@example.org> 1700000000 +0000\n\nmessage\n"

func TestTags(t *testing.T) {
	g, err := ReadTag(strings.NewReader(tagText), SHA1)
	if err != nil || g.Object.String() != strings.Repeat("1", 40) || g.Type != Commit || g.Name != "v1.4.0" || g.Tagged.Unix() != 1700000000 {
		t.Errorf("%+v, %v", g, err)
	}
	old := strings.Replace(tagText, "tagger T <t@example.org> 1700000000 +0000\n", "", 1)
	if g, err := ReadTag(strings.NewReader(old), SHA1); err != nil || !g.Tagged.IsZero() {
		t.Errorf("without tagger: %+v, %v", g, err)
	}
	for name, text := range map[string]string{
		"empty":        "",
		"no object":    strings.Replace(tagText, "object", "x", 1),
		"unknown type": strings.Replace(tagText, "type commit", "type comet", 1),
		"no name":      strings.Replace(tagText, "v1.4.0", "", 1),
		"cut":          tagText[:60],
	} {
		if _, err := ReadTag(strings.NewReader(text), SHA1); godwit.CodeOf(err) != godwit.CodeBadObject {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPersonTime(t *testing.T) {
	for text, want := range map[string]int64{
		"A <a> 5 +0000": 5, "A <a> 5": 5, "A <a> -5 +0000": -1, "A <a> 99999999999999 +0000": -1, "A <a>": -1, "": -1, " 5 +0000": 5,
		"A <a> 5 +9999": 5, "A <a> 5 nonsense": 5,
	} {
		got := personTime(text)
		if want == -1 != got.IsZero() || want != -1 && got.Unix() != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func FuzzCommit(f *testing.F) {
	f.Add(commitText)
	f.Fuzz(func(t *testing.T, text string) {
		c, err := ReadCommit(strings.NewReader(text), SHA1)
		if err != nil && godwit.CodeOf(err) != godwit.CodeBadObject {
			t.Errorf("%v has code %s", err, godwit.CodeOf(err))
		}
		if err == nil && (c.Tree.IsZero() || !strings.HasPrefix(text, "tree "+c.Tree.String()+"\n")) {
			t.Errorf("%+v", c)
		}
	})
}

func FuzzTag(f *testing.F) {
	f.Add(tagText)
	f.Fuzz(func(t *testing.T, text string) {
		g, err := ReadTag(strings.NewReader(text), SHA1)
		if err != nil && godwit.CodeOf(err) != godwit.CodeBadObject {
			t.Errorf("%v has code %s", err, godwit.CodeOf(err))
		}
		if err == nil && (g.Object.IsZero() || g.Name == "" || !strings.Contains(text, "\ntag "+g.Name+"\n")) {
			t.Errorf("%+v", g)
		}
	})
}

func TestIDs(t *testing.T) {
	for _, s := range []string{"", "12", strings.Repeat("g", 40), strings.Repeat("A", 40), strings.Repeat("1", 41)} {
		if _, err := ParseID(s); godwit.CodeOf(err) != godwit.CodeBadObject {
			t.Errorf("%q: %v", s, err)
		}
	}
	for _, s := range []string{strings.Repeat("0a", 20), strings.Repeat("0a", 32)} {
		id, err := ParseID(s)
		if err != nil || id.String() != s || IDOf(id.Blob()) != id {
			t.Errorf("%q: %v, %v", s, id, err)
		}
	}
	if !(ID{}).IsZero() || (ID{}).String() != "" || !IDOf(godwit.Digest{}).IsZero() {
		t.Error("the zero ID")
	}
	// The empty blob of either format, as git hash-object gives it.
	for f, want := range map[Format]string{
		SHA1:   "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391",
		SHA256: "473a0f4c3be8a93681a267e3b1e9a7dcda1185436fe141f7749120a303721813",
	} {
		if got := naiveID(f, Blob, nil); got.String() != want {
			t.Errorf("%s: %s", f, got)
		}
	}
	if _, err := ParseFormat("md5"); godwit.CodeOf(err) != godwit.CodeProtocol {
		t.Error(err)
	}
}

// The first 320 bytes of the two files of https://shattered.io, which have the
// same SHA-1, must not pass.
func TestCollisionAttack(t *testing.T) {
	var plain [2][20]byte
	for i, name := range []string{"testdata/shattered-1", "testdata/shattered-2"} {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		plain[i] = sha1.Sum(b)
		h := NewHasher(SHA1)
		h.sum.Reset() // without Git's header, which the attack does not know
		h.Write(b)
		if _, err := h.ID(); godwit.CodeOf(err) != godwit.CodeBadObject {
			t.Errorf("%s passed: %v", name, err)
		}
	}
	if plain[0] != plain[1] {
		t.Error("the vectors do not collide")
	}
}
