package diff

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/delta"
	"github.com/godwit-ota/godwit/delta/tree"
)

// A File is one file of a tree.
type File struct {
	Name string // slash-separated path
	// Digest names the content. All files of a tree have digests of one algorithm,
	// which is that of the listings that devices have: SHA-256, or a Git blob id.
	Digest godwit.Digest
	// Content gives the content. It is asked for those files only that may go
	// into the patch, once or twice. It may be nil if the content is not to be had:
	// then the file is not drawn from.
	Content func() ([]byte, error)
}

// MakeTree gives a patch that brings the contents of new that old does not have,
// drawing from old. Its invariant is that of Make. What it holds in memory is the
// contents that go in and some fifty times as much for Make.
//
// The patch does not grow with files that did not change; those that new contents
// are like are drawn from.
func MakeTree(ctx context.Context, old, new []File, o Options) ([]byte, Report, error) {
	if o.Tier == 0 {
		o.Tier = delta.Small
	}
	o.Slack, o.Block = 0, 0
	before, after := byContent(old), byContent(new)
	t := &tree.Table{Tier: o.Tier}
	var err error
	if t.Old.Algorithm, err = algorithm(before); err != nil {
		return nil, Report{}, err
	}
	if t.New.Algorithm, err = algorithm(after); err != nil {
		return nil, Report{}, err
	}
	if t.Old.Algorithm == godwit.NoDigest {
		t.Old.Algorithm = t.New.Algorithm
	}
	if t.New.Algorithm == godwit.NoDigest {
		t.New.Algorithm = t.Old.Algorithm
	}
	if t.New.Algorithm == godwit.NoDigest {
		t.Old.Algorithm, t.New.Algorithm = godwit.SHA256, godwit.SHA256
	}
	sources, targets, err := choose(ctx, before, after)
	if err != nil {
		return nil, Report{}, err
	}
	if len(sources) > tree.MaxContents || len(targets) > tree.MaxContents {
		return nil, Report{}, tree.ErrLimit
	}
	t.Prefix = prefix(before, after)
	var from, to []byte
	for _, s := range sources {
		t.Old.Add(s.Digest, int64(len(s.body)), t.Prefix)
		from = append(from, s.body...)
	}
	for _, s := range targets {
		t.New.Add(s.Digest, int64(len(s.body)), t.Prefix)
		to = append(to, s.body...)
	}
	table := t.Append(nil)
	stream, report, err := Make(ctx, from, to, o)
	if err != nil {
		return nil, Report{}, err
	}
	patch := append(table, stream...)
	report.Size += int64(len(table))
	report.Parts = append(report.Parts, Part{Name: "table of contents", Count: int64(len(sources) + len(targets)), Bytes: float64(len(table))})
	return patch, report, checkTree(ctx, patch, sources, targets)
}

// A source is a content with the first of the files that have it, in order of
// path.
type source struct {
	File
	body   []byte
	sketch []uint64
	loaded bool
}

// byContent gives each content once, in order of path.
func byContent(files []File) []*source {
	files = slices.Clone(files)
	slices.SortStableFunc(files, func(a, b File) int { return strings.Compare(a.Name, b.Name) })
	seen := make(map[godwit.Digest]bool, len(files))
	var out []*source
	for _, f := range files {
		if !seen[f.Digest] {
			seen[f.Digest] = true
			out = append(out, &source{File: f})
		}
	}
	return out
}

func algorithm(files []*source) (godwit.Algorithm, error) {
	a := godwit.NoDigest
	for _, f := range files {
		switch {
		case f.Digest.Algorithm != godwit.SHA256 && f.Digest.Algorithm != godwit.GitSHA1 && f.Digest.Algorithm != godwit.GitSHA256:
			return a, errors.New("patches of trees cannot name " + strconv.Quote(f.Name) + " by " + f.Digest.Algorithm.String())
		case a != godwit.NoDigest && a != f.Digest.Algorithm:
			return a, errors.New("the digests of one tree are of two kinds: " + a.String() + " and " + f.Digest.Algorithm.String())
		}
		a = f.Digest.Algorithm
	}
	return a, nil
}

// prefix is how many bytes of the digests tell all contents apart.
func prefix(rows ...[]*source) int {
	n := tree.MinPrefix
	for ; n < tree.MaxPrefix; n++ {
		seen := map[tree.Prefix]godwit.Digest{}
		clash := false
		for _, row := range rows {
			for _, f := range row {
				p := tree.PrefixOf(f.Digest, n)
				d, ok := seen[p]
				clash = clash || ok && d != f.Digest
				seen[p] = f.Digest
			}
		}
		if !clash {
			break
		}
	}
	return n
}

// load reads the content, once.
func (s *source) load() error {
	if s.loaded {
		return nil
	}
	b, err := s.Content()
	if err != nil {
		return err
	}
	h := s.Digest.Algorithm.New(int64(len(b)))
	h.Write(b)
	if godwit.MakeDigest(s.Digest.Algorithm, h.Sum(nil)) != s.Digest {
		return errors.New("the content of " + strconv.Quote(s.Name) + " is not what its digest says")
	}
	s.body, s.loaded = b, true
	return nil
}

// checkTree applies a patch.
func checkTree(ctx context.Context, patch []byte, sources, targets []*source) error {
	r := bytes.NewReader(patch)
	t, err := tree.Read(r, 0)
	if err != nil {
		return err
	}
	d := desk{}
	for _, s := range sources {
		d[s.Digest] = s.body
	}
	if _, err := t.Old.Find(listing(sources)); err != nil {
		return err
	}
	if missing, err := t.New.Find(listing(targets)); err != nil || missing > 0 {
		return errors.Join(err, errors.New("a patch does not name what it brings"))
	}
	if err := tree.Apply(ctx, make([]byte, t.Tier.Memory()), r, t, d, tree.Options{}); err != nil {
		return err
	}
	for _, s := range targets {
		if !bytes.Equal(d[s.Digest], s.body) {
			return errors.New("a patch does not give " + strconv.Quote(s.Name))
		}
	}
	return nil
}

func listing(files []*source) godwit.Listing {
	return func(yield func(godwit.Entry, error) bool) {
		for _, f := range files {
			if !yield(godwit.Entry{Path: f.Name, Mode: godwit.File, Digest: f.Digest, Size: int64(len(f.body))}, nil) {
				return
			}
		}
	}
}

// A desk is a device that has contents in memory.
type desk map[godwit.Digest][]byte

func (d desk) Has(x godwit.Digest) bool { _, ok := d[x]; return ok }

func (d desk) Open(x godwit.Digest) (godwit.Object, error) {
	b, ok := d[x]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return sheet{bytes.NewReader(b)}, nil
}

func (d desk) Create(size int64) (godwit.NewObject, error) { return &blank{d: d}, nil }

type sheet struct{ *bytes.Reader }

func (sheet) Close() error { return nil }

// blank is a content that is being written.
type blank struct {
	d desk
	b []byte
}

func (n *blank) Write(p []byte) (int, error) { n.b = append(n.b, p...); return len(p), nil }

func (n *blank) ReadAt(p []byte, off int64) (int, error) { return bytes.NewReader(n.b).ReadAt(p, off) }

func (n *blank) Commit(x godwit.Digest) error { n.d[x] = n.b; return nil }

func (n *blank) Abort() {}

var _ io.Writer = (*blank)(nil)

// Sum is the SHA-256 of a content, for File.
func Sum(b []byte) godwit.Digest {
	s := sha256.Sum256(b)
	return godwit.MakeDigest(godwit.SHA256, s[:])
}
