package wire

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/internal/webclient"
	"golang.org/x/crypto/ssh"
)

func FuzzPktLine(f *testing.F) {
	f.Add([]byte(pkt("hello\n", "0001", "x", "0002", "0000")), false)
	f.Add([]byte("0004"), false)
	f.Add([]byte("0003"), false)
	f.Add([]byte("fff0"), false)
	f.Add([]byte("fff1"), false)
	f.Add([]byte("00"), false)
	f.Add([]byte(pkt("\x01a\n", "\x02progress", "\x01", "\x03no")), true)
	f.Add([]byte(pkt("ERR \x1b[2J")), true)
	f.Fuzz(func(t *testing.T, in []byte, sideband bool) {
		p := newPktReader(bytes.NewReader(in))
		p.sideband = sideband
		var out bytes.Buffer
		w := pktWriter{w: &out}
		plain := !sideband
		for {
			kind, b, err := p.line()
			var remote *remoteError
			if err != nil {
				if errors.As(err, &remote) && (strings.ContainsAny(remote.text, "\x1b\n\r") || len(remote.text) > 300) {
					t.Fatalf("%q", remote.text)
				}
				break
			}
			switch kind {
			case pktData:
				if len(b) > maxPayload {
					t.Fatal(len(b))
				}
				plain = plain && len(b)+5 <= maxPkt
				w.line(string(b))
			case pktFlush:
				w.flush()
			case pktDelim:
				w.delim()
			default:
				w.special("0002")
			}
		}
		if !plain {
			return
		}
		// What was read, written and read again is the same.
		again := newPktReader(&out)
		first := newPktReader(bytes.NewReader(in))
		for {
			k1, b1, err1 := first.line()
			if err1 != nil {
				return
			}
			k2, b2, err2 := again.line()
			if k1 != k2 || !bytes.Equal(b1, b2) || err2 != nil {
				t.Fatalf("%v %q, then %v %q %v", k1, b1, k2, b2, err2)
			}
		}
	})
}

func FuzzAdvertisement(f *testing.F) {
	f.Add([]byte(advert2))
	f.Add([]byte(pkt("version 2\n", "agent=git/2\n", "ls-refs=unborn\n", "fetch=shallow wait-for-done filter\n", "server-option\n", "object-format=sha256\n", "0000")))
	f.Add([]byte(pkt("# service=git-upload-pack\n", "0000", one40+" HEAD\x00side-band-64k ofs-delta shallow filter symref=HEAD:refs/heads/main object-format=sha1 agent=git/2\n",
		one40+" refs/heads/main\n", one40+" refs/tags/v1\n", zero40+" refs/tags/v1^{}\n", "shallow "+one40+"\n", "0000")))
	f.Add([]byte(pkt("version 1\n", zero40+" capabilities^{}\x00symref=HEAD:refs/heads/main\n", "0000")))
	f.Add([]byte("0000"))
	f.Fuzz(func(t *testing.T, in []byte) {
		a, err := readAdvertisement(newPktReader(bytes.NewReader(in)), true, func(r Ref) error {
			checkRef(t, r)
			return nil
		})
		if err == nil {
			switch {
			case a.caps.Version != 2 && a.caps.Version != 0, a.caps.hexLen() != 40 && a.caps.hexLen() != 64:
				t.Fatalf("%+v", a.caps)
			}
			// What is known can be remembered and recalled.
			h := &httpTransport{c: &Client{cfg: Config{State: &memory{}, Now: time.Now}, at: location{scheme: "http"}}, conf: "http://h/x", base: "http://h/x"}
			h.remember(&a.caps)
			var back Capabilities
			if !h.recall(&back) {
				t.Fatalf("not recalled: %+v", a.caps)
			}
			back.head = a.caps.head
			if back != a.caps {
				t.Fatalf("%+v became %+v", a.caps, back)
			}
		}
	})
}

func checkRef(t *testing.T, r Ref) {
	for _, s := range []string{r.Name, r.SymrefTarget} {
		if strings.ContainsAny(s, " \n\r\x1b\x00") || len(s) > maxRefName {
			t.Fatalf("%+v", r)
		}
	}
	for _, id := range []string{r.ID, r.Peeled} {
		if id != "" && !isID(id, 40) && !isID(id, 64) {
			t.Fatalf("%+v", r)
		}
	}
	if r.Name == "" || r.ID == "" && r.Peeled != "" {
		t.Fatalf("%+v", r)
	}
}

func FuzzLsRefs(f *testing.F) {
	f.Add([]byte(pkt(one40+" HEAD symref-target:refs/heads/main\n", one40+" refs/tags/v1 peeled:"+zero40+"\n", "unborn HEAD symref-target:refs/heads/x\n", "0000")))
	f.Add([]byte(pkt(one40+"\n", "0000")))
	f.Add([]byte(pkt("0001")))
	f.Add([]byte(pkt("ERR no")))
	f.Fuzz(func(t *testing.T, in []byte) {
		caps := newCapabilities2()
		readLsRefs(newPktReader(bytes.NewReader(in)), &caps, func(r Ref) error {
			if r.ID == "" {
				r.Peeled = ""
			}
			checkRef(t, r)
			return nil
		})
	})
}

