package corpus

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// module gives the files of a Go module, which the go command keeps.
func module(i Item) (map[string][]byte, error) {
	tmp, err := os.MkdirTemp("", "corpus")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	out, err := output(tmp, []string{"GOWORK=off", "GOFLAGS=-modcacherw"}, "go", "mod", "download", "-json", i.Package+"@"+i.Version)
	if err != nil {
		return nil, err
	}
	var at struct{ Dir string }
	if err := json.Unmarshal(out, &at); err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	return files, filepath.WalkDir(at.Dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		name, err := filepath.Rel(at.Dir, path)
		if err != nil {
			return err
		}
		files[filepath.ToSlash(name)], err = os.ReadFile(path)
		return err
	})
}

// build makes a Go program as a release of it would be built. The package is
// MODULE//FOLDER, the path an architecture: arm (ARMv6), arm64, amd64, mipsle
// or riscv64.
func (s *Store) build(i Item) ([]byte, error) {
	module, folder, _ := strings.Cut(i.Package, "//")
	pkg := strings.TrimSuffix(module+"/"+folder, "/")
	tmp, err := os.MkdirTemp("", "corpus")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	modules, err := output("", nil, "go", "env", "GOMODCACHE")
	if err != nil {
		return nil, err
	}
	env := []string{"GOWORK=off", "CGO_ENABLED=0", "GOOS=linux", "GOARCH=" + i.Path, "GOARM=6", "GOMIPS=softfloat", "GOBIN=",
		"GOPATH=" + tmp, "GOMODCACHE=" + strings.TrimSpace(string(modules)), "GOMAXPROCS=1", "GOFLAGS="}
	if err := command(tmp, env, "go", "install", "-p=1", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", pkg+"@"+i.Version); err != nil {
		return nil, err
	}
	// Programs for this machine's own architecture lie in bin itself.
	var made string
	err = filepath.WalkDir(filepath.Join(tmp, "bin"), func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			made = path
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return os.ReadFile(made)
}

// The releases that packages come from, and the architectures that they have.
// The addresses are those that this machine's apt is set up with.
var suites = []struct {
	name, archs, more string
	security          bool
}{
	{"bookworm", "amd64,arm64,armhf", " non-free-firmware", false},
	{"bookworm-updates", "amd64,arm64,armhf", "", false},
	{"bookworm-backports", "amd64,arm64,armhf", "", false},
	{"bookworm-security", "amd64,arm64", "", true},
	{"trixie", "amd64,arm64,armhf,riscv64", " non-free-firmware", false},
	{"trixie-security", "amd64,arm64", "", true},
	{"trixie-backports", "amd64,arm64", "", false},
}

// keyring is where the package debian-archive-keyring has the keys.
const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"

// An apt is apt-get with its own state, so that this machine's stays as it is.
type apt struct {
	env []string
	err error // why there is none; told for each package, and tried once
}

func (s *Store) deb(i Item) (map[string][]byte, error) {
	dir := filepath.Join(s.Dir, "packages", "deb", strings.ReplaceAll(i.Package, ":", "_")+"="+strings.ReplaceAll(i.Version, ":", "%"))
	file, err := only(dir, func() error {
		if s.apt == nil {
			s.apt = newApt(filepath.Join(s.Dir, "apt"))
		}
		if s.apt.err != nil {
			return s.apt.err
		}
		return command(dir, s.apt.env, "apt-get", "download", "-q", i.Package+"="+i.Version)
	})
	if err != nil {
		return nil, err
	}
	out, err := output("", nil, "dpkg-deb", "--fsys-tarfile", file)
	if err != nil {
		return nil, err
	}
	return untar(bytes.NewReader(out))
}

// newApt sets one up and brings its lists up to date.
func newApt(dir string) *apt {
	a := &apt{env: []string{"APT_CONFIG=" + filepath.Join(dir, "apt.conf")}}
	a.err = a.setUp(dir)
	return a
}

func (a *apt) setUp(dir string) error {
	out, err := output("", nil, "apt-get", "indextargets", "--format", "$(RELEASE) $(REPO_URI)", "Created-By: Packages")
	if err != nil {
		return err
	}
	var main, security string
	for line := range strings.Lines(string(out)) {
		release, uri, _ := strings.Cut(strings.TrimSpace(line), " ")
		for _, s := range suites {
			if s.name == release && s.security {
				security = uri
			} else if s.name == release {
				main = uri
			}
		}
	}
	if main == "" || security == "" {
		return errors.New("apt-get is not set up with Debian and its security updates")
	}
	for _, sub := range []string{"state/lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return err
		}
	}
	var sources strings.Builder
	for _, s := range suites {
		uri := main
		if s.security {
			uri = security
		}
		fmt.Fprintf(&sources, "deb [signed-by=%s arch=%s] %s %s main%s\n", keyring, s.archs, uri, s.name, s.more)
	}
	config := fmt.Sprintf(`Dir::Etc::sourcelist "%[1]s/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::State "%[1]s/state";
Dir::State::status "%[1]s/status";
Dir::Cache "%[1]s/cache";
Acquire::Languages "none";
APT::Sandbox::User "root";
APT::Architectures { "amd64"; "arm64"; "armhf"; "riscv64"; };
`, dir)
	for name, text := range map[string]string{"sources.list": sources.String(), "apt.conf": config, "status": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	// Lists that fail to come leave their packages unknown, which is told then.
	if err := command("", a.env, "apt-get", "update", "-q"); err != nil && !strings.Contains(err.Error(), "index files failed") {
		return err
	}
	return nil
}
