package vfs_test

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/godwit-ota/godwit/vfs"
)

func openOS(t *testing.T) (*vfs.OSFS, string) {
	t.Helper()
	dir := t.TempDir()
	o, err := vfs.OS(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { o.Close() })
	return o, dir
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, o vfs.FS, name, content string) {
	t.Helper()
	f, err := o.Open(name, vfs.Write)
	must(t, err)
	_, err = io.WriteString(f, content)
	must(t, err)
	must(t, f.Close())
}

// No name and no symbolic link leads out of the root.
func TestNothingLeavesTheRoot(t *testing.T) {
	o, dir := openOS(t)
	outside := t.TempDir()
	must(t, os.WriteFile(filepath.Join(outside, "secret"), []byte("s"), 0o644))
	must(t, os.Symlink(outside, filepath.Join(dir, "absolute")))
	up, err := filepath.Rel(dir, outside)
	must(t, err)
	must(t, os.Symlink(up, filepath.Join(dir, "relative")))
	must(t, os.Symlink(filepath.Join(outside, "secret"), filepath.Join(dir, "file")))
	write(t, o, "mine", "m")
	for _, name := range []string{"../" + filepath.Base(outside) + "/secret", outside + "/secret", "absolute/secret", "relative/secret", "file", "a/../../x", "", "/", "..", "a//b", "a/./b", "mine\x00"} {
		t.Run(name, func(t *testing.T) {
			try := map[string]error{}
			_, try["open"] = o.Open(name, vfs.Read)
			_, try["create"] = o.Open(name, vfs.Write)
			try["rename from"] = o.Rename(name, "stolen")
			if name == "file" { // the link itself may be renamed, removed and looked at: it lies in the root
				must(t, try["rename from"])
				must(t, o.Rename("stolen", "file"))
				delete(try, "rename from")
			} else {
				_, try["lstat"] = o.Lstat(name)
				_, try["readlink"] = o.Readlink(name)
				try["remove"] = o.Remove(name)
				try["mkdir"] = o.Mkdir(name)
				try["symlink"] = o.Symlink("x", name)
				try["rename to"] = o.Rename("mine", name)
				try["share to"] = o.Share("mine", name, false)
				try["readdir"] = o.ReadDir(name, func(vfs.Info) error { return nil })
				try["syncdir"] = o.SyncDir(name)
			}
			try["share from"] = o.Share(name, "stolen", false)
			try["setexec"] = o.SetExec(name, true)
			for op, err := range try {
				if err == nil {
					t.Errorf("%s of %q worked", op, name)
				}
			}
		})
	}
	if b, err := os.ReadFile(filepath.Join(outside, "secret")); err != nil || string(b) != "s" {
		t.Errorf("the file outside: %q %v", b, err)
	}
	list, _ := os.ReadDir(outside)
	if len(list) != 1 {
		t.Errorf("outside: %v", list)
	}
}

// The directories that stay open must not outlive what their names mean.
func TestDirectoriesThatChange(t *testing.T) {
	o, _ := openOS(t)
	must(t, vfs.MkdirAll(o, "a/b/c"))
	write(t, o, "a/b/c/f", "1")
	must(t, o.Rename("a", "z"))
	if _, err := o.Lstat("a/b/c/f"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after the rename: %v", err)
	}
	must(t, vfs.MkdirAll(o, "a/b/c"))
	write(t, o, "a/b/c/f", "2")
	if b, err := vfs.ReadFile(o, "a/b/c/f", 10); string(b) != "2" {
		t.Errorf("%q %v", b, err)
	}
	if b, err := vfs.ReadFile(o, "z/b/c/f", 10); string(b) != "1" {
		t.Errorf("%q %v", b, err)
	}
	must(t, vfs.RemoveAll(o, "a"))
	must(t, o.Rename("z", "a"))
	if b, err := vfs.ReadFile(o, "a/b/c/f", 10); string(b) != "1" {
		t.Errorf("%q %v", b, err)
	}
	must(t, vfs.RemoveAll(o, "a"))
	write(t, o, "a", "a file now")
	if _, err := o.Lstat("a/b"); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("below a file: %v", err)
	}
	for _, d := range strings.Split("d1 d2 d3 d4 d5 d6 d7 d8 d9 d10 d11 d12", " ") { // more than stay open
		must(t, o.Mkdir(d))
		write(t, o, d+"/f", d)
		must(t, o.Rename(d+"/f", d+"/g"))
	}
	for _, d := range []string{"d1", "d12", "d5"} {
		if b, err := vfs.ReadFile(o, d+"/g", 10); string(b) != d {
			t.Errorf("%q %v", b, err)
		}
	}
}

func TestRemoveAllOfALargeFolder(t *testing.T) {
	o, dir := openOS(t)
	must(t, vfs.MkdirAll(o, "big/sub"))
	for i := range 300 {
		write(t, o, "big/sub/"+strings.Repeat("x", i%200+1)+string(rune('a'+i/200)), "")
	}
	must(t, o.Symlink("/", "big/root"))
	must(t, vfs.RemoveAll(o, "big"))
	if list, _ := os.ReadDir(dir); len(list) != 0 {
		t.Error(list)
	}
	must(t, vfs.RemoveAll(o, "big"))
}

func TestWriteFileReplaces(t *testing.T) {
	o, _ := openOS(t)
	for _, want := range []string{"one", "", "three"} {
		must(t, vfs.WriteFile(o, "f", []byte(want)))
		if b, err := vfs.ReadFile(o, "f", 10); err != nil || string(b) != want {
			t.Errorf("%q %v", b, err)
		}
	}
	if _, err := vfs.ReadFile(o, "f", 2); err == nil {
		t.Error("a file over the limit was read")
	}
}

func TestLock(t *testing.T) {
	o, dir := openOS(t)
	unlock, err := o.Lock("lock")
	must(t, err)
	p, err := vfs.OS(dir)
	must(t, err)
	defer p.Close()
	if _, err := p.Lock("lock"); !errors.Is(err, vfs.ErrLocked) {
		t.Errorf("second lock: %v", err)
	}
	unlock()
	unlock, err = p.Lock("lock")
	must(t, err)
	unlock()
}

func TestExec(t *testing.T) {
	o, dir := openOS(t)
	write(t, o, "f", "x")
	for _, want := range []bool{true, false} {
		must(t, o.SetExec("f", want))
		i, err := o.Lstat("f")
		st, _ := os.Stat(filepath.Join(dir, "f"))
		if err != nil || i.Exec != want || (st.Mode()&0o100 != 0) != want {
			t.Errorf("%+v %v %v", i, st.Mode(), err)
		}
	}
	must(t, o.Mkdir("d"))
	tr, err := vfs.Probe(o, "d")
	must(t, err)
	if !tr.ExecBits || !tr.CaseSensitive || !tr.Symlinks || !tr.Links || !tr.AnyName {
		t.Logf("this file system is not like ext4: %+v", tr)
	}
	if list, _ := os.ReadDir(filepath.Join(dir, "d")); len(list) != 0 {
		t.Errorf("the probe left something: %v", list)
	}
}
