package cli

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/godwit-ota/godwit/author"
	"github.com/godwit-ota/godwit/internal/jsontext"
)

// channelFields is a state of a channel as JSON.
func channelFields(action, name string, s *author.State) jsontext.Fields {
	return jsontext.Fields{
		{Name: "type", Value: "channel"}, {Name: "action", Value: action}, {Name: "name", Value: name}, {Name: "sequence", Value: int64(s.Sequence)},
		{Name: "release", Value: s.Get("Release")}, {Name: "commit", Value: s.Commit}, {Name: "tag", Value: s.ID}, {Name: "product", Value: s.Get("Product")},
		{Name: "time", Value: stamp(s.Time)}, {Name: "tagger", Value: s.Tagger}, {Name: "keys", Value: s.Keys},
	}.With("rollout", s.Get("Rollout")).With("wave", strings.Join(s.All("Wave"), ", ")).With("window", s.Get("Window")).With("floor", s.Get("Floor")).
		With("not_after", s.Get("Not-After")).With("rollback_to", s.Get("Rollback-To")).With("halt", s.Get("Halt")).With("pushed", s.Pushed)
}

// lastly is what people read of the channel's own commands; the rest says it.
var lastly = []string{"Release", "Product", "Rollout", "Wave", "Window", "Floor", "Not-After", "Rollback-To", "Halt"}

func (c *command) channelVerb() verb {
	var s author.Setting
	var key, remote, notAfter, why string
	var push, noPush bool
	return verb{
		name: "channel", use: "set|halt|resume|cosign|show|log NAME [VERSION]", short: "steer the devices that follow a channel",
		arg: []string{"set", "halt", "resume", "cosign", "show", "log"}, operands: [2]int{2, 3},
		long: "A channel is a signed tag that moves, channel/NAME: it says which release devices take, how many of them, and when. Each change is signed, gets the next number, and is pushed; nobody can overwrite another's.\n\n" +
			"set gives the channel the release VERSION, or changes how the present one goes out. With another release, --window, --floor and --not-after stay as they are unless given; the rest begins anew, and without --rollout and --wave it is for all devices. \"none\" takes a value away.\n\n" +
			"halt stops it: no device takes the release any more, and those that have it keep it. resume lets it go on. cosign adds a signature to what the channel says now, for devices that ask for more than one signer (trust.threshold). show says what it says now, log what it said before.\n\n" +
			"The states before stay in the repository as refs/godwit/channel/NAME/NUMBER.",
		examples: []string{
			"godwit channel set stable v1.4.0 --rollout 25%", "godwit channel set stable --rollout 100%",
			"godwit channel set stable v1.5.0 --wave site=lab --window 02:00-04:00 --not-after 90d",
			"godwit channel halt stable --why \"battery drain, see ticket 812\"", "godwit channel set stable v1.3.2 --rollback", "godwit channel log stable",
		},
		exits: []int{0, 1, 2, 4, 6},
		flags: func(f *pflag.FlagSet) {
			f.StringVar(&s.Rollout, "rollout", "", "`PERCENT`; of the devices: 25%; chosen by release and device, so that more takes in all that had it")
			f.StringArrayVar(&s.Waves, "wave", nil, "`LABEL`; devices with this label take it at once: site=lab; may be repeated; without --rollout only these take it")
			f.StringVar(&s.Window, "window", "", "`HOURS`; install only then, by the devices' local time: 02:00-04:00")
			f.StringVar(&s.Floor, "floor", "", "`VERSION`; older devices install this one first")
			f.StringVar(&notAfter, "not-after", "", "`TIME`; devices install nothing after that and say so, unless the channel was set again: 90d, 2027-01-31")
			f.BoolVar(&s.Rollback, "rollback", false, "devices that have a higher version go back to this one")
			f.StringVar(&s.Product, "product", "", "`NAME`; what the channel is for (default: that of the release)")
			f.Uint64Var(&s.Number, "number", 0, "`NUMBER`; of this state, where the channel was made anew and devices have seen a higher one (default: the next)")
			f.StringVar(&why, "why", "", "`TEXT`; of halt: the reason, which devices show")
			f.StringVar(&key, "key", "", keyUsage)
			f.StringVar(&remote, "remote", "origin", "`NAME`; where the channel is")
			f.BoolVar(&push, "push", true, "publish it")
			f.BoolVar(&noPush, "no-push", false, "change this clone only; the remote is not asked either")
		},
		run: func(ctx context.Context, action string) error {
			name, local := c.operands[1], noPush || !push
			given := s.Rollout != "" || len(s.Waves) > 0 || s.Window != "" || s.Floor != "" || notAfter != "" || s.Rollback || s.Product != "" || s.Number > 0
			switch {
			case action != "set" && (given || len(c.operands) > 2):
				return usageText("a release and how it goes out are for `godwit channel set`", "channel")
			case action != "halt" && why != "":
				return usageText("--why is for `godwit channel halt`", "channel")
			case len(c.operands) > 2:
				s.Version = c.operands[2]
			}
			if s.Forever = notAfter == "none"; !s.Forever {
				var err error
				if s.NotAfter, err = parseNotAfter(notAfter, "channel"); err != nil {
					return err
				}
			}
			s.Local = local
			var who author.Signer
			if action != "show" && action != "log" {
				var err error
				if who, err = c.signer(ctx, key); err != nil {
					return err
				}
			}
			r, err := c.repository(ctx, remote, who)
			if err != nil {
				return err
			}
			var before, after *author.State
			switch action {
			case "set":
				before, after, err = r.Set(ctx, name, s)
			case "halt":
				before, after, err = r.Halt(ctx, name, why, local)
			case "resume":
				before, after, err = r.Resume(ctx, name, local)
			case "cosign":
				before, after, err = r.CosignChannel(ctx, name, local)
			case "show":
				after, err = r.Show(ctx, name, local)
				if err == nil {
					c.showChannel(name, after)
				}
				return err
			case "log":
				return c.channelLog(ctx, r, name, local)
			}
			if err != nil {
				return err
			}
			c.changed(action, name, remote, before, after)
			return nil
		},
	}
}

