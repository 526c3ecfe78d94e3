package cli

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/pflag"

	"github.com/godwit-ota/godwit/internal/term"
)

// writeMan writes the manual page in the man macros: man(7), groff_man(7).
func writeMan(out io.Writer, verbs []verb, global *pflag.FlagSet) error {
	w := bufio.NewWriter(out)
	fmt.Fprintf(w, ".TH GODWIT 1 \"\" \"godwit %s\" \"User Commands\"\n", roff(Version))
	fmt.Fprintf(w, ".SH NAME\ngodwit \\- %s\n", roff(summary))
	fmt.Fprintf(w, ".SH SYNOPSIS\n.B godwit\n.I COMMAND\n.RI [ flags ]\n")
	fmt.Fprintf(w, ".SH DESCRIPTION\n%s\n", roff(about))
	fmt.Fprintf(w, ".SH COMMANDS\n")
	for _, v := range verbs {
		fmt.Fprintf(w, ".SS %s\n", roff(v.usage()))
		for _, p := range strings.Split(v.long, "\n\n") {
			fmt.Fprintf(w, ".PP\n%s\n", roff(p))
		}
		manFlags(w, v.verbFlags())
		fmt.Fprintf(w, ".PP\nExample:\n.PP\n.nf\n.RS\n")
		for _, l := range v.examples {
			fmt.Fprintln(w, roff(l))
		}
		fmt.Fprintf(w, ".RE\n.fi\n")
	}
	fmt.Fprintf(w, ".SH OPTIONS\nThese go with every command.\n")
	manFlags(w, global)
	fmt.Fprintf(w, ".SH EXIT STATUS\n")
	for _, n := range term.ExitCodes() {
		fmt.Fprintf(w, ".TP\n.B %d\n%s\n", n, roff(term.ExitMeaning(n)))
	}
	entries(w, "FILES", ".I", [][2]string{
		{"godwit.toml, godwit.yaml, godwit.yml, godwit.json", "the configuration, looked for in the working directory"},
		{"/etc/godwit/godwit.toml", "the configuration, if there is none in the working directory"},
		{"ROOT/current", "the running version (layout slots)"},
		{"ROOT/version.json", "which version runs, for applications: ref and commit"},
		{"ROOT/.godwit/", "Godwit's own state"},
	})
	entries(w, "ENVIRONMENT", ".B", [][2]string{
		{"GODWIT_CONFIG", "the configuration file, unless --config is given"},
		{"HTTPS_PROXY, HTTP_PROXY, NO_PROXY", "the proxy, unless source.proxy is set"},
		{"SSH_AUTH_SOCK", "the SSH agent, unless source.ssh_key is set"},
		{"NO_COLOR, TERM", "no colours, and no progress bar if TERM is dumb"},
	})
	fmt.Fprintf(w, ".SH SEE ALSO\n.BR git (1),\n.BR systemd.timer (5)\n")
	return w.Flush()
}

func entries(w io.Writer, head, font string, list [][2]string) {
	fmt.Fprintf(w, ".SH %s\n", head)
	for _, e := range list {
		fmt.Fprintf(w, ".TP\n%s %s\n%s\n", font, roff(e[0]), roff(e[1]))
	}
}

func manFlags(w io.Writer, flags *pflag.FlagSet) {
	flags.VisitAll(func(f *pflag.Flag) {
		names, usage := flagNames(f)
		fmt.Fprintf(w, ".TP\n.B %s\n%s\n", roff(strings.TrimSpace(names)), roff(usage))
	})
}

// roff protects text from being read as a request, and hyphens and quotes from
// being typeset, so that examples can be copied.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`, "^", `\(ha`, "~", `\(ti`, "…", "...").Replace(s)
	if strings.HasPrefix(s, ".") {
		s = `\&` + s
	}
	return s
}
