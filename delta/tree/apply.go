package tree

import (
	"context"
	"errors"
	"hash"
	"io"
	"io/fs"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/delta"
)

// Options of Apply. The zero value is good.
type Options struct {
	// Checkpoint is what Save was given last for the same patch, byte for byte;
	// one that is damaged, or that the stage has lost contents of, means nothing.
	// It is of use only if the patch is an io.Seeker.
	Checkpoint []byte
	// Save keeps a checkpoint, instead of the one before, for a later run that
	// goes on from there: see Interval. b is valid until it returns. Its error
	// ends the run. With nil, a run that was cut decodes again from the
	// beginning, and writes only what is not there yet.
	Save func(b []byte) error
	// Progress is told of bytes decoded of all there are.
	Progress func(done, total int64)
}

// Interval is how many bytes are written from one checkpoint to the next, at
// least; and at least four times as many as a checkpoint has, so that keeping
// them wears the flash little. Checkpoints are made between contents only: what
// was written of one before a cut is lost.
const Interval = 64 << 10

// step is how many bytes are decoded before the context is asked again.
const step = 64 << 10

// Apply brings the new contents of t, which was read from the beginning of patch,
// into objects. mem is all the memory that decoding takes, t.Tier.Memory() bytes,
// beside that of the table. Before, Find has to have found all old contents, and
// what of the new ones is wanted; of the others, which nobody named, only those
// are staged that the patch itself needs again. What is there already is not
// written again.
//
// Errors are delta.ErrWrongOld if an old content is missing or not what the patch
// was made for, delta.ErrDamaged and delta.ErrNoPatch for a patch that is not as
// its maker made it, delta.ErrMemory, and those of objects and of patch. Contents
// that were complete by then stay; each has its digest.
func Apply(ctx context.Context, mem []byte, patch io.Reader, t *Table, objects godwit.Objects, o Options) error {
	if len(mem) < t.Tier.Memory() {
		return delta.ErrMemory
	}
	for i := range t.Old.Contents {
		if t.Old.Contents[i].Digest.IsZero() {
			return delta.ErrWrongOld
		}
	}
	a := &applier{t: t, objects: objects, opt: o, mem: mem}
	defer a.close()
	if s, ok := patch.(io.Seeker); ok && len(o.Checkpoint) > 0 {
		start, err := s.Seek(0, io.SeekCurrent)
		if err != nil {
			return err
		}
		if a.resume(s, patch) {
			err := a.decode(ctx)
			if !errors.Is(err, delta.ErrDamaged) {
				return err
			}
		}
		a.close()
		a.d, a.i, a.at = nil, 0, 0
		if _, err := s.Seek(start, io.SeekStart); err != nil {
			return err
		}
	}
	d, err := delta.NewDecoder(mem, patch, oldRow{a}, t.Old.Size(), newRow{a})
	if err != nil {
		return err
	}
	a.d = d
	if h := d.Header(); h.Tier != t.Tier || h.NewSize != t.New.Size() {
		return delta.ErrDamaged
	}
	return a.decode(ctx)
}

// openContents is how many contents are open at a time, for reading.
const openContents = 8

// An applier is a run of Apply.
type applier struct {
	t       *Table
	objects godwit.Objects
	opt     Options
	mem     []byte
	d       *delta.Decoder

	open [openContents]openContent // used last comes first

	// The content that is being written.
	i   int   // its number; those before are done
	at  int64 // bytes written of all
	out godwit.NewObject
	sum hash.Hash

	saved   int64 // at, at the last checkpoint
	buf     []byte
	unasked bool // a content was staged that no listing names
}

type openContent struct {
	row *Row
	i   int
	godwit.Object
}

func (a *applier) close() {
	for i := range a.open {
		if a.open[i].Object != nil {
			a.open[i].Close()
			a.open[i] = openContent{}
		}
	}
	if a.out != nil {
		a.out.Abort()
		a.out = nil
	}
	a.sum = nil
}

func (a *applier) decode(ctx context.Context) error {
	total := a.t.New.Size()
	if err := a.advance(); err != nil { // empty contents at the beginning, or nothing else
		return err
	}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := int64(step)
		if a.i < len(a.t.New.Contents) {
			n = min(n, a.t.New.Contents[a.i].end-a.at)
		}
		done, err := a.d.Decode(n)
		if err != nil {
			return err
		}
		if a.opt.Progress != nil {
			a.opt.Progress(a.at, total)
		}
		if done {
			if a.i < len(a.t.New.Contents) {
				return delta.ErrDamaged
			}
			return nil
		}
		if err := a.save(); err != nil {
			return err
		}
	}
}

