package cli

import (
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/godwit-ota/godwit/config"
	"github.com/godwit-ota/godwit/delta"
	"github.com/godwit-ota/godwit/internal/jsontext"
	"github.com/godwit-ota/godwit/plan"
	"github.com/godwit-ota/godwit/publish"
)

// patchFlags say which patches publish makes.
type patchFlags struct {
	releases     int
	size, saving string
	tiers        []string
}

func (o *patchFlags) flags(f *pflag.FlagSet) {
	d := publish.DefaultPatches
	f.IntVar(&o.releases, "patches", d.Releases, "`NUMBER`; make patches from so many releases before; 0 makes none")
	f.StringVar(&o.size, "patch-size", strconv.FormatInt(d.Size, 10), "`BYTES`; the smallest file that patches are made for")
	f.StringVar(&o.saving, "patch-saving", strconv.Itoa(d.Saving)+"%", "`PERCENT`; what a patch has to save of its file, at least")
	f.StringArrayVar(&o.tiers, "patch-memory", nil, "`SIZE`; that devices have to apply a patch: 6k, 64k or 1m (default: 64k); may be repeated")
}

// wanted is what the flags ask for.
func (o *patchFlags) wanted() (p publish.Patches, err error) {
	if p.Releases = o.releases; p.Releases < 0 {
		return p, usageText("--patches is a number of releases, 0 or more", "publish")
	}
	size, err := config.ParseSize(o.size)
	if err != nil {
		return p, usageText("--patch-size is a number of bytes such as 1024 or \"4 KiB\", not "+strconv.Quote(o.size), "publish")
	}
	p.Size = max(int64(size), 1)
	if p.Saving, err = strconv.Atoi(strings.TrimSuffix(o.saving, "%")); err != nil || p.Saving < 0 || p.Saving > 99 {
		return p, usageText("--patch-saving is from 0% to 99%, not "+strconv.Quote(o.saving), "publish")
	}
	for _, s := range o.tiers {
		t, err := delta.ParseTier(s)
		if err != nil {
			return p, usageText("--patch-memory: "+err.Error(), "publish")
		}
		p.Tiers = append(p.Tiers, t)
	}
	return p, nil
}

// savingText tells what devices with earlier releases fetch.
func savingText(p *publish.Published) string {
	if len(p.Savings) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("patches: " + strconv.Itoa(p.Patches) + " made")
	if p.Patches > 0 {
		b.WriteString(" (" + plan.Bytes(p.PatchBytes) + ")")
	}
	if p.Reused > 0 {
		b.WriteString(", " + strconv.Itoa(p.Reused) + " there already")
	}
	b.WriteByte('\n')
	for _, s := range p.Savings {
		b.WriteString("  from " + s.From + ": ")
		switch {
		case s.Files == 0:
			b.WriteString("nothing to fetch")
		case s.Patched == 0:
			b.WriteString(plan.Bytes(s.Whole) + " to fetch, no patch is worth it")
		default:
			b.WriteString(plan.Bytes(s.Bytes) + " to fetch instead of " + plan.Bytes(s.Whole) + ", which saves " + percent(s))
			if s.Tree {
				b.WriteString("; one patch for " + files(s.Files))
			} else {
				b.WriteString("; patches for " + strconv.Itoa(s.Patched) + " of " + files(s.Files))
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func percent(s publish.Saving) string {
	return strconv.FormatFloat(100-float64(s.Bytes)/float64(s.Whole)*100, 'f', 1, 64) + " %"
}

func savingFields(p *publish.Published) jsontext.Fields {
	var list []jsontext.Fields
	for _, s := range p.Savings {
		o := &object{}
		o.text("from", s.From)
		o.number("files", int64(s.Files))
		o.number("patched", int64(s.Patched))
		o.number("whole", s.Whole)
		o.number("fetch", s.Bytes)
		o.flag("tree", s.Tree)
		list = append(list, o.done())
	}
	if list == nil {
		return nil
	}
	return jsontext.Fields{{Name: "patches", Value: p.Patches}, {Name: "patches_reused", Value: p.Reused}, {Name: "patch_bytes", Value: p.PatchBytes}, {Name: "savings", Value: list}}
}
