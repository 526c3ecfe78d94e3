package git

import (
	"context"
	"errors"
	"io"
	"iter"
	"strconv"
	"strings"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/internal/http1"
	"github.com/godwit-ota/godwit/internal/webclient"
	"github.com/godwit-ota/godwit/plan"
	"github.com/godwit-ota/godwit/source/git/object"
	"github.com/godwit-ota/godwit/vfs"
)

// Git's protocol has no ranges: over a link that breaks again and again, a file
// that is larger than what comes between two cuts never comes. The pages that
// most hosts have for people give single files, and in ranges. So such a file is
// taken from there, piece by piece. That it is the right one its id tells.

const (
	// large is the size, in bytes, of a file on whose account Git may have come to
	// nothing.
	large = 32 << 10
	// maxSmall is how many smaller files come, a request each, before the rest is
	// left to Git again.
	maxSmall = 16

	pagePrefix = "page-" // of the beginnings of files, in the state folder
)

// Errors of pages: there are none, or none for this file that is of use now; what
// came is another content than the one that was asked for.
var (
	errNoPages = errors.New("the host does not give single files by ranges")
	errOther   = errors.New("another content")
)

// fromPages brings contents that are missing, but no more than maxSmall small ones,
// and none whose path is in installed: of these Git may send a difference, which is
// less. came is set if there was any. That pages are of no use is no error.
func (s *Source) fromPages(ctx context.Context, commit object.ID, want, installed godwit.Listing, into godwit.Objects) (came bool, err error) {
	hash := object.NewHasher(commit.Format())
	hash.Reset(object.Blob, 0)
	empty, err := hash.ID()
	if err != nil {
		return false, err
	}
	isOld, stop := pathsOf(installed)
	defer stop()
	c := missing(want, into, s.cache.format.Algorithm())
	defer c.stop()
	for n := 0; c.ok && n < maxSmall && !s.noPages; c.advance() {
		if old, err := isOld(c.entry.Path); err != nil {
			return came, err
		} else if old || c.entry.Mode == godwit.Symlink || c.id == empty { // which has no ranges
			continue
		}
		size, err := s.fromPage(ctx, commit, &c.entry, c.id, into)
		if err != nil && err != errNoPages {
			return came, err
		}
		if came = came || err == nil; size < large {
			n++
		}
	}
	return came, c.err
}

// pathsOf tells of paths, in ascending order, whether a listing has them.
func pathsOf(l godwit.Listing) (has func(path string) (bool, error), stop func()) {
	if l == nil {
		return func(string) (bool, error) { return false, nil }, func() {}
	}
	next, stop := iter.Pull2(iter.Seq2[godwit.Entry, error](l))
	e, err, ok := next()
	return func(path string) (bool, error) {
		for ok && err == nil && e.Path < path {
			e, err, ok = next()
		}
		return ok && err == nil && e.Path == path, err
	}, stop
}

// resumePages goes on with files whose beginnings an earlier run has left.
func (s *Source) resumePages(ctx context.Context, commit object.ID, want godwit.Listing, into godwit.Objects) error {
	begun := s.partials()
	if len(begun) == 0 {
		return nil
	}
	c := missing(want, into, s.cache.format.Algorithm())
	defer c.stop()
	for ; c.ok && !s.noPages; c.advance() {
		if !begun[pageName(c.id)] {
			continue
		}
		if _, err := s.fromPage(ctx, commit, &c.entry, c.id, into); err != nil && err != errNoPages {
			return err
		}
	}
	return c.err
}

func pageName(id object.ID) string { return pagePrefix + id.String()[:16] }

// fromPage brings one content, and tells its size. What comes before a cut stays in the
// state folder. Where nothing at all came the host is not asked again in this run.
func (s *Source) fromPage(ctx context.Context, commit object.ID, e *godwit.Entry, id object.ID, into godwit.Objects) (size int64, err error) {
	name := s.cfg.Folder + "/" + pageName(id)
	f, err := s.cfg.State.Open(name, vfs.Write)
	if err != nil {
		return 0, vfs.StateError(err)
	}
	p := page{s: s, commit: commit.String(), path: e.Path, f: f, into: into}
	if p.at, err = f.Size(); err != nil {
		err = vfs.StateError(err)
	}
	begun := p.at
	if err == nil {
		err = p.all(ctx, id)
	}
	if err == errOther && begun > 0 {
		// What an earlier run left may have been torn by a power cut.
		begun, p.at, p.size = 0, 0, 0
		if err = vfs.StateError(f.Truncate(0)); err == nil {
			err = p.all(ctx, id)
		}
	}
	drop := p.at == 0
	switch {
	case err == nil:
		err = keep(into, io.NewSectionReader(f, 0, p.size), p.size, id.Blob())
		drop = err == nil
	case err == errOther:
		s.cfg.Events.Say(godwit.StageFetch, godwit.Warning, "the page of the host for "+quote(e.Path)+" gives another content than Git does")
		s.noPages, drop, err = true, true, errNoPages
	case err == errNoPages:
		s.noPages = s.noPages || s.pages == ""
	case isCut(err) && ctx.Err() == nil && p.at <= begun:
		s.cfg.Events.Say(godwit.StageFetch, godwit.Debug, "the host's pages are of no use: "+err.Error())
		s.noPages, err = true, errNoPages
	}
	if e := f.Close(); err == nil {
		err = vfs.StateError(e)
	}
	if code := godwit.CodeOf(err); drop || code == godwit.CodeLimit || code == godwit.CodeDiskFull {
		s.cache.remove(name)
	}
	return p.size, err
}

