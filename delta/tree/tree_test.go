package tree_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/delta"
	"github.com/godwit-ota/godwit/delta/diff"
	"github.com/godwit-ota/godwit/delta/tree"
	"github.com/godwit-ota/godwit/internal/race"
)

// A files is a tree: contents by path.
type files map[string]string

func (f files) list(a godwit.Algorithm) (out []diff.File) {
	for _, p := range slices.Sorted(maps.Keys(f)) {
		b := []byte(f[p])
		out = append(out, diff.File{Name: p, Digest: digest(a, b), Content: func() ([]byte, error) { return b, nil }})
	}
	return out
}

// listing is what devices know of a tree. Listings of Git trees know no sizes.
func (f files) listing(a godwit.Algorithm) godwit.Listing {
	return func(yield func(godwit.Entry, error) bool) {
		for _, p := range slices.Sorted(maps.Keys(f)) {
			e := godwit.Entry{Path: p, Mode: godwit.File, Digest: digest(a, []byte(f[p])), Size: int64(len(f[p]))}
			if a != godwit.SHA256 {
				e.Size = godwit.UnknownSize
			}
			if !yield(e, nil) {
				return
			}
		}
	}
}

func digest(a godwit.Algorithm, b []byte) godwit.Digest {
	h := a.New(int64(len(b)))
	h.Write(b)
	return godwit.MakeDigest(a, h.Sum(nil))
}

// A device keeps contents in memory, counts what it is asked for, and can fail.
type device struct {
	has     map[godwit.Digest][]byte
	created int
	budget  int // bytes that can still be written; -1: no limit
	torn    int // contents that were begun and neither committed nor aborted
}

func newDevice(a godwit.Algorithm, f files) *device {
	d := &device{has: map[godwit.Digest][]byte{}, budget: -1}
	for _, c := range f {
		d.has[digest(a, []byte(c))] = []byte(c)
	}
	return d
}

func (d *device) Has(x godwit.Digest) bool { _, ok := d.has[x]; return ok }

func (d *device) Open(x godwit.Digest) (godwit.Object, error) {
	b, ok := d.has[x]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return object{bytes.NewReader(b)}, nil
}

type object struct{ *bytes.Reader }

func (object) Close() error { return nil }

func (d *device) Create(size int64) (godwit.NewObject, error) {
	d.created++
	d.torn++
	return &newObject{d: d, size: size}, nil
}

type newObject struct {
	d    *device
	size int64
	b    []byte
}

var errFull = errors.New("the disk is full")

func (n *newObject) Write(p []byte) (int, error) {
	if n.d.budget >= 0 {
		if len(p) > n.d.budget {
			return 0, errFull
		}
		n.d.budget -= len(p)
	}
	n.b = append(n.b, p...)
	return len(p), nil
}

func (n *newObject) ReadAt(p []byte, off int64) (int, error) {
	return bytes.NewReader(n.b).ReadAt(p, off)
}

func (n *newObject) Commit(x godwit.Digest) error {
	n.d.torn--
	if got := digest(x.Algorithm, n.b); got != x || int64(len(n.b)) != n.size {
		return fmt.Errorf("committed as %v: %d bytes that are %v", x, len(n.b), got)
	}
	n.d.has[x] = n.b
	return nil
}

func (n *newObject) Abort() { n.d.torn-- }

func makeTree(t interface {
	Helper()
	Fatal(...any)
}, a godwit.Algorithm, old, new files, o diff.Options) []byte {
	t.Helper()
	o.Budget = 1 // how small it becomes is tested elsewhere
	patch, report, err := diff.MakeTree(context.Background(), old.list(a), new.list(a), o)
	if err != nil {
		t.Fatal(err)
	}
	if report.Size != int64(len(patch)) {
		t.Fatal("reports", report.Size, "bytes of", len(patch))
	}
	return patch
}

