package publish

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/delta/diff"
	"github.com/godwit-ota/godwit/internal/jsontext"
)

// PatchSuffix is the end of the names of patches in a folder of them. Before it
// come the SHA-256 of the old content, a hyphen and that of the new one.
const PatchSuffix = ".patch"

// A Comparison makes patches for the files that differ between two revisions of
// a repository, each by itself, into a folder.
type Comparison struct {
	Old, New Revision
	Dir      string   // made when needed; what else is in it stays
	Include  []string // patterns as in Rules; nil takes all
	// MinSize is from how many bytes on a new content gets a patch, MinSaving how
	// much of it the patch has to save, in percent.
	MinSize   int64
	MinSaving int
	Diff      diff.Options // Progress is set for each file
	// Begin is told the path of a file before its patch is made, and gives its
	// Progress; Each is told what came of it.
	Begin func(path string) func(done, total int64)
	Each  func(Change)
}

// A Change is a file that differs.
type Change struct {
	Path   string
	From   string // its path in the old revision, if it was another
	Patch  string // name of the patch in the folder, "" if there is none
	Size   int64  // of the patch that was made, bytes; 0 if none was
	Reason string // why there is no patch

	OldSum, NewSum   string // SHA-256 in hexadecimal
	OldSize, NewSize int64  // bytes
}

// Saved is the part of the new content that the patch saves, in percent.
func (c Change) Saved() float64 { return percent(c.NewSize-c.Size, c.NewSize) }

func percent(part, whole int64) float64 {
	if whole == 0 {
		return 0
	}
	return float64(part) * 100 / float64(whole)
}

// Compared is what a Comparison came to.
type Compared struct {
	Summary string // file that has it all as JSON
	Changes []Change
	Patches int   // how many of them have a patch
	Bytes   int64 // of these patches
	Whole   int64 // of the contents that they lead to
}

// Saved is the part of Whole that the patches save, in percent.
func (c *Compared) Saved() float64 { return percent(c.Whole-c.Bytes, c.Whole) }

// Make makes the patches, and then the summary.
func (c *Comparison) Make(ctx context.Context) (*Compared, error) {
	if err := (Rules{Include: c.Include}).check(); err != nil {
		return nil, err
	}
	changed, err := c.changed(ctx)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return nil, diskError(err)
	}
	next, done, err := c.New.open(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	result := &Compared{Summary: filepath.Join(c.Dir, c.Old.Commit[:12]+"-"+c.New.Commit[:12]+".json")}
	for _, p := range changed {
		old, err := content(next, p.old)
		if err != nil {
			return nil, err
		}
		new, err := content(next, p.new)
		if err != nil {
			return nil, err
		}
		change, err := c.file(ctx, p, old, new)
		if err != nil {
			return nil, err
		}
		if result.Changes = append(result.Changes, change); change.Patch != "" {
			result.Patches++
			result.Bytes += change.Size
			result.Whole += change.NewSize
		}
		if c.Each != nil {
			c.Each(change)
		}
	}
	return result, put(result.Summary, append(jsontext.Append(nil, c.summary(result)), '\n'))
}

// file makes the patch for one file, unless it is not worth it.
func (c *Comparison) file(ctx context.Context, p changedPair, old, new []byte) (Change, error) {
	change := Change{Path: p.new.Path, OldSize: int64(len(old)), NewSize: int64(len(new)), OldSum: hexSum(old), NewSum: hexSum(new)}
	if p.old.Path != p.new.Path {
		change.From = p.old.Path
	}
	if change.NewSize < c.MinSize {
		change.Reason = "smaller than " + strconv.FormatInt(c.MinSize, 10) + " B"
		return change, nil
	}
	o := c.Diff
	if c.Begin != nil {
		o.Progress = c.Begin(change.Path)
	}
	patch, report, err := diff.Make(ctx, old, new, o)
	if err != nil {
		return change, err
	}
	change.Size = report.Size
	switch saved := change.NewSize - change.Size; {
	case saved <= 0:
		change.Reason = "a patch is no smaller"
		return change, nil
	case saved*100 < change.NewSize*int64(c.MinSaving):
		change.Reason = "a patch saves less than " + strconv.Itoa(c.MinSaving) + " %"
		return change, nil
	}
	change.Patch = change.OldSum + "-" + change.NewSum + PatchSuffix
	return change, put(filepath.Join(c.Dir, change.Patch), patch)
}

