package web

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/godwit-ota/godwit/delta"
	"github.com/godwit-ota/godwit/source/web/mirror"
)

// ManifestPatch is the name of the patch, for delta.Tiny, that makes the manifest
// of a release out of the one that has the SHA-256 from. Most of a manifest is the
// same in the next release, and where little else has changed it is most of what
// would have to come.
func ManifestPatch(release, from string) string { return Releases + release + "/from-" + from[:16] }

// ManifestPatchFrom is how long a manifest has to be, in bytes, for a patch to be
// made and asked for: asking where there is none costs some hundred.
const ManifestPatchFrom = 2 << 10

// theManifest is what such a patch is for, in words.
const theManifest = "the manifest"

// renew sees to it that the manifest of the release called name, which has the
// digest id, lies in the spool: if not already, then by a patch. It is not done
// where the whole manifest has to come.
func (s *Source) renew(ctx context.Context, name, id string) (done bool, err error) {
	if !isSum(id) {
		return false, nil
	}
	s.load()
	path := manifestOf(Releases + name)
	if doc := s.doc(path); doc != nil && doc.sum == id {
		if _, err := s.spool.open(id); err != errNotSpooled {
			return err == nil, err
		}
	}
	from, old := s.lastManifest(id)
	if old == nil || !s.cfg.Patches {
		return false, nil
	}
	var patch, size int64
	err = s.each(ctx, true, func(i int, m mirror.Mirror) error {
		a, err := m.Get(ctx, mirror.Request{Path: ManifestPatch(name, from)})
		if err != nil {
			return err
		}
		defer a.Body.Close()
		switch {
		case absent(a.Status):
			return errMissing
		case a.Status != mirror.OK || a.Offset != 0:
			return odd(ManifestPatch(name, from), a)
		}
		counted := &counter{Reader: a.Body}
		if _, err := s.spool.fill(s.cfg.Limits.Bytes, func(d *draft) error { return s.remake(ctx, counted, old, d, id) }); err != nil {
			return err
		}
		f, err := s.spool.open(id)
		if err == nil {
			size, err = f.Size()
		}
		// Its bytes are certain, so any mirror may have the signatures.
		patch, s.from = counted.n, -1
		s.note(asked{path, -1, "", id})
		return err
	})
	switch {
	case err == nil:
		s.patched.Applied++
		s.patched.Saved += size - patch
		return true, nil
	case ctx.Err() != nil || isDisk(err):
		return false, err
	case err != errMissing && !temporary(err):
		s.fellBack(theManifest, err.Error())
	}
	return false, nil
}

// lastManifest is the one that came last, and its SHA-256; nil if none is here that
// is another one than id, and long enough.
func (s *Source) lastManifest(id string) (sum string, old *io.SectionReader) {
	for _, doc := range slices.Backward(s.asked.docs) {
		if doc.sum == id || !isManifest(doc.path) {
			continue
		}
		f, err := s.spool.open(doc.sum)
		if err != nil {
			continue
		}
		if size, err := f.Size(); err == nil && size >= ManifestPatchFrom {
			return doc.sum, io.NewSectionReader(f, 0, size)
		}
		return "", nil
	}
	return "", nil
}

func isManifest(path string) bool {
	return path == ManifestName || strings.HasSuffix(path, "/"+ManifestName)
}

// remake writes what patch makes of old, which has to have the digest id.
func (s *Source) remake(ctx context.Context, patch io.Reader, old *io.SectionReader, out *draft, id string) error {
	d, err := delta.NewDecoder(s.memory(delta.Tiny.Memory()), patch, old, old.Size(), out)
	// Little on the wire is not to be much on the disk.
	if err == nil && d.Header().NewSize > min(out.left, 4*old.Size()+64<<10) {
		return errors.New("it makes a manifest that is too large")
	}
	for done := false; err == nil && !done; {
		if err := ctx.Err(); err != nil {
			return err
		}
		done, err = d.Decode(step)
	}
	if err == nil && hex.EncodeToString(out.sum.Sum(nil)) != id {
		err = errors.New("it makes another manifest than the channel says")
	}
	return ofPatch(err)
}

// A counter counts what is read.
type counter struct {
	io.Reader
	n int64
}

func (c *counter) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.n += int64(n)
	return n, err
}

// forget drops what is remembered of manifests of other releases than those to
// keep, and than the one that came last, which may wait for its hour: they may be
// large, and nothing is made of them any more.
func (s *Source) forget(keep []string) {
	last := ""
	for _, d := range s.asked.docs {
		if isManifest(d.path) {
			last = d.sum
		}
	}
	n := len(s.asked.docs)
	s.asked.docs = slices.DeleteFunc(s.asked.docs, func(d asked) bool {
		return strings.HasPrefix(d.path, Releases) && d.sum != last && !slices.Contains(keep, d.sum)
	})
	if len(s.asked.docs) < n {
		s.save()
	}
}
