package web

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/godwit-ota/godwit/vfs"
)

// A spool keeps documents in the state folder, each under its SHA-256.
type spool struct {
	fsys   vfs.FS
	folder string
	files  map[string]vfs.File // open ones, which were hashed
}

const (
	newName       = "new"
	partialPrefix = "part-"
)

var (
	errNotSpooled = errors.New("not in the state folder")
	errTooLong    = errors.New("too long")
	errShort      = errors.New("too short")
)

func (p *spool) name(name string) string { return p.folder + "/" + name }

// open gives a document. A file that was torn by a power cut is not taken for
// one.
func (p *spool) open(sum string) (vfs.File, error) {
	if f, ok := p.files[sum]; ok {
		return f, nil
	}
	if !isSum(sum) {
		return nil, errNotSpooled
	}
	f, err := p.fsys.Open(p.name(sum), vfs.Read)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errNotSpooled
	}
	if err != nil {
		return nil, vfs.StateError(err)
	}
	h := sha256.New()
	size, err := f.Size()
	if err == nil {
		_, err = io.CopyBuffer(struct{ io.Writer }{h}, io.NewSectionReader(f, 0, size), make([]byte, bufferSize))
	}
	if err != nil || hex.EncodeToString(h.Sum(nil)) != sum {
		f.Close()
		p.fsys.Remove(p.name(sum))
		return nil, errNotSpooled
	}
	if p.files == nil {
		p.files = map[string]vfs.File{}
	}
	p.files[sum] = f
	return f, nil
}

// fill keeps what write writes, limit bytes at most, and returns its SHA-256.
func (p *spool) fill(limit int64, write func(*draft) error) (string, error) {
	if err := vfs.MkdirAll(p.fsys, p.folder); err != nil {
		return "", vfs.StateError(err)
	}
	if err := p.remove(newName); err != nil {
		return "", err
	}
	f, err := p.fsys.Open(p.name(newName), vfs.Write|vfs.Excl)
	if err != nil {
		return "", vfs.StateError(err)
	}
	d := &draft{ReaderAt: f, file: f, sum: sha256.New(), left: limit}
	err = write(d)
	if d.fault != nil {
		err = d.fault
	}
	if e := f.Close(); err == nil {
		err = vfs.StateError(e)
	}
	sum := hex.EncodeToString(d.sum.Sum(nil))
	if err == nil {
		p.shut(sum)
		err = vfs.StateError(p.fsys.Rename(p.name(newName), p.name(sum)))
	}
	if err != nil {
		p.fsys.Remove(p.name(newName))
		return "", err
	}
	return sum, nil
}

// A draft is a document that is being written.
type draft struct {
	io.ReaderAt
	file  io.Writer
	sum   hash.Hash
	left  int64 // bytes that it may still have
	fault error // why it cannot be written on: errTooLong, or one of the disk
}

func (d *draft) Write(b []byte) (int, error) {
	if int64(len(b)) > d.left && d.fault == nil {
		d.fault = errTooLong
	}
	if d.fault != nil {
		return 0, d.fault
	}
	n, err := d.file.Write(b)
	d.left -= int64(n)
	d.sum.Write(b[:n])
	d.fault = vfs.StateError(err)
	return n, err
}

// copy writes what r gives, size bytes if that is known.
func (d *draft) copy(r io.Reader, size int64, buf []byte) error {
	if size > d.left {
		return errTooLong
	}
	n, err := io.CopyBuffer(struct{ io.Writer }{d}, struct{ io.Reader }{r}, buf)
	if err == nil && size >= 0 && n != size {
		err = errShort
	}
	return err
}

func (p *spool) shut(sum string) {
	if f, ok := p.files[sum]; ok {
		f.Close()
		delete(p.files, sum)
	}
}

func (p *spool) close() {
	for sum := range p.files {
		p.shut(sum)
	}
}

func (p *spool) read(name string, max int64) ([]byte, error) {
	return vfs.ReadFile(p.fsys, p.name(name), max)
}

func (p *spool) write(name string, b []byte) error {
	if err := vfs.MkdirAll(p.fsys, p.folder); err != nil {
		return vfs.StateError(err)
	}
	return vfs.StateError(vfs.WriteFile(p.fsys, p.name(name), b))
}

func (p *spool) remove(name string) error {
	if err := p.fsys.Remove(p.name(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return vfs.StateError(err)
	}
	return nil
}

// drop removes a document and its signatures.
func (p *spool) drop(sum string) {
	p.shut(sum)
	p.remove(sum)
	p.remove(sum + Suffix)
}

// prune removes all documents but those to keep.
func (p *spool) prune(keep []string) error {
	var sums []string
	err := p.fsys.ReadDir(p.folder, func(i vfs.Info) error {
		if sum := strings.TrimSuffix(i.Name, Suffix); isSum(sum) && len(sums) < 1000 && !slices.Contains(keep, sum) {
			sums = append(sums, sum)
		}
		return nil
	})
	for _, sum := range sums {
		p.drop(sum)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return vfs.StateError(err)
}
