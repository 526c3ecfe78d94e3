package cli

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/godwit-ota/godwit"
)

// A draft is a file that gets its name when it is whole: until then nothing is
// at the name, or what was there before.
type draft struct {
	*os.File
	name string
}

// newDraft begins the file name, in its folder, which must be there.
func newDraft(name string, perm fs.FileMode) (*draft, error) {
	if info, err := os.Stat(name); err == nil && info.IsDir() {
		return nil, godwit.Fail(godwit.CodeUsage, nil, name+" is a folder", "name a file in it")
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".godwit-new-")
	if err != nil {
		return nil, writeError(err, name)
	}
	d := &draft{f, name}
	if err := f.Chmod(perm); err != nil {
		d.drop()
		return nil, writeError(err, name)
	}
	return d, nil
}

// keep gives the file its name, for good.
func (d *draft) keep() error {
	err := d.Sync()
	if err == nil {
		err = os.Rename(d.File.Name(), d.name)
	}
	if err == nil {
		err = settleFolder(filepath.Dir(d.name))
	}
	return writeError(err, d.name)
}

// drop leaves nothing behind, unless the file was kept.
func (d *draft) drop() {
	d.Close()
	os.Remove(d.File.Name())
}

// settleFolder makes the names in a folder last.
func settleFolder(name string) error {
	dir, err := os.Open(name)
	if err != nil {
		return err
	}
	err = dir.Sync()
	dir.Close()
	return err
}

// putFile writes a file at once.
func putFile(name string, b []byte) error {
	d, err := newDraft(name, 0o644)
	if err != nil {
		return err
	}
	defer d.drop()
	if _, err := d.Write(b); err != nil {
		return writeError(err, name)
	}
	return d.keep()
}

// writeError words what keeps name from being written.
func writeError(err error, name string) error {
	var ours *godwit.Error
	switch {
	case err == nil || errors.As(err, &ours):
		return err
	case errors.Is(err, fs.ErrNotExist):
		return godwit.Fail(godwit.CodeUsage, err, name+" cannot be written", "make the folder first, or name another one")
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return godwit.Fail(godwit.CodeReadOnly, err, name+" cannot be written", "write to a folder that you may write to")
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return godwit.Fail(godwit.CodeDiskFull, err, name+" cannot be written", "make room there; nothing was left behind")
	}
	return godwit.Fail(godwit.CodeIO, err, name+" cannot be written", "")
}
