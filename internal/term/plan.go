package term

import (
	"strconv"
	"strings"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/plan"
)

type stepJSON struct {
	Type    string  `json:"type"` // "step"
	Op      plan.Op `json:"op"`
	Path    string  `json:"path"`
	Mode    string  `json:"mode,omitempty"`
	Size    *int64  `json:"size,omitempty"`
	OldMode string  `json:"old_mode,omitempty"`
	OldSize *int64  `json:"old_size,omitempty"`
	Fetch   bool    `json:"fetch,omitempty"`
	Reason  string  `json:"reason,omitempty"`
}

type planJSON struct {
	Type       string `json:"type"` // "plan"
	From       string `json:"from"`
	To         string `json:"to"`
	Added      int    `json:"added"`
	Replaced   int    `json:"replaced"`
	Modes      int    `json:"modes"`
	Deleted    int    `json:"deleted"`
	Kept       int    `json:"kept"`
	Skipped    int    `json:"skipped"`
	FetchFiles int    `json:"fetch_files"`
	FetchBytes int64  `json:"fetch_bytes"`
	WriteBytes int64  `json:"write_bytes"`
	Exact      bool   `json:"exact"`
	Free       *int64 `json:"free,omitempty"`
}

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
			p.Printf("    %-40s%s\n", Clean(s.Path), why(s))
		}
	}
	if pl.Changes() == 0 {
		p.Printf("\n  nothing to change\n")
	}
	about := "about "
	if pl.Exact {
		about = ""
	}
	p.Printf("\nkept: %s. To fetch: %s", count(pl.Kept, "file"), count(pl.FetchFiles, "file"))
	if pl.FetchFiles > 0 {
		p.Printf(" (%s%s before compression and deltas)", about, plan.Bytes(pl.FetchBytes))
	}
	p.Printf(". To write: %s%s", about, plan.Bytes(pl.WriteBytes))
	if pl.Free >= 0 {
		p.Printf(" of %s free", plan.Bytes(pl.Free))
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
	if (s.Op == plan.Add || s.Op == plan.Replace) && !s.Fetch {
		parts = append(parts, "already on the device")
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
		j := stepJSON{Type: "step", Op: s.Op, Path: s.Path, Fetch: s.Fetch, Reason: s.Reason}
		if s.New.Path != "" {
			j.Mode = s.New.Mode.String()
			if s.New.Size >= 0 {
				j.Size = &s.New.Size
			}
		}
		if s.Old.Path != "" {
			j.OldMode = s.Old.Mode.String()
			if s.Old.Size >= 0 {
				j.OldSize = &s.Old.Size
			}
		}
		p.Emit(j)
	}
	j := planJSON{"plan", pl.From, pl.To, pl.Added, pl.Replaced, pl.Modes, pl.Deleted, pl.Kept, pl.Skipped,
		pl.FetchFiles, pl.FetchBytes, pl.WriteBytes, pl.Exact, nil}
	if pl.Free >= 0 {
		j.Free = &pl.Free
	}
	p.Emit(j)
	return nil
}
