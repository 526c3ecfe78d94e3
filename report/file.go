package report

import (
	"bytes"
	"context"
	"io"
	"path"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/vfs"
)

// An appender adds a line for each report to a file, durably.
type appender struct {
	p     *place
	fs    vfs.FS
	name  string
	own   io.Closer // of fs, nil if it is not ours
	fresh bool      // the file's name may not be durable
}

func (p *place) openFile() (way, error) {
	a := &appender{p: p, fs: p.FS, name: path.Base(p.u.Path), fresh: true}
	if a.fs == nil {
		o, err := vfs.OS(path.Dir(p.u.Path))
		if err != nil {
			return nil, p.fail(godwit.CodeIO, err, "its folder cannot be opened", "make the folder, or check the address in section report")
		}
		a.fs, a.own = o, o
	}
	return a, nil
}

func (a *appender) close() {
	if a.own != nil {
		a.own.Close()
	}
}

func (a *appender) send(_ context.Context, body []byte) error {
	err := a.append(append(body[:len(body):len(body)], '\n'))
	if err == nil {
		return nil
	}
	code := godwit.CodeIO
	switch {
	case vfs.Full(err):
		code = godwit.CodeDiskFull
	case vfs.ReadOnly(err):
		code = godwit.CodeReadOnly
	}
	return a.p.fail(code, err, "it cannot be written", "check the disk; it is tried again")
}

func (a *appender) append(line []byte) error {
	f, err := a.fs.Open(a.name, vfs.Write)
	if err != nil {
		return err
	}
	size, err := f.Size()
	if err == nil && size > 0 && size+int64(len(line)) > a.p.MaxBytes {
		if err = a.keep(f); err == nil {
			size = 0
		}
	}
	if err == nil {
		size, err = whole(f, size)
	}
	if err == nil {
		_, err = f.WriteAt(line, size)
	}
	if err == nil {
		err = f.Truncate(size + int64(len(line)))
	}
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil && a.fresh {
		err = a.fs.SyncDir(".")
		a.fresh = err != nil
	}
	return err
}

// keep copies what is in a file to the one beside it. A rename would be less
// work, and on FAT a power cut could take both names.
func (a *appender) keep(f vfs.File) error {
	old, err := a.fs.Open(a.name+".1", vfs.Write)
	if err != nil {
		return err
	}
	if err = old.Truncate(0); err == nil {
		_, err = io.Copy(old, f)
	}
	if err == nil {
		err = old.Sync()
	}
	if e := old.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = a.fs.SyncDir(".")
	}
	return err
}

// whole gives the size of a file without a last line that was not written to its
// end: the power was cut, and that report is sent anew.
func whole(f vfs.File, size int64) (int64, error) {
	if size == 0 {
		return 0, nil
	}
	b := make([]byte, min(size, 8<<10))
	if _, err := f.ReadAt(b, size-int64(len(b))); err != nil && err != io.EOF {
		return 0, err
	}
	if i := bytes.LastIndexByte(b, '\n'); i >= 0 {
		return size - int64(len(b)) + int64(i) + 1, nil
	}
	if size == int64(len(b)) {
		return 0, nil // one line, and not whole
	}
	return size, nil // something that is not ours
}
