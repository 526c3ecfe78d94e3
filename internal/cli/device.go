package cli

import (
	"context"
	"strings"

	"github.com/spf13/pflag"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/engine"
	"github.com/godwit-ota/godwit/internal/device"
	"github.com/godwit-ota/godwit/internal/jsontext"
	"github.com/godwit-ota/godwit/internal/status"
	"github.com/godwit-ota/godwit/internal/term"
	"github.com/godwit-ota/godwit/plan"
	"github.com/godwit-ota/godwit/store"
)

// deviceVerbs are the commands that work on a tree.
func (c *command) deviceVerbs() []verb {
	return []verb{c.initVerb(), c.checkVerb(), c.updateVerb(), c.statusVerb(), c.logVerb(), c.confirmVerb(), c.rollbackVerb(), c.recoverVerb(), c.verifyVerb(), c.agentVerb(), c.serviceVerb()}
}

// withDevice opens the device that the configuration describes and gives it to
// fn.
func (c *command) withDevice(fn func(*device.Device) error) error {
	cfg, err := c.loadConfig()
	if err != nil {
		return err
	}
	d, err := device.Open(cfg, c.device())
	if err != nil {
		return err
	}
	defer d.Close()
	return fn(d)
}

// device is what a device needs beside its configuration.
func (c *command) device() device.Options {
	return device.Options{Getenv: c.getenv, UserAgent: "godwit/" + Version, Events: c.printer().Event}
}

// withEngine is withDevice for those that need no more than its engine.
func (c *command) withEngine(fn func(*engine.Engine) error) error {
	return c.withDevice(func(d *device.Device) error { return fn(d.Engine) })
}

// versionFields is a version as JSON: nil for none.
func versionFields(v store.Version) *object {
	if f := status.VersionFields(v); f != nil {
		return (*object)(&f)
	}
	return nil
}

func short(commit string) string { return commit[:min(10, len(commit))] }

func (c *command) checkVerb() verb {
	var ask asking
	return verb{
		name: "check", use: "[--now [--override GATES] [--force]]", short: "ask whether there is something newer for this device",
		long: "Ask the repository, with one request where there is nothing new, whether there is something newer for this device. Nothing is installed.\n\n" +
			"Where a channel holds its release back from this device it says why, and the exit code is 5, or 4 where the channel has expired.\n\n" +
			"With --now the running agent does it, and installs what is new when its gates let it; --override names gates that do not count this once.",
		examples: []string{"godwit check", "godwit check; [ $? -eq 3 ] && godwit update", "godwit check --now --override window,battery"},
		exits:    []int{0, 1, 2, 3, 4, 5, 6},
		flags:    ask.flags,
		run: func(ctx context.Context, _ string) error {
			if ask.now {
				return c.wake(ask)
			}
			if len(ask.override) > 0 || ask.force {
				return usageText("--override and --force are for --now", "check")
			}
			return c.withEngine(func(e *engine.Engine) error {
				r, err := e.Check(ctx)
				if err != nil {
					return err
				}
				p, name := c.printer(), status.Named(refName(r.Tip.Ref), r.Tip.Commit)
				if r.Tip.Ref == "" && r.Tip.Commit == r.Running.ID {
					r.Tip.Ref = r.Running.Ref // a channel that leads to it has told of its commit alone
				}
				o := begin("check")
				o.flag("available", r.Available)
				o.flag("rejected", r.Rejected)
				o.text("reason", r.Reason)
				o.text("ref", r.Tip.Ref)
				o.text("commit", r.Tip.Commit)
				o.fields("running", versionFields(r.Running))
				o.fields("channel", ordersFields(r.Channel))
				o.some("code", string(godwit.CodeOf(r.Wait)))
				p.Emit(o.done())
				switch {
				case r.Available:
					c.exit = term.ExitAvailable
					p.Printf("%s is available, and %s runs: %s\n", name, status.Title(r.Running), r.Reason)
				case r.Rejected:
					c.exit = 4
					p.Printf("%s is available, but %s\n", name, r.Reason)
				case r.Wait != nil:
					c.exit = term.ExitCode(r.Wait)
					p.Printf("the channel %s leads to %s: %s\n", r.Channel.Channel, r.Channel.Release, r.Reason)
				default:
					p.Printf("up to date: %s runs\n", status.Title(r.Running))
				}
				return nil
			})
		},
	}
}

// ordersFields is what a channel says as JSON: nil for none.
func ordersFields(r godwit.Orders) *object {
	if r.ID == "" {
		return nil
	}
	o := &object{}
	o.text("name", r.Channel)
	o.number("sequence", int64(r.Sequence))
	o.text("release", r.Release)
	o.number("rollout", int64(r.Rollout))
	o.some("floor", r.Floor)
	o.some("not_after", stamp(r.NotAfter))
	o.some("rollback_to", r.RollbackTo)
	o.some("halt", r.Halt)
	o.some("time", stamp(r.Time))
	return o
}

