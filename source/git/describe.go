package git

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"iter"
	"slices"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/source/git/object"
	"github.com/godwit-ota/godwit/source/git/wire"
	"github.com/godwit-ota/godwit/vfs"
)

func wrongFormat(said string) error {
	return godwit.Fail(godwit.CodeProtocol, nil, "the host says that its ids are "+said+", and they are not", "look at the host")
}

// bring fetches what the cache lacks of an admitted release, and describes it.
func (s *Source) bring(ctx context.Context, v godwit.Verified, commit object.ID) (godwit.Described, error) {
	// Trees that an exchange brought before it was cut are kept, so what comes
	// next may be little.
	spools := len(s.cache.spools)
	err := s.exchange(ctx, v.Tip, commit, s.bases)
	if s.goOn(ctx, err, len(s.cache.spools) > spools) {
		err = s.exchange(ctx, v.Tip, commit, s.bases)
	}
	d := godwit.Described{}
	if err == nil {
		d, err = s.describe(v, commit)
	}
	if isAbsent(err) {
		// The server took something for here that is not, as after damage to the
		// cache. Ask for all of it.
		s.cfg.Events.Say(godwit.StageDescribe, godwit.Debug, "once more and whole: "+err.Error())
		s.bases = nil
		if err = s.exchange(ctx, v.Tip, commit, nil); err == nil {
			d, err = s.describe(v, commit)
		}
	}
	return d, err
}

// exchange asks for tag, commit and trees, and lets the contents come along if
// that saves an exchange.
func (s *Source) exchange(ctx context.Context, tip godwit.Tip, commit object.ID, bases []object.ID) error {
	caps, err := s.remote.Capabilities(ctx)
	if err != nil {
		return err
	}
	if caps.ObjectFormat != s.cache.format.String() {
		return wrongFormat(caps.ObjectFormat)
	}
	if s.cfg.LFS && !caps.Filter {
		return errLFSFilter
	}
	treesFirst := caps.Filter && (s.cfg.Filter != nil || s.cfg.LFS || len(bases) == 0 || len(s.cache.spools) > 0)
	req := wire.FetchRequest{
		Want:     []string{tip.Commit},
		Have:     hexes(slices.Values(bases)),
		ThinPack: true,
		OfsDelta: true,
	}
	if tip.Tag != "" && !s.haveTag(tip.Tag) {
		req.Want[0] = tip.Tag
	}
	if caps.Shallow {
		req.Depth = 1
		for _, b := range bases {
			req.Shallow = append(req.Shallow, b.String())
		}
	}
	var list haveList
	resuming := !treesFirst && len(s.cache.spools) > 0 // the question below was answered before
	if len(bases) > 0 && !resuming {
		// Ask first whether the server still knows what is installed: if not,
		// because history was rewritten, it would send everything.
		req.Negotiate = true
		pack, info, err := s.remote.Fetch(ctx, s.filtered(req, treesFirst))
		if err == nil {
			return s.receive(ctx, pack, !treesFirst)
		}
		if !errors.Is(err, wire.ErrNotReady) {
			if treesFirst && errors.Is(err, wire.ErrNoFilter) {
				return s.exchangeWhole(ctx, req)
			}
			return err
		}
		req.Negotiate = false
		s.bases = slices.DeleteFunc(slices.Clone(bases), func(b object.ID) bool {
			return !slices.Contains(info.Common, b.String())
		})
		s.cfg.Events.Say(godwit.StageDescribe, godwit.Debug, "history was rewritten")
		req.Have = hexes(slices.Values(s.bases))
		if len(s.bases) == 0 {
			if treesFirst = caps.Filter; !treesFirst {
				req.Have = s.allTrees(bases[0], &list)
			}
		}
	}
	if treesFirst {
		req.Have = s.treeHaves(commit, s.bases, &list)
	} else if len(s.cache.spools) > 0 {
		if req.Have, err = s.spooledHaves(req.Have, &list); err != nil {
			return err
		}
	}
	pack, _, err := s.remote.Fetch(ctx, s.filtered(req, treesFirst))
	if treesFirst && errors.Is(err, wire.ErrNoFilter) {
		return s.exchangeWhole(ctx, req)
	}
	if err != nil {
		return list.or(err)
	}
	return s.receive(ctx, pack, !treesFirst)
}

