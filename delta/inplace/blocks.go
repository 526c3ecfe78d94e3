package inplace

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"

	"github.com/godwit-ota/godwit/delta"
	"github.com/godwit-ota/godwit/vfs"
)

// reserve makes the file as long as it gets.
func (r *run) reserve(rec *record) error {
	if !r.looked {
		// An earlier run has; but that was cut, and the file lay there since.
		if is, err := isOld(r.file, rec, r.buf[len(rec.kept)+recordHead:]); err != nil || !is {
			if err == nil {
				err = delta.ErrWrongOld
			}
			return err
		}
		if err := putTail(r.file, rec.kept, rec.oldSize); err != nil {
			return err
		}
	}
	if err := fill(r.file, rec.oldSize, r.grown(), r.buf); err != nil {
		return err
	}
	if err := r.file.Sync(); err != nil {
		return err
	}
	rec.phase, rec.moved, rec.kept = moving, rec.oldSize, nil
	return r.journal.put(rec, r.buf)
}

// tail reads the last bytes of a content that do not fill a grain.
func tail(f io.ReaderAt, size int64, buf []byte) ([]byte, error) {
	b := buf[:size%Grain]
	return b, readFull(f, b, size-int64(len(b)))
}

func putTail(f vfs.File, b []byte, size int64) error {
	if len(b) == 0 {
		return nil
	}
	_, err := f.WriteAt(b, size-int64(len(b)))
	return err
}

// isOld reports whether the file begins with the old content, but for the tail
// that the record keeps.
func isOld(f vfs.File, rec *record, buf []byte) (bool, error) {
	whole := rec.oldSize - int64(len(rec.kept))
	if size, err := f.Size(); err != nil || size < whole {
		return false, err
	}
	sum := sha256.New()
	if err := copyTo(context.Background(), sum, io.NewSectionReader(f, 0, whole), buf); err != nil {
		return false, err
	}
	sum.Write(rec.kept)
	return delta.SumOf([sha256.Size]byte(sum.Sum(nil))) == rec.oldSum, nil
}

// move moves the old content one step up. Steps begin at multiples of Slack, and
// so does what each writes.
func (r *run) move(rec *record) error {
	if rec.moved == 0 || r.h.Slack == 0 {
		return r.start(rec)
	}
	to := rec.moved
	from := (to - 1) / r.h.Slack * r.h.Slack
	for at := from; at < to; {
		b := r.buf[:min(int64(len(r.buf)/Grain*Grain), to-at)]
		if err := readFull(r.file, b, at); err != nil {
			return err
		}
		if _, err := r.file.WriteAt(b, at+r.h.Slack); err != nil {
			return err
		}
		at += int64(len(b))
	}
	if err := r.file.Sync(); err != nil {
		return err
	}
	rec.moved = from
	r.tell(rec.oldSize - from)
	return r.journal.put(rec, r.buf)
}

// start begins the patch, when the old content is where it has to be.
func (r *run) start(rec *record) error {
	d, err := r.decoder(r.h.Slack)
	if errors.Is(err, delta.ErrWrongOld) {
		return ErrLost
	}
	if err != nil {
		return err
	}
	return r.checkpoint(rec, d)
}

// checkpoint makes where the decoder is what the journal says. What it has
// written has to be durable.
func (r *run) checkpoint(rec *record, d *delta.Decoder) error {
	rec.phase = writing
	rec.kept = d.Checkpoint(r.buf[:recordHead])[recordHead:]
	return r.journal.put(rec, r.buf)
}

// write writes the next block.
func (r *run) write(rec *record) error {
	d, at, err := block(r.mem, r.buf, rec.kept, r.Patch, r.PatchSize, r.h, r.file)
	if err == nil {
		err = r.file.Sync()
	}
	if err != nil {
		return lost(err)
	}
	r.tell(rec.oldSize + at)
	if at == rec.newSize {
		rec.phase = done
		if rec.kept, err = tail(r.file, rec.newSize, r.buf[recordHead:]); err != nil {
			return err
		}
		return r.journal.put(rec, r.buf)
	}
	return r.checkpoint(rec, d)
}