// apply does what a device does with a patch.
func apply(d *device, a godwit.Algorithm, old, new files, patch []byte, o tree.Options) error {
	r := bytes.NewReader(patch)
	t, err := tree.Read(r, 0)
	if err != nil {
		return err
	}
	if _, err := t.Old.Find(old.listing(a)); err != nil {
		return err
	}
	if _, err := t.New.Find(new.listing(a)); err != nil {
		return err
	}
	return tree.Apply(context.Background(), make([]byte, t.Tier.Memory()), r, t, d, o)
}

// complete says what of a tree a device lacks.
func complete(d *device, a godwit.Algorithm, f files) error {
	for p, c := range f {
		if b, ok := d.has[digest(a, []byte(c))]; !ok || string(b) != c {
			return fmt.Errorf("%s is missing or wrong", p)
		}
	}
	if d.torn != 0 {
		return fmt.Errorf("%d contents were left half written", d.torn)
	}
	return nil
}

// text is n bytes that no other seed gives.
func text(seed uint64, n int) string {
	r := rand.New(rand.NewPCG(seed, 1))
	words := []string{"if ", "return ", "\n\t", "the ", "device ", "= ", "err ", "(", ")", "nil", "0x"}
	var b []byte
	for len(b) < n {
		b = append(b, words[r.IntN(len(words))]...)
		if r.IntN(3) == 0 {
			b = fmt.Appendf(b, "%x", r.Uint32())
		}
	}
	return string(b[:n])
}

var (
	before = files{"main.py": text(1, 9000), "lib/a.py": text(2, 5000), "lib/b.py": text(3, 3000), "lib/same.py": text(4, 4000), "gone": text(5, 2000), "empty": "", "twice/a": text(6, 600), "twice/b": text(6, 600)}
	after  = files{"main.py": text(1, 4000) + "changed" + text(1, 9000)[4000:], "lib/a.py": text(2, 5000), "src/moved.py": text(3, 2900) + "end", "lib/same.py": text(4, 4000),
		"new": text(7, 1500), "new/again": text(7, 1500), "void": "", "twice/a": text(8, 500), "twice/b": text(8, 500), "part": text(4, 4000)[1000:2000] + "tail"}
)

func TestApply(t *testing.T) {
	for _, c := range []struct {
		name     string
		old, new files
	}{
		{"a release", before, after},
		{"and back", after, before},
		{"the first install", files{}, after},
		{"nothing new", before, before},
		{"only removals", before, files{"main.py": before["main.py"]}},
		{"to nothing", before, files{}},
		{"an empty file", files{"a": "x"}, files{"a": ""}},
		{"empty files become full", files{"a": "", "b": ""}, files{"a": "1", "b": "2"}},
		{"one byte", files{"a": "x"}, files{"a": "y"}},
		{"all moved", before, files{"x/main.py": before["main.py"], "y/b.py": before["lib/b.py"]}},
	} {
		for _, a := range []godwit.Algorithm{godwit.SHA256, godwit.GitSHA1, godwit.GitSHA256} {
			for tier := delta.Tiny; tier <= delta.Large; tier++ {
				if race.Enabled && a != godwit.SHA256 && tier != delta.Tiny {
					continue
				}
				t.Run(fmt.Sprintf("%s/%v/%v", c.name, a, tier), func(t *testing.T) {
					patch := makeTree(t, a, c.old, c.new, diff.Options{Tier: tier})
					d := newDevice(a, c.old)
					if err := apply(d, a, c.old, c.new, patch, tree.Options{}); err != nil {
						t.Fatal(err)
					}
					if err := complete(d, a, c.new); err != nil {
						t.Fatal(err)
					}
				})
			}
		}
	}
}

