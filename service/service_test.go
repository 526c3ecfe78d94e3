package service

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/godwit-ota/godwit"
)

var inits = []Init{Systemd, OpenRC, BusyBox}

// awkward is a path with what is awkward for somebody. Programs that systemd
// starts may not lie there, files that they read may.
const awkward = `/srv/it's "my" $HOME 100% \n;x`

func mustFiles(t *testing.T, init Init, o Options) map[string]string {
	t.Helper()
	files, err := Files(init, o)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, f := range files {
		all[filepath.Base(f.Path)] = string(f.Content)
	}
	return all
}

func everything(binary, root string) Options {
	return Options{Binary: binary, Config: root + "/godwit.toml", Root: root, ApplicationUnit: "station.service",
		WritePaths: []string{root + "/more", "/var/lib/x"}, Self: root + "/self", SelfConfig: root + "/self.toml"}
}

func TestEveryFileIsFilledAndMarked(t *testing.T) {
	for _, init := range inits {
		for name, o := range map[string]Options{"zero": {}, "all": everything("/usr/bin/godwit", "/srv/station"), "awkward": everything("/opt/my $programs 100%/godwit", awkward)} {
			for file, content := range mustFiles(t, init, o) {
				for part := range strings.SplitSeq(content, "@") {
					if isName(part) && strings.Contains(content, "@"+part+"@") {
						t.Errorf("%s, %s: %s holds @%s@", init, name, file, part)
					}
				}
				if !strings.Contains(content, mark) {
					t.Errorf("%s: %s does not say who wrote it", init, file)
				}
			}
		}
	}
}

func TestUnits(t *testing.T) {
	zero := mustFiles(t, Systemd, Options{})
	all := mustFiles(t, Systemd, everything("/usr/bin/godwit", "/srv/station"))
	odd := mustFiles(t, Systemd, Options{Root: "/srv/my app", Config: "/etc/a b/100%.toml", Processes: true})
	for _, c := range []struct {
		in, line string
		want     bool
	}{
		{zero["godwit-agent.service"], "ExecStart=/usr/bin/godwit agent --config /etc/godwit/godwit.toml", true},
		{zero["godwit-agent.service"], "RequiresMountsFor=", false},
		{zero["godwit-agent.service"], "ReadWritePaths=", false},
		{zero["godwit-agent.service"], "ProtectProc=invisible", true},
		{all["godwit-agent.service"], "ExecStart=/usr/lib/godwit/launch run /usr/bin/godwit /srv/station/self agent --config /srv/station/godwit.toml", true},
		{all["godwit-agent.service"], "ReadWritePaths=-/srv/station -/srv/station/more -/var/lib/x", true},
		{zero["godwit-agent.service"], "RuntimeDirectory=godwit", true},
		{all["godwit-recover.service"], "Before=station.service", true},
		{zero["godwit-recover.service"], "Before=station.service", false},
		{odd["godwit-agent.service"], `ReadWritePaths="-/srv/my app"`, true},
		{odd["godwit-agent.service"], `RequiresMountsFor="/srv/my app"`, true},
		{odd["godwit-agent.service"], "ConditionPathExists=/etc/a b/100%%.toml", true},
		{odd["godwit-agent.service"], `ExecStart=/usr/bin/godwit agent --config "/etc/a b/100%%.toml"`, true},
		{odd["godwit-agent.service"], "ProtectProc=default", true},
	} {
		if got := strings.Contains(c.in, "\n"+c.line); got != c.want {
			t.Errorf("%q: %v\n%s", c.line, got, c.in)
		}
	}
	if _, there := zero["launch"]; there {
		t.Error("a launcher without a tree of its own")
	}
}

func TestRefusals(t *testing.T) {
	for name, o := range map[string]Options{
		"newline":          {Root: "/srv/a\nExecStartPre=/bin/evil"},
		"tab":              {Config: "/srv/a\tb"},
		"no text":          {Root: "/srv/\xff"},
		"relative":         {Binary: "godwit"},
		"not clean":        {Root: "/srv/../etc"},
		"space at the end": {Root: "/srv/a "},
		"write":            {WritePaths: []string{"/ok", "/a\rb"}},
		"unit":             {ApplicationUnit: "a b"},
		"unit with a line": {ApplicationUnit: "a.service\nX=y"},
		"no configuration": {Self: "/var/lib/godwit/self"},
	} {
		for _, init := range inits {
			if _, err := Files(init, o); godwit.CodeOf(err) != godwit.CodeConfig {
				t.Errorf("%s, %s: %v", name, init, err)
			}
		}
	}
	if _, err := Files(Systemd, Options{Binary: `/a"b`}); godwit.CodeOf(err) != godwit.CodeConfig {
		t.Error(err)
	}
	if _, err := Files("upstart", Options{}); godwit.CodeOf(err) != godwit.CodeConfig {
		t.Error(err)
	}
}

