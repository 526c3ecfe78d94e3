//go:build linux

// Command links proves that updates get through where links are bad: a device
// and a host in two networks, joined by a link that is slow, loses packets, goes
// away or breaks connections, and on the device the real agent. Each update has
// to arrive and to be confirmed, and must not cost many more bytes on the link
// than it does where nothing disturbs it. The kernel's own TCP is at both ends, so
// what it sends again counts as well.
//
// It needs root, for the networks, and /dev/net/tun; git and ssh-keygen to make
// releases. docs/links.md has the figures.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"sync"
	"time"
)

// plain is the link that nothing disturbs.
var plain = weather{name: "undisturbed", up: 10e6, down: 10e6, delay: 10 * time.Millisecond, queue: 256 << 10}

// What is below is bad. Queues hold 64 packets.
var (
	nbiot = weather{name: "NB-IoT", up: 20e3, down: 60e3, delay: 750 * time.Millisecond, loss: 0.02, queue: 64 * mtu}
	gaps  = weather{name: "gaps", up: 100e3, down: 100e3, delay: 100 * time.Millisecond, queue: 64 * mtu,
		every: 10 * time.Second, dark: 2 * time.Second}
	resets = weather{name: "resets", up: 100e3, down: 100e3, delay: 100 * time.Millisecond, queue: 64 * mtu, cutAfter: 100e3}
	silent = weather{name: "goes dead", up: 100e3, down: 100e3, delay: 100 * time.Millisecond, queue: 64 * mtu, cutAfter: 100e3, silent: true}
)

const mtu = 1400

// most is how many times the bytes of the undisturbed link an update may cost.
const most = 1.15

// A run is one update over one link.
type run struct {
	weather weather
	source  source
	update  string
}

func (r run) String() string { return r.weather.name + ", " + r.source.name + ", " + r.update }

func main() {
	var (
		out   = flag.String("out", "out/links", "folder for releases and devices")
		quick = flag.Bool("quick", false, "one update over NB-IoT and one with cuts, for every change")
		only  = flag.String("only", "", `regular expression for the updates to run, such as "NB-IoT, git"; what they are compared with runs as well`)
		jobs  = flag.Int("jobs", 8, "updates at a time: most of them only wait")
		seed  = flag.Uint64("seed", 1, "of contents and of lost packets")
		every = flag.Duration("every", 10*time.Second, "agent.every of the devices")
		limit = flag.Duration("limit", 45*time.Minute, "longest time for one update")
		reuse = flag.Bool("reuse", false, "take the releases that an earlier run with the same seed left in the folder")
		talk  = flag.Bool("v", false, "print what the agents say")
	)
	flag.Parse()
	if why := able(); why != "" {
		fmt.Println("SKIPPED links:", why)
		return
	}
	for _, program := range []string{"git", "ssh-keygen"} {
		if _, err := exec.LookPath(program); err != nil {
			fmt.Printf("SKIPPED links: no %s here, which makes the releases\n", program)
			return
		}
	}
	choose, err := regexp.Compile(*only)
	if err == nil {
		var ok bool
		d := device{every: *every, limit: *limit, talk: *talk, often: 20}
		if ok, err = prove(*out, chosen(*quick, choose), *jobs, *seed, *reuse, d); ok && err == nil {
			return
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "links:", err)
	}
	os.Exit(1)
}

// chosen are the runs, the longest first.
func chosen(quick bool, only *regexp.Regexp) []run {
	var all []run
	for _, u := range []string{release, file, large, small} {
		for _, w := range []weather{silent, nbiot, gaps, resets} {
			for _, s := range sources {
				r := run{w, s, u}
				if !slices.Contains(s.updates, u) {
					continue
				}
				if quick && !(w.name == nbiot.name && s.name == "git" && u == small || w.name == resets.name && s.name == "folder" && u == file) {
					continue
				}
				if only.MatchString(r.String()) {
					all = append(all, r)
				}
			}
		}
	}
	// What they are compared with.
	var calm []run
	for _, r := range all {
		r.weather = plain
		if !slices.ContainsFunc(calm, func(o run) bool { return o.String() == r.String() }) {
			calm = append(calm, r)
		}
	}
	return append(calm, all...)
}

func prove(out string, runs []run, jobs int, seed uint64, reuse bool, d device) (bool, error) {
	began := time.Now()
	s, err := prepare(out, seed, reuse, runs)
	if err != nil {
		return false, err
	}
	fmt.Printf("releases ready after %v; %d updates\n", time.Since(began).Round(time.Second), len(runs))
	tries := make([][]result, len(runs))
	var group sync.WaitGroup
	places := make(chan struct{}, jobs)
	for i, r := range runs {
		tries[i] = make([]result, d.tries(r))
		for n := range tries[i] {
			places <- struct{}{}
			group.Go(func() {
				tries[i][n] = d.update(s, r, i, n, seed)
				<-places
			})
		}
	}
	group.Wait()
	results := make([]result, len(runs))
	for i := range runs {
		results[i] = mean(tries[i])
		fmt.Println(results[i])
	}
	ok := report(os.Stdout, results)
	fmt.Printf("\n%v in all\n", time.Since(began).Round(time.Second))
	return ok, nil
}
