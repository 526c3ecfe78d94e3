package git

import (
	"bufio"
	"context"
	"io"
	"io/fs"
	"iter"
	"slices"
	"strconv"
	"strings"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/plan"
	"github.com/godwit-ota/godwit/source/git/object"
	"github.com/godwit-ota/godwit/source/git/wire"
	"github.com/godwit-ota/godwit/vfs"
)

// Fetch brings the contents that want names into into, as far as they are not
// there. Contents that came along unasked are handed over too.
//
// It tries what costs least first: packs that are here already; the changes
// against an installed release; everything but what is here; and single
// contents by their ids.
//
// Where the connection breaks it goes on, as long as each exchange brings some
// contents.
func (s *Source) Fetch(ctx context.Context, rel godwit.Described, want godwit.Listing, into godwit.Objects) error {
	commit, err := object.ParseID(rel.Commit)
	if err != nil {
		return err
	}
	if err := s.open(commit); err != nil {
		return err
	}
	if s.described != commit {
		s.bases = nil
	}
	inVain, err := s.absorb(into)
	if err != nil {
		return err
	}
	if s.cfg.LFS {
		if err := s.absorbSmall(want, into); err != nil {
			return err
		}
	}
	if err := s.resumePages(ctx, commit, want, into); err != nil {
		return err
	}
	vain := 0 // exchanges that came to nothing
	if inVain >= large {
		vain++
		if _, err := s.fromPages(ctx, commit, want, rel.Installed, into); err != nil {
			return err
		}
	}
	before, err := s.count(want, into)
	if err != nil {
		return err
	}
	for {
		_, received := s.Transferred()
		if err = s.fetchGit(ctx, rel, commit, want, into); err == nil {
			break
		}
		left, e := s.count(want, into)
		_, now := s.Transferred()
		further := left < before
		if e == nil && !further && isTooLarge(err, now-received) {
			installed := rel.Installed
			if vain++; vain > 1 {
				installed = nil
			}
			if further, e = s.fromPages(ctx, commit, want, installed, into); e == nil {
				left, e = s.count(want, into)
			}
			if !further && (vain > 1 || s.noPages) {
				err = tooLarge(err, left, now-received)
			} else {
				further = true // once more: what is left may come as a difference
			}
		}
		if e != nil {
			return e
		}
		if !s.goOn(ctx, err, further) {
			return err
		}
		before = left
	}
	if s.cfg.LFS {
		return s.fetchLFS(ctx, want, into)
	}
	return nil
}

// isTooLarge reports whether an exchange broke, after having brought so much that it
// is likely that the files are too large for the link, and not that there is none.
func isTooLarge(err error, received int64) bool {
	code := godwit.CodeOf(err)
	return received >= large && (code == godwit.CodeNetwork || code == godwit.CodeTimeout)
}

// tooLarge says so, where the next exchange may not come further either.
func tooLarge(err error, left int, received int64) error {
	files := "any of the " + strconv.Itoa(left) + " files that are missing was whole"
	if left == 1 {
		files = "the file that is missing was whole"
	}
	return godwit.Fail(godwit.CodeOf(err), err, plan.Bytes(received)+" came before the connection broke, and it broke before "+files,
		"over Git a file begins anew after each cut, and the host's pages do not give it in pieces either: ask its API (source.type), keep large files in Git LFS (source.lfs = true), or let devices follow a folder that godwit publish writes")
}

// fetchGit brings what the repository itself holds.
func (s *Source) fetchGit(ctx context.Context, rel godwit.Described, commit object.ID, want godwit.Listing, into godwit.Objects) error {
	left, err := s.count(want, into)
	if left == 0 || err != nil {
		return err
	}
	caps, err := s.remote.Capabilities(ctx)
	if err != nil {
		return err
	}
	info, err := s.cache.commit(commit)
	if err != nil {
		return err
	}
	job := fetchJob{s: s, want: want, into: into, root: info.Tree, tip: rel.Tip, caps: caps}
	type step struct {
		use bool
		run func(context.Context) error
	}
	for _, st := range []step{
		{len(s.bases) > 0, func(ctx context.Context) error { return job.tree(ctx, s.bases, true) }},
		{len(s.bases) == 0 || !caps.WantAny, func(ctx context.Context) error { return job.tree(ctx, nil, true) }},
		{caps.WantAny, job.single},
		{!caps.WantAny, func(ctx context.Context) error { return job.tree(ctx, nil, false) }},
	} {
		if !st.use {
			continue
		}
		if err := st.run(ctx); err != nil {
			return err
		}
		if left, err = s.count(want, into); left == 0 || err != nil {
			return err
		}
	}
	for e, err := range want {
		if err == nil && (e.Digest.Algorithm != s.cache.format.Algorithm() || into.Has(e.Digest)) {
			continue
		}
		if err == nil {
			err = godwit.Fail(godwit.CodeMissingObject, nil, "the host did not send the content of "+quote(e.Path)+", "+e.Digest.Hex(),
				"try again; if it stays, the repository is damaged: run git fsck on it")
		}
		return err
	}
	return nil
}

