package web

import (
	"context"
	"errors"
	"io"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/delta"
	"github.com/godwit-ota/godwit/delta/tree"
	"github.com/godwit-ota/godwit/vfs"
)

// theTree is what a patch for a whole tree is for, in words.
const theTree = "the whole tree"

// tree brings what is wanted of rel by one patch. It is not done where the files
// have to come one by one in its place; what the patch brought until then stays.
func (f *fetch) tree(ctx context.Context, rel godwit.Described, want godwit.Listing, p godwit.Patch) (done bool, err error) {
	if !f.s.usable(f.release, p) {
		return false, nil
	}
	return f.bring(ctx, p, theTree, f.total, func(file vfs.File) (wrong, fault error) { return f.applyTree(ctx, file, rel, want, p) })
}

// applyTree is apply for a patch for the whole tree. What the patch brings and
// nobody wants is not staged, unless it is made of that.
func (f *fetch) applyTree(ctx context.Context, file vfs.File, rel godwit.Described, want godwit.Listing, p godwit.Patch) (wrong, fault error) {
	r := io.NewSectionReader(file, 0, p.Size)
	t, err := tree.Read(r, int(min(p.Memory/tree.ContentMemory, tree.MaxContents)))
	if err != nil {
		return ofPatch(err), nil
	}
	if n := len(t.Old.Contents) + len(t.New.Contents); int64(t.Tier.Memory()+n*tree.ContentMemory) > p.Memory {
		return errors.New("it takes more memory than the manifest says"), nil
	}
	missing, err := t.Old.Find(rel.Installed)
	if err != nil {
		return nil, err
	}
	if missing > 0 {
		return delta.ErrWrongOld, nil
	}
	if missing, err = t.New.Find(want); err != nil {
		return nil, err
	}
	if missing == len(t.New.Contents) {
		return errors.New("it makes none of the files that are missing"), nil
	}
	into := &watched{Objects: f.into}
	err = tree.Apply(ctx, f.s.memory(t.Tier.Memory()), r, t, into, tree.Options{})
	switch {
	case into.fault != nil:
		return nil, into.fault
	case ctx.Err() != nil:
		return nil, ctx.Err()
	}
	return ofPatch(err), nil
}

// watched are objects whose faults are kept apart from those of patches.
type watched struct {
	godwit.Objects
	fault error
}

func (w *watched) saw(err error) error {
	if err != nil && w.fault == nil {
		w.fault = err
	}
	return err
}

func (w *watched) Create(size int64) (godwit.NewObject, error) {
	n, err := w.Objects.Create(size)
	return watchedObject{n, w}, w.saw(err)
}

type watchedObject struct {
	godwit.NewObject
	w *watched
}

func (o watchedObject) Write(p []byte) (int, error) {
	n, err := o.NewObject.Write(p)
	return n, o.w.saw(err)
}

func (o watchedObject) Commit(d godwit.Digest) error { return o.w.saw(o.NewObject.Commit(d)) }
