package wire

import (
	"net/url"
	"strconv"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/internal/webclient"
)

const (
	capabilitiesFile  = "capabilities" // in State
	capabilitiesTitle = "godwit capabilities 1"
	// Capabilities are read anew after this time, so that what a server learns
	// is found out.
	capabilitiesAge = 7 * 24 * time.Hour
)

// remember saves what the server can do, and where it is.
func (t *httpTransport) remember(c *Capabilities) {
	state := t.c.cfg.State
	if state == nil || t.fickle {
		return
	}
	n := webclient.NewNote(capabilitiesTitle)
	n.Add("url", t.conf)
	n.Add("base", t.base)
	n.Add("time", strconv.FormatInt(t.c.cfg.Now().Unix(), 10))
	n.Add("version", strconv.Itoa(c.Version))
	n.Add("format", c.ObjectFormat)
	n.Add("agent", c.Agent)
	for _, f := range c.flags() {
		if *f.on {
			n.Add("can", f.name)
		}
	}
	// A lost note costs one request: no reason to fail.
	if err := state.Save(capabilitiesFile, n.Bytes()); err != nil {
		t.c.cfg.Events.Say(godwit.StageCheck, godwit.Debug, "capabilities not remembered: "+err.Error())
	}
}

type flag struct {
	name string
	on   *bool
}

func (c *Capabilities) flags() []flag {
	return []flag{{"filter", &c.Filter}, {"shallow", &c.Shallow}, {"want-any", &c.WantAny},
		{"unborn", &c.unborn}, {"sideband-all", &c.sidebandAll}, {"ls-refs", &c.lsRefs}, {"fetch", &c.fetch},
		{"thin-pack", &c.thinPack}, {"ofs-delta", &c.ofsDelta}, {"no-progress", &c.noProgress}, {"include-tag", &c.includeTag},
		{"side-band", &c.band}, {"side-band-64k", &c.band64k}, {"object-format", &c.object}, {"agent", &c.agents}}
}

// recall is the inverse of remember.
func (t *httpTransport) recall(into *Capabilities) bool {
	if t.c.cfg.State == nil {
		return false
	}
	b, err := t.c.cfg.State.Load(capabilitiesFile)
	if err != nil {
		return false
	}
	c, where, base, when, ok := parseCapabilitiesNote(b)
	age := t.c.cfg.Now().Sub(when)
	if !ok || where != t.conf || age < -24*time.Hour || age > capabilitiesAge || !t.mayMoveTo(base) {
		return false
	}
	*into, t.base = c, base
	return true
}

// mayMoveTo guards against a base that a redirect could not have led to.
func (t *httpTransport) mayMoveTo(base string) bool {
	u, err := url.Parse(base)
	if err != nil || u.User != nil || u.Host == "" {
		return false
	}
	return u.Scheme == "https" || u.Scheme == "http" && t.c.at.scheme == "http"
}

func parseCapabilitiesNote(b []byte) (c Capabilities, where, base string, when time.Time, ok bool) {
	flags := c.flags()
	ok = webclient.ReadNote(b, capabilitiesTitle, func(key, value string) {
		switch key {
		case "url":
			where = value
		case "base":
			base = value
		case "time":
			s, _ := strconv.ParseInt(value, 10, 64)
			when = time.Unix(s, 0)
		case "version":
			c.Version, _ = strconv.Atoi(value)
		case "format":
			c.ObjectFormat = value
		case "agent":
			c.Agent = value
		case "can":
			for _, f := range flags {
				if f.name == value {
					*f.on = true
				}
			}
		}
	})
	ok = ok && (c.Version == 2 && c.lsRefs && c.fetch || c.Version == 0) && (c.ObjectFormat == "sha1" || c.ObjectFormat == "sha256")
	return c, where, base, when, ok
}

func (t *httpTransport) forget() {
	if s := t.c.cfg.State; s != nil {
		s.Save(capabilitiesFile, nil)
	}
	t.base, t.fickle = t.conf, false
}
