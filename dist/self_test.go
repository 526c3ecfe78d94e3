package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/godwit-ota/godwit/internal/githost"
	"github.com/godwit-ota/godwit/service"
)

// A selfie is a device on which Godwit updates itself: a packaged program, the
// init script as what starts the agent, an application, and a repository with
// builds of Godwit.
type selfie struct {
	t             *testing.T
	dir, sh, path string
	builds        *githost.Repo
	binary        string // the packaged one
	self, config  string // its own tree
	app           string // the application's configuration
	launch, init  string
}

// program builds Godwit in a version.
func program(t *testing.T, name, version, broken string) []byte {
	t.Helper()
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", name,
		"-ldflags", "-s -w -X main.broken="+broken+" -X github.com/godwit-ota/godwit/internal/cli.Version="+version, "./standin")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building: %v\n%s", err, out)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func newSelfie(t *testing.T, sh, path string) *selfie {
	dir := t.TempDir()
	s := &selfie{t: t, dir: dir, sh: sh, path: path, binary: dir + "/usr/bin/godwit", self: dir + "/self", config: dir + "/self.toml",
		app: dir + "/godwit.toml", launch: dir + "/launch", init: dir + "/godwit-agent"}
	os.MkdirAll(dir+"/usr/bin", 0o755)
	program(t, s.binary, "v0.9.0", "")

	// The application, which this story is not about.
	station, err := githost.InitRepo(dir+"/station.git", "sha1")
	s.must(err)
	commit, err := station.Commit("main", "Release v1.0.0", map[string]githost.Change{"app": githost.Text("hello\n")})
	s.must(err)
	_, err = station.Tag("v1.0.0", commit, "Release v1.0.0")
	s.must(err)
	s.builds, err = githost.InitRepo(dir+"/builds.git", "sha1")
	s.must(err)

	const source = "[source]\nurl = %q\nchannel = \"stable\"\n[trust]\nmode = \"none\"\n[tree]\nroot = %q\n"
	s.write(s.app, fmt.Sprintf(source, dir+"/station.git", dir+"/station"), 0o644)
	s.write(s.config, fmt.Sprintf(source+"allow = [%q]\n[confirm]\ncommand = [%q, %q, \"healthy\", %q, %q]\nwithin = \"8s\"\ninterval = \"500ms\"\n[restart]\ncommand = [%q, %q, \"restart\"]\n",
		dir+"/builds.git", s.self, "godwit-linux-"+runtime.GOARCH, sh, s.launch, s.self, s.app, sh, s.init), 0o644)

	list, err := service.Files(service.BusyBox, service.Options{Binary: s.binary, Config: s.app, Root: dir + "/station", Self: s.self, SelfConfig: s.config})
	s.must(err)
	for _, f := range list {
		text := strings.NewReplacer("run=/run/godwit ", "run="+dir+"/run ", service.Launcher, s.launch, "/etc/default/godwit-agent", "/nothing",
			`log="logger -t godwit" `, "log='tee -a "+dir+"/log' ", "quick=2 ", "quick=1 ", "#!/bin/sh", "#!"+sh).Replace(string(f.Content))
		s.write(filepath.Join(dir, filepath.Base(f.Path)), text, os.FileMode(f.Mode))
	}
	t.Cleanup(func() {
		s.command(sh, s.init, "stop").Run()
		if t.Failed() {
			b, _ := os.ReadFile(dir + "/log")
			t.Logf("what the agents said:\n%s", b)
			out, _ := s.command(s.binary, "status", "--config", s.config).CombinedOutput()
			t.Logf("what became of it:\n%s", out)
		}
	})
	return s
}

func (s *selfie) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *selfie) write(name, text string, mode os.FileMode) {
	s.must(os.WriteFile(name, []byte(text), mode))
}

func (s *selfie) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir = s.dir
	cmd.Env = []string{"PATH=" + s.path, "GODWIT_RUN=" + s.dir + "/run", "RUNTIME_DIRECTORY=" + s.dir + "/run", "GODWIT_STEADY=1", "HOME=" + s.dir}
	return cmd
}

// do runs a command that has to end with a code.
func (s *selfie) do(want int, name string, args ...string) string {
	s.t.Helper()
	cmd := s.command(name, args...)
	out, err := cmd.CombinedOutput()
	if code := cmd.ProcessState.ExitCode(); code != want {
		s.t.Fatalf("%s %s ended with %d, want %d (%v):\n%s", filepath.Base(name), strings.Join(args, " "), code, want, err, out)
	}
	return string(out)
}

// push releases a build of Godwit.
func (s *selfie) push(version string, content []byte) {
	s.t.Helper()
	commit, err := s.builds.Commit("main", "Release "+version, map[string]githost.Change{
		"godwit-linux-" + runtime.GOARCH: {Content: content, Mode: "100755"}, "godwit-linux-other": githost.Exec("not for this device")})
	s.must(err)
	_, err = s.builds.Tag(version, commit, "Release "+version)
	s.must(err)
}

// update has the device look for a newer Godwit.
func (s *selfie) update(want int) string {
	s.t.Helper()
	return s.do(want, s.sh, s.launch, "update", s.binary, s.self, s.config)
}

