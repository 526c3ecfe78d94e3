package diff

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/delta/tree"
)

func file(name, content string) File {
	return File{Name: name, Digest: Sum([]byte(content)), Content: func() ([]byte, error) { return []byte(content), nil }}
}

// names of what a patch draws from and what it brings, in order.
func chosen(t *testing.T, old, new []File) (from, to []string) {
	t.Helper()
	a, b, err := choose(context.Background(), byContent(old), byContent(new))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range a {
		from = append(from, s.Name)
	}
	for _, s := range b {
		to = append(to, s.Name)
	}
	return from, to
}

// sources are the files of this module: real text, with much in common.
func sources(t *testing.T) []File {
	t.Helper()
	var list []File
	err := filepath.WalkDir("../..", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == ".git" || d.Name() == "bin" || d.Name() == "out" || d.Name() == "bench") {
			return fs.SkipDir
		}
		if d.Type().IsRegular() && (strings.HasSuffix(p, ".go") || strings.HasSuffix(p, ".md")) {
			b, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			list = append(list, file(filepath.ToSlash(strings.TrimPrefix(p, "../../")), string(b)))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(list) < 50 {
		t.Fatal("only", len(list), "files")
	}
	return list
}

func content(t *testing.T, list []File, name string) string {
	t.Helper()
	for _, f := range list {
		if f.Name == name {
			b, err := f.Content()
			if err != nil {
				t.Fatal(err)
			}
			return string(b)
		}
	}
	t.Fatal("no", name)
	return ""
}

func without(list []File, name string) []File {
	return slices.DeleteFunc(slices.Clone(list), func(f File) bool { return f.Name == name })
}

func TestChoice(t *testing.T) {
	all := sources(t)
	objects, walk := content(t, all, "store/objects.go"), content(t, all, "vfs/vfs.go")
	changed := strings.Replace(objects, "errEnough", "errStop", -1)
	for _, c := range []struct {
		name     string
		new      []File
		from, to []string
	}{
		{"nothing", all, nil, nil},
		{"a change", append(without(all, "store/objects.go"), file("store/objects.go", changed)), []string{"store/objects.go"}, []string{"store/objects.go"}},
		{"a removal", without(all, "store/objects.go"), nil, nil},
		{"a new name", append(without(all, "store/objects.go"), file("a/new", objects)), nil, nil}, // the content is there
		{"a new name and a change", append(without(all, "store/objects.go"), file("a/new", changed)), []string{"store/objects.go"}, []string{"a/new"}},
		{"a copy with a change", append(slices.Clone(all), file("z/copy", changed)), []string{"store/objects.go"}, []string{"z/copy"}},
		{"something else", append(slices.Clone(all), file("z/new", "\x00\x01\x02 nothing like it")), nil, []string{"z/new"}},
		{"in the order of what they are like", append(without(without(all, "store/objects.go"), "vfs/vfs.go"), file("z", changed), file("zz/vfs.go", walk+"// end\n"), file("plan/aaa", "short")),
			[]string{"store/objects.go", "vfs/vfs.go"}, []string{"plan/aaa", "z", "zz/vfs.go"}},
		{"from two", append(without(all, "store/objects.go"), file("store/objects.go", objects+walk)), []string{"store/objects.go", "vfs/vfs.go"}, []string{"store/objects.go"}},
		{"the same twice", append(slices.Clone(all), file("z/a", "twice"), file("y/b", "twice")), nil, []string{"y/b"}},
		{"an empty file", append(slices.Clone(all), file("empty", "")), nil, []string{"empty"}},
	} {
		from, to := chosen(t, all, c.new)
		if !slices.Equal(from, c.from) || !slices.Equal(to, c.to) {
			t.Errorf("%s: from %q, want %q; to %q, want %q", c.name, from, c.from, to, c.to)
		}
	}
	// The order of what is given means nothing.
	mixed := slices.Clone(all)
	slices.Reverse(mixed)
	new := []File{file("b", changed), file("a", walk+"!")}
	f1, t1 := chosen(t, all, new)
	slices.Reverse(new)
	f2, t2 := chosen(t, mixed, new)
	if !slices.Equal(f1, f2) || !slices.Equal(t1, t2) {
		t.Error("the order of the files matters:", f1, f2, t1, t2)
	}
}

func TestMakeTree(t *testing.T) {
	all := sources(t)[:12]
	var new []File
	for i, f := range all {
		b, err := f.Content()
		if err != nil {
			t.Fatal(err)
		}
		switch i % 9 {
		case 0:
			b = bytes.ReplaceAll(b, []byte("err"), []byte("error"))
		case 1:
			f.Name = "moved/" + f.Name
		case 2:
			f.Name, b = "moved/"+f.Name, append(b[:len(b):len(b)], "// the end\n"...)
		case 3:
			continue
		}
		new = append(new, file(f.Name, string(b)))
	}
	patch, report, err := MakeTree(t.Context(), all, new, Options{})
	if err != nil {
		t.Fatal(err)
	}
	parts := 0.0
	for _, p := range report.Parts {
		parts += p.Bytes
	}
	if math.Abs(parts-float64(len(patch))) > 0.5 {
		t.Errorf("the parts of %d bytes make %.1f", len(patch), parts)
	}
	t.Logf("%d files, %d bytes, of which the table %.0f", len(new), len(patch), report.Parts[len(report.Parts)-1].Bytes)
	again, _, err := MakeTree(t.Context(), all, new, Options{})
	if err != nil || !bytes.Equal(patch, again) {
		t.Error("a patch is not always the same:", err)
	}
}

func TestMakeTreeRefuses(t *testing.T) {
	good := file("a", "content")
	lying := file("b", "content")
	lying.Content = func() ([]byte, error) { return []byte("other"), nil }
	git := file("c", "content")
	git.Digest = godwit.MakeDigest(godwit.GitSHA1, make([]byte, 20))
	crc := file("d", "content")
	crc.Digest = godwit.MakeDigest(godwit.CRC32, make([]byte, 12))
	gone := file("e", "more")
	gone.Content = nil
	broken := file("f", "broken")
	broken.Content = func() ([]byte, error) { return nil, fs.ErrPermission }
	for name, list := range map[string][]File{"lying": {lying}, "two kinds": {good, git}, "a checksum": {crc}, "not to be had": {gone}, "cannot be read": {broken}} {
		if _, _, err := MakeTree(t.Context(), nil, list, Options{}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := MakeTree(ctx, []File{good}, []File{file("a", "changed")}, Options{}); err != context.Canceled {
		t.Error("a context that is over:", err)
	}
	// What cannot be had of the old tree is not drawn from.
	if _, _, err := MakeTree(t.Context(), []File{gone}, []File{good}, Options{}); err != nil {
		t.Error(err)
	}
}

// Contents whose digests begin alike get longer beginnings.
func TestPrefix(t *testing.T) {
	seen := map[uint32]int{}
	for i := 0; ; i++ {
		sum := sha256.Sum256(fmt.Appendf(nil, "%d", i))
		p := binary.BigEndian.Uint32(sum[:])
		j, ok := seen[p]
		if seen[p] = i; !ok {
			continue
		}
		a, b := file("a", fmt.Sprint(i)), file("b", fmt.Sprint(j))
		for name, trees := range map[string][2][]File{"in one tree": {{}, {a, b}}, "in both": {{a}, {b}}, "one is not in the patch": {{a, file("c", "c")}, {a, b}}} {
			patch, _, err := MakeTree(t.Context(), trees[0], trees[1], Options{})
			if err != nil {
				t.Fatal(err)
			}
			if table, err := tree.Read(bytes.NewReader(patch), 0); err != nil || table.Prefix != tree.MinPrefix+1 {
				t.Error(name, table, err)
			}
		}
		return
	}
}
