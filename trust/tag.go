package trust

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

// splitTag finds where the signatures begin in a tag object. What is before is
// its text, which they cover.
func splitTag(b []byte) (text, signatures []byte) {
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

// otherSignature names the kind of a signature that is not checked here.
func otherSignature(text []byte) string {
	for begin, kind := range map[string]string{pgpBegin: "OpenPGP", cmsBegin: "X.509"} {
		if bytes.Contains(text, []byte("\n"+begin)) {
			return kind
		}
	}
	return ""
}

// A tagObject is the text of an annotated tag (git-mktag).
type tagObject struct {
	object, kind, name string
	tagged             time.Time
	trailers           map[string][]string // by key in lower case, those that mean something here
}

func badTag(text string) error {
	return godwit.Fail(godwit.CodeBadStatement, nil, "the signed tag "+text, "make it again with godwit tag or godwit channel")
}

// parseTag reads the text of a tag whose signature was found good.
func parseTag(text []byte) (*tagObject, error) {
	if bytes.IndexByte(text, 0) >= 0 {
		return nil, badTag("has a NUL byte in it")
	}
	t := &tagObject{}
	rest := string(text)
	var tagger string
	for _, f := range []struct {
		key string
		to  *string
	}{{"object", &t.object}, {"type", &t.kind}, {"tag", &t.name}, {"tagger", &tagger}} {
		line, after, ok := strings.Cut(rest, "\n")
		value, has := strings.CutPrefix(line, f.key+" ")
		if !ok || !has || value == "" {
			return nil, badTag("has no " + f.key + " where it belongs")
		}
		*f.to, rest = value, after
	}
	message, ok := strings.CutPrefix(rest, "\n")
	if !ok {
		return nil, badTag("has a header that is not known")
	}
	// "NAME <EMAIL> SECONDS ZONE"
	if i := strings.LastIndexByte(tagger, '>'); i >= 0 {
		seconds, _, _ := strings.Cut(strings.TrimPrefix(tagger[i+1:], " "), " ")
		if n, err := strconv.ParseInt(seconds, 10, 64); err == nil && n > 0 && n < 1<<40 {
			t.tagged = time.Unix(n, 0).UTC()
		}
	}
	if t.tagged.IsZero() {
		return nil, badTag(strconv.Quote(t.name) + " does not say when it was made")
	}
	var err error
	t.trailers, err = readTrailers(message)
	return t, err
}

// The trailers that mean something. "Wave" alone may be there more than once.
var trailerKeys = []string{"Product", "Tree", "Not-After", "Sequence", "Release", "Rollout", "Wave", "Window", "Floor", "Floor-Commit", "Rollback-To", "Halt"}

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
					return nil, badTag("has the trailer " + k + " twice")
				}
				trailers[last] = append(trailers[last], strings.TrimSpace(value))
			}
		}
	}
	for k, values := range trailers {
		for _, v := range values {
			if v == "" {
				return nil, badTag("has the trailer " + k + " without a value")
			}
		}
	}
	return trailers, nil
}

// trailer gives the one value of a key, "" if it is not there.
func (t *tagObject) trailer(key string) string {
	if v := t.trailers[strings.ToLower(key)]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// time gives a trailer that is a time of RFC 3339, zero if it is not there.
func (t *tagObject) time(key string) (time.Time, error) {
	v := t.trailer(key)
	if v == "" {
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339, v)
	if err != nil {
		return at, badTag(strconv.Quote(t.name) + " has the trailer " + key + ": " + v + ", which is no time like 2027-01-31T00:00:00Z")
	}
	return at.UTC(), nil
}
