package trust

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/internal/semver"
	"github.com/godwit-ota/godwit/manifest"
	"github.com/godwit-ota/godwit/trust/tagtext"
)

// Orders judges the statement of the channel that tip names, and reads it.
//
// Without a channel there are no orders; where the device has followed one, that
// is CodeWithdrawn. Orders that are older than the last, or others under the
// same number, are CodeReplayed.
func (g *Gate) Orders(_ context.Context, s godwit.Statement, tip godwit.Tip, m godwit.Memory) (godwit.Orders, error) {
	m, err := g.about(m)
	if err != nil {
		return godwit.Orders{}, err
	}
	if tip.Channel == "" {
		if g.c.Mode != None && g.c.Channel != "" && m.Channel == g.c.Channel && m.Sequence > 0 {
			return godwit.Orders{}, godwit.Fail(godwit.CodeWithdrawn, nil, "the host no longer shows the channel "+m.Channel+", which this device follows",
				"set the channel again; until then nothing is installed, since the host may be hiding it. Where it was given up on purpose, run godwit update --forget on the device")
		}
		return godwit.Orders{}, nil
	}
	// The name is the one that the device follows, whatever the host calls it.
	name := g.c.Channel
	if name == "" {
		name = strings.TrimPrefix(strings.TrimPrefix(tip.Ref, "refs/tags/"), "channel/")
	}
	var ch manifest.Channel
	said := tip.Channel // however often it is signed
	switch {
	case g.c.Mode == None || g.c.Mode == HMAC:
		if s.Form != godwit.FileStatement {
			return godwit.Orders{}, g.step("signature", "", godwit.Fail(godwit.CodeUnsigned, nil, "the channel "+name+" is a tag, which is believed only with trust.mode = \"signed\"", ""))
		}
		if g.c.Mode == HMAC {
			if err := g.step("signature", "the HMAC is right", manifest.CheckHMAC(s.Body, s.Size, g.c.Key)); err != nil {
				return godwit.Orders{}, err
			}
		}
		ch, err = manifest.ReadChannel(s.Body, s.Size)
	default:
		var signers []signer
		if signers, err = g.signatures(s, m, "the channel "+name); err != nil {
			return godwit.Orders{}, err
		}
		if s.Form == godwit.TagStatement {
			var t *tagtext.Tag
			if t, err = tagtext.Parse(signers[0].text); err == nil {
				ch, err = readChannel(t)
			}
			sum := sha256.Sum256(signers[0].text)
			said = hex.EncodeToString(sum[:])
		} else {
			ch, err = manifest.ReadChannel(s.Body, s.Size)
		}
		if err == nil {
			_, err = g.count(signers, ch.Time, "the channel "+name)
		}
	}
	if err != nil {
		return godwit.Orders{}, g.step("content", "", err)
	}
	o := godwit.Orders{
		Channel: ch.Name, ID: tip.Channel, Sequence: ch.Sequence, Release: ch.Release, Commit: ch.Manifest, Product: ch.Product,
		Rollout: ch.Rollout, Waves: ch.Waves, Window: ch.Window, Floor: ch.Floor, FloorID: ch.FloorManifest, NotAfter: ch.NotAfter, RollbackTo: ch.RollbackTo, Halt: ch.Halt, Time: ch.Time,
	}
	if err := g.step("name", "it is the channel "+name, sameName(name, ch.Name, "channel")); err != nil {
		return o, err
	}
	if err := g.product(ch.Product, "the channel "+name); err != nil {
		return o, err
	}
	if o.RollbackTo != "" && o.RollbackTo != o.Release {
		return o, g.step("content", "", tagtext.Bad("of the channel "+name+" says Rollback-To: "+o.RollbackTo+" and Release: "+o.Release))
	}
	if err := g.step("newer", "number "+strconv.FormatUint(o.Sequence, 10), replayed(o, said, m)); err != nil {
		return o, err
	}
	now, set := m.Now(g.c.Now())
	if o.Sequence > m.Sequence || o.Channel != m.Channel {
		if o.RollbackTo != "" {
			m.Version, m.Time = o.RollbackTo, godwit.Memory{}.Time
		}
		m.Product, m.Channel, m.Sequence, m.Orders = g.c.Product, o.Channel, o.Sequence, said
		m = m.Tick(o.Time, now, set)
	}
	o.Memory = m
	return o, nil
}

