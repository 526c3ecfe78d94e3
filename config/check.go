package config

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/godwit-ota/godwit/store"
)

// check finds what is wrong with the file as a whole, once every key is read.
func (d *decoder) check() {
	c := d.c
	if d.options.Root != "" {
		c.Tree.Root = Path(d.options.Root)
	}
	d.required()
	d.trust()
	d.source()
	d.oneOf("source", "channel", "branch", "tag")
	d.oneOf("confirm", "command", "url", "unit", "application")
	d.oneOf("restart", "command", "unit", "signal", "reboot")
	d.restart()
	d.tree()
	if u := c.Confirm.URL; u != "" && !strings.HasPrefix(u, "http://") && !strings.HasPrefix(u, "https://") {
		d.at("confirm.url", "confirm.url must begin with http:// or https://, not "+strconv.Quote(u), "")
	}
	if c.Confirm.Within == 0 {
		d.at("confirm.within", "confirm.within must be longer than nothing", "")
	}
	if c.Confirm.Unit != "" && c.Confirm.Stable >= c.Confirm.Within {
		d.at("confirm.stable", "confirm.stable must be shorter than confirm.within", "")
	}
	if c.Confirm.Boots == 0 {
		d.at("confirm.boots", "confirm.boots must be at least 1", "")
	}
}

func (d *decoder) at(key, text, hint string) { d.fail(d.c.lines[key], text, hint) }

// set reports whether the file gives the key a value other than its zero.
func (d *decoder) set(section, name string) bool {
	for _, k := range Keys {
		if k.Section == section && k.Name == name {
			return !isZero(k.field(d.c))
		}
	}
	panic("config: no key " + section + "." + name)
}

func isZero(field any) bool {
	switch f := field.(type) {
	case *string:
		return *f == ""
	case *Path:
		return *f == ""
	case *Secret:
		return f.IsZero()
	case *bool:
		return !*f
	case *int:
		return *f == 0
	case *Command:
		return len(*f) == 0
	}
	return false
}

func (d *decoder) required() {
	for _, k := range Keys {
		if k.Required() && !d.set(k.Section, k.Name) && k.Section != "trust" {
			hint := "add " + k.Name + " = " + k.Example + " to the section [" + k.Section + "]"
			if k.Name == "root" {
				hint += ", or give --root"
			}
			d.at(k.Section+"."+k.Name, k.Section+"."+k.Name+" is missing", hint)
		}
	}
}

func (d *decoder) trust() {
	const write = "write mode = \"none\" in the section [trust] to install what the repository holds, unchecked"
	switch m := d.c.Trust.Mode; m {
	case "none":
	case "":
		d.at("trust.mode", "trust.mode is missing: say who may decide what this device runs", write)
	case "signed", "hmac":
		d.at("trust.mode", "trust.mode is "+strconv.Quote(m)+", but this version of Godwit cannot check signatures yet, so it installs nothing", write)
	default:
		d.at("trust.mode", "trust.mode must be \"none\" in this version, not "+strconv.Quote(m), "")
	}
}

func (d *decoder) source() {
	c := &d.c.Source
	c.URL = d.absURL(c.URL)
	if c.Channel != "" && c.Channel != "stable" {
		d.at("source.channel", "the only channel is \"stable\", the highest version tag, not "+strconv.Quote(c.Channel),
			"to follow a branch, write branch = "+strconv.Quote(c.Channel))
	}
	switch {
	case !c.Bearer.IsZero() && !(c.Token.IsZero() && c.Password.IsZero()):
		d.at("source.bearer", "give only one of source.bearer, source.token and source.password", "")
	case !c.Token.IsZero() && !c.Password.IsZero():
		d.at("source.token", "give only one of source.token and source.password", "")
	case !c.Password.IsZero() && c.Username == "":
		d.at("source.password", "source.password needs source.username", "")
	}
	for _, s := range []Secret{c.Token, c.Password, c.Bearer} {
		if s.literal() && worldReadable(d.file) {
			d.c.Warnings = append(d.c.Warnings, place(d.file, d.c.lines[s.key])+
				s.key+" can be read by every user of this machine: chmod 600 the file, or write \"env:NAME\" or \"file:PATH\"")
		}
	}
}

