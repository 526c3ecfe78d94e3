package config

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/pelletier/go-toml/v2"
)

var update = flag.Bool("update", false, "rewrite the generated part of docs/configuration.md")

const fullTOML = `
_comment = "anything"
[source]
url = "https://git.example.org/acme/station.git"
channel = "stable"
token = "env:TOKEN"
headers = { X-Device = "7" }
timeout = "1m30s"
lfs = true
[trust]
mode = "none"
[tree]
root = "station"
layout = "in-place"
allow = ["app/", "main.py"]
ignore = ["app/tests/"]
keep = 3
[limits]
max_files = 20_000
max_bytes = "10 MB"
max_file_bytes = "64KiB"
min_free = 4096
[confirm]
command = ["./selftest", "--quick"]
within = "2m"
[hooks]
pre_switch = "systemctl stop x"
[restart]
signal = "sighup"
pid_file = "/run/x.pid"
`

const fullYAML = `
_comment: anything
source:
  url: https://git.example.org/acme/station.git
  channel: stable
  token: env:TOKEN
  headers: {X-Device: "7"}
  timeout: 1m30s
  lfs: true
trust: {mode: none}
tree:
  root: station
  layout: in-place
  allow: [app/, main.py]
  ignore:
    - app/tests/
  keep: 3
limits:
  max_files: 20_000
  max_bytes: 10 MB
  max_file_bytes: 64KiB
  min_free: 4096
confirm: {command: [./selftest, --quick], within: 2m}
hooks: {pre_switch: systemctl stop x}
restart: {signal: sighup, pid_file: /run/x.pid}
`

const fullJSON = `{"_comment": "anything",
"source": {"url": "https://git.example.org/acme/station.git", "channel": "stable", "token": "env:TOKEN",
  "headers": {"X-Device": "7"}, "timeout": "1m30s", "lfs": true, "branch": null},
"trust": {"mode": "none"},
"tree": {"root": "station", "layout": "in-place", "allow": ["app/", "main.py"], "ignore": ["app/tests/"], "keep": 3},
"limits": {"max_files": 20000, "max_bytes": "10 MB", "max_file_bytes": "64KiB", "min_free": 4096},
"confirm": {"command": ["./selftest", "--quick"], "within": "2m"},
"hooks": {"pre_switch": "systemctl stop x"},
"restart": {"signal": "sighup", "pid_file": "/run/x.pid"}}`