func refName(ref string) string {
	for _, prefix := range []string{"refs/tags/", "refs/heads/", "releases/"} {
		if name, ok := strings.CutPrefix(ref, prefix); ok {
			return name
		}
	}
	return ref
}

// result prints what a command did, also when it ended with an error after it
// had done something.
func (c *command) result(cmd string, r engine.Result, err error) error {
	p := c.printer()
	if err != nil {
		if r.Outcome == engine.RolledBack {
			p.Emit(resultFields(cmd, r))
		}
		return err
	}
	p.Emit(resultFields(cmd, r))
	to := status.Title(r.To)
	switch r.Outcome {
	case engine.UpToDate:
		p.Printf("up to date: %s runs\n", to)
	case engine.Updated:
		if r.From.IsZero() || r.From.ID == store.BeforeGodwit {
			p.Printf("installed %s%s\n", to, traffic(r))
		} else {
			p.Printf("updated to %s from %s%s\n", to, status.Title(r.From), traffic(r))
		}
	case engine.OnTrial:
		p.Printf("%s runs, on trial%s\n", to, because(r.Reason))
	case engine.Confirmed:
		p.Printf("confirmed: %s\n", to)
	case engine.RolledBack:
		p.Printf("rolled back to %s from %s\n", to, status.Title(r.From))
	case engine.Recovered:
		p.Printf("recovered: %s runs%s\n", to, because(r.Reason))
	case engine.Nothing:
		p.Printf("nothing to do%s\n", because(r.Reason))
	}
	return nil
}

func resultFields(cmd string, r engine.Result) jsontext.Fields {
	o := begin("result")
	o.text("command", cmd)
	o.text("outcome", string(r.Outcome))
	o.fields("from", versionFields(r.From))
	o.fields("to", versionFields(r.To))
	o.some("reason", r.Reason)
	if r.Reboot {
		o.flag("reboot", true)
	}
	if r.Sent+r.Received > 0 {
		o.number("sent", r.Sent)
		o.number("received", r.Received)
	}
	if p := patchedFields(r.Patched); p != nil {
		o.fields("patches", p)
	}
	return o.done()
}

// traffic tells what crossed the network.
func traffic(r engine.Result) string {
	text := ""
	if r.Sent+r.Received > 0 {
		text = "; received " + plan.Bytes(r.Received) + ", sent " + plan.Bytes(r.Sent)
	}
	if p := r.Patched; p.Applied > 0 {
		text += "; " + count(p.Applied, "patch", "patches") + " saved " + plan.Bytes(p.Saved)
	}
	return text
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + reason
}

func (c *command) updateVerb() verb {
	var opt engine.UpdateOptions
	return verb{
		name: "update", use: "[--dry-run] [--force] [--forget]", short: "fetch the newest version, switch to it, and see whether it works",
		long: "Ask for something newer, fetch what is missing, switch to it, restart the application, and wait until the new version has proved that it works. If it does not, the old version comes back, and this release is not tried again.\n\n" +
			"An update that is interrupted, even by a power cut, leaves the old version or the new one; the next run goes on from what was already fetched.\n\n" +
			"A release that may not be installed is refused with exit code 4 and leaves nothing behind: not signed by those who may, older than what was installed before, for another product.",
		examples: []string{"godwit update", "godwit update --dry-run", "godwit update --json >>/var/log/godwit.jsonl"},
		exits:    []int{0, 1, 2, 4, 5, 6, 7},
		flags: func(f *pflag.FlagSet) {
			f.BoolVarP(&opt.DryRun, "dry-run", "n", false, "print the plan: files, bytes and why; install nothing")
			f.BoolVarP(&opt.Force, "force", "f", false, "install even what runs already, what failed here before, or what the channel holds back from this device")
			f.BoolVar(&opt.Forget, "forget", false, "let go of what this device remembers: the highest version, the channel's number and the keys that releases brought; the checks begin anew with the configuration's keys")
		},
		run: func(ctx context.Context, _ string) error {
			return c.withDevice(func(d *device.Device) error {
				r, err := d.Update(ctx, opt)
				if err == nil && opt.DryRun && r.Plan != nil {
					if err := c.printer().Plan(r.Plan, status.Title(r.From), status.Title(r.To)); err != nil {
						return err
					}
				}
				return c.result("update", r, err)
			})
		},
	}
}

