// Command bench sets Godwit beside git and go-git, in one run on one machine:
// bytes on the wire, memory, speed and size, as ratios. Runs that are compared
// are made in turn, and the median counts. Repositories come out the same
// every time; the host is `git http-backend` on the loopback address.
//
// It prints Markdown.
package main

import (
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/godwit-ota/godwit/internal/githost"
)

func main() {
	if len(os.Args) > 2 && os.Args[1] == measured {
		os.Exit(runMeasured(os.Args[2:]))
	}
	var (
		godwit = flag.String("godwit", "../bin/godwit", "the program to measure")
		out    = flag.String("out", "../out/bench", "folder for repositories and devices, on a real disk")
		only   = flag.String("only", "bytes,memory,speed,signature,size,patches", "what to measure")
		p      = patchFlags()
	)
	flag.Parse()
	what := strings.Split(*only, ",")
	withPatches := slices.Contains(what, "patches")
	what = slices.DeleteFunc(what, func(part string) bool { return part == "patches" })
	var err error
	if len(what) > 0 {
		err = bench(os.Stdout, *godwit, *out, what)
	}
	if withPatches && err == nil {
		err = p.run(os.Stdout, *godwit)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// A run is one go at measuring everything.
type run struct {
	w       io.Writer
	out     string // for devices
	root    string // of the repositories
	http    *githost.Host
	https   *githost.Host
	ca      string
	clients []client
	godwit  string
	gogit   string
}

func bench(w io.Writer, godwit, out string, what []string) error {
	out, err := filepath.Abs(out)
	if err != nil {
		return err
	}
	if godwit, err = filepath.Abs(godwit); err != nil {
		return err
	}
	b := &run{w: w, out: filepath.Join(out, "devices"), root: filepath.Join(out, "repos"), godwit: godwit, gogit: filepath.Join(out, "gogit")}
	for _, dir := range []string{b.out, b.root} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	defer os.RemoveAll(b.out)
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", b.gogit, "./gogit")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building the go-git client: %w\n%s", err, text)
	}
	b.clients = clients(godwit, b.gogit)
	b.ca = filepath.Join(out, "ca.pem")
	wrap, err := authority(b.ca)
	if err != nil {
		return err
	}
	start := func(tls func(net.Listener) net.Listener) (*githost.Host, error) {
		return githost.Start(githost.Config{Root: b.root, TLS: tls})
	}
	if b.http, err = start(nil); err != nil {
		return err
	}
	defer b.http.Close()
	if b.https, err = start(wrap); err != nil {
		return err
	}
	defer b.https.Close()

	b.header()
	for _, part := range what {
		measure, ok := map[string]func() error{"bytes": b.bytes, "memory": b.memory, "speed": b.speed, "signature": b.signature, "size": b.size}[part]
		if !ok {
			return fmt.Errorf("-only %s: there is bytes, memory, speed, signature, size, patches", part)
		}
		if err := measure(); err != nil {
			return fmt.Errorf("%s: %w", part, err)
		}
	}
	return nil
}

func (b *run) header() {
	version := func(name string, args ...string) string {
		out, err := exec.Command(name, args...).Output()
		if err != nil {
			return name + ": " + err.Error()
		}
		return strings.TrimSpace(strings.SplitN(string(out), "\n", 2)[0])
	}
	fmt.Fprintf(b.w, "%s, %s, go-git v5 (bench/go.mod), %s, %s/%s, %d processors, %s\n",
		version(b.godwit, "version"), version("git", "--version"), runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(),
		time.Now().UTC().Format("2006-01-02"))
}
