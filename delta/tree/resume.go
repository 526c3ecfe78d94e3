package tree

import (
	"io"
	"slices"

	"github.com/godwit-ota/godwit/delta"
)

// save keeps a checkpoint, if it is time for one and no content is half written.
//
// The contents before it need not be durable by then: whoever resumes looks for
// them.
func (a *applier) save() error {
	due := a.opt.Save != nil && !a.unasked && a.at-a.saved >= max(Interval, 4*int64(len(a.buf))) &&
		(a.i == len(a.t.New.Contents) || a.at == a.t.New.Contents[a.i].end-a.t.New.Contents[a.i].Size)
	if !due {
		return nil
	}
	b := a.d.Checkpoint(appendUint32(a.buf[:0], a.t.sum))
	first := a.buf == nil
	if a.buf = b; first && a.at-a.saved < 4*int64(len(b)) {
		return nil
	}
	a.saved = a.at
	return a.opt.Save(b)
}

// resume goes on from the checkpoint in the options, if it is sound, of this
// table, and all that was staged by then is there.
func (a *applier) resume(s io.Seeker, patch io.Reader) bool {
	b := a.opt.Checkpoint
	if len(b) < 4 || string(b[:4]) != string(appendUint32(nil, a.t.sum)) {
		return false
	}
	b = b[4:]
	written, consumed, err := delta.CheckpointPosition(b)
	if err != nil || written > a.t.New.Size() {
		return false
	}
	row := &a.t.New
	i := row.at(written)
	if i < len(row.Contents) && row.Contents[i].end-row.Contents[i].Size != written {
		return false
	}
	if slices.ContainsFunc(row.Contents[:i], func(c Content) bool { return !c.Digest.IsZero() && !a.objects.Has(c.Digest) }) {
		return false
	}
	if _, err := s.Seek(consumed, io.SeekCurrent); err != nil {
		return false
	}
	d, err := delta.Resume(a.mem, b, patch, oldRow{a}, a.t.Old.Size(), newRow{a})
	if err != nil {
		return false
	}
	if h := d.Header(); h.Tier != a.t.Tier || h.NewSize != row.Size() ||
		h.ReadBack && slices.ContainsFunc(row.Contents[:i], func(c Content) bool { return c.Digest.IsZero() }) {
		return false
	}
	a.d, a.i, a.at, a.saved = d, i, written, written
	return true
}
