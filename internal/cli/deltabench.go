package cli

import (
	"bytes"
	"context"
	"strconv"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/delta"
	"github.com/godwit-ota/godwit/delta/diff"
	"github.com/godwit-ota/godwit/plan"
)

// A trial is one patch that deltaBench made.
type trial struct {
	name        string
	tier        delta.Tier
	old, new    int64 // bytes
	size        int64 // of the patch
	made, apply time.Duration
}

// benchLeast is how long applying is measured at least: small patches are
// applied again and again.
const benchLeast = 200 * time.Millisecond

// deltaBench makes and applies patches of all tiers for pairs of contents.
func (c *command) deltaBench(ctx context.Context, o *patching) error {
	generous()
	names := c.operands[1:]
	if len(names)%2 != 0 {
		return usageText("delta bench takes pairs: OLD NEW, OLD NEW, …", "delta")
	}
	options, err := o.options(nil)
	if err != nil {
		return err
	}
	rows := [][]string{{"new", "tier", "size", "of new", "made in", "applied at", "memory"}}
	for ; len(names) > 0; names = names[2:] {
		old, err := readFile(names[0])
		if err != nil {
			return err
		}
		new, err := readFile(names[1])
		if err != nil {
			return err
		}
		for t := delta.Tiny; t <= delta.Large; t++ {
			options.Tier = t
			options.Progress = c.progress(stageDiff, names[1]+" at "+t.String())
			r, err := try(ctx, names[1], old, new, options)
			if err != nil {
				return err
			}
			c.showTrial(r)
			rows = append(rows, r.row())
		}
	}
	c.printer().Printf("%s", table(rows))
	return nil
}

// try makes a patch and applies it.
func try(ctx context.Context, name string, old, new []byte, o diff.Options) (trial, error) {
	r := trial{name: name, tier: o.Tier, old: int64(len(old)), new: int64(len(new))}
	begun := time.Now()
	patch, _, err := diff.Make(ctx, old, new, o)
	r.made, r.size = time.Since(begun), int64(len(patch))
	if err != nil {
		return r, err
	}
	mem := make([]byte, o.Tier.Memory())
	out := &memoryOutput{make([]byte, 0, len(new))}
	begun = time.Now()
	for n := time.Duration(1); ; n++ {
		out.b = out.b[:0]
		if err = delta.Apply(mem, bytes.NewReader(patch), bytes.NewReader(old), int64(len(old)), out); err != nil || ctx.Err() != nil {
			break
		}
		if r.apply = time.Since(begun) / n; time.Since(begun) >= benchLeast {
			break
		}
	}
	switch {
	case ctx.Err() != nil:
		return r, ctx.Err()
	case err == nil && !bytes.Equal(out.b, new):
		err = delta.ErrDamaged
	}
	if err != nil {
		return r, godwit.Fail(godwit.CodeFailed, err, "the patch to "+name+" at the tier "+o.Tier.String()+" does not give the new content", "this is a fault of Godwit: please report it with both files")
	}
	return r, nil
}

// A memoryOutput is a new content in memory.
type memoryOutput struct{ b []byte }

func (m *memoryOutput) Write(p []byte) (int, error) {
	m.b = append(m.b, p...)
	return len(p), nil
}

func (m *memoryOutput) ReadAt(p []byte, at int64) (int, error) {
	return bytes.NewReader(m.b).ReadAt(p, at)
}

// speed is how fast the new content came, in bytes a second.
func (r trial) speed() float64 { return float64(r.new) / max(r.apply.Seconds(), 1e-9) }

func (r trial) row() []string {
	return []string{r.name, r.tier.String(), strconv.FormatInt(r.size, 10), share(r.size, r.new), r.made.Round(time.Millisecond).String(),
		plan.Bytes(int64(r.speed())) + "/s", memory(r.tier)}
}

func (c *command) showTrial(r trial) {
	line := begin("bench")
	line.text("new", r.name)
	line.text("tier", r.tier.String())
	line.number("memory", int64(r.tier.Memory()))
	line.number("old_size", r.old)
	line.number("new_size", r.new)
	line.number("size", r.size)
	line.number("make_milliseconds", r.made.Milliseconds())
	line.number("apply_bytes_per_second", int64(r.speed()))
	c.printer().Emit(line.done())
}
