package wire

import (
	"errors"
	"fmt"
	"strings"
)

// Capabilities is what a server said it can do.
type Capabilities struct {
	Version      int    // of the protocol: 2 or 0
	ObjectFormat string // "sha1" or "sha256"
	Filter       bool   // FetchRequest.Filter may be set
	Shallow      bool   // FetchRequest.Depth and Shallow may be set
	// WantAny: any object may be wanted by its id, blobs too. Version 2 servers
	// allow that, version 0 servers where configured to.
	WantAny bool
	Agent   string // what the server calls itself; may be empty

	unborn, sidebandAll, lsRefs, fetch         bool // version 2
	thinPack, ofsDelta, noProgress, includeTag bool // version 0; version 2 always
	band, band64k, object, agents              bool
	head                                       string // version 0: what HEAD points to
}

// advertise takes in one line of a version 2 capability advertisement.
func (c *Capabilities) advertise(line string) error {
	key, value, _ := strings.Cut(line, "=")
	if key == "" {
		return errors.New("an empty capability")
	}
	switch key {
	case "agent":
		c.Agent, c.agents = printable([]byte(value)), true
	case "object-format":
		if value != "sha1" && value != "sha256" {
			return fmt.Errorf("the object format %q is not known", printable([]byte(value)))
		}
		c.ObjectFormat, c.object = value, true
	case "ls-refs":
		c.lsRefs = true
		c.unborn = hasWord(value, "unborn")
	case "fetch":
		c.fetch = true
		c.Shallow = hasWord(value, "shallow")
		c.Filter = hasWord(value, "filter")
		c.sidebandAll = hasWord(value, "sideband-all")
	}
	return nil
}

// newCapabilities2 are those that a version 2 server has without saying so.
func newCapabilities2() Capabilities {
	return Capabilities{Version: 2, ObjectFormat: "sha1", WantAny: true,
		thinPack: true, ofsDelta: true, noProgress: true, includeTag: true, band64k: true}
}

// parseCapabilities0 reads the list after the NUL of a version 0 ref
// advertisement (gitprotocol-capabilities).
func parseCapabilities0(list string) (Capabilities, error) {
	c := Capabilities{ObjectFormat: "sha1"}
	var tip, reachable bool // a server that allows any object says both
	for word := range strings.FieldsSeq(list) {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "agent":
			c.Agent, c.agents = printable([]byte(value)), true
		case "object-format":
			if value != "sha1" && value != "sha256" {
				return c, fmt.Errorf("the object format %q is not known", printable([]byte(value)))
			}
			c.ObjectFormat, c.object = value, true
		case "symref":
			if from, to, _ := strings.Cut(value, ":"); from == "HEAD" {
				c.head = to
			}
		case "shallow":
			c.Shallow = true
		case "filter":
			c.Filter = true
		case "allow-tip-sha1-in-want":
			tip = true
		case "allow-reachable-sha1-in-want":
			reachable = true
		case "thin-pack":
			c.thinPack = true
		case "ofs-delta":
			c.ofsDelta = true
		case "no-progress":
			c.noProgress = true
		case "include-tag":
			c.includeTag = true
		case "side-band":
			c.band = true
		case "side-band-64k":
			c.band64k = true
		}
	}
	c.WantAny = tip && reachable
	return c, nil
}

func hasWord(list, word string) bool {
	for w := range strings.FieldsSeq(list) {
		if w == word {
			return true
		}
	}
	return false
}

// hexLen is the length of an object id in hexadecimal digits.
func (c *Capabilities) hexLen() int {
	if c.ObjectFormat == "sha256" {
		return 64
	}
	return 40
}

// isID reports whether s is an object id of n lower-case hexadecimal digits.
func isID(s string, n int) bool {
	if len(s) != n {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !('0' <= c && c <= '9' || 'a' <= c && c <= 'f') {
			return false
		}
	}
	return true
}