// What is on the device already is not written again, and what nobody asked for
// is not either.
func TestWritesOnlyWhatIsWanted(t *testing.T) {
	const a = godwit.SHA256
	patch := makeTree(t, a, before, after, diff.Options{NoReadBack: true})
	d := newDevice(a, before)
	if err := apply(d, a, before, after, patch, tree.Options{}); err != nil {
		t.Fatal(err)
	}
	all := d.created
	if all < 4 {
		t.Fatal("only", all, "contents were written")
	}
	if err := apply(d, a, before, after, patch, tree.Options{}); err != nil || d.created != all {
		t.Error("the second time", d.created-all, "contents were written again:", err)
	}
	d = newDevice(a, before)
	few := files{"main.py": after["main.py"]}
	if err := apply(d, a, before, few, patch, tree.Options{}); err != nil || d.created != 1 {
		t.Error("for one file", d.created, "were written:", err)
	}
	if err := complete(d, a, few); err != nil {
		t.Error(err)
	}
}

// everything is set for tests that take minutes.
var everything = os.Getenv("GODWIT_CRASH") == "all"

// versions are two of a content, of 8,000 bytes or more.
func versions(i int) (old, new string) {
	old = text(uint64(100+i), 9000)
	return old, old[:5000] + text(uint64(1000+i), 200) + old[6200:]
}

// A run that was cut is begun again: with the checkpoint it goes on, without it
// the contents that were complete are not written again.
func TestGoesOn(t *testing.T) {
	const a = godwit.SHA256
	old, new := files{}, files{}
	for i := range 40 {
		p := fmt.Sprintf("f%02d", i)
		old[p], new[p] = versions(i)
	}
	patch := makeTree(t, a, old, new, diff.Options{Tier: delta.Tiny})
	total := 0
	for _, c := range new {
		total += len(c)
	}
	for _, keep := range []bool{true, false} {
		saves, skipped := 0, false
		step := 23003
		if everything {
			step = 7001
		}
		for cut := 0; cut < total; cut += step {
			d := newDevice(a, old)
			d.budget = cut
			var o tree.Options
			if keep {
				o.Save = func(b []byte) error { saves++; o.Checkpoint = bytes.Clone(b); return nil }
			}
			if err := apply(d, a, old, new, patch, o); !errors.Is(err, errFull) {
				t.Fatal("a full disk:", err)
			}
			created := d.created
			d.budget = -1
			first := int64(-1)
			o.Progress = func(done, _ int64) {
				if first < 0 {
					first = done
				}
			}
			if err := apply(d, a, old, new, patch, o); err != nil {
				t.Fatal("going on:", err)
			}
			if err := complete(d, a, new); err != nil {
				t.Fatal(err)
			}
			if d.created != created+len(new)-(created-1) {
				t.Fatal("contents were written twice")
			}
			skipped = skipped || first > tree.Interval
			if keep && cut > 2*tree.Interval && first < tree.Interval {
				t.Error("cut at", cut, "it begins at", first)
			}
		}
		if keep != (saves > 0) || keep != skipped {
			t.Error("checkpoints:", saves, "and they were used:", skipped)
		}
	}
}

// A checkpoint that does not fit means nothing.
func TestCheckpointsThatDoNotFit(t *testing.T) {
	const a = godwit.SHA256
	old, new := files{}, files{}
	for i := range 10 {
		p := fmt.Sprintf("f%02d", i)
		old[p], new[p] = versions(i)
	}
	patch := makeTree(t, a, old, new, diff.Options{Tier: delta.Tiny})
	var point []byte
	d := newDevice(a, old)
	err := apply(d, a, old, new, patch, tree.Options{Save: func(b []byte) error { point = bytes.Clone(b); return nil }})
	if err != nil || point == nil {
		t.Fatal("no checkpoint:", err)
	}
	try := func(name string, d *device, old, new files, patch, point []byte) {
		t.Helper()
		if err := apply(d, a, old, new, patch, tree.Options{Checkpoint: point}); err != nil {
			t.Error(name, err)
		} else if err := complete(d, a, new); err != nil {
			t.Error(name, err)
		}
	}
	try("the stage was lost", newDevice(a, old), old, new, patch, point)
	for i := range point {
		if !everything && i%149 != 0 && (i > 300 || i%9 != 0) {
			continue
		}
		bad := bytes.Clone(point)
		bad[i] ^= 1
		try("damaged", newDevice(a, old), old, new, patch, bad)
		try("short", newDevice(a, old), old, new, patch, point[:i])
	}
	other := files{"f00": new["f00"]}
	try("of another patch", newDevice(a, old), old, other, makeTree(t, a, old, other, diff.Options{Tier: delta.Tiny}), point)
}

