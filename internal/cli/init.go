package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/config"
	"github.com/godwit-ota/godwit/internal/device"
	"github.com/godwit-ota/godwit/internal/jsontext"
	"github.com/godwit-ota/godwit/internal/status"
	"github.com/godwit-ota/godwit/internal/term"
)

// initFlags are the flags of init that become keys of the file.
type initFlags struct {
	from, kind                                      string
	url, branch, tag, channel, layout, trust, token string
	signers, product                                string
	healthCommand, healthURL, unit                  string
	within                                          string
	allow, ignore                                   []string
	force, check                                    bool
}

func (c *command) initVerb() verb {
	var f initFlags
	return verb{
		name: "init", use: "[--url URL] [--root FOLDER] …", short: "write a configuration file",
		long: "Write a configuration file with a comment on each key, godwit.toml unless --config names another. On a terminal it asks for what the flags do not say.\n\n" +
			"Say with --trust who decides what this device runs. With signed it installs only what the keys in --allowed-signers have signed for --product. With none nothing checks who made a release: whoever can push to the repository decides.\n\n" +
			"With --from a file of the reference updater (ota_config.json, .yaml or .toml) is written in Godwit's own form, and means the same but for what other flags change.",
		examples: []string{
			"godwit init",
			"godwit init --url https://git.example.org/acme/station.git --root /srv/station --trust signed --allowed-signers /etc/godwit/allowed_signers --product station",
			"godwit init --url git@git.example.org:acme/station.git --branch main --root /srv/station --unit station.service --trust none --check",
			"godwit init --from ota_config.json --config /etc/godwit/godwit.toml"},
		exits: []int{0, 1, 2, 6},
		flags: func(l *pflag.FlagSet) {
			l.StringVar(&f.from, "from", "", "`FILE`; of the reference updater, to be written in Godwit's form")
			l.StringVar(&f.kind, "type", "", "`git|github|gitea|gitlab|web`; how the source is spoken to (default git)")
			l.StringVar(&f.url, "url", "", "`URL`; the Git repository: a URL, user@host:path or a path; or a published folder")
			l.StringVar(&f.branch, "branch", "", "follow the newest commit of branch `NAME`")
			l.StringVar(&f.tag, "tag", "", "stay on the tag `NAME`")
			l.StringVar(&f.channel, "channel", "", "follow releases: the channel `NAME`; stable is the highest version tag where no channel of this name is signed")
			l.StringVar(&f.token, "token", "", "`TOKEN`; for access; better env:NAME or file:PATH")
			l.StringVar(&f.layout, "layout", "", "`slots|in-place`; a folder for each version, or files replaced where they are")
			l.StringArrayVar(&f.allow, "allow", nil, "`PATH`; install only this file or folder; may be repeated")
			l.StringArrayVar(&f.ignore, "ignore", nil, "`PATH`; do not install this file or folder; may be repeated")
			l.StringVar(&f.unit, "unit", "", "systemd `UNIT` to restart, and to watch for health")
			l.StringVar(&f.healthCommand, "health-command", "", "a version works when `COMMAND` ends with 0")
			l.StringVar(&f.healthURL, "health-url", "", "a version works when `URL` answers with 2xx")
			l.StringVar(&f.within, "within", "", "`TIME`; how long a version has for that (default 2m)")
			l.StringVar(&f.trust, "trust", "", "`signed|hmac|none`; who decides what this device runs")
			l.StringVar(&f.signers, "allowed-signers", "", "`FILE`; the keys that releases are accepted from")
			l.StringVar(&f.product, "product", "", "`NAME`; the product that releases must be for")
			l.BoolVar(&f.check, "check", false, "ask the repository whether it answers before writing")
			l.BoolVar(&f.force, "force", false, "overwrite an existing file")
		},
		run: func(ctx context.Context, _ string) error { return c.init(ctx, f) },
	}
}

