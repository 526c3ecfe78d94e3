package cli

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/pflag"
)

func (c *command) completionVerb() verb {
	shells := []string{"bash", "zsh", "fish", "powershell"}
	return verb{
		name: "completion", use: "SHELL", short: "print completions for bash, zsh, fish or powershell",
		long:     "Print a script that teaches a shell to complete godwit's commands and flags. Load it in a running shell, or put it where the shell looks for completions. SHELL is bash, zsh, fish or powershell.",
		examples: []string{"source <(godwit completion bash)", "godwit completion fish >~/.config/fish/completions/godwit.fish"},
		exits:    []int{0, 2},
		arg:      shells,
		run: func(_ context.Context, shell string) error {
			w := bufio.NewWriter(c.stdout)
			write := map[string]func(io.Writer, []verb, *pflag.FlagSet){"bash": bash, "zsh": zsh, "fish": fish, "powershell": powershell}
			write[shell](w, c.verbs(), c.globalFlags())
			return w.Flush()
		},
	}
}

// A completable is a flag as shells need it.
type completable struct {
	long, short string   // without hyphens
	takes       bool     // a value
	value       string   // "FILE", "FOLDER", …
	choices     []string // for value
	usage       string
}

func completables(sets ...*pflag.FlagSet) []completable {
	var all []completable
	for _, set := range sets {
		set.VisitAll(func(f *pflag.Flag) {
			value, usage := valueOf(f)
			d := completable{long: f.Name, short: f.Shorthand, takes: f.NoOptDefVal == "", value: value, usage: usage}
			if strings.Contains(value, "|") {
				d.choices = strings.Split(value, "|")
			}
			all = append(all, d)
		})
	}
	return all
}

// names gives "-c --config".
func (d completable) names(between string) string {
	if d.short != "" {
		return "-" + d.short + between + "--" + d.long
	}
	return "--" + d.long
}

func words(flags []completable) string {
	var all []string
	for _, d := range flags {
		all = append(all, "--"+d.long)
	}
	return strings.Join(all, " ")
}

func bash(w io.Writer, verbs []verb, global *pflag.FlagSet) {
	fmt.Fprint(w, "# bash completion for godwit\n_godwit() {\n\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} cmd= i words=\n\tCOMPREPLY=()\n")
	sets, values := []*pflag.FlagSet{global}, ""
	var names []string
	for _, v := range verbs {
		sets = append(sets, v.verbFlags())
		names = append(names, v.name)
	}
	for _, d := range completables(sets...) {
		if d.takes {
			values += "|" + d.names("|")
		}
	}
	fmt.Fprintf(w, "\tfor ((i = 1; i < COMP_CWORD; i++)); do\n\t\tcase ${COMP_WORDS[i]} in\n\t\t%s) ((i++)) ;;\n\t\t-*) ;;\n\t\t*) cmd=${COMP_WORDS[i]}; break ;;\n\t\tesac\n\tdone\n", values[1:])
	fmt.Fprintf(w, "\tcase $prev in\n")
	for _, d := range completables(sets...) {
		what := "return"
		switch {
		case !d.takes:
			continue
		case d.value == "FILE":
			what = `COMPREPLY=($(compgen -f -- "$cur")); return`
		case d.value == "FOLDER":
			what = `COMPREPLY=($(compgen -d -- "$cur")); return`
		case d.choices != nil:
			what = fmt.Sprintf(`COMPREPLY=($(compgen -W "%s" -- "$cur")); return`, strings.Join(d.choices, " "))
		}
		fmt.Fprintf(w, "\t%s) %s ;;\n", d.names("|"), what)
	}
	fmt.Fprintf(w, "\tesac\n\tcase $cmd in\n\t\"\") words=\"%s\" ;;\n", strings.Join(names, " "))
	fmt.Fprintf(w, "\thelp) words=\"%s\" ;;\n", strings.Join(names, " "))
	for _, v := range verbs {
		fmt.Fprintf(w, "\t%s) words=\"%s\" ;;\n", v.name, strings.TrimSpace(strings.Join(v.arg, " ")+" "+words(completables(v.verbFlags()))))
	}
	fmt.Fprintf(w, "\tesac\n\tcase $cur in\n\t-*) words+=\" %s\" ;;\n\tesac\n", words(completables(global)))
	fmt.Fprint(w, "\tCOMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n}\ncomplete -o filenames -F _godwit godwit\n")
}

