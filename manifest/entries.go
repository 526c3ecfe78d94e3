package manifest

import (
	"encoding/hex"
	"io"
	"sort"
	"strconv"
	"strings"
	"sync"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/internal/jsontext"
)

// What a manifest whose files are not in order may hold: an index of it is kept
// in memory.
const (
	maxUnsorted      = 50_000
	maxUnsortedPaths = 4 << 20 // bytes
)

// Entries gives the files of a manifest. Nothing is read before the listing is
// ranged over. Files that are in ascending byte order of path are streamed; for
// others an index is made, up to 50,000 files.
//
// A file has the SHA-256 that the manifest gives, or else its CRC-32. Malformed
// files have CodeBadManifest, paths that must not be CodeBadPath.
func Entries(r io.ReaderAt, size int64, l Limits) godwit.Listing {
	l = l.withDefaults()
	var once sync.Once
	var places []place
	var err error
	return func(yield func(godwit.Entry, error) bool) {
		once.Do(func() { places, err = arrange(r, size, l) })
		if err != nil {
			yield(godwit.Entry{}, err)
			return
		}
		if places == nil {
			err := files(r, size, l, func(e godwit.Entry, _ int64) bool { return yield(e, nil) })
			if err != nil && err != errEnough {
				yield(godwit.Entry{}, err)
			}
			return
		}
		section := io.NewSectionReader(r, 0, size)
		in := jsontext.NewReader(section, readerLimits)
		d := document{Reader: in, words: &manifestWords}
		for _, p := range places {
			section.Seek(p.at, io.SeekStart)
			in.Reset(section)
			k, err := in.Next()
			var e godwit.Entry
			if err == nil {
				e, err = d.entry(k)
			}
			if !yield(e, d.explain(err)) || err != nil {
				return
			}
		}
	}
}

// A place is where in the manifest a file is described.
type place struct {
	path string
	at   int64
}

// arrange checks all files of a manifest and returns nil if they are in order,
// otherwise where they are in the order of their paths.
func arrange(r io.ReaderAt, size int64, l Limits) ([]place, error) {
	var tree family
	var wrong error
	last := ""
	sorted := true
	err := files(r, size, l, func(e godwit.Entry, _ int64) bool {
		if sorted = e.Path > last; !sorted {
			return false
		}
		last = e.Path
		wrong = tree.add(e.Path)
		return wrong == nil
	})
	if wrong != nil {
		return nil, wrong
	}
	if sorted || err != nil && err != errEnough {
		return nil, err
	}
	var places []place
	length := 0
	err = files(r, size, l, func(e godwit.Entry, at int64) bool {
		if length += len(e.Path); len(places) == maxUnsorted || length > maxUnsortedPaths {
			wrong = godwit.Fail(godwit.CodeLimit, nil, "the manifest has more than "+strconv.Itoa(maxUnsorted)+" files, and they are not in the order of their paths", "make it with `godwit manifest`, which puts them in order")
			return false
		}
		places = append(places, place{e.Path, at})
		return true
	})
	if wrong != nil {
		return nil, wrong
	}
	if err != nil {
		return nil, err
	}
	sort.Sort(inOrder{len(places), func(i int) string { return places[i].path }, func(i, j int) { places[i], places[j] = places[j], places[i] }})
	for i, p := range places {
		if i > 0 && places[i-1].path == p.path {
			return nil, manifestWords.fail(nil, "it lists "+strconv.QuoteToGraphic(p.path)+" twice")
		}
		if err := tree.add(p.path); err != nil {
			return nil, err
		}
	}
	return places, nil
}

// A family is the paths seen before that the last one begins with.
type family []string

// add takes paths in ascending order and finds one that is a file and, for
// another, a folder.
func (f *family) add(path string) error {
	for len(*f) > 0 && !strings.HasPrefix(path, (*f)[len(*f)-1]) {
		*f = (*f)[:len(*f)-1]
	}
	for _, p := range *f {
		if len(path) > len(p) && path[len(p)] == '/' {
			return manifestWords.fail(nil, strconv.QuoteToGraphic(p)+" is a file, and a folder for "+strconv.QuoteToGraphic(path))
		}
	}
	*f = append(*f, path)
	return nil
}

// errEnough ends a walk that its caller has enough of.
var errEnough = godwit.Fail(godwit.CodeFailed, nil, "the walk was ended", "")

