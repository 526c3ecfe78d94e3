package term

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/internal/jsontext"
	"github.com/godwit-ota/godwit/plan"
)

// groups are the parts of a plan as people see it.
var groups = []struct {
	op   plan.Op
	head string
}{
	{plan.Add, "new"}, {plan.Replace, "change"}, {plan.Mode, "mode"}, {plan.Delete, "delete"}, {plan.Skip, "skip"},
}

// listed is how many paths of a group are shown unless Verbose.
const listed = 12

// Plan prints a plan: in JSON one line for every path that is not merely kept,
// and one for the totals. from and to name the versions for people.
func (p *Printer) Plan(pl *plan.Plan, from, to string) error {
	if p.cfg.JSON {
		return p.planJSON(pl)
	}
	if from == "" {
		from = "nothing"
	}
	p.Printf("plan: %s → %s\n", from, to)
	counts := map[plan.Op]int{plan.Add: pl.Added, plan.Replace: pl.Replaced, plan.Mode: pl.Modes, plan.Delete: pl.Deleted, plan.Skip: pl.Skipped}
	for _, g := range groups {
		n := counts[g.op]
		if n == 0 {
			continue
		}
		p.Printf("\n  %s %s\n", g.head, count(n, "file"))
		// The steps are worked out again for each group rather than kept: a
		// plan may be larger than the memory.
		shown := 0
		for s, err := range pl.Steps() {
			if err != nil {
				return err
			}
			if s.Op != g.op {
				continue
			}
			if shown == listed && n > listed+1 && !p.cfg.Verbose {
				p.Printf("    … and %d more (--verbose lists them)\n", n-shown)
				break
			}
			shown++
			p.Printf("%s\n", strings.TrimRight(fmt.Sprintf("    %-40s%s", Clean(s.Path), why(s)), " "))
		}
	}
	if pl.Changes() == 0 {
		p.Printf("\n  nothing to change\n")
	}
	amount := func(n int64) string {
		switch {
		case pl.Exact:
			return plan.Bytes(n)
		case n == 0:
			return "their sizes are not known yet"
		}
		return "about " + plan.Bytes(n)
	}
	p.Printf("\nkept: %s. To fetch: %s", count(pl.Kept, "file"), count(pl.FetchFiles, "file"))
	if pl.FetchFiles > 0 {
		p.Printf(" (%s", amount(pl.FetchBytes))
		switch {
		case !pl.Tree.IsZero():
			p.Printf(" in one patch, which saves %s", plan.Bytes(pl.SavedBytes))
		case pl.PatchFiles > 0:
			p.Printf("; patches for %s save %s", count(pl.PatchFiles, "file"), plan.Bytes(pl.SavedBytes))
		case pl.FetchBytes > 0:
			p.Printf(" before compression and deltas")
		}
		if usd := pl.Cost(); usd > 0 {
			p.Printf("; %s on this link", plan.Dollars(usd))
		}
		p.Printf(")")
	}
	if pl.Exact || pl.WriteBytes > 0 {
		p.Printf(". To write: %s", amount(pl.WriteBytes))
	}
	if pl.Free >= 0 {
		p.Printf(". Free: %s", plan.Bytes(pl.Free))
	}
	p.Printf(".\n")
	return nil
}

// why says in a few words what happens to a path beyond its group.
func why(s plan.Step) string {
	var parts []string
	size := func(e godwit.Entry) string {
		if e.Path == "" || e.Size < 0 {
			return ""
		}
		return plan.Bytes(e.Size)
	}
	switch s.Op {
	case plan.Skip:
		parts = append(parts, s.Reason)
	case plan.Delete:
		parts = append(parts, size(s.Old))
	case plan.Add:
		parts = append(parts, size(s.New))
		if s.New.Mode != godwit.File {
			parts = append(parts, modeName(s.New.Mode))
		}
	case plan.Replace:
		switch a, b := size(s.Old), size(s.New); {
		case a != "" && b != "" && a != b:
			parts = append(parts, a+" → "+b)
		case b != "":
			parts = append(parts, b)
		case a != "":
			parts = append(parts, "was "+a)
		}
	}
	if s.Old.Path != "" && s.New.Path != "" && s.Old.Mode != s.New.Mode {
		parts = append(parts, modeName(s.Old.Mode)+" → "+modeName(s.New.Mode))
	}
	switch {
	case (s.Op == plan.Add || s.Op == plan.Replace) && !s.Fetch:
		parts = append(parts, "already on the device")
	case !s.Patch.IsZero():
		parts = append(parts, "patch of "+plan.Bytes(s.Patch.Size))
	}
	text := ""
	for _, part := range parts {
		if part != "" {
			text += "  " + part
		}
	}
	return text
}

func modeName(m godwit.Mode) string {
	switch m {
	case godwit.Executable:
		return "executable"
	case godwit.Symlink:
		return "link"
	}
	return "plain file"
}

func count(n int, noun string) string {
	if n != 1 && !strings.HasSuffix(noun, "s") {
		noun += "s"
	}
	return strconv.Itoa(n) + " " + noun
}

func (p *Printer) planJSON(pl *plan.Plan) error {
	for s, err := range pl.Steps() {
		if err != nil {
			return err
		}
		if s.Op == plan.Keep {
			continue
		}
		p.Emit(stepFields(s))
	}
	f := jsontext.Fields{
		{Name: "type", Value: "plan"}, {Name: "from", Value: pl.From}, {Name: "to", Value: pl.To},
		{Name: "added", Value: pl.Added}, {Name: "replaced", Value: pl.Replaced}, {Name: "modes", Value: pl.Modes},
		{Name: "deleted", Value: pl.Deleted}, {Name: "kept", Value: pl.Kept}, {Name: "skipped", Value: pl.Skipped},
		{Name: "fetch_files", Value: pl.FetchFiles}, {Name: "fetch_bytes", Value: pl.FetchBytes},
		{Name: "write_bytes", Value: pl.WriteBytes}, {Name: "exact", Value: pl.Exact},
	}
	if pl.PatchFiles > 0 {
		f = append(f, jsontext.Field{Name: "patch_files", Value: pl.PatchFiles}, jsontext.Field{Name: "saved_bytes", Value: pl.SavedBytes})
	}
	if usd := pl.Cost(); usd > 0 {
		f = append(f, jsontext.Field{Name: "cost_usd", Value: usd})
	}
	if t := pl.Tree; !t.IsZero() {
		f = append(f, jsontext.Field{Name: "tree_patch", Value: t.Sum.Hex()})
	}
	if pl.Free >= 0 {
		f = append(f, jsontext.Field{Name: "free", Value: pl.Free})
	}
	p.Emit(f)
	return nil
}

func stepFields(s plan.Step) jsontext.Fields {
	f := jsontext.Fields{{Name: "type", Value: "step"}, {Name: "op", Value: string(s.Op)}, {Name: "path", Value: s.Path}}
	entry := func(prefix string, e godwit.Entry) {
		if e.Path == "" {
			return
		}
		f = append(f, jsontext.Field{Name: prefix + "mode", Value: e.Mode.String()})
		if e.Size >= 0 {
			f = append(f, jsontext.Field{Name: prefix + "size", Value: e.Size})
		}
	}
	entry("", s.New)
	entry("old_", s.Old)
	f = f.With("fetch", s.Fetch)
	if p := s.Patch; !p.IsZero() {
		f = append(f, jsontext.Field{Name: "patch_from", Value: p.From.String()}, jsontext.Field{Name: "patch_bytes", Value: p.Size})
	}
	return f.With("reason", s.Reason)
}
