package cli

import (
	"bytes"
	"context"
	"io/fs"
	"maps"
	"strconv"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/delta"
	"github.com/godwit-ota/godwit/delta/diff"
	"github.com/godwit-ota/godwit/delta/tree"
	"github.com/godwit-ota/godwit/plan"
)

// A trial is one patch that deltaBench made.
type trial struct {
	name        string
	tier        delta.Tier
	old, new    int64 // bytes
	size        int64 // of the patch
	made, apply time.Duration
}

// benchLeast is how long applying is measured at least: small patches are
// applied again and again.
const benchLeast = 200 * time.Millisecond

// deltaBench makes and applies patches of all tiers for pairs of contents.
func (c *command) deltaBench(ctx context.Context, o *patching) error {
	generous()
	names := c.operands[1:]
	if len(names)%2 != 0 {
		return usageText("delta bench takes pairs: OLD NEW, OLD NEW, …", "delta")
	}
	options, err := o.options(nil)
	if err != nil {
		return err
	}
	rows := [][]string{{"new", "tier", "size", "of new", "made in", "applied at", "memory"}}
	for ; len(names) > 0; names = names[2:] {
		b, err := c.benched(ctx, names[0], names[1])
		if err != nil {
			return err
		}
		for t := delta.Tiny; t <= delta.Large; t++ {
			options.Tier = t
			options.Progress = c.progress(stageDiff, names[1]+" at "+t.String())
			r, err := try(ctx, b, options)
			if err != nil {
				return err
			}
			c.showTrial(r)
			rows = append(rows, r.row())
		}
	}
	c.printer().Printf("%s", table(rows))
	return nil
}

// A benched is a pair of contents, or of trees.
type benched struct {
	name     string
	old, new int64 // bytes that a patch draws from, and makes, at most
	make     func(context.Context, diff.Options) ([]byte, diff.Report, error)
	// apply applies a patch in mem, and reports whether that gave the new contents.
	apply func(ctx context.Context, mem, patch []byte) (same bool, err error)
}

// benched prepares a pair, of which all is in memory then.
func (c *command) benched(ctx context.Context, oldName, newName string) (b benched, err error) {
	switch x, y := isFolder(oldName), isFolder(newName); {
	case x && y:
		return benchedTrees(ctx, oldName, newName)
	case x || y:
		return b, usageText(oldName+" and "+newName+" are a folder and a file", "delta")
	}
	old, err := readFile(oldName)
	if err != nil {
		return b, err
	}
	new, err := readFile(newName)
	out := &memoryOutput{make([]byte, 0, len(new))}
	return benched{
		name: newName, old: int64(len(old)), new: int64(len(new)),
		make: func(ctx context.Context, o diff.Options) ([]byte, diff.Report, error) {
			return diff.Make(ctx, old, new, o)
		},
		apply: func(_ context.Context, mem, patch []byte) (bool, error) {
			out.b = out.b[:0]
			err := delta.Apply(mem, bytes.NewReader(patch), bytes.NewReader(old), int64(len(old)), out)
			return bytes.Equal(out.b, new), err
		},
	}, err
}

// benchedTrees is benched for folders.
func benchedTrees(ctx context.Context, oldName, newName string) (b benched, err error) {
	old, err := filesIn(ctx, oldName)
	if err != nil {
		return b, err
	}
	new, err := filesIn(ctx, newName)
	if err != nil {
		return b, err
	}
	here := map[godwit.Digest][]byte{}
	list := func(files []diff.File) (entries []godwit.Entry, err error) {
		for i := range files {
			f := &files[i]
			content, err := f.Content()
			if err != nil {
				return nil, godwit.Fail(godwit.CodeIO, err, f.Name+" cannot be read", "")
			}
			here[f.Digest] = content
			f.Content = func() ([]byte, error) { return content, nil }
			entries = append(entries, godwit.Entry{Path: f.Name, Mode: godwit.File, Digest: f.Digest, Size: int64(len(content))})
		}
		return entries, nil
	}
	before, err := list(old)
	if err != nil {
		return b, err
	}
	there := maps.Clone(here)
	after, err := list(new)
	if err != nil {
		return b, err
	}
	b = benched{name: newName, make: func(ctx context.Context, o diff.Options) ([]byte, diff.Report, error) {
		return diff.MakeTree(ctx, old, new, o)
	}}
	for _, e := range before {
		b.old += e.Size
	}
	brought := map[godwit.Digest]bool{} // what is new in the tree
	for _, e := range after {
		if _, had := there[e.Digest]; !had && !brought[e.Digest] {
			brought[e.Digest] = true
			b.new += e.Size
		}
	}
	b.apply = func(ctx context.Context, mem, patch []byte) (bool, error) {
		objects := memoryObjects(maps.Clone(there))
		in := bytes.NewReader(patch)
		t, err := tree.Read(in, 0)
		if err == nil {
			_, err = t.Old.Find(listing(before))
		}
		if err == nil {
			_, err = t.New.Find(listing(after))
		}
		if err == nil {
			err = tree.Apply(ctx, mem, in, t, objects, tree.Options{})
		}
		same := true
		for d := range brought {
			same = same && bytes.Equal(objects[d], here[d])
		}
		return same, err
	}
	return b, nil
}