// What a shell reads is what was written.
func TestShellWords(t *testing.T) {
	for _, s := range []string{"/a", awkward, "/a'b''c", "/$(touch x)`touch y`"} {
		out, err := exec.Command("sh", "-c", "printf %s "+shellWord(s)).Output()
		if err != nil || string(out) != s {
			t.Errorf("%q: %q, %v", s, out, err)
		}
		// As OpenRC does.
		out, err = exec.Command("sh", "-c", "x="+shellWord(shellWord(s))+"; eval printf %s $x").Output()
		if err != nil || !strings.ContainsAny(s, ` "\$`) && string(out) != s {
			t.Errorf("twice: %q: %q, %v", s, out, err)
		}
	}
}

func TestScriptsAreScripts(t *testing.T) {
	shells := [][]string{{"sh", "-n"}}
	if _, err := exec.LookPath("busybox"); err == nil {
		shells = append(shells, []string{"busybox", "sh", "-n"})
	}
	checker, err := exec.LookPath("shellcheck")
	if err != nil {
		t.Log("NOT CHECKED by shellcheck, which is not here")
	}
	for _, o := range []Options{{}, everything("/usr/bin/godwit", "/srv/station"), everything(awkward+"/godwit", awkward)} {
		for _, init := range []Init{OpenRC, BusyBox} {
			for name, content := range mustFiles(t, init, o) {
				file := filepath.Join(t.TempDir(), name)
				os.WriteFile(file, []byte(content), 0o755)
				for _, sh := range shells {
					if out, err := exec.Command(sh[0], append(sh[1:], file)...).CombinedOutput(); err != nil {
						t.Errorf("%s of %s, %v: %s", name, init, sh, out)
					}
				}
				if checker == "" {
					continue
				}
				// SC2034: variables that OpenRC reads. SC1090, SC1091: other
				// files. SC2086: words that are meant to be several. SC1003:
				// a path may hold a backslash and a quote. SC2016: and a dollar.
				args := []string{"--shell=dash", "--exclude=SC2034,SC1090,SC1091,SC2086,SC1003,SC2016,SC2015", file}
				if out, err := exec.Command(checker, args...).CombinedOutput(); err != nil {
					t.Errorf("%s of %s: %s", name, init, out)
				}
			}
		}
	}
}

func TestSystemdAcceptsTheUnits(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("needs systemd-analyze: apt-get install systemd")
	}
	for name, sub := range map[string]string{"plain": "root", "awkward": awkward[1:]} {
		t.Run(name, func(t *testing.T) {
			root := filepath.Join(t.TempDir(), sub)
			binary := filepath.Join(t.TempDir(), "my $programs 100%", "godwit")
			os.MkdirAll(root, 0o755)
			os.MkdirAll(filepath.Dir(binary), 0o755)
			os.WriteFile(binary, []byte("#!/bin/sh\n"), 0o755)
			for _, o := range []Options{{Binary: binary}, everything(binary, root)} {
				dir := t.TempDir()
				var names []string
				for file, content := range mustFiles(t, Systemd, o) {
					if file == "launch" {
						continue
					}
					// The launcher is not on this machine.
					content = strings.ReplaceAll(content, Launcher, "/bin/true")
					names = append(names, filepath.Join(dir, file))
					os.WriteFile(filepath.Join(dir, file), []byte(content), 0o644)
				}
				out, err := exec.Command(analyze, append([]string{"verify", "--man=no"}, names...)...).CombinedOutput()
				if err != nil || len(about(out, dir)) > 0 {
					t.Errorf("verify: %v\n%s", err, out)
				}
				for _, n := range names {
					if filepath.Ext(n) != ".service" {
						continue
					}
					out, err := exec.Command(analyze, "security", "--offline=true", "--threshold=20", n).CombinedOutput()
					if err != nil {
						t.Errorf("security of %s: %v\n%s", n, err, out)
					}
					lines := strings.Split(strings.TrimSpace(string(out)), "\n")
					t.Log(lines[len(lines)-1])
				}
			}
		})
	}
}

