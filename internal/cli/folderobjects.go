package cli

import (
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/delta"
)

// treeName is the new tree in the work folder of folderObjects.
const treeName = "tree"

// folderObjects are the contents of an old folder, and new ones in a folder for
// work.
type folderObjects struct {
	old  map[godwit.Digest]string // names of files
	work string
}

func (o *folderObjects) staged(d godwit.Digest) string { return filepath.Join(o.work, d.Hex()) }

// name is where a content is, "" if it is not here.
func (o *folderObjects) name(d godwit.Digest) string {
	if name, ok := o.old[d]; ok {
		return name
	}
	if _, err := os.Lstat(o.staged(d)); err == nil {
		return o.staged(d)
	}
	return ""
}

func (o *folderObjects) Has(d godwit.Digest) bool { return o.name(d) != "" }

func (o *folderObjects) Open(d godwit.Digest) (godwit.Object, error) {
	f, err := os.Open(o.name(d))
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	return sizedFile{f, info.Size()}, nil
}

func (o *folderObjects) Create(int64) (godwit.NewObject, error) {
	f, err := os.CreateTemp(o.work, "new-")
	return newFile{f, o}, err
}

type sizedFile struct {
	*os.File
	size int64
}

func (f sizedFile) Size() int64 { return f.size }

// A newFile is a content that is being written.
type newFile struct {
	*os.File
	o *folderObjects
}

func (f newFile) Commit(d godwit.Digest) error {
	err := f.Close()
	if err == nil {
		err = os.Rename(f.File.Name(), f.o.staged(d))
	}
	return err
}

func (f newFile) Abort() {
	f.Close()
	os.Remove(f.File.Name())
}

// build makes the new tree, durably. Names are those of a manifest: they cannot
// lead out of the folder, and neither can links that it names.
func (o *folderObjects) build(want []godwit.Entry) error {
	place := filepath.Join(o.work, treeName)
	if err := os.Mkdir(place, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(place)
	if err != nil {
		return err
	}
	defer root.Close()
	folders := map[string]bool{".": true}
	for _, e := range want {
		name := filepath.FromSlash(e.Path)
		for dir := path.Dir(e.Path); !folders[dir]; dir = path.Dir(dir) {
			folders[dir] = true
		}
		if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		if err := o.put(root, name, e); err != nil {
			return err
		}
	}
	for dir := range folders {
		f, err := root.Open(filepath.FromSlash(dir))
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

// put writes one file, and looks whether it is what the manifest says.
func (o *folderObjects) put(root *os.Root, name string, e godwit.Entry) error {
	from := o.name(e.Digest)
	if from == "" {
		return delta.ErrWrongOld // an old file that did not change is not here
	}
	if e.Mode == godwit.Symlink {
		target, err := os.ReadFile(from)
		if err == nil {
			err = root.Symlink(filepath.FromSlash(string(target)), name)
		}
		return err
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	perm := fs.FileMode(0o644)
	if e.Mode == godwit.Executable {
		perm = 0o755
	}
	out, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return err
	}
	defer out.Close()
	h := e.Digest.Algorithm.New(e.Size)
	if _, err := io.Copy(io.MultiWriter(out, h), in); err != nil {
		return err
	}
	if godwit.MakeDigest(e.Digest.Algorithm, h.Sum(nil)) != e.Digest {
		return delta.ErrWrongOld
	}
	return out.Sync()
}
