package wire

import (
	"bytes"
	"errors"
	"hash/crc32"
	"io/fs"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/internal/http1"
)

// Names in State.
const (
	capabilitiesFile = "capabilities"
	pauseFile        = "retry-after"
)

// Remembered things are short texts: a title with a format number, lines
// "KEY VALUE", and a last line "sum CRC32" over all before it. What does not
// read exactly so counts as absent.

const maxRemembered = 16 << 10

type note struct{ b bytes.Buffer }

func newNote(title string) *note {
	n := &note{}
	n.b.WriteString(title + "\n")
	return n
}

func (n *note) add(key, value string) {
	n.b.WriteString(key + " " + value + "\n")
}

func (n *note) bytes() []byte {
	sum := crc32.ChecksumIEEE(n.b.Bytes())
	n.b.WriteString("sum " + strconv.FormatUint(uint64(sum), 16) + "\n")
	return n.b.Bytes()
}

// readNote calls fn for each line of a sound note, and reports whether it was
// one.
func readNote(b []byte, title string, fn func(key, value string)) bool {
	if len(b) > maxRemembered {
		return false
	}
	at := bytes.LastIndex(b, []byte("\nsum ")) + 1
	if at == 0 {
		return false
	}
	body, tail := string(b[:at]), string(b[at:])
	if tail != "sum "+strconv.FormatUint(uint64(crc32.ChecksumIEEE(b[:at])), 16)+"\n" {
		return false
	}
	first, rest, _ := strings.Cut(body, "\n")
	if first != title {
		return false
	}
	for line := range strings.Lines(rest) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		fn(key, value)
	}
	return true
}

const (
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
	n := newNote(capabilitiesTitle)
	n.add("url", t.conf)
	n.add("base", t.base)
	n.add("time", strconv.FormatInt(t.c.cfg.Now().Unix(), 10))
	n.add("version", strconv.Itoa(c.Version))
	n.add("format", c.ObjectFormat)
	n.add("agent", c.Agent)
	for _, f := range c.flags() {
		if *f.on {
			n.add("can", f.name)
		}
	}
	// A lost note costs one request: no reason to fail.
	if err := state.Save(capabilitiesFile, n.bytes()); err != nil {
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
	ok = readNote(b, capabilitiesTitle, func(key, value string) {
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

// A pause is what a host asks for with Retry-After (RFC 9110, 10.2.3). It is
// kept over restarts, so that a device that restarts in a loop does not become
// a burden to the host.
type pause struct {
	state  State
	now    func() time.Time
	host   string // host:port that asked
	loaded bool
	set    time.Time // when the host asked
	until  time.Time
}

const (
	pauseTitle   = "godwit retry-after 1"
	longestPause = 24 * time.Hour
	plainPause   = time.Minute // for 429 without a time
	// A clock that went back further than this since the pause was set was
	// wrong then or is now: the pause cannot be told any more and ends.
	clockSlack = 10 * time.Minute
)

// check fails while the pause is not over.
func (p *pause) check() error {
	if !p.loaded {
		p.loaded = true
		p.load()
	}
	if p.until.IsZero() {
		return nil
	}
	now := p.now()
	if now.Before(p.set.Add(-clockSlack)) || !now.Before(p.until) {
		p.clear()
		return nil
	}
	return p.err()
}

func (p *pause) err() error {
	host := p.host
	left := p.until.Sub(p.now()).Round(time.Second)
	return godwit.Fail(godwit.CodeRetryAfter, nil, host+" asks to be left alone until "+p.until.UTC().Format("2006-01-02 15:04:05")+" UTC, "+left.String()+" from now",
		"nothing to do: the next check after that time asks again")
}

// obey starts a pause if the answer asks for one, and returns it as an error.
func (p *pause) obey(resp *http1.Response) error {
	after := resp.Header.Get("Retry-After")
	switch resp.StatusCode {
	case http1.StatusTooManyRequests:
	case http1.StatusServiceUnavailable:
		if after == "" {
			return nil
		}
	case http1.StatusForbidden:
		// GitHub and others say so too when a quota is used up.
		if after == "" && resp.Header.Get("X-RateLimit-Remaining") == "0" {
			if s, err := strconv.ParseInt(resp.Header.Get("X-RateLimit-Reset"), 10, 64); err == nil && s > 0 && s < 1<<40 {
				after = time.Unix(s, 0).UTC().Format(http1.TimeFormat)
			}
		}
		if after == "" {
			return nil
		}
	default:
		return nil
	}
	now := p.now()
	wait, ok := parseRetryAfter(after, now)
	if !ok {
		if resp.StatusCode != http1.StatusTooManyRequests {
			return nil
		}
		wait = plainPause
	}
	wait = min(max(wait, time.Second), longestPause)
	p.set, p.until, p.loaded = now, now.Add(wait), true
	if p.state != nil {
		n := newNote(pauseTitle)
		n.add("host", p.host)
		n.add("set", strconv.FormatInt(p.set.Unix(), 10))
		n.add("until", strconv.FormatInt(p.until.Unix(), 10))
		p.state.Save(pauseFile, n.bytes())
	}
	return p.err()
}

// parseRetryAfter reads seconds or a date.
func parseRetryAfter(s string, now time.Time) (time.Duration, bool) {
	s = strings.TrimSpace(s)
	if s == "" {
		return 0, false
	}
	digits := strings.Trim(s, "0123456789") == ""
	if digits {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || n > int64(longestPause/time.Second) {
			return longestPause, true
		}
		return time.Duration(n) * time.Second, true
	}
	at, err := http1.ParseTime(s)
	if err != nil {
		return 0, false
	}
	return min(max(at.Sub(now), 0), longestPause), true
}

func (p *pause) load() {
	if p.state == nil {
		return
	}
	b, err := p.state.Load(pauseFile)
	if err != nil {
		return
	}
	set, until, ok := parsePauseNote(b, p.host)
	if ok {
		p.set, p.until = set, until
	}
}

func parsePauseNote(b []byte, host string) (set, until time.Time, ok bool) {
	same := false
	ok = readNote(b, pauseTitle, func(key, value string) {
		s, _ := strconv.ParseInt(value, 10, 64)
		switch key {
		case "host":
			same = value == host
		case "set":
			set = time.Unix(s, 0)
		case "until":
			until = time.Unix(s, 0)
		}
	})
	length := until.Sub(set)
	return set, until, ok && same && length > 0 && length <= longestPause+time.Second
}

func (p *pause) clear() {
	p.set, p.until = time.Time{}, time.Time{}
	if p.state != nil {
		if _, err := p.state.Load(pauseFile); !errors.Is(err, fs.ErrNotExist) {
			p.state.Save(pauseFile, nil)
		}
	}
}