// changed says what a command made of a channel.
func (c *command) changed(action, name, remote string, before, after *author.State) {
	p := c.printer()
	p.Emit(channelFields(action, name, after))
	if before != nil && before.Gone {
		p.Warn("the channel " + name + " was gone from " + remote + "; it goes on after its last number, " + strconv.FormatUint(before.Sequence, 10))
	}
	p.Printf("channel %s, number %d:\n", name, after.Sequence)
	for _, k := range lastly {
		was, is := "", strings.Join(after.All(k), ", ")
		if before != nil {
			was = strings.Join(before.All(k), ", ")
		}
		switch {
		case was == is && is != "":
			p.Printf("  %s: %s\n", k, is)
		case was == "" && is != "":
			p.Printf("+ %s: %s\n", k, is)
		case is == "" && was != "":
			p.Printf("- %s: %s\n", k, was)
		case is != was:
			p.Printf("* %s: %s (was %s)\n", k, is, was)
		}
	}
	p.Printf("signed with %s\n", strings.Join(after.Keys, " and "))
	switch {
	case after.Trailless:
		p.Printf("pushed to %s\n", remote)
		p.Warn("the remote takes no refs below refs/godwit: only this clone keeps what the channel said before")
	case after.Pushed:
		p.Printf("pushed to %s\n", remote)
	default:
		p.Printf("not pushed; to do it: git push --force-with-lease %s refs/tags/channel/%s \"refs/godwit/channel/%s/*\"\n", remote, name, name)
	}
}

func (c *command) showChannel(name string, s *author.State) {
	p := c.printer()
	p.Emit(channelFields("show", name, s))
	p.Printf("channel %s, number %d, set %s by %s with %s\n", name, s.Sequence, s.Time.Format(time.DateTime)+" UTC", s.Tagger, strings.Join(s.Keys, " and "))
	for _, k := range lastly {
		for _, v := range s.All(k) {
			p.Printf("  %s: %s\n", k, v)
		}
	}
}

func (c *command) channelLog(ctx context.Context, r *author.Repository, name string, local bool) error {
	complete, err := r.Log(ctx, name, local, func(s *author.State) error {
		c.printer().Emit(channelFields("log", name, s))
		line := strconv.FormatUint(s.Sequence, 10) + "  " + s.Time.Format(time.DateTime) + "  " + s.Get("Release")
		for _, k := range lastly[2:] {
			if v := strings.Join(s.All(k), ", "); v != "" {
				line += "  " + k + ": " + v
			}
		}
		c.printer().Printf("%s  by %s\n", line, s.Tagger)
		return nil
	})
	if err == nil && !complete {
		c.printer().Warn("older states are not kept here")
	}
	return err
}
