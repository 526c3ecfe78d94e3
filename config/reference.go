package config

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The reference updater's file has flat keys. They are translated to the same
// Config that a file of our own gives; what a key is called here is in doc
// comments of the functions below and in docs/configuration.md.

// referenceKeys have an effect.
var referenceKeys = []string{
	"owner", "repo", "channel", "branch", "tag", "token", "user_agent", "allow", "ignore", "delete_patterns",
	"stage_dir", "backup_dir", "connect_timeout_sec", "http_timeout_sec", "http_retries", "backoff_sec", "max_backoff_sec", "force", "reset_mode", "debug",
	"manifest_key", "max_tree_size_kb", "max_tree_files", "min_free_storage",
	"enable_delta_updates", "chunk", "min_free_mem", "min_cpu_mhz", "watchdog_timeout_ms",
	"battery_adc_pin", "battery_divider_ratio", "battery_v_max", "battery_v_min", "min_battery_percent", "cellular_cost_per_mb",
	"update_scheduling",
}

// scheduleKeys are those in the table update_scheduling.
var scheduleKeys = []string{
	"min_update_interval_sec", "update_window_start_hour", "update_window_end_hour", "power_source", "min_battery_percent",
	"max_crashes_before_delay", "rollout_percent", "error_history_limit",
}

// laterKeys are accepted and named in one warning.
var laterKeys = []string{
	"retries", "status_led_pin",
	"ssid", "password", "wifi_ssid", "wifi_password", "wifi_enabled", "wifi_timeout_sec",
	"cellular_enabled", "cellular_apn", "cellular_uart", "cellular_tx_pin", "cellular_rx_pin", "cellular_baud", "cellular_tech",
	"lora_enabled", "lora_spi_pins", "lora_cs_pin", "lora_rst_pin", "lora_freq",
}

// Unchecked is what the Warning says of a reference file that trusts everybody.
const Unchecked = "nothing checks who made a release"

// isReference reports whether a file is in the reference updater's form: it has
// one of that form's keys, or its name, and no section of ours.
func isReference(file string, root *node) bool {
	is := strings.HasPrefix(filepath.Base(file), "ota_config.")
	for _, p := range root.keys {
		if slices.ContainsFunc(Sections, func(s struct{ Name, Doc string }) bool { return s.Name == p.name }) {
			return false
		}
		is = is || slices.Contains(referenceKeys, schedule(p.name)) || slices.Contains(laterKeys, p.name)
	}
	return is
}

// A flat is the content of a reference file.
type flat struct {
	d    *decoder
	keys map[string]pair
}

// reference decodes a file in the reference updater's form.
func (d *decoder) reference(root *node) {
	d.begin()
	d.alias = map[string]string{
		"source.tag": "tag", "source.branch": "branch", "source.token": "token", "trust.key": "manifest_key",
		"tree.allow": "allow", "tree.ignore": "ignore", "tree.delete": "delete_patterns", "tree.state": "stage_dir", "tree.root": "the folder of the file",
	}
	f := flat{d, map[string]pair{}}
	var later, unknown []string
	for _, p := range root.keys {
		switch {
		case strings.HasPrefix(p.name, "_") || p.value.kind == kindNull:
		case schedule(p.name) == scheduling:
			unknown = append(unknown, f.flatten(p)...)
		case slices.Contains(referenceKeys, p.name):
			f.keys[p.name] = p
			d.placeholders(p.value, p.line, p.name)
		case slices.Contains(laterKeys, p.name):
			later = append(later, asked(p.name, p.value)...)
		default:
			unknown = append(unknown, p.name)
		}
	}
	f.repository()
	f.files()
	f.transfer()
	f.limits()
	f.hardware()
	f.when()
	later = append(later, f.version()...)
	f.restart()
	if len(later) > 0 {
		d.warn("", "these keys have no effect in this version: "+strings.Join(later, ", "))
	}
	for _, name := range unknown {
		text := "the key " + strconv.Quote(name) + " is unknown and has no effect"
		if near := Nearest(name, slices.Concat(referenceKeys, laterKeys)); near != "" {
			text += "; did you mean " + strconv.Quote(near) + "?"
		}
		d.warn("", text)
	}
}

// asked names the keys in n that ask for something: false, 0 and "" do not.
func asked(name string, n *node) []string {
	switch n.kind {
	case kindTable:
		var all []string
		for _, p := range n.keys {
			if !strings.HasPrefix(p.name, "_") {
				all = append(all, asked(name+"."+p.name, p.value)...)
			}
		}
		return all
	case kindNull:
		return nil
	case kindList:
		if len(n.list) == 0 {
			return nil
		}
	default:
		if n.text == "" || n.text == "false" || n.text == "0" {
			return nil
		}
	}
	return []string{name}
}

// line remembers where the value of a key of ours stands.
func (f *flat) line(key, native string) {
	if p, ok := f.keys[key]; ok {
		f.d.c.lines[native] = p.line
	}
}

