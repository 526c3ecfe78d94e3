// Package inplace turns a file into its new version within the file itself, on
// devices that have no room for two copies. Which patch leads where, and who
// vouches for it, is for the caller to know; the decoder is package delta's. The
// patch has to be one that was made for this: with delta.Header.Block.
//
// It is not what an update should be where there is room: once the file is being
// changed there is no way back to the old version, and until it is finished the
// file is neither of the two. What holds is this.
//
// Invariant: whatever moment the power goes, and however often, Run can be called
// again with the same patch and ends with the new version, which it hashes whole
// before it says so. Until State.OldGone the old version is there, and Abandon
// leads back to it.
//
// # How
//
// First the old content is moved up inside the file by Slack bytes, from its end
// to its beginning, in steps of at most Slack, so that a step writes over nothing
// that it reads. Then the new content is written from the beginning, block by
// block. While a block is written, bytes of the file before the block's end read
// as zero, so that nothing that is read is written over either; the patch was
// made by the same rule. Between two steps, or blocks, what was written is made
// durable and then what comes next: see docs/crash-safety.md.
package inplace

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"path"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/delta"
	"github.com/godwit-ota/godwit/vfs"
)

// Grain is what Slack and Block are multiples of, in bytes: no block shares a
// sector, or a page of flash, with another one, so a write that is torn spoils
// nothing but its own block.
const Grain = 4096

// Errors, beside those of the disk, of the patch's reader, and of package delta
// for what is found out before anything was changed.
var (
	// ErrUnfit says that a patch was not made for this, or by other rules.
	ErrUnfit = errors.New("the patch is not for turning a file in place")
	// ErrOther says that the file is on its way to another content, which has to
	// be finished first.
	ErrOther = errors.New("the file is being turned into another version, and that is not finished")
	// ErrLost says that the disk did not give back what was written to it: the old
	// content is gone and the new one is not right. Fetch it whole, then remove the
	// journal.
	ErrLost = errors.New("the file was damaged while it was being turned into its new version")
)

// A Job is one file to be turned.
type Job struct {
	FS      vfs.FS
	File    string // its name; it is read and written by nobody else meanwhile
	Journal string // name of a file for what has to be remembered

	// Patch must stay until Run has returned nil: keep it where a power cut does
	// not reach it, and durably, before Run. It is hashed by each Run.
	Patch     io.ReaderAt
	PatchSize int64 // bytes
	PatchSum  [sha256.Size]byte

	New      godwit.Digest           // of the whole new content
	Progress func(done, total int64) // bytes moved and written; may be nil
}

// Memory is how much memory Run takes for a patch of the tier, in bytes: the
// decoder's, and as much again for what is written to the journal.
func Memory(t delta.Tier) int { return 2*t.Memory() + 2048 }

// Run turns the file, or goes on where an earlier Run was cut. If the file is the
// new version already, it does nothing. mem is Memory of the patch's tier, or
// else the error is delta.ErrMemory.
//
// Before anything is changed the patch is held against its digest
// (delta.ErrDamaged), the whole old content against the patch
// (delta.ErrWrongOld), and the disk is asked for room: for Slack, for what the new
// version is longer, and for the journal, which has two copies of the decoder's
// memory (an error for which vfs.Full holds). The room is taken before the first
// byte of the old content is written over, so a full disk stops nothing midway.
func (j *Job) Run(ctx context.Context, mem []byte) error {
	r := &run{Job: j, mem: mem}
	if err := r.checkPatch(ctx); err != nil {
		return err
	}
	defer r.close()
	if err := r.open(); err != nil {
		return err
	}
	rec, err := r.find()
	if err != nil || rec == nil {
		return err
	}
	for rec.phase != done {
		if err := ctx.Err(); err != nil {
			return err
		}
		switch rec.phase {
		case reserving:
			err = r.reserve(rec)
		case moving:
			err = r.move(rec)
		case writing:
			err = r.write(rec)
		}
		if err != nil {
			return err
		}
	}
	return r.finish(rec)
}

