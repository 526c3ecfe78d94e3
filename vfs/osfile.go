//go:build linux && !tinygo

package vfs

import (
	"io"
	"io/fs"

	"golang.org/x/sys/unix"
)

// An osFile is a file descriptor of a regular file. It has none of os.File's
// preparations for files that can block, which cost more than the reading and
// writing of a small file does.
type osFile struct {
	fd   int
	name string
}

func (f *osFile) check(op string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: f.name, Err: err}
}

// maxIO bounds one call: Linux transfers at most 2^31-4096 bytes at a time.
const maxIO = 1 << 30

// all makes calls until all of p went through it.
func (f *osFile) all(op string, p []byte, call func([]byte, int) (int, error)) (n int, err error) {
	for n < len(p) {
		k, err := call(p[n:min(len(p), n+maxIO)], n)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return n, f.check(op, err)
		}
		if k == 0 {
			return n, io.EOF
		}
		n += k
	}
	return n, nil
}

func (f *osFile) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		n, err := unix.Read(f.fd, p[:min(len(p), maxIO)])
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return 0, f.check("read", err)
		case n == 0:
			return 0, io.EOF
		}
		return n, nil
	}
}

func (f *osFile) ReadAt(p []byte, off int64) (int, error) {
	return f.all("read", p, func(p []byte, done int) (int, error) { return unix.Pread(f.fd, p, off+int64(done)) })
}

func (f *osFile) Write(p []byte) (int, error) {
	return f.wrote(f.all("write", p, func(p []byte, _ int) (int, error) { return unix.Write(f.fd, p) }))
}

func (f *osFile) WriteAt(p []byte, off int64) (int, error) {
	return f.wrote(f.all("write", p, func(p []byte, done int) (int, error) { return unix.Pwrite(f.fd, p, off+int64(done)) }))
}

func (f *osFile) wrote(n int, err error) (int, error) {
	if err == io.EOF {
		err = f.check("write", io.ErrShortWrite)
	}
	return n, err
}

func (f *osFile) Size() (int64, error) {
	var st unix.Stat_t
	err := ignoringEINTR(func() error { return unix.Fstat(f.fd, &st) })
	return st.Size, f.check("stat", err)
}

func (f *osFile) Truncate(size int64) error {
	return f.check("truncate", ignoringEINTR(func() error { return unix.Ftruncate(f.fd, size) }))
}

func (f *osFile) Sync() error {
	return f.check("fsync", ignoringEINTR(func() error { return unix.Fsync(f.fd) }))
}

func (f *osFile) Close() error {
	if f.fd < 0 {
		return f.check("close", fs.ErrClosed)
	}
	fd := f.fd
	f.fd = -1
	return f.check("close", unix.Close(fd))
}
