package godwit

import "io"

// A Form says how a Statement carries its signatures.
type Form uint8

// The forms.
const (
	NoStatement   Form = iota
	TagStatement       // a Git tag object; armored SSH signatures at its end
	FileStatement      // a JSON file; signatures beside it, or an HMAC within
)

// A Statement is what the makers of a release or of a channel signed: bytes that
// nobody has read any further than to find where they begin and end.
type Statement struct {
	Form       Form
	Body       io.ReaderAt // valid as long as its source is open
	Size       int64
	Signatures []byte // FileStatement: armored SSH signatures, one after the other; nil if there are none
}
