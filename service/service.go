// Package service writes what makes a device start Godwit: systemd's units,
// OpenRC's scripts, and init scripts for everything else. They run `godwit
// recover` at boot, before the application, and `godwit agent` from then on.
// Enabling and starting them is left to whoever asked: it is said what to type.
//
// Invariant: no file is replaced or removed that Godwit did not write.
package service

import (
	"embed"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/godwit-ota/godwit"
)

// Init is what starts services on a device.
type Init string

// The kinds of Init that there are files for.
const (
	Systemd Init = "systemd"
	OpenRC  Init = "openrc"
	BusyBox Init = "busybox" // init scripts: BusyBox, sysvinit, OpenWrt
)

// Options are what the files depend on. All paths are absolute, and may hold
// anything but control characters.
type Options struct {
	Binary string // "" means /usr/bin/godwit
	Config string // "" means /etc/godwit/godwit.toml

	// Root is tree.root: it is waited for at boot, made, and written to.
	Root string
	// ApplicationUnit is what starts the application: "station.service". It
	// is started after `godwit recover`.
	ApplicationUnit string
	// WritePaths are further folders that the agent, its hooks and its health
	// check may write to, where systemd keeps them from the others.
	WritePaths []string
	// Processes says that the agent has to see the processes of others: that
	// restart.process is set.
	Processes bool

	// Self is the folder that Godwit follows itself in, and SelfConfig the
	// configuration of that. With Self the agent is the version in there, if
	// it works, and Binary otherwise. "" means that Godwit does not update
	// itself.
	Self, SelfConfig string

	// Vendor says that the files are for a package, not for this device.
	Vendor bool
}

// A File is one of those that make a device start Godwit.
type File struct {
	Path    string // from the top of the device's file system: /etc/…
	Mode    uint32 // permissions
	Content []byte
}

// Launcher is where the script lies that starts a Godwit that updates itself.
const Launcher = "/usr/lib/godwit/launch"

// mark is in every file, and how Install and Remove know what is theirs.
const mark = "Written by Godwit"

//go:embed files
var files embed.FS

