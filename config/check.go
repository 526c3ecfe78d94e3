package config

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/store"
	"github.com/godwit-ota/godwit/trust/sshsig"
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
	d.agent()
}

// at reports a problem with a key, by the name that the file has for it.
func (d *decoder) at(key, text, hint string) {
	for native, own := range d.alias {
		text = strings.ReplaceAll(text, native, own)
	}
	d.fail(d.c.lines[key], text, hint)
}

func (d *decoder) warn(key, text string) {
	d.c.Warnings = append(d.c.Warnings, place(d.file, d.c.lines[key])+text)
}

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
	case *float64:
		return *f == 0
	case *Command:
		return len(*f) == 0
	case *[]string:
		return len(*f) == 0
	case *Headers:
		return len(*f) == 0
	case *Labels:
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
	t := &d.c.Trust
	switch t.Mode {
	case "signed":
		if t.AllowedSigners == "" {
			d.at("trust.mode", "trust.allowed_signers is missing: trust.mode \"signed\" needs the file with the keys that releases are accepted from",
				"write one line for each signer: NAME KEY, where KEY is the content of the .pub file; `godwit keygen` makes a key")
		}
		if t.Product == "" {
			d.at("trust.mode", "trust.product is missing: trust.mode \"signed\" needs the product that releases must be for",
				"give it a name, such as product = \"station\", and sign releases with `godwit tag --product station`")
		}
		if d.present("trust.allowed_signers", t.AllowedSigners, "make it: one line for each signer, as `godwit keygen` prints it") {
			d.signers()
		}
		d.present("trust.revoked_keys", t.RevokedKeys, "make it, empty at first, or leave the key out")
		if t.Threshold < 1 {
			d.at("trust.threshold", "trust.threshold must be at least 1", "")
		}
	case "hmac":
		if t.Key.IsZero() {
			d.at("trust.mode", "trust.key is missing: trust.mode \"hmac\" needs the secret that manifests are made with",
				"write key = \"file:PATH\" or \"env:NAME\"")
		}
		if d.c.Source.Type == "git" {
			d.at("trust.mode", "trust.mode \"hmac\" needs manifests, and a Git repository has none",
				"use source.type \"github\", \"gitea\", \"gitlab\" or \"web\", or trust.mode \"signed\"")
		}
	case "none":
	case "":
		d.at("trust.mode", "trust.mode is missing: say who may decide what this device runs",
			"write mode = \"signed\" in the section [trust], with allowed_signers and product; or \"none\" to install what the repository holds, unchecked")
		return
	default:
		d.at("trust.mode", "trust.mode must be \"signed\", \"hmac\" or \"none\", not "+strconv.Quote(t.Mode), "")
		return
	}
	if t.Mode != "none" && d.c.Source.Branch != "" {
		d.at("source.branch", "nobody signs a branch, so trust.mode "+strconv.Quote(t.Mode)+" and source.branch exclude each other",
			"follow channel = \"stable\", or write mode = \"none\" on devices of developers")
	}
	for _, k := range []struct{ name, modes string }{{"allowed_signers", "signed"}, {"revoked_keys", "signed"}, {"product", "signed hmac"}, {"key", "hmac"}} {
		if !strings.Contains(k.modes, t.Mode) && d.set("trust", k.name) {
			d.warn("trust."+k.name, "trust."+k.name+" has no effect: trust.mode is "+strconv.Quote(t.Mode))
		}
	}
}

// present reports whether a file is there, and a problem where it is missing.
func (d *decoder) present(key string, name Path, hint string) bool {
	if name == "" {
		return false
	}
	_, err := os.Stat(string(name))
	if errors.Is(err, fs.ErrNotExist) {
		d.at(key, key+" names "+string(name)+", and this file is missing", hint)
	}
	return err == nil
}

// signers looks into the list of those who may sign, where it may be read. A
// list with mistakes is a problem. One that is too short is a warning: a release
// may have brought a longer one.
func (d *decoder) signers() {
	t := &d.c.Trust
	list := sshsig.List(func() (io.ReadCloser, error) { return os.Open(string(t.AllowedSigners)) })
	var e *godwit.Error
	switch _, err := sshsig.Find(list, sshsig.PublicKey{}, ""); {
	case godwit.CodeOf(err) == godwit.CodeRefused && errors.As(err, &e):
		d.at("trust.allowed_signers", "trust.allowed_signers names "+string(t.AllowedSigners)+": "+e.Text, e.Hint)
		return
	case godwit.CodeOf(err) != godwit.CodeUnknownSigner:
		return
	}
	for _, namespace := range []string{"git", "godwit"} {
		if other := d.c.Source.Type; other == "git" && namespace != "git" || other == "web" && namespace != "godwit" {
			continue
		}
		err := sshsig.CheckSigners(list, nil, namespace, t.Threshold, time.Time{})
		if errors.As(err, &e) {
			d.warn("trust.allowed_signers", "no release can be accepted by trust.allowed_signers, "+string(t.AllowedSigners)+": "+e.Text)
			return
		}
	}
}

