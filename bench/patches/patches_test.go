package patches

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/godwit-ota/godwit/bench/corpus"
)

func pair(class, name, source string) corpus.Have {
	return corpus.Have{Pair: corpus.Pair{Set: "bench", Class: class, Name: name, New: corpus.Item{Kind: "npm", Package: source}}}
}

func TestClassesAddUp(t *testing.T) {
	rows := []row{
		{Have: pair("source", "a", "a"), oldSize: 90, newSize: 100,
			peers:  map[string]peerResult{"bsdiff": {20, 5e6}, "zstd": {10, 7e6}, whole: {5, 1e6}},
			godwit: map[string]result{"6k": {size: 9, rss: 4e6, apply: time.Microsecond}}},
		{Have: pair("source", "b", "b"), oldSize: 190, newSize: 200,
			peers:  map[string]peerResult{"bsdiff": {20, 6e6}, "zstd": {40, 7e6}, whole: {5, 1e6}},
			godwit: map[string]result{"6k": {size: 6, rss: 4e6, apply: 2 * time.Microsecond}}},
		{Have: pair("image", "c", "c"), newSize: 1e6,
			peers:  map[string]peerResult{"bsdiff": {1000, 5e7}, "zstd": {2000, 7e6}, whole: {5, 1e6}},
			godwit: map[string]result{"6k": {size: 500, apply: time.Second}}},
	}
	var out strings.Builder
	b := &run{w: &out, floor: 5e6, Options: Options{Godwit: "godwit", Tiers: []string{"6k"}}, peers: []peer{{name: "bsdiff"}, {name: "zstd"}, {name: whole}}}
	b.classes(rows)
	for _, want := range []string{
		"| source | 2 | 300 | 40 | 50 | 10 | **15** | 0.375 (0.500) |",
		"| image | 1 | 1000000 | 1000 | 2000 | 5 | **500** | 0.500 (0.500) |",
		"| **all but images** | 2 | 300 | 40 | 50 | 10 | **15** | 0.375 (0.500) |",
		"| source | 6.0 | 7.0 | < 5.0 | < 5.0 |",
		"| source | 100.0 | 0.0 |",
	} {
		if !strings.Contains(out.String(), want+"\n") {
			t.Errorf("no line %s in\n%s", want, &out)
		}
	}
	if strings.Contains(out.String(), "manifest") {
		t.Error("speaks of trees where there are none")
	}
	out.Reset()
	b.each(rows)
	if want := "| source/b | 190 | 200 | 20 | 40 | 5 | 6 | 0.300 |\n"; !strings.Contains(out.String(), want) {
		t.Errorf("no line %s in\n%s", want, &out)
	}
}

// A file of the cache that a kill cut short loses that line only.
func TestCacheSurvivesACut(t *testing.T) {
	file := filepath.Join(t.TempDir(), "peers.tsv")
	c := openCache(file)
	for i, old := range []string{"a", "b"} {
		if err := c.put(cacheKey{"tool", old, "new"}, peerResult{int64(i) + 1, 7}); err != nil {
			t.Fatal(err)
		}
	}
	if got, ok := openCache(file).get(cacheKey{"tool", "b", "new"}); !ok || got != (peerResult{2, 7}) {
		t.Error(got, ok)
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(file, info.Size()-4); err != nil {
		t.Fatal(err)
	}
	c = openCache(file)
	if _, ok := c.get(cacheKey{"tool", "a", "new"}); !ok {
		t.Error("lost a whole line")
	}
	if _, ok := c.get(cacheKey{"tool", "b", "new"}); ok {
		t.Error("believed half a line")
	}
}

func TestPackDependsOnContentsOnly(t *testing.T) {
	var sums []string
	for i := range 2 {
		dir := t.TempDir()
		for _, name := range []string{"b/2", "a", "b/1"} {
			file := filepath.Join(dir, name)
			if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(name), 0o600+os.FileMode(i)*0o44),
				os.Chtimes(file, time.Time{}, time.Unix(int64(i)*1e9, 0))); err != nil {
				t.Fatal(err)
			}
		}
		out, err := pack(dir, filepath.Join(t.TempDir(), "tar"))
		if err != nil {
			t.Fatal(err)
		}
		sum, err := corpus.Sum(out)
		if err != nil {
			t.Fatal(err)
		}
		sums = append(sums, sum)
	}
	if sums[0] != sums[1] {
		t.Error("two archives of one tree differ")
	}
}

func TestSplitKeepsPackagesTogether(t *testing.T) {
	var pairs []corpus.Have
	for _, p := range []string{"a", "b", "a", "c", "b", "d", "a"} {
		pairs = append(pairs, pair("source", p, p), pair("go", p, p))
	}
	halves := split(pairs, func(corpus.Have) int64 { return 1 })
	in := map[string]int{}
	for i, half := range halves {
		for _, h := range half {
			if was, ok := in[h.New.Family()]; ok && was != i {
				t.Errorf("%s is in both halves", h.New.Family())
			}
			in[h.New.Family()] = i
		}
	}
	if a, b := len(halves[0]), len(halves[1]); a+b != len(pairs) || min(a, b) < 4 {
		t.Errorf("halves of %d and %d of %d pairs", a, b, len(pairs))
	}
}

func TestListIsAsPairs(t *testing.T) {
	var b strings.Builder
	h := pair("source", "a", "a")
	h.OldPath, h.NewPath = "/x/old", "/x/new"
	list(&b, []corpus.Have{h})
	if want := "bench\tsource\ta\t/x/old\t/x/new\n"; b.String() != want {
		t.Errorf("%q", b.String())
	}
}

// A peer whose patch gives other bytes must not be in the table.
func TestPeersAreChecked(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	liar := peer{name: "liar",
		make:  func(old, new, patch string) [][]string { return [][]string{{"cp", old, patch}} },
		apply: func(old, patch, new string) []string { return []string{"cp", patch, new} }}
	b := &run{tmp: dir, Options: Options{Log: io.Discard, Measure: func(args ...string) (Cost, error) {
		data, err := os.ReadFile(args[1])
		return Cost{}, errors.Join(err, os.WriteFile(args[2], data, 0o644))
	}}}
	sum, err := corpus.Sum(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.try(liar, file, file, sum); err != nil {
		t.Error(err)
	}
	if _, err := b.try(liar, file, file, "other"); err == nil {
		t.Error("believed a patch that gives other bytes")
	}
}