func (f *flat) wrong(key, want string) {
	p := f.keys[key]
	found := p.value.kind.String()
	if p.value.kind != kindTable && p.value.kind != kindList {
		found = p.value.text
		if p.value.kind == kindString {
			found = strconv.Quote(found)
		}
	}
	f.d.fail(p.line, key+" must be "+want+", not "+found, "")
}

// text gives a string, which may also stand there as a number: tag: 1.4.
func (f *flat) text(key string) string {
	p, ok := f.keys[key]
	if !ok {
		return ""
	}
	if k := p.value.kind; k != kindString && k != kindInt && k != kindFloat {
		f.wrong(key, "a string")
		return ""
	}
	return p.value.text
}

// flag gives true or false.
func (f *flat) flag(key string) bool {
	p, ok := f.keys[key]
	if ok && p.value.kind != kindBool {
		f.wrong(key, "true or false")
	}
	return ok && p.value.text == "true"
}

// number gives a number of at most most, with or without quotes, 0 if there is
// none.
func (f *flat) number(key string, most float64) float64 {
	p, ok := f.keys[key]
	if !ok {
		return 0
	}
	v, err := strconv.ParseFloat(p.value.text, 64)
	if p.value.kind == kindTable || p.value.kind == kindList || err != nil || !(v >= 0 && v <= most) {
		f.wrong(key, "a number from 0 to "+strconv.FormatFloat(most, 'f', 0, 64))
		return 0
	}
	return v
}

// paths gives a list of files and folders. On a board the tree begins at the
// root of the file system: "/lib" is "lib".
func (f *flat) paths(key, native string) []string {
	p, ok := f.keys[key]
	if !ok {
		return nil
	}
	f.line(key, native)
	list, ok := texts(p.value)
	if p.value.kind == kindString {
		list, ok = []string{p.value.text}, true
	}
	if !ok {
		f.wrong(key, "a list of strings")
	}
	var paths []string
	for _, s := range list {
		if s = inTree(s); s != "" {
			paths = append(paths, s)
		}
	}
	return paths
}

func inTree(path string) string {
	path = strings.TrimPrefix(path, "./")
	return strings.TrimLeft(path, "/")
}

// repository: owner and repo are a repository on GitHub.
func (f *flat) repository() {
	d := f.d
	s := &d.c.Source
	owner, repo := strings.TrimSpace(f.text("owner")), strings.TrimSpace(f.text("repo"))
	wrong := func(key, value string) string {
		switch {
		case value == "":
			return key + " is missing or empty"
		case placeholder(value) != "":
			return key + " is still " + strconv.Quote(value)
		case strings.ContainsAny(value, "/ ?#\\"):
			return key + " is " + strconv.Quote(value)
		}
		return key + " is " + strconv.Quote(value) + ", which is good"
	}
	bad := func(s string) bool { return !strings.HasSuffix(s, ", which is good") }
	o, r := wrong("owner", owner), wrong("repo", repo)
	if bad(o) || bad(r) {
		// One message that names both, instead of those that say a part of it.
		d.problems = slices.DeleteFunc(d.problems, func(err error) bool {
			return strings.Contains(err.Error(), "owner still holds") || strings.Contains(err.Error(), "repo still holds")
		})
		line := f.keys["owner"].line
		if line == 0 || !bad(o) {
			line = f.keys["repo"].line
		}
		d.fail(line, "owner and repo must name the GitHub repository: "+o+", and "+r,
			"for https://github.com/acme/station the owner is \"acme\" and the repo is \"station\"")
		owner, repo = "acme", "station" // nothing more to be said of them
	}
	s.Type, s.URL = "github", "https://github.com/"+owner+"/"+strings.TrimSuffix(repo, ".git")
	if t := f.text("token"); t != "" {
		f.line("token", "token")
		s.Token = Secret{key: "token", raw: t, dir: d.c.dir()}
	}
	s.UserAgent = f.text("user_agent")
	s.Force = f.flag("force")
	d.c.Device.Verbose = f.flag("debug")
}

