package publish

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/delta"
	"github.com/godwit-ota/godwit/delta/diff"
	"github.com/godwit-ota/godwit/manifest"
	"github.com/godwit-ota/godwit/source/web"
)

// Patches says which patches to make.
type Patches struct {
	Releases int          // from so many releases before; 0 makes none
	Size     int64        // of the files that are worth it, in bytes, at least
	Saving   int          // percent of a file that a patch has to save, at least
	Tiers    []delta.Tier // for devices with so much memory; nil is delta.Small
}

// DefaultPatches are good for devices with Linux.
var DefaultPatches = Patches{Releases: 3, Size: 1024, Saving: 30, Tiers: []delta.Tier{delta.Small}}

// maxPatched is the size of a file, and of all that changes in a tree, from which
// on making patches would take more memory than most machines have.
const maxPatched = 64 << 20

// bigPair is the size of two contents together, in bytes, from which on only one
// patch is made at a time: making one takes some fifty times as much memory.
const bigPair = 4 << 20

// A Saving is what a device with an earlier release has to fetch.
type Saving struct {
	From    string // the earlier release
	Files   int    // that are new or changed
	Patched int    // of these by patches
	Whole   int64  // bytes without patches
	Bytes   int64  // bytes with them
	Tree    bool   // one patch brings all of it
}

// An earlier release, in the folder.
type earlier struct {
	known
	byPath map[string]godwit.Entry
	has    map[godwit.Digest]bool
	byName map[string][]godwit.Entry // by the last part of the path
}

// patches takes over the patches of a manifest that was published.
func (k known) patches(files []manifest.File, h *manifest.Head) error {
	h.Trees = k.Trees
	_, offers := manifest.Files(bytes.NewReader(k.body), int64(len(k.body)), manifest.Limits{})
	next, stop := offers.At()
	defer stop()
	for i := range files {
		p, err := next(files[i].Path)
		if err != nil {
			return err
		}
		files[i].Patches = slices.Clone(p)
	}
	return nil
}