// replayed compares orders, and the digest of what they said, with the last ones
// of the same channel.
func replayed(o godwit.Orders, said string, m godwit.Memory) error {
	same := o.Channel == m.Channel
	if o.RollbackTo != "" && o.Time.Before(m.Time) && !(same && said == m.Orders) {
		// By a key, maybe, that has ended since.
		return godwit.Fail(godwit.CodeReplayed, nil, "the channel "+o.Channel+" goes back to "+o.RollbackTo+" by orders of "+day(o.Time)+", before this device's newest release of "+day(m.Time),
			"set the channel again, on a machine whose clock is right")
	}
	if !same {
		return nil
	}
	n, last := strconv.FormatUint(o.Sequence, 10), strconv.FormatUint(m.Sequence, 10)
	switch {
	case o.Sequence < m.Sequence:
		return godwit.Fail(godwit.CodeReplayed, nil, "the host shows number "+n+" of the channel "+o.Channel+", and this device has seen number "+last,
			"the host gives out an old state; if the channel was made anew, set it with --number "+strconv.FormatUint(m.Sequence+1, 10))
	case o.Sequence == m.Sequence && said != m.Orders:
		return godwit.Fail(godwit.CodeReplayed, nil, "number "+n+" of the channel "+o.Channel+" says something else than before", "set the channel again, which gives it the next number")
	}
	return nil
}

// readChannel reads the trailers of a channel's tag.
func readChannel(t *tagtext.Tag) (manifest.Channel, error) {
	c := manifest.Channel{Name: strings.TrimPrefix(t.Name, "channel/"), Manifest: t.Object, Time: t.Time,
		Release: t.Get("Release"), Product: t.Get("Product"), Floor: t.Get("Floor"), FloorManifest: t.Get("Floor-Commit"), RollbackTo: t.Get("Rollback-To"), Halt: t.Get("Halt")}
	bad := func(key, form string) error {
		return tagtext.Bad(strconv.Quote(t.Name) + " has the trailer " + key + ": " + t.Get(key) + ", which is not " + form)
	}
	if c.Name == t.Name {
		return c, godwit.Fail(godwit.CodeWrongName, nil, "what is signed there is the tag "+strconv.Quote(t.Name)+" and no channel", "the host gives one tag out as another")
	}
	var err error
	if c.Sequence, err = strconv.ParseUint(t.Get("Sequence"), 10, 63); err != nil || c.Sequence == 0 {
		return c, bad("Sequence", "a number from 1")
	}
	if c.Release == "" {
		return c, tagtext.Bad(strconv.Quote(t.Name) + " has no trailer Release")
	}
	for _, w := range t.All("Wave") {
		l, err := manifest.ParseLabel(w)
		if err != nil {
			return c, tagtext.Bad(strconv.Quote(t.Name) + " has a trailer Wave: " + err.Error())
		}
		c.Waves = append(c.Waves, l)
	}
	switch percent := t.Get("Rollout"); {
	case percent != "":
		n, ok := strings.CutSuffix(percent, "%")
		if c.Rollout, err = strconv.Atoi(n); err != nil || !ok || c.Rollout < 0 || c.Rollout > 100 {
			return c, bad("Rollout", "0% to 100%")
		}
		if c.Rollout == 0 && c.Halt == "" {
			c.Halt = "its roll-out is 0%"
		}
	case len(c.Waves) == 0:
		c.Rollout = 100
	}
	if w := t.Get("Window"); w != "" {
		if c.Window, err = manifest.ParseWindow(w); err != nil {
			return c, bad("Window", "of the form 02:00-04:00")
		}
	}
	if _, ok := semver.Parse(c.Floor); c.Floor != "" && !ok {
		return c, bad("Floor", "a version")
	}
	c.NotAfter, err = t.When("Not-After")
	return c, err
}
