//go:build linux

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// A device says how devices are set up, and watched.
type device struct {
	every time.Duration
	limit time.Duration
	talk  bool
	often int // tries of a small update
}

// A result is what came of a run.
type result struct {
	run
	err      error
	took     time.Duration // from the start of the agent to the confirmation
	attempts int           // checks of the agent
	cuts     int
	up, down traffic // on the link
	payload  int64   // as the device counts: of HTTP and what is in it, all attempts
	chance   float64 // of a mean of wire, its standard error; 0 where there was one try
}

func (r result) wire() int64 { return r.up.bytes + r.down.bytes }

func (r result) String() string {
	s := fmt.Sprintf("%s: %v, %d attempts, %d cuts, payload %d, wire %d (lost %d, refused %d)", r.run, r.took.Round(time.Second), r.attempts, r.cuts,
		r.payload, r.wire(), r.up.lost+r.down.lost, r.up.refused+r.down.refused)
	if r.err != nil {
		s += ": FAILED: " + r.err.Error()
	}
	return s
}

// tries is how many times an update is run. One lost packet is a large part of a
// small one, so that of such the mean counts.
func (d device) tries(r run) int {
	if r.update == small {
		return d.often
	}
	return 1
}

// update runs one update for the nth time, on a device and a host of its own. Each
// time other packets are lost.
func (d device) update(s *shop, what run, number, n int, seed uint64) result {
	r := result{run: what}
	// Each begins at another time between two gaps.
	r.weather.phase = r.weather.every * time.Duration(n) / time.Duration(d.tries(what))
	r.err = d.try(s, &r, filepath.Join(s.dir, fmt.Sprintf("run%02d-%d", number, n)), seed+uint64(n))
	return r
}

// mean is that of all tries, or the first one that failed.
func mean(tries []result) result {
	m := result{run: tries[0].run}
	for _, r := range tries {
		if r.err != nil {
			return r
		}
		m.add(r)
	}
	n := len(tries)
	m.divide(n)
	if n > 1 {
		var squares float64
		for _, r := range tries {
			squares += math.Pow(float64(r.wire()-m.wire()), 2)
		}
		m.chance = math.Sqrt(squares / float64(n*(n-1)))
	}
	return m
}

func (r *result) add(o result) {
	r.took += o.took
	r.attempts = max(r.attempts, o.attempts)
	r.cuts = max(r.cuts, o.cuts)
	r.payload += o.payload
	r.up.add(o.up)
	r.down.add(o.down)
}

func (r *result) divide(n int) {
	r.took /= time.Duration(n)
	r.payload /= int64(n)
	r.up.divide(int64(n))
	r.down.divide(int64(n))
}

func (t *traffic) add(o traffic) {
	t.packets += o.packets
	t.bytes += o.bytes
	t.lost += o.lost
	t.refused += o.refused
}

func (t *traffic) divide(n int64) {
	*t = traffic{t.packets / n, t.bytes / n, t.lost / n, t.refused / n}
}

