package web

import (
	"context"
	"errors"
	"hash"
	"io"
	"strconv"
	"strings"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/source/web/mirror"
	"github.com/godwit-ota/godwit/vfs"
)

// partialFrom is the size from which on the beginning of a file is kept in the
// state folder, so that a power cut does not cost it.
const partialFrom = 256 << 10

// maxCuts is how often a file is asked for again at the same mirror after a
// transfer that came no further.
const maxCuts = 2

// Fetch brings the contents of want, each checked against its digest. A file
// comes from files/ by its digest, or else by its path; where rel offers a patch
// for it, by that, unless the patch is of no use.
func (s *Source) Fetch(ctx context.Context, rel godwit.Described, want godwit.Listing, into godwit.Objects) error {
	f := fetch{s: s, release: rel.Commit, into: into}
	offered, stop := rel.Offers.At()
	defer stop()
	for e, err := range want {
		if err != nil {
			return err
		}
		if e.Size < 0 {
			return godwit.Fail(godwit.CodeBadManifest, nil, "the size of "+strconv.QuoteToGraphic(e.Path)+" is not known", "make the manifest with `godwit manifest`")
		}
		f.total += e.Size
	}
	for _, p := range rel.Trees {
		if done, err := f.tree(ctx, rel, want, p); err != nil {
			return err
		} else if done {
			break
		}
	}
	for e, err := range want {
		if err != nil {
			return err
		}
		if !into.Has(e.Digest) {
			patches, err := offered(e.Path)
			if err != nil {
				return err
			}
			if err := f.file(ctx, e, patches); err != nil {
				return err
			}
		}
		f.done += e.Size
	}
	s.dropPartials("")
	return nil
}

// A fetch is one call of Fetch.
type fetch struct {
	s           *Source
	release     string // its id
	into        godwit.Objects
	done, total int64 // bytes of the contents
}

// progress tells that part of whole bytes came of what stands for size bytes of
// contents.
func (f *fetch) progress(part, whole, size int64) {
	if whole > 0 && whole != size {
		part = int64(float64(part) / float64(whole) * float64(size))
	}
	f.s.cfg.Events.Emit(godwit.Event{Stage: godwit.StageFetch, Level: godwit.Progress, Done: f.done + part, Total: f.total, Unit: "B"})
}

// file brings one file: by a patch if one works, or whole.
func (f *fetch) file(ctx context.Context, e godwit.Entry, patches []godwit.Patch) error {
	for _, p := range patches {
		if done, err := f.patch(ctx, e, p); done || err != nil {
			return err
		}
	}
	d := download{s: f.s, e: e, into: f.into, progress: func(at int64) { f.progress(at, e.Size, e.Size) }}
	return d.run(ctx)
}

// dropPartials removes the beginnings of files but for one.
func (s *Source) dropPartials(but string) {
	var names []string
	s.cfg.State.ReadDir(s.cfg.Folder, func(i vfs.Info) error {
		if strings.HasPrefix(i.Name, partialPrefix) && i.Name != but && len(names) < 100 {
			names = append(names, i.Name)
		}
		return nil
	})
	for _, n := range names {
		s.spool.remove(n)
	}
}

// A download is one file under way. It goes to the device's new object at once,
// or by way of a file in the state folder if it is large.
type download struct {
	s        *Source
	e        godwit.Entry
	into     godwit.Objects
	progress func(int64)
	patch    bool // e is a patch, at Path in the folder

	object  godwit.NewObject
	partial vfs.File
	sum     hash.Hash
	at      int64 // bytes that are here, all of them in sum
	// mixed is set when what is here did not come in one answer: it may be the
	// beginning of something else.
	mixed bool
	// etag is that of the content whose beginning is here, as mirror from gave it.
	etag string
	from int
	cut  bool // the last answer broke off
}

