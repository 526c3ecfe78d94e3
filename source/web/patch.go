package web

import (
	"context"
	"errors"
	"hash"
	"io"
	"io/fs"
	"slices"
	"strconv"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/delta"
	"github.com/godwit-ota/godwit/vfs"
)

// maxBroken is how many patches of a release may turn out to be of no use before
// no others of it are tried.
const maxBroken = 16

// step is how many bytes of a content a patch makes before the context is asked
// again.
const step = 64 << 10

// Patched tells what became of patches so far.
func (s *Source) Patched() godwit.Patched { return s.patched }

// patch brings e by the patch p. It is not done where the whole content has to
// come in its place; an error is one that the whole content would meet as well.
func (f *fetch) patch(ctx context.Context, e godwit.Entry, p godwit.Patch) (done bool, err error) {
	s := f.s
	if !s.usable(f.release, p) {
		return false, nil
	}
	old, err := f.into.Open(p.From)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
		s.fellBack(strconv.QuoteToGraphic(e.Path), "what it was made for is no longer on this device")
		return false, nil
	}
	defer old.Close()
	return f.bring(ctx, p, strconv.QuoteToGraphic(e.Path), e.Size, func(file vfs.File) (wrong, fault error) { return f.apply(ctx, file, old, e, p) })
}

// bring brings the patch p for what is called name, of size bytes, and has it
// applied.
func (f *fetch) bring(ctx context.Context, p godwit.Patch, name string, size int64, apply func(vfs.File) (wrong, fault error)) (done bool, err error) {
	s := f.s
	d := download{s: s, e: godwit.Entry{Path: PatchName(p.Sum), Digest: p.Sum, Size: p.Size}, into: f.into, patch: true}
	d.progress = func(at int64) { f.progress(at, p.Size, size) }
	var fault error // of this device, or of the run
	err = d.spooled(ctx, func() (err error) {
		err, fault = apply(d.partial)
		return errors.Join(err, fault)
	})
	switch {
	case err == nil:
		s.patched.Applied++
		s.patched.Saved += size - p.Size
		return true, nil
	case fault != nil:
		return false, fault
	case ctx.Err() != nil || isDisk(err):
		return false, err
	case temporary(err) && !s.late(f.release, p):
		return false, err // on a slow link the next run goes on with the patch
	case err == errMissing:
		err = errors.New("the folder does not have it")
	}
	if disk := (*fs.PathError)(nil); !errors.As(err, &disk) { // which is no fault of the patch
		s.broken(f.release, p)
	}
	if err := s.spool.remove(partialPrefix + p.Sum.Hex()); err != nil {
		return false, err
	}
	s.fellBack(name, err.Error())
	return false, nil
}

// apply makes e of old and the patch in file, which has its sum. wrong says that
// the patch is of no use; fault is any other error.
func (f *fetch) apply(ctx context.Context, file vfs.File, old godwit.Object, e godwit.Entry, p godwit.Patch) (wrong, fault error) {
	h, err := delta.ReadHeader(io.NewSectionReader(file, 0, p.Size))
	switch {
	case err != nil:
		return ofPatch(err), nil
	case h.NewSize != e.Size:
		return errors.New("it makes another number of bytes than the manifest says"), nil
	case int64(h.Tier.Memory()) > p.Memory:
		return errors.New("it takes more memory than the manifest says"), nil
	}
	object, err := f.into.Create(e.Size)
	if err != nil {
		return nil, err
	}
	out := &hashed{NewObject: object, sum: e.Digest.Algorithm.New(e.Size)}
	wrong, fault = decode(ctx, f.s.memory(h.Tier.Memory()), io.NewSectionReader(file, 0, p.Size), old, out)
	if wrong == nil && fault == nil && godwit.MakeDigest(e.Digest.Algorithm, out.sum.Sum(nil)) != e.Digest {
		wrong = errors.New("it makes another content than the manifest says")
	}
	if wrong != nil || fault != nil {
		object.Abort()
		return wrong, fault
	}
	return nil, object.Commit(e.Digest)
}

func decode(ctx context.Context, mem []byte, patch io.Reader, old godwit.Object, out *hashed) (wrong, fault error) {
	d, err := delta.NewDecoder(mem, patch, old, old.Size(), out)
	for done := false; err == nil && !done; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		done, err = d.Decode(step)
	}
	if out.fault != nil {
		return nil, out.fault
	}
	return ofPatch(err), nil
}

// ofPatch words what is wrong with a patch.
func ofPatch(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return delta.ErrDamaged
	}
	return err
}

// memory gives n bytes to apply a patch in.
func (s *Source) memory(n int) []byte {
	if len(s.mem) < n {
		s.mem = make([]byte, n)
	}
	return s.mem[:n]
}

// A hashed object is hashed while it is written.
type hashed struct {
	godwit.NewObject
	sum   hash.Hash
	fault error // of writing
}

func (h *hashed) Write(p []byte) (int, error) {
	n, err := h.NewObject.Write(p)
	h.sum.Write(p[:n])
	if err != nil && h.fault == nil {
		h.fault = err
	}
	return n, err
}

// fellBack counts and tells that a patch was of no use.
func (s *Source) fellBack(name, why string) {
	s.patched.Failed++
	s.patched.Reason = name + ": " + why
	instead := "all of the file is fetched"
	switch name {
	case theTree:
		instead = "its files are fetched one by one"
	case theManifest:
		instead = "all of it is fetched"
	}
	s.cfg.Events.Say(godwit.StageFetch, godwit.Warning, "the patch for "+name+" is of no use: "+why+"; "+instead)
}

// usable reports whether a patch of a release may be tried.
func (s *Source) usable(release string, p godwit.Patch) bool {
	s.load()
	b := &s.asked.patches
	return b.release != release || len(b.broken) < maxBroken && !slices.Contains(b.broken, p.Sum.Hex())
}

// broken remembers that a patch of a release is not to be tried again.
func (s *Source) broken(release string, p godwit.Patch) {
	b := s.badPatches(release)
	b.broken = append(b.broken, p.Sum.Hex())
	s.save()
}

// late reports whether a patch could not be had in an earlier run already. If
// not, that is remembered.
func (s *Source) late(release string, p godwit.Patch) bool {
	b := s.badPatches(release)
	if b.late == p.Sum.Hex() {
		return true
	}
	b.late = p.Sum.Hex()
	s.save()
	return false
}

// badPatches is what is remembered of the patches of a release, and of no other.
func (s *Source) badPatches(release string) *badPatches {
	s.load()
	if s.asked.patches.release != release {
		s.asked.patches = badPatches{release: release}
	}
	return &s.asked.patches
}

// offers leaves out what is known to be of no use.
func (s *Source) offers(release string, all godwit.Offers) godwit.Offers {
	return func(yield func(godwit.Offer, error) bool) {
		for o, err := range all {
			if err == nil && !s.usable(release, o.Patch) {
				continue
			}
			if !yield(o, err) || err != nil {
				return
			}
		}
	}
}
