// Package dir reads a published folder from a disk: a USB stick, a network
// drive, a mounted card. What its files mean is source/web's business.
//
// Invariant: nothing outside the folder is read, whatever symbolic links lie in
// it.
package dir

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"strings"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/source/web/mirror"
	"github.com/godwit-ota/godwit/vfs"
)

// New returns the folder that fsys is the root of.
func New(fsys vfs.FS) mirror.Mirror { return folder{fsys} }

type folder struct{ fsys vfs.FS }

// Get implements mirror.Mirror. The ETag of a JSON file is its SHA-256, so that
// one that did not change is not copied anew.
func (d folder) Get(ctx context.Context, r mirror.Request) (*mirror.Answer, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	none := func(status int) *mirror.Answer {
		return &mirror.Answer{Status: status, Size: -1, Body: io.NopCloser(strings.NewReader(""))}
	}
	f, err := d.fsys.Open(r.Path, vfs.Read)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrInvalid), vfs.NameTooLong(err):
		return none(mirror.NotFound), nil
	case err != nil:
		return nil, unreadable(err)
	}
	size, err := f.Size()
	etag := ""
	if err == nil && strings.HasSuffix(r.Path, ".json") {
		h := sha256.New()
		_, err = io.CopyBuffer(struct{ io.Writer }{h}, io.NewSectionReader(f, 0, size), make([]byte, 16<<10))
		etag = hex.EncodeToString(h.Sum(nil))
	}
	if err != nil {
		f.Close()
		return nil, unreadable(err)
	}
	switch {
	case etag != "" && etag == r.IfNoneMatch:
		f.Close()
		return none(mirror.NotModified), nil
	case r.Offset > size:
		f.Close()
		return none(mirror.NotSatisfiable), nil
	}
	return &mirror.Answer{Status: mirror.OK, Offset: r.Offset, Size: size, ETag: etag, Body: body{io.NewSectionReader(f, r.Offset, size-r.Offset), f}}, nil
}

type body struct {
	io.Reader
	io.Closer
}

func unreadable(err error) error {
	return godwit.Fail(godwit.CodeNetwork, err, "the folder with the releases cannot be read", "is the stick or drive plugged in and mounted?")
}
