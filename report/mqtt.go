package report

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"net"
	"strconv"
	"strings"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/internal/http1"
	"github.com/godwit-ota/godwit/internal/webclient"
)

// keepAlive is announced to the broker, in seconds (3.1.2.10). Nobody keeps it:
// a connection lives for a few reports, each of which has less time than that.
const keepAlive = 120

// A publisher publishes reports over one connection, each after the receipt for
// the one before.
type publisher struct {
	p    *place
	c    net.Conn
	r    *bufio.Reader
	id   uint16 // of the last packet
	most uint32 // bytes of a packet
	over bool   // the connection is of no use any more
}

// topic is where reports are published.
func (p *place) topic() string {
	return strings.ReplaceAll(strings.TrimPrefix(p.u.Path, "/"), "{device}", p.r.cfg.Device)
}

// openMQTT connects and logs in (3.1, 3.2).
func (p *place) openMQTT(ctx context.Context, t *http1.Transport) (way, error) {
	port := p.u.Port()
	if port == "" {
		port = "8883" // as registered with IANA
		if p.u.Scheme == "mqtt" {
			port = "1883"
		}
	}
	dial := t.DialContext
	c, err := dial(ctx, "tcp", net.JoinHostPort(p.host, port))
	if err != nil {
		return nil, p.explain(ctx, err)
	}
	// Closing is what ends a wait on a connection.
	below := c
	unwatch := context.AfterFunc(ctx, func() { below.Close() })
	defer unwatch()
	if p.u.Scheme == "mqtts" {
		cfg := t.TLSClientConfig.Clone()
		cfg.ServerName = p.host
		s := tls.Client(c, cfg)
		if err := s.HandshakeContext(ctx); err != nil {
			c.Close()
			return nil, p.explain(ctx, err)
		}
		c = s
	}
	if t.Wrap != nil {
		c = t.Wrap(c)
	}
	m := &publisher{p: p, c: c, r: bufio.NewReaderSize(c, 512)}
	client := p.ClientID
	if client == "" {
		// 23 letters and digits are what every broker takes (3.1.3.1).
		sum := sha256.Sum256([]byte(p.r.cfg.Device))
		client = "godwit" + hex.EncodeToString(sum[:])[:17]
	}
	a, err := m.ask(ctx, connectPacket(client, p.User, p.Password, keepAlive), mqttConnack)
	switch {
	case err != nil:
	case a.code != 0:
		err = p.refusal(a)
	default:
		m.most = a.maxPacket
		return m, nil
	}
	m.over = true
	m.close()
	return nil, err
}

const brokerHint = "check the address in section report: it must be that of an MQTT 5 broker; it is tried again"

func (m *publisher) send(ctx context.Context, body []byte) error {
	if m.id++; m.id == 0 {
		m.id = 1
	}
	b := publishPacket(m.p.topic(), m.id, body)
	if uint64(len(b)) > uint64(m.most) {
		// 3.2.2.3.6: it would end the connection.
		return unwantedError{m.p.fail(godwit.CodeLimit, nil, "it does not take packets of "+strconv.Itoa(len(b))+" bytes, and this one is not sent again", "allow larger packets at the broker")}
	}
	unwatch := context.AfterFunc(ctx, func() { m.c.Close() })
	a, err := m.ask(ctx, b, mqttPuback)
	if !unwatch() || err != nil {
		m.over = true
	}
	switch {
	case err != nil:
		return err
	case a.id != m.id:
		m.over = true
		return m.p.fail(godwit.CodeProtocol, errMQTT, "it confirms what was not sent", brokerHint)
	case a.code >= 0x80: // 0x10 is: nobody listens at the moment (3.4.2.1)
		return m.p.refusal(a)
	}
	return nil
}

// ask sends a packet and reads the answer, of the given type.
func (m *publisher) ask(ctx context.Context, b []byte, head byte) (a mqttAnswer, err error) {
	if _, err = m.c.Write(b); err != nil {
		return a, m.p.explain(ctx, err)
	}
	p, err := readPacket(m.r)
	if err == nil {
		a, err = parseAnswer(p)
	}
	switch {
	case err == errMQTT:
		return a, m.p.fail(godwit.CodeProtocol, err, "it does not speak MQTT", brokerHint)
	case err != nil:
		return a, m.p.explain(ctx, err)
	case p.head == mqttDisconnect:
		return a, m.p.refusal(a)
	case p.head != head:
		return a, m.p.fail(godwit.CodeProtocol, errMQTT, "it answers something else than it was asked", brokerHint)
	}
	return a, nil
}

// close ends the session. The broker keeps what it confirmed.
func (m *publisher) close() {
	if !m.over {
		m.c.Write(disconnectPacket())
	}
	m.c.Close()
}

// refusal puts a reason code into words (2.4, 3.2.2.2, 3.4.2.1, 3.14.2.1).
func (p *place) refusal(a mqttAnswer) error {
	code, words, hint := godwit.CodeNetwork, "it does not take it now", "nothing to do here: it is tried again"
	unwanted := false
	switch a.code {
	case 0x86, 0x87, 0x8a, 0x8c:
		code, words, hint = godwit.CodeUnauthorized, "it does not let us in", "check the user, the password and the topic in section report, and the broker's rules for them"
		if a.code == 0x87 {
			words = "it does not allow this"
		}
	case 0x81, 0x82:
		code, words, hint = godwit.CodeProtocol, "it does not understand us", brokerHint
	case codeVersion:
		code, words, hint = godwit.CodeProtocol, "it speaks MQTT, but not version 5", "reports need a broker with MQTT 5"
	case 0x85:
		code, words, hint = godwit.CodeConfig, "it does not take our client id", "write one that the broker allows in section report"
	case 0x90:
		code, words, hint = godwit.CodeConfig, "it does not take the topic", "check the address in section report"
	case codeNoQoS:
		code, words, hint = godwit.CodeProtocol, "it gives no receipts (QoS 0)", "reports need a broker with QoS 1"
	case 0x95, 0x99:
		code, words, hint = godwit.CodeLimit, "it does not want this one, which is not sent again", "the broker's log may say why"
		unwanted = true
	case 0x9c, 0x9d: // 4.11
		code, words, hint = godwit.CodeRedirect, "it sends us to another broker", "redirects are not followed: write the other broker's address in section report"
		if a.reference != "" {
			words = "it sends us to " + webclient.Printable(a.reference)
		}
	}
	var said error
	if a.reason != "" {
		said = errors.New(webclient.Printable(a.reason))
	}
	err := p.fail(code, said, words+" (MQTT reason code 0x"+strconv.FormatUint(uint64(a.code), 16)+")", hint)
	if unwanted {
		return unwantedError{err}
	}
	return err
}