func (c *command) init(ctx context.Context, f initFlags) error {
	name := c.configFile
	if name == "" {
		name = config.Names[0]
	}
	if _, err := os.Lstat(name); err == nil && !f.force {
		return exists(name)
	}
	root := c.root
	values := config.Values{}
	if f.from != "" {
		if _, err := os.Stat(f.from); err != nil {
			return godwit.Fail(godwit.CodeUsage, err, "the file that --from names cannot be read", "name the ota_config.json, .yaml or .toml that there is")
		}
		cfg, err := config.Load(f.from, config.Options{Root: root})
		if err != nil {
			return err
		}
		for _, w := range cfg.Warnings {
			if f.trust == "" || !strings.Contains(w, config.Unchecked) { // --trust says otherwise
				c.printer().Warn(w)
			}
		}
		values = cfg.Values()
		root = string(cfg.Tree.Root)
	} else {
		if term.IsTerminal(c.stdin) && !c.json {
			if err := c.ask(&f, &root); err != nil {
				return err
			}
		}
		for _, need := range []struct{ flag, value, hint string }{
			{"--url", f.url, "give the Git repository, for example --url https://git.example.org/acme/station.git"},
			{"--root", root, "give the folder to install into, for example --root /srv/station"},
			{"--trust", f.trust, "say --trust signed --allowed-signers FILE --product NAME; or --trust none, and whoever can push to the repository decides what this device runs"},
		} {
			if need.value == "" {
				return godwit.Fail(godwit.CodeUsage, nil, "init needs "+need.flag, need.hint)
			}
		}
	}
	root, err := filepath.Abs(root)
	if err != nil {
		return err
	}
	// A path is meant from here, and the file may lie elsewhere.
	if _, err := os.Stat(f.url); err == nil {
		if f.url, err = filepath.Abs(f.url); err != nil {
			return err
		}
	}
	if f.signers != "" {
		if f.signers, err = filepath.Abs(f.signers); err != nil {
			return err
		}
	}
	f.values(values, root)
	var text strings.Builder
	if err := config.Write(&text, name, values); err != nil {
		return err
	}
	cfg, err := config.Parse(name, []byte(text.String()), config.Options{})
	if err != nil {
		return unwritten(name, err)
	}
	p := c.printer()
	if f.check {
		tip, err := device.Ask(ctx, cfg, c.device())
		if err != nil {
			return err
		}
		p.Printf("the repository answers: %s\n", status.Named(refName(tip.Ref), tip.Commit))
	}
	mode := fs.FileMode(0o644)
	for _, secret := range []string{"source.token", "source.password", "source.bearer", "trust.key"} {
		if values[secret] != nil {
			mode = 0o600
		}
	}
	if err := writeFile(name, text.String(), mode, f.force); err != nil {
		return err
	}
	p.Emit(jsontext.Fields{{Name: "type", Value: "init"}, {Name: "file", Value: name}, {Name: "root", Value: root}})
	p.Printf(`wrote %s

%s

Next:
  godwit update --dry-run    show what would be installed
  godwit update              install it
  godwit status              see what runs

Run "godwit recover" at boot, before the application starts, and "godwit update"
from a timer.
`, name, trustText(cfg))
	return nil
}

// values sets the keys that flags were given for.
func (f *initFlags) values(v config.Values, root string) {
	v["tree.root"] = root
	if f.branch+f.tag+f.channel != "" {
		delete(v, "source.branch")
		delete(v, "source.tag")
		delete(v, "source.channel")
	}
	if f.trust != "" {
		delete(v, "trust.key")
	}
	if f.unit != "" {
		delete(v, "restart.reboot")
	}
	for _, k := range [...][2]string{
		{"source.type", f.kind}, {"source.url", f.url}, {"source.branch", f.branch}, {"source.tag", f.tag},
		{"source.channel", f.channel}, {"source.token", f.token}, {"trust.mode", f.trust}, {"trust.allowed_signers", f.signers},
		{"trust.product", f.product}, {"tree.layout", f.layout}, {"confirm.command", f.healthCommand}, {"confirm.url", f.healthURL},
		{"confirm.within", f.within}, {"restart.unit", f.unit},
	} {
		if k[1] != "" {
			v[k[0]] = k[1]
		}
	}
	if f.unit != "" && f.healthCommand == "" && f.healthURL == "" {
		v["confirm.unit"] = f.unit
	}
	if len(f.allow) > 0 {
		v["tree.allow"] = f.allow
	}
	if len(f.ignore) > 0 {
		v["tree.ignore"] = f.ignore
	}
}

// trustText says aloud what was decided about trust.
func trustText(cfg *config.Config) string {
	switch cfg.Trust.Mode {
	case "signed":
		return "This device installs only releases for the product " + strconv.Quote(cfg.Trust.Product) + " that are signed with a\nkey in " + string(cfg.Trust.AllowedSigners) + "."
	case "hmac":
		return "This device installs only releases whose manifest was made with its secret. The\nsecret is the same on every device, so whoever has one can make releases for all:\nsigned releases (trust.mode \"signed\") are better."
	}
	return "Nothing checks who made a release (trust.mode is \"none\"): whoever can push to\nthe repository decides what this device runs."
}

