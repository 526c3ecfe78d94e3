package plan_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/plan"
)

// offer is a patch from the content old for path; its sum is made of both and
// of its size.
func offer(path, old string, size, memory int64) godwit.Offer {
	return godwit.Offer{Path: path, Patch: godwit.Patch{From: digest(old), Sum: digest(path + old + plan.Bytes(size)), Size: size, Memory: memory}}
}

func offers(list ...godwit.Offer) godwit.Offers {
	return func(yield func(godwit.Offer, error) bool) {
		for _, o := range list {
			if !yield(o, nil) {
				return
			}
		}
	}
}

// here tells which contents the device has.
// unsaid is an offer that does not say what the patch was made for.
func unsaid(path string, size int64) godwit.Offer {
	o := offer(path, "", size, 128)
	o.From = godwit.Digest{}
	return o
}

func here(contents ...string) func(godwit.Digest) bool {
	return func(d godwit.Digest) bool {
		return slices.ContainsFunc(contents, func(s string) bool { return digest(s) == d })
	}
}

func TestChoiceOfPatches(t *testing.T) {
	old, new := strings.Repeat("o", 1000), strings.Repeat("n", 1000)
	for _, c := range []struct {
		name     string
		patching plan.Patching
		metered  bool
		mode     string // of the new file
		offers   []godwit.Offer
		want     int64 // size of the patch that is taken, 0 for none
	}{
		{"saves enough", plan.Patching{Memory: 65536}, false, "", []godwit.Offer{offer("a", old, 700, 65536)}, 700},
		{"saves too little", plan.Patching{Memory: 65536}, false, "", []godwit.Offer{offer("a", old, 701, 65536)}, 0},
		{"saves too little, and the link costs", plan.Patching{Memory: 65536}, true, "", []godwit.Offer{offer("a", old, 999, 65536)}, 999},
		{"saves nothing, and the link costs", plan.Patching{Memory: 65536}, true, "", []godwit.Offer{offer("a", old, 1000, 65536)}, 0},
		{"saves little, and always", plan.Patching{Use: plan.Always, Memory: 65536}, false, "", []godwit.Offer{offer("a", old, 999, 65536)}, 999},
		{"never", plan.Patching{Use: plan.Never, Memory: 65536}, true, "", []godwit.Offer{offer("a", old, 1, 65536)}, 0},
		{"no memory", plan.Patching{Use: plan.Always, Memory: 65535}, false, "", []godwit.Offer{offer("a", old, 1, 65536)}, 0},
		{"no memory at all", plan.Patching{Use: plan.Always}, false, "", []godwit.Offer{offer("a", old, 1, 1)}, 0},
		{"from something else", plan.Patching{Memory: 65536}, false, "", []godwit.Offer{offer("a", "other", 1, 6144)}, 0},
		{"the smallest that can be used", plan.Patching{Memory: 65536}, false, "",
			[]godwit.Offer{offer("a", old, 90, 6144), offer("a", "other", 10, 6144), offer("a", old, 30, 1<<20), offer("a", old, 60, 65536), offer("a", "gone", 5, 6144)}, 60},
		{"of another path", plan.Patching{Memory: 65536}, false, "", []godwit.Offer{offer("A", old, 1, 6144), offer("aa", old, 1, 6144)}, 0},
		{"for a program", plan.Patching{Memory: 65536}, false, "+", []godwit.Offer{offer("a", old, 10, 6144)}, 10},
		{"for whatever is there", plan.Patching{Memory: 65536}, false, "", []godwit.Offer{unsaid("a", 500)}, 500},
		{"for whatever is there, and for nothing", plan.Patching{Memory: 65536}, false, "", []godwit.Offer{unsaid("b", 500)}, 0},
		{"for a link", plan.Patching{Memory: 65536}, false, "@", []godwit.Offer{offer("a", old, 10, 6144)}, 0},
	} {
		in := input(map[string]string{"a": old}, map[string]string{"a": c.mode + new, "b": new + new})
		in.Patching, in.Limits.Metered, in.Offers, in.Has, in.Rules.Symlinks = c.patching, c.metered, offers(c.offers...), here(old), true
		p, err := plan.Make(in)
		if err != nil {
			t.Fatal(err)
		}
		var got godwit.Patch
		for s := range p.Steps() {
			if s.Path == "a" {
				got = s.Patch
			}
		}
		whole := int64(3000)
		if c.mode != "" {
			whole++ // a mode is a letter of the content, here
		}
		patched, fetch := 0, whole
		if c.want > 0 {
			patched, fetch = 1, c.want+2000
		}
		if got.Size != c.want || p.PatchFiles != patched || p.FetchFiles != 2 || p.FetchBytes != fetch || p.FetchBytes+p.SavedBytes != whole {
			t.Errorf("%s: %d; %d of %d files as patches, %d bytes, saves %d", c.name, got.Size, p.PatchFiles, p.FetchFiles, p.FetchBytes, p.SavedBytes)
		}
		chosen := p.Chosen(godwit.Described{})
		files, trees := chosen.Offers, chosen.Trees
		n := 0
		if files == nil {
			files = offers()
		}
		for o := range files {
			if n++; o.Path != "a" || o.Patch != got {
				t.Errorf("%s: %+v", c.name, o)
			}
		}
		if n != patched || trees != nil {
			t.Errorf("%s: %d patches are to be fetched, and %v", c.name, n, trees)
		}
	}
}

