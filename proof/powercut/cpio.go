package main

import (
	"fmt"
	"io"
)

// archive writes a cpio archive in the format the kernel unpacks at boot, "newc":
// https://docs.kernel.org/driver-api/early-userspace/buffer-format.html
type archive struct {
	w   io.Writer
	ino int
	err error
}

const (
	modeDir  = 0o040755
	modeFile = 0o100644
	modeExec = 0o100755
	modeChar = 0o020600
)

// add appends a file, a directory (no content) or a character device (device
// number major, minor).
func (a *archive) add(name string, mode int, content []byte, device ...int) {
	if a.err != nil {
		return
	}
	device = append(device, 0, 0)
	a.ino++
	head := fmt.Sprintf("070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s\x00",
		a.ino, mode, 0, 0, 1, 0, len(content), 0, 0, device[0], device[1], len(name)+1, 0, name)
	for _, part := range [][]byte{[]byte(head), content} {
		pad := make([]byte, (4-len(part)%4)%4)
		if _, a.err = a.w.Write(append(part, pad...)); a.err != nil {
			return
		}
	}
}

// close ends the archive.
func (a *archive) close() error {
	a.add("TRAILER!!!", 0, nil)
	return a.err
}
