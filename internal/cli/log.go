package cli

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/agent"
	"github.com/godwit-ota/godwit/history"
	"github.com/godwit-ota/godwit/internal/status"
	"github.com/godwit-ota/godwit/vfs"
)

func (c *command) logVerb() verb {
	var crashes, failures, updates, reverse bool
	var most int
	return verb{
		name: "log", use: "[--crashes] [--errors] [--updates] [-n NUMBER]", short: "show what happened to this device: crashes, errors, updates",
		long: "Show what the agent remembers of this device, the newest first: how updates went, what failed, and when the device went down without warning. An error that came again and again is one line.\n\n" +
			"It takes no lock and writes nothing. What an agent that runs has not written yet, at most an hour of errors, is not in it.",
		examples: []string{"godwit log", "godwit log --updates -n 5", "godwit log --json --errors"},
		exits:    []int{0, 1, 2},
		flags: func(f *pflag.FlagSet) {
			f.BoolVar(&crashes, "crashes", false, "only crashes, or those as well")
			f.BoolVar(&failures, "errors", false, "only errors, or those as well")
			f.BoolVar(&updates, "updates", false, "only updates, or those as well")
			f.IntVarP(&most, "lines", "n", 0, "`NUMBER`; how many at most, the newest; 0 is all")
			f.BoolVar(&reverse, "reverse", false, "the oldest first")
		},
		run: func(context.Context, string) error {
			if most < 0 {
				return usageText("--lines cannot be less than 0", "log")
			}
			var kinds []history.Kind
			for kind, wanted := range map[history.Kind]bool{history.KindCrash: crashes, history.KindError: failures, history.KindUpdate: updates} {
				if wanted {
					kinds = append(kinds, kind)
				}
			}
			list, err := c.events(kinds, most)
			if err != nil {
				return err
			}
			if reverse {
				slices.Reverse(list)
			}
			var text strings.Builder
			for _, e := range list {
				c.printer().Emit(status.EventFields(e))
				text.WriteString(status.Line(e))
				text.WriteByte('\n')
			}
			if list == nil {
				text.WriteString("nothing happened yet that is remembered\n")
			}
			c.printer().Printf("%s", text.String())
			return nil
		},
	}
}

// events are the newest of the history.
func (c *command) events(kinds []history.Kind, most int) (list []history.Event, err error) {
	cfg, err := c.loadConfig()
	if err != nil {
		return nil, err
	}
	fsys, err := vfs.OS(string(cfg.Tree.Root))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, godwit.Fail(godwit.CodeIO, err, "tree.root cannot be opened", "run it as the user that the agent runs as")
	}
	defer fsys.Close()
	h, err := history.Open(fsys, cfg.Tree.State, agent.HistoryOptions(cfg))
	if err != nil {
		c.printer().Warn("the history: " + err.Error())
	}
	for e := range h.Events(kinds...) {
		if most > 0 && len(list) == most {
			break
		}
		list = append(list, e)
	}
	return list, nil
}
