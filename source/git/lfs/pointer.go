// Package lfs fetches the contents that a Git repository keeps outside of its
// objects, with Git LFS: it reads pointers, asks the LFS server where an object
// is, and downloads it in ranges, so that a cut costs what was under way and
// nothing more.
//
// How requests travel, and who gets credentials, is decided by the Remote,
// which source/git/wire implements; which files are pointers, and where their
// contents go, by source/git.
//
// Invariant: Download succeeds only when the size and the SHA-256 are those in
// the pointer, whatever the server, the storage behind it, or an earlier run
// left there.
//
// Formats: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md and
// docs/api/batch.md beside it.
package lfs

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/godwit-ota/godwit"
)

// PointerLimit is the size in bytes that every pointer is below.
const PointerLimit = 1024

// A Pointer stands in a repository for a content that is kept elsewhere.
type Pointer struct {
	OID  string // SHA-256 of the content, 64 lower-case hexadecimal digits
	Size int64  // of the content, in bytes
}

// Digest names the content.
func (p Pointer) Digest() godwit.Digest {
	sum, err := hex.DecodeString(p.OID)
	if err != nil {
		panic("lfs: Digest of an invalid Pointer")
	}
	return godwit.MakeDigest(godwit.SHA256, sum)
}

// ErrNotPointer is returned by ParsePointer for anything that is not one.
var ErrNotPointer = errors.New("not an LFS pointer")

const version = "version https://git-lfs.github.com/spec/v1"

// ParsePointer reads the content of a file that may be a pointer. It takes only
// what the specification allows: the version first, then keys in alphabetical
// order, each line ended by one newline, and an oid and a size among them.
// Extension lines ("ext-…") are refused: their content is not what the oid of
// the line "oid" names once it is checked out.
func ParsePointer(b []byte) (Pointer, error) {
	if len(b) == 0 || len(b) >= PointerLimit {
		return Pointer{}, ErrNotPointer
	}
	rest, ok := strings.CutPrefix(string(b), version+"\n")
	if !ok {
		return Pointer{}, ErrNotPointer
	}
	bad := func(why string) (Pointer, error) {
		return Pointer{}, fmt.Errorf("%w: %s", ErrNotPointer, why)
	}
	p := Pointer{Size: -1}
	last := ""
	for rest != "" {
		line, after, ok := strings.Cut(rest, "\n")
		if !ok {
			return bad("the last line does not end")
		}
		rest = after
		key, value, ok := strings.Cut(line, " ")
		if !ok || !isKey(key) || value == "" {
			return bad("a line that is not KEY VALUE")
		}
		if key <= last {
			return bad("keys that are not in order")
		}
		last = key
		switch {
		case key == "oid":
			sum, ok := strings.CutPrefix(value, "sha256:")
			if !ok || !isSHA256(sum) {
				return bad("an oid that is not a SHA-256")
			}
			p.OID = sum
		case key == "size":
			if p.Size, ok = parseSize(value); !ok {
				return bad("a size that is none")
			}
		case strings.HasPrefix(key, "ext-"):
			return bad("extensions are not supported")
		}
	}
	if p.OID == "" || p.Size < 0 {
		return bad("it lacks its oid or its size")
	}
	return p, nil
}

func isKey(s string) bool {
	for i := range len(s) {
		if c := s[i]; !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '.' || c == '-') {
			return false
		}
	}
	return s != ""
}

func isSHA256(s string) bool {
	for i := range len(s) {
		if c := s[i]; !('0' <= c && c <= '9' || 'a' <= c && c <= 'f') {
			return false
		}
	}
	return len(s) == 64
}

func parseSize(s string) (int64, bool) {
	if s == "" || len(s) > 18 || len(s) > 1 && s[0] == '0' {
		return 0, false
	}
	var n int64
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = 10*n + int64(s[i]-'0')
	}
	return n, true
}