// A changedPair is a file in both revisions.
type changedPair struct{ old, new File }

// changed lists the files that are in both revisions, at the same path or by the
// same name as git sees it, with other contents.
func (c *Comparison) changed(ctx context.Context) (pairs []changedPair, err error) {
	cmd := c.New.command(ctx, "diff-tree", "-r", "-z", "-M", "--raw", "--no-abbrev", "--no-commit-id", c.Old.Commit, c.New.Commit)
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		return nil, gitError(ctx, err, complaint.String())
	}
	// ":100644 100755 OLD NEW M", then a path; two after a rename (git-diff-tree).
	for fields := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00"); len(fields) > 1; {
		info := strings.Fields(fields[0])
		if len(info) != 5 {
			return nil, godwit.Fail(godwit.CodeFailed, nil, "git prints a comparison in a way that is not understood", "")
		}
		paths := 1
		if info[4][0] == 'R' || info[4][0] == 'C' {
			paths = 2
		}
		if len(fields) < 1+paths {
			break
		}
		old, new := fields[1], fields[paths]
		fields = fields[1+paths:]
		plain := strings.HasPrefix(info[0], ":100") && strings.HasPrefix(info[1], "100")
		if !plain || info[2] == info[3] || len(c.Include) > 0 && !matchAny(c.Include, new) {
			continue
		}
		pairs = append(pairs, changedPair{File{Path: old, id: info[2]}, File{Path: new, id: info[3]}})
	}
	return pairs, nil
}

func content(next func(File) (io.ReadCloser, error), f File) ([]byte, error) {
	r, err := next(f)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(r)
	if e := r.Close(); err == nil {
		err = e
	}
	return b, err
}

func hexSum(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// summary is the result as JSON.
func (c *Comparison) summary(r *Compared) jsontext.Fields {
	var made, left []jsontext.Fields
	for _, f := range r.Changes {
		fields := f.Fields()
		if f.Patch != "" {
			made = append(made, fields)
		} else {
			left = append(left, fields)
		}
	}
	return jsontext.Fields{{Name: "format", Value: 1}, {Name: "old_commit", Value: c.Old.Commit}, {Name: "new_commit", Value: c.New.Commit},
		{Name: "tier", Value: c.Diff.Tier.String()}, {Name: "patches", Value: made}, {Name: "without_patch", Value: left},
		{Name: "whole_bytes", Value: r.Whole}, {Name: "patch_bytes", Value: r.Bytes}, {Name: "saved_bytes", Value: r.Whole - r.Bytes}, {Name: "saved_percent", Value: tenth(r.Saved())}}
}

// Fields is the change as JSON.
func (c Change) Fields() jsontext.Fields {
	f := jsontext.Fields{{Name: "path", Value: c.Path}}.With("from", c.From)
	f = append(f, jsontext.Fields{{Name: "old_sha256", Value: c.OldSum}, {Name: "new_sha256", Value: c.NewSum}, {Name: "old_size", Value: c.OldSize}, {Name: "new_size", Value: c.NewSize}}...)
	if f = f.With("patch", c.Patch).With("size", c.Size); c.Patch != "" {
		f = append(f, jsontext.Field{Name: "saved_percent", Value: tenth(c.Saved())})
	}
	return f.With("reason", c.Reason)
}

func tenth(p float64) float64 { return float64(int64(p*10)) / 10 }
