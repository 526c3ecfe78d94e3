package publish

import (
	"bytes"
	"context"
	"crypto/sha256"
	"hash/crc32"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/manifest"
)

// sums is what is known of a content after it was read.
type sums struct {
	Digest godwit.Digest
	CRC32  uint32
	Size   int64
}

// hashed copies r to w.
func hashed(w io.Writer, r io.Reader) (sums, error) {
	h, c := sha256.New(), crc32.NewIEEE()
	n, err := io.Copy(io.MultiWriter(w, h, c), r)
	return sums{godwit.MakeDigest(godwit.SHA256, h.Sum(nil)), c.Sum32(), n}, diskError(err)
}

// keeper reads a content, and keeps it or not.
type keeper func(r io.Reader, p *Published) (sums, error)

func justHash(r io.Reader, _ *Published) (sums, error) { return hashed(io.Discard, r) }

// A finisher adds to the files of a release, and to its head, before the manifest
// is written.
type finisher func(files []manifest.File, h *manifest.Head) error

// compose makes the manifest. Each content goes through keep, then all through
// finish, which may be nil.
func (r *Release) compose(ctx context.Context, p *Published, now time.Time, keep keeper, finish finisher) ([]byte, error) {
	if r.Head.Generated.IsZero() {
		r.Head.Generated = now.UTC().Truncate(time.Second)
	}
	if err := r.checkHead(); err != nil {
		return nil, err
	}
	files, err := r.gather(ctx, p, keep)
	if err == nil && finish != nil {
		err = finish(files, &r.Head)
	}
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	w := manifest.NewWriter(&b, r.Head)
	for _, f := range files {
		if err := w.Add(f); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	body := b.Bytes()
	if len(r.Key) > 0 {
		body, err = manifest.AddHMAC(body, r.Key)
	}
	p.Product, p.Manifest = r.Head.Product, sumOf(body)
	return body, err
}

// gather reads the files of the release.
func (r *Release) gather(ctx context.Context, p *Published, keep keeper) (all []manifest.File, err error) {
	files, err := r.Tree.list(ctx, r.Rules.Without)
	if err == nil {
		files, p.Skipped, err = r.Rules.apply(files)
	}
	if err == nil {
		err = r.checkPaths(files)
	}
	if err != nil {
		return nil, err
	}
	next, done, err := r.Tree.open(ctx)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		if err = ctx.Err(); err != nil {
			break
		}
		var one manifest.File
		if one, err = r.read(f, next, p, keep); err != nil {
			break
		}
		all = append(all, one)
	}
	if e := done(); err == nil {
		err = e
	}
	return all, err
}

func (r *Release) read(f File, next func(File) (io.ReadCloser, error), p *Published, keep keeper) (manifest.File, error) {
	content, err := next(f)
	if err != nil {
		return manifest.File{}, err
	}
	s, err := keep(content, p)
	if e := content.Close(); err == nil {
		err = diskError(e)
	}
	p.Files++
	p.Bytes += s.Size
	return manifest.File{Entry: godwit.Entry{Path: f.Path, Mode: f.Mode, Size: s.Size, Digest: s.Digest}, CRC32: s.CRC32, HasCRC32: r.CRC32}, err
}

// checkPaths holds what the head names against the files.
func (r *Release) checkPaths(files []File) error {
	there := map[string]bool{"": true}
	for _, f := range files {
		there[f.Path] = true
	}
	for _, hook := range []string{r.Head.PostUpdate, r.Head.Rollback} {
		if !there[hook] {
			return usage("the hook "+strconv.Quote(hook)+" is not one of the release's files", "check its path, or the patterns")
		}
	}
	for _, path := range r.Head.Deletes {
		if err := manifest.CheckPath(path); err != nil {
			return err
		}
		if there[path] {
			return usage(strconv.Quote(path)+" is to be deleted, and is a file of the release", "leave it out of one of the two")
		}
	}
	return nil
}

// checkHead refuses what devices would refuse.
func (r *Release) checkHead() error {
	for _, s := range []string{r.Head.Version, r.Head.Product} {
		if len(s) > 255 || strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c == 0x7f || c == 0xfffd }) {
			return usage("the version and the product must be one line of text, of at most 255 bytes", "")
		}
	}
	if r.Head.Version == "" {
		return usage("the release has no version", "give --version")
	}
	return nil
}
