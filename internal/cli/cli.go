// Package cli is the command line: it reads flags and the configuration, wires
// the parts of an update together, and words what comes of it. Everything that
// an update does is in the packages below.
//
// Invariant: no command of a device changes anything outside tree.root, but for
// what hooks and restarts do, and the file that init writes.
package cli

import (
	"context"
	"errors"
	"io"
	"math"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/config"
	"github.com/godwit-ota/godwit/internal/term"
)

// Version is the version of the program, set when it is built.
var Version = "unknown"

// Main runs one command line, without the program's name, and returns its exit
// code. It reads the environment through getenv only; programs that it starts
// get the environment of the process. demo is what the command demo runs.
func Main(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, getenv func(string) string, demo Demo) int {
	ctx, stop := interruptible(ctx)
	defer stop()
	if len(args) == 1 && (args[0] == "--version" || args[0] == "-V") {
		args = []string{"version"} // what people try first
	}
	c := &command{stdin: stdin, stdout: stdout, stderr: stderr, getenv: getenv, demo: demo}
	err := c.execute(ctx, args)
	if err == nil {
		return c.exit
	}
	if cause := context.Cause(ctx); errors.Is(err, context.Canceled) && cause != nil {
		err = godwit.Fail(godwit.CodeFailed, nil, cause.Error(), "nothing is lost: the next run goes on from here")
	}
	c.printer().Error(err)
	return term.ExitCode(err)
}

// Frugal sets the runtime up for small devices: little memory before speed. It
// is for a process that runs one command and nothing else. GOGC, GOMEMLIMIT and
// GOMAXPROCS in the environment win.
//
// An update waits for the network and the disk, not for a second processor,
// whose share of the heap costs half a megabyte.
func Frugal() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(25)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(9 << 20)
	}
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(1)
	}
}

// generous takes back what Frugal set, for a command that is not for devices.
func generous() {
	debug.SetGCPercent(100)
	debug.SetMemoryLimit(math.MaxInt64)
	runtime.GOMAXPROCS(runtime.NumCPU())
}

// interruptible ends ctx at the first SIGINT or SIGTERM. A second one ends the
// process at once, which is as safe as a power cut.
func interruptible(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, os.Interrupt, syscall.SIGTERM)
	go func() {
		select {
		case s := <-ch:
			signal.Stop(ch)
			cancel(errors.New("stopped by the signal " + s.String()))
		case <-ctx.Done():
		}
	}()
	return ctx, func() { signal.Stop(ch); cancel(nil) }
}

// command is one run of the command line.
type command struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	getenv         func(string) string
	demo           Demo

	configFile           string
	root                 string
	json, quiet, verbose bool
	help                 bool
	operands             []string // what stands behind the command, without flags

	verb     string // the command's name
	exit     int    // of a command that ended without an error
	signedBy string // the fingerprint of the key that it signed with

	out *term.Printer
}

func (c *command) printer() *term.Printer {
	if c.out == nil {
		cfg := term.Config{Out: c.stdout, Err: c.stderr, JSON: c.json, Quiet: c.quiet, Verbose: c.verbose}
		cfg.Detect(c.getenv)
		c.out = term.New(cfg)
	}
	return c.out
}

// loadConfig finds and reads the configuration. It says its warnings where
// something may be done about them: not each time when somebody looks at what
// runs.
func (c *command) loadConfig() (*config.Config, error) {
	name, err := config.Find(c.configFile, ".", c.getenv)
	if err != nil {
		return nil, err
	}
	cfg, err := config.Load(name, config.Options{Root: c.root})
	if err != nil {
		return nil, err
	}
	c.verbose = c.verbose || cfg.Device.Verbose && !c.quiet
	if c.verbose || c.verb == "check" || c.verb == "update" {
		for _, w := range cfg.Warnings {
			c.printer().Warn(w)
		}
	}
	return cfg, nil
}
