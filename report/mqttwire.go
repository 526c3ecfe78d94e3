package report

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"unicode/utf8"
)

// The part of MQTT 5 that a publisher needs. Numbers of sections are those of
// the OASIS Standard "MQTT Version 5.0" of 7 March 2019.
//
// A library was measured first: github.com/eclipse/paho.golang/paho 0.23 costs
// 225 kB of the binary, ten times as much as this.

// Types of control packets (2.1.2), with their flags (2.1.3) where they are fixed.
const (
	mqttConnect    = 0x10
	mqttConnack    = 0x20
	mqttPublish1   = 0x32 // QoS 1, not a duplicate, not retained
	mqttPuback     = 0x40
	mqttDisconnect = 0xe0
)

// Identifiers of properties (2.2.2.2).
const (
	propPayloadFormat   = 0x01
	propContentType     = 0x03
	propServerReference = 0x1c
	propReason          = 0x1f
	propMaximumQoS      = 0x24
	propUser            = 0x26
	propMaximumPacket   = 0x27
)

// Two of the reason codes (2.4).
const (
	codeVersion = 0x84 // unsupported protocol version
	codeNoQoS   = 0x9b // QoS not supported
)

// maxIncoming is the largest packet that we take, in bytes: what is sent to
// somebody who only publishes has no contents. We say so in CONNECT.
const maxIncoming = 4 << 10

var errMQTT = errors.New("malformed MQTT")

// An mqttPacket is one that came from the broker.
type mqttPacket struct {
	head byte   // type and flags
	body []byte // what follows the length
}

// readPacket reads a control packet (2.1) of a type that we can get.
func readPacket(r *bufio.Reader) (p mqttPacket, err error) {
	if p.head, err = r.ReadByte(); err != nil {
		return p, err
	}
	if p.head != mqttConnack && p.head != mqttPuback && p.head != mqttDisconnect {
		return p, errMQTT // nothing else comes to somebody who only publishes
	}
	// The remaining length is a variable byte integer (1.5.5).
	n, shift := 0, 0
	for {
		b, err := r.ReadByte()
		if err != nil {
			return p, cutShort(err)
		}
		n |= int(b&0x7f) << shift
		if b&0x80 == 0 {
			if b == 0 && shift > 0 {
				return p, errMQTT // not its shortest form
			}
			break
		}
		if shift += 7; shift > 21 {
			return p, errMQTT
		}
	}
	if n > maxIncoming {
		return p, errMQTT
	}
	p.body = make([]byte, n)
	_, err = io.ReadFull(r, p.body)
	return p, cutShort(err)
}

