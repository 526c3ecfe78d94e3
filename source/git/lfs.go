package git

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/source/git/lfs"
	"github.com/godwit-ota/godwit/source/git/object"
	"github.com/godwit-ota/godwit/source/git/wire"
	"github.com/godwit-ota/godwit/vfs"
)

// A pointer cannot be told from any other small file before it is read, and a
// listing must name what it stands for. So with LFS the small blobs that a
// release has and the installed ones have not are fetched along with the trees,
// into the cache. A mark, an object with an id of its own, says that this was
// done for a commit: a blob that is not in the cache then is no pointer.

// errPointers says that it was not done yet.
var errPointers = errors.New("the LFS pointers of the release are not known yet")

var errLFSFilter = godwit.Fail(godwit.CodeProtocol, wire.ErrNoFilter, "this host cannot send small files alone, which LFS needs",
	"on a host of your own: git config --system uploadpack.allowFilter true; or set source.lfs = false")

func pointerMark(commit object.ID) object.ID {
	h := object.NewHasher(commit.Format())
	h.Reset(object.Blob, 0)
	io.WriteString(h, "LFS pointers of "+commit.String()) // not of size 0: no blob has this id
	id, _ := h.ID()
	return id
}

func (s *Source) pointersKnown(commit object.ID) bool {
	return !s.cfg.LFS || s.cache.has(pointerMark(commit))
}

// pointer reads the blob id as an LFS pointer, if it is one.
func (w *walker) pointer(id object.ID) (lfs.Pointer, bool) {
	p, ok, err := w.c.find(id, &w.buf)
	if !ok || err != nil || p.kind != object.Blob || p.size >= lfs.PointerLimit {
		return lfs.Pointer{}, false
	}
	b := make([]byte, p.size)
	if _, err := p.reader().ReadAt(b, 0); err != nil && err != io.EOF {
		return lfs.Pointer{}, false
	}
	pointer, err := lfs.ParsePointer(b)
	return pointer, err == nil
}

// bringPointers fetches the small blobs of a commit whose trees are here.
func (s *Source) bringPointers(ctx context.Context, commit object.ID) error {
	caps, err := s.remote.Capabilities(ctx)
	if err != nil {
		return err
	}
	// Without thin-pack deltas are only against small blobs that come along:
	// nothing stays unread. But without it git does not look into the trees of
	// commits that are here, where history is cut off, so they are named too.
	here := slices.Clone(s.bases)
	for _, b := range s.bases {
		if info, err := s.cache.commit(b); err == nil {
			here = append(here, info.Tree)
		}
	}
	req := wire.FetchRequest{Want: []string{commit.String()}, Have: hexes(slices.Values(here)), OfsDelta: true}
	if caps.Shallow {
		req.Depth = 1
		for _, b := range s.bases {
			req.Shallow = append(req.Shallow, b.String())
		}
	}
	const small = "blob:limit=1024"
	req.Filter = small
	if s.typeFilter(caps) {
		req.Filter = "combine:object:type=blob+" + small
	}
	pack, _, err := s.remote.Fetch(ctx, req)
	if err != nil && req.Filter != small && ctx.Err() == nil {
		s.noTypeFilter, req.Filter = true, small
		pack, _, err = s.remote.Fetch(ctx, req)
	}
	if errors.Is(err, wire.ErrNoFilter) {
		return errLFSFilter
	}
	if err != nil {
		return err
	}
	defer pack.Close()
	if err := s.cache.begin(); err != nil {
		return err
	}
	s.unpack.Progress = s.progress(godwit.StageDescribe)
	if _, err = s.unpack.Unpack(pack, smallSink{treeSink{s.cache}}); err == nil {
		err = s.cache.b.create(object.Blob).Commit(pointerMark(commit))
	}
	if e := s.cache.finish(); err == nil {
		err = e
	}
	return err
}

// smallSink takes small blobs into the cache's new segment, too.
type smallSink struct{ treeSink }

func (t smallSink) Create(kind object.Type, size int64) (object.Writer, error) {
	if kind == object.Blob && size < lfs.PointerLimit {
		return t.c.b.create(kind), nil
	}
	return t.treeSink.Create(kind, size)
}

