//go:build !tinygo

package store

import (
	"errors"
	"io/fs"
	"syscall"
)

// errNotDir is what a file system says of a path through something that is not
// a folder.
var errNotDir error = syscall.ENOTDIR

// isBusy reports that a folder cannot be removed because it is in use: not empty,
// or the place of a mount.
func isBusy(err error) bool { return errors.Is(err, syscall.EBUSY) || errors.Is(err, fs.ErrExist) }
