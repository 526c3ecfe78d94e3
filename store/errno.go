//go:build !tinygo

package store

import "syscall"

// errNotDir is what a file system says of a path through something that is not
// a folder.
var errNotDir error = syscall.ENOTDIR
