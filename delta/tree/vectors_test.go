package tree_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/delta"
	"github.com/godwit-ota/godwit/delta/tree"
)

var write = flag.Bool("write-vectors", false, "write docs/vectors/tree.json anew")

const vectorFile = "../../docs/vectors/tree.json"

type vectorContent struct {
	Prefix string `json:"prefix"`
	Size   int64  `json:"size"`
	Text   string `json:"text,omitempty"` // the content, where the patch is given whole
}

type vectorTable struct {
	Name   string          `json:"name"`
	Hex    string          `json:"hex"`
	Tier   string          `json:"tier"`
	OldAlg string          `json:"old_algorithm"`
	NewAlg string          `json:"new_algorithm"`
	Old    []vectorContent `json:"old"`
	New    []vectorContent `json:"new"`
	Stream string          `json:"stream,omitempty"` // the patch that follows
}

type vectorRefusal struct {
	Name string `json:"name"`
	Hex  string `json:"hex"`
	Why  string `json:"why"`
}

type vectors struct {
	About   string          `json:"about"`
	Tables  []vectorTable   `json:"tables"`
	Refused []vectorRefusal `json:"refused"`
}

// row adds contents to a row and says what they are.
func row(r *tree.Row, a godwit.Algorithm, prefix int, contents ...string) (out []vectorContent) {
	r.Algorithm = a
	for _, c := range contents {
		d := digest(a, []byte(c))
		r.Add(d, int64(len(c)), prefix)
		p := tree.PrefixOf(d, prefix)
		v := vectorContent{Prefix: hex.EncodeToString(p[:prefix]), Size: int64(len(c))}
		if len(c) < 100 {
			v.Text = c
		}
		out = append(out, v)
	}
	return out
}

func makeVectors() vectors {
	v := vectors{About: "Test vectors for the patches of trees in docs/formats.md. tables: what a table says, and for the first the patch that follows it, of which the texts are the contents. refused: what no reader takes, and why."}
	add := func(name string, t *tree.Table, old, new []vectorContent, stream []byte) {
		v.Tables = append(v.Tables, vectorTable{Name: name, Hex: hex.EncodeToString(t.Append(nil)), Tier: t.Tier.String(), OldAlg: t.Old.Algorithm.String(), NewAlg: t.New.Algorithm.String(),
			Old: old, New: new, Stream: hex.EncodeToString(stream)})
	}
	t := &tree.Table{Tier: delta.Small, Prefix: 4}
	old := row(&t.Old, godwit.GitSHA1, 4, "print('one')\n", "VERSION = 1\n")
	new := row(&t.New, godwit.GitSHA1, 4, "print('two')\n", "", "VERSION = 2\n")
	was, is := "print('one')\nVERSION = 1\n", "print('two')\nVERSION = 2\n"
	h := delta.Header{Method: delta.Stored, Tier: delta.Small, OldSize: int64(len(was)), NewSize: int64(len(is)), OldSum: delta.SumOf(sha256.Sum256([]byte(was))), NewSum: delta.SumOf(sha256.Sum256([]byte(is)))}
	add("two files changed, an empty one is new", t, old, new, append(h.Append(nil), is...))

	t = &tree.Table{Tier: delta.Tiny, Prefix: 8}
	old = row(&t.Old, godwit.SHA256, 8, strings.Repeat("a", 127), strings.Repeat("b", 128), strings.Repeat("c", 20000))
	new = row(&t.New, godwit.GitSHA256, 8, strings.Repeat("d", 300))
	add("long prefixes, sizes of one to three bytes", t, old, new, nil)

	t = &tree.Table{Tier: delta.Large, Prefix: 5}
	t.Old.Algorithm, t.New.Algorithm = godwit.SHA256, godwit.SHA256
	add("nothing", t, []vectorContent{}, []vectorContent{}, nil)

	b, _ := hex.DecodeString(v.Tables[0].Hex)
	refuse := func(name string, b []byte, why string) {
		v.Refused = append(v.Refused, vectorRefusal{name, hex.EncodeToString(b), why})
	}
	change := func(at int, to byte) []byte { b := bytes.Clone(b); b[at] = to; return b }
	refuse("another magic word", change(1, 'G'), "no patch")
	refuse("a later version", change(2, 0x22), "no patch")
	refuse("no such tier", change(2, 0x14), "no patch")
	refuse("checksums instead of digests", change(3, 0x44), "no patch")
	refuse("short prefixes", change(4, 3), "no patch")
	refuse("long prefixes", change(4, 9), "no patch")
	refuse("a changed size", change(10, 14), "damaged")
	refuse("a changed sum", change(len(b)-1, b[len(b)-1]^1), "damaged")
	refuse("the end is missing", b[:len(b)-1], "too short")
	refuse("65537 contents", append(bytes.Clone(b[:5]), 0x81, 0x80, 0x04), "too much")
	refuse("a content of more than 2^40 bytes", append(bytes.Clone(b[:10]), 0x81, 0x80, 0x80, 0x80, 0x80, 0x20), "too much")
	refuse("a number of ten bytes", append(bytes.Clone(b[:5]), bytes.Repeat([]byte{0x80}, 10)...), "no patch")
	return v
}

// The file in docs/vectors is what formats.md promises to others.
func TestVectors(t *testing.T) {
	want, err := json.MarshalIndent(makeVectors(), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, '\n')
	if *write {
		if err := os.WriteFile(vectorFile, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(vectorFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what this package says: look at both, and write it anew with -write-vectors if the file is wrong", vectorFile)
	}
	var v vectors
	if err := json.Unmarshal(got, &v); err != nil {
		t.Fatal(err)
	}
	for _, c := range v.Tables {
		b, _ := hex.DecodeString(c.Hex + c.Stream)
		r := bytes.NewReader(b)
		table, err := tree.Read(r, 0)
		if err != nil {
			t.Errorf("%s: %v", c.Name, err)
			continue
		}
		same := func(r tree.Row, a string, list []vectorContent) bool {
			if len(r.Contents) != len(list) || r.Algorithm.String() != a {
				return false
			}
			for i, x := range r.Contents {
				if hex.EncodeToString(x.Prefix[:table.Prefix]) != list[i].Prefix || x.Size != list[i].Size {
					return false
				}
			}
			return true
		}
		if r.Len() != len(c.Stream)/2 || table.Tier.String() != c.Tier || !same(table.Old, c.OldAlg, c.Old) || !same(table.New, c.NewAlg, c.New) {
			t.Errorf("%s is read as %+v", c.Name, table)
		}
		if c.Stream == "" {
			continue
		}
		old, new := files{}, files{}
		for _, x := range c.Old {
			old[x.Prefix] = x.Text
		}
		for _, x := range c.New {
			new[x.Prefix] = x.Text
		}
		a := table.New.Algorithm
		d := newDevice(a, old)
		if err := apply(d, a, old, new, b, tree.Options{}); err != nil {
			t.Errorf("%s: %v", c.Name, err)
		} else if err := complete(d, a, new); err != nil {
			t.Errorf("%s: %v", c.Name, err)
		}
	}
	for _, c := range v.Refused {
		b, _ := hex.DecodeString(c.Hex)
		_, err := tree.Read(bytes.NewReader(b), 0)
		why := map[string]error{"no patch": delta.ErrNoPatch, "damaged": delta.ErrDamaged, "too much": tree.ErrLimit}[c.Why]
		if err == nil || why != nil && !errors.Is(err, why) {
			t.Errorf("%s: %v, want %s", c.Name, err, c.Why)
		}
	}
}
