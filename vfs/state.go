package vfs

import (
	"errors"

	"github.com/godwit-ota/godwit"
)

// StateError words an error of the disk that the state folder lies on. What has
// a code already is left as it is.
func StateError(err error) error {
	var e *godwit.Error
	switch {
	case err == nil || errors.As(err, &e):
		return err
	case Full(err):
		return godwit.Fail(godwit.CodeDiskFull, err, "the disk is full", "free some space; the running version is untouched")
	case ReadOnly(err):
		return godwit.Fail(godwit.CodeReadOnly, err, "the state folder cannot be written", "mount its file system for writing")
	}
	return godwit.Fail(godwit.CodeIO, err, "the state folder cannot be used", "check the disk; the running version is untouched")
}

// MaxNote is how long a note may be, in bytes.
const MaxNote = 64 << 10

// Notes are small files in a folder of the state: what is good to know, and may
// be lost.
type Notes struct {
	FS     FS
	Folder string
}

// Load gives a note. The error is ErrNotExist (io/fs) if there is none.
func (n Notes) Load(name string) ([]byte, error) {
	return ReadFile(n.FS, n.Folder+"/"+name, MaxNote)
}

// Save makes b the note, durably. Where the folder is not there yet nothing is
// remembered.
func (n Notes) Save(name string, b []byte) error {
	if _, err := n.FS.Lstat(n.Folder); err != nil {
		return err
	}
	return WriteFile(n.FS, n.Folder+"/"+name, b)
}
