package config

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/godwit-ota/godwit"

	"github.com/godwit-ota/godwit/gate"
)

// The same file as the reference updater's users write it, in its three formats.
const referenceJSON = `{
  "_comment": "station 7, roof",
  "owner": "acme", "repo": "station",
  "channel": "stable", "branch": "main",
  "token": null, "user_agent": "station-7",
  "allow": ["main.py", "lib/", "/boot.py"], "ignore": ["lib/tests"],
  "chunk": 512, "stage_dir": ".ota_stage", "backup_dir": ".ota_backup",
  "connect_timeout_sec": 5, "http_timeout_sec": 20, "http_retries": 4,
  "retries": 5, "backoff_sec": 4, "max_backoff_sec": 90,
  "force": false, "reset_mode": "none", "debug": true,
  "manifest_key": "s3cret",
  "max_tree_size_kb": 64, "max_tree_files": 250,
  "min_free_mem": 50000, "min_free_storage": 200000, "min_cpu_mhz": 125,
  "enable_delta_updates": false, "watchdog_timeout_ms": 8000,
  "ssid": "net", "password": "", "wifi_enabled": true,
  "cellular_enabled": false, "cellular_cost_per_mb": 0.5,
  "update_scheduling": {"_why": "sun", "min_update_interval_sec": 3600, "update_window_start_hour": 0, "rollout_percent": 100}
}`

const referenceYAML = `# station 7, roof
owner: acme
repo: station
channel: stable
branch: main
token:
user_agent: station-7
allow:
  - main.py
  - lib/
  - /boot.py
ignore: [lib/tests]
chunk: 512
stage_dir: .ota_stage
backup_dir: .ota_backup
connect_timeout_sec: 5
http_timeout_sec: 20
http_retries: 4
retries: 5
backoff_sec: 4
max_backoff_sec: 90
force: false
reset_mode: none
debug: true
manifest_key: s3cret
max_tree_size_kb: 64
max_tree_files: 250
min_free_mem: 50000
min_free_storage: 200000
min_cpu_mhz: 125
enable_delta_updates: false
watchdog_timeout_ms: 8000
ssid: net
password: ""
wifi_enabled: true
cellular_enabled: false
cellular_cost_per_mb: 0.5
update_scheduling:
  _why: sun
  min_update_interval_sec: 3600
  update_window_start_hour: 0
  rollout_percent: 100
`

const referenceTOML = `# station 7, roof
owner = "acme"
repo = "station"
channel = "stable"
branch = "main"
token = ""
user_agent = "station-7"
allow = ["main.py", "lib/", "/boot.py"]
ignore = ["lib/tests"]
chunk = 512
stage_dir = ".ota_stage"
backup_dir = ".ota_backup"
connect_timeout_sec = 5
http_timeout_sec = 20
http_retries = 4
retries = 5
backoff_sec = 4
max_backoff_sec = 90
force = false
reset_mode = "none"
debug = true
manifest_key = "s3cret"
max_tree_size_kb = 64
max_tree_files = 250
min_free_mem = 50000
min_free_storage = 200000
min_cpu_mhz = 125
enable_delta_updates = false
watchdog_timeout_ms = 8000
ssid = "net"
password = ""
wifi_enabled = true
cellular_enabled = false
cellular_cost_per_mb = 0.5
[update_scheduling]
min_update_interval_sec = 3600
update_window_start_hour = 0
rollout_percent = 100
`

var referenceFiles = map[string]string{"ota_config.json": referenceJSON, "ota_config.yaml": referenceYAML, "ota_config.yml": referenceYAML,
	"ota_config.toml": referenceTOML, "anything.json": referenceJSON}