// absorbSmall hands over small contents that came with the pointers.
func (s *Source) absorbSmall(want godwit.Listing, into godwit.Objects) error {
	c := missing(want, into, s.cache.format.Algorithm())
	defer c.stop()
	for ; c.ok; c.advance() {
		p, ok, err := s.cache.find(c.id, &s.cache.buf)
		if err != nil {
			return err
		}
		if !ok || p.kind != object.Blob {
			continue
		}
		if err := keep(into, p.reader(), p.size, c.id.Blob()); err != nil {
			return err
		}
	}
	return c.err
}

// keep hands over a content that is known to have digest d.
func keep(into godwit.Objects, r io.Reader, size int64, d godwit.Digest) error {
	n, err := into.Create(size)
	if err != nil {
		return err
	}
	if _, err := io.CopyBuffer(struct{ io.Writer }{n}, r, make([]byte, min(size+1, 32<<10))); err != nil {
		n.Abort()
		return vfs.StateError(err)
	}
	return n.Commit(d)
}

// fetchLFS brings the contents that are kept by the LFS server.
func (s *Source) fetchLFS(ctx context.Context, want godwit.Listing, into godwit.Objects) error {
	client := lfs.New(s.remote, s.cfg.LFSEndpoint)
	var batch []lfs.Pointer
	flush := func() error {
		if err := client.Prepare(ctx, batch); err != nil {
			return err
		}
		for _, p := range batch {
			if into.Has(p.Digest()) {
				continue // twice in the tree
			}
			if err := s.download(ctx, client, p, into); err != nil {
				return err
			}
		}
		batch = batch[:0]
		return nil
	}
	c := missing(want, into, godwit.SHA256)
	defer c.stop()
	for ; c.ok; c.advance() {
		if c.entry.Size > s.cfg.Limits.ObjectSize && s.cfg.Limits.ObjectSize > 0 {
			return tooMuch("the LFS object of "+quote(c.entry.Path)+" is too large", "limits.max_file_bytes")
		}
		if batch = append(batch, lfs.Pointer{OID: c.entry.Digest.Hex(), Size: c.entry.Size}); len(batch) == lfs.BatchLimit {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if c.err != nil {
		return c.err
	}
	if err := flush(); err != nil {
		return err
	}
	return nil
}

// partials are the beginnings of contents that runs before have left: of LFS objects
// and of pages.
func (s *Source) partials() map[string]bool {
	names := map[string]bool{}
	s.cfg.State.ReadDir(s.cfg.Folder, func(i vfs.Info) error {
		if (strings.HasPrefix(i.Name, partialPrefix) || strings.HasPrefix(i.Name, pagePrefix)) && len(names) < 1000 {
			names[i.Name] = true
		}
		return nil
	})
	return names
}

// dropPartials removes those that a release has no use for. It is done before it is
// known whether the release has room.
func (s *Source) dropPartials(l godwit.Listing) error {
	names := s.partials()
	if len(names) == 0 {
		return nil
	}
	for e, err := range l {
		if err != nil {
			return err
		}
		if e.Digest.Algorithm == s.cache.format.Algorithm() {
			delete(names, pageName(object.IDOf(e.Digest)))
		} else {
			delete(names, partialPrefix+e.Digest.Hex()[:16])
		}
	}
	for n := range names {
		s.cache.remove(s.cfg.Folder + "/" + n)
	}
	return nil
}

const partialPrefix = "lfs-"

// download brings one object. What comes before a cut stays in the state folder
// for the next try.
func (s *Source) download(ctx context.Context, client *lfs.Client, p lfs.Pointer, into godwit.Objects) error {
	name := s.cfg.Folder + "/" + partialPrefix + p.OID[:16]
	f, err := s.cfg.State.Open(name, vfs.Write)
	if err != nil {
		return vfs.StateError(err)
	}
	came, err := f.Size()
	for further := err == nil; further; {
		err = client.Download(ctx, p, f, func(done int64) {
			s.cfg.Events.Emit(godwit.Event{Stage: godwit.StageFetch, Level: godwit.Progress, Done: done, Total: p.Size, Unit: "B"})
		})
		size, e := f.Size()
		further = s.goOn(ctx, err, e == nil && size > came)
		came = size
	}
	if err == nil {
		err = keep(into, io.NewSectionReader(f, 0, p.Size), p.Size, p.Digest())
	}
	if e := f.Close(); err == nil {
		err = vfs.StateError(e)
	}
	if err == nil {
		err = vfs.StateError(s.cfg.State.Remove(name))
	}
	return vfs.StateError(err)
}
