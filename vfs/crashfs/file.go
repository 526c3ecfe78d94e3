package crashfs

import (
	"io"
	"io/fs"
	"syscall"

	"github.com/godwit-ota/godwit/vfs"
)

// A file is an open file.
type file struct {
	fs     *FS
	name   string
	n      *node
	ino    int
	off    int64
	write  bool
	closed bool
}

// Open implements vfs.FS.
func (f *FS) Open(name string, flag vfs.Flag) (vfs.File, error) {
	kind := Open
	if flag&vfs.Write != 0 {
		kind = Create
	}
	var h *file
	err := f.do(kind, name, "", func(op *Op) error {
		p, err := f.find(name)
		switch {
		case err != nil:
		case p.ino == 0 && flag&vfs.Write == 0:
			err = syscall.ENOENT
		case p.ino == 0:
			exec := flag&vfs.Exec != 0
			p.ino, err = f.create(p, &node{kind: vfs.Regular, exec: exec, diskExec: exec, own: true})
		case flag&vfs.Excl != 0 && flag&vfs.Write != 0:
			err = syscall.EEXIST
		case f.nodes[p.ino].kind == vfs.Dir:
			err = syscall.EISDIR
		case f.nodes[p.ino].kind != vfs.Regular:
			err = syscall.ELOOP
		default:
			op.Kind = Open
		}
		if err != nil {
			return pathError("open", name, err)
		}
		n := f.nodes[p.ino]
		n.open++
		h = &file{fs: f, name: name, n: n, ino: p.ino, write: flag&vfs.Write != 0}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return h, nil
}

func (h *file) Close() error {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if h.closed {
		return fs.ErrClosed
	}
	h.closed = true
	if h.n.open--; h.n.open == 0 && h.n.nlink == 0 {
		h.fs.used -= int64(len(h.n.data))
	}
	return nil
}

func (h *file) Size() (int64, error) {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if h.closed {
		return 0, fs.ErrClosed
	}
	return int64(len(h.n.data)), nil
}

func (h *file) do(kind Kind, fn func(*Op) error) error {
	return h.fs.do(kind, h.name, "", func(op *Op) error {
		err := error(fs.ErrClosed)
		if !h.closed {
			err = fn(op)
		}
		return pathError(kind.String(), h.name, err)
	})
}

func (h *file) ReadAt(b []byte, off int64) (n int, err error) {
	var end error
	err = h.do(Read, func(*Op) error {
		if off < 0 {
			return syscall.EINVAL
		}
		if off < int64(len(h.n.data)) {
			n = copy(b, h.n.data[off:])
		}
		if n < len(b) {
			end = io.EOF
		}
		return nil
	})
	if err == nil {
		err = end
	}
	return n, err
}

func (h *file) Read(b []byte) (int, error) {
	n, err := h.ReadAt(b, h.off)
	h.off += int64(n)
	if n > 0 && err == io.EOF || len(b) == 0 {
		err = nil
	}
	return n, err
}

func (h *file) WriteAt(b []byte, off int64) (n int, err error) {
	err = h.do(Write, func(op *Op) error {
		switch {
		case !h.write:
			return syscall.EBADF
		case off < 0:
			return syscall.EINVAL
		}
		short, fails := op.Err.(shortWrite)
		if fails {
			b = b[:len(b)/2]
		}
		if room := h.fs.room(off+int64(len(b))-int64(len(h.n.data)), len(b)); room < len(b) {
			b, fails, short.error = b[:room], true, syscall.ENOSPC
		}
		if len(b) > 0 {
			h.modify()
			end := off + int64(len(b))
			if grow := end - int64(len(h.n.data)); grow > 0 {
				h.grow(end)
			}
			n = copy(h.n.data[off:], b)
		}
		if fails {
			return short.error
		}
		return nil
	})
	return n, err
}

// room is how many of size bytes can be written when they make the file grow
// by grow.
func (f *FS) room(grow int64, size int) int {
	if f.fits(grow) {
		return size
	}
	lack := f.used + grow - f.opt.Capacity
	return int(max(int64(size)-lack, 0))
}

func (h *file) Write(b []byte) (int, error) {
	n, err := h.WriteAt(b, h.off)
	h.off += int64(n)
	return n, err
}

// modify prepares the content for a change: what is on the disk is kept apart.
func (h *file) modify() {
	n := h.n
	if !n.dirty {
		n.dirty, n.disk, n.low, n.own = true, n.data, len(n.data), false
	}
	if !n.own {
		n.data, n.own = append(make([]byte, 0, len(n.data)+64), n.data...), true
	}
}

func (h *file) grow(size int64) {
	h.fs.used += size - int64(len(h.n.data))
	h.n.data = append(h.n.data, make([]byte, size-int64(len(h.n.data)))...)
}

func (h *file) Truncate(size int64) error {
	return h.do(Truncate, func(*Op) error {
		if !h.write || size < 0 {
			return syscall.EINVAL
		}
		grow := size - int64(len(h.n.data))
		if grow == 0 {
			return nil
		}
		// Growing leaves a hole, which takes no space on most file systems; here
		// it does, as on FAT.
		if !h.fs.fits(grow) {
			return syscall.ENOSPC
		}
		h.modify()
		if grow > 0 {
			h.grow(size)
			return nil
		}
		h.fs.used += grow
		h.n.data = h.n.data[:size]
		h.n.low = min(h.n.low, int(size))
		return nil
	})
}

func (h *file) Sync() error {
	return h.do(FileSync, func(*Op) error {
		if h.fs.lie&LieFileSync == 0 {
			h.fs.syncNode(h.ino)
		}
		return nil
	})
}
