package cli_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/godwit-ota/godwit/internal/cli"
	"github.com/godwit-ota/godwit/internal/demo"
	"github.com/godwit-ota/godwit/internal/githost"
	"github.com/godwit-ota/godwit/internal/jsontext"
)

var update = flag.Bool("update", false, "rewrite golden texts and docs/commands.md")

func TestMain(m *testing.M) {
	// With the race detector a process waits a second before it ends; these tests
	// start hundreds.
	os.Setenv("GORACE", "atexit_sleep_ms=0")
	testscript.Main(m, map[string]func(){
		"godwit": func() {
			os.Exit(cli.Main(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Getenv, demo.Run))
		},
	})
}

// TestScripts runs the command line as people do: a real program, real
// repositories, a real Git host.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		UpdateScripts:       *update,
		RequireUniqueNames:  true,
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("GORACE", os.Getenv("GORACE"))
			env.Setenv("GIT_CONFIG_GLOBAL", os.DevNull)
			env.Setenv("GIT_CONFIG_NOSYSTEM", "1")
			for _, who := range []string{"AUTHOR", "COMMITTER"} {
				env.Setenv("GIT_"+who+"_NAME", "A U Thor")
				env.Setenv("GIT_"+who+"_EMAIL", "author@example.org")
				env.Setenv("GIT_"+who+"_DATE", "1700000000 +0000")
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"host": host, "exits": exits, "field": field, "filter": filter,
			"github": startGitHub, "publish": publish, "asked": asked, "limit": limit, "folder": folder,
		},
	})
}

// host serves the repositories below a folder and sets $HOST to the URL of
// that folder: host FOLDER.
func host(ts *testscript.TestScript, neg bool, args []string) {
	h, err := githost.Start(githost.Config{Root: ts.MkAbs(args[0])})
	ts.Check(err)
	ts.Defer(func() { h.Close() })
	ts.Setenv("HOST", strings.TrimSuffix(h.URL(""), "/"))
}

// exits runs godwit and checks its exit code: exits CODE ARGS….
func exits(ts *testscript.TestScript, neg bool, args []string) {
	err := ts.Exec("godwit", args[1:]...)
	code := 0
	if err != nil {
		exit, ok := err.(*exec.ExitError)
		if !ok {
			ts.Fatalf("%v", err)
		}
		code = exit.ExitCode()
	}
	if fmt.Sprint(code) != args[0] {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
}

// field checks a value in the last line of standard output that is JSON of a
// type: field TYPE PATH VALUE.
func field(ts *testscript.TestScript, neg bool, args []string) {
	var last jsontext.Value
	for line := range strings.Lines(ts.ReadFile("stdout")) {
		v, err := jsontext.Parse([]byte(line))
		if err != nil {
			ts.Fatalf("standard output holds a line that is not JSON: %v: %s", err, line)
		}
		if v.Get("type").Text == args[0] {
			last = v
		}
	}
	v := last
	for _, name := range strings.Split(args[1], ".") {
		v = v.Get(name)
	}
	if v.Text != args[2] {
		ts.Fatalf("%s.%s is %q, not %q", args[0], args[1], v.Text, args[2])
	}
}

// filter writes standard output or error to a file with what changes from run
// to run made equal: filter stdout FILE.
func filter(ts *testscript.TestScript, neg bool, args []string) {
	text := strings.ReplaceAll(ts.ReadFile(args[0]), ts.Getenv("WORK"), "$WORK")
	text = regexp.MustCompile(`\([0-9a-f]{10}\)`).ReplaceAllString(text, "(COMMIT)")
	if h := ts.Getenv("HOST"); h != "" {
		text = strings.ReplaceAll(text, h, "$HOST")
	}
	lines := strings.SplitAfter(text, "\n")
	for i, l := range lines {
		if at := strings.Index(l, "20"); at >= 0 && strings.Contains(l, " (just now)") {
			lines[i] = l[:at] + "DATE" + l[strings.Index(l, " (just now)"):]
		}
		if head, tail, ok := strings.Cut(l, "Free: "); ok {
			lines[i] = head + "Free: N" + tail[strings.LastIndex(tail, "."):]
		}
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(strings.Join(lines, "")), 0o644))
}

func run(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	code = cli.Main(t.Context(), args, strings.NewReader(""), &out, &err, func(string) string { return "" }, nil)
	return code, out.String(), err.String()
}

