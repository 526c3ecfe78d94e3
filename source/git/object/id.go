// Package object reads what Git stores: object ids, trees, commits, annotated
// tags, and packs, as a stream and in constant memory. Where the bytes come
// from is source/git/wire's business, where they go is the caller's.
//
// Everything here comes from outside and is checked as it passes: sizes and
// counts against limits before anything is allocated or written, structure
// against the formats, SHA-1 with detection of collision attacks.
//
// Invariant: an id that this package reports was computed over the very bytes
// that were handed out.
//
// Formats: gitformat-pack, gitformat-signature, git-mktag, and the object
// format of the Git book, chapter 10.2.
package object

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"strconv"

	"github.com/pjbgf/sha1cd"

	"github.com/godwit-ota/godwit"
)

// A Format is the hash that a repository names its objects with.
type Format uint8

// The formats, as `git init --object-format` knows them.
const (
	SHA1   Format = 1
	SHA256 Format = 2
)

// ParseFormat reads the name of the object-format capability: "sha1" or
// "sha256". The empty name means SHA-1, as for hosts that do not say.
func ParseFormat(name string) (Format, error) {
	switch name {
	case "", "sha1":
		return SHA1, nil
	case "sha256":
		return SHA256, nil
	}
	return 0, godwit.Fail(godwit.CodeProtocol, nil,
		"the repository names its objects with "+strconv.Quote(name)+", which this Godwit does not know", "update Godwit")
}

// String returns "sha1" or "sha256".
func (f Format) String() string {
	if f == SHA256 {
		return "sha256"
	}
	return "sha1"
}

// Size is the length of an id in bytes.
func (f Format) Size() int {
	if f == SHA256 {
		return sha256.Size
	}
	return sha1.Size
}

// Algorithm is the digest algorithm of blobs.
func (f Format) Algorithm() godwit.Algorithm {
	if f == SHA256 {
		return godwit.GitSHA256
	}
	return godwit.GitSHA1
}

// An ID names an object. It is comparable; the zero ID names nothing.
type ID struct {
	format Format
	sum    [sha256.Size]byte
}

// MakeID returns the id with the given sum of f.Size() bytes.
func MakeID(f Format, sum []byte) ID {
	if len(sum) != f.Size() {
		panic("object: a " + f.String() + " id of " + strconv.Itoa(len(sum)) + " bytes")
	}
	id := ID{format: f}
	copy(id.sum[:], sum)
	return id
}

// ParseID reads an id in hexadecimal, whose length tells the format. Upper-case
// digits are refused, as Git never writes them.
func ParseID(s string) (ID, error) {
	var id ID
	switch len(s) {
	case 2 * sha1.Size:
		id.format = SHA1
	case 2 * sha256.Size:
		id.format = SHA256
	default:
		return ID{}, bad("an object id has " + strconv.Itoa(len(s)) + " characters")
	}
	for i := range len(s) {
		if c := s[i]; c >= 'A' && c <= 'F' {
			return ID{}, bad("an object id is not lower-case hexadecimal")
		}
	}
	if _, err := hex.Decode(id.sum[:], []byte(s)); err != nil {
		return ID{}, bad("an object id is not hexadecimal")
	}
	return id, nil
}

// IDOf returns the id of the blob that d names. It is the zero ID if d is not a
// Git digest.
func IDOf(d godwit.Digest) ID {
	switch d.Algorithm {
	case godwit.GitSHA1:
		return MakeID(SHA1, d.Sum())
	case godwit.GitSHA256:
		return MakeID(SHA256, d.Sum())
	}
	return ID{}
}

// IsZero reports whether id is the zero ID.
func (id ID) IsZero() bool { return id.format == 0 }

// Format is the format of id.
func (id ID) Format() Format { return id.format }

// Sum returns the raw id.
func (id *ID) Sum() []byte { return id.sum[:id.format.Size()] }

// String returns id in lower-case hexadecimal.
func (id ID) String() string {
	if id.IsZero() {
		return ""
	}
	return hex.EncodeToString(id.Sum())
}

// Compare orders ids by their bytes.
func (id ID) Compare(other ID) int { return bytes.Compare(id.sum[:], other.sum[:]) }

// Blob is the digest of the content that id names, if id is a blob's.
func (id ID) Blob() godwit.Digest { return godwit.MakeDigest(id.format.Algorithm(), id.Sum()) }

// A Type is the kind of an object, with the numbers that packs use.
type Type uint8

// The types.
const (
	Commit Type = 1
	Tree   Type = 2
	Blob   Type = 3
	Tag    Type = 4
)

// String returns the name that is hashed with an object.
func (t Type) String() string {
	switch t {
	case Commit:
		return "commit"
	case Tree:
		return "tree"
	case Blob:
		return "blob"
	case Tag:
		return "tag"
	}
	return "unknown"
}

// A Hasher computes ids. It is reused from object to object.
type Hasher struct {
	format Format
	sum    hash.Hash
	buf    [64]byte
}

// NewHasher returns a Hasher for bytes from outside: SHA-1 is computed with
// collision detection.
func NewHasher(f Format) *Hasher {
	h := &Hasher{format: f}
	if f == SHA256 {
		h.sum = sha256.New()
	} else {
		h.sum = sha1cd.New()
	}
	return h
}

// Reset begins an object of exactly size bytes.
func (h *Hasher) Reset(t Type, size int64) {
	h.sum.Reset()
	b := append(h.buf[:0], t.String()...)
	b = append(b, ' ')
	b = strconv.AppendInt(b, size, 10)
	h.sum.Write(append(b, 0))
}

// Write adds content. It never fails.
func (h *Hasher) Write(p []byte) (int, error) { return h.sum.Write(p) }

// ID is the id of what was written since Reset. It fails with CodeBadObject if
// the content is a SHA-1 collision attack.
func (h *Hasher) ID() (ID, error) {
	sum := h.buf[:0]
	if c, ok := h.sum.(sha1cd.CollisionResistantHash); ok {
		var collision bool
		if sum, collision = c.CollisionResistantSum(sum); collision {
			return ID{}, godwit.Fail(godwit.CodeBadObject, nil,
				"an object was made to collide with another one (SHA-1 collision attack)",
				"do not use this repository; somebody prepared it to deceive")
		}
	} else {
		sum = h.sum.Sum(sum)
	}
	return MakeID(h.format, sum), nil
}

// bad is an error about malformed bytes.
func bad(text string) error {
	return godwit.Fail(godwit.CodeBadObject, nil, text,
		"try again; if it stays, the repository or the host is damaged: run git fsck on it")
}

// tooMuch is an error about bytes that are allowed by the format but not here.
func tooMuch(text string) error {
	return godwit.Fail(godwit.CodeLimit, nil, text, "raise the limits, if the repository is meant to be like this")
}
