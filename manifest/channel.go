package manifest

import (
	"errors"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/internal/jsontext"
)

// maxChannel is how long a channel file may be.
const maxChannel = 64 << 10

// maxWaves is how many waves a channel may have.
const maxWaves = 64

// A Channel is what a channel file says. Its fields mean what those of
// godwit.Orders do.
type Channel struct {
	Name     string
	Sequence uint64
	Release  string
	Manifest string // SHA-256 of the bytes of the release's manifest, in lower-case hexadecimal
	Product  string
	Rollout  int // percent; if the file has none: 100, or 0 when there are waves. A 0 in the file halts
	Waves    []godwit.Label
	Window   godwit.Window
	Floor    string
	// FloorManifest is to the floor what Manifest is to the release; "" if it does
	// not say.
	FloorManifest string
	NotAfter      time.Time
	RollbackTo    string
	Halt          string
	Time          time.Time
	Highest       string // the highest version that the channel has given so far, for those who set it
}

// HaltZero is the Halt of a channel that gives its release to nobody by a rollout
// of 0.
const HaltZero = "its roll-out is 0%"

// ReadChannel reads a channel file. What is malformed has CodeBadStatement.
//
//	{"channel": "stable", "sequence": 42, "release": "v1.4.0",
//	 "manifest": "SHA-256 of the manifest", "product": "station",
//	 "rollout": 25, "waves": ["site=lab"], "window": "02:00-04:00",
//	 "floor": "v1.2.0", "floor_manifest": "…", "not_after": "2027-01-31T00:00:00Z",
//	 "rollback_to": "v1.3.0", "halt": "why", "time": "2026-11-23T12:00:00Z",
//	 "highest": "v1.4.0"}
func ReadChannel(r io.ReaderAt, size int64) (Channel, error) {
	c := Channel{Rollout: -1}
	stopped := false
	d, err := open(r, size, maxChannel, &channelWords)
	if err != nil {
		return c, err
	}
	for {
		name, k, err := d.member()
		if err != nil {
			return c, err
		}
		if k == jsontext.End {
			if stopped && c.Halt == "" {
				c.Halt = HaltZero
			}
			return c, c.complete()
		}
		if k == jsontext.Null {
			continue
		}
		switch name {
		case "channel":
			c.Name, err = d.word(name, k)
		case "sequence":
			c.Sequence, err = d.number(name, k)
		case "release":
			c.Release, err = d.word(name, k)
		case "manifest":
			c.Manifest, err = d.sum(name, k)
		case "product":
			c.Product, err = d.word(name, k)
		case "rollout":
			var n uint64
			if n, err = d.number(name, k); err == nil && n > 100 {
				err = d.wrong(name, "a percentage from 0 to 100")
			}
			c.Rollout = int(n)
			stopped = n == 0
		case "waves":
			err = d.list(name, k, func(k jsontext.Kind) error {
				s, err := d.word(name, k)
				if err != nil {
					return err
				}
				label, err := ParseLabel(s)
				if err != nil {
					return d.wrong(name, "a list of labels: "+err.Error())
				}
				if len(c.Waves) == maxWaves {
					return d.wrong(name, "a list of at most "+strconv.Itoa(maxWaves)+" labels")
				}
				c.Waves = append(c.Waves, label)
				return nil
			})
		case "window":
			var s string
			if s, err = d.word(name, k); err == nil && s != "" {
				if c.Window, err = ParseWindow(s); err != nil {
					err = d.wrong(name, "hours: "+err.Error())
				}
			}
		case "floor":
			c.Floor, err = d.word(name, k)
		case "floor_manifest":
			c.FloorManifest, err = d.sum(name, k)
		case "not_after":
			c.NotAfter, err = d.time(name, k)
		case "rollback_to":
			c.RollbackTo, err = d.word(name, k)
		case "halt":
			c.Halt, err = d.line(name, k, 1000)
		case "time":
			c.Time, err = d.time(name, k)
		case "highest":
			c.Highest, err = d.word(name, k)
		default:
			err = d.Skip()
		}
		if err != nil {
			return c, d.explain(err)
		}
	}
}

