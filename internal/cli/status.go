package cli

import (
	"context"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/agent"
	"github.com/godwit-ota/godwit/config"
	"github.com/godwit-ota/godwit/gate"
	"github.com/godwit-ota/godwit/internal/device"
	"github.com/godwit-ota/godwit/internal/status"
)

func (c *command) statusVerb() verb {
	return verb{
		name: "status", short: "show what runs here and how it is doing",
		long: "Show what runs and since when, whether it is confirmed, what comes next and why not now, what went wrong last, and the bytes of this month, without asking the network. It takes no lock and writes nothing.\n\n" +
			"Gates that let everything pass are not listed; --verbose shows what each of them says, and all of the hardware. The schema of --json is in docs/status.md.",
		examples: []string{"godwit status", "godwit status --verbose", "godwit status --json"},
		exits:    []int{0, 1, 2},
		run: func(ctx context.Context, _ string) error {
			cfg, err := c.loadConfig()
			if err != nil {
				return err
			}
			s, err := c.gather(ctx, cfg, c.device())
			if err != nil {
				return err
			}
			c.printer().Emit(s.Fields())
			c.printer().Printf("%s", s.Text(time.Now(), c.verbose))
			return nil
		},
	}
}

// gather finds out how the device is.
func (c *command) gather(ctx context.Context, cfg *config.Config, dev device.Options) (*status.Status, error) {
	root, err := filepath.Abs(string(cfg.Tree.Root))
	if err != nil {
		return nil, err
	}
	b, err := agent.Board(cfg, root, nil)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	return status.Gather(cfg, status.Options{
		Device: dev, Version: Version, Board: b, HistoryOptions: agent.HistoryOptions(cfg),
		Facts: func(tree string, now time.Time, set bool) gate.Facts { return agent.Facts(ctx, cfg, b, tree, now, set) },
	})
}

// showing has an agent show the device, as its configuration says: in a file of
// metrics, and on a page.
func (c *command) showing(cfg *config.Config, o *agent.Options) {
	var mu sync.Mutex // one is enough for a small device
	gather := func() (*status.Status, error) {
		mu.Lock()
		defer mu.Unlock()
		dev := c.device()
		dev.Events = nil // it is the update that tells what it does
		return c.gather(context.Background(), cfg, dev)
	}
	if file := string(cfg.Agent.MetricsFile); file != "" {
		o.Metrics = func() {
			s, err := gather()
			if err == nil {
				err = status.WriteMetrics(file, status.Metrics(s))
			}
			if err != nil {
				o.Log.Fail(agent.Warning, "metrics", err)
			}
		}
	}
	if listen := cfg.Agent.Listen; listen != "" {
		o.Page = func(ctx context.Context) error { return status.Serve(ctx, listen, gather) }
	}
}

func stamp(t time.Time) string {
	if t.Unix() <= 0 {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// patchedFields is what became of patches as JSON, nil if there were none.
func patchedFields(p godwit.Patched) *object {
	if p == (godwit.Patched{}) {
		return nil
	}
	o := &object{}
	o.number("applied", int64(p.Applied))
	o.number("saved", p.Saved)
	o.number("failed", int64(p.Failed))
	o.some("reason", p.Reason)
	return o
}

func files(n int) string { return count(n, "file", "files") }

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}