// count is the number of wanted entries whose content is not here.
func (s *Source) count(want godwit.Listing, into godwit.Objects) (n int, err error) {
	c := missing(want, into, s.cache.format.Algorithm())
	defer c.stop()
	for ; c.ok; c.advance() {
		n++
	}
	return n, c.err
}

// A fetchJob is one call of Fetch.
type fetchJob struct {
	s    *Source
	want godwit.Listing
	into godwit.Objects
	root object.ID // the release's tree
	tip  godwit.Tip
	caps wire.Capabilities
}

// tree asks for the release with its contents, as deltas against bases where
// there are any, and without what need not be sent if sparing.
func (j *fetchJob) tree(ctx context.Context, bases []object.ID, sparing bool) error {
	s := j.s
	var old object.ID
	if len(bases) > 0 {
		info, err := s.cache.commit(bases[0])
		if err != nil {
			return nil // damaged since: the next step does without
		}
		old = info.Tree
		found, _, err := s.haves(j.root, old, j.want, j.into, nil)
		if err != nil {
			return err
		}
		if found == 0 {
			return nil // the server takes everything for installed
		}
	}
	req := wire.FetchRequest{Want: []string{j.tip.Commit}, ThinPack: true, OfsDelta: true}
	if j.caps.Shallow {
		req.Depth = 1
		for _, b := range bases {
			req.Shallow = append(req.Shallow, b.String())
		}
	}
	var list haveList
	req.Have = func(yield func(string) bool) {
		for _, b := range bases {
			if !yield(b.String()) {
				return
			}
		}
		if sparing {
			_, _, err := s.haves(j.root, old, j.want, j.into, func(id object.ID) bool { return yield(id.String()) })
			list.failed(err)
		}
	}
	if s.typeFilter(j.caps) {
		// The trees are here: contents alone will do.
		req.Filter = "object:type=blob"
	}
	pack, _, err := s.remote.Fetch(ctx, req)
	if err != nil && req.Filter != "" && ctx.Err() == nil && list.err == nil {
		// Hosts may forbid single filters, and may just hang up on them.
		s.noTypeFilter, req.Filter = true, ""
		pack, _, err = s.remote.Fetch(ctx, req)
	}
	return j.stage(pack, list.or(err))
}

// typeFilter reports whether the server can leave out all but contents: git
// itself can since version 2.32.
func (s *Source) typeFilter(caps wire.Capabilities) bool {
	var major, minor int
	v, ok := strings.CutPrefix(caps.Agent, "git/")
	if !ok || !caps.Filter || s.noTypeFilter {
		return false
	}
	a, rest, _ := strings.Cut(v, ".")
	b, _, _ := strings.Cut(rest, ".")
	major, err := strconv.Atoi(a)
	if err == nil {
		minor, err = strconv.Atoi(b)
	}
	return err == nil && (major > 2 || major == 2 && minor >= 32)
}

// maxSingle is how many contents one request names.
const maxSingle = 256

// single asks for contents by their ids. They come whole.
func (j *fetchJob) single(ctx context.Context) error {
	next, stop := iter.Pull(j.missingIDs())
	defer stop()
	for {
		var ids []string
		for len(ids) < maxSingle {
			id, ok := next()
			if !ok {
				break
			}
			ids = append(ids, id.String())
		}
		slices.Sort(ids)
		ids = slices.Compact(ids)
		if len(ids) == 0 {
			return nil
		}
		pack, _, err := j.s.remote.Fetch(ctx, wire.FetchRequest{Want: ids, OfsDelta: true})
		if err := j.stage(pack, err); err != nil {
			return err
		}
	}
}

func (j *fetchJob) missingIDs() iter.Seq[object.ID] {
	return func(yield func(object.ID) bool) {
		c := missing(j.want, j.into, j.s.cache.format.Algorithm())
		defer c.stop()
		for ; c.ok; c.advance() {
			if !yield(c.id) {
				return
			}
		}
	}
}

// stage unpacks what a request brought.
func (j *fetchJob) stage(pack io.ReadCloser, err error) error {
	if err != nil {
		return err
	}
	defer pack.Close()
	j.s.unpack.Progress = j.s.progress(godwit.StageFetch)
	_, err = j.s.unpack.Unpack(pack, &blobSink{into: j.into})
	return err
}