// Whatever becomes of a patch, nothing wrong is committed and nothing is left
// half written; the device's Commit and complete see to that.
func TestDamagedPatches(t *testing.T) {
	const a = godwit.SHA256
	patch := makeTree(t, a, before, after, diff.Options{Tier: delta.Tiny})
	check := func(name string, bad []byte) {
		t.Helper()
		d := newDevice(a, before)
		err := apply(d, a, before, after, bad, tree.Options{})
		if err == nil {
			err = complete(d, a, after)
		} else if d.torn != 0 {
			err = errors.New("left half written")
		} else {
			err = nil
		}
		for x, b := range d.has {
			if digest(a, b) != x {
				err = errors.New("a wrong content is there")
			}
		}
		if err != nil {
			t.Error(name, err)
		}
	}
	step, spoils := max(1, len(patch)/700), 300
	switch {
	case everything:
		step = 1
	case race.Enabled:
		step, spoils = 6*step, 50
	}
	for i := 0; i < len(patch); i += step {
		d := newDevice(a, before)
		if err := apply(d, a, before, after, patch[:i], tree.Options{}); err == nil {
			t.Fatal("the first", i, "bytes are enough")
		}
		bad := bytes.Clone(patch)
		bad[i] ^= byte(1 << (i % 8))
		check(fmt.Sprint("bit at ", i), bad)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range spoils {
		bad := bytes.Clone(patch)
		for range 1 + r.IntN(4) {
			bad[r.IntN(len(bad))] = byte(r.Uint32())
		}
		check("random", bad)
	}
}

func TestWrongOld(t *testing.T) {
	const a = godwit.SHA256
	patch := makeTree(t, a, before, after, diff.Options{})
	for name, old := range map[string]files{"none": {}, "others": after} {
		if err := apply(newDevice(a, old), a, old, after, patch, tree.Options{}); !errors.Is(err, delta.ErrWrongOld) {
			t.Error(name, err)
		}
	}
	// A listing names what is not there any more.
	if err := apply(newDevice(a, files{}), a, before, after, patch, tree.Options{}); !errors.Is(err, delta.ErrWrongOld) {
		t.Error("lost:", err)
	}
}

func TestMemoryAndContext(t *testing.T) {
	const a = godwit.SHA256
	patch := makeTree(t, a, before, after, diff.Options{})
	r := bytes.NewReader(patch)
	tab, err := tree.Read(r, 0)
	if err != nil {
		t.Fatal(err)
	}
	tab.Old.Find(before.listing(a))
	tab.New.Find(after.listing(a))
	d := newDevice(a, before)
	if err := tree.Apply(context.Background(), make([]byte, tab.Tier.Memory()-1), r, tab, d, tree.Options{}); err != delta.ErrMemory {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := tree.Apply(ctx, make([]byte, tab.Tier.Memory()), r, tab, d, tree.Options{}); err != context.Canceled || d.torn != 0 {
		t.Error(err, d.torn)
	}
}

// Random trees, made of pieces of each other.
func TestRandomTrees(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pieces := make([]string, 6)
		for i := range pieces {
			pieces[i] = text(rapid.Uint64().Draw(t, "seed"), rapid.IntRange(0, 3000).Draw(t, "size"))
		}
		content := rapid.Custom(func(t *rapid.T) string {
			var b string
			for range rapid.IntRange(0, 4).Draw(t, "pieces") {
				p := rapid.SampledFrom(pieces).Draw(t, "piece")
				from := rapid.IntRange(0, len(p)).Draw(t, "from")
				b += p[from:]
			}
			return b
		})
		some := rapid.MapOfN(rapid.StringMatching("[a-c](/[a-d]){0,2}"), content, 0, 12)
		old, new := files(some.Draw(t, "old")), files(some.Draw(t, "new"))
		for p, c := range old {
			if _, ok := new[p]; !ok && rapid.Bool().Draw(t, "stays") {
				new[p] = c
			}
		}
		a := rapid.SampledFrom([]godwit.Algorithm{godwit.SHA256, godwit.GitSHA1}).Draw(t, "algorithm")
		patch := makeTree(t, a, old, new, diff.Options{Tier: delta.Tier(rapid.IntRange(1, 3).Draw(t, "tier"))})
		d := newDevice(a, old)
		if err := apply(d, a, old, new, patch, tree.Options{}); err != nil {
			t.Fatal(err)
		}
		if err := complete(d, a, new); err != nil {
			t.Fatal(err)
		}
	})
}