func TestThreeFormatsOneMeaning(t *testing.T) {
	for name, text := range map[string]string{"godwit.toml": fullTOML, "godwit.yaml": fullYAML, "godwit.yml": fullYAML, "godwit.json": fullJSON} {
		t.Run(name, func(t *testing.T) {
			c, err := Parse("/etc/godwit/"+name, []byte(text), Options{})
			if err != nil {
				t.Fatal(err)
			}
			want := Defaults()
			want.File = "/etc/godwit/" + name
			want.Source.URL = "https://git.example.org/acme/station.git"
			want.Source.Channel = "stable"
			want.Source.Token = Secret{"source.token", "env:TOKEN", "/etc/godwit"}
			want.Source.Headers = Headers{"X-Device": "7"}
			want.Source.Timeout = 90 * time.Second
			want.Source.LFS = true
			want.Trust.Mode = "none"
			want.Tree.Root = "/etc/godwit/station"
			want.Tree.Layout = "in-place"
			want.Tree.Allow = []string{"app/", "main.py"}
			want.Tree.Ignore = []string{"app/tests/"}
			want.Tree.Keep = 3
			want.Limits = Limits{MaxFiles: 20000, MaxBytes: 10e6, MaxFileBytes: 64 << 10, MinFree: 4096}
			want.Confirm.Command = Command{"./selftest", "--quick"}
			want.Hooks.PreSwitch = Shell("systemctl stop x")
			want.Restart.Signal = "HUP"
			want.Restart.PIDFile = "/run/x.pid"
			c.lines = nil
			if !reflect.DeepEqual(c, want) {
				t.Errorf("got  %+v\nwant %+v", c, want)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	const ok = "[source]\nurl='/x'\n[trust]\nmode='none'\n[tree]\nroot='/r'\n"
	for _, c := range []struct{ name, file, text, want, hint string }{
		{"misspelt key", "g.toml", ok + "[confirm]\nwithn = '2m'", `g.toml:8: unknown key "withn" in [confirm]`, `did you mean "within"?`},
		{"misspelt key, YAML", "g.yaml", "source:\n  url: /x\n  chanel: stable\ntrust: {mode: none}\ntree: {root: /r}", `g.yaml:3: unknown key "chanel" in [source]`, `did you mean "channel"?`},
		{"misspelt key, JSON", "g.json", "{\"source\": {\n\"url\": \"/x\",\n\"brunch\": \"main\"}, \"trust\": {\"mode\": \"none\"}, \"tree\": {\"root\": \"/r\"}}", `g.json:3: unknown key "brunch" in [source]`, `did you mean "branch"?`},
		{"hyphen for underscore", "g.toml", ok + "[limits]\nmax-files = 3", `g.toml:8: unknown key "max-files" in [limits]`, `did you mean "max_files"?`},
		{"key of another section", "g.toml", ok + "[limits]\nallow = []", `g.toml:8: unknown key "allow" in [limits]`, `did you mean [tree] allow?`},
		{"misspelt section", "g.toml", ok + "[sourse]\nurl='x'", `g.toml:7: unknown section [sourse]`, "did you mean [source]?"},
		{"key outside", "g.toml", "url = 'x'\n" + ok, `g.toml:1: unknown key "url" outside of any section`, "did you mean [source] url or [confirm] url?"},
		{"far off", "g.toml", ok + "[agent]\nxylophone=1", `g.toml:8: unknown key "xylophone" in [agent]`, "the keys of [agent] are every, metrics_file, listen, memory, history"},
		{"later section", "g.toml", ok + "[link]\nwifi='x'", `g.toml:7: the section [link] has no effect in this version of Godwit, so it is refused`, "bring the device online before godwit is started"},
		{"hours", "g.toml", ok + "[when]\ninstall_hours=['2-25']", `g.toml:8: when.install_hours: "2-25" is no time of day: a time is from 00:00 to 24:00`, `write it like "02:00-04:00" or "mon-fri 22:00-04:00"`},
		{"a percentage", "g.toml", ok + "[when]\nmin_battery=140", "g.toml:8: the section [when] makes no sense: the battery for downloads is 140, which is no percentage", "use a number from 0 to 100"},
		{"two kinds of busy", "g.toml", ok + "[when]\nbusy_command='x'\nbusy_file='y'", "g.toml:9: give either when.busy_command or when.busy_file, not both", ""},
		{"too often", "g.toml", ok + "[agent]\nevery='1s'", "g.toml:8: agent.every must be at least 10s", "every check costs the host a request and the device energy"},
		{"to everybody", "g.toml", ok + "[agent]\nlisten='0.0.0.0:80'", "g.toml:8: agent.listen must be an address of this device only, not \"0.0.0.0:80\"", "127.0.0.1:9180, [::1]:9180 or unix:/run/godwit/http"},
		{"no place", "g.toml", ok + "[report]\nto=['gopher://x']", "g.toml:8: report.to: a place for reports has an address of a kind that is not known", "write https://HOST/PATH, mqtts://HOST/TOPIC or file:///PATH"},
		{"no number", "g.toml", ok + "[board]\nbattery_ratio='two'", "g.toml:8: board.battery_ratio must be a number, not \"two\"", ""},
		{"string for bool", "g.toml", ok + "[restart]\nreboot = 'yes'", `g.toml:8: restart.reboot must be true or false, not "yes"`, ""},
		{"number for string", "g.toml", "[source]\nurl='/x'\ntag = 1.4\n[trust]\nmode='none'\n[tree]\nroot='/r'", `g.toml:3: source.tag must be a string, not 1.4`, "put the value in quotes"},
		{"date for string", "g.toml", "[source]\nurl='/x'\ntag = 2026-01-02\n[trust]\nmode='none'\n[tree]\nroot='/r'", `g.toml:3: source.tag must be a string, not 2026-01-02`, "put the value in quotes"},
		{"string for list", "g.toml", "[source]\nurl='/x'\n[trust]\nmode='none'\n[tree]\nroot='/r'\nallow='app'", `g.toml:7: tree.allow must be a list of strings, not "app"`, ""},
		{"mixed list", "g.toml", "[source]\nurl='/x'\n[trust]\nmode='none'\n[tree]\nroot='/r'\nallow=['a', 1]", `g.toml:7: tree.allow must be a list of strings, not a list`, ""},
		{"number for duration", "g.toml", ok + "[confirm]\nwithin = 120", `g.toml:8: confirm.within must be a duration like "90s", "2m" or "1h", not 120`, ""},
		{"negative duration", "g.toml", ok + "[confirm]\nwithin = '-2m'", `g.toml:8: confirm.within must be a duration like "90s", "2m" or "1h", not "-2m"`, ""},
		{"bad size", "g.toml", ok + "[limits]\nmax_bytes = 'ten'", `g.toml:8: limits.max_bytes must be a size like "10 MB" or "64 KiB", not "ten"`, ""},
		{"bad layout", "g.toml", "[source]\nurl='/x'\n[trust]\nmode='none'\n[tree]\nroot='/r'\nlayout='slot'", `g.toml:7: tree.layout must be one of "slots" or "in-place", not "slot"`, ""},
		{"table for string", "g.yaml", "source:\n  url:\n    a: b\ntrust: {mode: none}\ntree: {root: /r}", `g.yaml:2: source.url must be a string, not a table`, ""},
		{"no trust", "g.toml", "[source]\nurl='/x'\n[tree]\nroot='/r'", `g.toml: trust.mode is missing: say who may decide what this device runs`, "write mode = \"signed\" in the section [trust], with allowed_signers and product; or \"none\" to install what the repository holds, unchecked"},
		{"signed by whom", "g.toml", "[source]\nurl='/x'\n[trust]\nmode='signed'\nproduct='p'\n[tree]\nroot='/r'", `g.toml:4: trust.allowed_signers is missing: trust.mode "signed" needs the file with the keys that releases are accepted from`,
			"write one line for each signer: NAME KEY, where KEY is the content of the .pub file; `godwit keygen` makes a key"},
		{"signed for what", "g.toml", "[source]\nurl='/x'\n[trust]\nmode='signed'\nallowed_signers='/dev/null'\n[tree]\nroot='/r'", `g.toml:4: trust.product is missing: trust.mode "signed" needs the product that releases must be for`,
			"give it a name, such as product = \"station\", and sign releases with `godwit tag --product station`"},
		{"no such list", "/tmp/no-such-folder/g.toml", "[source]\nurl='/x'\n[trust]\nmode='signed'\nproduct='p'\nallowed_signers='list'\n[tree]\nroot='/r'", `/tmp/no-such-folder/g.toml:6: trust.allowed_signers names /tmp/no-such-folder/list, and this file is missing`, "make it: one line for each signer, as `godwit keygen` prints it"},
		{"signed branch", "g.toml", "[source]\nurl='/x'\nbranch='main'\n[trust]\nmode='signed'\nproduct='p'\nallowed_signers='/dev/null'\n[tree]\nroot='/r'", `g.toml:3: nobody signs a branch, so trust.mode "signed" and source.branch exclude each other`,
			"follow channel = \"stable\", or write mode = \"none\" on devices of developers"},
		{"no threshold", "g.toml", "[source]\nurl='/x'\n[trust]\nmode='signed'\nproduct='p'\nallowed_signers='/dev/null'\nthreshold=0\n[tree]\nroot='/r'", `g.toml:7: trust.threshold must be at least 1`, ""},
		{"other trust", "g.toml", "[source]\nurl='/x'\n[trust]\nmode='gpg'\n[tree]\nroot='/r'", `g.toml:4: trust.mode must be "signed", "hmac" or "none", not "gpg"`, ""},
		{"hmac without a key", "g.toml", "[source]\nurl='/x'\ntype='web'\n[trust]\nmode='hmac'\n[tree]\nroot='/r'", `g.toml:5: trust.key is missing: trust.mode "hmac" needs the secret that manifests are made with`, `write key = "file:PATH" or "env:NAME"`},
		{"hmac from git", "g.toml", "[source]\nurl='/x'\n[trust]\nmode='hmac'\nkey='k'\n[tree]\nroot='/r'", `g.toml:4: trust.mode "hmac" needs manifests, and a Git repository has none`, `use source.type "github", "gitea", "gitlab" or "web", or trust.mode "signed"`},
		{"channel nobody signs", "g.toml", "[source]\nurl='/x'\nchannel='beta'\n[trust]\nmode='none'\n[tree]\nroot='/r'", `g.toml:3: the only channel is "stable" where nobody signs, not "beta"`, `to follow a branch, write branch = "beta"; channels of other names need trust.mode = "signed"`},
		{"channel with a slash", "g.toml", "[source]\nurl='/x'\nchannel='a/b'\n[trust]\nmode='signed'\nproduct='p'\nallowed_signers='/dev/null'\n[tree]\nroot='/r'", `g.toml:3: source.channel cannot be "a/b": names of channels have letters, digits, '.', '_' and '-'`, ""},
		{"no repository", "g.toml", "[source]\nurl='https://github.com/acme'\ntype='github'\n[trust]\nmode='none'\n[tree]\nroot='/r'", `g.toml:2: source.url must be the address of a repository in a browser, not "https://github.com/acme"`, "write it like https://github.com/acme/station"},
		{"branch of a folder", "g.toml", "[source]\nurl='/x'\ntype='web'\nbranch='main'\n[trust]\nmode='none'\n[tree]\nroot='/r'", `g.toml:4: source.branch has no use with source.type "web": a published folder holds what it was made of`, "remove it"},
		{"mirrors of git", "g.toml", "[source]\nurl='/x'\nmirrors=['/y']\n[trust]\nmode='none'\n[tree]\nroot='/r'", `g.toml:3: source.mirrors is for source.type "web" only`, ""},
		{"API of git", "g.toml", "[source]\nurl='/x'\napi_url='https://h'\n[trust]\nmode='none'\n[tree]\nroot='/r'", `g.toml:3: source.api_url is for source.type "github", "gitea" and "gitlab" only`, ""},
		{"LFS elsewhere", "g.toml", "[source]\nurl='/x'\ntype='web'\nlfs=true\n[trust]\nmode='none'\n[tree]\nroot='/r'", `g.toml:4: source.lfs needs source.type "git"`, ""},
		{"number in labels", "g.toml", ok + "[device]\nlabels={site=1}", `g.toml:8: device.labels must be a table of strings, not a table`, ""},
		{"error file in slots", "g.toml", "[source]\nurl='/x'\n[trust]\nmode='none'\n[tree]\nroot='/r'\nerror_file='e.json'", `g.toml:7: tree.error_file must be a file within tree.root, with the layout in-place, not "e.json"`, `write it relative to root, like "ota_error.json"`},
		{"no url", "g.toml", "[trust]\nmode='none'\n[tree]\nroot='/r'", `g.toml: source.url is missing`, "add url = \"https://git.example.org/acme/station.git\" to the section [source]"},
		{"empty file", "g.toml", "", `g.toml: source.url is missing`, "add url = \"https://git.example.org/acme/station.git\" to the section [source]"},
		{"placeholder", "g.toml", "[source]\nurl='https://github.com/YOUR_GITHUB_USERNAME/YOUR_REPO_NAME'\n[trust]\nmode='none'\n[tree]\nroot='/r'", `g.toml:2: source.url still holds the placeholder YOUR_GITHUB_USERNAME`, "replace it with your own value"},
		{"two refs", "g.toml", "[source]\nurl='/x'\nbranch='main'\ntag='v1'\n[trust]\nmode='none'\n[tree]\nroot='/r'", `g.toml:4: give only one of branch and tag in the section [source]`, ""},
		{"signal to nobody", "g.toml", ok + "[restart]\nsignal='HUP'", `g.toml:8: restart.signal needs restart.pid_file or restart.process, to know whom to send it`, ""},
		{"no signal", "g.toml", ok + "[restart]\nsignal='WINCH'\nprocess='x'", `g.toml:8: restart.signal is no signal: "WINCH"`, "use HUP, TERM, INT, USR1, USR2, QUIT, KILL, CONT or ALRM"},
		{"absolute allow", "g.toml", "[source]\nurl='/x'\n[trust]\nmode='none'\n[tree]\nroot='/r'\nallow=['/etc']", `g.toml:7: tree.allow holds "/etc", which is not a path within the tree`, `write paths like "app/" or "main.py", without a leading slash`},
		{"state outside", "g.toml", "[source]\nurl='/x'\n[trust]\nmode='none'\n[tree]\nroot='/r'\nstate='../s'", `g.toml:7: tree.state must be a folder within tree.root, not "../s"`, `write it relative to root, like ".godwit"`},
		{"key twice", "g.toml", "[source]\nurl='/x'\nurl='/y'", `g.toml:3: the key "url" is there twice, first on line 2`, ""},
		{"key twice, YAML", "g.yaml", "source:\n  url: /x\n  url: /y", `g.yaml:3: the key "url" is there twice, first on line 2`, ""},
		{"section twice", "g.toml", "[source]\nurl='/x'\n[source]\n", `g.toml:3: the section [source] is there twice`, ""},
		{"not TOML", "g.toml", "[source]\nurl = \n", `g.toml:2: this is not TOML: unexpected character U+000A at start of value`, "look at that line and the one before; `godwit init` writes a file to compare with"},
		{"not YAML", "g.yaml", "a: [1\nb: 2", ``, ""},
		{"not JSON", "g.json", "{\n\"a\": tru\n}", `g.json:2: this is not JSON: there is 't' instead of a value`, "look at that line and the one before; `godwit init` writes a file to compare with"},
		{"JSON cut off", "g.json", "{\"source\": {", `g.json:1: this is not JSON: it ends too early`, "look at that line and the one before; `godwit init` writes a file to compare with"},
		{"alias", "g.yaml", "source: &a\n  url: /x\ntree: *a", `g.yaml:1: this is not YAML that Godwit reads: anchors (&) are not supported`, "look at that line and the one before; `godwit init` writes a file to compare with"},
		{"array of tables", "g.toml", "[[source]]\nurl='/x'", `g.toml:1: [[source]] makes a list of tables, and no key takes one`, ""},
		{"no extension", "godwit.conf", "", `the configuration file godwit.conf has an extension that says nothing about its format`, "name it godwit.toml, godwit.yaml or godwit.json"},
		{"binary", "g.toml", "\xff\xfe", `g.toml: this is not UTF-8 text`, ""},
		{"password without a name", "g.toml", "[source]\nurl='/x'\npassword='x'\n[trust]\nmode='none'\n[tree]\nroot='/r'", `g.toml:3: source.password needs source.username`, ""},
		{"health url", "g.toml", ok + "[confirm]\nurl='localhost:80'", `g.toml:8: confirm.url must begin with http:// or https://, not "localhost:80"`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse(c.file, []byte(c.text), Options{})
			if godwit.CodeOf(err) != godwit.CodeConfig {
				t.Fatalf("code %q of %v", godwit.CodeOf(err), err)
			}
			var first *godwit.Error
			errors.As(err, &first)
			if c.want != "" && (first.Text != c.want || first.Hint != c.hint) {
				t.Errorf("got  %s | %s\nwant %s | %s", first.Text, first.Hint, c.want, c.hint)
			}
		})
	}
}

func TestAllProblemsAtOnce(t *testing.T) {
	_, err := Parse("g.toml", []byte("[source]\nurll='x'\n[tree]\nlayuot='slots'"), Options{})
	if n := len(err.(interface{ Unwrap() []error }).Unwrap()); n != 5 { // two keys, and url, root, mode are missing
		t.Errorf("%d problems in %v", n, err)
	}
}

func TestUnusedKeysWarn(t *testing.T) {
	c, err := Parse("g.toml", []byte("[source]\nurl='/x'\n[trust]\nmode='none'\nproduct='p'\n[tree]\nroot='/r'"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"g.toml:5: trust.product has no effect: trust.mode is \"none\""}
	if !reflect.DeepEqual(c.Warnings, want) {
		t.Errorf("%q", c.Warnings)
	}
}

// The list of signers is looked into before a device asks anybody.
func TestListOfSigners(t *testing.T) {
	const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDBQQKBK6kOSPWaZ0DJ/hMFvFKoJ9Hu4ZDKHcszWgopZ"
	const other = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIG2VtcuspO4KiynUk18CWKEXTbwwa2jvnrGTQIHRpsfS"
	name := filepath.Join(t.TempDir(), "signers")
	for _, c := range []struct{ name, list, threshold, problem, warning string }{
		{"good", "alice " + key, "1", "", ""},
		{"two", "alice " + key + "\nbob " + other + "\n", "2", "", ""},
		{"too few", "alice " + key, "2", "", "no release can be accepted"},
		{"empty", "# nobody\n", "1", "", "no release can be accepted"},
		{"for files only", "alice namespaces=\"godwit\" " + key, "1", "", "no release can be accepted"},
		{"a public key", key + " alice@acme\n", "1", "it is a public key alone; put who signs with it before it", ""},
		{"a private key", "-----BEGIN OPENSSH PRIVATE KEY-----\nb3Blbg==\n", "1", "it begins a private key", ""},
		{"rubbish", "alice " + key + "\nhello\n", "1", "line 2 of", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := os.WriteFile(name, []byte(c.list), 0o644); err != nil {
				t.Fatal(err)
			}
			cfg, err := Parse("g.toml", fmt.Appendf(nil, "[source]\nurl='/x'\n[trust]\nmode='signed'\nproduct='p'\nthreshold=%s\nallowed_signers=%q\n[tree]\nroot='/r'", c.threshold, name), Options{})
			switch {
			case c.problem != "":
				if godwit.CodeOf(err) != godwit.CodeConfig || !strings.HasPrefix(err.Error(), "g.toml:7: trust.allowed_signers names "+name+": ") || !strings.Contains(err.Error(), c.problem) {
					t.Errorf("%v", err)
				}
			case err != nil:
				t.Error(err)
			case len(cfg.Warnings) > 1 || !strings.Contains(strings.Join(cfg.Warnings, ""), c.warning) || (c.warning == "") != (len(cfg.Warnings) == 0):
				t.Errorf("%q", cfg.Warnings)
			}
		})
	}
}

// trust.product decides in hmac as well.
func TestProductCountsForManifests(t *testing.T) {
	c, err := Parse("g.toml", []byte("[source]\ntype='web'\nurl='/x'\n[trust]\nmode='hmac'\nkey='env:K'\nproduct='p'\n[tree]\nroot='/r'"), Options{})
	if err != nil || len(c.Warnings) > 0 {
		t.Errorf("%q, %v", c.Warnings, err)
	}
}

func TestKeysOfOtherSourcesWarn(t *testing.T) {
	for kind, want := range map[string]int{"git": 0, "web": 2, "gitea": 4} {
		c, err := Parse("g.toml", fmt.Appendf(nil, "[source]\ntype=%q\nurl='https://h/a/b'\nusername='u'\npassword='file:p'\nssh_key='k'\nlfs_url='l'\n[trust]\nmode='none'\n[tree]\nroot='/r'", kind), Options{})
		if err != nil || len(c.Warnings) != want || want > 0 && c.Warnings[0] != "g.toml:6: source.ssh_key has no effect with source.type \""+kind+"\"" {
			t.Errorf("%s: %q, %v", kind, c.Warnings, err)
		}
	}
}

func TestRelativeURLs(t *testing.T) {
	for in, want := range map[string]string{
		"repo.git": "/etc/g/repo.git", "../r": "/etc/r", "/abs": "/abs", "./a:b/c": "/etc/g/a:b/c",
		"git@host:acme/x.git": "git@host:acme/x.git", "ssh://h/x": "ssh://h/x", "host:x": "host:x",
	} {
		c, err := Parse("/etc/g/godwit.toml", fmt.Appendf(nil, "[source]\nurl=%q\n[trust]\nmode='none'\n[tree]\nroot='/r'", in), Options{})
		if err != nil || c.Source.URL != want {
			t.Errorf("%q gives %q, %v; want %q", in, c.Source.URL, err, want)
		}
	}
}

func TestSecrets(t *testing.T) {
	dir := t.TempDir()
	os.WriteFile(filepath.Join(dir, "tok"), []byte("from-file\n"), 0o600)
	env := func(n string) string { return map[string]string{"TOK": "from-env\n"}[n] }
	for raw, want := range map[string]string{"literal": "literal", "env:TOK": "from-env", "file:tok": "from-file",
		"env:NONE": "", "file:none": ""} {
		s := Secret{"source.token", raw, dir}
		got, err := s.Value(env)
		if got != want || (err == nil) != (want != "") || err != nil && godwit.CodeOf(err) != godwit.CodeConfig {
			t.Errorf("%s: %q, %v", raw, got, err)
		}
		if raw == "literal" && strings.Contains(fmt.Sprint(s), raw) {
			t.Error("a secret is printed")
		}
	}
}

func TestLiteralSecretInAPublicFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "godwit.toml")
	text := "[source]\nurl='/x'\ntoken='abc'\n[trust]\nmode='none'\n[tree]\nroot='/r'"
	for mode, want := range map[os.FileMode]int{0o644: 1, 0o600: 0} {
		os.WriteFile(name, []byte(text), mode)
		os.Chmod(name, mode)
		c, err := Load(name, Options{})
		if err != nil || len(c.Warnings) != want {
			t.Errorf("mode %o: %v, %v", mode, c.Warnings, err)
		}
	}
}

func TestFind(t *testing.T) {
	dir := t.TempDir()
	none := func(string) string { return "" }
	if _, err := os.Stat(SystemFile); err != nil {
		if _, err := Find("", dir, none); godwit.CodeOf(err) != godwit.CodeConfig {
			t.Errorf("no file: %v", err)
		}
	}
	for i := len(Names) - 1; i >= 0; i-- {
		want := filepath.Join(dir, Names[i])
		os.WriteFile(want, nil, 0o600)
		if got, err := Find("", dir, none); got != want || err != nil {
			t.Errorf("%s, %v; want %s", got, err, want)
		}
	}
	if got, _ := Find("", dir, func(string) string { return "/env" }); got != "/env" {
		t.Error("GODWIT_CONFIG is not used:", got)
	}
	if got, _ := Find("/flag", dir, func(string) string { return "/env" }); got != "/flag" {
		t.Error("--config is not used:", got)
	}
}

func TestSizes(t *testing.T) {
	for in, want := range map[string]Size{"0": 0, "64KiB": 65536, "10 MB": 1e7, "1.5GB": 15e8, "7b": 7, "2 tib": 2 << 40, "12": 12} {
		if got, err := ParseSize(in); got != want || err != nil {
			t.Errorf("%q: %d, %v", in, got, err)
		}
		if back, err := ParseSize(want.String()); back != want || err != nil {
			t.Errorf("%d is written as %q, which reads as %d", want, want.String(), back)
		}
	}
	for _, in := range []string{"", "MB", "-1", "1e3", "1.2.3", "9999999999 TB", "1 PB", "0x10", "NaN", "inf"} {
		if got, err := ParseSize(in); err == nil {
			t.Errorf("%q is taken for %d", in, got)
		}
	}
}

func TestDurations(t *testing.T) {
	for in, want := range map[string]time.Duration{"90s": 90e9, "2m": 120e9, "1h30m": 5400e9, "7d": 7 * 24 * time.Hour, "1d12h": 36 * time.Hour, "0": 0} {
		if got, err := ParseDuration(in); got != want || err != nil {
			t.Errorf("%q: %v, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "2", "-1s", "1w", "d", "-1d", "1d-1s", "99999d9999999h"} {
		if got, err := ParseDuration(in); err == nil {
			t.Errorf("%q is taken for %v", in, got)
		}
	}
}

// What Write writes must load, in every format, and every Example must be a
// value of its key.
func TestWrittenFilesLoad(t *testing.T) {
	v := Values{"source.url": "https://h/<a>&\"b\\c", "source.tag": "v1", "trust.mode": "none", "tree.root": "/srv/x",
		"tree.allow": []string{"app/", "main.py"}, "tree.symlinks": true, "device.labels": map[string]string{"site": "lab", "a b": "\"c\""}, "tree.keep": 3}
	for _, name := range Names {
		var b bytes.Buffer
		if err := Write(&b, name, v); err != nil {
			t.Fatal(err)
		}
		c, err := Parse(name, b.Bytes(), Options{})
		if err != nil {
			t.Fatalf("%v\n%s", err, b.String())
		}
		if c.Source.URL != v["source.url"] || c.Source.Tag != "v1" || !reflect.DeepEqual(c.Tree.Allow, v["tree.allow"]) || !c.Tree.Symlinks || !reflect.DeepEqual(c.Values(), v) {
			t.Errorf("%s: %+v", name, c)
		}
	}
	for _, k := range Keys {
		text := fmt.Sprintf("[%s]\n%s = %s\n", k.Section, k.Name, k.Example)
		_, err := Parse("g.toml", []byte(text), Options{})
		for _, e := range err.(interface{ Unwrap() []error }).Unwrap() { // there is always a missing key
			m := e.Error()
			if strings.Contains(m, k.Name+" must be") && k.Name != "error_file" || strings.Contains(m, "unknown") || strings.Contains(m, "not TOML") {
				t.Errorf("%s.%s: %s", k.Section, k.Name, m)
			}
		}
	}
}

func TestReferenceInDocs(t *testing.T) {
	const name, begin, end = "../docs/configuration.md", "<!-- keys: generated by go test ./config -update -->\n", "<!-- end of keys -->"
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(b), begin)
	_, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatal(name + " lacks the marks of its generated part")
	}
	var ref bytes.Buffer
	Reference(&ref)
	want := head + begin + ref.String() + "\n" + end + tail
	if *update {
		if err := os.WriteFile(name, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if string(b) != want {
		t.Errorf("%s is not what the table of keys gives: run go test ./config -update", name)
	}
}

// What the documentation shows must be what this version reads.
func TestExamplesInDocs(t *testing.T) {
	names, err := filepath.Glob("../docs/*.md")
	if err != nil || len(names) < 2 {
		t.Fatal(names, err)
	}
	n := 0
	for _, name := range append(names, "../README.md") {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range regexp.MustCompile("(?ms)^ *```(toml|yaml)\n(.*?)^ *```").FindAllStringSubmatch(string(b), -1) {
			n++
			if block[1] == "toml" && !strings.Contains(block[2], "[source]") && !strings.HasPrefix(strings.TrimSpace(block[2]), "[") {
				block[2] = "[source]\n" + block[2] // more of a section that was begun above
			}
			_, err := Parse("x."+block[1], []byte(block[2]), Options{})
			if err == nil {
				continue
			}
			for _, e := range err.(interface{ Unwrap() []error }).Unwrap() {
				if !strings.Contains(e.Error(), " is missing") { // the rest of the file is elsewhere
					t.Errorf("%s: %v\n%s", name, e, block[2])
				}
			}
		}
	}
	if n < 2 {
		t.Errorf("only %d examples found", n)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{fullTOML, fullYAML, fullJSON, "a.b.c = {d.e = [1, {f = 1979-05-27}]}", "[a]\nb = \"\\u00e9\"", "a: !!binary x", "- 1", "\"a\"", "[[[[", "x = '''\n'''"} {
		f.Add(0, []byte(s))
		f.Add(1, []byte(s))
		f.Add(2, []byte(s))
	}
	f.Fuzz(func(t *testing.T, format int, b []byte) {
		if len(b) > 1<<16 {
			return
		}
		name := []string{"g.toml", "g.yaml", "g.json"}[(format%3+3)%3]
		c, err := Parse(name, b, Options{})
		if (c == nil) == (err == nil) {
			t.Fatal("neither a value nor an error, or both")
		}
		if err != nil && godwit.CodeOf(err) != godwit.CodeConfig {
			t.Fatalf("code %q", godwit.CodeOf(err))
		}
		if name != "g.toml" {
			return
		}
		// What the TOML reader takes, the library's own decoder takes too.
		if _, err := parseTOML(b); err == nil {
			var v map[string]any
			if err := toml.Unmarshal(b, &v); err != nil {
				t.Fatalf("accepted, but it is not TOML: %v", err)
			}
		}
	})
}
