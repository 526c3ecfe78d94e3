package cli

import (
	"context"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/pflag"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/agent"
	"github.com/godwit-ota/godwit/config"
	"github.com/godwit-ota/godwit/gate"
	"github.com/godwit-ota/godwit/vfs"
)

func (c *command) agentVerb() verb {
	return verb{
		name: "agent", short: "run as a service that keeps this device up to date",
		long: "Check every agent.every, download and install when the section [when] lets it, watch over what was installed, remember how it went, and report it, until a signal ends it. One agent looks after one tree.\n\n" +
			"SIGHUP has it read the configuration again and check at once; so does a file called wake in the state folder, and `godwit check --now`. Lines go to the standard error, for the journal with their levels; --json makes them JSON.\n\n" +
			"`godwit install-service` has it started at boot.",
		examples: []string{"godwit agent", "godwit agent --config /etc/godwit/godwit.toml --verbose", "kill -HUP $(pidof godwit)"},
		exits:    []int{0, 1, 2},
		run: func(ctx context.Context, _ string) error {
			cfg, err := c.loadConfig()
			if err != nil {
				return err
			}
			hup := make(chan os.Signal, 1)
			signal.Notify(hup, syscall.SIGHUP)
			defer signal.Stop(hup)
			log := c.agentLog()
			for _, w := range cfg.Warnings {
				log.Say(agent.Warning, w)
			}
			for woken := false; ; woken = true {
				next, err := c.runAgent(ctx, cfg, log, hup, woken)
				if err != nil || next == nil {
					return err
				}
				cfg = next
			}
		},
	}
}

func (c *command) agentLog() *agent.Log {
	log := &agent.Log{W: c.stderr, JSON: c.json, Journal: c.getenv("JOURNAL_STREAM") != "", Most: agent.Info}
	switch {
	case c.quiet:
		log.Most = agent.Warning
	case c.verbose:
		log.Most = agent.Debug
	}
	return log
}

// runAgent runs an agent until ctx ends, or SIGHUP brings a configuration to go on
// with.
func (c *command) runAgent(ctx context.Context, cfg *config.Config, log *agent.Log, hup <-chan os.Signal, woken bool) (*config.Config, error) {
	a, err := agent.New(cfg, c.agentOptions(cfg, log))
	if err != nil {
		return nil, err
	}
	if woken {
		a.Wake(agent.Ask{})
	}
	run, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- a.Run(run) }()
	for {
		select {
		case err := <-ended:
			return nil, err
		case <-hup:
			next, err := c.loadConfig()
			if err == nil {
				_, err = agent.New(next, c.agentOptions(next, log))
			}
			if err != nil {
				log.Fail(agent.Error, "the configuration that was read again; the one before goes on", err)
				a.Wake(agent.Ask{})
				continue
			}
			log.Say(agent.Info, "the configuration is read again", "file", next.File)
			a.Renew()
			cancel()
			if err := <-ended; err != nil {
				return nil, err
			}
			return next, nil
		}
	}
}

func (c *command) agentOptions(cfg *config.Config, log *agent.Log) agent.Options {
	o := agent.Options{Version: Version, Getenv: c.getenv, Log: log}
	c.showing(cfg, &o)
	return o
}

// An asking is what the flags of `godwit check` ask of an agent.
type asking struct {
	now      bool
	override []string
	force    bool
}

func (a *asking) flags(f *pflag.FlagSet) {
	f.BoolVar(&a.now, "now", false, "have the agent check, and install what is new, at once")
	f.StringSliceVar(&a.override, "override", nil, "`GATES`; with --now: gates that do not count for this update: "+strings.Join(gate.Names(), ", "))
	f.BoolVarP(&a.force, "force", "f", false, "with --now: install even what runs already, what failed here before, or what the channel holds back from this device")
}

// wake has the agent check now.
func (c *command) wake(a asking) error {
	cfg, err := c.loadConfig()
	if err != nil {
		return err
	}
	if _, err := gate.Overriding(a.override...); err != nil {
		return err
	}
	root, err := filepath.Abs(string(cfg.Tree.Root))
	if err != nil {
		return err
	}
	if !agent.Running(root, cfg.Tree.State) {
		return godwit.Fail(godwit.CodeFailed, nil, "no agent looks after "+root, "start `godwit agent`, or run `godwit update`, which asks no gate")
	}
	fsys, err := vfs.OS(root)
	if err != nil {
		return err
	}
	defer fsys.Close()
	if err := agent.Pull(fsys, cfg.Tree.State, agent.Ask{Override: a.override, Force: a.force}); err != nil {
		return godwit.Fail(godwit.CodeIO, err, "the agent could not be woken", "run this as the user that the agent runs as")
	}
	o := begin("check")
	o.flag("woken", true)
	c.printer().Emit(o.done())
	c.printer().Printf("the agent checks now: see `godwit status`\n")
	return nil
}