// ask fills in on a terminal what the flags did not say.
func (c *command) ask(f *initFlags, root *string) error {
	in := bufio.NewReader(c.stdin)
	// question asks until good, if there is one, has nothing against the answer.
	question := func(into *string, text, def string, good func(string) string) error {
		for *into == "" {
			fmt.Fprint(c.stderr, text)
			if def != "" {
				fmt.Fprintf(c.stderr, " [%s]", def)
			}
			fmt.Fprint(c.stderr, ": ")
			line, err := in.ReadString('\n')
			if err != nil {
				fmt.Fprintln(c.stderr)
				return godwit.Fail(godwit.CodeUsage, nil, "the input ended before all was answered", "nothing was written")
			}
			answer := strings.TrimSpace(line)
			if answer == "" {
				answer = def
			}
			if good != nil {
				if problem := good(answer); problem != "" {
					fmt.Fprintln(c.stderr, problem)
					continue
				}
			}
			if *into = answer; answer == "" {
				return nil
			}
		}
		return nil
	}
	one := func(of ...string) func(string) string {
		return func(answer string) string {
			if slices.Contains(of, answer) {
				return ""
			}
			return "Please answer with " + strings.Join(of, " or ") + "."
		}
	}
	something := func(answer string) string {
		if answer == "" {
			return "This is needed."
		}
		return ""
	}
	what, follow := "Git repository (URL, user@host:path or a path)", true
	switch f.kind {
	case "web":
		what, follow = "Published folder (URL or path)", false
	case "github", "gitea", "gitlab":
		what = "Repository, as a browser shows it (https://github.com/acme/station)"
	}
	if err := question(&f.url, what, "", something); err != nil {
		return err
	}
	if follow && f.branch == "" && f.tag == "" && f.channel == "" {
		var name string
		if err := question(&name, "Follow: \"stable\" for signed releases, or a branch's name", "stable", nil); err != nil {
			return err
		}
		if name == "stable" {
			f.channel = name
		} else {
			f.branch = name
		}
	}
	if err := question(root, "Folder to install into", "/srv/app", nil); err != nil {
		return err
	}
	if err := question(&f.layout, "Layout: slots (each version a folder of its own) or in-place", "slots", one("slots", "in-place")); err != nil {
		return err
	}
	if f.trust == "" && f.branch == "" {
		fmt.Fprint(c.stderr, "\nWho decides what this device runs? signed: only who holds a key that you name;\nnone: whoever can change what the source holds.\n")
		if err := question(&f.trust, "Trust: signed or none", "signed", one("signed", "none")); err != nil {
			return err
		}
	} else if f.trust == "" {
		fmt.Fprint(c.stderr, "\nNobody signs a branch: whoever can push to it decides what this device runs.\n")
		var yes string
		if err := question(&yes, "Write trust.mode = \"none\"? (yes or no)", "no", one("yes", "no")); err != nil {
			return err
		}
		if yes == "no" {
			return godwit.Fail(godwit.CodeRefused, nil, "not without a decision about trust", "nothing was written; follow \"stable\" for signed releases")
		}
		f.trust = "none"
	}
	if f.trust == "signed" {
		there := func(answer string) string {
			if _, err := os.Stat(answer); err != nil {
				return "There is no such file. `godwit keygen` prints a line for it, which goes onto each device."
			}
			return ""
		}
		if err := question(&f.signers, "File with the keys of those who may sign", "/etc/godwit/allowed_signers", there); err != nil {
			return err
		}
		if err := question(&f.product, "Product that releases must be for", filepath.Base(*root), nil); err != nil {
			return err
		}
	}
	return nil
}

// unwritten words problems of a file that does not exist, and will not: the lines
// that they are on mean nothing.
func unwritten(name string, err error) error {
	all, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return err
	}
	var problems []error
	for _, problem := range all.Unwrap() {
		var e *godwit.Error
		if errors.As(problem, &e) {
			text := strings.TrimPrefix(e.Text, name)
			text = strings.TrimLeft(text, ":0123456789")
			if strings.HasPrefix(text, " ") && text != e.Text {
				problem = godwit.Fail(e.Code, nil, text[1:]+"; nothing was written", e.Hint)
			}
		}
		problems = append(problems, problem)
	}
	return errors.Join(problems...)
}

func exists(name string) error {
	return godwit.Fail(godwit.CodeUsage, nil, name+" exists already", "overwrite it with --force, or write another one with --config")
}

// writeFile writes a file as a whole or not at all.
func writeFile(name, text string, mode fs.FileMode, force bool) error {
	fail := func(err error) error {
		return godwit.Fail(godwit.CodeIO, err, "the configuration cannot be written", "")
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".godwit-*")
	if err != nil {
		return fail(err)
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(text)
	if err == nil {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return fail(err)
	}
	if force {
		err = os.Rename(f.Name(), name)
	} else {
		// Unlike a rename, a link never replaces what somebody wrote meanwhile.
		err = os.Link(f.Name(), name)
		if errors.Is(err, fs.ErrExist) {
			return exists(name)
		}
		if err != nil { // no links here: FAT
			err = os.Rename(f.Name(), name)
		}
	}
	if err != nil {
		return fail(err)
	}
	return nil
}