func (c *command) confirmVerb() verb {
	var wait bool
	return verb{
		name: "confirm", use: "[--wait]", short: "keep the running version, which is on trial",
		long: "End the trial of the running version: it works, and stays. Its files are hashed once more before that. The application itself can call this when confirm.application is set.\n\n" +
			"With --wait the health check of the configuration decides: this waits for it, and the old version comes back if it fails. Run it after a reboot into a new version.",
		examples: []string{"godwit confirm", "godwit confirm --wait"},
		exits:    []int{0, 1, 2, 5, 7},
		flags: func(f *pflag.FlagSet) {
			f.BoolVarP(&wait, "wait", "w", false, "run the health check and let it decide")
		},
		run: func(ctx context.Context, _ string) error {
			return c.withDevice(func(d *device.Device) error {
				do := d.Engine.Confirm
				if wait {
					do = d.Engine.Watch
				}
				r, err := do(ctx)
				return c.result("confirm", r, d.Ended(err))
			})
		},
	}
}

func (c *command) simpleVerb(v verb, name string, do func(*engine.Engine, context.Context) (engine.Result, error)) verb {
	v.run = func(ctx context.Context, _ string) error {
		return c.withDevice(func(d *device.Device) error {
			r, err := do(d.Engine, ctx)
			return c.result(name, r, d.Ended(err))
		})
	}
	return v
}

func (c *command) rollbackVerb() verb {
	return c.simpleVerb(verb{
		name: "rollback", short: "return to the previous version, without a download",
		long:     "Return to the version that ran before, which is still on the disk. The version that is left is not installed again until the repository names another one, or until `godwit update --force`.",
		examples: []string{"godwit rollback"},
		exits:    []int{0, 1, 2},
	}, "rollback", (*engine.Engine).Rollback)
}

func (c *command) recoverVerb() verb {
	return c.simpleVerb(verb{
		name: "recover", short: "finish what a power cut interrupted; run it first at boot",
		long:     "Make the tree on the disk equal to what the record says runs, and count the boot of a version on trial: when it has used up its boots, the old version comes back. It needs no network. Run it at boot, before the application starts.",
		examples: []string{"godwit recover"},
		exits:    []int{0, 1, 2, 7},
	}, "recover", (*engine.Engine).Recover)
}

func (c *command) verifyVerb() verb {
	var repair bool
	var j judge
	return verb{
		name: "verify", use: "[--repair] [TARGET]", short: "hash the installed files, or judge a release as a device would", operands: [2]int{0, 1},
		long: "Without TARGET, read every installed file and compare its hash with what the release says. Each difference is one line. With --repair the files are put right, from this device where it has the content, else from the repository.\n\n" +
			"With TARGET, judge a release or a channel as a device would, one line for each check: a tag of the repository here (v1.4.0, channel/stable), a manifest or a channel's file with its signature beside it, or a published folder: its channel and every file of the release that it leads to. Who may sign is what the configuration says, or --allowed-signers and --product. What a device remembers is left out: it would also refuse what is older than what it has.",
		examples: []string{"godwit verify", "godwit verify --repair", "godwit verify v1.4.0 --allowed-signers allowed_signers --product station", "godwit verify public/"},
		exits:    []int{0, 1, 2, 4, 6},
		flags: func(f *pflag.FlagSet) {
			f.BoolVar(&repair, "repair", false, "put right what differs")
			f.StringVar(&j.allowed, "allowed-signers", "", "`FILE`; who may sign TARGET, instead of the configuration's section [trust]")
			f.StringVar(&j.revoked, "revoked-keys", "", "`FILE`; who may no more, with --allowed-signers")
			f.StringVar(&j.product, "product", "", "`NAME`; what TARGET has to be for, \"*\" for anything")
			f.IntVar(&j.threshold, "threshold", 0, "`NUMBER`; how many have to have signed TARGET (default: that of the configuration, or 1)")
		},
		run: func(ctx context.Context, target string) error {
			switch given := j != (judge{}); {
			case target == "" && given:
				return usageText("who may sign what is a question about a TARGET", "verify")
			case target != "" && repair:
				return usageText("--repair is for what is installed, and not for "+target, "verify")
			case target != "":
				return c.judge(ctx, target, j)
			}
			return c.withEngine(func(e *engine.Engine) error {
				v, err := e.Verify(ctx, repair)
				p := c.printer()
				if err == nil || godwit.CodeOf(err) == godwit.CodeModified {
					o := begin("verify")
					o.fields("version", versionFields(v.Version))
					o.number("files", int64(v.Files))
					o.number("problems", int64(v.Problems))
					o.number("repaired", int64(v.Repaired))
					p.Emit(o.done())
				}
				switch {
				case err != nil:
					return err
				case v.Version.IsZero():
					return godwit.Fail(godwit.CodeNotInstalled, nil, "nothing has been installed yet", "run `godwit update`")
				case v.Version.ID == store.BeforeGodwit:
					p.Printf("the files from before Godwit run, and there is no release to hold them against\n")
				case v.Repaired > 0:
					p.Printf("repaired %s; all %s are as %s has them\n", files(v.Repaired), files(v.Files), status.Title(v.Version))
				default:
					p.Printf("good: %s, as %s has them\n", files(v.Files), status.Title(v.Version))
				}
				return nil
			})
		},
	}
}