// earlier gives the n releases of the product before h, the newest first.
func (f Folder) earlier(h *manifest.Head, n int) (list []*earlier, err error) {
	if n <= 0 {
		return nil, nil
	}
	root := filepath.Join(f.Dir, web.Releases)
	err = filepath.WalkDir(root, func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.Name() != web.ManifestName {
			return err
		}
		k, err := readManifest(name)
		if err == nil && k.Version != h.Version && k.Product == h.Product && k.Sequence < h.Sequence {
			list = append(list, &earlier{known: k})
		}
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	slices.SortFunc(list, func(a, b *earlier) int {
		return cmp.Or(cmp.Compare(b.Sequence, a.Sequence), b.Generated.Compare(a.Generated), cmp.Compare(b.Version, a.Version))
	})
	list = list[:min(n, len(list))]
	for _, r := range list {
		if err := r.index(); err != nil {
			return nil, err
		}
	}
	return list, diskError(err)
}

func (r *earlier) index() error {
	r.byPath, r.has, r.byName = map[string]godwit.Entry{}, map[godwit.Digest]bool{}, map[string][]godwit.Entry{}
	for e, err := range manifest.Entries(bytes.NewReader(r.body), int64(len(r.body)), manifest.Limits{}) {
		if err != nil {
			return err
		}
		r.byPath[e.Path], r.has[e.Digest] = e, true
		r.byName[base(e.Path)] = append(r.byName[base(e.Path)], e)
	}
	return nil
}

func base(path string) string { return filepath.Base(filepath.FromSlash(path)) }

// origin is the file of the earlier release that e comes from most likely: the
// one of its path, or else the only one of its name that is gone.
func (r *earlier) origin(e godwit.Entry, there map[string]bool) (old godwit.Entry, ok bool) {
	if old, ok = r.byPath[e.Path]; !ok {
		gone := slices.DeleteFunc(slices.Clone(r.byName[base(e.Path)]), func(o godwit.Entry) bool { return there[o.Path] })
		if len(gone) != 1 {
			return old, false
		}
		old = gone[0]
	}
	return old, old.Mode != godwit.Symlink && old.Digest.Algorithm == godwit.SHA256 && old.Size > 0 && old.Size <= maxPatched
}

// A pair is what a patch is for.
type pair struct {
	from, to godwit.Digest
	tier     delta.Tier
}

// patch makes the patches that lead to files from earlier releases and puts them
// into the folder.
func (f Folder) patch(ctx context.Context, o Patches, before []*earlier, files []manifest.File, h *manifest.Head, p *Published) error {
	if len(before) == 0 {
		return nil
	}
	if len(o.Tiers) == 0 {
		o.Tiers = DefaultPatches.Tiers
	}
	there := map[string]bool{}
	for _, e := range files {
		there[e.Path] = true
	}
	var pairs []pair
	known := map[pair]bool{}
	of := make([][]pair, len(files)) // the pairs of each file
	size := map[godwit.Digest]int64{}
	for i, e := range files {
		if e.Mode == godwit.Symlink || e.Size < o.Size || e.Size > maxPatched {
			continue
		}
		size[e.Digest] = e.Size
		for _, r := range before {
			old, ok := r.origin(e.Entry, there)
			if !ok || r.has[e.Digest] {
				continue
			}
			for _, tier := range o.Tiers {
				one := pair{old.Digest, e.Digest, tier}
				if !slices.Contains(of[i], one) {
					of[i] = append(of[i], one)
				}
				if !known[one] {
					known[one] = true
					pairs = append(pairs, one)
				}
			}
		}
	}
	done, total := 0, len(pairs)+len(before)*len(o.Tiers)
	step := func(n int) {
		done += n
		f.Events.Emit(godwit.Event{Stage: godwit.StageBuild, Level: godwit.Progress, Done: int64(done), Total: int64(total), Unit: "patches"})
	}
	made, err := f.makeAll(ctx, pairs, func(one pair, patch int64) bool {
		return patch*100 <= size[one.to]*int64(100-o.Saving)
	}, func() { step(1) }, p)
	if err != nil {
		return err
	}
	for i := range files {
		for _, one := range of[i] {
			if patch, ok := made[one]; ok {
				files[i].Patches = append(files[i].Patches, patch)
			}
		}
	}
	for _, r := range before {
		s := r.saving(files)
		if err := f.tree(ctx, o, r, files, h, p, &s); err != nil {
			return err
		}
		step(len(o.Tiers))
		p.Savings = append(p.Savings, s)
	}
	return nil
}

// saving adds up what a device with r has to fetch of files.
func (r *earlier) saving(files []manifest.File) Saving {
	s := Saving{From: r.Version}
	seen := map[godwit.Digest]bool{}
	for _, e := range files {
		if r.has[e.Digest] || seen[e.Digest] {
			continue
		}
		seen[e.Digest] = true
		s.Files++
		s.Whole += e.Size
		least := e.Size
		for _, p := range e.Patches {
			if r.has[p.From] {
				least = min(least, p.Size)
			}
		}
		if s.Bytes += least; least < e.Size {
			s.Patched++
		}
	}
	return s
}

// makeAll gives a patch for each pair where there is one that is good enough. It
// makes those that the folder does not have. step is called after each.
func (f Folder) makeAll(ctx context.Context, pairs []pair, good func(pair, int64) bool, step func(), p *Published) (map[pair]godwit.Patch, error) {
	shelf, err := f.shelf()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	made := map[pair]godwit.Patch{}
	var mu sync.Mutex  // of made and p, and held for step
	var big sync.Mutex // held for a big pair
	var wait sync.WaitGroup
	work := make(chan pair)
	for range min(runtime.GOMAXPROCS(0), len(pairs)) {
		wait.Go(func() {
			for one := range work {
				patch, reused, err := f.makeOne(ctx, one, shelf, &big, good)
				if err != nil {
					cancel(err)
					continue
				}
				mu.Lock()
				if !patch.IsZero() {
					made[one] = patch
					p.count(patch, reused)
				}
				step()
				mu.Unlock()
			}
		})
	}
	for _, one := range pairs {
		if ctx.Err() != nil {
			break
		}
		work <- one
	}
	close(work)
	wait.Wait()
	return made, context.Cause(ctx)
}

func (p *Published) count(patch godwit.Patch, reused bool) {
	if reused {
		p.Reused++
		return
	}
	p.Patches++
	p.PatchBytes += patch.Size
}

// makeOne finds or makes the patch for a pair; it is zero if it is not good.
func (f Folder) makeOne(ctx context.Context, one pair, shelf shelf, big *sync.Mutex, good func(pair, int64) bool) (patch godwit.Patch, reused bool, err error) {
	if err := ctx.Err(); err != nil {
		return patch, false, err
	}
	old, err := f.content(one.from)
	if err != nil {
		return patch, false, err
	}
	body, err := f.content(one.to)
	if err != nil {
		return patch, false, err
	}
	if patch, ok := shelf.find(one, old, body); ok {
		if !good(one, patch.Size) {
			patch = godwit.Patch{}
		}
		return patch, true, nil
	}
	if len(old)+len(body) > bigPair {
		big.Lock()
		defer big.Unlock()
	}
	b, _, err := diff.Make(ctx, old, body, diff.Options{Tier: one.tier})
	if err != nil || !good(one, int64(len(b))) {
		return patch, false, err
	}
	patch = godwit.Patch{From: one.from, Sum: diff.Sum(b), Size: int64(len(b)), Memory: int64(one.tier.Memory())}
	return patch, false, f.keepPatch(patch, b)
}

// content reads a file of the folder.
func (f Folder) content(d godwit.Digest) ([]byte, error) {
	b, err := os.ReadFile(filepath.Join(f.Dir, filepath.FromSlash(web.FileName(d))))
	if err == nil && diff.Sum(b) != d {
		err = godwit.Fail(godwit.CodeBadObject, nil, "the file "+web.FileName(d)+" in the folder is not what its name says", "publish the release that it belongs to again, into a new folder")
	}
	return b, diskError(err)
}

// keepPatch puts a patch into the folder.
func (f Folder) keepPatch(p godwit.Patch, b []byte) error {
	name := filepath.Join(f.Dir, filepath.FromSlash(web.PatchName(p.Sum)))
	if old, err := os.ReadFile(name); err == nil && bytes.Equal(old, b) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return diskError(err)
	}
	return put(name, b)
}
