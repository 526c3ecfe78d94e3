package status

import (
	"os"
	"path/filepath"
	"testing"
)

// Where anybody may make folders, what the agent does is written to none of somebody
// else's, and over nothing that a link leads to.
func TestLiveGoesNowhereElse(t *testing.T) {
	tmp := t.TempDir()
	if err := os.Chmod(tmp, 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	victim := filepath.Join(t.TempDir(), "victim")
	if err := os.WriteFile(victim, []byte("precious"), 0o644); err != nil {
		t.Fatal(err)
	}
	precious := func(what string) {
		t.Helper()
		if b, err := os.ReadFile(victim); err != nil || string(b) != "precious" {
			t.Errorf("%s: %q, %v", what, b, err)
		}
	}
	mine := filepath.Join(tmp, "mine", "a.json")
	if err := os.Mkdir(filepath.Dir(mine), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(victim, mine+".new"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := (Live{PID: os.Getpid(), Doing: "waiting"}).Write(mine); err != nil {
			t.Error(err)
		}
	}
	if l, ok := ReadLive(mine); !ok || l.Doing != "waiting" {
		t.Errorf("%+v", l)
	}
	precious("a link in the way")
	linked := filepath.Join(tmp, "linked")
	if err := os.Symlink(filepath.Dir(victim), linked); err != nil {
		t.Fatal(err)
	}
	if err := (Live{}).Write(filepath.Join(linked, "victim")); err == nil {
		t.Error("it was written to a folder that a link leads to")
	}
	precious("a link to a folder")
	theirs := filepath.Join(tmp, "theirs")
	if err := os.Mkdir(theirs, 0o777); err != nil {
		t.Fatal(err)
	}
	if os.Chown(theirs, 65534, -1) != nil {
		t.Skip("this needs root")
	}
	if err := (Live{}).Write(filepath.Join(theirs, "a.json")); err == nil {
		t.Error("it was written to a folder of somebody else's")
	}
}