// A place holds the file.
type place interface {
	io.ReaderAt
	io.WriterAt
}

// block writes the block that follows a checkpoint, up to at. It always begins
// from the checkpoint, so that what follows cannot depend on whether there was a
// cut. The checkpoint may lie in buf.
func block(mem, buf, checkpoint []byte, patch io.ReaderAt, size int64, h delta.Header, f place) (d *delta.Decoder, at int64, err error) {
	at, consumed, err := delta.CheckpointPosition(checkpoint)
	if err != nil {
		return nil, 0, err
	}
	if consumed > size {
		return nil, 0, delta.ErrCheckpoint
	}
	end := (at/h.Block + 1) * h.Block
	old := &old{f: f, size: h.OldSize, shift: h.Slack, hidden: end}
	out := &output{f: f, at: at, end: min(end, h.NewSize)}
	d, err = delta.Resume(mem, checkpoint, io.NewSectionReader(patch, consumed, size-consumed), old, h.OldSize, out)
	if err != nil {
		return nil, 0, err
	}
	// The checkpoint has been read; its place is for what is written now.
	out.buf = buf[:len(buf)/Grain*Grain]
	complete, err := d.Decode(out.end - at)
	if err == nil && (out.at != out.end || complete != (out.at == h.NewSize)) {
		err = delta.ErrDamaged
	}
	if err == nil {
		err = out.flush()
	}
	return d, out.at, err
}

// lost is what an error means of a patch that is known to be whole.
func lost(err error) error {
	if errors.Is(err, delta.ErrDamaged) || errors.Is(err, delta.ErrCheckpoint) || errors.Is(err, delta.ErrWrongOld) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.Join(ErrLost, err)
	}
	return err
}

func (r *run) tell(done int64) {
	if r.Progress != nil {
		r.Progress(done, r.h.OldSize+r.h.NewSize)
	}
}

func readFull(f io.ReaderAt, p []byte, off int64) error {
	if len(p) == 0 {
		return nil
	}
	n, err := f.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// old is the old content inside the file.
type old struct {
	f           io.ReaderAt
	size, shift int64 // bytes; where in the file it begins
	hidden      int64 // bytes of the file before this are gone
}

// ReadAt implements io.ReaderAt. The model knows what is gone, and takes it for
// zeros without asking: who asks has another idea of what the patch says.
func (o *old) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 || off >= o.size {
		return 0, io.EOF
	}
	if int64(len(p)) > o.size-off {
		p, err = p[:o.size-off], io.EOF
	}
	if len(p) > 0 && off+o.shift < o.hidden {
		return 0, delta.ErrDamaged
	}
	if e := readFull(o.f, p, off+o.shift); e != nil {
		return 0, e
	}
	return len(p), err
}

// output is the beginning of the file, up to the end of the block.
type output struct {
	f       place
	at, end int64  // what was written, and what may be
	buf     []byte // room for the last bytes before at that are not in the file yet
	n       int    // how many these are
}

// Write implements delta.Output.
func (o *output) Write(p []byte) (int, error) {
	if int64(len(p)) > o.end-o.at {
		return 0, delta.ErrDamaged
	}
	total := len(p)
	for len(p) > 0 {
		if o.n == len(o.buf) {
			if err := o.flush(); err != nil {
				return total - len(p), err
			}
		}
		k := copy(o.buf[o.n:], p)
		o.n, o.at, p = o.n+k, o.at+int64(k), p[k:]
	}
	return total, nil
}

func (o *output) flush() error {
	if o.n == 0 {
		return nil
	}
	_, err := o.f.WriteAt(o.buf[:o.n], o.at-int64(o.n))
	o.n = 0
	return err
}

// ReadAt implements delta.Output.
func (o *output) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 || off >= o.at {
		return 0, io.EOF
	}
	if int64(len(p)) > o.at-off {
		p, err = p[:o.at-off], io.EOF
	}
	if off+int64(len(p)) > o.at-int64(o.n) {
		if err := o.flush(); err != nil {
			return 0, err
		}
	}
	if e := readFull(o.f, p, off); e != nil {
		return 0, e
	}
	return len(p), err
}
