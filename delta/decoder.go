// Package delta applies patches: what turns an old content into a new one. A
// decoder works in a buffer that its caller gives, of 6 KB, 64 KB or 1 MB as the
// patch asks for, reads the patch once from its beginning to its end, writes the
// new content once, and reads the old one wherever it likes. Making patches is
// the business of delta/diff, patches of whole trees that of delta/tree, which
// patch to take the plan's. docs/patch-format.md describes the format.
//
// Invariant: whatever the bytes of a patch, a decoder reads nothing outside the
// old content and the part of the new one that it wrote, writes no more than the
// header declares, ends, and reports success only after the whole new content
// had the sum in the header.
package delta

import (
	"crypto/sha256"
	"errors"
	"hash"
	"io"

	"github.com/godwit-ota/godwit/delta/model"
)

// Output receives the new content. ReadAt gives what was written so far.
type Output interface {
	io.Writer
	io.ReaderAt
}

// What can be wrong with a patch, beside ErrNoPatch and errors of its readers
// and writers.
var (
	ErrWrongOld = errors.New("the patch was made for another old content")
	ErrDamaged  = model.ErrDamaged
	ErrMemory   = errors.New("the patch needs more memory than there is")
)

// A Decoder applies one patch.
type Decoder struct {
	h     Header
	patch io.Reader
	old   io.ReaderAt
	out   Output
	mem   []byte
	at    int64 // bytes written
	sum   hash.Hash
	walk  model.Walk // of a modelled patch
}

// NewDecoder reads the header of patch. mem is what decoding works in, at least
// h.Tier.Buffer() bytes or else the error is ErrMemory; the rest of h.Tier.Memory()
// is for the Decoder itself and the state of its sum. Nothing else is allocated,
// now or later. Before anything is written the whole old content, of oldSize
// bytes, is held against the header: ErrWrongOld.
func NewDecoder(mem []byte, patch io.Reader, old io.ReaderAt, oldSize int64, out Output) (*Decoder, error) {
	if len(mem) < maxRecipe {
		return nil, ErrMemory
	}
	h, err := readHeader(patch, mem[:maxRecipe])
	if err != nil {
		return nil, err
	}
	if len(mem) < h.Tier.Buffer() {
		return nil, ErrMemory
	}
	if oldSize != h.OldSize {
		return nil, ErrWrongOld
	}
	d := &Decoder{h: h, patch: patch, old: old, out: out, mem: mem[:h.Tier.Buffer()], sum: sha256.New()}
	for at := int64(0); at < oldSize; {
		p := d.mem[:min(oldSize-at, int64(len(d.mem)))]
		if err := d.readOld(p, at); err != nil {
			return nil, err
		}
		d.sum.Write(p)
		at += int64(len(p))
	}
	if d.summed() != h.OldSum {
		return nil, ErrWrongOld
	}
	d.sum.Reset()
	d.begin()
	return d, nil
}

// begin makes the model ready, if the patch has one.
func (d *Decoder) begin() {
	if d.h.Method != Modelled {
		return
	}
	t := model.Task{
		Tier: int(d.h.Tier), Old: d.old, OldSize: d.h.OldSize, NewSize: d.h.NewSize,
		Slack: d.h.Slack, Block: d.h.Block, Code: d.h.Code, Recipe: &d.h.Recipe,
	}
	if d.h.ReadBack {
		t.Back = d.out
	}
	d.walk.Init(d.mem, t)
	d.walk.Begin(d.patch, (*sink)(d))
}

// sink writes to the output of a decoder and to its sum.
type sink Decoder

func (d *sink) Write(p []byte) (int, error) {
	n, err := d.out.Write(p)
	d.sum.Write(p[:n])
	return n, err
}

// summed is the sum of what was hashed. It is made where the decoder works: before
// it begins, or after its end, nothing is there that is needed.
func (d *Decoder) summed() Sum { return SumOf([sha256.Size]byte(d.sum.Sum(d.mem[:0]))) }

// readOld reads all of p.
func (d *Decoder) readOld(p []byte, off int64) error {
	n, err := d.old.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// Header is the patch's header.
func (d *Decoder) Header() Header { return d.h }

// Watch has w told of every bit that the model decodes.
func (d *Decoder) Watch(w model.Watcher) { d.walk.Watch(w) }

// Decode writes n more bytes of the new content, all that is left if n is
// negative. It reports true once the whole content is written and its sum is
// right; ErrDamaged when it is not.
func (d *Decoder) Decode(n int64) (done bool, err error) {
	if n < 0 || n > d.h.NewSize-d.at {
		n = d.h.NewSize - d.at
	}
	if d.h.Method == Modelled {
		if err = d.walk.Decode(n); err == nil {
			d.at += n
		}
	} else {
		err = d.copy(n)
	}
	if err != nil || d.at < d.h.NewSize {
		return false, err
	}
	if d.summed() != d.h.NewSum {
		return false, ErrDamaged
	}
	return true, nil
}

// copy writes n bytes that are in the patch, or in the old content, as they are.
func (d *Decoder) copy(n int64) error {
	for n > 0 {
		p := d.mem[:min(n, int64(len(d.mem)))]
		if d.h.Method == Same {
			if err := d.readOld(p, d.at); err != nil {
				return err
			}
		} else if _, err := io.ReadFull(d.patch, p); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		m, err := (*sink)(d).Write(p)
		d.at, n = d.at+int64(m), n-int64(m)
		if err != nil {
			return err
		}
		if m < len(p) {
			return io.ErrShortWrite
		}
	}
	return nil
}

// Apply turns old into new by patch, in mem. See NewDecoder and Decode for its
// errors.
func Apply(mem []byte, patch io.Reader, old io.ReaderAt, oldSize int64, out Output) error {
	d, err := NewDecoder(mem, patch, old, oldSize, out)
	if err != nil {
		return err
	}
	_, err = d.Decode(-1)
	return err
}
