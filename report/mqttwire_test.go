package report

import (
	"bufio"
	"bytes"
	"strings"
	"testing"
)

// TestPackets: the bytes of the standard's sections 3.1 and 3.3.
func TestPackets(t *testing.T) {
	for _, c := range []struct {
		name string
		got  []byte
		want string
	}{
		{"CONNECT", connectPacket("c", "", "", 120), "\x10\x13\x00\x04MQTT\x05\x02\x00\x78\x05\x27\x00\x00\x10\x00\x00\x01c"},
		{"with a user", connectPacket("c", "u", "", 120), "\x10\x16\x00\x04MQTT\x05\x82\x00\x78\x05\x27\x00\x00\x10\x00\x00\x01c\x00\x01u"},
		{"and a password", connectPacket("c", "u", "pw", 120), "\x10\x1a\x00\x04MQTT\x05\xc2\x00\x78\x05\x27\x00\x00\x10\x00\x00\x01c\x00\x01u\x00\x02pw"},
		{"PUBLISH", publishPacket("a/b", 7, []byte("{}")), "\x32\x1f\x00\x03a/b\x00\x07\x15\x01\x01\x03\x00\x10application/json{}"},
		{"DISCONNECT", disconnectPacket(), "\xe0\x00"},
		{"long", packet(0x32, make([]byte, 321))[:3], "\x32\xc1\x02"}, // the example of 1.5.5
	} {
		if string(c.got) != c.want {
			t.Errorf("%s: %q, want %q", c.name, c.got, c.want)
		}
	}
}

func FuzzMQTT(f *testing.F) {
	for _, s := range []string{accepted, "\x40\x02\x00\x01", "\x40\x0a\x00\x01\x00\x06\x1f\x00\x03yes", "\xe0\x00", "\xe0\x08\x9d\x06\x1c\x00\x03eth", "\x20\x02\x00\x01",
		"\x20\xff\xff\xff\x7f", "\x20\x83\x00\x00\x00\x00", "\x20\x0d\x00\x87\x0a\x26\x00\x01a\x00\x01b\x27\x00\x00\x00\x01", "\x20\x0a\x00\x00\x07\x24\x01\x13\x00\x05\x0b\x01"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		in := bytes.NewReader(b)
		p, err := readPacket(bufio.NewReader(in))
		if err != nil {
			return
		}
		if len(p.body) > maxIncoming || len(p.body) > len(b) {
			t.Fatal(len(p.body))
		}
		a, err := parseAnswer(p)
		if err != nil {
			return
		}
		if a.maxPacket == 0 || a.maxQoS > 2 || len(a.reason)+len(a.reference) > len(b) {
			t.Fatalf("%+v", a)
		}
		r := New(Config{Device: "d", Places: []Place{{URL: "mqtt://h/t"}}})
		if err := r.places[0].refusal(a); err == nil || strings.ContainsAny(err.Error(), "\n\x1b") {
			t.Fatal(err)
		}
	})
}