func TestReferenceForm(t *testing.T) {
	for name, text := range referenceFiles {
		t.Run(name, func(t *testing.T) {
			file := "/opt/station/" + name
			c, err := Parse(file, []byte(text), Options{})
			if err != nil {
				t.Fatal(err)
			}
			want := Defaults()
			want.File = file
			want.Source.Type, want.Source.URL = "github", "https://github.com/acme/station"
			want.Source.Channel = "stable"
			want.Source.UserAgent = "station-7"
			want.Source.Timeout, want.Source.ConnectTimeout, want.Source.Retries = 20*time.Second, 5*time.Second, 4
			want.Source.Backoff, want.Source.MaxBackoff = 4*time.Second, 90*time.Second
			want.Trust.Mode, want.Trust.Key = "hmac", Secret{"manifest_key", "s3cret", "/opt/station"}
			want.Device.Verbose = true
			want.Tree.Root, want.Tree.Layout, want.Tree.State, want.Tree.ErrorFile = "/opt/station", "in-place", ".ota_stage", "ota_error.json"
			want.Tree.Allow, want.Tree.Ignore = []string{"main.py", "lib/", "boot.py"}, []string{"lib/tests"}
			want.Patches.Use = "never"
			want.Limits = Limits{MaxTreeBytes: 64 << 10, MaxTreeFiles: 250, RequireFree: 200000}
			want.Warnings = []string{file + ": these keys have no effect in this version: retries, ssid, wifi_enabled"}
			want.Source.Chunk = 512
			want.When.MinInterval, want.When.MinMemory, want.When.MinCPUMHz, want.When.CostPerMB = time.Hour, 50000, 125, 0.5
			want.Board.Watchdog = 8 * time.Second
			c.lines = nil
			if !reflect.DeepEqual(c, want) {
				t.Errorf("got  %+v\nwant %+v", c, want)
			}
		})
	}
}

