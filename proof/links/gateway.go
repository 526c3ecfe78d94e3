//go:build linux

package main

import "encoding/binary"

// A gateway remembers the connections that pass it, and forgets them all when so
// many bytes have passed: what then still comes does not pass. A new connection
// does.
type gateway struct {
	after  int // 0 for never
	passed int
	flows  map[flow]*state
	resets []reset
}

// A flow is a TCP connection, the device's end first.
type flow struct {
	device, host     [4]byte
	fromPort, toPort uint16
}

// state is what is known of a flow: which byte comes next from each end.
type state struct {
	next [2]uint32
	dead bool
}

// A reset is to be sent to one end of a flow.
type reset struct {
	to   int
	flow flow
	seq  uint32
}

const (
	tcpFin = 1 << iota
	tcpSyn
	tcpRst
	_
	tcpAck
)

// pass judges a packet that came from one end, and says whether this one was
// the last that passed before all was cut.
func (g *gateway) pass(d int, b []byte) (ok, cut bool) {
	head := int(b[0]&15) * 4
	if g.after == 0 || b[9] != 6 || len(b) < head+20 {
		return true, false
	}
	t := b[head:]
	var f flow
	copy(f.device[:], b[12:16])
	copy(f.host[:], b[16:20])
	f.fromPort, f.toPort = binary.BigEndian.Uint16(t), binary.BigEndian.Uint16(t[2:])
	if d == fromHost {
		f.device, f.host, f.fromPort, f.toPort = f.host, f.device, f.toPort, f.fromPort
	}
	seq, ack, flags := binary.BigEndian.Uint32(t[4:]), binary.BigEndian.Uint32(t[8:]), t[13]
	end := seq + uint32(len(t)-int(t[12]>>4)*4)
	if flags&(tcpSyn|tcpFin) != 0 {
		end++
	}
	s := g.flows[f]
	if flags&tcpSyn != 0 && flags&tcpAck == 0 && (s == nil || s.dead) {
		s = &state{}
		g.flows[f] = s
	}
	switch {
	case s == nil:
		return true, false
	case s.dead:
		// To whom it was told and who did not hear it, it is told again.
		if flags&tcpRst == 0 && flags&tcpAck != 0 {
			g.resets = append(g.resets, reset{d, f, ack})
		}
		return false, false
	}
	if int32(end-s.next[d]) > 0 || s.next[d] == 0 {
		s.next[d] = end
	}
	if g.passed += len(b); g.passed < g.after {
		return true, false
	}
	g.passed = 0
	for f, s := range g.flows {
		if !s.dead {
			s.dead = true
			g.resets = append(g.resets, reset{fromDevice, f, s.next[fromHost]}, reset{fromHost, f, s.next[fromDevice]})
		}
	}
	return true, true
}

func (g *gateway) takeResets() []reset {
	r := g.resets
	g.resets = nil
	return r
}

// packet is the reset as the other end of the flow would send it.
func (r reset) packet() []byte {
	f := r.flow
	b := make([]byte, 40)
	b[0], b[8], b[9] = 0x45, 64, 6
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	from, to, fromPort, toPort := f.host, f.device, f.toPort, f.fromPort
	if r.to == fromHost {
		from, to, fromPort, toPort = f.device, f.host, f.fromPort, f.toPort
	}
	copy(b[12:], from[:])
	copy(b[16:], to[:])
	binary.BigEndian.PutUint16(b[10:], sum(b[:20], 0))
	t := b[20:]
	binary.BigEndian.PutUint16(t, fromPort)
	binary.BigEndian.PutUint16(t[2:], toPort)
	binary.BigEndian.PutUint32(t[4:], r.seq)
	t[12], t[13] = 5<<4, tcpRst
	// The pseudo header: both addresses, the protocol, the length.
	binary.BigEndian.PutUint16(t[16:], sum(b[12:], 6+uint32(len(t))))
	return b
}

// sum is the checksum of the Internet protocols.
func sum(b []byte, start uint32) uint16 {
	s := start
	for ; len(b) > 1; b = b[2:] {
		s += uint32(binary.BigEndian.Uint16(b))
	}
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return ^uint16(s)
}