// sum reads the id of a release.
func (d *document) sum(name string, k jsontext.Kind) (string, error) {
	s, err := d.id(name, k)
	if err == nil && len(s) != 64 {
		err = d.wrong(name, "the SHA-256 of a release's manifest, in lower-case hexadecimal")
	}
	return s, err
}

// complete checks what a channel cannot be without.
func (c *Channel) complete() error {
	missing := ""
	switch {
	case c.Name == "":
		missing = "channel"
	case c.Sequence == 0:
		missing = "sequence"
	case c.Release == "":
		missing = "release"
	case c.Manifest == "":
		missing = "manifest"
	case c.Time.IsZero():
		missing = "time"
	}
	if missing != "" {
		return channelWords.fail(nil, strconv.Quote(missing)+" is missing")
	}
	if c.Rollout < 0 {
		c.Rollout = 100
		if len(c.Waves) > 0 {
			c.Rollout = 0
		}
	}
	return nil
}

// Append appends the channel file to b. Fields that have their zero value are
// left out, and so is the rollout that ReadChannel takes for granted then.
func (c Channel) Append(b []byte) []byte {
	o := object{b: b}
	o.text("channel", c.Name)
	o.member("sequence", strconv.FormatUint(c.Sequence, 10))
	o.text("release", c.Release)
	o.text("manifest", c.Manifest)
	o.text("product", c.Product)
	if implied := c.Rollout == 100 && len(c.Waves) == 0 || c.Rollout == 0 && len(c.Waves) > 0 && c.Halt != HaltZero; !implied {
		o.member("rollout", strconv.Itoa(c.Rollout))
	}
	var waves []string
	for _, w := range c.Waves {
		waves = append(waves, w.String())
	}
	o.list("waves", waves)
	if c.Window != (godwit.Window{}) {
		o.text("window", FormatWindow(c.Window))
	}
	o.text("floor", c.Floor)
	o.text("floor_manifest", c.FloorManifest)
	o.time("not_after", c.NotAfter)
	o.text("rollback_to", c.RollbackTo)
	o.text("halt", c.Halt)
	o.time("time", c.Time)
	o.text("highest", c.Highest)
	return append(o.b, "\n}\n"...)
}

// ParseWindow reads hours of the day such as "02:00-04:00".
func ParseWindow(s string) (w godwit.Window, err error) {
	from, to, ok := strings.Cut(s, "-")
	if ok {
		if w.From, ok = minutes(from); ok {
			w.To, ok = minutes(to)
		}
	}
	if !ok {
		return godwit.Window{}, errors.New(strconv.Quote(s) + " is not of the form 02:00-04:00")
	}
	return w, nil
}

func minutes(s string) (int, bool) {
	s = strings.TrimSpace(s)
	if len(s) != 5 || s[2] != ':' {
		return 0, false
	}
	h, err1 := strconv.ParseUint(s[:2], 10, 8)
	m, err2 := strconv.ParseUint(s[3:], 10, 8)
	ok := err1 == nil && err2 == nil && m < 60 && (h < 24 || h == 24 && m == 0)
	return int(h)%24*60 + int(m), ok
}

// FormatWindow gives the form that ParseWindow reads.
func FormatWindow(w godwit.Window) string {
	clock := func(n int) string {
		return string([]byte{'0' + byte(n/600), '0' + byte(n/60%10), ':', '0' + byte(n%60/10), '0' + byte(n%10)})
	}
	return clock(w.From) + "-" + clock(w.To)
}

// ParseLabel reads a label of a device such as "site=lab".
func ParseLabel(s string) (godwit.Label, error) {
	key, value, ok := strings.Cut(s, "=")
	key, value = strings.TrimSpace(key), strings.TrimSpace(value)
	if !ok || key == "" || value == "" {
		return godwit.Label{}, errors.New(strconv.Quote(s) + " is not of the form site=lab")
	}
	return godwit.Label{Key: key, Value: value}, nil
}
