//go:build linux

package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/godwit-ota/godwit/vfs"
)

// damaged gives the file system with damage planted, by which the proof shows
// that it would find it.
func damaged(damage, dir string, fsys vfs.FS) (vfs.FS, error) {
	switch damage {
	case "sound":
		return fsys, nil
	case "nosync":
		return noSync{noSyncFS{fsys}}, nil
	case "nosyncfs":
		return noSyncFS{fsys}, nil
	case "halfsync":
		top, err := os.Open(dir)
		return halfSync{fsys, top}, err
	}
	return nil, fmt.Errorf("no such damage: %s", damage)
}

// noSyncFS is a file system whose Sync does nothing.
type noSyncFS struct{ vfs.FS }

func (noSyncFS) Sync() error { return nil }

// noSync is one whose other sync calls do nothing.
type noSync struct{ vfs.FS }

func (noSync) SyncDir(string) error { return nil }

func (n noSync) Open(name string, flag vfs.Flag) (vfs.File, error) {
	f, err := n.FS.Open(name, flag)
	return noSyncFile{f}, err
}

type noSyncFile struct{ vfs.File }

func (noSyncFile) Sync() error { return nil }

// halfSync is one whose Sync is syncfs(2) alone, which on FAT leaves the bytes
// in the disk's cache.
type halfSync struct {
	vfs.FS
	top *os.File
}

func (h halfSync) Sync() error { return unix.Syncfs(int(h.top.Fd())) }
