package history

import (
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/vfs"
)

var names = [2]string{Name, Name2}

// damagedSuffix is of the name that a damaged file gets.
const damagedSuffix = ".damaged"

func (h *History) name(which int) string { return h.folder + "/" + names[which] }

// found is what lies on the disk.
type found struct {
	state
	which int // copy that it is from; -1 for none
	aside int // damaged copy to set aside after the next write; -1 for none
}

// read returns the higher of the two copies that are whole. If none is, it
// returns what can be made out of the better one.
func (h *History) read() (found, error) {
	best := found{which: -1, aside: -1}
	var saved found
	var trouble error
	exist, most := 0, -1
	for i := range names {
		b, err := vfs.ReadFile(h.fs, h.name(i), maxFile)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		exist++
		if err != nil {
			trouble = err
			continue
		}
		s, whole, entries := decode(b, h.opt)
		switch {
		case whole && (best.which < 0 || s.seq > best.seq):
			best.state, best.which = s, i
		case !whole && entries > most:
			saved, most = found{s, i, i}, entries
		}
	}
	switch {
	case best.which >= 0:
		return best, nil
	case most > 0 || most == 0 && exist == len(names):
		return saved, godwit.Fail(godwit.CodeDamaged, nil, "the health history was damaged; "+strconv.Itoa(most)+" entries of it could be made out",
			"nothing needs to be done; the damaged file is kept as "+names[saved.aside]+damagedSuffix)
	case trouble != nil:
		return best, vfs.StateError(trouble)
	case h.opt.Reference != "":
		// One copy alone that is damaged is the first that was ever begun.
		if b, err := vfs.ReadFile(h.fs, h.opt.Reference, maxFile); err == nil {
			if s, whole, _ := decode(b, h.opt); whole {
				best.state = s
				best.seq = 0
			}
		}
	}
	return best, nil
}

// onDisk returns the higher number of the two copies, looking only at their
// beginnings.
func (h *History) onDisk() (seq uint64) {
	for i := range names {
		f, err := h.fs.Open(h.name(i), vfs.Read)
		if err != nil {
			continue
		}
		b := make([]byte, 2*headEnd)
		n, err := f.ReadAt(b, 0)
		if err == nil || err == io.EOF {
			seq = max(seq, headSeq(b[:n]))
		}
		f.Close()
	}
	return seq
}

// merge takes over what another process has written since, and does on top of
// it what is not written here.
func (h *History) merge() {
	other, err := h.read()
	if err != nil || other.which < 0 || other.seq <= h.s.seq {
		return
	}
	s := other.state
	for _, e := range slices.Backward(h.waiting.events()) {
		s.add(e, h.opt)
	}
	for _, m := range h.waiting.months {
		s.count(m, h.opt.Now())
	}
	if !h.s.check.at.IsZero() && (h.newCheck || h.checked && s.check.guess) {
		s.check = h.s.check
	}
	if h.newBoot {
		s.boot = h.s.boot
	}
	h.s, h.copy, h.aside, h.synced, h.named = s, other.which, -1, false, [2]bool{}
}

// flush writes the state, durably. What waited no longer does.
func (h *History) flush() error {
	now := h.opt.Now()
	if h.errors {
		h.errorWrite = now
	}
	if err := h.write(); err != nil {
		h.failed, h.late = now, true
		return vfs.StateError(err)
	}
	h.waiting = state{}
	h.newCheck, h.newBoot, h.errors, h.late = false, false, false, false
	h.lazy, h.failed = time.Time{}, time.Time{}
	return nil
}

// write writes the state over the copy that does not count. Until that is done,
// the other one does.
func (h *History) write() error {
	if _, err := h.fs.Lstat(h.folder); errors.Is(err, fs.ErrNotExist) {
		if err := vfs.MkdirAll(h.fs, h.folder); err != nil {
			return err
		}
		if err := h.fs.SyncDir(path.Dir(h.folder)); err != nil {
			return err
		}
	}
	if h.onDisk() > h.s.seq {
		h.merge()
	}
	if err := h.anchor(); err != nil {
		return err
	}
	if c := &h.s.check; h.booted != "" && !c.at.IsZero() {
		c.since, c.boot, c.up = h.sinceCheck(), h.booted, h.opt.Uptime()
	}
	// A write that fails may have come through all the same, so its number is
	// used up.
	h.s.seq++
	which := 0
	if h.copy == 0 {
		which = 1
	}
	if err := h.put(which, h.s.encode()); err != nil {
		return err
	}
	h.copy, h.synced = which, true
	if h.aside >= 0 {
		if h.fs.Rename(h.name(h.aside), h.name(h.aside)+damagedSuffix) == nil {
			h.fs.SyncDir(h.folder) // if it is lost, the damaged copy is written over
		}
		h.named[h.aside], h.aside = false, -1
	}
	return nil
}

// anchor makes the copy that counts durable. A process that was killed may have
// left it in memory only; then a cut while the other copy is written over would
// leave none.
func (h *History) anchor() error {
	if h.copy < 0 || h.synced {
		return nil
	}
	f, err := h.fs.Open(h.name(h.copy), vfs.Read)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // somebody removed it
	}
	if err != nil {
		return err
	}
	err = f.Sync()
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = h.fs.SyncDir(h.folder)
	}
	h.synced = err == nil
	return err
}

// put makes b the content of a copy, and its name durable if that may not be so:
// a process that was killed may have made it.
func (h *History) put(which int, b []byte) error {
	f, err := h.fs.Open(h.name(which), vfs.Write)
	if err != nil {
		return err
	}
	size, err := f.Size()
	if err == nil {
		_, err = f.WriteAt(b, 0)
	}
	if err == nil && size > int64(len(b)) {
		err = f.Truncate(int64(len(b)))
	}
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil && !h.named[which] {
		err = h.fs.SyncDir(h.folder)
		h.named[which] = err == nil
	}
	return err
}
