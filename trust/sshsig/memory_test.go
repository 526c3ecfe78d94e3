package sshsig

import (
	"encoding/binary"
	"io"
	"runtime"
	"strings"
	"testing"
)

// endless gives head, then body again and again until length bytes are over, and
// looks at the heap meanwhile.
type endless struct {
	head, body []byte
	length     int
	at, asked  int
	most       uint64
}

func (e *endless) Close() error { return nil }

func (e *endless) Read(b []byte) (int, error) {
	if e.asked++; e.asked%512 == 0 {
		e.look()
	}
	if e.at >= e.length {
		return 0, io.EOF
	}
	var n int
	if e.at < len(e.head) {
		n = copy(b, e.head[e.at:])
	} else {
		n = copy(b, e.body[(e.at-len(e.head))%len(e.body):])
	}
	e.at += n
	return n, nil
}

func (e *endless) look() {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	e.most = max(e.most, m.HeapAlloc)
}

// TestMemory reads inputs of many megabytes, which must not show on the heap.
func TestMemory(t *testing.T) {
	key := vectorKey(t)
	var line string
	for _, v := range vectors(t) {
		if v.Name == "ecdsa-256" {
			line = strings.TrimPrefix(v.AllowedSigners, "alice ")
		}
	}
	const size = 3 << 20
	krl := []byte(krlMagic + "\x00\x00\x00\x01" + strings.Repeat("\x00", 24) + "\x00\x00\x00\x00\x00\x00\x00\x00")
	item := append([]byte{0, 0, 0, 32}, strings.Repeat("x", 32)...)
	section := binary.BigEndian.AppendUint32([]byte{krlSHA256}, size/36*36)
	for name, c := range map[string]struct {
		e   *endless
		run func(List) error
	}{
		"signers":      {&endless{body: []byte("bob " + line), length: size}, func(l List) error { _, err := Find(l, key, "git"); return err }},
		"revoked":      {&endless{body: []byte(line), length: size}, func(l List) error { return Revoked(l, key) }},
		"KRL":          {&endless{head: append(krl, section...), body: item, length: len(krl) + len(section) + size/36*36}, func(l List) error { return Revoked(l, key) }},
		"long comment": {&endless{body: []byte("# " + strings.Repeat("x", 4000) + "\n"), length: size}, func(l List) error { return Revoked(l, key) }},
		"message": {&endless{body: []byte("0123456789abcdef"), length: size}, func(l List) error {
			s, _, err := Parse([]byte(vectors(t)[0].Signature))
			if err != nil {
				return err
			}
			f, _ := l()
			if err := s.Verify(f, "git"); err == nil {
				t.Error("a message of something else is taken")
			}
			return nil
		}},
	} {
		c.e.look()
		before := c.e.most
		err := c.run(func() (io.ReadCloser, error) { return c.e, nil })
		if name != "signers" && err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if c.e.at < c.e.length {
			t.Errorf("%s: read %d of %d bytes", name, c.e.at, c.e.length)
		}
		if grown := int64(c.e.most) - int64(before); grown > 100<<10 {
			t.Errorf("%s: %d bytes of heap for an input of %d", name, grown, size)
		} else {
			t.Logf("%s: %d bytes of heap", name, grown)
		}
	}
}