func zsh(w io.Writer, verbs []verb, global *pflag.FlagSet) {
	text := strings.NewReplacer(`'`, `'\''`, `[`, `\[`, `]`, `\]`, ":", `\:`)
	spec := func(d completable) string {
		action := ""
		switch {
		case !d.takes:
		case d.value == "FILE":
			action = ":file:_files"
		case d.value == "FOLDER":
			action = ":folder:_files -/"
		case d.choices != nil:
			action = ":value:(" + strings.Join(d.choices, " ") + ")"
		default:
			action = ":" + text.Replace(d.value) + ": "
		}
		s := "'--" + d.long + "[" + text.Replace(d.usage) + "]" + action + "'"
		if d.short != "" {
			s += " '-" + d.short + "[" + text.Replace(d.usage) + "]" + action + "'"
		}
		return s
	}
	fmt.Fprint(w, "#compdef godwit\n_godwit() {\n\tlocal -a commands\n\tlocal line state\n\tcommands=(\n")
	for _, v := range verbs {
		fmt.Fprintf(w, "\t\t'%s:%s'\n", v.name, text.Replace(v.short))
	}
	fmt.Fprint(w, "\t)\n\tlocal -a global\n\tglobal=(\n")
	for _, d := range completables(global) {
		fmt.Fprintf(w, "\t\t%s\n", spec(d))
	}
	fmt.Fprint(w, "\t)\n\t_arguments -C $global '1: :->command' '*:: :->rest'\n\tcase $state in\n\tcommand) _describe command commands ;;\n\trest)\n\t\tcase $line[1] in\n")
	for _, v := range verbs {
		fmt.Fprintf(w, "\t\t%s) _arguments $global", v.name)
		for _, d := range completables(v.verbFlags()) {
			fmt.Fprintf(w, " %s", spec(d))
		}
		if v.arg != nil {
			fmt.Fprintf(w, " '1:shell:(%s)'", strings.Join(v.arg, " "))
		}
		fmt.Fprint(w, " ;;\n")
	}
	fmt.Fprint(w, "\t\tesac ;;\n\tesac\n}\nif [ \"$funcstack[1]\" = _godwit ]; then _godwit \"$@\"; else compdef _godwit godwit; fi\n")
}

func fish(w io.Writer, verbs []verb, global *pflag.FlagSet) {
	quoted := func(s string) string {
		return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
	}
	flag := func(condition string, d completable) {
		fmt.Fprintf(w, "complete -c godwit%s -l %s", condition, d.long)
		if d.short != "" {
			fmt.Fprintf(w, " -s %s", d.short)
		}
		switch {
		case !d.takes:
		case d.value == "FILE":
			fmt.Fprint(w, " -r -F")
		case d.value == "FOLDER":
			fmt.Fprint(w, " -x -a '(__fish_complete_directories)'")
		case d.choices != nil:
			fmt.Fprintf(w, " -x -a %s", quoted(strings.Join(d.choices, " ")))
		default:
			fmt.Fprint(w, " -x")
		}
		fmt.Fprintf(w, " -d %s\n", quoted(d.usage))
	}
	fmt.Fprint(w, "# fish completion for godwit\ncomplete -c godwit -f\n")
	for _, d := range completables(global) {
		flag("", d)
	}
	for _, v := range verbs {
		fmt.Fprintf(w, "complete -c godwit -n __fish_use_subcommand -a %s -d %s\n", v.name, quoted(v.short))
		in := " -n '__fish_seen_subcommand_from " + v.name + "'"
		for _, d := range completables(v.verbFlags()) {
			flag(in, d)
		}
		if v.arg != nil {
			fmt.Fprintf(w, "complete -c godwit%s -a %s\n", in, quoted(strings.Join(v.arg, " ")))
		}
	}
}

func powershell(w io.Writer, verbs []verb, global *pflag.FlagSet) {
	quoted := func(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
	list := func(flags []completable) string {
		var all []string
		for _, d := range flags {
			all = append(all, quoted("--"+d.long)+" = "+quoted(d.usage))
		}
		return strings.Join(all, "; ")
	}
	fmt.Fprint(w, "# PowerShell completion for godwit\nRegister-ArgumentCompleter -Native -CommandName godwit -ScriptBlock {\n\tparam($word, $ast, $cursor)\n\t$commands = [ordered]@{\n")
	for _, v := range verbs {
		fmt.Fprintf(w, "\t\t%s = %s\n", quoted(v.name), quoted(v.short))
	}
	fmt.Fprintf(w, "\t}\n\t$global = [ordered]@{ %s }\n\t$flags = @{\n", list(completables(global)))
	for _, v := range verbs {
		own := list(completables(v.verbFlags()))
		for _, a := range v.arg {
			own = strings.TrimPrefix(own+"; ", "; ") + quoted(a) + " = " + quoted(a)
		}
		fmt.Fprintf(w, "\t\t%s = [ordered]@{ %s }\n", quoted(v.name), own)
	}
	fmt.Fprint(w, `	}
	$words = $ast.CommandElements | Select-Object -Skip 1 | ForEach-Object { $_.ToString() }
	$command = $words | Where-Object { $commands.Contains($_) -and $_ -ne $word } | Select-Object -First 1
	$offer = if ($command) { $flags[$command], $global } else { $commands, $global }
	foreach ($set in $offer) {
		foreach ($entry in $set.GetEnumerator()) {
			if ($entry.Key -like "$word*") {
				[System.Management.Automation.CompletionResult]::new($entry.Key, $entry.Key, 'ParameterValue', $entry.Value)
			}
		}
	}
}
`)
}
