// Command selfupdate is an application that keeps itself up to date: the agent
// runs within it, and follows the repository that the application comes from.
//
// What starts it, systemd for example, runs `godwit recover` before each start: a
// version that does not get so far as to confirm itself is taken back by that.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/godwit-ota/godwit/agent"
	"github.com/godwit-ota/godwit/config"
)

// version is set by the linker: -X main.version=v1.
var version = "unknown"

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "selfupdate:", err)
		os.Exit(1)
	}
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	fmt.Println("this is", version)
	if version == "broken" {
		return fmt.Errorf("%s does not work", version)
	}
	cfg, err := config.Load(os.Args[1], config.Options{})
	if err != nil {
		return err
	}
	begin := make(chan struct{}, 1)
	a, err := agent.New(cfg, agent.Options{Version: version, Restart: func(context.Context) (bool, error) {
		begin <- struct{}{}
		return true, nil
	}})
	if err != nil {
		return err
	}
	working, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- a.Run(working) }()
	go work(working, a)
	select {
	case err := <-ended:
		return err
	case <-begin:
	}
	// Another version is in the tree: end in order, and become it.
	cancel()
	if err := <-ended; err != nil {
		return err
	}
	program := filepath.Join(string(cfg.Tree.Root), "current", filepath.Base(os.Args[0]))
	return syscall.Exec(program, append([]string{program}, os.Args[1:]...), os.Environ())
}

// work is what the application is for. Once it knows that it works, it says so.
func work(ctx context.Context, a *agent.Agent) {
	select {
	case <-ctx.Done():
		return
	case <-time.After(time.Second):
	}
	if err := a.Confirm(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "selfupdate:", err)
		return
	}
	fmt.Println(version, "works")
}
