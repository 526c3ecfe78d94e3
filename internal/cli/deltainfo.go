package cli

import (
	"bufio"
	"context"
	"encoding/hex"
	"os"
	"strconv"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/delta"
	"github.com/godwit-ota/godwit/delta/diff"
	"github.com/godwit-ota/godwit/delta/tree"
	"github.com/godwit-ota/godwit/internal/jsontext"
	"github.com/godwit-ota/godwit/plan"
)

// deltaInfo says what a patch is for, and, with the old content at hand, what it
// consists of.
func (c *command) deltaInfo(ctx context.Context, o *patching) error {
	if len(c.operands) != 2 {
		return usageText("delta info takes one PATCH", "delta")
	}
	name := c.operands[1]
	f, err := openFile(name)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return godwit.Fail(godwit.CodeIO, err, name+" cannot be read", "")
	}
	if isTreePatch(f) {
		return c.treeInfo(ctx, o, name, f, info.Size())
	}
	if o.manifest != "" {
		return usageText("--manifest is for patches of folders", "delta")
	}
	h, err := delta.ReadHeader(f)
	if err != nil {
		return patchError(err, name, "", h)
	}
	report := diff.Report{Header: h, Size: info.Size()}
	if o.old != "" {
		generous()
		old, err := readFile(o.old)
		if err != nil {
			return err
		}
		patch, err := readFile(name)
		if err != nil {
			return err
		}
		if report, err = diff.Explain(patch, old); err != nil {
			return patchError(err, name, o.old, h)
		}
	}
	c.showPatch(name, report)
	return nil
}

// showPatch prints what is known of a patch.
func (c *command) showPatch(name string, r diff.Report) {
	p, h := c.printer(), r.Header
	line := begin("patch")
	line.text("name", name)
	line.headerFields(h)
	line.number("size", r.Size)
	line.parts(r)
	p.Emit(line.done())

	p.Printf("%s: %s, %s of the new content, %s\n", name, plan.Bytes(r.Size), share(r.Size, h.NewSize), h.Method)
	p.Printf("  from    %d B, SHA-256 %s…\n", h.OldSize, hexSum(h.OldSum))
	p.Printf("  to      %d B, SHA-256 %s…\n", h.NewSize, hexSum(h.NewSum))
	p.Printf("  needs   %s of memory (tier %s)%s\n", memory(h.Tier), h.Tier, map[bool]string{true: ", reads again what it wrote"}[h.ReadBack])
	if h.Block > 0 {
		p.Printf("  works in place, with %s between the contents and blocks of %s\n", binarySize(h.Slack), binarySize(h.Block))
	}
	p.Printf("%s", partsTable(r))
}

// parts adds what the parts of a patch cost, where that is known.
func (o *object) parts(r diff.Report) {
	var parts []jsontext.Fields
	for _, part := range r.Parts {
		parts = append(parts, jsontext.Fields{{Name: "name", Value: part.Name}, {Name: "count", Value: part.Count}, {Name: "bytes", Value: part.Bytes}})
	}
	if parts != nil {
		o.list("parts", parts)
	}
}

func partsTable(r diff.Report) string {
	if len(r.Parts) == 0 {
		return ""
	}
	rows := [][]string{{"part", "times", "bytes", "share"}}
	for _, part := range r.Parts {
		rows = append(rows, []string{part.Name, strconv.FormatInt(part.Count, 10), strconv.FormatFloat(part.Bytes, 'f', 1, 64), share(int64(part.Bytes+0.5), r.Size)})
	}
	return table(rows)
}

// treeInfo says what a patch of a tree brings. With the manifest at hand it names
// the files.
func (c *command) treeInfo(ctx context.Context, o *patching, name string, f *os.File, size int64) error {
	in := bufio.NewReaderSize(f, patchBuffer)
	t, err := readTable(in, name)
	if err != nil {
		return err
	}
	h, err := delta.ReadHeader(in)
	if err != nil {
		return treeError(err, name)
	}
	report := diff.Report{Header: h, Size: size}
	if o.old != "" {
		if report, err = explainTree(ctx, o.old, name, t); err != nil {
			return treeError(err, name)
		}
	}
	paths := map[godwit.Digest]string{}
	if _, err := os.Stat(name + listSuffix); o.manifest != "" || err == nil {
		if o.manifest == "" {
			o.manifest = name + listSuffix
		}
		list, err := readList(o.manifest)
		if err != nil {
			return err
		}
		if _, err := t.New.Find(listing(list)); err != nil {
			return treeError(err, name)
		}
		for _, e := range list {
			if paths[e.Digest] == "" {
				paths[e.Digest] = e.Path
			}
		}
	}
	p := c.printer()
	line := begin("patch")
	line.text("name", name)
	line.headerFields(h)
	line.number("size", size)
	var contents []jsontext.Fields
	rows := [][]string{{"new content", "bytes"}}
	for _, n := range t.New.Contents {
		begins := hex.EncodeToString(n.Prefix[:t.Prefix])
		path := paths[n.Digest]
		contents = append(contents, jsontext.Fields{{Name: "digest_begins", Value: begins}, {Name: "size", Value: n.Size}}.With("path", path))
		if path == "" {
			path = begins + "…"
		}
		rows = append(rows, []string{path, strconv.FormatInt(n.Size, 10)})
	}
	line.number("old_contents", int64(len(t.Old.Contents)))
	line.list("contents", contents)
	line.parts(report)
	p.Emit(line.done())
	p.Printf("%s: %s for a folder, %s of what is new in it, %s\n", name, plan.Bytes(size), share(size, t.New.Size()), h.Method)
	p.Printf("  from    %s, %d B, of the old folder\n", count(len(t.Old.Contents), "content", "contents"), t.Old.Size())
	p.Printf("  to      %s, %d B\n", count(len(t.New.Contents), "content", "contents"), t.New.Size())
	p.Printf("  needs   %s of memory (tier %s)\n", memory(t.Tier), t.Tier)
	p.Printf("%s%s", table(rows), partsTable(report))
	return nil
}

// explainTree says what a patch of a tree consists of. t is its table.
func explainTree(ctx context.Context, folder, name string, t *tree.Table) (r diff.Report, err error) {
	generous()
	files, err := filesIn(ctx, folder)
	if err != nil {
		return r, err
	}
	patch, err := readFile(name)
	if err != nil {
		return r, err
	}
	var entries []godwit.Entry
	read := map[godwit.Digest]func() ([]byte, error){}
	for _, f := range files {
		entries = append(entries, godwit.Entry{Path: f.Name, Digest: f.Digest, Size: godwit.UnknownSize})
		read[f.Digest] = f.Content
	}
	missing, err := t.Old.Find(listing(entries))
	if err == nil && missing > 0 {
		err = delta.ErrWrongOld
	}
	if err != nil {
		return r, err
	}
	var old []byte
	for _, c := range t.Old.Contents {
		b, err := read[c.Digest]()
		if err != nil {
			return r, godwit.Fail(godwit.CodeIO, err, folder+" cannot be read", "")
		}
		old = append(old, b...)
	}
	head := len(t.Append(nil))
	r, err = diff.Explain(patch[head:], old)
	r.Size += int64(head)
	r.Parts = append(r.Parts, diff.Part{Name: "table of contents", Count: int64(len(t.Old.Contents) + len(t.New.Contents)), Bytes: float64(head)})
	return r, err
}
