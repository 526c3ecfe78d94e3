package cli

import (
	"context"

	"github.com/godwit-ota/godwit/internal/jsontext"
	"github.com/godwit-ota/godwit/plan"
	"github.com/godwit-ota/godwit/publish"
)

// patchFolder is where patches between revisions go unless it is said otherwise.
// A hidden folder is never part of a release.
const patchFolder = ".godwit-patches"

// deltaRevisions makes patches for the files that differ between two revisions.
func (c *command) deltaRevisions(ctx context.Context, o *patching) error {
	oldRev, newRev, err := c.pair("make --git", "NEW")
	if err != nil {
		return err
	}
	options, err := o.options(nil)
	if err != nil {
		return err
	}
	if o.minSaving < 0 || o.minSaving > 100 {
		return usageText("--min-saving is a part in percent, from 0 to 100", "delta")
	}
	work := publish.Comparison{Dir: o.out, Include: o.include, MinSize: o.minSize, MinSaving: o.minSaving, Diff: options}
	if work.Dir == "" {
		work.Dir = patchFolder
	}
	if work.Old, err = publish.Resolve(ctx, o.repo, oldRev); err != nil {
		return err
	}
	if work.New, err = publish.Resolve(ctx, o.repo, newRev); err != nil {
		return err
	}
	p := c.printer()
	work.Begin = func(path string) func(done, total int64) { return c.progress(stageDiff, path) }
	work.Each = func(f publish.Change) {
		p.Emit(append(jsontext.Fields{{Name: "type", Value: "change"}}, f.Fields()...))
		switch {
		case f.Patch != "":
			p.Printf("%s: %s in the place of %s, saves %s\n", f.Path, plan.Bytes(f.Size), plan.Bytes(f.NewSize), share(f.NewSize-f.Size, f.NewSize))
		default:
			p.Printf("%s: no patch: %s\n", f.Path, f.Reason)
		}
	}
	r, err := work.Make(ctx)
	if err != nil {
		return err
	}
	p.Emit(jsontext.Fields{{Name: "type", Value: "patches"}, {Name: "out", Value: work.Dir}, {Name: "summary", Value: r.Summary}, {Name: "changed", Value: len(r.Changes)},
		{Name: "patches", Value: r.Patches}, {Name: "whole_bytes", Value: r.Whole}, {Name: "patch_bytes", Value: r.Bytes}, {Name: "saved_bytes", Value: r.Whole - r.Bytes}})
	switch n := len(r.Changes); {
	case n == 0:
		p.Printf("no patch was made: no file differs\n")
	case r.Patches == 0:
		p.Printf("no patch was made: %s, and none is worth one\n", count(n, "file differs", "files differ"))
	default:
		p.Printf("%s in %s: %s in the place of %s, saves %s; %s\n", count(r.Patches, "patch", "patches"), work.Dir, plan.Bytes(r.Bytes), plan.Bytes(r.Whole),
			share(r.Whole-r.Bytes, r.Whole), count(n, "file differs", "files differ"))
	}
	return nil
}