func worldReadable(name string) bool {
	i, err := os.Stat(name)
	return err == nil && i.Mode().Perm()&0o004 != 0
}

// absURL resolves a path, and leaves URLs and user@host:path alone.
func (d *decoder) absURL(u string) string {
	if u == "" || strings.Contains(u, "://") || filepath.IsAbs(u) {
		return u
	}
	colon, slash := strings.IndexByte(u, ':'), strings.IndexByte(u, '/')
	if colon >= 0 && (slash < 0 || colon < slash) {
		return u
	}
	return filepath.Join(d.c.dir(), u)
}

func (d *decoder) oneOf(section string, names ...string) {
	var set []string
	for _, n := range names {
		if d.set(section, n) {
			set = append(set, n)
		}
	}
	if len(set) > 1 {
		d.at(section+"."+set[1], "give only one of "+strings.Join(set, " and ")+" in the section ["+section+"]", "")
	}
}

func (d *decoder) restart() {
	r := &d.c.Restart
	named := r.PIDFile != "" || r.Process != ""
	switch {
	case r.Signal != "" && !named:
		d.at("restart.signal", "restart.signal needs restart.pid_file or restart.process, to know whom to send it", "")
	case r.Signal == "" && named:
		key := "restart.process"
		if r.PIDFile != "" {
			key = "restart.pid_file"
		}
		d.at(key, key+" needs restart.signal", "add signal = \"HUP\"")
	case r.PIDFile != "" && r.Process != "":
		d.at("restart.process", "give only one of restart.pid_file and restart.process", "")
	}
	if r.Signal != "" {
		n := strings.TrimPrefix(strings.ToUpper(r.Signal), "SIG")
		if !Signals[n] {
			d.at("restart.signal", "restart.signal is no signal: "+strconv.Quote(r.Signal), "use HUP, TERM, INT, USR1, USR2, QUIT, KILL, CONT or ALRM")
		}
		r.Signal = n
	}
}

// Signals are the names that restart.signal may have.
var Signals = map[string]bool{"HUP": true, "TERM": true, "INT": true, "USR1": true, "USR2": true,
	"QUIT": true, "KILL": true, "CONT": true, "ALRM": true}

func (d *decoder) tree() {
	t := &d.c.Tree
	if t.Keep < 2 {
		d.at("tree.keep", "tree.keep must be at least 2: the running version and the one to go back to", "")
	}
	if t.Keep > store.MaxKeep {
		d.at("tree.keep", "tree.keep must be at most "+strconv.Itoa(store.MaxKeep), "")
	}
	if t.Layout == "slots" && len(t.Delete) > 0 {
		d.at("tree.delete", "tree.delete has no use with the layout slots, where a version holds nothing but its own files", "remove it")
	}
	if t.Layout == "in-place" && len(t.Shared) > 0 {
		d.at("tree.shared", "tree.shared has no use with the layout in-place, where files that are not in a release are left alone", "remove it")
	}
	if t.State == "" || filepath.IsAbs(t.State) || !filepath.IsLocal(t.State) || filepath.Clean(t.State) == "." {
		d.at("tree.state", "tree.state must be a folder within tree.root, not "+strconv.Quote(t.State), "write it relative to root, like \".godwit\"")
	}
	for _, l := range []struct {
		key  string
		list []string
	}{{"tree.allow", t.Allow}, {"tree.ignore", t.Ignore}, {"tree.delete", t.Delete}, {"tree.shared", t.Shared}} {
		for _, p := range l.list {
			if !filepath.IsLocal(p) {
				d.at(l.key, l.key+" holds "+strconv.Quote(p)+", which is not a path within the tree",
					"write paths like \"app/\" or \"main.py\", without a leading slash")
			}
		}
	}
}