// The manual page must please the strictest reader there is.
func TestManualPage(t *testing.T) {
	code, page, problems := run(t, "man")
	if code != 0 || problems != "" {
		t.Fatal(code, problems)
	}
	groff, err := exec.LookPath("groff")
	if err != nil {
		t.Skip("groff is not here")
	}
	cmd := exec.Command(groff, "-man", "-Tascii", "-ww", "-P-cbou")
	cmd.Stdin = strings.NewReader(page)
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	text, err := cmd.Output()
	if err != nil || complaints.Len() > 0 {
		t.Errorf("%v\n%s", err, &complaints)
	}
	for _, want := range []string{"godwit update [--dry-run] [--force]", "-c, --config FILE", "godwit check; [ $? -eq 3 ] && godwit update", "EXIT STATUS"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}

// Completions are tried in the shells that are here, and at least read by sh's
// relatives.
func TestCompletions(t *testing.T) {
	for shell, check := range map[string][]string{
		"bash": {"bash", "-c", `source "$1"
			try() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _godwit; echo "${COMPREPLY[*]}"; }
			try godwit up; try godwit --root /x update --d; try godwit init --layout s; try godwit completion f; try godwit update --js; try godwit help rol`, "-"},
		"zsh":        {"zsh", "-n"},
		"fish":       {"fish", "-n"},
		"powershell": {"pwsh", "-NoProfile", "-File"},
	} {
		code, script, problems := run(t, "completion", shell)
		if code != 0 || problems != "" || len(script) < 1000 {
			t.Errorf("%s: %d, %s", shell, code, problems)
		}
		for _, word := range []string{"rollback", "dry-run", "in-place", "config"} {
			if shell == "powershell" && word == "in-place" {
				continue
			}
			if !strings.Contains(script, word) {
				t.Errorf("%s: %q is missing", shell, word)
			}
		}
		program, err := exec.LookPath(check[0])
		if err != nil {
			t.Logf("%s is not here", check[0])
			continue
		}
		name := filepath.Join(t.TempDir(), "completion")
		if err := os.WriteFile(name, []byte(script), 0o644); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(program, append(check[1:], name)...).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", shell, err, out)
		}
		if want := "update\n--dry-run\nslots\nfish\n--json\nrollback\n"; shell == "bash" && string(out) != want {
			t.Errorf("bash completes to\n%s", out)
		}
	}
}

// Reference in docs/commands.md is what help says.
func TestReferenceInDocs(t *testing.T) {
	const name, begin, end = "../../docs/commands.md", "<!-- help: generated by go test ./internal/cli -update -->\n", "<!-- end of help -->"
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(b), begin)
	_, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatal(name + " lacks the marks of its generated part")
	}
	var ref strings.Builder
	_, help, _ := run(t, "--help")
	fmt.Fprintf(&ref, "\n```text\n%s```\n", help)
	_, list, _ := strings.Cut(help, "Commands:\n")
	list, _, _ = strings.Cut(list, "\n\n")
	for line := range strings.Lines(list) {
		verb := strings.Fields(line)[0]
		_, text, _ := run(t, verb, "--help")
		// Global flags are above, once.
		before, after, _ := strings.Cut(text, "\nGlobal flags:\n")
		_, after, _ = strings.Cut(after, "\nExamples:")
		fmt.Fprintf(&ref, "\n## godwit %s\n\n```text\n%s\nExamples:%s```\n", verb, before, after)
	}
	want := head + begin + ref.String() + "\n" + end + tail
	if *update {
		if err := os.WriteFile(name, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if string(b) != want {
		t.Errorf("%s is not what the help says: run go test ./internal/cli -update", name)
	}
}

// A command that is told to stop says so, and a context that ends is no panic.
func TestInterrupted(t *testing.T) {
	dir := t.TempDir()
	cfg := filepath.Join(dir, "godwit.toml")
	os.WriteFile(cfg, []byte("[source]\nurl='/nowhere'\n[trust]\nmode='none'\n[tree]\nroot='root'\n"), 0o600)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var stderr bytes.Buffer
	code := cli.Main(ctx, []string{"update", "--config", cfg}, strings.NewReader(""), io.Discard, &stderr, func(string) string { return "" }, nil)
	if code == 0 {
		t.Errorf("exit code 0: %s", &stderr)
	}
}
