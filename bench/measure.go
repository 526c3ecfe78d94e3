package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"time"
)

// A sample is what one run of a program cost.
type sample struct {
	RSS      int64         // largest resident set of any of its processes, bytes
	Wall     time.Duration // from start to end
	In, Out  int64         // bytes from and to the host, headers and TLS included
	Requests int64
}

// measured is the first argument that makes this program run another one and
// report on it. Linux counts the memory of the process that forked into the
// peak of its child, so the one that forks has to be small: what this process
// has read and parsed must not show up in anybody's figures.
const measured = "run-and-measure"

// runMeasured is that small process: it runs args and prints a sample.
func runMeasured(args []string) int {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	began := time.Now()
	err := cmd.Run()
	s := sample{Wall: time.Since(began)}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	s.RSS = cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss << 10
	json.NewEncoder(os.Stdout).Encode(s)
	return 0
}

// measure runs a command on a device and says what it cost.
func (d *device) measure(c command) (sample, error) {
	in0, out0 := d.host.Traffic()
	requests0 := d.host.Requests()
	s, err := measureCommand(c.dir, append(gitEnv(), c.env...), c.args)
	if err != nil {
		return s, err
	}
	in1, out1 := d.host.Traffic()
	s.In, s.Out, s.Requests = in1-in0, out1-out0, d.host.Requests()-requests0
	return s, nil
}

// measureCommand runs a command by way of the small process.
func measureCommand(dir string, env, args []string) (s sample, err error) {
	self, err := os.Executable()
	if err != nil {
		return s, err
	}
	cmd := exec.Command(self, append([]string{measured}, args...)...)
	cmd.Dir, cmd.Env = dir, env
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		return s, fmt.Errorf("%q: %w\n%s", args, err, &complaint)
	}
	if err := json.Unmarshal(out.Bytes(), &s); err != nil {
		return s, fmt.Errorf("%q: %w", out.String(), err)
	}
	return s, nil
}

// median is the middle sample by what of gives.
func median[T any, N int64 | float64 | time.Duration](all []T, of func(T) N) N {
	var n []N
	for _, s := range all {
		n = append(n, of(s))
	}
	slices.Sort(n)
	return n[len(n)/2]
}