// Files gives the files for an init. Its errors have godwit.CodeConfig.
func Files(init Init, o Options) ([]File, error) {
	if o.Binary == "" {
		o.Binary = "/usr/bin/godwit"
	}
	if o.Config == "" {
		o.Config = "/etc/godwit/godwit.toml"
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	type one struct {
		name, path string
		mode       uint32
	}
	var list []one
	var fill func(text string) string
	switch init {
	case Systemd:
		if strings.ContainsAny(o.Binary, `"'\`) {
			return nil, wrong("systemd starts no program from the path "+strconv.Quote(o.Binary), "use one without quotes and backslashes")
		}
		dir := "/etc/systemd/system/"
		if o.Vendor {
			dir = "/usr/lib/systemd/system/"
		}
		names := []string{"godwit-agent.service", "godwit-agent.timer", "godwit-recover.service"}
		if o.Self != "" {
			names = append(names, "godwit-self.service", "godwit-self.timer")
		}
		for _, n := range names {
			list = append(list, one{n, dir + n, 0o644})
		}
		fill = filler(o.unitValues())
	case OpenRC:
		list = []one{{"godwit-agent.openrc", "/etc/init.d/godwit-agent", 0o755}, {"godwit-recover.openrc", "/etc/init.d/godwit-recover", 0o755}}
		fill = filler(o.scriptValues())
	case BusyBox:
		list = []one{{"godwit-agent.sh", "/etc/init.d/godwit-agent", 0o755}, {"godwit-recover.sh", "/etc/init.d/godwit-recover", 0o755}}
		fill = filler(o.scriptValues())
	default:
		return nil, wrong("there are no files for the init "+strconv.Quote(string(init)), "take systemd, openrc or busybox")
	}
	if o.Self != "" {
		list = append(list, one{"launch", Launcher, 0o755})
	}
	var all []File
	for _, l := range list {
		b, err := files.ReadFile("files/" + l.name)
		if err != nil {
			return nil, err // cannot be: they are in the program
		}
		all = append(all, File{l.path, l.mode, []byte(fill(string(b)))})
	}
	return all, nil
}

func wrong(text, hint string) error { return godwit.Fail(godwit.CodeConfig, nil, text, hint) }

func (o *Options) check() error {
	paths := append([]string{o.Binary, o.Config, o.Root, o.Self, o.SelfConfig}, o.WritePaths...)
	for _, p := range paths {
		switch {
		case p == "":
		case strings.ContainsFunc(p, func(r rune) bool { return r < ' ' || r == 0x7f || r == 0xfffd }):
			return wrong("the path "+strconv.Quote(p)+" holds a control character, or is no text", "init systems cannot be told such a path: use another one")
		case !filepath.IsAbs(p) || filepath.Clean(p) != p:
			return wrong("the path "+strconv.Quote(p)+" is not absolute, or not in its shortest form", "write it from the top: /srv/station")
		case strings.TrimSpace(p) != p:
			return wrong("the path "+strconv.Quote(p)+" ends with a space", "use another one")
		}
	}
	if o.Self != "" && o.SelfConfig == "" {
		return wrong("Godwit's own tree has no configuration", "say where it lies")
	}
	unit := func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune(`:-_.\@`, r))
	}
	if strings.ContainsFunc(o.ApplicationUnit, unit) || strings.HasPrefix(o.ApplicationUnit, "-") {
		return wrong(strconv.Quote(o.ApplicationUnit)+" is no name of a unit", "units have names like station.service")
	}
	return nil
}

// unitValues are what stands for each @NAME@ in systemd's files.
func (o *Options) unitValues() map[string]string {
	var write []string
	for _, p := range append([]string{o.Root}, o.WritePaths...) {
		if p != "" {
			write = append(write, unitWord("-"+p)) // "-": it need not be there
		}
	}
	unit := o.ApplicationUnit
	if unit != "" && !strings.Contains(unit, ".") {
		unit += ".service"
	}
	v := map[string]string{
		"PROGRAM": unitWord(o.Binary), "BINARY": commandWord(o.Binary), "CONFIG": commandWord(o.Config), "CONFIG_PLAIN": percent(o.Config),
		"EXEC": unitWord(o.Binary), "ROOT": unitWord(o.Root), "WRITE": strings.Join(write, " "), "APPLICATION": unit, "PROC": "invisible",
	}
	if o.Root != "" {
		v["ROOT_COMMAND"] = commandWord(o.Root)
	}
	if o.Processes {
		v["PROC"] = "default"
	}
	if o.Self != "" {
		self := commandWord(o.Self)
		v["SELF"], v["SELF_COMMAND"], v["SELF_WRITE"] = unitWord(o.Self), self, unitWord("-"+o.Self)
		v["SELF_CONFIG"], v["SELF_CONFIG_PLAIN"] = commandWord(o.SelfConfig), percent(o.SelfConfig)
		v["EXEC"] = Launcher + " run " + v["BINARY"] + " " + self
		v["RECOVER_SELF"] = Launcher + " recover " + v["BINARY"] + " " + v["SELF_CONFIG"]
	}
	return v
}

// scriptValues are what stands for each @NAME@ in scripts.
func (o *Options) scriptValues() map[string]string {
	enable, _ := files.ReadFile("files/enable.sh")
	v := map[string]string{
		"BINARY": shellWord(o.Binary), "CONFIG": shellWord(o.Config), "EXEC": shellWord(o.Binary),
		"APPLICATION": strings.TrimSuffix(o.ApplicationUnit, ".service"), "ENABLE": strings.TrimSpace(string(enable)),
	}
	if o.Root != "" {
		v["ROOT"] = shellWord(o.Root)
	}
	// OpenRC reads these words twice.
	program, args := shellWord(o.Binary), "agent --config "+shellWord(o.Config)
	if o.Self != "" {
		run := "run " + shellWord(o.Binary) + " " + shellWord(o.Self)
		program, args = Launcher, run+" "+args
		v["EXEC"] = Launcher + " " + run
		v["RECOVER_SELF"] = Launcher + " recover " + shellWord(o.Binary) + " " + shellWord(o.SelfConfig)
	}
	v["EXEC_PROGRAM"], v["EXEC_ARGS"] = shellWord(program), shellWord(args)
	return v
}

// filler puts values in the place of their names. A line with a value that is
// empty, or not there, goes.
func filler(values map[string]string) func(string) string {
	var pairs []string
	for name, v := range values {
		if v != "" {
			pairs = append(pairs, "@"+name+"@", v)
		}
	}
	replacer := strings.NewReplacer(pairs...)
	return func(text string) string {
		var b strings.Builder
		for line := range strings.Lines(text) {
			missing := false
			for i, part := range strings.Split(line, "@") {
				// Every second part is a name, where there is one.
				if i%2 == 1 && isName(part) && values[part] == "" {
					missing = true
				}
			}
			if !missing {
				b.WriteString(replacer.Replace(line))
			}
		}
		return b.String()
	}
}

func isName(s string) bool {
	return s != "" && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_") == ""
}

// percent protects text from systemd's specifiers (systemd.unit(5)).
func percent(s string) string { return strings.ReplaceAll(s, "%", "%%") }

// unitWord is one word of a unit's list (systemd.syntax(7)).
func unitWord(s string) string {
	if s == "" || strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+:,=") == "" {
		return s
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(percent(s)) + `"`
}

// commandWord is one word of a unit's command line, but for the first: there
// dollars are read, too (systemd.service(5)).
func commandWord(s string) string { return strings.ReplaceAll(unitWord(s), "$", "$$") }

// shellWord is one word for a POSIX shell.
func shellWord(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
