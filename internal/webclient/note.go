package webclient

import (
	"bytes"
	"hash/crc32"
	"strconv"
	"strings"
)

// Notes keep a few small files between runs. Names are plain words without
// slashes. What was lost or damaged costs some more bytes the next time.
type Notes interface {
	// Load gives what was saved, and an error matching fs.ErrNotExist if
	// nothing was. Files longer than a few KiB need not be read.
	Load(name string) ([]byte, error)
	Save(name string, b []byte) error
}

const maxNote = 16 << 10

// A Note is a short text for Notes: a title with a format number, lines "KEY
// VALUE", and a last line "sum CRC32" over all before it. What does not read
// exactly so counts as absent.
type Note struct{ b bytes.Buffer }

// NewNote begins a note.
func NewNote(title string) *Note {
	n := &Note{}
	n.b.WriteString(title + "\n")
	return n
}

// Add adds a line. A key has no space; neither has a line end.
func (n *Note) Add(key, value string) { n.b.WriteString(key + " " + value + "\n") }

// Bytes ends the note.
func (n *Note) Bytes() []byte {
	sum := crc32.ChecksumIEEE(n.b.Bytes())
	n.b.WriteString("sum " + strconv.FormatUint(uint64(sum), 16) + "\n")
	return n.b.Bytes()
}

// ReadNote calls fn for each line of a sound note, and reports whether it was
// one.
func ReadNote(b []byte, title string, fn func(key, value string)) bool {
	if len(b) > maxNote {
		return false
	}
	at := bytes.LastIndex(b, []byte("\nsum ")) + 1
	if at == 0 {
		return false
	}
	body, tail := string(b[:at]), string(b[at:])
	if tail != "sum "+strconv.FormatUint(uint64(crc32.ChecksumIEEE(b[:at])), 16)+"\n" {
		return false
	}
	first, rest, _ := strings.Cut(body, "\n")
	if first != title {
		return false
	}
	for line := range strings.Lines(rest) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		fn(key, value)
	}
	return true
}
