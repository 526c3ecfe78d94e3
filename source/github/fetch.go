package github

import (
	"context"
	"errors"
	"hash"
	"io"
	"strconv"
	"strings"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/internal/webclient"
	"github.com/godwit-ota/godwit/source/git/object"
	"github.com/godwit-ota/godwit/vfs"
)

const (
	copySize = 16 << 10
	// keepFrom is the size from which the beginning of a file is kept when its
	// transfer breaks, for the next run.
	keepFrom = 256 << 10
)

// Fetch brings the contents that want names into into, as far as they are not
// there: one request each.
func (s *Source) Fetch(ctx context.Context, d godwit.Described, want godwit.Listing, into godwit.Objects) error {
	var done, total int64
	for e, err := range want {
		if err != nil {
			return err
		}
		if e.Size > 0 && !into.Has(e.Digest) {
			total += e.Size
		}
	}
	buf := make([]byte, copySize)
	offered, stop := d.Offers.At()
	defer stop()
	useless := 0 // patches, one after the other
	for e, err := range want {
		if err != nil {
			return err
		}
		if into.Has(e.Digest) {
			continue
		}
		patches, err := offered(e.Path)
		if err != nil {
			return err
		}
		job := fetch{s: s, e: &e, commit: d.Commit, buf: buf, base: done, total: total}
		came := false
		if len(patches) > 0 && useless < maxUseless {
			if came, err = job.patched(ctx, patches[0], into); came {
				useless = 0
			} else {
				useless++
			}
		}
		if !came && err == nil {
			err = job.run(ctx, into)
		}
		if err != nil {
			if code := godwit.CodeOf(err); isBlob(e.Digest) && (code == godwit.CodeBadObject || code == godwit.CodeLimit) {
				// Ids of trees say nothing of sizes: these may have been wrong.
				s.dropFiles(treePrefix)
			}
			return err
		}
		done += max(job.at, 0)
	}
	s.dropFiles(partPrefix)
	return nil
}

// A fetch is one file under way.
type fetch struct {
	s           *Source
	e           *godwit.Entry
	commit      string
	buf         []byte
	base, total int64 // of all files, for progress
	at          int64 // bytes of it that came
	size        int64 // of it
	sum         hash.Hash
	git         *object.Hasher // instead of sum
}

func (f *fetch) run(ctx context.Context, into godwit.Objects) error {
	if f.e.Size > f.s.cfg.Limits.FileBytes {
		return f.tooLarge()
	}
	if f.e.Size >= 0 && f.e.Size < keepFrom {
		return f.straight(ctx, into)
	}
	return f.kept(ctx, into)
}

func (f *fetch) tooLarge() error {
	return fail(godwit.CodeLimit, "raise the limit, if the release is meant to be like this", "the file ", quote(f.e.Path), " is larger than limits.max_file_bytes allows")
}

// begin starts the digest of a content of size bytes.
func (f *fetch) begin(size int64) {
	f.sum, f.git, f.at, f.size = nil, nil, 0, size
	switch f.e.Digest.Algorithm {
	case godwit.GitSHA1:
		f.git = object.NewHasher(object.SHA1)
	case godwit.GitSHA256:
		f.git = object.NewHasher(object.SHA256)
	default:
		f.sum = f.e.Digest.Algorithm.New(size)
		return
	}
	f.git.Reset(object.Blob, size)
}

func (f *fetch) write(p []byte) {
	f.at += int64(len(p))
	if f.git != nil {
		f.git.Write(p)
	} else {
		f.sum.Write(p)
	}
}

// check compares the digest of what came.
func (f *fetch) check() error {
	got := f.e.Digest
	if f.git != nil {
		id, err := f.git.ID()
		if err != nil {
			return err
		}
		got = id.Blob()
	} else {
		got = godwit.MakeDigest(got.Algorithm, f.sum.Sum(nil))
	}
	if got != f.e.Digest {
		return f.wrong("a content that is not the one of the release")
	}
	return nil
}

type wrongContent struct{ err error }

func (w *wrongContent) Error() string { return w.err.Error() }
func (w *wrongContent) Unwrap() error { return w.err }

// ask asks for the content from an offset on.
func (f *fetch) ask(ctx context.Context, offset int64) (*webclient.Answer, error) {
	s, what := f.s, "the file "+quote(f.e.Path)
	address := s.fileAt(f.commit, f.e, s.raw)
	for {
		r := webclient.Request{URL: address, Offset: offset, Resume: true}
		if s.kind == gitHub {
			r.Header = map[string]string{"Accept": "application/vnd.github.raw+json"}
		}
		a, err := s.get(ctx, r)
		if err != nil {
			return nil, err
		}
		switch {
		case a.Status == 404 || a.Status == 410:
			err = fail(godwit.CodeMissingObject, "push the commit that the release was made from, and make the release again", "the host does not have ", what, " of the release")
		case a.Status != 200 && a.Status != 206:
			err = s.refused(a, what)
		case a.Size < 0 && f.e.Size < 0:
			err = fail(godwit.CodeProtocol, "a proxy may be in the way", "the host does not say how large ", what, " is")
		case a.Size >= 0 && f.e.Size >= 0 && a.Size != f.e.Size:
			err = f.wrong(strconv.FormatInt(a.Size, 10), " instead of ", strconv.FormatInt(f.e.Size, 10), " bytes")
		default:
			return a, nil
		}
		a.Body.Close()
		// A host for files alone may not know of a new name, or of a token.
		other := s.fileAt(f.commit, f.e, "")
		if godwit.CodeOf(err) != godwit.CodeMissingObject || other == address {
			return nil, err
		}
		address = other
	}
}

