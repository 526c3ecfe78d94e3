package wire

import (
	"errors"
	"fmt"
	"io"
	"strings"
)

// A Ref is one name of a repository.
type Ref struct {
	Name string // "refs/heads/main", "HEAD"
	ID   string // of what it names, lower-case hexadecimal; "" for the HEAD of an empty repository
	// Peeled is the id that an annotated tag leads to, "" for anything else.
	Peeled string
	// SymrefTarget is the name that a symbolic ref stands for, "" for others.
	SymrefTarget string
}

// Most that is read of a list of refs. It only stops what never ends: a
// hundred times the largest known repositories.
const (
	maxRefBytes  = 1 << 30
	maxRefName   = 4096
	maxAdvertise = 64 << 10 // version 2 capability advertisement
)

// writeLsRefs writes the command ls-refs (gitprotocol-v2).
func writeLsRefs(w io.Writer, caps *Capabilities, agent string, prefixes []string) error {
	p := pktWriter{w: w}
	p.line("command=ls-refs")
	commonCapabilities(&p, caps, agent)
	p.delim()
	p.line("peel")
	p.line("symrefs")
	if caps.unborn {
		p.line("unborn")
	}
	for _, s := range prefixes {
		p.line("ref-prefix ", s)
	}
	p.flush()
	return p.err
}

func commonCapabilities(p *pktWriter, caps *Capabilities, agent string) {
	if caps.agents {
		p.line("agent=", agent)
	}
	if caps.object {
		p.line("object-format=", caps.ObjectFormat)
	}
}

// readLsRefs reads the answer to ls-refs, up to its flush packet.
func readLsRefs(p *pktReader, caps *Capabilities, fn func(Ref) error) error {
	for total := 0; ; {
		kind, b, err := p.line()
		if err != nil {
			return unexpected(err)
		}
		if kind == pktFlush {
			return nil
		}
		if total += len(b); kind != pktData || total > maxRefBytes || len(b) > 4*maxRefName {
			return malformedRefs(kind, b)
		}
		ref, err := parseLsRef(string(b), caps.hexLen())
		if err != nil {
			return err
		}
		if err := fn(ref); err != nil {
			return &callerError{err}
		}
	}
}

// A callerError came from the caller's own function and passes unchanged.
type callerError struct{ err error }

func (e *callerError) Error() string { return e.err.Error() }
func (e *callerError) Unwrap() error { return e.err }

func malformedRefs(kind pktKind, b []byte) error {
	if kind != pktData {
		return fmt.Errorf("%w: a %s packet in the list of refs", errMalformed, kind)
	}
	return errors.New("the list of refs is too long")
}

// parseLsRef reads "OID NAME [symref-target:NAME] [peeled:OID]", where OID may
// be "unborn".
func parseLsRef(line string, hexLen int) (Ref, error) {
	id, rest, ok := strings.Cut(line, " ")
	name, attributes, _ := strings.Cut(rest, " ")
	ref := Ref{Name: name, ID: id}
	if id == "unborn" {
		ref.ID = ""
	} else if !isID(id, hexLen) {
		ok = false
	}
	if !ok || !plausibleName(name) {
		return Ref{}, fmt.Errorf("not a ref: %q", printable([]byte(line)))
	}
	for a := range strings.FieldsSeq(attributes) {
		if s, ok := strings.CutPrefix(a, "symref-target:"); ok && plausibleName(s) {
			ref.SymrefTarget = s
		} else if s, ok := strings.CutPrefix(a, "peeled:"); ok {
			if !isID(s, hexLen) {
				return Ref{}, fmt.Errorf("not a ref: %q", printable([]byte(line)))
			}
			ref.Peeled = s
		}
	}
	return ref, nil
}

// plausibleName keeps out what could not be a ref's name (git-check-ref-format)
// and could do harm further on: control characters, empty names and long ones.
func plausibleName(s string) bool {
	if s == "" || len(s) > maxRefName {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c == 0x7f {
			return false
		}
	}
	return true
}

// An advertisement is what a server says first.
type advertisement struct {
	caps Capabilities
	// seen counts refs that were given to the caller's function.
	seen int
}

