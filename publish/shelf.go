package publish

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/delta"
	"github.com/godwit-ota/godwit/delta/diff"
	"github.com/godwit-ota/godwit/source/web"
)

// A shelf is the patches that lie in a folder, by what they say they are for.
type shelf map[label][]string

// A label is what the header of a patch says.
type label struct {
	from, to delta.Sum
	tier     delta.Tier
}

// shelf reads the headers of all patches in the folder.
func (f Folder) shelf() (shelf, error) {
	s := shelf{}
	err := filepath.WalkDir(filepath.Join(f.Dir, web.Patches), func(name string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		file, err := os.Open(name)
		if err != nil {
			return err
		}
		defer file.Close()
		if h, err := delta.ReadHeader(file); err == nil {
			l := label{h.OldSum, h.NewSum, h.Tier}
			s[l] = append(s[l], name)
		}
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return s, diskError(err)
}

// find gives a patch that turns old into body, which it was made to do.
func (s shelf) find(one pair, old, body []byte) (godwit.Patch, bool) {
	for _, name := range s[label{delta.Sum(one.from.Sum()), delta.Sum(one.to.Sum()), one.tier}] {
		b, err := os.ReadFile(name)
		if err != nil || filepath.Base(name) != diff.Sum(b).Hex() {
			continue
		}
		var out sheet
		if delta.Apply(make([]byte, one.tier.Memory()), bytes.NewReader(b), bytes.NewReader(old), int64(len(old)), &out) == nil && bytes.Equal(out.b, body) {
			return godwit.Patch{From: one.from, Sum: diff.Sum(b), Size: int64(len(b)), Memory: int64(one.tier.Memory())}, true
		}
	}
	return godwit.Patch{}, false
}

// A sheet is a content in memory.
type sheet struct{ b []byte }

func (s *sheet) Write(p []byte) (int, error) {
	s.b = append(s.b, p...)
	return len(p), nil
}

func (s *sheet) ReadAt(p []byte, off int64) (int, error) {
	if off > int64(len(s.b)) {
		return 0, io.EOF
	}
	n := copy(p, s.b[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}