func cutShort(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// An mqttAnswer is what a CONNACK, a PUBACK or a DISCONNECT says.
type mqttAnswer struct {
	id   uint16 // PUBACK: of the packet that it answers
	code byte   // reason code (2.4)

	// Properties.
	reason    string // for people
	reference string // where to go instead
	maxQoS    byte
	maxPacket uint32 // the largest that the broker takes, in bytes
}

// parseAnswer reads the three packets that a publisher gets.
func parseAnswer(p mqttPacket) (a mqttAnswer, err error) {
	a.maxQoS, a.maxPacket = 2, 1<<32-1 // unless it says otherwise
	m := mqttReader{b: p.body}
	switch p.head {
	case mqttConnack: // 3.2
		flags := m.u8()
		a.code = m.u8()
		// 3.2.2.1.1: a session that is there already is not ours, for we have none.
		m.bad = m.bad || flags != 0
		if len(m.b) == 0 && !m.bad {
			a.code = codeVersion // MQTT 3 has no properties
			break
		}
		m.properties(&a)
		if a.maxQoS == 0 && a.code == 0 {
			a.code = codeNoQoS
		}
	case mqttPuback: // 3.4; code and properties may be missing
		a.id = m.u16()
		m.optional(&a)
	default: // DISCONNECT, 3.14; the same
		m.optional(&a)
	}
	if m.bad || len(m.b) > 0 {
		return a, errMQTT
	}
	return a, nil
}

// An mqttReader takes fields from a packet. After the first that is not there
// bad is set, and it gives zeros.
type mqttReader struct {
	b   []byte
	bad bool
}

func (m *mqttReader) next(n int) []byte {
	if n > len(m.b) {
		m.b, m.bad = nil, true
	}
	if m.bad {
		return nil
	}
	b := m.b[:n]
	m.b = m.b[n:]
	return b
}

// number reads a big-endian number of n bytes, at most 4 (1.5.2, 1.5.3).
func (m *mqttReader) number(n int) (v uint32) {
	for _, c := range m.next(n) {
		v = v<<8 | uint32(c)
	}
	return v
}

func (m *mqttReader) u8() byte    { return byte(m.number(1)) }
func (m *mqttReader) u16() uint16 { return uint16(m.number(2)) }

// variable reads a variable byte integer (1.5.5).
func (m *mqttReader) variable() int {
	n := 0
	for shift := 0; shift <= 21; shift += 7 {
		b := m.u8()
		n |= int(b&0x7f) << shift
		if b&0x80 == 0 {
			m.bad = m.bad || b == 0 && shift > 0
			return n
		}
	}
	m.bad = true
	return 0
}

// text reads a UTF-8 string (1.5.4).
func (m *mqttReader) text() string {
	b := m.next(int(m.u16()))
	m.bad = m.bad || !utf8.Valid(b)
	return string(b)
}

// optional reads a reason code and properties that are left out when they say
// nothing (3.4.2.1, 3.4.2.2.1, 3.14.2).
func (m *mqttReader) optional(a *mqttAnswer) {
	if len(m.b) > 0 {
		a.code = m.u8()
	}
	if len(m.b) > 0 {
		m.properties(a)
	}
}

// properties reads a set of properties (2.2.2). One that stands there twice is
// an error, but for those of users.
func (m *mqttReader) properties(a *mqttAnswer) {
	p := mqttReader{b: m.next(m.variable())}
	var seen uint64
	for len(p.b) > 0 && !p.bad {
		id := p.u8() // a variable byte integer, of which all have one byte
		if id >= 64 || id != propUser && seen>>id&1 == 1 {
			p.bad = true
			break
		}
		seen |= 1 << id
		switch id {
		case propPayloadFormat, 0x17, 0x19, 0x25, 0x28, 0x29, 0x2a: // a byte
			p.u8()
		case propMaximumQoS:
			a.maxQoS = p.u8()
			p.bad = p.bad || a.maxQoS > 1
		case 0x13, 0x21, 0x22, 0x23: // two bytes
			p.u16()
		case 0x02, 0x11, 0x18: // four bytes
			p.number(4)
		case propMaximumPacket:
			a.maxPacket = p.number(4)
			p.bad = p.bad || a.maxPacket == 0
		case 0x0b: // a variable byte integer
			p.variable()
		case propReason:
			a.reason = p.text()
		case propServerReference:
			a.reference = p.text()
		case propContentType, 0x08, 0x12, 0x15, 0x1a: // text
			p.text()
		case 0x09, 0x16: // bytes
			p.next(int(p.u16()))
		case propUser:
			p.text()
			p.text()
		default:
			p.bad = true
		}
	}
	m.bad = m.bad || p.bad
}

// field appends text or bytes behind their length (1.5.4, 1.5.6).
func field(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
}

// packet puts the fixed header before a body (2.1).
func packet(head byte, body []byte) []byte {
	b := append(make([]byte, 0, 5+len(body)), head)
	n := len(body)
	for ; n >= 0x80; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return append(append(b, byte(n)), body...)
}

// connectPacket asks for a session that begins and ends with the connection
// (3.1): clean start, no will. user and password may be empty.
func connectPacket(client, user, password string, keepAlive uint16) []byte {
	const (
		cleanStart   = 0x02
		withPassword = 0x40
		withUser     = 0x80
	)
	flags := byte(cleanStart)
	if user != "" {
		flags |= withUser
	}
	if password != "" {
		flags |= withPassword
	}
	b := append(field(nil, "MQTT"), 5, flags)
	b = binary.BigEndian.AppendUint16(b, keepAlive)
	b = append(b, 5, propMaximumPacket) // five bytes of properties
	b = binary.BigEndian.AppendUint32(b, maxIncoming)
	b = field(b, client)
	if user != "" {
		b = field(b, user)
	}
	if password != "" {
		b = field(b, password)
	}
	return packet(mqttConnect, b)
}

// publishPacket publishes JSON with QoS 1 (3.3). id is not 0.
func publishPacket(topic string, id uint16, payload []byte) []byte {
	b := binary.BigEndian.AppendUint16(field(nil, topic), id)
	b = append(b, byte(2+3+len(contentType)), propPayloadFormat, 1, propContentType) // 1: it is UTF-8
	b = field(b, contentType)
	return packet(mqttPublish1, append(b, payload...))
}

// disconnectPacket ends a session as agreed (3.14).
func disconnectPacket() []byte { return []byte{mqttDisconnect, 0} }
