// Command standin is Godwit as the tries of packages need it: in versions that
// are broken in ways that a release may be, and with an agent that does as
// little as one can, for as long as there is none in Godwit itself.
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/godwit-ota/godwit/internal/cli"
	"github.com/godwit-ota/godwit/internal/demo"
)

// broken is set when it is built: "" for a version that works, "crash" for one
// whose agent ends at once, "blind" for one that cannot check.
var broken string

func main() {
	args := os.Args[1:]
	godwit := func(args ...string) int {
		return cli.Main(context.Background(), args, os.Stdin, os.Stdout, os.Stderr, os.Getenv, demo.Run)
	}
	if broken == "blind" && len(args) > 0 && (args[0] == "check" || args[0] == "update") {
		fmt.Fprintln(os.Stderr, "this version is blind")
		os.Exit(1)
	}
	if len(args) == 0 || args[0] != "agent" {
		os.Exit(godwit(args...))
	}
	switch {
	case broken == "crash":
		fmt.Fprintln(os.Stderr, "this version is broken")
		os.Exit(1)
	case broken == "blind":
		signal.Ignore(syscall.SIGHUP)
		notify("READY=1")
		for {
			time.Sleep(30 * time.Second)
			notify("WATCHDOG=1")
		}
	case cli.Main(context.Background(), []string{"agent", "--help"}, os.Stdin, io.Discard, io.Discard, os.Getenv, demo.Run) == 0:
		os.Exit(godwit(args...)) // the agent itself
	}
	wake := make(chan os.Signal, 1)
	signal.Notify(wake, syscall.SIGHUP)
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM)
	notify("READY=1")
	for {
		go godwit(append([]string{"update"}, args[1:]...)...)
		select {
		case <-wake:
		case <-end:
			notify("STOPPING=1")
			return
		case <-time.After(30 * time.Second):
			notify("WATCHDOG=1")
		}
	}
}

// notify tells systemd: sd_notify(3).
func notify(text string) {
	if c, err := net.Dial("unixgram", os.Getenv("NOTIFY_SOCKET")); err == nil {
		fmt.Fprint(c, text)
		c.Close()
	}
}