// about gives the lines that are about our files, and not about this machine's
// own units.
func about(out []byte, dir string) (lines []string) {
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, dir) || strings.Contains(line, "godwit") {
			lines = append(lines, line)
		}
	}
	return lines
}

func TestInstallAndRemove(t *testing.T) {
	for _, init := range inits {
		t.Run(string(init), func(t *testing.T) {
			root := t.TempDir()
			files, err := Files(init, everything("/usr/bin/godwit", "/srv/station"))
			if err != nil {
				t.Fatal(err)
			}
			for range 2 { // again over what is there
				next, err := Install(root, files)
				if err != nil || len(next) == 0 || strings.Join(next, "\n") != strings.Join(Start(init, true), "\n") {
					t.Fatal(next, err)
				}
			}
			for _, f := range files {
				got, err := os.ReadFile(filepath.Join(root, f.Path))
				info, _ := os.Stat(filepath.Join(root, f.Path))
				if err != nil || !bytes.Equal(got, f.Content) || info.Mode().Perm() != os.FileMode(f.Mode) {
					t.Errorf("%s: %v", f.Path, err)
				}
			}

			// Somebody else's file stops both, before anything is done.
			foreign := filepath.Join(root, files[1].Path)
			os.WriteFile(foreign, []byte("#!/bin/sh\n# mine\n"), 0o755)
			if _, err := Install(root, files); godwit.CodeOf(err) != godwit.CodeForeignFile {
				t.Error(err)
			}
			if _, err := Remove(root, files); godwit.CodeOf(err) != godwit.CodeForeignFile {
				t.Error(err)
			}
			if _, err := os.Stat(filepath.Join(root, files[0].Path)); err != nil {
				t.Error(err)
			}
			os.Remove(foreign)

			for range 2 { // again where nothing is left
				if _, err := Remove(root, files); err != nil {
					t.Error(err)
				}
			}
			if err := filepath.WalkDir(root, func(name string, d os.DirEntry, err error) error {
				if err == nil && !d.IsDir() {
					t.Errorf("%s is left", name)
				}
				return err
			}); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestDetect(t *testing.T) {
	for _, c := range []struct {
		name  string
		files []string
		init  string // where sbin/init points
		want  Init
	}{
		{"nothing", nil, "", BusyBox},
		{"systemd runs", []string{"run/systemd/system/x", "sbin/openrc-run"}, "busybox", Systemd},
		{"openrc runs", []string{"run/openrc/x"}, "/lib/systemd/systemd", OpenRC},
		{"an image with systemd", nil, "/lib/systemd/systemd", Systemd},
		{"Alpine", []string{"sbin/openrc-run"}, "/bin/busybox", OpenRC},
		{"Buildroot", nil, "../bin/busybox", BusyBox},
		{"openrc-init", nil, "openrc-init", OpenRC},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := t.TempDir()
			for _, f := range c.files {
				os.MkdirAll(filepath.Join(root, filepath.Dir(f)), 0o755)
				os.WriteFile(filepath.Join(root, f), nil, 0o755)
			}
			if c.init != "" {
				os.MkdirAll(filepath.Join(root, "sbin"), 0o755)
				os.Symlink(c.init, filepath.Join(root, "sbin/init"))
			}
			if got := Detect(root); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

// A line goes when its value is empty, so a name that nobody fills would go
// unseen.
func TestEveryNameIsFilled(t *testing.T) {
	o := everything("/usr/bin/godwit", "/srv/station")
	names, _ := files.ReadDir("files")
	for _, n := range names {
		values := o.scriptValues()
		if ext := filepath.Ext(n.Name()); ext == ".service" || ext == ".timer" {
			values = o.unitValues()
		}
		b, _ := files.ReadFile("files/" + n.Name())
		for line := range strings.Lines(string(b)) {
			for i, part := range strings.Split(line, "@") {
				if i%2 == 1 && isName(part) && values[part] == "" {
					t.Errorf("%s: nothing fills @%s@", n.Name(), part)
				}
			}
		}
	}
}