// begin prepares for the content at a.i.
func (a *applier) begin() error {
	c := &a.t.New.Contents[a.i]
	a.sum = a.t.New.Algorithm.New(c.Size)
	if c.Digest.IsZero() && !a.d.Header().ReadBack || !c.Digest.IsZero() && a.objects.Has(c.Digest) {
		return nil
	}
	out, err := a.objects.Create(c.Size)
	if err != nil {
		return err
	}
	a.out = out
	return nil
}

// finish is called when the content at a.i is complete.
func (a *applier) finish() error {
	c := &a.t.New.Contents[a.i]
	d := godwit.MakeDigest(a.t.New.Algorithm, a.sum.Sum(nil))
	out := a.out
	a.out, a.sum = nil, nil
	if c.Digest.IsZero() && PrefixOf(d, a.t.Prefix) != c.Prefix || !c.Digest.IsZero() && c.Digest != d {
		if out != nil {
			out.Abort()
		}
		return delta.ErrDamaged
	}
	if out != nil {
		if err := out.Commit(d); err != nil {
			return err
		}
		a.unasked = a.unasked || c.Digest.IsZero()
		c.Digest = d
	}
	a.i++
	return nil
}

// advance begins the content at a.at and finishes those that end there.
func (a *applier) advance() error {
	for a.i < len(a.t.New.Contents) {
		if a.sum == nil {
			if err := a.begin(); err != nil {
				return err
			}
		}
		if a.at < a.t.New.Contents[a.i].end {
			return nil
		}
		if err := a.finish(); err != nil {
			return err
		}
	}
	return nil
}

// newRow is the new contents, one after the other, as the decoder sees them.
type newRow struct{ *applier }

// Write implements delta.Output.
func (w newRow) Write(p []byte) (n int, err error) {
	a := w.applier
	for n < len(p) {
		if err := a.advance(); err != nil {
			return n, err
		}
		if a.i == len(a.t.New.Contents) {
			return n, delta.ErrDamaged
		}
		k := int(min(int64(len(p)-n), a.t.New.Contents[a.i].end-a.at))
		a.sum.Write(p[n : n+k])
		if a.out != nil {
			if m, err := a.out.Write(p[n : n+k]); err != nil {
				return n + m, err
			}
		}
		n += k
		a.at += int64(k)
	}
	return n, a.advance()
}

// ReadAt implements delta.Output.
func (w newRow) ReadAt(p []byte, off int64) (int, error) {
	a := w.applier
	if off < 0 || off > a.at {
		return 0, io.EOF
	}
	short := int64(len(p)) > a.at-off
	if short {
		p = p[:a.at-off]
	}
	n, err := a.readRow(&a.t.New, p, off)
	if err == nil && short {
		err = io.EOF
	}
	return n, err
}

// oldRow is the old contents, one after the other.
type oldRow struct{ *applier }

// ReadAt implements io.ReaderAt.
func (r oldRow) ReadAt(p []byte, off int64) (int, error) {
	size := r.t.Old.Size()
	if off < 0 || off >= size {
		return 0, io.EOF
	}
	short := int64(len(p)) > size-off
	if short {
		p = p[:size-off]
	}
	n, err := r.readRow(&r.t.Old, p, off)
	if err == nil && short {
		err = io.EOF
	}
	return n, err
}

// readRow reads what lies within the row.
func (a *applier) readRow(r *Row, p []byte, off int64) (n int, err error) {
	for i := r.at(off); n < len(p); i++ {
		c := &r.Contents[i]
		begin := c.end - c.Size
		k := int(min(int64(len(p)-n), c.end-off))
		if k == 0 {
			continue
		}
		var from io.ReaderAt
		if r == &a.t.New && i == a.i && a.out != nil {
			from = a.out
		} else if from, err = a.content(r, i); err != nil {
			return n, err
		}
		m, err := from.ReadAt(p[n:n+k], off-begin)
		n, off = n+m, off+int64(m)
		if m < k {
			if err == nil || err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return n, err
		}
	}
	return n, nil
}

// content opens a content of the row, or finds it open.
func (a *applier) content(r *Row, i int) (io.ReaderAt, error) {
	for k := range a.open {
		if o := a.open[k]; o.Object != nil && o.row == r && o.i == i {
			copy(a.open[1:k+1], a.open[:k])
			a.open[0] = o
			return o.Object, nil
		}
	}
	c := &r.Contents[i]
	obj, err := a.objects.Open(c.Digest)
	if r == &a.t.Old && errors.Is(err, fs.ErrNotExist) {
		err = delta.ErrWrongOld
	}
	if err != nil {
		return nil, err
	}
	if obj.Size() != c.Size {
		obj.Close()
		return nil, delta.ErrWrongOld
	}
	if last := a.open[openContents-1]; last.Object != nil {
		last.Close()
	}
	copy(a.open[1:], a.open[:openContents-1])
	a.open[0] = openContent{r, i, obj}
	return obj, nil
}
