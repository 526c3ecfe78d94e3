// Package manifest reads and writes manifests: JSON files that list what a
// release consists of, and channel files that say which release to run. Who may
// sign them is trust's business, where they come from a source's, which of
// their files to install the plan's.
//
// The plain form is that of the MicroPython updater 0x687931/ota, version 4:
//
//	{"version": "v1.0.0", "generated_at": "2025-11-12T12:00:00Z",
//	 "files": [{"path": "main.py", "size": 123, "sha256": "…", "crc32": 305419896}],
//	 "deletes": ["old.py"], "post_update": "hooks/post.py", "rollback": "hooks/undo.py",
//	 "signature": "…"}
//
// Godwit adds product, sequence, not_after, commit, tree and patches to it, and a
// mode ("exec", "link") and patches to files. Members that this package does not know mean
// nothing. docs/formats.md describes all of it.
//
// Invariant: documents are read in a fixed amount of memory, and two readers of
// the same bytes see the same manifest: a member that appears twice is refused.
package manifest

import (
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/internal/jsontext"
)

// Limits bound what a manifest may hold. A zero field takes the default.
type Limits struct {
	Bytes   int64 // of the document; default 64 MiB
	Files   int   // default 1 million
	Deletes int   // default 1,000; they are held in memory
}

func (l Limits) withDefaults() Limits {
	if l.Bytes <= 0 {
		l.Bytes = 64 << 20
	}
	if l.Files <= 0 {
		l.Files = 1 << 20
	}
	if l.Deletes <= 0 {
		l.Deletes = 1000
	}
	return l
}

// What no manifest needs more of.
const (
	maxPath    = 4096 // bytes in a path
	maxWord    = 255  // bytes in a version, a product, the name of a channel
	maxText    = 16 << 10
	maxMembers = 64 // of the document itself
)

// A Head is a manifest without its files.
type Head struct {
	Version   string
	Generated time.Time // zero if it does not say
	Product   string
	Sequence  uint64    // 0 if it has none
	NotAfter  time.Time // zero for ever
	// Tree and Commit are ids in the Git repository that the release was made
	// from, in lower-case hexadecimal; "" if it does not say.
	Tree, Commit string
	Deletes      []string // paths to remove, whoever put them there
	PostUpdate   string   // path of the program to run after the switch; "" for none
	Rollback     string   // path of the one to run when it is taken back
	Files        int      // how many
	// Trees are patches for all that changed since another release: From is the
	// SHA-256 of that release's manifest.
	Trees     []godwit.Patch
	Signature string // the HMAC in the document, "" if there is none
}

// ReadHead reads a manifest but for its files, which it only counts. What is
// malformed has CodeBadManifest or CodeBadPath, what is too large CodeLimit.
func ReadHead(r io.ReaderAt, size int64, l Limits) (Head, error) {
	l = l.withDefaults()
	var h Head
	d, err := open(r, size, l.Bytes, &manifestWords)
	if err != nil {
		return h, err
	}
	for {
		name, k, err := d.member()
		if err != nil {
			return h, err
		}
		if k == jsontext.End {
			if h.Version == "" {
				err = d.words.fail(nil, "it has no version")
			}
			return h, err
		}
		if k == jsontext.Null { // as if it were not there
			continue
		}
		switch name {
		case "version":
			h.Version, err = d.word(name, k)
		case "generated_at":
			h.Generated, err = d.time(name, k)
		case "product":
			h.Product, err = d.word(name, k)
		case "sequence":
			h.Sequence, err = d.number(name, k)
		case "not_after":
			h.NotAfter, err = d.time(name, k)
		case "commit":
			h.Commit, err = d.id(name, k)
		case "tree":
			h.Tree, err = d.id(name, k)
		case "post_update":
			h.PostUpdate, err = d.path(name, k)
		case "rollback":
			h.Rollback, err = d.path(name, k)
		case "signature":
			h.Signature, err = d.word(name, k)
		case "deletes":
			err = d.list(name, k, func(k jsontext.Kind) error {
				if len(h.Deletes) == l.Deletes {
					return tooMany("paths to delete", l.Deletes)
				}
				path, err := d.path(name, k)
				if err == nil && path == "" {
					err = d.wrong(name, "a path")
				}
				h.Deletes = append(h.Deletes, path)
				return err
			})
		case "patches":
			err = d.patchList(k)
			h.Trees = slices.Clone(d.patches)
		case "files":
			err = d.list(name, k, func(k jsontext.Kind) error {
				if h.Files++; h.Files > l.Files {
					return tooMany("files", l.Files)
				}
				if k != jsontext.Object {
					return d.wrong(name, "an object for each file")
				}
				return d.Skip()
			})
		default:
			err = d.Skip()
		}
		if err != nil {
			return h, d.explain(err)
		}
	}
}

func tooMany(what string, limit int) error {
	return godwit.Fail(godwit.CodeLimit, nil, "the manifest has more than "+strconv.Itoa(limit)+" "+what, "split the release, or raise the limit")
}

// words is how a kind of document is spoken of.
type words struct {
	name string // "the manifest"
	code godwit.Code
	hint string
}

var (
	manifestWords = words{"the manifest", godwit.CodeBadManifest, "make it with `godwit manifest`"}
	channelWords  = words{"the channel file", godwit.CodeBadStatement, "make it with `godwit publish --channel`"}
)

func (w *words) fail(cause error, text string) error {
	return godwit.Fail(w.code, cause, w.name+" is malformed: "+text, w.hint)
}