// isCut reports whether an error is the host's or the link's, not this device's.
func isCut(err error) bool {
	switch godwit.CodeOf(err) {
	case godwit.CodeDiskFull, godwit.CodeReadOnly, godwit.CodeIO, godwit.CodeLimit:
		return false
	}
	return true
}

// A page is one file that is under way.
type page struct {
	s            *Source
	commit, path string
	f            vfs.File
	into         godwit.Objects
	at, size     int64 // bytes that are here, and of the whole; 0 as long as that is not known
}

// all brings the whole file.
func (p *page) all(ctx context.Context, id object.ID) (err error) {
	for further := true; further; {
		came := p.at
		err = p.more(ctx)
		further = p.s.goOn(ctx, err, p.at > came)
	}
	if err == nil {
		err = p.check(id)
	}
	return err
}

// more asks for the rest of the file.
func (p *page) more(ctx context.Context) error {
	for _, address := range p.s.remote.Pages(p.commit, p.path) {
		if p.s.pages != "" && p.s.pages != form(address, p.commit) {
			continue
		}
		resp, err := p.ask(ctx, address)
		if err != nil {
			return err
		}
		if resp == nil {
			continue
		}
		p.s.pages = form(address, p.commit)
		err = p.take(resp)
		resp.Body.Close()
		return err
	}
	return errNoPages
}

// form is the part of an address that is the same for all files of a host.
func form(address, commit string) string {
	before, _, _ := strings.Cut(address, "/"+commit+"/")
	return before
}

// ask asks one address. Without an answer that is of use the response is nil.
func (p *page) ask(ctx context.Context, address string) (*http1.Response, error) {
	r, err := http1.NewRequestWithContext(ctx, http1.MethodGet, address, nil)
	if err != nil {
		return nil, nil // no name for a page
	}
	r.Header.Set("Accept-Encoding", "identity")
	// Of what is here the last byte comes again: so there is always something to ask for.
	from := max(p.at-1, 0)
	r.Header.Set("Range", "bytes="+strconv.FormatInt(from, 10)+"-")
	resp, err := p.s.remote.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	at, size, ok := webclient.ContentRange(resp.Header.Get("Content-Range"))
	encoding := resp.Header.Get("Content-Encoding")
	switch {
	case resp.StatusCode == http1.StatusRequestedRangeNotSatisfiable && p.at > 0:
		err = errOther // which is shorter
	case resp.StatusCode >= 500 && p.s.pages != "":
		err = godwit.Fail(godwit.CodeNetwork, nil, "the host has a fault (HTTP "+strconv.Itoa(resp.StatusCode)+") where "+quote(p.path)+" was asked for", "try again later")
	case resp.StatusCode != http1.StatusPartialContent || !ok || at != from || size < 0 || encoding != "" && !strings.EqualFold(encoding, "identity"):
		resp.Body.Close()
		return nil, nil
	case p.size == 0:
		err = p.fits(size)
	case p.size != size:
		err = errOther
	}
	if err != nil {
		resp.Body.Close()
		return nil, err
	}
	p.at, p.size = from, size
	return resp, nil
}

// fits tells whether there may be a file of that size, and whether there is room for
// it twice: here, and where it goes to.
func (p *page) fits(size int64) error {
	n, err := p.into.Create(size)
	if err != nil {
		return err
	}
	n.Abort()
	free, err := p.s.cfg.State.Free()
	if err != nil {
		return vfs.StateError(err)
	}
	if free >= 0 && 2*size-p.at > free-p.s.cfg.Reserve {
		p.s.cfg.Events.Say(godwit.StageFetch, godwit.Warning, "there is no room to bring "+quote(p.path)+" in pieces: that takes twice its "+plan.Bytes(size))
		return errNoPages
	}
	return nil
}

// take writes down what comes.
func (p *page) take(resp *http1.Response) error {
	progress := p.s.cfg.Events
	for buf := make([]byte, 16<<10); ; {
		n, err := resp.Body.Read(buf)
		if int64(n) > p.size-p.at {
			return errOther
		}
		if n > 0 {
			if _, e := p.f.WriteAt(buf[:n], p.at); e != nil {
				return vfs.StateError(e)
			}
			p.at += int64(n)
			progress.Emit(godwit.Event{Stage: godwit.StageFetch, Level: godwit.Progress, Done: p.at, Total: p.size, Unit: "B"})
		}
		switch {
		case err == io.EOF && p.at < p.size:
			return godwit.Fail(godwit.CodeNetwork, io.ErrUnexpectedEOF, "the host sends "+quote(p.path)+" shorter than it said", "try again")
		case err == io.EOF:
			return nil
		case err != nil:
			if known := (*godwit.Error)(nil); !errors.As(err, &known) {
				err = godwit.Fail(godwit.CodeNetwork, err, "the connection broke while "+quote(p.path)+" came", "try again")
			}
			return err
		}
	}
}

// check tells whether what came has the id that the release names.
func (p *page) check(id object.ID) error {
	if have, err := p.f.Size(); err != nil || have != p.size {
		return errOther
	}
	h := object.NewHasher(id.Format())
	h.Reset(object.Blob, p.size)
	if _, err := io.CopyBuffer(struct{ io.Writer }{h}, io.NewSectionReader(p.f, 0, p.size), make([]byte, 16<<10)); err != nil {
		return vfs.StateError(err)
	}
	got, err := h.ID()
	if err == nil && got != id {
		err = errOther
	}
	return err
}
