package github

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"strings"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/delta/otadelta"
	"github.com/godwit-ota/godwit/vfs"
)

// Where the reference updater has its patches: docs/reference-patches.md.
const (
	patchFolder = ".deltas/"
	patchSuffix = ".delta"
)

// maxOffered is how many patches of a tree are known of at once, so that their
// names take little memory.
const maxOffered = 4096

// maxUseless is how many patches one after the other may be of no use before no
// more of them are tried: then they were made for another version.
const maxUseless = 4

// Patched tells what became of patches so far.
func (s *Source) Patched() godwit.Patched { return s.patched }

// patchName is the path of the patch for a file.
func patchName(path string) string {
	return patchFolder + strings.ReplaceAll(path, "/", "_") + patchSuffix
}

// referencePatches gives the patches that lie in a tree, for files of it. What
// they were made for they do not say.
func referencePatches(l godwit.Listing) (godwit.Offers, error) {
	there := map[string]godwit.Patch{}
	for e, err := range l {
		switch {
		case err != nil:
			return nil, err
		case e.Path >= patchFolder[:len(patchFolder)-1]+"0": // behind all that begins with the folder
			return offersOf(l, there), nil
		case strings.HasPrefix(e.Path, patchFolder) && strings.HasSuffix(e.Path, patchSuffix) && e.Mode != godwit.Symlink && e.Size > 0 && len(there) < maxOffered:
			there[e.Path] = godwit.Patch{Sum: e.Digest, Size: e.Size, Memory: otadelta.Memory + patchCopy}
		}
	}
	return offersOf(l, there), nil
}

func offersOf(l godwit.Listing, there map[string]godwit.Patch) godwit.Offers {
	if len(there) == 0 {
		return nil
	}
	return func(yield func(godwit.Offer, error) bool) {
		for e, err := range l {
			p, ok := there[patchName(e.Path)]
			if err == nil && (!ok || e.Mode == godwit.Symlink) {
				continue
			}
			if !yield(godwit.Offer{Path: e.Path, Patch: p}, err) || err != nil {
				return
			}
		}
	}
}

// patched brings the file by a patch, which is applied while it comes. It is not
// done where the whole file has to come in its place; an error is one that the
// whole file would meet as well.
func (f *fetch) patched(ctx context.Context, p godwit.Patch, into godwit.Objects) (done bool, err error) {
	if f.e.Size < 0 || f.e.Size > f.s.cfg.Limits.FileBytes {
		return false, nil
	}
	old, err := into.Open(p.From)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil // nothing to blame the patch for
	}
	if err != nil {
		return false, err
	}
	defer old.Close()
	n, err := into.Create(f.e.Size)
	if err != nil {
		return false, err
	}
	out := &patchedFile{f: f, n: n}
	f.begin(f.e.Size)
	err = f.apply(ctx, p, old, out)
	if err == nil {
		if err = n.Commit(f.e.Digest); err == nil {
			f.s.patched.Applied++
			f.s.patched.Saved += f.e.Size - p.Size
			return true, nil
		}
		return false, err
	}
	n.Abort()
	f.at = 0
	switch {
	case out.fault != nil:
		return false, vfs.StateError(out.fault)
	case ctx.Err() != nil:
		return false, err
	}
	f.s.patched.Failed++
	f.s.patched.Reason = f.e.Path + ": " + err.Error()
	f.s.cfg.Events.Say(godwit.StageFetch, godwit.Warning, "the patch for "+f.e.Path+" is of no use: "+err.Error()+"; all of the file is fetched")
	return false, nil
}

// apply makes the file of old and a patch.
func (f *fetch) apply(ctx context.Context, p godwit.Patch, old godwit.Object, out *patchedFile) error {
	from := fetch{s: f.s, e: &godwit.Entry{Path: patchName(f.e.Path), Mode: godwit.File, Digest: p.Sum, Size: p.Size}, commit: f.commit}
	a, err := from.ask(ctx, 0)
	if err != nil {
		return err
	}
	defer a.Body.Close()
	err = otadelta.Apply(f.buf[:otadelta.Memory+patchCopy], io.LimitReader(a.Body, p.Size), old, old.Size(), out, f.e.Size)
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("it ends too early")
	case err != nil:
		return err
	}
	if f.check() != nil {
		return errors.New("it makes another content than the release has: it was made for another version")
	}
	return nil
}

// patchCopy is how many bytes more than the least a patch is applied in, so that
// a file is not read and written in crumbs.
const patchCopy = 4 << 10

// A patchedFile is a new content, which is hashed while it is written.
type patchedFile struct {
	f     *fetch
	n     godwit.NewObject
	fault error
}

func (o *patchedFile) Write(b []byte) (int, error) {
	n, err := o.n.Write(b)
	if err != nil {
		o.fault = err
		return n, err
	}
	o.f.write(b)
	o.f.s.cfg.Events.Emit(godwit.Event{Stage: godwit.StageFetch, Level: godwit.Progress, Done: o.f.base + o.f.at, Total: o.f.total, Unit: "B"})
	return n, nil
}
