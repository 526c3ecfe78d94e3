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
	"time"

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

// ghScript is the part of GitHub's program that the action uses, for a release
// whose assets lie in a folder.
const ghScript = `#!/bin/sh
case "$2" in
view) ls "$GH_ASSETS" ;;
download) cp "$GH_ASSETS/$5" "$7" ;;
upload)
	echo "$@" >>"$GH_LOG"
	for f in "$@"; do if [ -f "$f" ]; then cp "$f" "$GH_ASSETS"; fi; done ;;
*) exit 2 ;;
esac
`

func mkdir(t *testing.T, name string) {
	t.Helper()
	if err := os.Mkdir(name, 0o755); err != nil {
		t.Fatal(err)
	}
}

// tools is a folder to look for programs in where Go is not.
func tools(t *testing.T, work string) string {
	t.Helper()
	folder := filepath.Join(work, "tools")
	mkdir(t, folder)
	bash, err := exec.LookPath("bash")
	if err == nil {
		err = os.Symlink(bash, filepath.Join(folder, "bash"))
	}
	if err != nil {
		t.Fatal(err)
	}
	return folder
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
	write(t, bin, map[string]string{"gh": ghScript})
	assets := filepath.Join(work, "gh-assets")
	mkdir(t, assets)
	git(t, repo, "init", "-q")
	git(t, repo, "add", ".")
	git(t, repo, "commit", "-qm", "one")
	// On the remote the tag is annotated; the checkout has its commit in the place.
	t.Setenv("GIT_COMMITTER_DATE", "2026-01-02T03:04:05Z")
	git(t, repo, "tag", "-a", "v1.0.0", "-m", "First\n\nProduct: station")
	git(t, work, "clone", "-q", "--bare", repo, "origin.git")
	git(t, repo, "remote", "add", "origin", filepath.Join(work, "origin.git"))
	git(t, repo, "tag", "-f", "v1.0.0", "v1.0.0^{commit}")
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
		"github.action_path": filepath.Join(source, ".github/actions/publish"), "github.repository": "acme/station", "github.ref_name": "v1.0.0", "github.token": "t0ken", "github.action_ref": "v1.2.3",
	}
	given := map[string]string{"key": string(private), "options": "--exclude=tests\n", "channel-options": "--rollout=10%\n\n--wave=site=lab\n", "folder": filepath.Join(work, "public"), "channel": "stable"}
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
	try := func(s step) (string, error) {
		t.Helper()
		if s.Shell != "bash" || s.Name == "" {
			t.Errorf("%+v", s)
		}
		cmd := exec.Command("bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", s.Run)
		cmd.Dir = repo
		cmd.Env = []string{"HOME=" + work, "GH_ASSETS=" + assets, "GH_LOG=" + filepath.Join(work, "gh.log"), "PATH=" + path, "GITHUB_OUTPUT=" + outputs, "GITHUB_PATH=" + paths, "RUNNER_TEMP=" + work,
			"GOFLAGS=" + os.Getenv("GOFLAGS"), "GOCACHE=" + goEnv(t, "GOCACHE"), "GOMODCACHE=" + goEnv(t, "GOMODCACHE"), "GOPROXY=" + goEnv(t, "GOPROXY")}
		for name, v := range s.Env {
			cmd.Env = append(cmd.Env, name+"="+expand(t, v, values))
		}
		out, err := cmd.CombinedOutput()
		if err != nil {
			return string(out), err
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
		return string(out), nil
	}
	run := func(s step) {
		t.Helper()
		if out, err := try(s); err != nil {
			t.Fatalf("%s: %v\n%s", s.Name, err, out)
		}
	}
	refuses := func(s step, what string) {
		t.Helper()
		if out, err := try(s); err == nil || !strings.Contains(out, "::error::") || !strings.Contains(out, what) {
			t.Errorf("%s: %v\n%s", s.Name, err, out)
		}
	}
	build, sign, attach := a.Runs.Steps[0], a.Runs.Steps[1], a.Runs.Steps[2]
	withGo := path
	path = bin + ":" + tools(t, work)
	refuses(build, "setup-go")
	path = withGo
	run(build)
	if out, err := exec.Command(filepath.Join(work, "godwit-bin", "godwit"), "version").Output(); err != nil || !strings.Contains(string(out), "v1.2.3") {
		t.Errorf("%s, %v", out, err)
	}
	// Without the folder, each state of the channel would be the first.
	refuses(sign, "is not there")
	mkdir(t, values["inputs.folder"])
	run(sign)
	run(attach)

	made := values["steps.publish.outputs.manifest"]
	if paths, _ := listing(t, made); !slices.Equal(paths, []string{"app/main.py"}) {
		t.Errorf("%q", paths)
	}
	if h := head(t, made); h.Version != "v1.0.0" || h.Product != "station" || h.Generated.Format(time.RFC3339) != "2026-01-02T03:04:05Z" || len(h.Commit) != 40 {
		t.Errorf("%+v", h)
	}
	log, err := os.ReadFile(filepath.Join(work, "gh.log"))
	if want := "release upload v1.0.0 " + made + ".sig " + made + " --clobber\n"; err != nil || string(log) != want {
		t.Errorf("gh was asked %q, %v", log, err)
	}
	public := every(t, filepath.Join(work, "public"))
	if !strings.Contains(public["channel.json"], `"rollout": 10`) || public["channel.json.sig"] == "" || public["releases/v1.0.0/manifest.json"] == "" {
		t.Errorf("%q", slices.Sorted(maps.Keys(public)))
	}
	for name, text := range every(t, work) {
		if strings.Contains(text, string(private[50:200])) && name != "key" {
			t.Errorf("the key is left in %s", name)
		}
	}

	// A second run, later, makes the same and attaches it once. What differs is not
	// attached, and what is there stays.
	first := every(t, assets)
	values["inputs.folder"] = ""
	again := func(options string) {
		values["inputs.options"] = options
		os.Remove(outputs)
		run(sign)
		os.Remove(filepath.Join(work, "gh.log"))
	}
	again("--exclude=tests")
	run(attach)
	if _, err := os.Stat(filepath.Join(work, "gh.log")); err == nil || len(first) != 2 {
		t.Errorf("attached again, or not before: %q", slices.Sorted(maps.Keys(first)))
	}
	again("")
	refuses(attach, "new version")
	if !maps.Equal(first, every(t, assets)) {
		t.Error("what was attached has changed")
	}
	// The signature did not come through the first time.
	os.Remove(filepath.Join(assets, "manifest.json.sig"))
	again("--exclude=tests")
	run(attach)
	if !maps.Equal(first, every(t, assets)) {
		t.Error("the signature is not attached")
	}

	// No key at all is most likely a mistake.
	values["inputs.key"] = ""
	refuses(sign, "unsigned: true")
	values["inputs.unsigned"] = "true"
	run(sign)
	values["inputs.unsigned"] = "false"

	// With a shared secret and no key.
	os.RemoveAll(assets)
	mkdir(t, assets)
	values["inputs.manifest-key"] = "geheim"
	os.Remove(outputs)
	run(sign)
	b, err := os.ReadFile(values["steps.publish.outputs.manifest"])
	if err != nil {
		t.Fatal(err)
	}
	if err := manifest.CheckHMAC(bytes.NewReader(b), int64(len(b)), []byte("geheim")); err != nil {
		t.Error(err)
	}
	os.Remove(filepath.Join(work, "gh.log"))
	run(attach)
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
		On          struct{ Push struct{ Tags []string } }
		Permissions map[string]string
		Jobs        map[string]struct {
			RunsOn string `yaml:"runs-on"`
			Steps  []step
		}
	}
	readYAML(t, "../.github/workflows/example-release.yml.example", &w)
	if !slices.Equal(w.On.Push.Tags, []string{"v*"}) || w.Permissions["contents"] != "write" {
		t.Errorf("%+v", w)
	}
	byCommit := regexp.MustCompile(`^actions/[a-z-]+@[0-9a-f]{40}$`)
	draft := false
	for _, s := range w.Jobs["manifest"].Steps {
		draft = draft || strings.Contains(s.Run, "gh release create \"$TAG\" --draft")
		if !strings.Contains(s.Uses, "/.github/actions/publish@") {
			if s.Uses != "" && !byCommit.MatchString(s.Uses) {
				t.Errorf("%s is not named by its commit", s.Uses)
			}
			continue
		}
		if !draft {
			t.Error("the release is public before its manifest is there")
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