// blobSink hands contents on and passes everything else over.
type blobSink struct {
	into godwit.Objects
	n    int   // contents that were handed on
	err  error // of into
}

func (b *blobSink) Create(kind object.Type, size int64) (object.Writer, error) {
	if kind != object.Blob {
		return nil, nil
	}
	n, err := b.into.Create(size)
	if err != nil {
		b.err = err
		return nil, err
	}
	return blobWriter{n, b}, nil
}

func (b *blobSink) Base(id object.ID) (object.Base, object.Type, error) {
	o, err := b.into.Open(id.Blob())
	return o, object.Blob, err
}

type blobWriter struct {
	godwit.NewObject
	sink *blobSink
}

func (w blobWriter) Write(p []byte) (int, error) {
	n, err := w.NewObject.Write(p)
	if err != nil {
		w.sink.err = err
	}
	return n, err
}

func (w blobWriter) Commit(id object.ID) error {
	err := w.NewObject.Commit(id.Blob())
	if err != nil {
		w.sink.err = err
	} else {
		w.sink.n++
	}
	return err
}

// absorb hands over the contents of packs that Describe kept, and removes them.
// inVain is the size, in bytes, of those that were cut before any content of theirs
// had come whole.
func (s *Source) absorb(into godwit.Objects) (inVain int64, err error) {
	for len(s.cache.spools) > 0 {
		name := s.cache.spools[0]
		sink := &blobSink{into: into}
		size, err := s.readSpool(name, sink)
		if err != nil {
			if sink.err != nil {
				return 0, err // the device's: the pack is still good
			}
			// It was cut, or damaged since. What came before is staged.
			s.cfg.Events.Say(godwit.StageFetch, godwit.Debug, name+" ends early: "+err.Error())
			if sink.n == 0 {
				inVain += size
			}
		}
		s.cache.remove(name)
		s.cache.spools = s.cache.spools[1:]
	}
	return inVain, nil
}

// readSpool unpacks a pack that was kept, and tells its size.
func (s *Source) readSpool(name string, sink object.Sink) (size int64, err error) {
	f, err := s.cfg.State.Open(name, vfs.Read)
	if err != nil {
		return 0, vfs.StateError(err)
	}
	defer f.Close()
	if size, err = f.Size(); err != nil {
		return 0, vfs.StateError(err)
	}
	s.unpack.Progress = nil
	_, err = s.unpack.Unpack(f, sink)
	return size, err
}

// spooledHaves adds the contents that lie in packs of cut exchanges to a list
// of what is here. Those that are deltas against installed files are not found:
// here is no way to read these.
func (s *Source) spooledHaves(bases iter.Seq[string], list *haveList) (iter.Seq[string], error) {
	name := s.cache.folder + "/haves"
	f, err := newTemporary(s.cfg.State, name)
	if err != nil {
		return nil, vfs.StateError(err)
	}
	defer f.Close()
	w := bufio.NewWriterSize(f, 4<<10)
	for _, sp := range s.cache.spools {
		s.readSpool(sp, idSink{w}) // it is cut: an error is expected
	}
	if err := w.Flush(); err != nil {
		return nil, vfs.StateError(err)
	}
	return func(yield func(string) bool) {
		for b := range bases {
			if !yield(b) {
				return
			}
		}
		f, err := s.cfg.State.Open(name, vfs.Read)
		if err != nil {
			list.failed(err)
			return
		}
		defer f.Close()
		r := bufio.NewReaderSize(f, 4<<10)
		for sum := make([]byte, s.cache.format.Size()); ; {
			if _, err := io.ReadFull(r, sum); err != nil {
				list.failed(err)
				return
			}
			id := object.MakeID(s.cache.format, sum)
			if !yield(id.String()) {
				return
			}
		}
	}, nil
}

func newTemporary(fsys vfs.FS, name string) (vfs.File, error) {
	if err := fsys.Remove(name); err != nil && !isAbsent(err) {
		return nil, err
	}
	return fsys.Open(name, vfs.Write|vfs.Excl)
}

// idSink writes down the ids of contents.
type idSink struct{ w io.Writer }

func (idSink) Base(object.ID) (object.Base, object.Type, error) { return nil, 0, fs.ErrNotExist }

func (s idSink) Create(kind object.Type, size int64) (object.Writer, error) {
	if kind != object.Blob {
		return nil, nil
	}
	return idWriter(s), nil
}

type idWriter idSink

func (idWriter) Write(p []byte) (int, error) { return len(p), nil }
func (w idWriter) Commit(id object.ID) error { _, err := w.w.Write(id.Sum()); return err }
func (idWriter) Abort()                      {}
