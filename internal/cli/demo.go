package cli

import (
	"context"
	"io"
	"os"

	"github.com/spf13/pflag"

	"github.com/godwit-ota/godwit"
)

// A Demo tells what this program does by doing it: program is the binary to
// run, seed chooses the power cuts, keep leaves the folder behind.
type Demo func(ctx context.Context, out io.Writer, program, layout string, seed uint64, keep bool) error

func (c *command) demoVerb() verb {
	var layout string
	var seed uint64
	var keep bool
	return verb{
		name: "demo", use: "[--layout LAYOUT] [--seed NUMBER] [--keep]",
		short: "the whole story on this machine, in under a minute",
		long: "Start a real Git host on the loopback address and a device in a temporary folder, and show a first install, an update, power cuts in the middle of one (real SIGKILLs), a bad version that is sent back, a rollback and a repair. Then a second device takes releases that their author signed, and refuses what somebody who owns the host tries: an old tag under a new name, a release that nobody signed, another product's, other bytes, an expired channel. Each claim is checked against git's own checkout; the first that does not hold ends the demo with exit code 1.\n\n" +
			"It needs git and ssh-keygen, and no network.",
		examples: []string{"godwit demo", "godwit demo --layout in-place --seed 7 --keep"},
		exits:    []int{0, 1, 2},
		flags: func(f *pflag.FlagSet) {
			f.StringVar(&layout, "layout", "slots", "`slots|in-place`; how versions lie on the device")
			f.Uint64Var(&seed, "seed", 0, "`NUMBER`; chooses the moments of the power cuts (default: from the clock)")
			f.BoolVar(&keep, "keep", false, "leave the folder of the demo behind")
		},
		run: func(ctx context.Context, _ string) error {
			if layout != "slots" && layout != "in-place" {
				return usageText("--layout must be slots or in-place, not \""+layout+"\"", "demo")
			}
			program, err := os.Executable()
			if err != nil {
				return godwit.Fail(godwit.CodeFailed, err, "the program cannot find itself", "")
			}
			out := c.stdout
			if c.quiet || c.json {
				out = io.Discard
			}
			generous()
			return c.demo(ctx, out, program, layout, seed, keep)
		},
	}
}
