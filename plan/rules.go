package plan

import (
	"strconv"
	"strings"

	"github.com/godwit-ota/godwit"
)

// Rules say which part of a release belongs on this device.
//
// Every list holds exact files and folder prefixes, in which "lib/" and "lib"
// are the same and cover the file lib and everything below the folder lib.
type Rules struct {
	Allow    []string // what may be installed; empty means everything
	Ignore   []string // what may not; wins over Allow
	Delete   []string // in-place: files below these that the release lacks are removed, whoever put them there
	Shared   []string // slots: data that all versions share and that no release replaces
	Symlinks bool     // install symbolic links; they are refused otherwise
	Variant  string   // how the source makes files of a release, where it has a choice: "lfs", for example
}

// Covers reports whether path is one of list or lies below one of them.
func Covers(list []string, path string) bool {
	for _, p := range list {
		p = strings.TrimRight(p, "/")
		if path == p || len(path) > len(p) && path[len(p)] == '/' && path[:len(p)] == p {
			return true
		}
	}
	return false
}

// Permits reports whether Allow and Ignore let path be installed.
func (r Rules) Permits(path string) bool {
	return (len(r.Allow) == 0 || Covers(r.Allow, path)) && !Covers(r.Ignore, path)
}

// Check returns an error with CodeConfig for an entry that can never match or
// that points out of the tree.
func (r Rules) Check() error {
	for _, l := range []struct {
		name string
		list []string
	}{{"allow", r.Allow}, {"ignore", r.Ignore}, {"delete", r.Delete}, {"shared", r.Shared}} {
		for _, p := range l.list {
			if err := checkParts(strings.TrimRight(p, "/")); err != nil {
				return godwit.Fail(godwit.CodeConfig, err, l.name+" has the entry "+strconv.Quote(p),
					"write it as it stands in the repository, such as \"lib/\" or \"main.py\"")
			}
		}
	}
	return nil
}

// Fingerprint is a string that is equal for rules that install the same files
// of a release. The record keeps it, so that changed rules lead to an update
// although the release is the same.
func (r Rules) Fingerprint() string {
	h := godwit.SHA256.New(0)
	for _, list := range [][]string{r.Allow, r.Ignore, r.Delete, r.Shared} {
		for _, p := range list {
			h.Write([]byte(strings.TrimRight(p, "/")))
			h.Write([]byte{0})
		}
		h.Write([]byte{1})
	}
	if r.Symlinks {
		h.Write([]byte{2})
	}
	h.Write([]byte(r.Variant))
	return godwit.MakeDigest(godwit.SHA256, h.Sum(nil)).Hex()[:16]
}
