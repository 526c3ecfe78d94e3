//go:build tinygo

package store

import "io/fs"

var errNotDir = fs.ErrNotExist
