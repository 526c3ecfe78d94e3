package cli

import (
	"context"
	"io"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/config"
	"github.com/godwit-ota/godwit/internal/jsontext"
)

// What the program is, for help and manual.
const (
	summary = "update a device from a Git repository, safely"
	about   = "Godwit updates the files of a device over the air, from any Git host, and the device is always either the old version or the new one."
)

// examples are those of the program as a whole.
var examples = []string{
	"godwit init",
	"godwit update",
	"godwit status",
}

// A verb is one command. Help, completions, the manual page and
// docs/commands.md are all made from these.
type verb struct {
	name     string
	use      string // what follows the name: "[--dry-run] [--force]"
	short    string // one line, no full stop
	long     string // paragraphs, separated by empty lines
	examples []string
	exits    []int    // the exit codes it can have
	arg      []string // what its first argument may be; nil for anything
	operands [2]int   // the least and the most arguments; with arg, 0 and 0 mean one
	flags    func(*pflag.FlagSet)
	run      func(ctx context.Context, arg string) error
}

// verbs lists the commands in the order in which help shows them.
func (c *command) verbs() []verb {
	return slices.Concat(c.deviceVerbs(), c.authorVerbs(), []verb{c.demoVerb(), c.completionVerb(), c.manVerb(), c.versionVerb()})
}

// globalFlags returns the flags that go with every command. In the usage text
// of a flag a word in backquotes names its value: `FILE` and `FOLDER` are
// completed as such, `a|b` as one of these.
func (c *command) globalFlags() *pflag.FlagSet {
	f := newFlags()
	f.StringVarP(&c.configFile, "config", "c", c.configFile, "`FILE`; the configuration (default: godwit.toml, .yaml, .yml or .json here, then ota_config.*, then /etc/godwit/godwit.toml)")
	f.StringVarP(&c.root, "root", "r", c.root, "`FOLDER`; where to install, instead of tree.root of the configuration")
	f.BoolVar(&c.json, "json", c.json, "print one JSON object a line")
	f.BoolVarP(&c.quiet, "quiet", "q", c.quiet, "print warnings and errors only")
	f.BoolVarP(&c.verbose, "verbose", "v", c.verbose, "print details")
	f.BoolVarP(&c.help, "help", "h", c.help, "show help")
	return f
}

func newFlags() *pflag.FlagSet {
	f := pflag.NewFlagSet("godwit", pflag.ContinueOnError)
	f.SortFlags = false
	f.Usage = func() {}
	f.SetOutput(io.Discard)
	return f
}

// verbFlags returns the flags of one command, without the global ones.
func (v verb) verbFlags() *pflag.FlagSet {
	f := newFlags()
	if v.flags != nil {
		v.flags(f)
	}
	return f
}

// execute finds the command in args and runs it.
func (c *command) execute(ctx context.Context, args []string) error {
	verbs := c.verbs()
	for _, a := range args { // also where the rest cannot be understood
		c.json = c.json || a == "--json"
	}
	before := c.globalFlags()
	before.SetInterspersed(false) // up to the name of the command
	if err := before.Parse(args); err != nil {
		return usageError(err, before, "godwit")
	}
	rest := before.Args()
	if len(rest) > 0 && rest[0] == "help" {
		c.help, rest = true, rest[1:]
	}
	if len(rest) == 0 {
		return writeHelp(c.stdout, verbs, c.globalFlags())
	}
	i := slices.IndexFunc(verbs, func(v verb) bool { return v.name == rest[0] })
	if i < 0 {
		var names []string
		for _, v := range verbs {
			names = append(names, v.name)
		}
		hint := "see `godwit --help`"
		if near := config.Nearest(rest[0], names); near != "" {
			hint = "did you mean `godwit " + near + "`?"
		}
		return godwit.Fail(godwit.CodeUsage, nil, "unknown command \""+rest[0]+"\"", hint)
	}
	v := verbs[i]
	all := v.verbFlags()
	all.AddFlagSet(c.globalFlags())
	if err := all.Parse(rest[1:]); err != nil {
		return usageError(err, all, "godwit "+v.name)
	}
	if c.help {
		return v.writeHelp(c.stdout, c.globalFlags())
	}
	c.operands = all.Args()
	least, most := v.operands[0], v.operands[1]
	if v.arg != nil {
		least, most = max(least, 1), max(most, 1)
	}
	switch n := len(c.operands); {
	case v.arg != nil && (n == 0 || !slices.Contains(v.arg, c.operands[0])), v.arg != nil && most == 1 && n > 1:
		return usageText("godwit "+v.name+" needs one of "+strings.Join(v.arg, ", "), v.name)
	case n > most && most == 0:
		return usageText("godwit "+v.name+" takes no argument, and there is \""+c.operands[0]+"\"", v.name)
	case n < least:
		return usageText("an argument is missing: "+v.usage(), v.name)
	case n > most:
		return usageText("there is an argument too much, \""+c.operands[most]+"\": "+v.usage(), v.name)
	}
	c.verb = v.name
	defer func() { c.printer().Done() }() // the configuration has a say in what it prints
	return v.run(ctx, all.Arg(0))
}

func usageText(text, verb string) error {
	return godwit.Fail(godwit.CodeUsage, nil, text, "see `godwit "+verb+" --help`")
}

// usageError words what pflag found.
func usageError(err error, flags *pflag.FlagSet, command string) error {
	hint := "see `" + command + " --help`"
	if name, ok := strings.CutPrefix(err.Error(), "unknown flag: --"); ok {
		var names []string
		flags.VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
		if near := config.Nearest(name, names); near != "" {
			hint = "did you mean --" + near + "?"
		}
	}
	return godwit.Fail(godwit.CodeUsage, nil, err.Error(), hint)
}

func (c *command) versionVerb() verb {
	return verb{
		name: "version", short: "print the version of this program",
		long:     "Print the version of this program.",
		examples: []string{"godwit version"},
		exits:    []int{0, 2},
		run: func(context.Context, string) error {
			c.printer().Emit(jsontext.Fields{{Name: "type", Value: "version"}, {Name: "version", Value: Version}})
			c.printer().Printf("godwit %s\n", Version)
			return nil
		},
	}
}

func (c *command) manVerb() verb {
	return verb{
		name: "man", short: "print the manual page",
		long:     "Print the manual page godwit(1), in the man macros of roff, made from the same source as this help.",
		examples: []string{"godwit man | man -l -", "godwit man >/usr/local/share/man/man1/godwit.1"},
		exits:    []int{0, 2},
		run:      func(context.Context, string) error { return writeMan(c.stdout, c.verbs(), c.globalFlags()) },
	}
}