// A document is a JSON object that is read one member at a time.
type document struct {
	*jsontext.Reader
	words *words
	seen  []string
	// patches are those of the file that was read last.
	patches []godwit.Patch
}

func open(r io.ReaderAt, size, limit int64, w *words) (*document, error) {
	if size > limit {
		return nil, godwit.Fail(godwit.CodeLimit, nil, w.name+" is "+strconv.FormatInt(size, 10)+" bytes long and at most "+strconv.FormatInt(limit, 10)+" are taken", "split the release, or raise the limit")
	}
	return &document{Reader: jsontext.NewReader(io.NewSectionReader(r, 0, size), readerLimits), words: w}, nil
}

// explain words an error of the reader; others it passes on.
func (d *document) explain(err error) error { return d.words.explain(err) }

func (w *words) explain(err error) error {
	var syntax *jsontext.SyntaxError
	var limit *jsontext.LimitError
	var known *godwit.Error
	switch {
	case err == nil || errors.As(err, &known):
		return err
	case errors.As(err, &syntax):
		return godwit.Fail(w.code, nil, w.name+" is not JSON: line "+strconv.Itoa(syntax.Line)+": "+syntax.Text, w.hint)
	case errors.As(err, &limit):
		return godwit.Fail(godwit.CodeLimit, nil, w.name+", line "+strconv.Itoa(limit.Line)+": "+limit.Text, w.hint)
	}
	return godwit.Fail(godwit.CodeIO, err, w.name+" cannot be read", "")
}

// member steps to the next member's value and returns its name and what the
// value is. After the last one, at the end of the document, that is End.
func (d *document) member() (string, jsontext.Kind, error) {
	k := jsontext.Object
	var err error
	if d.Depth() == 0 {
		k, err = d.Next()
	}
	if err == nil && k != jsontext.Object {
		return "", k, d.words.fail(nil, "it is not an object")
	}
	if err == nil {
		k, err = d.Next()
	}
	if err == nil && k == jsontext.End {
		if _, err = d.Next(); err == io.EOF {
			return "", k, nil
		}
	}
	if err != nil {
		return "", k, d.explain(err)
	}
	name := string(d.Text())
	if slices.Contains(d.seen, name) {
		return "", k, d.words.fail(nil, strconv.QuoteToGraphic(name)+" appears twice")
	}
	if len(d.seen) == maxMembers {
		return "", k, d.words.fail(nil, "it has more than "+strconv.Itoa(maxMembers)+" members")
	}
	d.seen = append(d.seen, name)
	k, err = d.Next()
	return name, k, d.explain(err)
}

func (d *document) wrong(name, wanted string) error {
	return d.words.fail(nil, "line "+strconv.Itoa(d.Line())+": "+strconv.Quote(name)+" must be "+wanted)
}

// list reads an array.
func (d *document) list(name string, k jsontext.Kind, item func(jsontext.Kind) error) error {
	if k != jsontext.Array {
		return d.wrong(name, "a list")
	}
	for {
		k, err := d.Next()
		if err == nil && k == jsontext.End {
			return nil
		}
		if err == nil {
			err = item(k)
		}
		if err != nil {
			return err
		}
	}
}

// word reads a short text for people to see.
func (d *document) word(name string, k jsontext.Kind) (string, error) {
	return d.line(name, k, maxWord)
}

func (d *document) line(name string, k jsontext.Kind, longest int) (string, error) {
	s := string(d.Text())
	if k != jsontext.String || len(s) > longest || strings.ContainsFunc(s, isControl) {
		return "", d.wrong(name, "a text of one line, of at most "+strconv.Itoa(longest)+" bytes")
	}
	return s, nil
}

// isControl reports whether r ends a line, moves a cursor, or is no character
// at all.
func isControl(r rune) bool {
	return r < ' ' || r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x2029 || r == 0xfffd ||
		r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069
}

// time reads a time as in RFC 3339; one without a zone is UTC.
func (d *document) time(name string, k jsontext.Kind) (t time.Time, err error) {
	err = errors.New("not a string")
	if k == jsontext.String {
		s := string(d.Text())
		if t, err = time.Parse(time.RFC3339, s); err != nil {
			t, err = time.Parse("2006-01-02T15:04:05", s)
		}
	}
	if err != nil {
		return time.Time{}, d.wrong(name, "a time such as 2027-01-31T00:00:00Z")
	}
	return t.UTC(), nil
}

func (d *document) number(name string, k jsontext.Kind) (uint64, error) {
	if k == jsontext.Number {
		if n, err := strconv.ParseUint(string(d.Text()), 10, 64); err == nil {
			return n, nil
		}
	}
	return 0, d.wrong(name, "a number of 0 or more, without a fraction")
}

// id reads the id of a Git object.
func (d *document) id(name string, k jsontext.Kind) (string, error) {
	s := string(d.Text())
	if k != jsontext.String || s != "" && (len(s) != 40 && len(s) != 64 || strings.Trim(s, "0123456789abcdef") != "") {
		return "", d.wrong(name, "an id of Git in hexadecimal")
	}
	return s, nil
}

func (d *document) path(name string, k jsontext.Kind) (string, error) {
	if k != jsontext.String {
		return "", d.wrong(name, "a path")
	}
	if len(d.Text()) == 0 {
		return "", nil
	}
	path := string(d.Text())
	return path, CheckPath(path)
}

var readerLimits = jsontext.Limits{Text: maxText, Surrogates: true}