// try makes a patch and applies it.
func try(ctx context.Context, b benched, o diff.Options) (trial, error) {
	r := trial{name: b.name, tier: o.Tier, old: b.old, new: b.new}
	begun := time.Now()
	patch, _, err := b.make(ctx, o)
	r.made, r.size = time.Since(begun), int64(len(patch))
	if err != nil {
		return r, err
	}
	mem, same := make([]byte, o.Tier.Memory()), false
	begun = time.Now()
	for n := time.Duration(1); ; n++ {
		same, err = b.apply(ctx, mem, patch)
		r.apply = time.Since(begun) / n
		if err != nil || !same || time.Since(begun) >= benchLeast || ctx.Err() != nil {
			break
		}
	}
	switch {
	case ctx.Err() != nil:
		return r, ctx.Err()
	case err == nil && !same:
		err = delta.ErrDamaged
	}
	if err != nil {
		return r, godwit.Fail(godwit.CodeFailed, err, "the patch to "+r.name+" at the tier "+o.Tier.String()+" does not give the new content", "this is a fault of Godwit: please report it with both")
	}
	return r, nil
}

// A memoryOutput is a new content in memory.
type memoryOutput struct{ b []byte }

func (m *memoryOutput) Write(p []byte) (int, error) {
	m.b = append(m.b, p...)
	return len(p), nil
}

func (m *memoryOutput) ReadAt(p []byte, at int64) (int, error) {
	return bytes.NewReader(m.b).ReadAt(p, at)
}

// memoryObjects are contents in memory.
type memoryObjects map[godwit.Digest][]byte

func (m memoryObjects) Has(d godwit.Digest) bool { _, ok := m[d]; return ok }

func (m memoryObjects) Open(d godwit.Digest) (godwit.Object, error) {
	b, ok := m[d]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return memoryObject{bytes.NewReader(b)}, nil
}

func (m memoryObjects) Create(size int64) (godwit.NewObject, error) {
	return &memoryNew{memoryOutput{make([]byte, 0, size)}, m}, nil
}

type memoryObject struct{ *bytes.Reader }

func (memoryObject) Close() error { return nil }

type memoryNew struct {
	memoryOutput
	in memoryObjects
}

func (n *memoryNew) Commit(d godwit.Digest) error { n.in[d] = n.b; return nil }
func (n *memoryNew) Abort()                       {}

// speed is how fast the new content came, in bytes a second.
func (r trial) speed() float64 { return float64(r.new) / max(r.apply.Seconds(), 1e-9) }

func (r trial) row() []string {
	return []string{r.name, r.tier.String(), strconv.FormatInt(r.size, 10), share(r.size, r.new), r.made.Round(time.Millisecond).String(),
		plan.Bytes(int64(r.speed())) + "/s", memory(r.tier)}
}

func (c *command) showTrial(r trial) {
	line := begin("bench")
	line.text("new", r.name)
	line.text("tier", r.tier.String())
	line.number("memory", int64(r.tier.Memory()))
	line.number("old_size", r.old)
	line.number("new_size", r.new)
	line.number("size", r.size)
	line.number("make_milliseconds", r.made.Milliseconds())
	line.number("apply_bytes_per_second", int64(r.speed()))
	c.printer().Emit(line.done())
}
