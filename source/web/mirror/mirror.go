// Package mirror says what a published folder is to those who read releases
// from it: a place that gives files by name. Where the place is, on a web server
// (source/web/server) or on a disk (source/dir), and what the files mean
// (source/web) is left to others.
//
// Invariant: nothing that a mirror says is believed before it was hashed.
package mirror

import (
	"context"
	"io"
)

// A Mirror is one place that a published folder can be read from.
type Mirror interface {
	// Get asks for one file. The error says that the place cannot be reached or
	// does not make sense; that it does not have the file is an Answer.
	Get(ctx context.Context, r Request) (*Answer, error)
}

// A Request is for one file.
type Request struct {
	Path string // slash-separated, relative to the folder
	// Offset asks for the content from there on. A mirror that cannot do that
	// gives all of it. ETag, if known, is that of the content whose beginning is
	// here: if it changed, all of it comes.
	Offset int64
	ETag   string
	// IfNoneMatch is the ETag of a content that is here: the answer is NotModified
	// if it is still that one.
	IfNoneMatch string
}

// The statuses that mean something to those who read a folder, with the numbers
// of HTTP (RFC 9110). With others the mirror is of no use.
const (
	OK             = 200 // all of the content, or from Offset on
	Partial        = 206
	NotModified    = 304
	Forbidden      = 403 // of buckets that do not say what they have: not there
	NotFound       = 404
	Gone           = 410
	NotSatisfiable = 416 // there is nothing at the request's Offset
)

// An Answer is what a mirror says. Close its Body in any case.
type Answer struct {
	Status int
	Offset int64  // where in the content Body begins
	Size   int64  // of the whole content, -1 if unknown
	ETag   string // of the content, "" if it has none
	Body   io.ReadCloser
}