// readAdvertisement reads a server's first words: the capabilities of version
// 2, or those of version 0 with all refs (gitprotocol-pack, "Reference
// Discovery"), which go to fn if it is not nil. smart says that they come with
// HTTP's extra "# service" line, which some servers leave out.
func readAdvertisement(p *pktReader, smart bool, fn func(Ref) error) (a advertisement, err error) {
	kind, b, err := p.line()
	if err != nil {
		return a, unexpected(err)
	}
	if smart && kind == pktData && string(b) == "# service=git-upload-pack" {
		if kind, _, err = p.line(); err != nil || kind != pktFlush {
			return a, errors.Join(errors.New("no flush packet after the service line"), err)
		}
		if kind, b, err = p.line(); err != nil {
			return a, unexpected(err)
		}
	}
	if kind == pktData && string(b) == "version 2" {
		a.caps, err = readCapabilities2(p)
		return a, err
	}
	if kind == pktData && string(b) == "version 1" {
		if kind, b, err = p.line(); err != nil {
			return a, unexpected(err)
		}
	}
	return readAdvertisement0(p, kind, b, fn)
}

func readCapabilities2(p *pktReader) (Capabilities, error) {
	c := newCapabilities2()
	for total := 0; ; {
		kind, b, err := p.line()
		if err != nil {
			return c, unexpected(err)
		}
		if kind == pktFlush {
			break
		}
		if total += len(b) + 1; kind != pktData || total > maxAdvertise {
			return c, errors.New("the capability advertisement is not one")
		}
		if err := c.advertise(string(b)); err != nil {
			return c, err
		}
	}
	if !c.lsRefs || !c.fetch {
		return c, errors.New("the server offers protocol version 2 without ls-refs and fetch")
	}
	return c, nil
}

// readAdvertisement0 goes on after the first packet was read.
func readAdvertisement0(p *pktReader, kind pktKind, b []byte, fn func(Ref) error) (a advertisement, err error) {
	if kind == pktFlush {
		// A server without refs may send nothing at all.
		a.caps, err = parseCapabilities0("")
		return a, err
	}
	if kind != pktData {
		return a, malformedRefs(kind, b)
	}
	first, list, ok := strings.Cut(string(b), "\x00")
	if !ok {
		return a, fmt.Errorf("not a ref advertisement: %q", printable(b))
	}
	if a.caps, err = parseCapabilities0(list); err != nil {
		return a, err
	}
	var held Ref // may still be followed by what it peels to
	give := func() error {
		r := held
		held = Ref{}
		if r.Name == "" || fn == nil {
			return nil
		}
		if r.Name == "HEAD" {
			r.SymrefTarget = a.caps.head
		}
		a.seen++
		if err := fn(r); err != nil {
			return &callerError{err}
		}
		return nil
	}
	line := first
	for total := 0; ; {
		id, name, ok := strings.Cut(line, " ")
		peels, isPeeled := strings.CutSuffix(name, "^{}")
		switch {
		case id == "shallow" && isID(name, a.caps.hexLen()): // the server's own
		case !ok || !isID(id, a.caps.hexLen()) || !plausibleName(name):
			return a, fmt.Errorf("not a ref: %q", printable([]byte(line)))
		case name == "capabilities^{}": // no refs
			if a.caps.head != "" && fn != nil {
				held = Ref{Name: "HEAD"}
			}
		case isPeeled && peels == held.Name:
			held.Peeled = id
		default:
			if err := give(); err != nil {
				return a, err
			}
			held = Ref{Name: name, ID: id}
		}
		kind, b, err := p.line()
		if err != nil {
			return a, unexpected(err)
		}
		if kind == pktFlush {
			return a, give()
		}
		if total += len(b); kind != pktData || total > maxRefBytes || len(b) > 4*maxRefName {
			return a, malformedRefs(kind, b)
		}
		line = string(b)
	}
}

// matches reports whether name begins with one of the prefixes; none match all.
func matches(name string, prefixes []string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(name, p) {
			return true
		}
	}
	return len(prefixes) == 0
}