// wrong is the error of a content that is not the one of the release.
func (f *fetch) wrong(how ...string) error {
	return &wrongContent{fail(godwit.CodeBadObject, "try again; if it stays, the release was changed after its manifest was made, or the host or somebody between lies",
		"the host sends ", quote(f.e.Path), " with ", strings.Join(how, ""))}
}

// straight brings a small file.
func (f *fetch) straight(ctx context.Context, into godwit.Objects) error {
	a, err := f.ask(ctx, 0)
	if err != nil {
		return err
	}
	defer a.Body.Close()
	n, err := into.Create(f.e.Size)
	if err != nil {
		return err
	}
	f.begin(f.e.Size)
	if err = f.copy(a.Body, n); err == nil {
		if err = f.check(); err == nil {
			return n.Commit(f.e.Digest)
		}
	}
	n.Abort()
	return err
}

// copy takes in what comes, up to the size of the entry.
func (f *fetch) copy(from io.Reader, to io.Writer) error {
	for {
		n, err := from.Read(f.buf)
		if int64(n) > f.size-f.at {
			return f.wrong("more bytes than the release says")
		}
		if n > 0 {
			if _, e := to.Write(f.buf[:n]); e != nil {
				return vfs.StateError(e)
			}
			f.write(f.buf[:n])
			f.s.cfg.Events.Emit(godwit.Event{Stage: godwit.StageFetch, Level: godwit.Progress, Done: f.base + f.at, Total: f.total, Unit: "B"})
		}
		switch {
		case err == io.EOF && f.at < f.size:
			return godwit.Fail(godwit.CodeNetwork, io.ErrUnexpectedEOF, "the host sends "+quote(f.e.Path)+" shorter than the release says", "try again")
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
}

// kept brings a file by way of one in the state folder, where its beginning
// stays if the transfer breaks.
func (f *fetch) kept(ctx context.Context, into godwit.Objects) error {
	name := f.s.inFolder(partPrefix + f.e.Digest.Hex()[:16])
	if err := f.s.makeFolder(); err != nil {
		return err
	}
	file, err := f.s.cfg.State.Open(name, vfs.Write)
	if err != nil {
		return vfs.StateError(err)
	}
	mixed, err := f.fill(ctx, file)
	var wrong *wrongContent
	if mixed && errors.As(err, &wrong) {
		// The beginning was of something else.
		if err = vfs.StateError(file.Truncate(0)); err == nil {
			_, err = f.fill(ctx, file)
		}
	}
	switch {
	case err == nil:
		err = f.hand(file, into)
	case errors.As(err, &wrong):
		file.Truncate(0) // the next run begins anew
	}
	if e := file.Close(); err == nil {
		err = vfs.StateError(e)
	}
	if err == nil {
		err = vfs.StateError(f.s.cfg.State.Remove(name))
	}
	return err
}

// fill makes a file the content. mixed is set if some of it was there before.
func (f *fetch) fill(ctx context.Context, file vfs.File) (mixed bool, err error) {
	have, err := file.Size()
	if err != nil {
		return false, vfs.StateError(err)
	}
	if f.e.Size < 0 || have > f.e.Size {
		have = 0 // without its size a digest of it cannot be begun
	}
	var a *webclient.Answer
	if have < f.e.Size || f.e.Size < 0 {
		if a, err = f.ask(ctx, have); err != nil {
			return have > 0, err
		}
		defer a.Body.Close()
		have = a.Offset
	}
	if err := file.Truncate(have); err != nil {
		return false, vfs.StateError(err)
	}
	size := f.e.Size
	if size < 0 {
		size = a.Size
	}
	if size > f.s.cfg.Limits.FileBytes {
		return false, f.tooLarge()
	}
	f.begin(size)
	for f.at < have {
		n, err := file.ReadAt(f.buf[:min(int64(len(f.buf)), have-f.at)], f.at)
		if n == 0 {
			return true, vfs.StateError(err)
		}
		f.write(f.buf[:n])
	}
	if a != nil {
		if err := f.copy(a.Body, &tail{file, have}); err != nil {
			return have > 0, err
		}
	}
	return have > 0, f.check()
}

// tail writes behind what is there.
type tail struct {
	f  vfs.File
	at int64
}

func (t *tail) Write(p []byte) (int, error) {
	n, err := t.f.WriteAt(p, t.at)
	t.at += int64(n)
	return n, err
}

// hand gives the content over.
func (f *fetch) hand(file vfs.File, into godwit.Objects) error {
	n, err := into.Create(f.at)
	if err != nil {
		return err
	}
	if _, err := io.CopyBuffer(struct{ io.Writer }{n}, io.NewSectionReader(file, 0, f.at), f.buf); err != nil {
		n.Abort()
		return vfs.StateError(err)
	}
	return n.Commit(f.e.Digest)
}
