package agent

import (
	"errors"
	"io/fs"
	"path"
	"strings"

	"github.com/godwit-ota/godwit/vfs"
)

// A FileMark is a Mark in a file.
type FileMark struct {
	FS   vfs.FS
	Name string
}

// Get gives the line, "" where there is none or it cannot be read.
func (m FileMark) Get() string {
	b, _ := vfs.ReadFile(m.FS, m.Name, 1<<10)
	return strings.TrimSuffix(string(b), "\n")
}

// Set writes the line, durably and whole or not at all.
func (m FileMark) Set(s string) error {
	if err := vfs.MkdirAll(m.FS, path.Dir(m.Name)); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return vfs.WriteFile(m.FS, m.Name, []byte(s+"\n"))
}