// A run is a Run.
type run struct {
	*Job
	h       delta.Header
	mem     []byte // the decoder's
	looked  bool   // the old content was hashed
	buf     []byte // for what is copied, and for records; its length means nothing
	file    vfs.File
	journal *journal
}

func (r *run) close() {
	if r.file != nil {
		r.file.Close()
	}
	if r.journal != nil {
		r.journal.f.Close()
	}
}

// checkPatch hashes the patch and reads its header.
func (r *run) checkPatch(ctx context.Context) error {
	h, err := delta.ReadHeader(io.NewSectionReader(r.Patch, 0, r.PatchSize))
	switch {
	case err != nil:
		return err
	case !fit(h):
		return ErrUnfit
	case len(r.mem) < Memory(h.Tier):
		return delta.ErrMemory
	}
	r.h = h
	r.mem, r.buf = r.mem[:h.Tier.Memory()], r.mem[h.Tier.Memory():Memory(h.Tier)]
	sum := sha256.New()
	if err := copyTo(ctx, sum, io.NewSectionReader(r.Patch, 0, r.PatchSize), r.buf); err != nil {
		return err
	}
	if [sha256.Size]byte(sum.Sum(nil)) != r.PatchSum {
		return delta.ErrDamaged
	}
	return nil
}

// fit reports whether a patch was made for this.
func fit(h delta.Header) bool { return h.Block > 0 && h.Block%Grain == 0 && h.Slack%Grain == 0 }

func copyTo(ctx context.Context, w io.Writer, r io.Reader, buf []byte) error {
	for {
		n, err := r.Read(buf)
		w.Write(buf[:n]) // a hash
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
	}
}

func (r *run) open() error {
	info, err := r.FS.Lstat(r.File)
	if err != nil {
		return err
	}
	if info.Type != vfs.Regular {
		return &fs.PathError{Op: "open", Path: r.File, Err: errors.New("not a regular file")}
	}
	r.file, err = r.FS.Open(r.File, vfs.Write)
	return err
}

// find gives the record from which to go on. It is nil if there is nothing to do.
func (r *run) find() (*record, error) {
	j, rec, err := openJournal(r.FS, r.Journal, r.buf)
	if err != nil {
		return nil, err
	}
	if rec != nil && (rec.patch != r.PatchSum || rec.new != r.New) {
		j.f.Close()
		switch {
		case rec.phase == done:
			err = r.finish(rec)
		case rec.oldGone():
			err = ErrOther
		default:
			err = Abandon(r.FS, r.File, r.Journal)
		}
		if err != nil {
			return nil, err
		}
		j, rec = nil, nil
	}
	if rec != nil {
		r.journal = j
		if rec.oldSize != r.h.OldSize || rec.newSize != r.h.NewSize {
			return nil, ErrLost
		}
		return rec, r.sync()
	}
	if j != nil {
		j.f.Close() // one that never came to be
	}
	if is, err := r.is(r.New, r.h.NewSize); err != nil || is {
		if err == nil {
			err = r.file.Sync()
		}
		if err == nil {
			err = removeJournal(r.FS, r.Journal)
		}
		return nil, err
	}
	return r.begin()
}

// sync makes durable what is found. An earlier run may have been killed between a
// write and its sync; what builds on a record that the next power cut takes away
// would write over what the record before it needs.
func (r *run) sync() error {
	if err := r.file.Sync(); err != nil {
		return err
	}
	if err := r.journal.f.Sync(); err != nil {
		return err
	}
	return r.FS.SyncDir(path.Dir(r.Journal))
}

// is reports whether the file is the content.
func (r *run) is(d godwit.Digest, size int64) (bool, error) {
	if n, err := r.file.Size(); err != nil || n != size {
		return false, err
	}
	sum := d.Algorithm.New(size)
	if err := copyTo(context.Background(), sum, io.NewSectionReader(r.file, 0, size), r.buf); err != nil {
		return false, err
	}
	return godwit.MakeDigest(d.Algorithm, sum.Sum(nil)) == d, nil
}

