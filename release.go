package godwit

import (
	"io"
	"iter"
	"time"
)

// A Mode says what kind of thing an Entry is.
type Mode uint8

// The modes, with the numbers that listings on disk use.
const (
	File       Mode = 1 // a regular file
	Executable Mode = 2 // a regular file with the exec bits set
	Symlink    Mode = 3 // a symbolic link; the content is its target
)

// String returns "file", "exec" or "link".
func (m Mode) String() string {
	switch m {
	case File:
		return "file"
	case Executable:
		return "exec"
	case Symlink:
		return "link"
	}
	return "unknown"
}

// UnknownSize is the Size of an Entry whose source does not tell it: Git trees
// carry no sizes.
const UnknownSize = -1

// An Entry is one file of a tree. Directories have no entries: they exist
// because of the files in them.
type Entry struct {
	Path   string // slash-separated, relative, never empty
	Mode   Mode
	Digest Digest
	Size   int64 // bytes, or UnknownSize
}

// A Listing is every entry of a tree in strictly ascending byte order of Path.
// It may be ranged over any number of times, also by several at once. After a
// non-nil error the sequence ends.
type Listing iter.Seq2[Entry, error]

// A Tip is what a ref of a source names right now.
type Tip struct {
	Ref    string // full name at the source, e.g. "refs/tags/v1.4.0"
	Commit string // id of the commit, in lower-case hexadecimal
	Tag    string // id of the annotated tag object, "" if the ref names the commit itself
}

// A Release is one version of a tree as its source describes it. Nothing in it
// is trusted until a gate made it Verified.
type Release struct {
	Tip
	Version string    // for people: the tag's or branch's name
	Time    time.Time // the commit's time, or the tag's
	TagBody []byte    // the annotated tag object as stored, what a signature covers; nil without one
	Listing Listing   // all entries the source has, unfiltered
}

// ID names the release on a device: the commit's id.
func (r Release) ID() string { return r.Commit }

// Verified is a Release that a gate let through, and what vouched for it.
type Verified struct {
	Release
	Policy  string   // the gate's policy: "none", "signed", "hmac"
	Signers []string // who signed, where the policy asks for it
}

// An Object is the content of one file on this device.
type Object interface {
	io.ReaderAt
	io.Closer
	Size() int64
}

// A NewObject receives the content of one file. Write it whole, then call
// Commit with the digest that was computed over what was written; Abort, or a
// crash before Commit, leaves nothing behind that anyone will use.
type NewObject interface {
	io.Writer
	io.ReaderAt // what was written so far
	Commit(d Digest) error
	Abort()
}

// Objects is what a source sees of the device while it fetches: the contents
// that are already here, and the place where new ones go.
type Objects interface {
	// Has reports whether the content named d is here, checked against d.
	Has(d Digest) bool
	// Open gives the content named d, from the stage or from an installed tree.
	// What was installed is hashed before it is given, so it may serve as the
	// base of a delta. The error is ErrNotExist (io/fs) when it is not here or
	// no longer what its digest says.
	Open(d Digest) (Object, error)
	// Create begins a new object of exactly size bytes. It fails with
	// CodeDiskFull, before anything is written, when the space is not there.
	Create(size int64) (NewObject, error)
}
