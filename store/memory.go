package store

import (
	"errors"
	"io"
	"strconv"
	"strings"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/vfs"
)

// Remember makes m the memory of this device, durably. Nothing is written when
// it is already.
func (s *Store) Remember(m godwit.Memory) error {
	s.mustHold()
	if err := s.refresh(); err != nil {
		return err
	}
	if m.Equal(s.rec.Memory) {
		return nil
	}
	r := s.rec
	r.Memory = m
	return s.writeRecord(r)
}

// MaxList is the largest list of keys that a release may bring, in bytes.
const MaxList = 256 << 10

// listNames are the files of a list of keys: two, since one bad bit would make
// the device trust nobody. A digest in text has a colon, which not every file
// system has.
func (s *Store) listNames(digest string) [2]string {
	n := s.state("list/" + strings.Replace(digest, ":", "-", 1))
	return [2]string{n, n + ".2"}
}

// KeepList keeps the list of keys in o, which d names, durably. It stays as long
// as the memory names it. The error is CodeLimit for more than MaxList bytes.
func (s *Store) KeepList(d godwit.Digest, o godwit.Object) error {
	s.mustHold()
	if o.Size() > MaxList {
		return godwit.Fail(godwit.CodeLimit, nil, "a list of keys in the release has more than "+strconv.Itoa(MaxList)+" bytes", "shorten it")
	}
	b := make([]byte, o.Size())
	if n, err := o.ReadAt(b, 0); n < len(b) {
		return diskError(err, "a list of keys cannot be read")
	}
	for _, name := range s.listNames(d.String()) {
		f, err := s.openList(d, name)
		if err == nil {
			f.Close()
		} else if err = vfs.WriteFile(s.fs, name, b); err != nil {
			return diskError(err, "a list of keys cannot be kept")
		}
	}
	return nil
}

// List opens the list of keys that KeepList kept under a digest in text. The
// error is CodeDamaged when it is gone or not what its digest says: then nobody
// can be believed.
func (s *Store) List(digest string) (io.ReadCloser, error) {
	d, err := godwit.ParseDigest(digest)
	if err == nil {
		for _, name := range s.listNames(digest) {
			var f io.ReadCloser
			if f, err = s.openList(d, name); err == nil {
				return f, nil
			}
		}
	}
	return nil, godwit.Fail(godwit.CodeDamaged, err, "the list of keys that a release brought is damaged",
		"run godwit update --forget to begin anew with the keys of the configuration")
}

// openList opens a file that has to be what d says.
func (s *Store) openList(d godwit.Digest, name string) (io.ReadCloser, error) {
	f, err := s.fs.Open(name, vfs.Read)
	if err != nil {
		return nil, err
	}
	size, err := f.Size()
	if err == nil {
		h := d.Algorithm.New(size)
		_, err = io.CopyBuffer(struct{ io.Writer }{h}, io.NewSectionReader(f, 0, size), s.buffer())
		if err == nil && godwit.MakeDigest(d.Algorithm, h.Sum(nil)) != d {
			err = errors.New("its content is not what its name says")
		}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return &listReader{io.NewSectionReader(f, 0, size), f}, nil
}

type listReader struct {
	io.Reader
	io.Closer
}
