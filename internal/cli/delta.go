package cli

import (
	"context"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/delta"
	"github.com/godwit-ota/godwit/delta/diff"
	"github.com/godwit-ota/godwit/plan"
)

// The stages of work on patches, as progress has them.
const (
	stageDiff  godwit.Stage = "diff"
	stageApply godwit.Stage = "apply"
)

// patching are the flags of the command delta.
type patching struct {
	out, tier, memory string
	manifest, old     string
	within            bool
	slack, block      string
	sha256            string
	budget            time.Duration

	git       bool
	repo      string
	include   []string
	minSize   int64
	minSaving int
}

// deltaFlags says which actions a flag is for.
var deltaFlags = map[string]string{
	"out": "make apply", "tier": "make", "budget": "make bench", "memory": "apply", "manifest": "apply info",
	"in-place": "make apply", "slack": "make", "block": "make", "sha256": "apply", "old": "info",
	"git": "make", "repo": "make", "include": "make", "min-size": "make", "min-saving": "make",
}

func (c *command) deltaVerb() verb {
	var o patching
	var given func() []string // names of the flags that were given
	return verb{
		name: "delta", use: "make|apply|info|bench OLD NEW|PATCH [-o FILE]", short: "make patches, apply them, look into them",
		arg: []string{"make", "apply", "info", "bench"}, operands: [2]int{2, math.MaxInt},
		long: "A patch turns an old content into a new one, and is mostly much smaller than the new one.\n\n" +
			"make OLD NEW finds a patch from one file to another. --tier says how much memory the devices have that apply it: 6k, 64k or 1m; more memory gives smaller patches. Every patch was applied, and checked, before it is written. From one folder to another it makes one patch for all that is new, and beside it FILE.json, the manifest of the new folder, which apply needs as well.\n\n" +
			"make --git OLD NEW makes one for each file that differs between two revisions of a repository and is worth it, into a folder, by default " + patchFolder + ". A patch is named by the SHA-256 of the old content and that of the new one; a summary with all sizes is beside them.\n\n" +
			"apply OLD PATCH makes the new file or folder. The old content is checked before, the new one while it is written; when something is wrong nothing is written.\n\n" +
			"With --in-place a file is turned within itself, for devices without room for two of it. A power cut may come at any time, and the same command goes on afterwards; but in between the file is neither the old one nor the new one. Keep OLD" + journalSuffix + " and the patch until it is done.\n\n" +
			"info PATCH says what a patch is for and what it needs, and with --old what it consists of. bench OLD NEW makes and applies patches of all tiers, for any number of pairs, and says how large they are and how fast it went.",
		examples: []string{
			"godwit delta make app-1.0 app-1.1 -o app.patch --tier 6k", "godwit delta apply app-1.0 app.patch -o app-1.1",
			"godwit delta make --git v1.0.0 v1.1.0 --include 'lib/' -o patches", "godwit delta info app.patch", "godwit delta bench app-1.0 app-1.1",
		},
		exits: []int{0, 1, 2},
		flags: func(f *pflag.FlagSet) {
			f.StringVarP(&o.out, "out", "o", "", "`FILE`; of make and apply: where to write; with --git a folder")
			f.StringVar(&o.tier, "tier", delta.Small.String(), "`6k|64k|1m`; of make: the memory of the devices that apply the patch")
			f.DurationVar(&o.budget, "budget", 0, "`TIME`; of make and bench: how long to look for a small patch: 2m (default: by the sizes)")
			f.BoolVar(&o.git, "git", false, "of make: OLD and NEW are revisions")
			f.StringVar(&o.repo, "repo", ".", "`FOLDER`; of make --git: the repository")
			f.StringArrayVar(&o.include, "include", nil, "`PATTERN`; of make --git: only these files: *.py anywhere, lib/**/*.py from the root; may be repeated")
			f.Int64Var(&o.minSize, "min-size", 1024, "`BYTES`; of make --git: smaller files get no patch")
			f.IntVar(&o.minSaving, "min-saving", 30, "`PERCENT`; of make --git: a patch that saves less of the new file is not kept")
			f.StringVar(&o.memory, "memory", "", "`SIZE`; of apply: the most memory that decoding may take: 64k (default: what the patch asks for)")
			f.StringVar(&o.manifest, "manifest", "", "`FILE`; of apply and info, for folders: the manifest of the new folder (default: PATCH.json)")
			f.BoolVar(&o.within, "in-place", false, "make a patch that a file can be turned by within itself; apply it so: OLD becomes the new file")
			f.StringVar(&o.slack, "slack", "64k", "`SIZE`; of make --in-place: how much longer the file may get meanwhile; more makes smaller patches")
			f.StringVar(&o.block, "block", "4k", "`SIZE`; of make --in-place: how much is written between two points from which it can go on")
			f.StringVar(&o.sha256, "sha256", "", "`HEX`; of apply --in-place: of the new file (default: found out in memory before)")
			f.StringVar(&o.old, "old", "", "`FILE`; of info: the old file or folder, to say what the parts of the patch cost")
			given = func() (names []string) {
				f.Visit(func(f *pflag.Flag) { names = append(names, f.Name) })
				return names
			}
		},
		run: func(ctx context.Context, action string) error {
			for _, name := range given() {
				if in, ours := deltaFlags[name]; ours && !slices.Contains(strings.Fields(in), action) {
					return usageText("--"+name+" is for delta "+strings.Join(strings.Fields(in), " and delta "), "delta")
				}
				if !o.within && slices.Contains([]string{"slack", "block", "sha256"}, name) || o.within && slices.Contains([]string{"git", "manifest"}, name) {
					return usageText("--"+name+" goes "+map[bool]string{false: "with", true: "without"}[o.within]+" --in-place", "delta")
				}
				if !o.git && slices.Contains([]string{"repo", "include", "min-size", "min-saving"}, name) {
					return usageText("--"+name+" goes with --git", "delta")
				}
			}
			return map[string]func(context.Context, *patching) error{
				"make": c.deltaMake, "apply": c.deltaApply, "info": c.deltaInfo, "bench": c.deltaBench,
			}[action](ctx, &o)
		},
	}
}

