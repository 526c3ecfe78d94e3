package object

import (
	"bufio"
	"bytes"
	"io"
	"strconv"
	"strings"
	"time"
)

// A CommitInfo is what an update needs to know of a commit.
type CommitInfo struct {
	Tree      ID
	Parents   int
	Committed time.Time // by the committer's clock, in the committer's zone
}

// A TagInfo is what an update needs to know of an annotated tag. The message
// and a signature are in the raw object, which the caller keeps.
type TagInfo struct {
	Object ID     // what it names
	Type   Type   // of Object
	Name   string // the name inside, which a signature covers; a ref may be named otherwise
	Tagged time.Time
}

// maxHeaderLine is the longest header line that is read. Git's own longest are
// names of people.
const maxHeaderLine = 4096

// ReadCommit reads a commit, up to the end of its header. The rest of r is left.
func ReadCommit(r io.Reader, f Format) (CommitInfo, error) {
	h := header{r: bufio.NewReaderSize(r, maxHeaderLine), kind: "commit"}
	var c CommitInfo
	var err error
	value, err := h.need("tree")
	if err == nil {
		c.Tree, err = h.id(value, f)
	}
	key := ""
	for err == nil {
		key, value, err = h.line()
		if err != nil || key != "parent" {
			break
		}
		c.Parents++
		_, err = h.id(value, f)
	}
	if err == nil && key != "author" {
		err = h.bad("has no author")
	}
	if err == nil {
		value, err = h.need("committer")
	}
	if err == nil {
		c.Committed = personTime(value)
	}
	if err != nil {
		return CommitInfo{}, err
	}
	return c, nil
}

// ReadTag reads an annotated tag, up to the end of its header. The rest of r is
// left.
func ReadTag(r io.Reader, f Format) (TagInfo, error) {
	h := header{r: bufio.NewReaderSize(r, maxHeaderLine), kind: "tag"}
	var t TagInfo
	value, err := h.need("object")
	if err == nil {
		t.Object, err = h.id(value, f)
	}
	if err == nil {
		value, err = h.need("type")
	}
	if err == nil {
		switch value {
		case "commit":
			t.Type = Commit
		case "tree":
			t.Type = Tree
		case "blob":
			t.Type = Blob
		case "tag":
			t.Type = Tag
		default:
			err = h.bad("names an object of type " + strconv.Quote(value))
		}
	}
	if err == nil {
		t.Name, err = h.need("tag")
	}
	if err == nil && t.Name == "" {
		err = h.bad("has no name")
	}
	if err != nil {
		return TagInfo{}, err
	}
	// Tags of the earliest Git versions have no tagger.
	if key, value, err := h.line(); err == nil && key == "tagger" {
		t.Tagged = personTime(value)
	}
	return t, nil
}

// header reads the lines "KEY VALUE" at the head of commits and tags.
type header struct {
	r    *bufio.Reader
	kind string
}

func (h header) bad(text string) error { return bad("a " + h.kind + " object " + text) }

// line returns "" for key at the empty line that ends the header.
func (h header) line() (key, value string, err error) {
	b, err := h.r.ReadSlice('\n')
	switch {
	case err == bufio.ErrBufferFull:
		return "", "", h.bad("has a header line of more than " + strconv.Itoa(maxHeaderLine) + " bytes")
	case err == io.EOF:
		return "", "", h.bad("ends in its header")
	case err != nil:
		return "", "", err
	}
	if bytes.IndexByte(b, 0) >= 0 {
		return "", "", h.bad("has a NUL byte in its header")
	}
	key, value, _ = strings.Cut(string(b[:len(b)-1]), " ")
	return key, value, nil
}

func (h header) need(key string) (string, error) {
	k, value, err := h.line()
	if err == nil && k != key {
		err = h.bad("has no " + key + " where it belongs")
	}
	return value, err
}

func (h header) id(value string, f Format) (ID, error) {
	id, err := ParseID(value)
	if err != nil {
		return ID{}, err
	}
	if id.format != f {
		return ID{}, h.bad("names an object with another hash than the repository's")
	}
	return id, nil
}

// personTime reads the end of "NAME <EMAIL> SECONDS ZONE". Times that make no
// sense are the zero Time: they are shown to people and decide nothing.
func personTime(s string) time.Time {
	_, s, _ = strings.Cut(s[strings.LastIndexByte(s, '>')+1:], " ")
	seconds, zone, _ := strings.Cut(s, " ")
	n, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil || n < 0 || n > 1<<40 {
		return time.Time{}
	}
	t := time.Unix(n, 0).UTC()
	if len(zone) == 5 && (zone[0] == '+' || zone[0] == '-') {
		if z, err := strconv.Atoi(zone[1:]); err == nil && z > 0 && z%100 < 60 && z <= 1400 {
			east := z/100*3600 + z%100*60
			if zone[0] == '-' {
				east = -east
			}
			t = t.In(time.FixedZone("", east))
		}
	}
	return t
}
