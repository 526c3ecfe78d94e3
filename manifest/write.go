package manifest

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strconv"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/internal/jsontext"
)

// A File is an entry as it is written: with a checksum for devices that do not
// know SHA-256, if HasCRC32.
type File struct {
	godwit.Entry
	CRC32    uint32
	HasCRC32 bool
	Patches  []godwit.Patch // that lead to it
}

// A Writer writes a manifest, one file a line.
type Writer struct {
	w    *bufio.Writer
	head Head
	last string
	n    int
	o    object
	err  error
}

// NewWriter begins a manifest. Files and Signature of h do not count.
func NewWriter(w io.Writer, h Head) *Writer {
	mw := &Writer{w: bufio.NewWriterSize(w, 4096), head: h}
	o := &mw.o
	o.text("version", h.Version)
	o.time("generated_at", h.Generated)
	o.text("product", h.Product)
	if h.Sequence > 0 {
		o.member("sequence", strconv.FormatUint(h.Sequence, 10))
	}
	o.time("not_after", h.NotAfter)
	o.text("commit", h.Commit)
	o.text("tree", h.Tree)
	if len(h.Trees) > 0 {
		o.name("patches")
		o.b = appendPatches(o.b, h.Trees, "    ")
	}
	o.member("files", "[")
	mw.out()
	return mw
}

func (w *Writer) out() {
	if w.err == nil {
		_, w.err = w.w.Write(w.o.b)
	}
	w.o.b = w.o.b[:0]
}

// Add writes a file, whose digest must be a SHA-256. Files come in ascending
// byte order of path.
func (w *Writer) Add(f File) error {
	if w.err != nil {
		return w.err
	}
	if f.Path <= w.last || f.Digest.Algorithm != godwit.SHA256 {
		return errors.New("manifest: " + strconv.Quote(f.Path) + " is not in order, or has no SHA-256")
	}
	if err := CheckPath(f.Path); err != nil {
		return err
	}
	w.last = f.Path
	b := w.o.b
	if w.n > 0 {
		b = append(b, ',')
	}
	w.n++
	b = jsontext.Append(append(b, "\n    {\"path\": "...), f.Path)
	b = strconv.AppendInt(append(b, ", \"size\": "...), f.Size, 10)
	b = append(append(append(b, ", \"sha256\": \""...), f.Digest.Hex()...), '"')
	if f.HasCRC32 {
		b = strconv.AppendUint(append(b, ", \"crc32\": "...), uint64(f.CRC32), 10)
	}
	if f.Mode != godwit.File {
		b = append(append(append(b, ", \"mode\": \""...), f.Mode.String()...), '"')
	}
	if len(f.Patches) > 0 {
		b = appendPatches(append(b, `, "patches": `...), f.Patches, "      ")
	}
	w.o.b = append(b, '}')
	w.out()
	return w.err
}

// Close writes what follows the files. It does not close what the Writer writes
// to.
func (w *Writer) Close() error {
	o := &w.o
	if w.n > 0 {
		o.b = append(o.b, "\n  "...)
	}
	o.b = append(o.b, ']')
	o.list("deletes", w.head.Deletes)
	o.text("post_update", w.head.PostUpdate)
	o.text("rollback", w.head.Rollback)
	o.b = append(o.b, tail...)
	w.out()
	if w.err == nil {
		w.err = w.w.Flush()
	}
	return w.err
}

// tail is how documents end that this package writes.
const tail = "\n}\n"

// AddHMAC signs a document that a Writer or Channel.Append wrote: it is given
// back with its signature in it.
func AddHMAC(b, key []byte) ([]byte, error) {
	sum, err := HMAC(bytes.NewReader(b), int64(len(b)), key)
	if err != nil {
		return nil, err
	}
	o := object{n: 1}
	o.b = append(o.b, bytes.TrimSuffix(b, []byte(tail))...)
	o.text(signature, sum)
	return append(o.b, tail...), nil
}

// An object is a JSON object with a member a line, without its end. Members
// with zero values are left out.
type object struct {
	b []byte
	n int
}

func (o *object) name(name string) {
	if o.n++; o.n == 1 {
		o.b = append(o.b, '{')
	} else {
		o.b = append(o.b, ',')
	}
	o.b = append(jsontext.Append(append(o.b, "\n  "...), name), ": "...)
}

func (o *object) member(name, raw string) {
	o.name(name)
	o.b = append(o.b, raw...)
}

func (o *object) text(name, s string) {
	if s != "" {
		o.name(name)
		o.b = jsontext.Append(o.b, s)
	}
}

func (o *object) time(name string, t time.Time) {
	if !t.IsZero() {
		o.text(name, t.UTC().Format(time.RFC3339))
	}
}

func (o *object) list(name string, s []string) {
	if len(s) > 0 {
		o.name(name)
		o.b = jsontext.Append(o.b, s)
	}
}
