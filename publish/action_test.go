package publish_test

import (
	"bytes"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/godwit-ota/godwit/manifest"
)

const actionFile = "../.github/actions/publish/action.yml"

// action is the part of GitHub's "Metadata syntax for GitHub Actions" that ours
// uses.
type action struct {
	Name, Description string
	Inputs            map[string]struct {
		Description string
		Default     string
	}
	Outputs map[string]struct{ Description, Value string }
	Runs    struct {
		Using string
		Steps []step
	}
}

type step struct {
	Name, ID, If, Shell, Run, Uses string
	Env, With                      map[string]string
}

func readYAML(t *testing.T, name string, into any) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	d := yaml.NewDecoder(bytes.NewReader(b))
	d.KnownFields(true)
	if err := d.Decode(into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// TestAction runs the steps of the action as a runner does, with a real godwit
// and a gh that writes down what it is asked.
func TestAction(t *testing.T) {
	for _, program := range []string{"bash", "git", "ssh-keygen"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(program + " is not installed")
		}
	}
	var a action
	readYAML(t, actionFile, &a)
	if a.Runs.Using != "composite" || len(a.Runs.Steps) != 3 {
		t.Fatalf("%+v", a.Runs)
	}
	work := t.TempDir()
	repo, bin := filepath.Join(work, "repo"), filepath.Join(work, "bin")
	write(t, repo, map[string]string{"app/main.py": "print(1)\n", "tests/x.py": "y"})
	write(t, bin, map[string]string{"gh": "#!/bin/sh\necho \"$@\" >>" + work + "/gh.log\n"})
	git(t, repo, "init", "-q")
	git(t, repo, "add", ".")
	git(t, repo, "commit", "-qm", "one")
	git(t, repo, "tag", "v1.0.0")
	key := filepath.Join(work, "key")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	private, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	source, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}

	// github is the runner: its contexts, its files, its PATH.
	values := map[string]string{
		"github.action_path": filepath.Join(source, ".github/actions/publish"), "github.repository": "acme/station", "github.ref_name": "v1.0.0", "github.token": "t0ken",
	}
	given := map[string]string{"key": string(private), "options": "--exclude=tests\n", "product": "station", "folder": filepath.Join(work, "public"), "channel": "stable"}
	for name, in := range a.Inputs {
		if in.Description == "" {
			t.Errorf("the input %s is not described", name)
		}
		values["inputs."+name] = expand(t, in.Default, values)
		if v, ok := given[name]; ok {
			values["inputs."+name] = v
		}
	}
	path := bin + ":" + os.Getenv("PATH")
	outputs, paths := filepath.Join(work, "outputs"), filepath.Join(work, "paths")
	run := func(s step) {
		t.Helper()
		if s.Shell != "bash" || s.Name == "" {
			t.Errorf("%+v", s)
		}
		cmd := exec.Command("bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", s.Run)
		cmd.Dir = repo
		cmd.Env = []string{"HOME=" + work, "PATH=" + path, "GITHUB_OUTPUT=" + outputs, "GITHUB_PATH=" + paths, "RUNNER_TEMP=" + work,
			"GOFLAGS=" + os.Getenv("GOFLAGS"), "GOCACHE=" + goEnv(t, "GOCACHE"), "GOMODCACHE=" + goEnv(t, "GOMODCACHE"), "GOPROXY=" + goEnv(t, "GOPROXY")}
		for name, v := range s.Env {
			cmd.Env = append(cmd.Env, name+"="+expand(t, v, values))
		}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", s.Name, err, out)
		}
		if b, err := os.ReadFile(paths); err == nil {
			path = strings.TrimSpace(string(b)) + ":" + path
		}
		if b, err := os.ReadFile(outputs); err == nil {
			for line := range strings.Lines(string(b)) {
				name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
				values["steps."+s.ID+".outputs."+name] = value
			}
		}
	}
	for _, s := range a.Runs.Steps {
		run(s)
	}

	made := values["steps.publish.outputs.manifest"]
	if paths, _ := listing(t, made); !slices.Equal(paths, []string{"app/main.py"}) {
		t.Errorf("%q", paths)
	}
	if h := head(t, made); h.Version != "v1.0.0" || h.Product != "station" || len(h.Commit) != 40 {
		t.Errorf("%+v", h)
	}
	log, err := os.ReadFile(filepath.Join(work, "gh.log"))
	if want := "release upload v1.0.0 " + made + ".sig " + made + " --clobber\n"; err != nil || string(log) != want {
		t.Errorf("gh was asked %q, %v", log, err)
	}
	public := every(t, filepath.Join(work, "public"))
	if public["channel.json.sig"] == "" || public["releases/v1.0.0/manifest.json"] == "" {
		t.Errorf("%q", slices.Sorted(maps.Keys(public)))
	}
	for name, text := range every(t, work) {
		if strings.Contains(text, string(private[50:200])) && name != "key" {
			t.Errorf("the key is left in %s", name)
		}
	}

	// With a shared secret and no key.
	values["inputs.key"], values["inputs.manifest-key"], values["inputs.folder"] = "", "geheim", ""
	os.Remove(outputs)
	run(a.Runs.Steps[1])
	b, err := os.ReadFile(values["steps.publish.outputs.manifest"])
	if err != nil {
		t.Fatal(err)
	}
	if err := manifest.CheckHMAC(bytes.NewReader(b), int64(len(b)), []byte("geheim")); err != nil {
		t.Error(err)
	}
	os.Remove(filepath.Join(work, "gh.log"))
	run(a.Runs.Steps[2])
	if log, _ := os.ReadFile(filepath.Join(work, "gh.log")); strings.Contains(string(log), ".sig") {
		t.Errorf("gh was asked %q", log)
	}
}

// expand puts values in for GitHub's expressions.
func expand(t *testing.T, s string, values map[string]string) string {
	t.Helper()
	return regexp.MustCompile(`\$\{\{ *([^ }]+) *\}\}`).ReplaceAllStringFunc(s, func(m string) string {
		name := strings.TrimSpace(strings.Trim(m, "${}"))
		v, ok := values[name]
		if !ok {
			t.Errorf("%s is not known", m)
		}
		return v
	})
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.Command("go", "env", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// TestExampleWorkflow: the example gives the action what it takes, and its flags
// are flags.
func TestExampleWorkflow(t *testing.T) {
	var a action
	readYAML(t, actionFile, &a)
	var w struct {
		Name        string
		On          map[string]struct{ Types []string }
		Permissions map[string]string
		Jobs        map[string]struct {
			RunsOn string `yaml:"runs-on"`
			Steps  []step
		}
	}
	readYAML(t, "../.github/workflows/example-release.yml.example", &w)
	if !slices.Equal(w.On["release"].Types, []string{"published"}) || w.Permissions["contents"] != "write" {
		t.Errorf("%+v", w)
	}
	for _, s := range w.Jobs["manifest"].Steps {
		if !strings.Contains(s.Uses, "/.github/actions/publish@") {
			continue
		}
		for name := range s.With {
			if _, ok := a.Inputs[name]; !ok {
				t.Errorf("the action has no input %q", name)
			}
		}
		return
	}
	t.Error("the example does not use the action")
}
