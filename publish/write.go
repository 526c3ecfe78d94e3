package publish

import (
	"context"
	"crypto/sha256"
	"hash/crc32"
	"io"
	"os"
	"strconv"
	"strings"

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

func justHash(_ File, r io.Reader, _ *Published) (sums, error) { return hashed(io.Discard, r) }

// write writes the manifest to the empty file t. Each content goes through keep.
func (r Release) write(ctx context.Context, t *os.File, p *Published, keep func(File, io.Reader, *Published) (sums, error)) error {
	if err := r.checkHead(); err != nil {
		return err
	}
	files, err := r.Tree.list(ctx, append(r.Rules.Without, t.Name()))
	if err != nil {
		return err
	}
	if files, p.Skipped, err = r.Rules.apply(files); err != nil {
		return err
	}
	for _, f := range files {
		for what, path := range map[string]string{"post_update": r.Head.PostUpdate, "rollback": r.Head.Rollback} {
			if path != "" && strings.HasPrefix(f.Path, path+"/") {
				return godwit.Fail(godwit.CodeUsage, nil, "the "+what+" hook "+strconv.Quote(path)+" is a folder", "name a file of the release")
			}
		}
	}
	w := manifest.NewWriter(t, r.Head)
	next, done, err := r.Tree.open(ctx)
	if err != nil {
		return err
	}
	err = r.contents(ctx, files, w, next, p, keep)
	if e := done(); err == nil {
		err = e
	}
	if err == nil {
		err = diskError(w.Close())
	}
	if err == nil && len(r.Key) > 0 {
		var info os.FileInfo
		if info, err = t.Stat(); err == nil {
			_, err = manifest.AddHMAC(t, info.Size(), r.Key)
		}
		err = diskError(err)
	}
	return err
}

func (r Release) contents(ctx context.Context, files []File, w *manifest.Writer, next func(File) (io.ReadCloser, error), p *Published, keep func(File, io.Reader, *Published) (sums, error)) error {
	there := map[string]bool{}
	for _, f := range files {
		if err := ctx.Err(); err != nil {
			return err
		}
		content, err := next(f)
		if err != nil {
			return err
		}
		s, err := keep(f, content, p)
		if e := content.Close(); err == nil {
			err = diskError(e)
		}
		if err == nil {
			e := manifest.File{Entry: godwit.Entry{Path: f.Path, Mode: f.Mode, Size: s.Size, Digest: s.Digest}, CRC32: s.CRC32, HasCRC32: r.CRC32}
			err = diskError(w.Add(e))
		}
		if err != nil {
			return err
		}
		there[f.Path] = true
		p.Files++
		p.Bytes += s.Size
	}
	for what, path := range map[string]string{"post_update": r.Head.PostUpdate, "rollback": r.Head.Rollback} {
		if path != "" && !there[path] {
			return godwit.Fail(godwit.CodeUsage, nil, "the "+what+" hook "+strconv.Quote(path)+" is not one of the release's files", "check its path, or the patterns")
		}
	}
	for _, path := range r.Head.Deletes {
		if there[path] {
			return godwit.Fail(godwit.CodeUsage, nil, strconv.Quote(path)+" is to be deleted, and is a file of the release", "leave it out of one of the two")
		}
	}
	return nil
}

// checkHead refuses what devices would refuse.
func (r Release) checkHead() error {
	for _, path := range r.Head.Deletes {
		if err := manifest.CheckPath(path); err != nil {
			return err
		}
	}
	for name, s := range map[string]string{"version": r.Head.Version, "product": r.Head.Product} {
		if len(s) > 255 || strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c == 0x7f || c == 0xfffd }) {
			return godwit.Fail(godwit.CodeUsage, nil, "the "+name+" must be one line of text, of at most 255 bytes", "")
		}
	}
	if r.Head.Version == "" {
		return godwit.Fail(godwit.CodeUsage, nil, "the release has no version", "give --version")
	}
	return nil
}