func (d *download) run(ctx context.Context) (err error) {
	if d.e.Size >= partialFrom {
		d.s.dropPartials(partialPrefix + d.e.Digest.Hex())
		return d.spooled(ctx, d.keep)
	}
	if d.object, err = d.into.Create(d.e.Size); err != nil {
		return err
	}
	d.sum = d.e.Digest.Algorithm.New(d.e.Size)
	if err := d.all(ctx); err != nil {
		d.object.Abort()
		return err
	}
	return d.object.Commit(d.e.Digest)
}

// spooled brings the content by way of a file in the state folder, which use is
// called for once it is whole. The file stays if there is an error.
func (d *download) spooled(ctx context.Context, use func() error) (err error) {
	d.sum = d.e.Digest.Algorithm.New(d.e.Size)
	name := partialPrefix + d.e.Digest.Hex()
	if err := d.resume(name); err != nil {
		return vfs.StateError(err)
	}
	defer func() {
		if e := d.partial.Close(); err == nil {
			err = vfs.StateError(e)
		}
		if err == nil {
			err = d.s.spool.remove(name)
		}
	}()
	if err := d.all(ctx); err != nil {
		return err
	}
	return use()
}

// all asks the mirrors until the content is here.
func (d *download) all(ctx context.Context) error {
	err := d.s.each(ctx, false, func(i int, m mirror.Mirror) error { return d.ask(ctx, i, m) })
	if err == errMissing && !d.patch {
		err = godwit.Fail(godwit.CodeNetwork, nil, "the folder has no file "+strconv.QuoteToGraphic(d.e.Path)+", which its manifest lists", "it may not have come there yet: try later, or publish the release again")
	}
	return err
}

// resume reads what an earlier run left of the file.
func (d *download) resume(name string) error {
	if err := vfs.MkdirAll(d.s.cfg.State, d.s.cfg.Folder); err != nil {
		return err
	}
	f, err := d.s.cfg.State.Open(d.s.spool.name(name), vfs.Write)
	if err != nil {
		return err
	}
	d.partial = f
	size, err := f.Size()
	if err == nil && size > d.e.Size {
		size, err = 0, f.Truncate(0)
	}
	if err == nil {
		d.at, err = io.CopyBuffer(struct{ io.Writer }{d.sum}, io.NewSectionReader(f, 0, size), d.s.buf)
	}
	if err != nil {
		f.Close()
	}
	d.mixed = d.at > 0
	return err
}

// keep hands a large file over.
func (d *download) keep() error {
	n, err := d.into.Create(d.e.Size)
	if err != nil {
		return err
	}
	if _, err := io.CopyBuffer(struct{ io.Writer }{n}, io.NewSectionReader(d.partial, 0, d.e.Size), d.s.buf); err != nil {
		n.Abort()
		return vfs.StateError(err)
	}
	return n.Commit(d.e.Digest)
}

// restart throws away what came.
func (d *download) restart() (err error) {
	if d.at == 0 {
		return nil
	}
	d.sum = d.e.Digest.Algorithm.New(d.e.Size)
	d.at, d.mixed, d.etag = 0, false, ""
	if d.partial != nil {
		return vfs.StateError(d.partial.Truncate(0))
	}
	d.object.Abort()
	d.object, err = d.into.Create(d.e.Size)
	return err
}

func (d *download) write(p []byte) (err error) {
	if d.partial != nil {
		_, err = d.partial.WriteAt(p, d.at)
	} else {
		_, err = d.object.Write(p)
	}
	d.at += int64(len(p))
	d.sum.Write(p)
	return vfs.StateError(err)
}

// ask brings the file from one mirror. The error is errMissing if it is not
// there.
func (d *download) ask(ctx context.Context, i int, m mirror.Mirror) error {
	if d.patch {
		return d.bring(ctx, i, m, d.e.Path)
	}
	byDigest := d.e.Digest.Algorithm == godwit.SHA256
	first, second := d.e.Path, ""
	if byDigest {
		if first, second = FileName(d.e.Digest), d.e.Path; d.s.byPath {
			first, second = second, first
		}
	}
	err := d.bring(ctx, i, m, first)
	if second == "" || err != errMissing && godwit.CodeOf(err) != godwit.CodeBadObject {
		return err
	}
	if e := d.bring(ctx, i, m, second); e != errMissing {
		if e == nil {
			d.s.byPath = !d.s.byPath
		}
		return e
	}
	return err
}