func FuzzFetchAnswer(f *testing.F) {
	f.Add([]byte(pkt("packfile\n", "\x01PACK", "\x02hm", "0000")), 2, false)
	f.Add([]byte(pkt("acknowledgments\n", "NAK\n", "ACK "+one40+"\n", "ready\n", "0001", "shallow-info\n", "shallow "+one40+"\n", "0001", "packfile\n", "\x03no", "0000")), 2, false)
	f.Add([]byte(pkt("\x01packfile\n", "\x01PACK", "0000")), 2, true)
	f.Add([]byte(pkt("acknowledgments\n", "NAK\n", "0000")), 2, false)
	f.Add([]byte(pkt("shallow "+one40+"\n", "0000", "NAK\n", "\x01PACK", "0000")), 0, false)
	f.Add([]byte(pkt("shallow "+one40+"\n", "0000", "ACK "+one40+"\n", "\x01PACK", "0000")), 0, false)
	f.Fuzz(func(t *testing.T, in []byte, version int, all bool) {
		p := newPktReader(bytes.NewReader(in))
		var err error
		var info FetchInfo
		if version == 0 {
			info, err = readSections0(p, &Capabilities{ObjectFormat: "sha1"}, true)
		} else {
			p.sideband = all
			caps := newCapabilities2()
			info, err = readSections2(p, &caps)
		}
		for _, list := range [][]string{info.Common, info.Shallow, info.Unshallow} {
			for _, id := range list {
				if !isID(id, 40) {
					t.Fatalf("%q", id)
				}
			}
		}
		if err != nil {
			return
		}
		n, err := io.Copy(io.Discard, &demux{p: p})
		if n > int64(len(in)) {
			t.Fatal("more came out than went in")
		}
		if err == nil && !bytes.Contains(in, []byte("0000")) {
			t.Fatal("an end without a flush packet")
		}
	})
}

func FuzzNotes(f *testing.F) {
	f.Add([]byte("godwit capabilities 1\nurl http://h/x\nsum 0\n"), true)
	n := webclient.NewNote(capabilitiesTitle)
	n.Add("url", "http://h/x")
	n.Add("version", "2")
	n.Add("can", "fetch")
	f.Add(n.Bytes(), true)
	f.Add([]byte{}, false)
	f.Fuzz(func(t *testing.T, b []byte, seal bool) {
		if seal {
			// A right sum, so that what is behind it is reached.
			b = webclient.NewNote(string(b)).Bytes()
		}
		if c, _, _, _, ok := parseCapabilitiesNote(b); ok && c.ObjectFormat == "" {
			t.Fatal("no format")
		}
	})
}

func FuzzLocation(f *testing.F) {
	for _, s := range []string{"https://git.example.org/acme/station.git", "ssh://git@[::1]:2222/~u/x", "git@host:path", "git@[::1]:path", "file:///srv/x", "/srv/x", "C:\\x",
		"https://u:p@h/x", "http://h", "git://h/x", "ssh://-oProxyCommand=x/y", "-x:y", "user@-h:x", "https://h/x?y#z", "HTTPS://H/X"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		l, err := parseLocation(s)
		if err != nil {
			if godwit.CodeOf(err) != godwit.CodeConfig {
				t.Fatal(err)
			}
			return
		}
		switch l.scheme {
		case "http", "https", "ssh":
			if l.host == "" || l.path == "" || strings.HasPrefix(l.host, "-") {
				t.Fatalf("%q: %+v", s, l)
			}
		case "file":
		default:
			t.Fatalf("%q: %+v", s, l)
		}
		if l.pass != "" && len(l.pass) > 8 && strings.Contains(l.String(), ":"+l.pass+"@") {
			t.Fatalf("%q shows its password", s)
		}
	})
}

func FuzzHostKey(f *testing.F) {
	key, err := ssh.NewPublicKey(ed25519.PublicKey(make([]byte, ed25519.PublicKeySize)))
	if err != nil {
		f.Fatal(err)
	}
	line := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
	for _, s := range []string{line, "host " + line, "SHA256:abc", "[host]:22 " + line, "@revoked * " + line, "|1|a|b " + line, "", "#", "host"} {
		f.Add(s)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, s string) {
		for _, cfg := range []Config{{HostKey: s + " "}, {KnownHosts: filepath.Join(dir, "known")}} {
			if cfg.KnownHosts != "" {
				if err := os.WriteFile(cfg.KnownHosts, []byte(s), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			h, err := newHostTrust(&cfg, "host:22")
			if err != nil {
				if godwit.CodeOf(err) != godwit.CodeConfig {
					t.Fatal(err)
				}
				continue
			}
			// Nothing but the very key is trusted.
			err = h.check("host:22", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}, key)
			if err == nil && !strings.Contains(s, strings.Fields(line)[1][:40]) && !strings.Contains(s, "SHA256:") {
				t.Fatalf("%q trusts a key that is not in it", s)
			}
		}
	})
}
