package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"github.com/godwit-ota/godwit/proof/powercut/wire"
)

// chain is how many cuts one disk goes through before it is formatted again.
const chain = 25

// A cutter takes one disk through a chain of lives, each of which ends with a
// power cut.
type cutter struct {
	machine *machine
	disk    *Disk
	tally   *tally
	rand    *rand.Rand
	work    time.Duration
	keep    string // folder for disks on which something was found
	talk    bool
	mended  string // what fsck said after the last cut
}

func (c *cutter) run(cuts int) error {
	scratch, err := os.MkdirTemp("", "powercut")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	socket := filepath.Join(scratch, "disk")
	l, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	defer l.Close()
	go c.disk.Serve(l)

	if err := c.format(scratch); err != nil {
		return err
	}
	judge := newJudge()
	for range cuts {
		if c.tally.setting.damage != "" && c.tally.found() {
			return nil // the planted damage was seen, which is all it is for
		}
		whole, err := c.live(scratch, socket, judge)
		if err != nil {
			return err
		}
		if !whole {
			if err := c.format(scratch); err != nil {
				return err
			}
			judge = newJudge()
		}
	}
	return nil
}

// live wakes the machine, cuts its power at a moment chosen by lot, and
// decides what becomes of the disk. whole is false when nothing more can be
// learned from this disk.
func (c *cutter) live(scratch, socket string, judge *judge) (whole bool, err error) {
	s := c.tally.setting
	c.disk.PowerOn()
	damage, repair := "sound", "norepair"
	if s.damage != "" {
		damage = s.damage
	}
	if judge.hurt || s.fs == "vfat" {
		// Where fsck may have cut files short, a device looks at all of them.
		repair = "repair"
	}
	lines, stop, err := c.machine.wake(scratch, socket, wire.Task{
		FileSystem: s.fs,
		Options:    map[string]string{"vfat": "errors=continue"}[s.fs],
		Args:       []string{"/data", s.fs, s.layout, damage, repair, fmt.Sprint(c.rand.Uint64() >> 1)},
	})
	if err != nil {
		return false, err
	}
	defer stop()
	dead := c.disk.Dead()
	var clock *time.Timer
	go func() { <-dead; stop() }()
	defer func() {
		c.disk.Cut()
		if clock != nil {
			clock.Stop()
		}
	}()
	// Half of the cuts come at a moment, half at a request to the disk; and one
	// in four as early as in the mending of what the last cut left.
	arm := func(requests int, longest time.Duration) {
		if c.rand.IntN(2) == 0 {
			c.disk.Arm(1 + c.rand.IntN(requests))
		} else {
			longest = time.Duration(c.rand.Int64N(int64(longest)))
		}
		clock = time.AfterFunc(longest, c.disk.Cut)
	}
	early := c.rand.IntN(4) == 0

	checked := false
	for {
		word, text := next(lines)
		if c.talk {
			fmt.Printf("[%s] %s %s\n", s, word, text)
		}
		switch word {
		case "": // the machine is gone
			if !c.dead() {
				return false, errors.New("the machine ended by itself")
			}
			fate := Fate(c.rand.IntN(int(fates)))
			if c.rand.IntN(2) == 0 {
				fate = Scattered
			}
			lost := c.disk.Lose(fate, c.rand)
			c.tally.cut(fate, lost, checked)
			if s.fs == "vfat" {
				if err := c.fsck(scratch); err != nil {
					return false, err
				}
			}
			return true, nil
		case wire.Fatal:
			return false, errors.New(text)
		case wire.Unmountable:
			if c.tally.unmountable(text) {
				c.save("unmountable")
			}
			return false, nil
		case wire.Mounted:
			if early {
				arm(20, c.work/10)
			}
		case wire.Did:
			c.tally.did(text)
		default:
			if wrong := judge.hear(word, text); wrong != "" {
				if c.tally.wrong(wrong) {
					c.save("wrong")
				}
				return false, nil
			}
			if word == wire.Check {
				checked = true
				c.tally.checked()
				if clock == nil {
					arm(400, c.work)
				}
			}
		}
	}
}

func (c *cutter) dead() bool {
	select {
	case <-c.disk.Dead():
		return true
	default:
		return false
	}
}

// save keeps the disk for whoever wants to know what happened.
func (c *cutter) save(what string) {
	name := filepath.Join(c.keep, fmt.Sprintf("%s-%s-%s.img", what, c.tally.setting.fs, c.tally.setting.layout))
	if err := os.WriteFile(name, c.disk.media, 0o644); err == nil {
		fmt.Println("the disk is kept in", name)
		if c.mended != "" && what == "wrong" {
			fmt.Printf("fsck had said: %.1000s\n", c.mended)
		}
	}
}

// fsck does to a FAT disk what every distribution does to one at boot. Other
// file systems mend themselves when they are mounted.
func (c *cutter) fsck(scratch string) error {
	file := filepath.Join(scratch, "image")
	if err := os.WriteFile(file, c.disk.media, 0o644); err != nil {
		return err
	}
	c.mended = ""
	for range 3 { // what one pass cuts short, the next one removes
		out, err := exec.Command("fsck.vfat", "-a", "-w", file).CombinedOutput()
		c.mended += string(out)
		var exit *exec.ExitError
		if err == nil {
			break
		}
		if !errors.As(err, &exit) || exit.ExitCode() > 1 { // 1: errors were mended
			return fmt.Errorf("fsck.vfat: %w\n%s", err, out)
		}
	}
	b, err := os.ReadFile(file)
	if err == nil {
		c.disk.Format(b)
	}
	return err
}

var empty struct {
	sync.Mutex
	images map[string][]byte
}

// format puts an empty file system onto the disk.
func (c *cutter) format(scratch string) error {
	empty.Lock()
	defer empty.Unlock()
	fs := c.tally.setting.fs
	if empty.images[fs] == nil {
		file := filepath.Join(scratch, "image")
		if err := os.WriteFile(file, nil, 0o644); err != nil {
			return err
		}
		if err := os.Truncate(file, c.disk.Size()); err != nil {
			return err
		}
		force := map[string][]string{"ext4": {"-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0"}, "btrfs": {"-q", "-f"}, "f2fs": {"-q", "-f"}}[fs]
		if _, err := run("", "mkfs."+fs, append(force, file)...); err != nil {
			return err
		}
		b, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if empty.images == nil {
			empty.images = map[string][]byte{}
		}
		empty.images[fs] = b
	}
	c.disk.Format(empty.images[fs])
	return nil
}
