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

// A Tip is what a ref of a source names right now. Nothing in it is trusted.
type Tip struct {
	Ref    string // full name at the source, e.g. "refs/tags/v1.4.0"
	Commit string // id of the release: a commit in lower-case hexadecimal, or the SHA-256 of a manifest
	Tag    string // id of the annotated tag object, "" if the ref names the commit itself
	// Channel is the id of the channel's statement when Ref is a channel, "" when
	// it is a release. Commit is then what the host says that the channel leads
	// to, or "" if only the statement tells.
	Channel string
}

// A Release is one version of a tree, as far as it takes to judge it. Nothing
// in it is trusted until a gate made it Verified.
type Release struct {
	Tip
	Version   string // for people: the tag's or branch's name; a gate may know better
	Statement Statement
}

// Verified is a Release that a gate let through, with what its makers say of
// it.
type Verified struct {
	Release
	Policy  string    // the gate's policy: "none", "signed", "hmac"
	Signers []string  // who signed, where the policy asks for it
	Time    time.Time // when it was made; zero until Described if nobody signed
	Tree    string    // id of the Git tree that the statement vouches for, "" if it names none
	// Deletes are paths that go from a tree in place, whoever put them there.
	Deletes []string
	// PostUpdate and Undo are paths of programs within the release: one to run
	// after the switch to it, one when it is taken back.
	PostUpdate, Undo string
	// Memory is what a device that takes this release has to remember from then.
	Memory Memory
}

// ID names the release on a device: its commit's id, or its manifest's.
func (t Tip) ID() string { return t.Commit }

// Described is a Verified release with its listing.
type Described struct {
	Verified
	Listing Listing // all entries the source has, unfiltered
	// Offers are patches for files of the listing, and Trees patches for all that
	// changed since another release. Both are nil where the source has none. For
	// Fetch they are those that were chosen, and Installed is what is on the
	// device.
	Offers    Offers
	Trees     []Patch
	Installed Listing
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