func ref(t *testing.T, text string) *Config {
	t.Helper()
	c, err := Parse("/opt/x/ota_config.json", []byte(`{"owner": "a", "repo": "b", `+text+`}`), Options{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestReferenceVersions(t *testing.T) {
	for text, want := range map[string]string{
		`"reset_mode": "none"`:                                                       "stable|||none",
		`"channel": "stable", "branch": "dev"`:                                       "stable|||none",
		`"tag": "v1.2.0"`:                                                            "||v1.2.0|none",
		`"tag": null, "manifest_key": "k"`:                                           "stable|||hmac",
		`"channel": "developer"`:                                                     "|main||none",
		`"channel": "developer", "branch": "dev", "manifest_key": "k"`:               "|dev||none",
		`"channel": "developer", "tag": "v1"`:                                        "|main||none",
		`"channel": null, "tag": "", "token": "", "manifest_key": "", "chunk": null`: "stable|||none",
	} {
		c := ref(t, text)
		if got := c.Source.Channel + "|" + c.Source.Branch + "|" + c.Source.Tag + "|" + c.Trust.Mode; got != want {
			t.Errorf("%s: %s, not %s", text, got, want)
		}
		if !slices.ContainsFunc(c.Warnings, func(w string) bool { return strings.Contains(w, "nothing checks who made") }) == (c.Trust.Mode == "none") {
			t.Errorf("%s: the warnings are %q", text, c.Warnings)
		}
	}
}

func TestReferenceWarnings(t *testing.T) {
	for text, want := range map[string]string{
		`"chanel": "stable", "reset_mode": "none"`:          `the key "chanel" is unknown and has no effect; did you mean "channel"?`,
		`"reset_mode": "soft"`:                              `reset_mode "soft" restarts nothing`,
		`"channel": "developer", "manifest_key": "k"`:       "manifest_key is for releases",
		`"branch": "dev"`:                                   "these keys have no effect in this version: branch",
		`"delete_patterns": ["lib/"]`:                       "these keys have no effect in this version: delete_patterns",
		`"lora_enabled": true, "lora_spi_pins": [18,19,16]`: "these keys have no effect in this version: lora_enabled, lora_spi_pins",
		`"update_scheduling.power_sauce": "solar"`:          "the key \"update_scheduling.power_sauce\" is unknown",
		`"update_scheduling": {"error_limit": 100}`:         "the key \"update_scheduling.error_limit\" is unknown",
	} {
		if c := ref(t, text); !slices.ContainsFunc(c.Warnings, func(w string) bool {
			return strings.HasPrefix(w, "/opt/x/ota_config.json: "+want) || strings.Contains(w, want)
		}) {
			t.Errorf("%s: the warnings are %q", text, c.Warnings)
		}
	}
}

// Every key of the form is known: none is called unknown, and none is an error,
// whatever is in those that have no effect yet.
func TestReferenceKeysAreKnown(t *testing.T) {
	for _, k := range laterKeys {
		for _, v := range []string{`1`, `"x"`, `[1, "a"]`, `{"a": 1}`, `true`, `-1.5`} {
			c := ref(t, fmt.Sprintf("%q: %s", k, v))
			if strings.Contains(strings.Join(c.Warnings, "\n"), "unknown") || !strings.Contains(strings.Join(c.Warnings, "\n"), k) {
				t.Errorf("%s: %s gives %q", k, v, c.Warnings)
			}
		}
	}
}

func TestReferenceEffects(t *testing.T) {
	c := ref(t, `"channel": "developer", "delete_patterns": ["lib/", "./data"], "force": true, "reset_mode": "hard", "token": "env:T", "backup_dir": "/opt/x/back/", "max_tree_files": "100"`)
	if !reflect.DeepEqual(c.Tree.Delete, []string{"lib/", "data"}) || !c.Source.Force || !c.Restart.Reboot || c.Source.Token.raw != "env:T" || c.Tree.State != "back" || c.Limits.MaxTreeFiles != 100 {
		t.Errorf("%+v", c)
	}
	with := ref(t, `"enable_delta_updates": true, "ignore": ["tests"]`)
	if use := with.Patches.Use; c.Patches.Use != "auto" || use != "always" {
		t.Errorf("patches are used %q, and with enable_delta_updates %q", c.Patches.Use, use)
	}
	if !reflect.DeepEqual(with.Tree.Ignore, []string{"tests", ".deltas"}) || len(c.Tree.Ignore) > 0 {
		t.Errorf("ignores %q with enable_delta_updates, and %q without", with.Tree.Ignore, c.Tree.Ignore)
	}
	if c.Source.Timeout != 10*time.Second || c.Source.Retries != 3 || c.Source.Backoff != 3*time.Second || c.Source.MaxBackoff != time.Minute {
		t.Errorf("%+v has not the form's defaults", c.Source)
	}
	c, err := Parse("/opt/x/ota_config.json", []byte(`{"owner": "a", "repo": "b.git", "stage_dir": "/stage"}`), Options{Root: "/srv/y"})
	if err != nil || c.Tree.Root != "/srv/y" || c.Tree.State != "stage" || c.Source.URL != "https://github.com/a/b" {
		t.Errorf("%+v, %v", c, err)
	}
}

// The agent's part of the form: when, and with which hardware.
func TestReferenceSchedule(t *testing.T) {
	c := ref(t, `"battery_adc_pin": 26, "battery_divider_ratio": 2, "battery_v_max": 4.1, "battery_v_min": "3.2", "min_battery_percent": 30, "watchdog_timeout_ms": 8388,
		"min_free_mem": 60000, "min_cpu_mhz": 48,
		"update_scheduling": {"min_update_interval_sec": 7200, "update_window_start_hour": 22, "update_window_end_hour": 4, "power_source": "solar",
			"min_battery_percent": 40, "max_crashes_before_delay": 0, "rollout_percent": 25, "error_history_limit": 20}`)
	want := When{MinInterval: 2 * time.Hour, InstallHours: []string{"22:00-04:00"}, DownloadHours: []string{"22:00-04:00"}, Solar: true,
		MinBattery: 40, Rollout: 25, Metered: "all", MinMemory: 60000, MinCPUMHz: 48}
	if !reflect.DeepEqual(c.When, want) {
		t.Errorf("got  %+v\nwant %+v", c.When, want)
	}
	if b := (Board{BatteryADC: "0", BatteryRatio: 2, BatteryFull: 4.1, BatteryEmpty: 3.2, Watchdog: 8388 * time.Millisecond}); c.Board != b {
		t.Errorf("got  %+v\nwant %+v", c.Board, b)
	}
	if c.Agent.Every != 2*time.Hour || c.Agent.History != 20 {
		t.Errorf("%+v", c.Agent)
	}
	r, err := c.When.Rules()
	if err != nil || r.HoldBack != 75 || r.MaxCrashes != gate.NoCrash || r.FetchBattery != 40 || len(r.SwitchHours) != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	// A window that ends with the day, one of no length, and half a window.
	for text, hours := range map[string][]string{
		`"update_window_start_hour": 20, "update_window_end_hour": 24`: {"20:00-24:00"},
		`"update_window_start_hour": 2, "update_window_end_hour": 2`:   nil,
		`"update_window_start_hour": 2`:                                nil,
	} {
		if c := ref(t, `"update_scheduling": {`+text+`}`); !reflect.DeepEqual(c.When.InstallHours, hours) {
			t.Errorf("%s: %q", text, c.When.InstallHours)
		}
	}
}

func TestReferenceRefusals(t *testing.T) {
	const hint = `for https://github.com/acme/station the owner is "acme" and the repo is "station"`
	for _, c := range []struct{ name, file, text, want, hint string }{
		{"placeholders", "ota_config.json", "{\n\"owner\": \"YOUR_GITHUB_USERNAME\",\n\"repo\": \"YOUR_REPO_NAME\"}",
			`ota_config.json:2: owner and repo must name the GitHub repository: owner is still "YOUR_GITHUB_USERNAME", and repo is still "YOUR_REPO_NAME"`, hint},
		{"one placeholder", "ota_config.yaml", "owner: acme\nrepo: YOUR_REPO_NAME",
			`ota_config.yaml:2: owner and repo must name the GitHub repository: owner is "acme", which is good, and repo is still "YOUR_REPO_NAME"`, hint},
		{"empty", "ota_config.toml", "owner = \"\"\nrepo = \"\"", `ota_config.toml:1: owner and repo must name the GitHub repository: owner is missing or empty, and repo is missing or empty`, hint},
		{"null", "ota_config.json", `{"owner": null, "repo": "x"}`, `ota_config.json:1: owner and repo must name the GitHub repository: owner is missing or empty, and repo is "x", which is good`, hint},
		{"nothing at all", "ota_config.json", `{}`, `ota_config.json: owner and repo must name the GitHub repository: owner is missing or empty, and repo is missing or empty`, hint},
		{"a URL", "ota_config.json", `{"owner": "acme", "repo": "https://github.com/acme/x"}`, `ota_config.json:1: owner and repo must name the GitHub repository: owner is "acme", which is good, and repo is "https://github.com/acme/x"`, hint},
		{"bad channel", "x.json", `{"owner": "a", "repo": "b", "channel": "beta"}`, `x.json:1: channel must be "stable" or "developer", not "beta"`, ""},
		{"bad mode", "x.json", `{"owner": "a", "repo": "b", "reset_mode": "cold"}`, `x.json:1: reset_mode must be "hard", "soft" or "none", not "cold"`, ""},
		{"bad list", "x.json", `{"owner": "a", "repo": "b", "allow": [1]}`, `x.json:1: allow must be a list of strings, not a list`, ""},
		{"path outside", "x.json", `{"owner": "a", "repo": "b", "ignore": ["../x"]}`, `x.json:1: ignore holds "../x", which is not a path within the tree`, `write paths like "app/" or "main.py", without a leading slash`},
		{"stage outside", "x.json", `{"owner": "a", "repo": "b", "stage_dir": "../s"}`, `x.json:1: stage_dir must be a folder within the folder of the file, not "../s"`, `write it relative to root, like ".godwit"`},
		{"bad number", "x.yaml", "owner: a\nrepo: b\nhttp_timeout_sec: soon", `x.yaml:3: http_timeout_sec must be a number from 0 to 1000000, not "soon"`, ""},
		{"bad bool", "x.yaml", "owner: a\nrepo: b\nforce: 1", `x.yaml:3: force must be true or false, not 1`, ""},
		{"mixed forms", "x.toml", "owner = 'a'\n[source]\nurl = '/x'\n[trust]\nmode='none'\n[tree]\nroot='/r'", `x.toml:1: unknown key "owner" outside of any section`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse(c.file, []byte(c.text), Options{})
			if godwit.CodeOf(err) != godwit.CodeConfig {
				t.Fatalf("code %q of %v", godwit.CodeOf(err), err)
			}
			all := err.(interface{ Unwrap() []error }).Unwrap()
			first := all[0].(*godwit.Error)
			if first.Text != c.want || c.hint != "" && first.Hint != c.hint || len(all) > 1 {
				t.Errorf("got  %s | %s\nwant %s | %s\n%d problems", first.Text, first.Hint, c.want, c.hint, len(all))
			}
		})
	}
}

// A reference file, written in our form, means the same.
func TestReferenceBecomesNative(t *testing.T) {
	texts := map[string]string{"developer.json": `{"owner": "a", "repo": "b", "channel": "developer", "branch": "dev", "delete_patterns": ["x/"], "reset_mode": "hard", "force": true, "http_timeout_sec": 1.5, "token": "t\"'\\"}`,
		"tag.json": `{"owner": "a", "repo": "b", "tag": "v1", "reset_mode": "soft", "min_free_storage": 1234567, "max_tree_size_kb": 2.5}`}
	for name, text := range referenceFiles {
		texts[name] = text
	}
	dir := t.TempDir()
	for from, text := range texts {
		c, err := Parse(filepath.Join(dir, from), []byte(text), Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, to := range Names {
			var b bytes.Buffer
			if err := Write(&b, to, c.Values()); err != nil {
				t.Fatal(err)
			}
			to = filepath.Join(dir, to)
			if err := os.WriteFile(to, b.Bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
			n, err := Load(to, Options{})
			if err != nil {
				t.Fatalf("%s of %s: %v\n%s", to, from, err, b.String())
			}
			if len(n.Warnings) > 0 {
				t.Errorf("%s of %s: %q", to, from, n.Warnings)
			}
			n.File, n.Warnings, n.lines = c.File, c.Warnings, c.lines
			n.Source.Token.key, n.Trust.Key.key = c.Source.Token.key, c.Trust.Key.key // what messages call them
			if c.Source.Token.IsZero() {
				n.Source.Token = c.Source.Token
			}
			if !reflect.DeepEqual(c, n) {
				t.Errorf("%s of %s:\n%+v\nis not\n%+v\n%s", to, from, n, c, b.String())
			}
		}
	}
}

// What was relative to the folder of the file that was read still names the same.
func TestValuesArePortable(t *testing.T) {
	c, err := Parse("/etc/g/godwit.toml", []byte("[source]\nurl='repo'\ntoken='file:tok'\n[trust]\nmode='none'\n[tree]\nroot='../srv'\n[restart]\nsignal='HUP'\npid_file='x.pid'"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	v := c.Values()
	for key, want := range map[string]string{"source.url": "/etc/g/repo", "source.token": "file:/etc/g/tok", "tree.root": "/etc/srv", "restart.pid_file": "/etc/g/x.pid"} {
		if v[key] != want {
			t.Errorf("%s is %v, not %s", key, v[key], want)
		}
	}
}

func FuzzReference(f *testing.F) {
	f.Add([]byte(referenceJSON))
	f.Add([]byte(`{"owner": "a", "repo": "b", "update_scheduling": {"a": [{"b": 1e400}]}, "allow": "x", "stage_dir": "/", "tag": 1e3}`))
	f.Add([]byte(`{"owner": "YOUR_X", "repo": "b", "http_timeout_sec": "1e9999", "max_tree_size_kb": -0}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := Parse("/opt/ota_config.json", b, Options{})
		if (c == nil) == (err == nil) || err != nil && godwit.CodeOf(err) != godwit.CodeConfig {
			t.Fatalf("%v, %v", c, err)
		}
		if err != nil {
			return
		}
		var w bytes.Buffer
		Write(&w, "g.json", c.Values())
		n, err := Parse("/opt/g.json", w.Bytes(), Options{})
		if err != nil {
			t.Fatalf("%v\n%s", err, w.String())
		}
		if !reflect.DeepEqual(n.Values(), c.Values()) {
			t.Fatalf("%v is not %v", n.Values(), c.Values())
		}
	})
}
