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

// listName is the file of a list of keys. A digest in text has a colon, which
// not every file system has.
func listName(digest string) string { return strings.Replace(digest, ":", "-", 1) }

// KeepList keeps the list of keys in o, which d names, durably. It stays as long
// as the memory names it. The error is CodeLimit for more than MaxList bytes.
func (s *Store) KeepList(d godwit.Digest, o godwit.Object) error {
	s.mustHold()
	if f, err := s.List(d.String()); err == nil {
		return f.Close()
	}
	if o.Size() > MaxList {
		return godwit.Fail(godwit.CodeLimit, nil, "a list of keys in the release has more than "+strconv.Itoa(MaxList)+" bytes", "shorten it")
	}
	b := make([]byte, o.Size())
	if n, err := o.ReadAt(b, 0); n < len(b) {
		return diskError(err, "a list of keys cannot be read")
	}
	return diskError(vfs.WriteFile(s.fs, s.state("list/"+listName(d.String())), b), "a list of keys cannot be kept")
}

// List opens the list of keys that KeepList kept under a digest in text. The
// error is CodeDamaged when it is gone or not what its digest says: then nobody
// can be believed.
func (s *Store) List(digest string) (io.ReadCloser, error) {
	d, err := godwit.ParseDigest(digest)
	var f vfs.File
	if err == nil {
		f, err = s.fs.Open(s.state("list/"+listName(digest)), vfs.Read)
	}
	if err == nil {
		var size int64
		if size, err = f.Size(); err == nil {
			h := d.Algorithm.New(size)
			_, err = io.CopyBuffer(struct{ io.Writer }{h}, io.NewSectionReader(f, 0, size), s.buffer())
			if err == nil && godwit.MakeDigest(d.Algorithm, h.Sum(nil)) != d {
				err = errors.New("its content is not what its name says")
			}
		}
		if err == nil {
			return &listReader{io.NewSectionReader(f, 0, size), f}, nil
		}
		f.Close()
	}
	return nil, godwit.Fail(godwit.CodeDamaged, err, "the list of keys that a release brought is damaged",
		"run godwit update --forget to begin anew with the keys of the configuration")
}

type listReader struct {
	io.Reader
	io.Closer
}
