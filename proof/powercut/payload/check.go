//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/store"
)

// treeDir is the folder that an application would look at.
func (d *device) treeDir() string {
	if d.layout == store.InPlace {
		return d.dir
	}
	return filepath.Join(d.dir, store.Current)
}

var remnant = regexp.MustCompile(`^[^a-z]{1,6}~[0-9]+(\.[^a-z]{0,3})?$`)

const foreignName, foreignText = "beside/foreign", "not Godwit's business"

// check compares all that an application can see with version n, without
// asking the store.
func (d *device) check(n int) error {
	if r := d.store.Record(); !r.Running.IsZero() && !r.Settled {
		return errors.New("the record says that the tree is not settled")
	}
	want := map[string]file{}
	for _, f := range tree(n, d.links) {
		want[f.path] = f
	}
	top := d.treeDir()
	if d.layout == store.Slots {
		target, err := os.Readlink(top)
		if n == 0 && errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if w := d.store.Tree(d.store.Record().Running); target != w {
			return fmt.Errorf("current leads to %s, and the record names %s", target, w)
		}
		top = filepath.Join(d.dir, target)
	}
	folders := map[string]bool{}
	err := filepath.WalkDir(top, func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == top {
			return err
		}
		name, err := filepath.Rel(top, path)
		if err != nil {
			return err
		}
		switch first, _, _ := strings.Cut(name, "/"); {
		case !d.modes && remnant.MatchString(e.Name()):
			// FAT keeps a long name in other sectors than the file's entry. When a
			// cut loses them, the file is left with its short name, and nobody
			// can know whose it was.
			if e.IsDir() {
				return fs.SkipDir
			}
			return nil
		case d.layout == store.InPlace && (first == ".godwit" || first == "beside" || name == store.VersionFile), name == "lost+found":
			if e.IsDir() {
				return fs.SkipDir
			}
			return nil
		case e.IsDir():
			folders[name] = true
			return nil
		}
		f, ok := want[name]
		if !ok {
			return fmt.Errorf("%s does not belong there", name)
		}
		delete(want, name)
		for dir := filepath.Dir(name); dir != "."; dir = filepath.Dir(dir) {
			delete(folders, dir)
		}
		mode, found, err := read(path, e)
		if err != nil {
			return err
		}
		if diff := f.difference(mode, found, d.modes); diff != "" {
			return errors.New(diff)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for name := range want {
		return fmt.Errorf("%s is missing, and %d more", name, len(want)-1)
	}
	for name := range folders {
		return fmt.Errorf("the folder %s has no files and should not be there", name)
	}
	if n == 0 {
		return nil
	}
	b, err := os.ReadFile(filepath.Join(d.dir, store.VersionFile))
	if err != nil {
		return err
	}
	var v struct{ Commit string }
	if err := json.Unmarshal(b, &v); err != nil || v.Commit != id(n) {
		return fmt.Errorf("%s says %q: %v", store.VersionFile, b, err)
	}
	return nil
}

func read(path string, e fs.DirEntry) (godwit.Mode, []byte, error) {
	if e.Type()&fs.ModeSymlink != 0 {
		target, err := os.Readlink(path)
		return godwit.Symlink, []byte(target), err
	}
	i, err := e.Info()
	if err != nil {
		return 0, nil, err
	}
	mode := godwit.File
	if i.Mode()&0o111 != 0 {
		mode = godwit.Executable
	}
	b, err := os.ReadFile(path)
	return mode, b, err
}

// foreign puts a file that is not Godwit's beside the tree, durably, before the
// first version, and expects it to be there unchanged ever after.
func (d *device) foreign(n int) error {
	name := filepath.Join(d.dir, foreignName)
	b, err := os.ReadFile(name)
	if err == nil && bytes.Equal(b, []byte(foreignText)) {
		return nil
	}
	if n > 0 || len(d.store.Record().Rejected) > 0 {
		return fmt.Errorf("the file beside the tree is %q: %v", b, err)
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(name, []byte(foreignText), 0o644); err != nil {
		return err
	}
	for _, n := range []string{name, filepath.Dir(name), d.dir} {
		f, err := os.Open(n)
		if err != nil {
			return err
		}
		err = f.Sync()
		f.Close()
		if err != nil {
			return err
		}
	}
	return nil
}