// grown is how long the file gets on the way, in bytes.
func (r *run) grown() int64 { return max(r.h.OldSize+r.h.Slack, r.h.NewSize) }

// begin looks whether all that is needed is there, and makes the journal.
func (r *run) begin() (*record, error) {
	size, err := r.file.Size()
	if err != nil {
		return nil, err
	}
	if size != r.h.OldSize {
		return nil, delta.ErrWrongOld
	}
	d, err := r.decoder(0)
	if err != nil {
		return nil, err
	}
	r.looked = true
	slot := slotSize(max(len(d.Checkpoint(r.buf[:0])), Grain))
	free, err := r.FS.Free()
	if err != nil {
		return nil, err
	}
	if r.grown()-size+2*slot > free {
		return nil, vfs.ErrFull
	}
	rec := &record{phase: reserving, patch: r.PatchSum, new: r.New, oldSize: size, oldSum: r.h.OldSum, newSize: r.h.NewSize}
	if rec.kept, err = tail(r.file, size, r.mem); err != nil {
		return nil, err
	}
	r.journal, err = createJournal(r.FS, r.Journal, slot, rec, r.buf)
	return rec, err
}

// decoder begins the patch, with the old content shift bytes behind the beginning
// of the file. The old content is hashed.
func (r *run) decoder(shift int64) (*delta.Decoder, error) {
	old := &old{f: r.file, size: r.h.OldSize, shift: shift}
	return delta.NewDecoder(r.mem, io.NewSectionReader(r.Patch, 0, r.PatchSize), old, r.h.OldSize, &output{})
}

// finish cuts off what is left of the old content and looks at the result.
func (r *run) finish(rec *record) error {
	if err := putTail(r.file, rec.kept, rec.newSize); err != nil {
		return err
	}
	if err := r.file.Truncate(rec.newSize); err != nil {
		return err
	}
	if err := r.file.Sync(); err != nil {
		return err
	}
	is, err := r.is(rec.new, rec.newSize)
	if err != nil {
		return err
	}
	if !is {
		return ErrLost
	}
	return removeJournal(r.FS, r.Journal)
}

// A State is how far a file has come.
type State struct {
	Begun   bool              // there is a journal
	OldGone bool              // there is no way back to the old version
	Patch   [sha256.Size]byte // SHA-256 of the patch that it takes to go on
	New     godwit.Digest     // of the version that it leads to
}

// Look reads a journal. None, or one that a power cut left before it came to be,
// is the zero State.
func Look(fsys vfs.FS, name string) (State, error) {
	j, rec, err := openJournal(fsys, name, nil)
	if err != nil || j == nil {
		return State{}, err
	}
	j.f.Close()
	if rec == nil {
		return State{}, nil
	}
	return State{Begun: true, OldGone: rec.oldGone(), Patch: rec.patch, New: rec.new}, nil
}

// Abandon gives up a job of which the old version is still there, and takes back
// what was done for it. Later the error is ErrOther. A file that somebody has
// replaced since is left as it is.
func Abandon(fsys vfs.FS, file, name string) error {
	j, rec, err := openJournal(fsys, name, nil)
	if err != nil || j == nil {
		return err
	}
	j.f.Close()
	if rec != nil {
		if rec.oldGone() {
			return ErrOther
		}
		if err := shrink(fsys, file, rec); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return removeJournal(fsys, name)
}

// shrink gives a file that holds the old content its length back.
func shrink(fsys vfs.FS, file string, rec *record) error {
	if _, err := fsys.Lstat(file); err != nil {
		return err
	}
	f, err := fsys.Open(file, vfs.Write)
	if err != nil {
		return err
	}
	defer f.Close()
	is, err := isOld(f, rec, make([]byte, Grain))
	if err != nil || !is {
		return err
	}
	if err := putTail(f, rec.kept, rec.oldSize); err != nil {
		return err
	}
	if err := f.Truncate(rec.oldSize); err != nil {
		return err
	}
	return f.Sync()
}
