//go:build tinygo

package store

import (
	"errors"
	"io/fs"
)

var errNotDir = fs.ErrNotExist

func isBusy(err error) bool { return errors.Is(err, fs.ErrExist) }
