package agent

import (
	"context"
	"errors"
	"github.com/godwit-ota/godwit"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/godwit-ota/godwit/vfs"
)

// Trigger is the file in the state folder that wakes the agent: it may be empty,
// so that `touch` makes one, or hold lines of "override GATE" and "force". The agent
// removes it when it has read it.
const Trigger = "wake"

// maxTrigger bounds what of it is read, in bytes.
const maxTrigger = 4 << 10

// Pull writes the trigger.
func Pull(fsys vfs.FS, state string, a Ask) error {
	var b strings.Builder
	for _, g := range a.Override {
		b.WriteString("override " + g + "\n")
	}
	if a.Force {
		b.WriteString("force\n")
	}
	// Nothing is synced: the agent may take it away as soon as it has its name.
	name := path.Join(state, Trigger)
	f, err := fsys.Open(name+".new", vfs.Write)
	if err != nil {
		return err
	}
	err = f.Truncate(0)
	if err == nil {
		_, err = f.Write([]byte(b.String()))
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	return fsys.Rename(name+".new", name)
}

// ParseTrigger reads what stands in a trigger. Lines that mean nothing are left out.
func ParseTrigger(text string) (a Ask) {
	for line := range strings.Lines(text) {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch rest = strings.TrimSpace(rest); {
		case word == "force":
			a.Force = true
		case word == "override" && rest != "":
			a.Override = append(a.Override, rest)
		}
	}
	return a
}

// takeTrigger reads the trigger in the folder dir and removes it. What it asks for
// beyond a check counts only if it is root's, or of the user that the agent runs as: an application
// that may write to its own tree is not to force what its owner holds back.
func takeTrigger(dir string) (a Ask, pulled bool, err error) {
	name := filepath.Join(dir, Trigger)
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return a, false, nil
	}
	if err == nil {
		var info os.FileInfo
		if info, err = f.Stat(); err == nil && info.Mode().IsRegular() {
			var b []byte
			b, err = io.ReadAll(io.LimitReader(f, maxTrigger))
			a = ParseTrigger(string(b))
			if s, ok := info.Sys().(*syscall.Stat_t); err == nil && (a.Force || len(a.Override) > 0) && (!ok || s.Uid != 0 && int(s.Uid) != os.Geteuid()) {
				a, err = Ask{}, foreign
			}
		}
		f.Close()
	}
	if e := os.Remove(name); e != nil {
		return a, false, e // it would be pulled for ever
	}
	return a, true, err
}

var foreign = godwit.Fail(godwit.CodeRefused, nil, "who wrote the file "+Trigger+" may have the agent check, and no more", "overrides are for root, and for the user that the agent runs as")

// lookEvery is how often the trigger is looked for where the kernel does not tell.
const lookEvery = time.Minute

// watchTrigger wakes l when the trigger in the folder dir is there, until ctx
// ends.
func watchTrigger(ctx context.Context, l *Loop, dir string) {
	look := func() {
		a, pulled, err := takeTrigger(dir)
		if err != nil {
			l.p.Log.Fail(Warning, "trigger", err)
		}
		if pulled {
			l.p.Log.Say(Info, "woken by the file "+Trigger)
			l.Wake(a)
		}
	}
	changes := changesIn(ctx, dir)
	look() // from now on nothing is missed
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case _, ok := <-changes:
			if !ok {
				changes = nil
				tick.Reset(lookEvery)
				continue
			}
			look()
		case <-tick.C:
			if changes != nil {
				tick.Stop() // the kernel tells
				continue
			}
			look()
		}
	}
}

// changesIn tells when files appear in a folder, whole: inotify(7). What was only made
// will be closed by who writes it. The channel is closed where that cannot be had any more.
func changesIn(ctx context.Context, dir string) <-chan struct{} {
	c := make(chan struct{}, 1)
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		close(c)
		return c
	}
	if _, err := unix.InotifyAddWatch(fd, dir, unix.IN_MOVED_TO|unix.IN_CLOSE_WRITE|unix.IN_MOVE_SELF); err != nil {
		unix.Close(fd)
		close(c)
		return c
	}
	go readChanges(ctx, fd, c)
	return c
}
