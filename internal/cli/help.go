package cli

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/spf13/pflag"

	"github.com/godwit-ota/godwit/internal/term"
)

// helpWidth is the width of help in columns.
const helpWidth = 80

// writeHelp writes the help of the program.
func writeHelp(out io.Writer, verbs []verb, global *pflag.FlagSet) error {
	w := bufio.NewWriter(out)
	wrapped(w, 0, about)
	fmt.Fprintf(w, "\nUsage:\n  godwit COMMAND [flags]\n\nCommands:\n")
	width := 0
	for _, v := range verbs {
		width = max(width, len(v.name))
	}
	for _, v := range verbs {
		fmt.Fprintf(w, "  %-*s  %s\n", width, v.name, v.short)
	}
	section(w, "Global flags", global)
	exampleLines(w, examples)
	exitLines(w, term.ExitCodes())
	fmt.Fprintf(w, "\n`godwit COMMAND --help` says more about a command, `godwit demo` shows it all.\n")
	return w.Flush()
}

// writeHelp writes the help of one command.
func (v verb) writeHelp(out io.Writer, global *pflag.FlagSet) error {
	w := bufio.NewWriter(out)
	wrapped(w, 0, v.long)
	fmt.Fprintf(w, "\nUsage:\n  %s\n", v.usage())
	section(w, "Flags", v.verbFlags())
	section(w, "Global flags", global)
	exampleLines(w, v.examples)
	exitLines(w, v.exits)
	return w.Flush()
}

func (v verb) usage() string { return strings.TrimSpace("godwit " + v.name + " " + v.use) }

func exampleLines(w io.Writer, lines []string) {
	fmt.Fprintf(w, "\nExamples:\n")
	for _, l := range lines {
		fmt.Fprintf(w, "  %s\n", l)
	}
}

func exitLines(w io.Writer, codes []int) {
	fmt.Fprintf(w, "\nExit codes:\n")
	for _, n := range codes {
		fmt.Fprintf(w, "  %d  %s\n", n, term.ExitMeaning(n))
	}
}

func section(w io.Writer, head string, flags *pflag.FlagSet) {
	width := 0
	flags.VisitAll(func(f *pflag.Flag) {
		names, _ := flagNames(f)
		width = max(width, len(names))
	})
	if width == 0 {
		return
	}
	fmt.Fprintf(w, "\n%s:\n", head)
	flags.VisitAll(func(f *pflag.Flag) {
		names, usage := flagNames(f)
		fmt.Fprintf(w, "  %-*s  ", width, names)
		wrapped(w, width+4, usage)
	})
}

// flagNames gives "-c, --config FILE" and what the flag means.
func flagNames(f *pflag.Flag) (names, usage string) {
	value, usage := valueOf(f)
	names = "    --" + f.Name
	if f.Shorthand != "" {
		names = "-" + f.Shorthand + ", --" + f.Name
	}
	if value != "" {
		names += " " + value
	}
	return names, usage
}

// valueOf splits the usage text of a flag into the name of its value and the
// text for people. "`NAME`; text" has the name nowhere in the text.
func valueOf(f *pflag.Flag) (value, usage string) {
	value, usage = pflag.UnquoteUsage(f)
	return value, strings.TrimPrefix(usage, value+"; ")
}

// wrapped writes text, of which the first line begins at column indent, in
// lines that fit. Paragraphs are separated by an empty line.
func wrapped(w io.Writer, indent int, text string) {
	for i, paragraph := range strings.Split(text, "\n\n") {
		if i > 0 {
			fmt.Fprintf(w, "\n%*s", indent, "")
		}
		col := indent
		for j, word := range strings.Fields(paragraph) {
			n := utf8.RuneCountInString(word)
			switch {
			case j == 0:
			case col+1+n > helpWidth:
				fmt.Fprintf(w, "\n%*s", indent, "")
				col = indent
			default:
				fmt.Fprint(w, " ")
				col++
			}
			fmt.Fprint(w, word)
			col += n
		}
		fmt.Fprintln(w)
	}
}
