package manifest

import (
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
	entries, _ := Files(r, size, l)
	return entries
}

// Files gives the files of a manifest as Entries does, and the patches that lead
// to them.
func Files(r io.ReaderAt, size int64, l Limits) (godwit.Listing, godwit.Offers) {
	b := &body{r: r, size: size, l: l.withDefaults()}
	entries := func(yield func(godwit.Entry, error) bool) {
		err := b.each(func(e godwit.Entry, _ []godwit.Patch) bool { return yield(e, nil) })
		if err != nil {
			yield(godwit.Entry{}, err)
		}
	}
	offers := func(yield func(godwit.Offer, error) bool) {
		if b.arrange(); b.err == nil && !b.patched {
			return // without reading it all once more
		}
		err := b.each(func(e godwit.Entry, patches []godwit.Patch) bool {
			for _, p := range patches {
				if !yield(godwit.Offer{Path: e.Path, Patch: p}, nil) {
					return false
				}
			}
			return true
		})
		if err != nil {
			yield(godwit.Offer{}, err)
		}
	}
	return entries, offers
}

// A body is the files of a manifest.
type body struct {
	r    io.ReaderAt
	size int64
	l    Limits

	once    sync.Once
	places  []place // where they are not in order
	patched bool    // there are patches
	err     error
}

func (b *body) arrange() {
	b.once.Do(func() {
		b.places, b.err = arrange(b.r, b.size, b.l, func(patches []godwit.Patch) { b.patched = b.patched || len(patches) > 0 })
	})
}

// each calls fn for each file in ascending order of path, until it returns
// false. The patches are valid until it returns.
func (b *body) each(fn func(godwit.Entry, []godwit.Patch) bool) error {
	if b.arrange(); b.err != nil {
		return b.err
	}
	if b.places == nil {
		err := files(b.r, b.size, b.l, func(e godwit.Entry, patches []godwit.Patch, _ int64) bool { return fn(e, patches) })
		if err == errEnough {
			err = nil
		}
		return err
	}
	section := io.NewSectionReader(b.r, 0, b.size)
	in := jsontext.NewReader(section, readerLimits)
	d := document{Reader: in, words: &manifestWords}
	for _, p := range b.places {
		section.Seek(p.at, io.SeekStart)
		in.Reset(section)
		k, err := in.Next()
		var e godwit.Entry
		if err == nil {
			e, err = d.entry(k)
		}
		if err != nil {
			return d.explain(err)
		}
		if !fn(e, d.patches) {
			return nil
		}
	}
	return nil
}

// A place is where in the manifest a file is described.
type place struct {
	path string
	at   int64
}

// arrange checks all files of a manifest and returns nil if they are in order,
// otherwise where they are in the order of their paths. It shows seen the patches
// of each.
func arrange(r io.ReaderAt, size int64, l Limits, seen func([]godwit.Patch)) ([]place, error) {
	var tree family
	var wrong error
	last := ""
	sorted := true
	err := files(r, size, l, func(e godwit.Entry, patches []godwit.Patch, _ int64) bool {
		seen(patches)
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
	err = files(r, size, l, func(e godwit.Entry, patches []godwit.Patch, at int64) bool {
		seen(patches)
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

// files calls fn for each file of a manifest, in its own order, with its patches
// and the offset of its description, until fn returns false.
func files(r io.ReaderAt, size int64, l Limits, fn func(e godwit.Entry, patches []godwit.Patch, at int64) bool) error {
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
				if err == nil && !fn(e, d.patches, at) {
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
