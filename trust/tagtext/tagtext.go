// Package tagtext reads annotated Git tags (git-mktag(1)): where their signatures
// begin, what they name, and the trailers of their messages
// (git-interpret-trailers(1)). Devices, authors and publishers read them here, so
// that all mean the same by a tag. Whether to believe one is package trust's
// business.
//
// Invariant: what can be read in two ways is refused: a trailer that is there
// twice, one without a value, a header that is not known.
package tagtext

import (
	"bytes"
	"strconv"
	"strings"
	"time"

	"github.com/godwit-ota/godwit"
)

// What begins a signature in a tag object (git-tag, gpg.format).
const (
	sshBegin = "-----BEGIN SSH SIGNATURE-----"
	pgpBegin = "-----BEGIN PGP "
	cmsBegin = "-----BEGIN SIGNED MESSAGE-----"
)

// Split finds where the signatures begin in a tag object. What is before is
// its text, which they cover.
func Split(b []byte) (text, signatures []byte) {
	for at := 0; at < len(b); {
		if bytes.HasPrefix(b[at:], []byte(sshBegin)) {
			return b[:at], b[at:]
		}
		end := bytes.IndexByte(b[at:], '\n')
		if end < 0 {
			break
		}
		at += end + 1
	}
	return b, nil
}

// OtherSignature names the kind of a signature that is not checked here.
func OtherSignature(text []byte) string {
	for begin, kind := range map[string]string{pgpBegin: "OpenPGP", cmsBegin: "X.509"} {
		if bytes.Contains(text, []byte("\n"+begin)) {
			return kind
		}
	}
	return ""
}

// A Tag is the text of an annotated tag.
type Tag struct {
	Object, Kind string // what it names: an id in hexadecimal, and usually "commit"
	Name         string
	Tagger       string // name and address of who made it
	Time         time.Time
	Subject      string // the first line of its message

	trailers map[string][]string // by key in lower case, those that mean something
}

// Bad is the error for a tag that makes no sense: "the signed tag TEXT", with
// CodeBadStatement.
func Bad(text string) error {
	return godwit.Fail(godwit.CodeBadStatement, nil, "the signed tag "+text, "make it again with godwit tag or godwit channel")
}

// Parse reads the text of a tag, which is what Split gives. The errors have
// CodeBadStatement.
func Parse(text []byte) (*Tag, error) {
	if bytes.IndexByte(text, 0) >= 0 {
		return nil, Bad("has a NUL byte in it")
	}
	t := &Tag{}
	rest := string(text)
	var tagger string
	for _, f := range []struct {
		key string
		to  *string
	}{{"object", &t.Object}, {"type", &t.Kind}, {"tag", &t.Name}, {"tagger", &tagger}} {
		line, after, ok := strings.Cut(rest, "\n")
		value, has := strings.CutPrefix(line, f.key+" ")
		if !ok || !has || value == "" {
			return nil, Bad("has no " + f.key + " where it belongs")
		}
		*f.to, rest = value, after
	}
	message, ok := strings.CutPrefix(rest, "\n")
	if !ok {
		return nil, Bad("has a header that is not known")
	}
	// "NAME <EMAIL> SECONDS ZONE"
	if i := strings.LastIndexByte(tagger, '>'); i >= 0 {
		t.Tagger = tagger[:i+1]
		seconds, _, _ := strings.Cut(strings.TrimPrefix(tagger[i+1:], " "), " ")
		if n, err := strconv.ParseInt(seconds, 10, 64); err == nil && n > 0 && n < 1<<40 {
			t.Time = time.Unix(n, 0).UTC()
		}
	}
	if t.Time.IsZero() {
		return nil, Bad(strconv.Quote(t.Name) + " does not say when it was made")
	}
	t.Subject, _, _ = strings.Cut(message, "\n")
	var err error
	t.trailers, err = readTrailers(message)
	return t, err
}

// The trailers that mean something. "Wave" alone may be there more than once.
var trailerKeys = []string{"Product", "Tree", "Not-After", "Sequence", "Release", "Rollout", "Wave", "Window", "Floor", "Floor-Commit", "Rollback-To", "Halt", "Previous"}

// readTrailers reads the trailers of a message: the lines "KEY: VALUE" of its
// last paragraph, in which a line that begins with a space goes on with the one
// before (git-interpret-trailers). Keys that mean nothing here are left out.
func readTrailers(message string) (map[string][]string, error) {
	message = strings.TrimRight(message, "\n")
	if i := strings.LastIndex(message, "\n\n"); i >= 0 {
		message = message[i+2:]
	}
	trailers := map[string][]string{}
	last := ""
	for line := range strings.SplitSeq(message, "\n") {
		if line != "" && (line[0] == ' ' || line[0] == '\t') {
			if v := trailers[last]; last != "" {
				v[len(v)-1] += " " + strings.TrimSpace(line)
			}
			continue
		}
		last = ""
		key, value, ok := strings.Cut(line, ":")
		if !ok {
			continue
		}
		for _, k := range trailerKeys {
			if strings.EqualFold(strings.TrimSpace(key), k) {
				last = strings.ToLower(k)
				if len(trailers[last]) > 0 && k != "Wave" {
					return nil, Bad("has the trailer " + k + " twice")
				}
				trailers[last] = append(trailers[last], strings.TrimSpace(value))
			}
		}
	}
	for k, values := range trailers {
		for _, v := range values {
			if v == "" {
				return nil, Bad("has the trailer " + k + " without a value")
			}
		}
	}
	return trailers, nil
}

// Get gives the value of a trailer, "" if it is not there or means nothing to
// Godwit.
func (t *Tag) Get(key string) string {
	if v := t.All(key); len(v) > 0 {
		return v[0]
	}
	return ""
}

// All gives the values of a trailer that may be there several times: "Wave".
func (t *Tag) All(key string) []string { return t.trailers[strings.ToLower(key)] }

// When gives a trailer that is a time of RFC 3339, zero if it is not there.
func (t *Tag) When(key string) (time.Time, error) {
	v := t.Get(key)
	if v == "" {
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339, v)
	if err != nil {
		return at, Bad(strconv.Quote(t.Name) + " has the trailer " + key + ": " + v + ", which is no time like 2027-01-31T00:00:00Z")
	}
	return at.UTC(), nil
}
