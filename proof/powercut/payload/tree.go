//go:build linux

package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"sort"
	"strconv"

	"github.com/godwit-ota/godwit"
)

// A file of a version. Everything about it follows from the version's number,
// so that after a cut the whole tree can be worked out again and compared.
type file struct {
	path    string
	mode    godwit.Mode
	content []byte
}

// lot draws a number that depends on nothing but its arguments.
func lot(of ...int) int {
	h := fnv.New64a()
	for _, n := range of {
		binary.Write(h, binary.LittleEndian, int64(n))
	}
	v := h.Sum64()
	v ^= v >> 29
	v *= 0xbf58476d1ce4e5b9
	v ^= v >> 32
	return int(v >> 2)
}

const treeFiles = 90

// tree gives version n, in ascending order of path: files that come and go,
// move, change size, mode and kind, and some that never change. Version 0 is
// nothing.
func tree(n int, links bool) []file {
	if n == 0 {
		return nil
	}
	var list []file
	for i := range treeFiles {
		age := n / (1 + i%6) // a file of a higher kind changes more rarely
		if lot(i, n/3, 1)%9 == 0 {
			continue
		}
		f := file{mode: godwit.File}
		if lot(i, n/4, 2)%4 == 0 {
			f.mode = godwit.Executable
		}
		seed, size := lot(i, age, 3), lot(i, age, 4)%4000
		switch {
		case i%13 == 5:
			size = 0
		case i%29 == 3:
			size = 30_000 + lot(i, age, 5)%40_000
		case i == 17:
			size = 250_000
		}
		switch i % 7 {
		case 0: // moves between folders
			f.path = fmt.Sprintf("d%d/moving%d", lot(i, n/2, 6)%4, i)
		case 1:
			f.path = fmt.Sprintf("top%d", i)
		case 2: // a file in one version, a folder in the next
			f.path = fmt.Sprintf("kind%d", i)
			if (n/2+i)%2 == 0 {
				f.path += "/in/side"
			}
		case 3:
			f.path = fmt.Sprintf("deep/a%d/b%d/c/d/e/file%d", i%3, lot(i, n/5)%2, i)
		case 4: // the same content at several paths
			f.path = fmt.Sprintf("same/copy%d", i)
			seed, size = lot(i%3, n/4, 7), 700
		case 5: // never changes
			f.path = fmt.Sprintf("still/file%d", i)
			seed, size = i, 1500
		case 6:
			f.path = fmt.Sprintf("a folder/näme %d", i)
			if links && i%2 == 0 {
				f.mode, seed, size = godwit.Symlink, 0, 0
				f.content = fmt.Appendf(nil, "../still/file%d", lot(i, age)%treeFiles)
			}
		}
		if f.content == nil {
			f.content = content(seed, size)
		}
		list = append(list, f)
	}
	sort.Slice(list, func(a, b int) bool { return list[a].path < list[b].path })
	return list
}

func content(seed, size int) []byte {
	b := make([]byte, (size+7)/8*8)
	r := rand.NewPCG(uint64(seed), uint64(size))
	for i := 0; i < len(b); i += 8 {
		binary.LittleEndian.PutUint64(b[i:], r.Uint64())
	}
	return b[:size]
}

// sick tells which versions fail their health check. The first must not: there
// is nothing to go back to.
func sick(n int) bool { return n > 1 && lot(n, 8)%4 == 0 }

// reboots tells which versions ask for a restart of the device.
func reboots(n int) bool { return lot(n, 9)%4 == 0 }

// id is the commit that stands for version n.
func id(n int) string { return fmt.Sprintf("%040x", n) }

func number(id string) (int, error) {
	n, err := strconv.ParseInt(id, 16, 64)
	return int(n), err
}

func (f file) entry() godwit.Entry {
	h := godwit.GitSHA1.New(int64(len(f.content)))
	h.Write(f.content)
	return godwit.Entry{Path: f.path, Mode: f.mode, Size: godwit.UnknownSize, Digest: godwit.MakeDigest(godwit.GitSHA1, h.Sum(nil))}
}

// difference says in a few words how the file differs from what was found.
func (f file) difference(mode godwit.Mode, found []byte, modes bool) string {
	switch {
	case f.mode == mode || !modes && f.mode != godwit.Symlink && mode != godwit.Symlink:
	default:
		return fmt.Sprintf("%s is a %v, not a %v", f.path, mode, f.mode)
	}
	if !bytes.Equal(f.content, found) {
		where := 0
		for where < min(len(found), len(f.content)) && found[where] == f.content[where] {
			where++
		}
		return fmt.Sprintf("%s: %d bytes, not %d, different from byte %d on", f.path, len(found), len(f.content), where)
	}
	return ""
}
