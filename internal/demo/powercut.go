package demo

import (
	"bufio"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/godwit-ota/godwit/internal/jsontext"
)

// cuts is how many power cuts there are, each on a copy of the device.
const cuts = 12

// A window is when the steps of an update happened, from its start.
type window struct {
	build, switched, end time.Duration
}

// powerCuts kills updates with SIGKILL, some of them again while they recover.
//
// A process that is killed and a device without power have in common that no
// line of the program runs any more. That the disk may lose what was not synced
// comes on top in the field, and is what `make proof` is about.
func (s *story) powerCuts() error {
	if err := s.publish("v1.2.0", largeChange()); err != nil {
		return err
	}
	s.note("v1.2.0 is pushed: 132 files change")
	random := rand.New(rand.NewPCG(s.Seed, 1))
	w, err := s.rehearse()
	if err != nil {
		return err
	}
	s.note("On copies of the device `godwit update` is killed (SIGKILL) at %d moments,", cuts)
	s.note("%d of them between building and switching; every third `recover` is killed too:", cuts/2)
	tally := map[string]int{}
	twice := 0
	for i := range cuts {
		root := filepath.Join(s.dir, fmt.Sprintf("cut-%d", i))
		if err := copyTree(s.root(), root); err != nil {
			return err
		}
		at := time.Duration(random.Int64N(int64(w.end)))
		where := "anywhere"
		if i%2 == 1 {
			at = time.Duration(random.Int64N(int64(w.switched - w.build + time.Millisecond)))
			where = "after building began"
		}
		killed, err := s.kill(root, i%2 == 1, at, "update")
		if err != nil {
			return err
		}
		if i%3 == 0 {
			again, err := s.kill(root, false, time.Duration(random.Int64N(int64(12*time.Millisecond))), "recover")
			if err != nil {
				return err
			}
			if again {
				twice++
			}
		}
		if _, err := s.godwit(expect{args: []string{"recover"}, root: root, quiet: true}); err != nil {
			return err
		}
		v, err := s.which(root, "v1.1.0", "v1.2.0")
		if err != nil {
			return fmt.Errorf("power cut %d, %s after %s: %w", i+1, at, where, err)
		}
		if !killed {
			v = "finished before"
		}
		tally[v]++
		// And it can go on from there.
		if _, err := s.godwit(expect{args: []string{"update"}, root: root, quiet: true}); err != nil {
			return err
		}
		if _, err := s.which(root, "v1.2.0"); err != nil {
			return fmt.Errorf("the update after power cut %d: %w", i+1, err)
		}
		if err := os.RemoveAll(root); err != nil {
			return err
		}
	}
	s.note("after recovery: %d × exactly v1.1.0, %d × exactly v1.2.0, 0 × anything else", tally["v1.1.0"], tally["v1.2.0"])
	if n := tally["finished before"]; n > 0 {
		s.note("(%d × the update was over before the cut)", n)
	}
	s.note("each time the next `godwit update` brought v1.2.0")
	if _, err := s.godwit(expect{args: []string{"update"}}); err != nil {
		return err
	}
	if err := s.is("v1.2.0"); err != nil {
		return err
	}
	s.prove("%d power cuts, %d of them with a second one during recovery: always the old version or the new one", cuts-tally["finished before"], twice)
	return nil
}

// rehearse runs the update once, on a copy, to learn how long its steps take.
func (s *story) rehearse() (window, error) {
	root := filepath.Join(s.dir, "rehearsal")
	if err := copyTree(s.root(), root); err != nil {
		return window{}, err
	}
	defer os.RemoveAll(root)
	var w window
	cmd := s.command(root, "update", "--json", "--verbose")
	out, err := cmd.StdoutPipe()
	if err != nil {
		return w, err
	}
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return w, err
	}
	events(out, func(stage string) {
		switch {
		case stage == "build" && w.build == 0:
			w.build = time.Since(start)
		case stage == "switch" && w.switched == 0:
			w.switched = time.Since(start)
		}
	})
	if err := cmd.Wait(); err != nil {
		return w, fmt.Errorf("godwit update: %w", err)
	}
	w.end = time.Since(start)
	if w.build == 0 || w.switched <= w.build {
		return w, fmt.Errorf("the update did not say when it built and switched: %+v", w)
	}
	return w, nil
}

// events calls fn with the stage of each line.
func events(r io.Reader, fn func(stage string)) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		if v, err := jsontext.Parse(lines.Bytes()); err == nil {
			fn(v.Get("stage").Text)
		}
	}
	io.Copy(io.Discard, r)
}

// kill starts a command and kills it after a time, counted from its start or
// from when it begins to build. It reports whether the command was still alive.
func (s *story) kill(root string, fromBuild bool, after time.Duration, command string) (killed bool, err error) {
	cmd := s.command(root, command, "--json", "--verbose")
	out, err := cmd.StdoutPipe()
	if err != nil {
		return false, err
	}
	if err := cmd.Start(); err != nil {
		return false, err
	}
	var timer *time.Timer
	fire := func() { timer = time.AfterFunc(after, func() { cmd.Process.Kill() }) }
	if !fromBuild {
		fire()
	}
	events(out, func(stage string) {
		if timer == nil && stage == "build" {
			fire()
		}
	})
	err = cmd.Wait()
	if timer != nil {
		timer.Stop()
	}
	if s.ctx.Err() != nil {
		return false, s.ctx.Err()
	}
	if state := cmd.ProcessState; state.Exited() && state.ExitCode() != 0 {
		return false, fmt.Errorf("godwit %s: %w", command, err)
	}
	return !cmd.ProcessState.Exited(), nil
}

// copyTree copies a device.
func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, name)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		info, err := d.Info()
		if err != nil {
			return err
		}
		switch {
		case d.IsDir():
			return os.MkdirAll(target, 0o755)
		case info.Mode()&fs.ModeSymlink != 0:
			link, err := os.Readlink(name)
			if err != nil {
				return err
			}
			return os.Symlink(link, target)
		}
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		return os.WriteFile(target, b, info.Mode().Perm())
	})
}
