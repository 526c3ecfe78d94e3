package wire

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"strconv"
	"strings"
)

// A FetchRequest says which objects to send, and which need not be sent. Ids
// are lower-case hexadecimal.
type FetchRequest struct {
	Want []string
	// Have names objects that are here already: commits, and any others too. It
	// is ranged over several times and must give the same ids each time; it is
	// not ranged over after Fetch has returned.
	Have iter.Seq[string]
	// Shallow names commits that are here without their parents.
	Shallow []string
	Depth   int    // 1: no parents; 0: all history
	Filter  string // "blob:none", "blob:limit=1k"; "" for none (git-rev-list, --filter)

	ThinPack   bool // deltas may be against objects that Have implies
	OfsDelta   bool // deltas may name their base by its place in the pack
	IncludeTag bool // send annotated tags of what is sent

	// Negotiate lets a version 2 server send the pack only if something in Have
	// is part of the history of what is wanted. Otherwise Fetch fails with
	// ErrNotReady in the chain, and FetchInfo.Common says what of Have the server
	// knows. A version 0 server always sends the pack.
	Negotiate bool
}

// ErrNotReady is the answer to FetchRequest.Negotiate of a server that would
// rather hear more before it sends a pack.
var ErrNotReady = errors.New("the server found nothing in common and sends no pack")

// FetchInfo is what a server says before the pack.
type FetchInfo struct {
	Common    []string // objects of Have that the server acknowledged, at most a few thousand
	Shallow   []string // commits that come without their parents
	Unshallow []string // commits whose parents now come too
}

const maxInfoLines = 10000

func (r *FetchRequest) check(caps *Capabilities) error {
	n := caps.hexLen()
	for _, list := range [][]string{r.Want, r.Shallow} {
		for _, id := range list {
			if !isID(id, n) {
				return fmt.Errorf("%q is not an object id of a repository with %s", printable([]byte(id)), caps.ObjectFormat)
			}
		}
	}
	if strings.ContainsAny(r.Filter, " \n\x00") {
		return fmt.Errorf("the filter %q cannot be sent", r.Filter)
	}
	if len(r.Want) == 0 {
		return errors.New("nothing is wanted")
	}
	return nil
}

func (r *FetchRequest) haves() iter.Seq[string] {
	if r.Have == nil {
		return func(func(string) bool) {}
	}
	return r.Have
}

// write2 writes the command fetch of version 2.
func (r *FetchRequest) write2(w io.Writer, caps *Capabilities, agent string) error {
	p := pktWriter{w: w}
	p.line("command=fetch")
	commonCapabilities(&p, caps, agent)
	p.delim()
	if r.ThinPack {
		p.line("thin-pack")
	}
	p.line("no-progress")
	if r.OfsDelta {
		p.line("ofs-delta")
	}
	if r.IncludeTag {
		p.line("include-tag")
	}
	if caps.sidebandAll {
		p.line("sideband-all")
	}
	for _, id := range r.Shallow {
		p.line("shallow ", id)
	}
	if r.Depth > 0 {
		p.line("deepen ", strconv.Itoa(r.Depth))
	}
	if r.Filter != "" {
		p.line("filter ", r.Filter)
	}
	for _, id := range r.Want {
		p.line("want ", id)
	}
	r.writeHaves(&p, caps)
	if !r.Negotiate {
		p.line("done")
	}
	p.flush()
	return p.err
}

func (r *FetchRequest) writeHaves(p *pktWriter, caps *Capabilities) {
	n := caps.hexLen()
	for id := range r.haves() {
		if !isID(id, n) {
			p.err = fmt.Errorf("%q is not an object id of a repository with %s", printable([]byte(id)), caps.ObjectFormat)
		}
		if p.line("have ", id); p.err != nil {
			return
		}
	}
}