// A patch for the tree is taken where it is smaller than all that would come
// otherwise, and only by a device that takes all of the release.
func TestChoiceOfTrees(t *testing.T) {
	old, new := strings.Repeat("o", 1000), strings.Repeat("n", 1000)
	from, err := godwit.ParseDigest("sha256:" + strings.Repeat("ab", 32))
	if err != nil {
		t.Fatal(err)
	}
	tree := func(from godwit.Digest, size, memory int64) godwit.Patch {
		return godwit.Patch{From: from, Sum: digest("tree"), Size: size, Memory: memory}
	}
	for _, c := range []struct {
		name  string
		trees []godwit.Patch
		file  int64 // size of the patch for one of two files
		rules plan.Rules
		want  int64
	}{
		{"smaller", []godwit.Patch{tree(from, 100, 65536)}, 0, plan.Rules{}, 100},
		{"the smallest", []godwit.Patch{tree(from, 300, 65536), tree(from, 100, 65536), tree(from, 200, 65536)}, 0, plan.Rules{}, 100},
		{"saves too little", []godwit.Patch{tree(from, 1401, 65536)}, 0, plan.Rules{}, 0},
		{"larger than with patches for files", []godwit.Patch{tree(from, 1200, 65536)}, 100, plan.Rules{}, 0},
		{"smaller than with patches for files", []godwit.Patch{tree(from, 1099, 65536)}, 100, plan.Rules{}, 1099},
		{"from another release", []godwit.Patch{tree(digest("x"), 100, 65536)}, 0, plan.Rules{}, 0},
		{"no memory", []godwit.Patch{tree(from, 100, 1<<20)}, 0, plan.Rules{}, 0},
		{"memory for the table", []godwit.Patch{tree(from, 100, 2*65536)}, 0, plan.Rules{}, 100},
		{"no memory for the table", []godwit.Patch{tree(from, 100, 2*65536+1)}, 0, plan.Rules{}, 0},
		{"not all is for this device", []godwit.Patch{tree(from, 100, 65536)}, 0, plan.Rules{Ignore: []string{"c"}}, 0},
	} {
		in := input(map[string]string{"a": old}, map[string]string{"a": new, "b": new, "c": ""})
		in.From = from.Hex()
		in.Patching, in.Trees, in.Has, in.Rules = plan.Patching{Memory: 65536}, c.trees, here(old, ""), c.rules
		if c.file > 0 {
			in.Offers = offers(offer("a", old, c.file, 65536))
		}
		p, err := plan.Make(in)
		if err != nil {
			t.Fatal(err)
		}
		if p.Tree.Size != c.want || p.FetchBytes+p.SavedBytes != 2000 || c.want > 0 && p.FetchBytes != c.want {
			t.Errorf("%s: %d; %d bytes, saves %d", c.name, p.Tree.Size, p.FetchBytes, p.SavedBytes)
		}
		chosen := p.Chosen(godwit.Described{})
		files, trees := chosen.Offers, chosen.Trees
		if (c.want > 0) != (len(trees) == 1) {
			t.Errorf("%s: %v is to be fetched", c.name, trees)
		}
		n := 0
		if files != nil {
			for range files {
				n++
			}
		}
		if (c.file > 0) != (n == 1) {
			t.Errorf("%s: %d patches for files", c.name, n)
		}
	}
}

func TestOffersThatCannotBeRead(t *testing.T) {
	broken := errors.New("broken")
	in := input(nil, map[string]string{"a": "x"})
	in.Patching.Memory, in.Has = 1, here()
	in.Offers = func(yield func(godwit.Offer, error) bool) { yield(godwit.Offer{}, broken) }
	if _, err := plan.Make(in); !errors.Is(err, broken) {
		t.Error(err)
	}
	in.Patching.Use = plan.Never
	if _, err := plan.Make(in); err != nil {
		t.Error("they are not wanted, and read:", err)
	}
}
