package vfs

import (
	"errors"
	"io/fs"
)

// Traits are the ways in which file systems differ that decide whether a tree
// can be installed on one, and how.
type Traits struct {
	ExecBits      bool // files are executable or not, one by one
	CaseSensitive bool // "A" and "a" are two names
	Links         bool // Share works
	Symlinks      bool // Symlink works
	AnyName       bool // every byte but '/' and NUL may stand in a name
}

// Probe finds out the traits of a file system by trying them in the directory
// dir, which must exist and be writable. It leaves nothing behind, and clears
// away what a probe that was cut short left.
func Probe(fsys FS, dir string) (Traits, error) {
	const a, b, c = "/probe-a", "/PROBE-A", "/probe-b"
	odd := dir + "/probe\\:*"
	clear := func() error {
		for _, n := range []string{dir + a, dir + b, dir + c} {
			if err := fsys.Remove(n); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		fsys.Remove(odd) // a name that cannot exist fails in many ways
		return nil
	}
	if err := clear(); err != nil {
		return Traits{}, err
	}
	var t Traits
	touch := func(name string, flag Flag) error {
		f, err := fsys.Open(name, Write|Excl|flag)
		if err != nil {
			return err
		}
		return f.Close()
	}
	if err := touch(dir+a, 0); err != nil {
		return t, err
	}
	plain, err := fsys.Lstat(dir + a)
	if err != nil {
		return t, err
	}
	_, err = fsys.Lstat(dir + b)
	t.CaseSensitive = errors.Is(err, fs.ErrNotExist)
	switch err := fsys.Share(dir+a, dir+c, false); {
	case err == nil:
		t.Links = true
		if err := fsys.Remove(dir + c); err != nil {
			return t, err
		}
	case !errors.Is(err, ErrUnsupported):
		return t, err
	}
	if err := touch(dir+c, Exec); err != nil {
		return t, err
	}
	exec, err := fsys.Lstat(dir + c)
	if err != nil {
		return t, err
	}
	t.ExecBits = exec.Exec && !plain.Exec
	if err := fsys.Remove(dir + c); err != nil {
		return t, err
	}
	t.Symlinks = fsys.Symlink("probe-a", dir+c) == nil
	t.AnyName = touch(odd, 0) == nil
	return t, clear()
}