// pair are the two operands of an action.
func (c *command) pair(action, second string) (old, other string, err error) {
	if len(c.operands) != 3 {
		return "", "", usageText("delta "+action+" takes two: OLD and "+second, "delta")
	}
	return c.operands[1], c.operands[2], nil
}

// deltaMake makes a patch from a file to a file.
func (c *command) deltaMake(ctx context.Context, o *patching) error {
	generous()
	if o.git {
		return c.deltaRevisions(ctx, o)
	}
	oldName, newName, err := c.pair("make", "NEW")
	if err != nil {
		return err
	}
	if o.out == "" {
		return usageText("say where to write the patch: -o FILE", "delta")
	}
	switch a, b := isFolder(oldName), isFolder(newName); {
	case a && b:
		return c.deltaMakeTree(ctx, o, oldName, newName)
	case a || b:
		return usageText("a patch leads from a file to a file, or from a folder to a folder: "+oldName+" and "+newName+" are one of each", "delta")
	}
	options, err := o.options(c.progress(stageDiff, newName))
	if err != nil {
		return err
	}
	old, err := readFile(oldName)
	if err != nil {
		return err
	}
	new, err := readFile(newName)
	if err != nil {
		return err
	}
	begun := time.Now()
	patch, report, err := diff.Make(ctx, old, new, options)
	if err != nil {
		return err
	}
	if err = rehearsed(options, patch, old, new); err == nil {
		err = putFile(o.out, patch)
	}
	if err != nil {
		return err
	}
	p := c.printer()
	line := begin("patch")
	line.text("out", o.out)
	line.headerFields(report.Header)
	line.number("size", report.Size)
	line.number("milliseconds", time.Since(begun).Milliseconds())
	p.Emit(line.done())
	how := ""
	if m := report.Header.Method; m != delta.Modelled {
		how = m.String() + ", "
	}
	p.Printf("%s: %s, %s of %s; %sneeds %s of memory\n", o.out, plan.Bytes(report.Size), share(report.Size, report.Header.NewSize), plan.Bytes(report.Header.NewSize),
		how, memory(report.Header.Tier))
	return nil
}