// haveTag reports whether the cache holds the tag, and tags that it names.
func (s *Source) haveTag(tag string) bool {
	id, err := object.ParseID(tag)
	for range maxTagChain {
		var info object.TagInfo
		if err == nil {
			info, err = s.cache.tag(id)
		}
		if err != nil || info.Type != object.Tag {
			break
		}
		id = info.Object
	}
	return err == nil
}

// exchangeWhole is for a server that turned out to have no filter.
func (s *Source) exchangeWhole(ctx context.Context, req wire.FetchRequest) error {
	req.Have, req.Negotiate = hexes(slices.Values(s.bases)), false
	pack, _, err := s.remote.Fetch(ctx, s.filtered(req, false))
	if err != nil {
		return err
	}
	return s.receive(ctx, pack, true)
}

func (s *Source) filtered(req wire.FetchRequest, treesOnly bool) wire.FetchRequest {
	if treesOnly {
		req.Filter = "blob:none"
	}
	return req
}

func hexes(ids iter.Seq[object.ID]) iter.Seq[string] {
	return func(yield func(string) bool) {
		for id := range ids {
			if !yield(id.String()) {
				return
			}
		}
	}
}

// treeHaves names the bases, and trees of the release that an exchange brought
// before it was cut.
func (s *Source) treeHaves(commit object.ID, bases []object.ID, list *haveList) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, b := range bases {
			if !yield(b.String()) {
				return
			}
		}
		info, err := s.cache.commit(commit)
		if err == nil {
			_, err = newWalker(s.cache).wholeTrees(0, info.Tree, func(id object.ID) bool { return yield(id.String()) })
		}
		list.failed(err)
	}
}

// allTrees names all trees of a commit that the server no longer has: most of
// them are in what came instead.
func (s *Source) allTrees(commit object.ID, list *haveList) iter.Seq[string] {
	return func(yield func(string) bool) {
		info, err := s.cache.commit(commit)
		if err != nil {
			list.failed(err)
			return
		}
		if !yield(info.Tree.String()) {
			return
		}
		err = newWalker(s.cache).walk(0, info.Tree, nil, func(path []byte, e object.TreeEntry) (bool, error) {
			if e.Mode == object.ModeDir && !yield(e.ID.String()) {
				return false, errStop
			}
			return e.Mode == object.ModeDir, nil
		})
		if err != errStop {
			list.failed(err)
		}
	}
}

// receive takes a pack into the cache. With spool it also keeps the pack for
// Fetch, which unpacks the contents.
func (s *Source) receive(ctx context.Context, pack io.ReadCloser, spool bool) (err error) {
	defer pack.Close()
	var in io.Reader = pack
	var sp *spoolWriter
	if spool {
		if sp, err = s.cache.newSpool(); err != nil {
			return err
		}
		in = io.TeeReader(pack, sp)
	}
	if err := s.cache.begin(); err != nil {
		if sp != nil {
			sp.drop()
		}
		return err
	}
	s.unpack.Progress = s.progress(godwit.StageDescribe)
	_, err = s.unpack.Unpack(in, treeSink{s.cache})
	// What came before an error is whole.
	if e := s.cache.finish(); err == nil {
		err = e
	}
	if sp != nil {
		if e := sp.finish(s.cache, err); err == nil {
			err = e
		}
	}
	return err
}

// treeSink takes everything but blobs into the cache's new segment.
type treeSink struct{ c *cache }