// write0 writes an upload-request of version 0 (gitprotocol-pack, "Packfile
// Negotiation").
func (r *FetchRequest) write0(w io.Writer, caps *Capabilities, agent string) error {
	var words strings.Builder
	word := func(send bool, s string) {
		if send {
			words.WriteByte(' ')
			words.WriteString(s)
		}
	}
	word(caps.band64k, "side-band-64k")
	word(caps.band && !caps.band64k, "side-band")
	word(r.ThinPack && caps.thinPack, "thin-pack")
	word(caps.noProgress, "no-progress")
	word(r.OfsDelta && caps.ofsDelta, "ofs-delta")
	word(r.IncludeTag && caps.includeTag, "include-tag")
	word(r.Filter != "", "filter")
	word(caps.object, "object-format="+caps.ObjectFormat)
	word(caps.agents, "agent="+agent)

	p := pktWriter{w: w}
	for i, id := range r.Want {
		if i == 0 {
			p.line("want ", id, words.String())
		} else {
			p.line("want ", id)
		}
	}
	for _, id := range r.Shallow {
		p.line("shallow ", id)
	}
	if r.Depth > 0 {
		p.line("deepen ", strconv.Itoa(r.Depth))
	}
	if r.Filter != "" {
		p.line("filter ", r.Filter)
	}
	p.flush()
	r.writeHaves(&p, caps)
	p.line("done")
	return p.err
}

// readSections2 reads the sections before the pack and leaves p at its first
// byte.
func readSections2(p *pktReader, caps *Capabilities) (FetchInfo, error) {
	var info FetchInfo
	ready := true
	for {
		kind, b, err := p.line()
		if err != nil {
			return info, unexpected(err)
		}
		if kind != pktData {
			return info, fmt.Errorf("%w: a %s packet instead of a section", errMalformed, kind)
		}
		section := string(b)
		if section == "packfile" {
			if !ready {
				return info, errors.New("the server sends a pack without being ready")
			}
			return info, nil
		}
		switch section {
		case "acknowledgments":
			ready = false
		case "shallow-info":
		default:
			return info, fmt.Errorf("an unknown section %q", printable(b))
		}
		for lines := 0; ; lines++ {
			kind, b, err = p.line()
			if err != nil {
				return info, unexpected(err)
			}
			if kind == pktDelim {
				break
			}
			if kind == pktFlush && !ready {
				return info, ErrNotReady
			}
			if kind != pktData || lines > maxInfoLines {
				return info, fmt.Errorf("%w: a %s packet within a section", errMalformed, kind)
			}
			if section == "acknowledgments" {
				switch word, id, _ := strings.Cut(string(b), " "); {
				case word == "ready":
					ready = true
				case word == "ACK" && isID(id, caps.hexLen()):
					info.Common = append(info.Common, id)
				case word != "NAK":
					return info, fmt.Errorf("not an acknowledgment: %q", printable(b))
				}
			} else if err := info.shallow(string(b), caps); err != nil {
				return info, err
			}
		}
	}
}

func (f *FetchInfo) shallow(line string, caps *Capabilities) error {
	word, id, _ := strings.Cut(line, " ")
	if !isID(id, caps.hexLen()) || len(f.Shallow)+len(f.Unshallow) > maxInfoLines {
		word = ""
	}
	switch word {
	case "shallow":
		f.Shallow = append(f.Shallow, id)
	case "unshallow":
		f.Unshallow = append(f.Unshallow, id)
	default:
		return fmt.Errorf("not a line about shallow commits: %q", printable([]byte(line)))
	}
	return nil
}

// readSections0 reads what a version 0 server sends before the pack.
func readSections0(p *pktReader, caps *Capabilities, deepen bool) (FetchInfo, error) {
	var info FetchInfo
	for lines := 0; deepen; lines++ {
		kind, b, err := p.line()
		if err != nil {
			return info, unexpected(err)
		}
		if kind == pktFlush {
			break
		}
		if kind != pktData || lines > maxInfoLines {
			return info, fmt.Errorf("%w: a %s packet among shallow commits", errMalformed, kind)
		}
		if err := info.shallow(string(b), caps); err != nil {
			return info, err
		}
	}
	// Without multi_ack there is exactly one line after "done".
	kind, b, err := p.line()
	if err != nil {
		return info, unexpected(err)
	}
	word, id, _ := strings.Cut(string(b), " ")
	switch {
	case kind != pktData:
		return info, fmt.Errorf("%w: a %s packet instead of an acknowledgment", errMalformed, kind)
	case word == "ACK" && isID(id, caps.hexLen()):
		info.Common = append(info.Common, id)
	case word != "NAK":
		return info, fmt.Errorf("not an acknowledgment: %q", printable(b))
	}
	return info, nil
}