// bring brings the file under one name, on from what is here.
func (d *download) bring(ctx context.Context, i int, m mirror.Mirror, path string) error {
	high := d.at
	for cuts := 0; ; {
		err := d.once(ctx, i, m, path)
		switch {
		case err == nil || err == errMissing || ctx.Err() != nil || isDisk(err):
			return err
		case err == errMixed:
			if err := d.restart(); err != nil {
				return err
			}
			continue
		case godwit.CodeOf(err) == godwit.CodeBadObject:
			if e := d.restart(); e != nil {
				return e
			}
			return err
		}
		d.mixed = d.at > 0
		if cuts++; d.at > high {
			cuts, high = 0, d.at
		}
		if cuts > maxCuts || !d.cut {
			return err
		}
	}
}

// errMixed says that what is here belongs to another content, or may, so that it
// is worth while to begin anew.
var errMixed = errors.New("pieces of different contents")

// once sends one request and takes what comes.
func (d *download) once(ctx context.Context, i int, m mirror.Mirror, path string) error {
	r := mirror.Request{Path: path, Offset: d.at}
	d.cut = false
	if d.from == i {
		r.ETag = d.etag
	}
	if d.at == d.e.Size && (d.mixed || d.at == 0) { // all of it is here already
		return d.check()
	}
	a, err := m.Get(ctx, r)
	if err != nil {
		return err
	}
	defer a.Body.Close()
	switch {
	case absent(a.Status):
		return errMissing
	case a.Status == mirror.NotSatisfiable && r.Offset > 0:
		return errMixed
	case a.Status != mirror.OK && a.Status != mirror.Partial || a.Offset != r.Offset && a.Offset != 0:
		return odd(path, a)
	case a.Size >= 0 && a.Size != d.e.Size:
		return d.wrong("is " + strconv.FormatInt(a.Size, 10) + " bytes long there, and " + strconv.FormatInt(d.e.Size, 10) + " by the manifest")
	}
	if a.Offset != d.at {
		if err := d.restart(); err != nil {
			return err
		}
	}
	d.etag, d.from = a.ETag, i
	for {
		n, err := a.Body.Read(d.s.buf)
		if int64(n) > d.e.Size-d.at {
			if d.mixed {
				return errMixed
			}
			return d.wrong("is longer there than the " + strconv.FormatInt(d.e.Size, 10) + " bytes that it has by the manifest")
		}
		if n > 0 {
			if err := d.write(d.s.buf[:n]); err != nil {
				return err
			}
			d.progress(d.at)
		}
		if err == io.EOF && d.at == d.e.Size {
			return d.check()
		}
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			d.cut = true
			return broken(path, err)
		}
	}
}

// check holds all that came against the digest.
func (d *download) check() error {
	if godwit.MakeDigest(d.e.Digest.Algorithm, d.sum.Sum(nil)) == d.e.Digest {
		return nil
	}
	if d.mixed {
		return errMixed
	}
	if d.patch {
		return d.wrong("differs from what the manifest says")
	}
	return d.wrong("has another content there than by the manifest")
}

func (d *download) wrong(how string) error {
	if d.patch {
		return godwit.Fail(godwit.CodeBadObject, nil, "it "+how, "publish the release again, or copy the folder's patches anew")
	}
	return godwit.Fail(godwit.CodeBadObject, nil, "the file "+strconv.QuoteToGraphic(d.e.Path)+" "+how,
		"the folder was changed after the manifest was made, or somebody tampers with it: publish the release again")
}