// options are the flags as diff wants them.
func (o *patching) options(progress func(done, total int64)) (diff.Options, error) {
	tier, err := delta.ParseTier(o.tier)
	if err != nil {
		return diff.Options{}, usageText(err.Error(), "delta")
	}
	if o.budget < 0 {
		return diff.Options{}, usageText("--budget is a time, such as 30s or 2m", "delta")
	}
	d := diff.Options{Tier: tier, Budget: o.budget, Progress: progress}
	if o.within {
		d.Slack, d.Block, err = o.inPlace()
	}
	return d, err
}

// progress shows how far the work on a file is. Of a search there is no number of
// bytes that means anything: it goes over them again and again.
func (c *command) progress(stage godwit.Stage, name string) func(done, total int64) {
	const longest = 32
	if r := []rune(name); len(r) > longest {
		name = "…" + string(r[len(r)-longest+1:])
	}
	most := int64(0)
	return func(done, total int64) {
		e := godwit.Event{Stage: stage, Level: godwit.Progress, Text: name, Done: done, Total: total, Unit: "B"}
		if stage == stageDiff {
			most = max(most, min(done, total)*100/max(total, 1))
			e.Done, e.Total, e.Unit = most, 100, "%"
		}
		c.printer().Event(e)
	}
}

// headerFields adds what a patch says of itself.
func (o *object) headerFields(h delta.Header) {
	o.text("method", h.Method.String())
	o.text("tier", h.Tier.String())
	o.number("memory", int64(h.Tier.Memory()))
	o.number("old_size", h.OldSize)
	o.number("new_size", h.NewSize)
	o.text("old_sum", hexSum(h.OldSum))
	o.text("new_sum", hexSum(h.NewSum))
	o.flag("read_back", h.ReadBack)
	if h.Block > 0 {
		o.number("slack", h.Slack)
		o.number("block", h.Block)
	}
}

// readFile reads a file whole, for work that needs all of it at hand.
func readFile(name string) ([]byte, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, godwit.Fail(godwit.CodeUsage, err, name+" cannot be read", "name a file that is there")
	}
	return b, nil
}

func hexSum(s delta.Sum) string {
	const digits = "0123456789abcdef"
	var b strings.Builder
	for _, v := range s {
		b.WriteByte(digits[v>>4])
		b.WriteByte(digits[v&15])
	}
	return b.String()
}

// share words how large part is beside whole.
func share(part, whole int64) string {
	if whole == 0 {
		return "–"
	}
	p := float64(part) / float64(whole) * 100
	prec := 1
	if p < 1 {
		prec = 2
	}
	return strconv.FormatFloat(p, 'f', prec, 64) + " %"
}

// memory words what a decoder takes. Tiers are powers of two.
func memory(t delta.Tier) string { return binarySize(int64(t.Memory())) }

// binarySize words a size that is mostly a power of two.
func binarySize(n int64) string {
	switch {
	case n >= 1<<20 && n%(1<<20) == 0:
		return strconv.FormatInt(n>>20, 10) + " MiB"
	case n >= 1<<10 && n%(1<<10) == 0:
		return strconv.FormatInt(n>>10, 10) + " KiB"
	}
	return strconv.FormatInt(n, 10) + " B"
}

// parseSize reads bytes with k, m or g for powers of 1024: 64k.
func parseSize(s, flag string) (int64, error) {
	digits := strings.TrimRight(strings.ToLower(s), "kmg")
	shift := 0
	if len(digits) == len(s)-1 {
		shift = 10 * (1 + strings.IndexByte("kmg", strings.ToLower(s)[len(digits)]))
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 0 || len(digits) < len(s)-1 || n > math.MaxInt64>>shift {
		return 0, usageText("--"+flag+" takes a number of bytes, such as 65536 or 64k, and not \""+s+"\"", "delta")
	}
	return n << shift, nil
}
