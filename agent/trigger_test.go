package agent

import (
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/godwit-ota/godwit/vfs"
)

// The trigger wakes the agent soon, with what it asks for, however it comes: by Pull,
// by touch, and when it was there before.
func TestTrigger(t *testing.T) {
	dir := t.TempDir()
	mine, err := vfs.OS(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer mine.Close()
	state := filepath.Join(dir, ".godwit")
	if err := os.Mkdir(state, 0o755); err != nil {
		t.Fatal(err)
	}
	touch := func() {
		if err := os.WriteFile(filepath.Join(state, Trigger), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	touch()
	l := &Loop{asks: make(chan Ask, 8)}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { watchTrigger(ctx, l, state); close(ended) }()
	wait := func(want Ask) {
		t.Helper()
		select {
		case got := <-l.asks:
			if got.Force != want.Force || !slices.Equal(got.Override, want.Override) {
				t.Errorf("%+v, want %+v", got, want)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("nobody wakes the agent")
		}
	}
	wait(Ask{})
	time.Sleep(50 * time.Millisecond)
	for range 50 {
		a := Ask{Override: []string{"battery", "window"}, Force: true}
		if err := Pull(mine, ".godwit", a); err != nil {
			t.Fatal(err)
		}
		wait(a)
	}
	touch()
	wait(Ask{})
	if _, err := os.Stat(filepath.Join(state, Trigger)); !os.IsNotExist(err) {
		t.Error("the trigger is there still:", err)
	}
	cancel()
	<-ended
}

// A trigger is not taken while somebody writes it, and a folder that another one takes the
// place of is seen to be gone.
func TestChanges(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	changes := changesIn(ctx, dir)
	f, err := os.Create(filepath.Join(dir, Trigger))
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-changes:
		t.Error("a file that is not whole")
	case <-time.After(50 * time.Millisecond):
	}
	f.WriteString("override battery\n")
	f.Close()
	more := func(want bool) {
		t.Helper()
		select {
		case _, ok := <-changes:
			if ok != want {
				t.Errorf("%v, want %v", ok, want)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("nothing is told")
		}
	}
	more(true)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	more(false)
	overflow := make([]byte, 16)
	binary.NativeEndian.PutUint32(overflow[4:], 0x4000) // IN_Q_OVERFLOW
	if !mentions(overflow, Trigger) {
		t.Error("events that were lost are none")
	}
}

// An application that owns its tree wakes the agent, and forces nothing.
func TestTriggerOfOthers(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	dir := t.TempDir()
	name := filepath.Join(dir, Trigger)
	for owner, forced := range map[int]bool{0: true, 65534: false} {
		if err := os.WriteFile(name, []byte("force\noverride battery\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(name, owner, -1); err != nil {
			t.Fatal(err)
		}
		a, pulled, err := takeTrigger(dir)
		if !pulled || a.Force != forced || (len(a.Override) > 0) != forced || (err == nil) != forced {
			t.Errorf("of %d: %+v %v %v", owner, a, pulled, err)
		}
	}
	// What is no file wakes, and is gone.
	if err := os.Symlink("/etc/passwd", name); err != nil {
		t.Fatal(err)
	}
	if a, _, _ := takeTrigger(dir); a.Force || a.Override != nil {
		t.Errorf("%+v", a)
	}
	if _, err := os.Lstat(name); !os.IsNotExist(err) {
		t.Error(err)
	}
}

func TestParseTrigger(t *testing.T) {
	for text, want := range map[string]Ask{
		"":                   {},
		"override battery\n": {Override: []string{"battery"}},
		" override  window \r\nforce\nnonsense\n": {Override: []string{"window"}, Force: true},
		"override\noverride \n":                   {},
	} {
		if got := ParseTrigger(text); got.Force != want.Force || !slices.Equal(got.Override, want.Override) {
			t.Errorf("%q: %+v", text, got)
		}
	}
}

func FuzzTrigger(f *testing.F) {
	f.Add("override battery\nforce\n")
	f.Fuzz(func(t *testing.T, text string) {
		for _, g := range ParseTrigger(text).Override {
			if g == "" {
				t.Error("a gate without a name")
			}
		}
	})
}