func (d *decoder) source() {
	c := &d.c.Source
	c.URL = d.absURL(c.URL)
	for i, m := range c.Mirrors {
		c.Mirrors[i] = d.absURL(m)
	}
	if c.Channel+c.Branch+c.Tag == "" && (d.c.Trust.Mode != "none" || c.Type != "git" && c.Type != "web") {
		c.Channel = "stable"
	}
	switch {
	case c.Channel == "" || c.Channel == "stable":
	case d.c.Trust.Mode != "signed":
		d.at("source.channel", "the only channel is \"stable\" where nobody signs, not "+strconv.Quote(c.Channel),
			"to follow a branch, write branch = "+strconv.Quote(c.Channel)+"; channels of other names need trust.mode = \"signed\"")
	case !isChannel(c.Channel):
		d.at("source.channel", "source.channel cannot be "+strconv.Quote(c.Channel)+": names of channels have letters, digits, '.', '_' and '-'", "")
	}
	if c.Type == "web" {
		for _, k := range []string{"branch", "api_url"} {
			if d.set("source", k) {
				d.at("source."+k, "source."+k+" has no use with source.type \"web\": a published folder holds what it was made of", "remove it")
			}
		}
	} else if len(c.Mirrors) > 0 {
		d.at("source.mirrors", "source.mirrors is for source.type \"web\" only", "")
	}
	switch c.Type {
	case "github", "gitea", "gitlab":
		if c.URL != "" && !isRepository(c.URL) {
			d.at("source.url", "source.url must be the address of a repository in a browser, not "+strconv.Quote(c.URL), "write it like https://github.com/acme/station")
		}
	default:
		if c.APIURL != "" && c.Type != "web" {
			d.at("source.api_url", "source.api_url is for source.type \"github\", \"gitea\" and \"gitlab\" only", "")
		}
	}
	if c.LFS && c.Type != "git" {
		d.at("source.lfs", "source.lfs needs source.type \"git\"", "")
	}
	// The first four are for Git's protocol alone, the others for web servers too.
	for i, k := range []string{"ssh_key", "known_hosts", "host_key", "lfs_url", "username", "password", "headers"} {
		if c.Type != "git" && d.set("source", k) && (c.Type != "web" || i < 4) {
			d.warn("source."+k, "source."+k+" has no effect with source.type "+strconv.Quote(c.Type))
		}
	}
	d.credentials()
}

// isChannel reports whether a ref channel/NAME could be made of name.
func isChannel(name string) bool {
	for i := 0; i < len(name); i++ {
		c := name[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || i > 0 && (c == '_' || c == '-' || c == '.' && name[i-1] != '.')) {
			return false
		}
	}
	return name != "" && name[len(name)-1] != '.' && !strings.HasSuffix(name, ".lock")
}

// isRepository reports whether u is http(s)://HOST/OWNER/REPOSITORY, with more
// folders above, as GitLab has.
func isRepository(u string) bool {
	scheme, rest, ok := strings.Cut(u, "://")
	host, path, _ := strings.Cut(rest, "/")
	path = strings.TrimSuffix(path, "/")
	return ok && (scheme == "https" || scheme == "http") && host != "" && strings.Contains(path, "/") && !strings.Contains("/"+path+"/", "//") && !strings.ContainsAny(path, "?# ")
}

func (d *decoder) credentials() {
	c := &d.c.Source
	switch {
	case !c.Bearer.IsZero() && !(c.Token.IsZero() && c.Password.IsZero()):
		d.at("source.bearer", "give only one of source.bearer, source.token and source.password", "")
	case !c.Token.IsZero() && !c.Password.IsZero():
		d.at("source.token", "give only one of source.token and source.password", "")
	case !c.Password.IsZero() && c.Username == "":
		d.at("source.password", "source.password needs source.username", "")
	}
	for _, s := range []Secret{c.Token, c.Password, c.Bearer, d.c.Trust.Key} {
		if s.literal() && worldReadable(d.file) {
			d.warn(s.key, s.key+" can be read by every user of this machine: chmod 600 the file, or write \"env:NAME\" or \"file:PATH\"")
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
	if e := t.ErrorFile; e != "" && (t.Layout == "slots" || !filepath.IsLocal(e)) {
		d.at("tree.error_file", "tree.error_file must be a file within tree.root, with the layout in-place, not "+strconv.Quote(e), "write it relative to root, like \"ota_error.json\"")
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
