package cli_test

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// changing is what differs from run to run, in a form that tells nothing.
var changing = []struct {
	what *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`\([0-9a-f]{10}\)`), "(…)"},
	{regexp.MustCompile(`SHA256:[A-Za-z0-9+/]+`), "SHA256:…"},
	{regexp.MustCompile(`ssh-ed25519 \S+.*`), "ssh-ed25519 …"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d)?(Z| UTC)?`), "…"},
	{regexp.MustCompile(`received [\d.]+ k?B, sent [\d.]+ k?B`), "received … sent …"},
}

// The guide is followed literally: its blocks of shell are run one after the
// other in an empty home, and each line that it shows must be printed, in that
// order, by the block before it.
func TestGuide(t *testing.T) {
	for _, program := range []string{"git", "ssh-keygen"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip("needs " + program)
		}
	}
	page, err := os.ReadFile("../../docs/getting-started-signed.md")
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	var env []string
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); name != "HOME" && !strings.HasPrefix(name, "GIT_") && !strings.HasPrefix(name, "GODWIT_") && name != "SSH_AUTH_SOCK" {
			env = append(env, v)
		}
	}
	env = append(env, "HOME="+home, "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null")
	var printed string
	ran, shown := 0, 0
	for _, block := range regexp.MustCompile("(?ms)^```(sh|text)\n(.*?)^```$").FindAllStringSubmatch(string(page), -1) {
		if block[1] == "sh" {
			ran++
			cmd := exec.Command("sh", "-eu", "-c", block[2])
			cmd.Dir, cmd.Env = home, env
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s\nprints\n%s", err, block[2], out)
			}
			printed = strings.ReplaceAll(string(out), home, "~")
			for _, c := range changing {
				printed = c.what.ReplaceAllString(printed, c.with)
			}
			continue
		}
		rest := printed
		for line := range strings.Lines(block[2]) {
			shown++
			want := strings.ReplaceAll(regexp.QuoteMeta(strings.TrimSuffix(line, "\n")), "…", ".*")
			at := regexp.MustCompile(`(?m)^` + want + `.*$`).FindStringIndex(rest)
			if at == nil {
				t.Fatalf("the guide shows\n%sand what was printed is\n%s", line, printed)
			}
			rest = rest[at[1]:]
		}
	}
	if ran < 10 || shown < 20 {
		t.Errorf("only %d blocks were run, and %d lines compared", ran, shown)
	}
}
