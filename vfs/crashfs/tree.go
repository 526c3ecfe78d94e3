package crashfs

import (
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/godwit-ota/godwit/vfs"
)

// A Tree is everything below a directory, by path: "f" and the content of a
// file, "x" and the content of an executable one, "l" and the target of a
// symbolic link, "d" for a directory.
type Tree map[string]string

// Dump reads what lies below the directory dir of any file system. A nil skip
// skips nothing; a directory for which it returns true is left out with all
// that is in it. On an FS of this package it counts as no operation.
func Dump(fsys vfs.FS, dir string, skip func(name string) bool) (Tree, error) {
	if f, ok := fsys.(*FS); ok {
		c := f.Clone()
		fsys = c
	}
	t := Tree{}
	return t, dump(fsys, dir, "", skip, t)
}

func dump(fsys vfs.FS, dir, rel string, skip func(string) bool, t Tree) error {
	var list []vfs.Info
	err := fsys.ReadDir(dir, func(i vfs.Info) error { list = append(list, i); return nil })
	if err != nil {
		return err
	}
	for _, i := range list {
		at, name := path.Join(dir, i.Name), path.Join(rel, i.Name)
		if skip != nil && skip(name) {
			continue
		}
		switch i.Type {
		case vfs.Regular:
			b, err := vfs.ReadFile(fsys, at, 1<<40)
			if err != nil {
				return err
			}
			kind := "f"
			if i.Exec {
				kind = "x"
			}
			t[name] = kind + string(b)
		case vfs.Link:
			target, err := fsys.Readlink(at)
			if err != nil {
				return err
			}
			t[name] = "l" + target
		case vfs.Dir:
			t[name] = "d"
			if err := dump(fsys, at, name, skip, t); err != nil {
				return err
			}
		default:
			t[name] = "?"
		}
	}
	return nil
}

// Load makes a tree below the directory dir, which must exist. Directories that
// are not named are made for the files in them. Nothing is synced.
func Load(fsys vfs.FS, dir string, t Tree) error {
	for _, name := range slices.Sorted(maps.Keys(t)) {
		at, what := path.Join(dir, name), t[name]
		if err := vfs.MkdirAll(fsys, path.Dir(at)); err != nil {
			return err
		}
		var err error
		switch what[0] {
		case 'd':
			err = vfs.MkdirAll(fsys, at)
		case 'l':
			err = fsys.Symlink(what[1:], at)
		case 'f', 'x':
			flag := vfs.Write | vfs.Excl
			if what[0] == 'x' {
				flag |= vfs.Exec
			}
			var f vfs.File
			if f, err = fsys.Open(at, flag); err == nil {
				_, err = f.Write([]byte(what[1:]))
				if e := f.Close(); err == nil {
					err = e
				}
			}
		default:
			err = &fs.PathError{Op: "load", Path: name, Err: fs.ErrInvalid}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Diff says in words how two trees differ, "" when they do not.
func Diff(got, want Tree) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(want)) {
		switch g, ok := got[name]; {
		case !ok:
			b.WriteString("missing " + name + "\n")
		case g != want[name]:
			b.WriteString(name + ": " + short(g) + ", want " + short(want[name]) + "\n")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(got)) {
		if _, ok := want[name]; !ok {
			b.WriteString("left over " + name + ": " + short(got[name]) + "\n")
		}
	}
	return b.String()
}

func short(s string) string {
	if len(s) > 40 {
		return s[:40] + "…"
	}
	return s
}