// files calls fn for each file of a manifest, in its own order, with the offset
// of its description, until fn returns false.
func files(r io.ReaderAt, size int64, l Limits, fn func(e godwit.Entry, at int64) bool) error {
	d, err := open(r, size, l.Bytes, &manifestWords)
	if err != nil {
		return err
	}
	n := 0
	for {
		name, k, err := d.member()
		if err != nil || k == jsontext.End {
			return err
		}
		if name == "files" && k != jsontext.Null {
			err = d.list(name, k, func(k jsontext.Kind) error {
				if n++; n > l.Files {
					return tooMany("files", l.Files)
				}
				at := d.Offset()
				e, err := d.entry(k)
				if err == nil && !fn(e, at) {
					err = errEnough
				}
				return err
			})
		} else {
			err = d.Skip()
		}
		if err != nil {
			return d.explain(err)
		}
	}
}

// The members of a file, a bit for each.
const (
	hasPath = 1 << iota
	hasSize
	hasSHA256
	hasCRC32
	hasMode
)

// entry reads one file, whose description begins with the last token.
func (d *document) entry(k jsontext.Kind) (godwit.Entry, error) {
	e := godwit.Entry{Mode: godwit.File}
	if k != jsontext.Object {
		return e, d.wrong("files", "an object for each file")
	}
	seen := 0
	var crc uint64
	for {
		k, err := d.Next()
		if err != nil {
			return e, err
		}
		if k == jsontext.End {
			break
		}
		bit := 0
		switch string(d.Text()) {
		case "path":
			bit = hasPath
		case "size":
			bit = hasSize
		case "sha256":
			bit = hasSHA256
		case "crc32":
			bit = hasCRC32
		case "mode":
			bit = hasMode
		}
		if bit == 0 {
			if err := d.Skip(); err != nil {
				return e, err
			}
			continue
		}
		if seen&bit != 0 {
			return e, d.words.fail(nil, "line "+strconv.Itoa(d.Line())+": "+strconv.Quote(string(d.Text()))+" appears twice in a file")
		}
		seen |= bit
		if k, err = d.Next(); err != nil {
			return e, err
		}
		if k == jsontext.Null {
			seen &^= bit
			continue
		}
		switch bit {
		case hasPath:
			if e.Path, err = d.path("path", k); err == nil {
				err = CheckPath(e.Path)
			}
		case hasSize:
			var n uint64
			if n, err = d.number("size", k); err == nil && n > 1<<62 {
				err = d.wrong("size", "the file's size in bytes")
			}
			e.Size = int64(n)
		case hasSHA256:
			var sum [32]byte
			text := d.Text()
			if k == jsontext.String && len(text) == 0 {
				seen &^= bit
				break
			}
			if k == jsontext.String && len(text) == 2*len(sum) {
				_, err = hex.Decode(sum[:], text)
			}
			if k != jsontext.String || len(text) != 2*len(sum) || err != nil {
				err = d.wrong("sha256", "64 hexadecimal digits")
			}
			e.Digest = godwit.MakeDigest(godwit.SHA256, sum[:])
		case hasCRC32:
			if crc, err = d.number("crc32", k); err == nil && crc > 1<<32-1 {
				err = d.wrong("crc32", "a decimal number of 32 bits")
			}
		case hasMode:
			switch s := string(d.Text()); {
			case k == jsontext.String && s == "exec":
				e.Mode = godwit.Executable
			case k == jsontext.String && s == "link":
				e.Mode = godwit.Symlink
			case k != jsontext.String || s != "file" && s != "":
				err = d.wrong("mode", `"exec" or "link"`)
			}
		}
		if err != nil {
			return e, err
		}
	}
	switch {
	case seen&hasPath == 0:
		return e, d.words.fail(nil, "line "+strconv.Itoa(d.Line())+": a file has no path")
	case seen&hasSize == 0:
		return e, d.words.fail(nil, strconv.QuoteToGraphic(e.Path)+" has no size")
	case seen&(hasSHA256|hasCRC32) == 0:
		return e, d.words.fail(nil, strconv.QuoteToGraphic(e.Path)+" has neither sha256 nor crc32")
	case seen&hasSHA256 == 0:
		var sum [12]byte
		for i := range 4 {
			sum[i] = byte(crc >> (24 - 8*i))
		}
		for i := range 8 {
			sum[4+i] = byte(e.Size >> (56 - 8*i))
		}
		e.Digest = godwit.MakeDigest(godwit.CRC32, sum[:])
	}
	return e, nil
}