// A table that names other contents than the stream brings: the sums of the
// stream are right, and still nothing is committed.
func TestLyingTable(t *testing.T) {
	const a = godwit.SHA256
	wanted, brought := "what the listing names", "what the stream brings"
	stream, _, err := diff.Make(context.Background(), nil, []byte(brought), diff.Options{Tier: delta.Tiny, Budget: 1})
	if err != nil {
		t.Fatal(err)
	}
	h, err := delta.ReadHeader(bytes.NewReader(stream))
	if err != nil {
		t.Fatal(err)
	}
	body := stream[len(h.Append(nil)):]
	for _, readBack := range []bool{false, true} {
		h.ReadBack = readBack
		for name, listing := range map[string]files{"wanted": {"a": wanted}, "not wanted": {}} {
			table := tree.Table{Tier: delta.Tiny, Prefix: tree.MinPrefix}
			table.Old.Algorithm, table.New.Algorithm = a, a
			table.New.Add(digest(a, []byte(wanted)), int64(len(brought)), table.Prefix)
			patch := append(h.Append(table.Append(nil)), body...)
			d := newDevice(a, files{})
			if err := apply(d, a, files{}, listing, patch, tree.Options{}); !errors.Is(err, delta.ErrDamaged) || len(d.has) > 0 || d.torn != 0 {
				t.Errorf("%s, read back %v: %v, and %d contents are there", name, readBack, err, len(d.has))
			}
		}
	}
}

// A table takes as much memory as is said.
func TestContentMemory(t *testing.T) {
	const n = 20000
	list := files{}
	table := tree.Table{Tier: delta.Tiny, Prefix: tree.MinPrefix}
	table.Old.Algorithm, table.New.Algorithm = godwit.SHA256, godwit.SHA256
	for i := range n {
		c := fmt.Sprint(i)
		list[c] = c
		table.Old.Add(digest(godwit.SHA256, []byte(c)), int64(len(c)), table.Prefix)
	}
	b := table.Append(nil)
	listing := list.listing(godwit.SHA256)
	var got *tree.Table
	r := testing.Benchmark(func(b2 *testing.B) {
		b2.ReportAllocs()
		for range b2.N {
			var err error
			if got, err = tree.Read(bytes.NewReader(b), n); err != nil {
				b2.Fatal(err)
			}
			if missing, err := got.Old.Find(nil); err != nil || missing != n {
				b2.Fatal(missing, err)
			}
		}
	})
	if per := float64(r.AllocedBytesPerOp()) / n; per > tree.ContentMemory {
		t.Errorf("%.1f bytes for each content", per)
	}
	if missing, err := got.Old.Find(listing); err != nil || missing > 0 {
		t.Error(missing, err)
	}
	if _, err := tree.Read(bytes.NewReader(b), n-1); err != tree.ErrLimit {
		t.Error("one too many:", err)
	}
}
