package cli

import (
	"context"
	"strconv"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/delta"
	"github.com/godwit-ota/godwit/delta/diff"
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
	h, err := delta.ReadHeader(f)
	if err != nil {
		return patchError(err, name, "", h)
	}
	report := diff.Report{Header: h, Size: info.Size()}
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
	var parts []jsontext.Fields
	for _, part := range r.Parts {
		parts = append(parts, jsontext.Fields{{Name: "name", Value: part.Name}, {Name: "count", Value: part.Count}, {Name: "bytes", Value: part.Bytes}})
	}
	if parts != nil {
		line.list("parts", parts)
	}
	p.Emit(line.done())

	p.Printf("%s: %s, %s of the new content, %s\n", name, plan.Bytes(r.Size), share(r.Size, h.NewSize), h.Method)
	p.Printf("  from    %d B, SHA-256 %s…\n", h.OldSize, hexSum(h.OldSum))
	p.Printf("  to      %d B, SHA-256 %s…\n", h.NewSize, hexSum(h.NewSum))
	p.Printf("  needs   %s of memory (tier %s)%s\n", memory(h.Tier), h.Tier, map[bool]string{true: ", reads again what it wrote"}[h.ReadBack])
	if h.Block > 0 {
		p.Printf("  works in place, with %s between the contents and blocks of %s\n", binarySize(h.Slack), binarySize(h.Block))
	}
	if len(r.Parts) == 0 {
		return
	}
	rows := [][]string{{"part", "times", "bytes", "share"}}
	for _, part := range r.Parts {
		rows = append(rows, []string{part.Name, strconv.FormatInt(part.Count, 10), strconv.FormatFloat(part.Bytes, 'f', 1, 64), share(int64(part.Bytes+0.5), r.Size)})
	}
	p.Printf("%s", table(rows))
}
