// Command powercut proves that real power cuts cannot hurt: a Linux guest with
// Debian's kernel installs version after version with Godwit's own store and
// engine, on a disk that forgets what was not flushed, and its power is cut at
// any moment, hundreds of times. After each cut the tree has to be exactly the
// old or exactly the new version, with a record that agrees. It leaves the
// judgement of file systems to their authors: they are real, and so are their
// mount options.
//
// Run it as root or not; it needs qemu-system-x86_64, the mkfs of each file
// system, and apt-get to fetch a kernel once.
package main

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"time"
)

// diskMiB is the size of every disk: enough for btrfs, which needs the most.
const diskMiB = 128

// A setting is what is proven together.
type setting struct {
	fs, layout string
	damage     string // planted, so that the proof has to find something
}

func (s setting) String() string {
	if s.damage != "" {
		return s.fs + " " + s.layout + " " + s.damage
	}
	return s.fs + " " + s.layout
}

var settings = []setting{
	{fs: "ext4", layout: "slots"},
	{fs: "btrfs", layout: "slots"},
	{fs: "f2fs", layout: "slots"},
	{fs: "ext4", layout: "in-place"},
	{fs: "btrfs", layout: "in-place"},
	{fs: "f2fs", layout: "in-place"},
	{fs: "vfat", layout: "in-place"},
}

// planted is damage that must be found, or the proof proves nothing.
var planted = []setting{
	{fs: "ext4", layout: "slots", damage: "nosync"},
	{fs: "vfat", layout: "in-place", damage: "nosync"},
}

// plantedFinely is damage that takes more cuts to find: without the one syncfs
// that stands for thousands of fsyncs, and, on FAT, without the fsync behind it.
var plantedFinely = []setting{
	{fs: "btrfs", layout: "in-place", damage: "nosyncfs"},
	{fs: "vfat", layout: "in-place", damage: "halfsync"},
}

// patient is how many cuts planted damage may take to be found.
const patient = 150

func main() {
	var (
		out   = flag.String("out", "out/powercut", "folder for the kernel, the guest and its snapshot")
		cuts  = flag.Int("cuts", 100, "power cuts for each file system and layout")
		quick = flag.Bool("quick", false, "a few cuts only, for every change")
		only  = flag.String("only", "", `one setting, such as "ext4 slots"`)
		jobs  = flag.Int("jobs", runtime.NumCPU(), "machines at a time")
		seed  = flag.Uint64("seed", uint64(time.Now().UnixNano()), "of all choices; the guest's timing is its own")
		work  = flag.Duration("work", 3*time.Second, "longest time between a check and the next cut")
		accel = flag.String("accel", "tcg,thread=single", "QEMU accelerator; kvm where it works")
		talk  = flag.Bool("v", false, "print everything that the guests say")
	)
	flag.Parse()
	if *quick {
		*cuts = 6
	}
	ok, err := prove(*out, *cuts, *quick, *only, *jobs, *seed, *work, *accel, *talk)
	if err != nil {
		fmt.Fprintln(os.Stderr, "powercut:", err)
	}
	if !ok || err != nil {
		os.Exit(1)
	}
}

func prove(out string, cuts int, quick bool, only string, jobs int, seed uint64, work time.Duration, accel string, talk bool) (bool, error) {
	began := time.Now()
	out, err := filepath.Abs(out)
	if err != nil {
		return false, err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return false, err
	}
	var chosen []setting
	all := append(settings[:len(settings):len(settings)], planted...)
	if !quick {
		all = append(all, plantedFinely...)
	}
	for _, s := range all {
		if only != "" && only != s.String() {
			continue
		}
		if _, err := exec.LookPath("mkfs." + s.fs); err != nil {
			fmt.Printf("SKIPPED %s: no mkfs.%s here\n", s, s.fs)
			continue
		}
		chosen = append(chosen, s)
	}
	if len(chosen) == 0 {
		return false, errors.New("nothing to prove")
	}
	g, err := buildGuest(out)
	if err != nil {
		return false, err
	}
	m := &machine{guest: g, accel: accel, memory: 192}
	if err := m.boot(out, diskMiB<<20); err != nil {
		return false, err
	}
	fmt.Printf("guest ready after %v; seed %d\n", time.Since(began).Round(time.Second), seed)

	// Work is handed out in chains of cuts on one disk.
	type job struct {
		tally *tally
		cuts  int
		seed  uint64
	}
	var queue []job
	tallies := make([]*tally, len(chosen))
	for i, s := range chosen {
		tallies[i] = &tally{setting: s}
	}
	for done := 0; done < max(cuts, patient); done += chain {
		for _, t := range tallies {
			n := cuts
			if t.setting.damage != "" {
				n = patient
			}
			if left := min(n-done, chain); left > 0 {
				queue = append(queue, job{t, left, seed + uint64(len(queue))})
			}
		}
	}
	todo := make(chan job)
	var group sync.WaitGroup
	for range min(jobs, len(queue)) {
		group.Go(func() {
			disk := NewDisk(make([]byte, diskMiB<<20))
			for j := range todo {
				c := &cutter{machine: m, disk: disk, tally: j.tally, work: work, talk: talk, keep: out,
					rand: rand.New(rand.NewPCG(j.seed, 0))}
				if err := c.run(j.cuts); err != nil {
					j.tally.fail(err)
				}
			}
		})
	}
	for _, j := range queue {
		todo <- j
	}
	close(todo)
	group.Wait()
	ok := report(os.Stdout, tallies)
	fmt.Printf("%v in all\n", time.Since(began).Round(time.Second))
	return ok, nil
}