func (t treeSink) Create(kind object.Type, size int64) (object.Writer, error) {
	switch kind {
	case object.Blob:
		return nil, nil
	case object.Tree:
		if size > maxTree {
			return nil, tooMuch("the release has a folder of too many files", "")
		}
	default:
		if size > maxTag {
			return nil, tooMuch("the release's "+kind.String()+" object is larger than 1 MiB", "")
		}
	}
	return t.c.b.create(kind), nil
}

// maxTree bounds one tree: about a million entries.
const maxTree = 64 << 20

func (t treeSink) Base(id object.ID) (object.Base, object.Type, error) {
	p, ok, err := t.c.find(id, &t.c.buf)
	if err != nil {
		return nil, 0, err
	}
	if !ok {
		return nil, 0, fs.ErrNotExist
	}
	return cachedBase{p.reader()}, p.kind, nil
}

type cachedBase struct{ *io.SectionReader }

func (cachedBase) Close() error { return nil }

// progress makes a function that tells what has come. Git does not say how many
// bytes there will be, only how many objects: the total is an estimate.
func (s *Source) progress(stage godwit.Stage) func(done, total int64) {
	_, before := s.remote.Transferred()
	last := int64(0)
	return func(done, total int64) {
		_, now := s.remote.Transferred()
		if now -= before; now-last < 16<<10 && done < total {
			return
		}
		last = now
		e := godwit.Event{Stage: stage, Level: godwit.Progress, Done: now, Unit: "B"}
		if done == total {
			e.Total = now
		} else if done >= 20 {
			e.Total = int64(float64(now) / float64(done) * float64(total))
		}
		s.cfg.Events.Emit(e)
	}
}

// A spoolWriter keeps a pack as it came. It never fails: a pack that finds no
// room is given up, and its contents are asked for again.
type spoolWriter struct {
	c    *cache
	f    vfs.File
	name string
	at   int64
	buf  []byte
	err  error
}

// maxSpools is how many packs are kept. More than one are what cut exchanges
// left.
const maxSpools = 4

func (c *cache) newSpool() (*spoolWriter, error) {
	for len(c.spools) >= maxSpools {
		c.remove(c.spools[0])
		c.spools = c.spools[1:]
	}
	name := c.name("pack", c.next)
	c.next++
	f, err := c.fsys.Open(name, vfs.Write|vfs.Excl)
	if err != nil {
		return nil, vfs.StateError(err)
	}
	return &spoolWriter{c: c, f: f, name: name, buf: make([]byte, 0, 32<<10)}, nil
}

func (w *spoolWriter) Write(p []byte) (int, error) {
	if len(w.buf)+len(p) > cap(w.buf) {
		w.flush()
	}
	if len(p) > cap(w.buf) {
		w.put(p)
	} else if w.err == nil {
		w.buf = append(w.buf, p...)
	}
	return len(p), nil
}

func (w *spoolWriter) flush() {
	w.put(w.buf)
	w.buf = w.buf[:0]
}

func (w *spoolWriter) put(p []byte) {
	if w.err != nil {
		return
	}
	if _, w.err = w.f.WriteAt(p, w.at); w.err != nil {
		w.f.Truncate(0) // gives the space back at once
	}
	w.at += int64(len(p))
}

// finish keeps the spool unless it is worthless. result is how unpacking ended:
// a pack that is cut has whole objects in it, one that is wrong is not kept.
func (w *spoolWriter) finish(c *cache, result error) error {
	w.flush()
	if code := godwit.CodeOf(result); w.err != nil || w.at == 0 || code == godwit.CodeBadObject || code == godwit.CodeLimit {
		w.drop()
		if w.err != nil && !vfs.Full(w.err) {
			return vfs.StateError(w.err)
		}
		return nil
	}
	if err := w.f.Close(); err != nil {
		return vfs.StateError(err)
	}
	c.spools = append(c.spools, w.name)
	return nil
}

func (w *spoolWriter) drop() {
	w.f.Close()
	w.c.remove(w.name)
}