func (d device) try(s *shop, r *result, dir string, seed uint64) error {
	if err := os.MkdirAll(filepath.Join(dir, "host"), 0o755); err != nil {
		return err
	}
	there, err := newSpace(hostIP, deviceIP, mtu)
	if err != nil {
		return err
	}
	defer there.close()
	here, err := newSpace(deviceIP, hostIP, mtu)
	if err != nil {
		return err
	}
	defer here.close()
	h := &host{root: filepath.Join(dir, "host")}
	if err := h.offer(s, first); err != nil {
		return err
	}
	if err := there.do(func() (err error) { h, err = serve(h.root); return err }); err != nil {
		return err
	}
	defer h.close()
	l := newLink(here.wire, there.wire, plain, seed)

	root := filepath.Join(dir, "station")
	config := filepath.Join(dir, "godwit.toml")
	text := fmt.Sprintf("[source]\nurl = %q\nchannel = \"stable\"\n", r.source.url()) + r.source.more
	if !r.source.git {
		text += "type = \"web\"\n"
	}
	text += fmt.Sprintf("[trust]\nmode = \"signed\"\nallowed_signers = %q\nproduct = \"station\"\n[tree]\nroot = %q\n[agent]\nevery = %q\n",
		s.signers(), root, d.every) + r.source.lines
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		return err
	}
	godwit := func(args ...string) *exec.Cmd {
		cmd := exec.Command(s.godwit, append(args, "--config", config, "--json")...)
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir}
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		return cmd
	}
	if err := here.do(func() error {
		if b, err := godwit("update").CombinedOutput(); err != nil {
			return fmt.Errorf("the first version: %w: %s", err, b)
		}
		return nil
	}); err != nil {
		return err
	}
	before, err := look(godwit("status"))
	if err != nil {
		return err
	}
	if err := h.offer(s, r.update); err != nil {
		return err
	}
	l.set(r.weather)
	if err := d.watch(godwit("agent", "--verbose"), here, r, versions[r.update]); err != nil {
		return err
	}
	// What is still to be said to end connections.
	time.Sleep(4*r.weather.delay + time.Second)
	r.up, r.down, r.cuts = l.count()
	after, err := look(godwit("status"))
	if err != nil {
		return err
	}
	r.payload = after.total() - before.total()
	if after.State != "confirmed" || after.Running.Name != versions[r.update] {
		return fmt.Errorf("the device is %s and runs %s", after.State, after.Running.Name)
	}
	if err := same(filepath.Join(root, "current"), s.tree(r.update)); err != nil {
		return err
	}
	return os.RemoveAll(dir)
}

// watch runs the agent until it has confirmed a version.
func (d device) watch(agent *exec.Cmd, here *space, r *result, version string) error {
	lines, err := agent.StderrPipe()
	if err != nil {
		return err
	}
	began := time.Now()
	if err := here.do(agent.Start); err != nil {
		return err
	}
	late := time.AfterFunc(d.limit, func() { agent.Process.Signal(syscall.SIGTERM) })
	defer late.Stop()
	last := ""
	for in := bufio.NewScanner(lines); in.Scan(); {
		var line struct{ Level, Text string }
		json.Unmarshal(in.Bytes(), &line)
		if d.talk {
			fmt.Printf("[%s, %v] %s\n", r.run, time.Since(began).Round(100*time.Millisecond), line.Text)
		}
		switch {
		case line.Text == "asking the source":
			r.attempts++
		case line.Level == "error" || line.Level == "warning":
			last = line.Text
		case strings.HasPrefix(line.Text, version+" runs, and is confirmed") && r.took == 0:
			r.took = time.Since(began)
			agent.Process.Signal(syscall.SIGTERM)
		}
	}
	if err := agent.Wait(); err != nil {
		return fmt.Errorf("the agent: %w", err)
	}
	if r.took == 0 {
		r.took = time.Since(began)
		return fmt.Errorf("it did not arrive; the agent's last complaint: %s", last)
	}
	return nil
}

// A condition is what `godwit status` says.
type condition struct {
	State   string
	Running struct{ Name string }
	Traffic struct{ Received, Sent int64 }
}

func (c condition) total() int64 { return c.Traffic.Received + c.Traffic.Sent }

func look(status *exec.Cmd) (c condition, err error) {
	b, err := status.Output()
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	return c, err
}

// same holds an installed tree against what it should be.
func same(dir string, want map[string][]byte) error {
	n := 0
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return err
	}
	err = filepath.WalkDir(real, func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		path, _ := filepath.Rel(real, name)
		b, err := os.ReadFile(name)
		if c, ok := want[path]; ok && bytes.Equal(b, c) {
			n++
		} else if path != "version.json" {
			err = errors.Join(err, errors.New("wrong in the tree: "+path))
		}
		return err
	})
	if err == nil && n != len(want) {
		err = fmt.Errorf("%d of %d files are there", n, len(want))
	}
	return err
}
