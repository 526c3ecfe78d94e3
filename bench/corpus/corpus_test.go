package corpus

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestTable(t *testing.T) {
	pairs, err := Table()
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	lock := Locked()
	locked := 0
	for _, p := range pairs {
		count[p.Set]++
		count[p.Set+" "+p.Class]++
		if p.Old.String() == p.New.String() {
			t.Errorf("%s %s: both sides are the same", p.Set, p.Name)
		}
		for _, side := range []string{"/old", "/new"} {
			if lock.want[p.Set+"/"+p.Name+side] == "" {
				t.Errorf("%s %s%s is not in corpus.lock", p.Set, p.Name, side)
			}
			locked++
		}
	}
	if len(lock.want) != locked {
		t.Errorf("corpus.lock has %d digests of %d files", len(lock.want), locked)
	}
	// Less than this, and figures of a class say little.
	for what, least := range map[string]int{
		"bench": 30, "bench source": 10, "bench tree": 5, "bench wasm": 3, "bench firmware": 6, "bench go": 6, "bench elf": 6,
		"train": 60, "train source": 30,
	} {
		if count[what] < least {
			t.Errorf("%d pairs of %s, not %d", count[what], what, least)
		}
	}
}

func TestParse(t *testing.T) {
	pairs, err := parse("# a comment\n" +
		"bench firmware x deb:u-boot-{a,b}:armhf 1 2 usr/{,lib/}x.zip|zip:y|hex # and another\n" +
		"train tree y npm:y 1 2 ./ .js,.md\n")
	if err != nil {
		t.Fatal(err)
	}
	x := pairs[0]
	if x.Old.String() != "deb u-boot-a:armhf 1 usr/x.zip zip:y hex" || x.New.String() != "deb u-boot-b:armhf 2 usr/lib/x.zip zip:y hex" {
		t.Errorf("%v, %v", x.Old, x.New)
	}
	if y := pairs[1]; !y.Old.Tree() || x.Old.Tree() || !slices.Equal(y.New.Match, []string{".js", ".md"}) {
		t.Errorf("%v", y)
	}
}

func TestParseRefuses(t *testing.T) {
	for line, why := range map[string]string{
		"bench source x npm:x 1 2":                                                                       "columns",
		"test source x npm:x 1 2 y":                                                                      "no such set",
		"bench sauce x npm:x 1 2 y":                                                                      "no such set or class",
		"bench source x pip:x 1 2 y":                                                                     "not a source",
		"bench tree x npm:x 1 2 y/":                                                                      "a tree",
		"bench source x npm:x 1 2 y/ .js":                                                                "a tree",
		"bench source x npm:x 1 2 y\nbench source x npm:x 1 2 z":                                         "a second",
		"bench source x npm:x 1 2 y\ntrain source z npm:x 3 4 z":                                         "both sets",
		"bench elf x deb:u-boot-rpi:armhf 1 2 y\ntrain elf z deb:u-boot-omap:arm64 1 2 z":                "both sets",
		"bench go x go:a.b/c//cmd/x v1 v2 arm\ntrain tree z mod:a.b/c v1 v2 ./ .go":                      "both sets",
		"bench elf x deb:linux-image-1:arm64 1 2 a/x.ko\ntrain elf y deb:linux-image-2:armhf 1 2 b/x.ko": "both sets",
	} {
		if _, err := parse(line); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v, not %s", line, err, why)
		}
	}
}

func TestConvert(t *testing.T) {
	hex := ":020000040001F9\n:0400000001020304F2\n:02000600AABB93\n:00000001FF\n"
	got, err := convert("hex", []byte(hex))
	if want := "\x01\x02\x03\x04\xff\xff\xaa\xbb"; err != nil || string(got) != want {
		t.Errorf("%x, %v", got, err)
	}
	if _, err := convert("hex", []byte(hex[:len(hex)-12])); err == nil {
		t.Error("took half an Intel HEX file")
	}
	block := make([]byte, 512)
	binary.LittleEndian.PutUint32(block, 0x0A324655)
	binary.LittleEndian.PutUint32(block[12:], 0x1000)
	binary.LittleEndian.PutUint32(block[16:], 3)
	copy(block[32:], "abc")
	if got, err := convert("uf2", block); err != nil || string(got) != "abc" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := convert("rot13", nil); err == nil {
		t.Error("took an unknown step")
	}
}

func TestLockNoticesChanges(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a", "b"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	sum, err := Sum(dir)
	if err != nil {
		t.Fatal(err)
	}
	l := Lock{want: map[string]string{"bench/x/old": sum}, got: map[string]string{}}
	if err := l.check("bench/x/old", dir); err != nil {
		t.Error(err)
	}
	if err := l.check("bench/x/new", dir); err == nil {
		t.Error("took what nobody locked")
	}
	if err := os.Rename(filepath.Join(dir, "a"), filepath.Join(dir, "c")); err != nil {
		t.Fatal(err)
	}
	if err := l.check("bench/x/old", dir); err == nil {
		t.Error("took a tree with a renamed file")
	}
}