// agent waits until an agent runs that is this version.
func (s *selfie) agent(version string) (pid int) {
	s.t.Helper()
	var was string
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		b, _ := os.ReadFile(s.dir + "/run/agent.pid")
		pid, _ = strconv.Atoi(strings.TrimSpace(string(b)))
		exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
		if err != nil || filepath.Base(exe) != "godwit" && !strings.HasPrefix(filepath.Base(exe), "godwit-linux-") {
			continue
		}
		out, _ := exec.Command(exe, "version").Output()
		if was = string(out); strings.Contains(was, version) {
			return pid
		}
	}
	s.t.Fatalf("the agent is not %s, but %s", version, was)
	return 0
}

func (s *selfie) status() string { return s.do(0, s.binary, "status", "--json", "--config", s.config) }

// Godwit is updated as everything else is: the new one has to prove itself, and
// the old one comes back where it does not, whatever is wrong with the new one,
// and whenever the power fails.
func TestGodwitUpdatesItself(t *testing.T) {
	if testing.Short() {
		t.Skip("takes more than a minute")
	}
	shells := map[string][2]string{"sh": {"/bin/sh", os.Getenv("PATH")}}
	if busybox, err := exec.LookPath("busybox"); err == nil {
		dir := t.TempDir()
		out, _ := exec.Command(busybox, "--list").Output()
		for _, applet := range strings.Fields(string(out)) {
			os.Symlink(busybox, filepath.Join(dir, applet))
		}
		// A repository on this machine is read by git itself.
		if git, err := exec.LookPath("git"); err == nil {
			os.Symlink(git, filepath.Join(dir, "git"))
		}
		shells["busybox"] = [2]string{dir + "/sh", dir}
	} else {
		t.Log("NOT TRIED with BusyBox, which is not here: apt-get install busybox-static")
	}
	builds := map[string][]byte{}
	for version, broken := range map[string]string{"v1.0.0": "", "v1.1.0": "crash", "v1.2.0": "blind", "v1.4.0": "crash", "v1.5.0": ""} {
		builds[version] = program(t, filepath.Join(t.TempDir(), "godwit"), version, broken)
	}
	builds["v1.3.0"] = []byte("\x7fELF and then nothing that could run")
	for name, sh := range shells {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // it waits most of the time
			s := newSelfie(t, sh[0], sh[1])
			s.do(0, s.sh, s.init, "start")
			packaged := s.agent("v0.9.0")

			// The first: the packaged one runs, and brings it.
			s.push("v1.0.0", builds["v1.0.0"])
			s.update(0)
			if pid := s.agent("v1.0.0"); pid == packaged {
				t.Error("the agent is the same process")
			}
			if st := s.status(); !strings.Contains(st, `"trial":null`) {
				t.Errorf("it is not confirmed: %s", st)
			}
			if _, err := os.Stat(s.self + "/current/godwit-linux-other"); err == nil {
				t.Error("other devices' builds are here")
			}
			s.update(0) // nothing to do, said by the new one

			// Three that do not work, each in its way.
			for _, version := range []string{"v1.1.0", "v1.2.0", "v1.3.0"} {
				s.push(version, builds[version])
				out := s.update(7)
				s.agent("v1.0.0")
				if !strings.Contains(s.status(), version) {
					t.Errorf("%s is not on the list of those that failed:\n%s\n%s", version, s.status(), out)
				}
				s.update(4) // and not tried again
				s.agent("v1.0.0")
			}

			// The power fails while a broken one is on trial: at boot it is
			// started, for nobody knows better, and the next look finds out.
			s.push("v1.4.0", builds["v1.4.0"])
			update := s.command(s.sh, s.launch, "update", s.binary, s.self, s.config)
			s.must(update.Start())
			for end := time.Now().Add(20 * time.Second); !strings.Contains(s.status(), `"trial":{`); time.Sleep(20 * time.Millisecond) {
				if time.Now().After(end) {
					t.Fatal("no trial began")
				}
			}
			s.cut(update)
			s.do(0, s.sh, s.launch, "recover", s.binary, s.config)
			s.do(0, s.sh, s.init, "start")
			s.update(7)
			s.agent("v1.0.0")

			// The disk takes the program away: the packaged one is there.
			current, err := filepath.EvalSymlinks(s.self + "/current/godwit-linux-" + runtime.GOARCH)
			s.must(err)
			s.must(os.Remove(current))
			s.write(current, "", 0o755)
			s.do(0, s.sh, s.init, "restart")
			s.agent("v0.9.0")

			// And it brings the next one.
			s.push("v1.5.0", builds["v1.5.0"])
			s.update(0)
			s.agent("v1.5.0")
		})
	}
}

// cut ends everything at once, as a power cut does.
func (s *selfie) cut(update *exec.Cmd) {
	update.Process.Kill()
	update.Wait()
	// Also what it started, and the agent: all that has this folder in its
	// command line.
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		if line, _ := os.ReadFile("/proc/" + e.Name() + "/cmdline"); strings.Contains(string(line), s.dir) {
			if p, err := os.FindProcess(pid); err == nil {
				p.Kill()
			}
		}
	}
	s.boot()
}

// boot empties what is empty after a boot.
func (s *selfie) boot() { os.RemoveAll(s.dir + "/run") }