// version: what is followed and who may say so. It returns the keys that have
// no effect beside the others.
func (f *flat) version() (unused []string) {
	d := f.d
	s, t := &d.c.Source, &d.c.Trust
	t.Mode = "none"
	key := f.text("manifest_key")
	channel := f.text("channel")
	switch channel {
	case "", "stable":
		f.line("tag", "source.tag")
		if s.Tag = f.text("tag"); s.Tag == "" {
			s.Channel = "stable"
		}
		for _, k := range []string{"branch", "delete_patterns"} {
			if v, ok := f.keys[k]; ok && v.value.text != "main" {
				unused = append(unused, asked(k, v.value)...)
			}
		}
		if key != "" {
			f.line("manifest_key", "manifest_key")
			t.Mode, t.Key = "hmac", Secret{key: "manifest_key", raw: key, dir: d.c.dir()}
		}
	case "developer":
		if s.Branch = f.text("branch"); s.Branch == "" {
			s.Branch = "main"
		}
		f.line("branch", "source.branch")
		d.c.Tree.Delete = f.paths("delete_patterns", "tree.delete")
		for _, k := range []string{"tag", "manifest_key"} {
			if v, ok := f.keys[k]; ok {
				unused = append(unused, asked(k, v.value)...)
			}
		}
	default:
		f.wrong("channel", "\"stable\" or \"developer\"")
		s.Channel = "stable"
	}
	switch {
	case t.Mode == "hmac":
	case key != "":
		d.warn("", Unchecked+": manifest_key is for releases, and the channel \"developer\" follows a branch")
	default:
		d.warn("", Unchecked+": there is no manifest_key; signed releases are better than either, see `godwit init --from`")
	}
	return unused
}

// files: the tree is the folder that the file lies in, replaced in place. There
// is one working folder, stage_dir; backups lie in it, not in backup_dir.
func (f *flat) files() {
	d := f.d
	t := &d.c.Tree
	t.Root, t.Layout, t.ErrorFile = Path(d.c.dir()), "in-place", "ota_error.json"
	t.Allow, t.Ignore = f.paths("allow", "tree.allow"), f.paths("ignore", "tree.ignore")
	for _, key := range []string{"stage_dir", "backup_dir"} {
		s := f.text(key)
		if s == "" {
			continue
		}
		if filepath.IsAbs(s) {
			root := string(t.Root)
			if d.options.Root != "" {
				root = d.options.Root
			}
			if rel, err := filepath.Rel(root, s); err == nil && filepath.IsLocal(rel) {
				s = rel
			} else {
				s = inTree(s)
			}
		}
		f.line(key, "tree.state")
		t.State = filepath.Clean(s)
		break
	}
}

// transfer: times and tries of requests.
func (f *flat) transfer() {
	s := &f.d.c.Source
	seconds := func(key string, to *time.Duration) {
		if v := f.number(key, 1e6); v > 0 {
			*to = time.Duration(v * float64(time.Second))
		}
	}
	s.Timeout, s.Backoff = 10*time.Second, 3*time.Second
	seconds("http_timeout_sec", &s.Timeout)
	seconds("connect_timeout_sec", &s.ConnectTimeout)
	seconds("backoff_sec", &s.Backoff)
	seconds("max_backoff_sec", &s.MaxBackoff)
	if v := f.number("http_retries", 1000); v >= 1 {
		s.Retries = int(v)
	}
	s.Chunk = 1 << 10
	if v := f.number("chunk", 1<<20); v >= 1 {
		s.Chunk = Size(v)
	}
}

// canReboot reports whether this is a machine that a program can reboot: one
// that systemd has booted (sd_booted(3)), or another init, and no container.
func canReboot() bool {
	if _, err := os.Stat("/run/systemd/system"); err == nil {
		return true
	}
	if _, err := exec.LookPath("reboot"); err != nil {
		return false
	}
	first, _ := os.ReadFile("/proc/1/comm") // proc_pid_comm(5)
	switch strings.TrimSpace(string(first)) {
	case "init", "busybox", "openrc-init", "runit", "procd":
		return true
	}
	return false
}

func (f *flat) limits() {
	l := &f.d.c.Limits
	l.MaxTreeBytes = Size(f.number("max_tree_size_kb", 1e9) * 1024)
	l.MaxTreeFiles = int(f.number("max_tree_files", 1e9))
	l.RequireFree = Size(f.number("min_free_storage", 1e15))
	if _, said := f.keys["enable_delta_updates"]; said {
		f.d.c.Patches.Use = "never"
		if f.flag("enable_delta_updates") {
			f.d.c.Patches.Use = "always"
			f.d.c.Tree.Ignore = append(f.d.c.Tree.Ignore, ".deltas") // are of use once
		}
	}
}

// restart: a hard reset reboots. A soft one restarts the application, which this
// file does not name.
func (f *flat) restart() {
	d := f.d
	switch mode := f.text("reset_mode"); mode {
	case "hard":
		d.c.Restart.Reboot = true
	case "":
		if d.c.Restart.Reboot = canReboot(); d.c.Restart.Reboot {
			d.warn("", "THIS MACHINE REBOOTS after each update, because reset_mode is \"hard\" where the file does not say otherwise; to try things out, write \"reset_mode\": \"none\"")
		} else {
			d.warn("", "nothing is restarted after an update: reset_mode is \"hard\" where the file does not say otherwise, and this is no machine that could reboot itself")
		}
	case "none":
	case "soft":
		f.d.warn("", "reset_mode \"soft\" restarts nothing, for this file does not say what the application is: name it in a file of Godwit's own, as restart.unit or restart.command, see `godwit init --from`")
	default:
		f.wrong("reset_mode", "\"hard\", \"soft\" or \"none\"")
	}
}
