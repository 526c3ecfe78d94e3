package object

import (
	"bytes"
	"io"
	"strconv"

	"github.com/godwit-ota/godwit"
)

// MaxName is the longest name of a tree entry, in bytes. The longest that any
// common file system takes is 255 characters; Linux allows paths of 4096 bytes.
const MaxName = 4096

// A Mode is the mode of a tree entry, as Git writes it in octal.
type Mode uint32

// The modes that Git writes, and the kinds that older ones count as.
const (
	ModeFile       Mode = 0o100644 // also 100664 and other plain permissions of old repositories
	ModeExecutable Mode = 0o100755
	ModeSymlink    Mode = 0o120000
	ModeSubmodule  Mode = 0o160000
	ModeDir        Mode = 0o040000

	modeKind Mode = 0o170000
	modeFile Mode = 0o100000
)

// Normal maps legacy modes to the one that Git takes them for: for files only
// the owner's exec bit counts.
func (m Mode) Normal() Mode {
	switch m & modeKind {
	case modeFile:
		if m&0o100 != 0 {
			return ModeExecutable
		}
		return ModeFile
	case ModeDir, ModeSymlink, ModeSubmodule:
		return m & modeKind
	}
	return m
}

// A TreeEntry is one line of a tree.
type TreeEntry struct {
	Mode Mode   // as Normal gives it
	Name []byte // valid until the next call of Next
	ID   ID
}

// A TreeReader reads the entries of one tree in the order of the tree, which is
// the byte order of paths when a directory's name is taken with a slash behind.
// It refuses trees that git fsck would call dangerous: names that are empty,
// hold a slash, or are ".", ".." or ".git"; entries out of order or doubled.
type TreeReader struct {
	r      io.ByteReader
	format Format
	name   []byte // the last name
	dir    bool   // the last entry was a directory
	any    bool   // there was a last entry
	// files holds the lengths of prefixes of name that are files in this tree,
	// shortest first: a directory of the same name may come later ("a", "a.b", "a/").
	files []int
	next  []byte
	sum   [32]byte
}

// NewTreeReader reads from r, a whole tree without its header.
func NewTreeReader(r io.ByteReader, f Format) *TreeReader {
	t := new(TreeReader)
	t.Reset(r, f)
	return t
}

// Reset begins another tree and keeps the buffers.
func (t *TreeReader) Reset(r io.ByteReader, f Format) {
	t.r, t.format, t.any = r, f, false
	t.name, t.files = t.name[:0], t.files[:0]
}

func (t *TreeReader) byte() (byte, error) {
	c, err := t.r.ReadByte()
	if err == io.EOF {
		return 0, bad("a tree ends in the middle of an entry")
	}
	return c, err
}

// Next returns the next entry, or io.EOF behind the last one.
func (t *TreeReader) Next() (TreeEntry, error) {
	c, err := t.r.ReadByte()
	if err != nil {
		return TreeEntry{}, err
	}
	var mode Mode
	for digits := 0; c != ' '; digits++ {
		if c < '0' || c > '7' || digits == 6 {
			return TreeEntry{}, bad("a tree has an entry with a malformed mode")
		}
		mode = mode<<3 | Mode(c-'0')
		if c, err = t.byte(); err != nil {
			return TreeEntry{}, err
		}
	}
	t.next = t.next[:0]
	for {
		if c, err = t.byte(); err != nil {
			return TreeEntry{}, err
		}
		if c == 0 {
			break
		}
		if len(t.next) == MaxName {
			return TreeEntry{}, badName("a tree has a name of more than "+strconv.Itoa(MaxName)+" bytes", nil)
		}
		t.next = append(t.next, c)
	}
	sum := t.sum[:t.format.Size()]
	for i := range sum {
		if sum[i], err = t.byte(); err != nil {
			return TreeEntry{}, err
		}
	}
	e := TreeEntry{Mode: mode.Normal(), ID: MakeID(t.format, sum)}
	switch e.Mode {
	case ModeFile, ModeExecutable, ModeSymlink, ModeSubmodule, ModeDir:
	default:
		return TreeEntry{}, bad("a tree has an entry of mode " + strconv.FormatUint(uint64(mode), 8))
	}
	if err := checkName(t.next); err != nil {
		return TreeEntry{}, err
	}
	if err := t.checkOrder(e.Mode == ModeDir); err != nil {
		return TreeEntry{}, err
	}
	e.Name = t.name
	return e, nil
}

// checkOrder makes t.next the last entry if it may follow the one before.
func (t *TreeReader) checkOrder(dir bool) error {
	if t.any {
		switch c := compareNames(t.name, t.dir, t.next, dir); {
		case c > 0:
			return bad("the entries of a tree are not in order")
		case c == 0:
			return badName("a tree has two entries named ", t.next)
		}
	}
	for len(t.files) > 0 && !bytes.HasPrefix(t.next, t.name[:t.files[len(t.files)-1]]) {
		t.files = t.files[:len(t.files)-1]
	}
	if dir {
		for _, n := range t.files {
			if n == len(t.next) {
				return badName("a tree has two entries named ", t.next)
			}
		}
	} else {
		t.files = append(t.files, len(t.next))
	}
	t.name, t.next = t.next, t.name
	t.dir, t.any = dir, true
	return nil
}

// compareNames orders entries as Git does: a directory's name counts with a
// slash behind it.
func compareNames(a []byte, aDir bool, b []byte, bDir bool) int {
	n := min(len(a), len(b))
	if c := bytes.Compare(a[:n], b[:n]); c != 0 {
		return c
	}
	return int(after(a, n, aDir)) - int(after(b, n, bDir))
}

func after(name []byte, n int, dir bool) byte {
	if n < len(name) {
		return name[n]
	}
	if dir {
		return '/'
	}
	return 0
}

func checkName(name []byte) error {
	switch {
	case len(name) == 0:
		return badName("a tree has an entry without a name", nil)
	case bytes.IndexByte(name, '/') >= 0:
		return badName("a tree has a name with a slash in it: ", name)
	case string(name) == ".", string(name) == "..", bytes.EqualFold(name, dotGit):
		return badName("a tree has an entry named ", name)
	}
	return nil
}

var dotGit = []byte(".git")

func badName(text string, name []byte) error {
	if name != nil {
		text += strconv.Quote(string(name))
	}
	return godwit.Fail(godwit.CodeBadPath, nil, text,
		"such a tree cannot be installed, and git itself does not make one: look at who wrote this commit")
}

// Compare orders entries as trees have them. Entries that differ only in kind
// (a file and a directory of one name) differ.
func (e TreeEntry) Compare(other TreeEntry) int {
	return compareNames(e.Name, e.Mode == ModeDir, other.Name, other.Mode == ModeDir)
}
