package report

import (
	"bufio"
	"bytes"
	"context"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godwit-ota/godwit"
)

// A broker is a real mosquitto.
type broker struct {
	t    *testing.T
	dir  string
	port string
	cmd  *exec.Cmd
}

func mosquitto(t *testing.T, extra ...string) *broker {
	t.Helper()
	for _, program := range []string{"mosquitto", "mosquitto_sub", "mosquitto_passwd"} {
		if _, err := exec.LookPath(program); err != nil {
			if _, err := os.Stat("/usr/sbin/" + program); err != nil {
				t.Skipf("%s is not installed: what a real broker does is not tested", program)
			}
			t.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin")
		}
	}
	b := &broker{t: t, dir: t.TempDir()}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, b.port, _ = net.SplitHostPort(l.Addr().String())
	l.Close()
	conf := "listener " + b.port + " 127.0.0.1\nuser root\n" + strings.Join(extra, "\n") + "\n"
	if err := os.WriteFile(b.path("conf"), []byte(strings.ReplaceAll(conf, "DIR", b.dir)), 0o600); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *broker) path(name string) string { return filepath.Join(b.dir, name) }

func (b *broker) start() {
	b.t.Helper()
	b.cmd = exec.Command("mosquitto", "-c", b.path("conf"))
	var said bytes.Buffer
	b.cmd.Stdout, b.cmd.Stderr = &said, &said
	if err := b.cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(b.stop)
	for range 200 {
		c, err := net.Dial("tcp", "127.0.0.1:"+b.port)
		if err == nil {
			c.Close()
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	b.stop()
	b.t.Fatalf("mosquitto does not come up: %s", &said)
}

// stop kills it, as a power cut would.
func (b *broker) stop() {
	if b.cmd != nil {
		b.cmd.Process.Kill()
		b.cmd.Wait()
		b.cmd = nil
	}
}

// A subscriber is a mosquitto_sub.
type subscriber struct {
	cmd   *exec.Cmd
	lines chan string
}

// subscribe returns once the broker has confirmed the subscription. Lines are
// "TOPIC CONTENT-TYPE QOS PAYLOAD".
func (b *broker) subscribe(args ...string) *subscriber {
	b.t.Helper()
	s := &subscriber{cmd: exec.Command("stdbuf", append([]string{"-oL", "mosquitto_sub", "-V", "5", "-p", b.port, "-h", "127.0.0.1", "-q", "1", "-d", "-F", "GOT %t %C %q %p"}, args...)...), lines: make(chan string, 100)}
	out, err := s.cmd.StdoutPipe()
	if err == nil {
		s.cmd.Stderr = s.cmd.Stdout
		err = s.cmd.Start()
	}
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { s.cmd.Process.Kill(); s.cmd.Wait() })
	ready := make(chan bool)
	go func() {
		defer close(s.lines)
		for in := bufio.NewScanner(out); in.Scan(); {
			if strings.HasPrefix(in.Text(), "Subscribed") {
				close(ready)
			}
			if line, ok := strings.CutPrefix(in.Text(), "GOT "); ok {
				s.lines <- line
			}
		}
	}()
	select {
	case <-ready:
	case <-time.After(10 * time.Second):
		b.t.Fatal("mosquitto_sub does not subscribe")
	}
	return s
}

func (s *subscriber) next(t *testing.T) (topic string, c content) {
	t.Helper()
	select {
	case line := <-s.lines:
		f := strings.SplitN(line, " ", 4)
		if len(f) != 4 || f[1] != "application/json" || f[2] != "1" {
			t.Fatal(line)
		}
		return f[0], open(t, []byte(f[3]))
	case <-time.After(10 * time.Second):
		t.Fatal("nothing arrives")
	}
	return "", content{}
}

func TestMosquitto(t *testing.T) {
	b := mosquitto(t, "allow_anonymous true")
	b.start()
	s := b.subscribe("-t", "godwit/#")
	cfg, clock := config(t, Place{URL: "mqtt://127.0.0.1:" + b.port + "/godwit/{device}/report"})
	r := New(cfg)
	for i := range 3 {
		add(t, r, fmt.Sprint("v", i))
	}
	if n, next, err := r.Send(t.Context()); n != 3 || !next.IsZero() || err != nil || r.Pending() != 0 {
		t.Fatal(n, next, err)
	}
	for i := range 3 {
		if topic, c := s.next(t); topic != "godwit/station-7/report" || c.Release != fmt.Sprint("v", i) {
			t.Error(topic, c)
		}
	}
	if sent, received := r.Transferred(); sent < 1500 || received < 10 {
		t.Error(sent, received)
	}
	// A dead broker, and a living one again.
	b.stop()
	add(t, r, "v3")
	n, next, err := r.Send(t.Context())
	wantCode(t, err, godwit.CodeNetwork)
	if n != 0 || r.Pending() != 1 {
		t.Fatal(n)
	}
	b.start()
	s = b.subscribe("-t", "godwit/#")
	clock.add(next.Sub(clock.now()))
	if n, _, err := r.Send(t.Context()); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if _, c := s.next(t); c.Release != "v3" || c.Seq != 4 || c.Dropped != 0 {
		t.Error(c)
	}
	// Nobody listens: the broker confirms all the same.
	add(t, r, "v4")
	r.places[0].u.Path = "/elsewhere"
	if n, _, err := r.Send(t.Context()); n != 1 || err != nil {
		t.Fatal(n, err)
	}
}

func TestMosquittoPassword(t *testing.T) {
	b := mosquitto(t, "allow_anonymous false", "password_file DIR/passwd", "acl_file DIR/acl")
	if out, err := exec.Command("mosquitto_passwd", "-b", "-c", b.path("passwd"), "station", "geheim").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := os.WriteFile(b.path("acl"), []byte("user station\ntopic readwrite reports\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.start()
	s := b.subscribe("-t", "#", "-u", "station", "-P", "geheim")
	for _, c := range []struct {
		name, user, password, topic string
		code                        godwit.Code
	}{
		{"right", "station", "geheim", "reports", ""},
		{"wrong password", "station", "falsch", "reports", godwit.CodeUnauthorized},
		{"unknown user", "other", "geheim", "reports", godwit.CodeUnauthorized},
		{"no user", "", "", "reports", godwit.CodeUnauthorized},
		{"a topic that is not allowed", "station", "geheim", "other", godwit.CodeUnauthorized},
	} {
		cfg, _ := config(t, Place{URL: "mqtt://127.0.0.1:" + b.port + "/" + c.topic, User: c.user, Password: c.password})
		r := New(cfg)
		add(t, r, "v1")
		n, _, err := r.Send(t.Context())
		if got := godwit.CodeOf(err); got != c.code || (n == 1) != (c.code == "") || r.Pending() != 1-n {
			t.Errorf("%s: %d, %v (%s)", c.name, n, err, got)
		}
		if err != nil && strings.Contains(err.Error(), c.password) && c.password != "" {
			t.Errorf("%v tells the password", err)
		}
	}
	if topic, c := s.next(t); topic != "reports" || c.Release != "v1" {
		t.Error(topic, c)
	}
}

// TestMosquittoTLS: mqtts, with an authority of our own and without.
func TestMosquittoTLS(t *testing.T) {
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	// The certificate of httptest is for 127.0.0.1, and its own authority.
	web := httptest.NewTLSServer(nil)
	defer web.Close()
	cert := web.TLS.Certificates[0]
	ca := write("cert", "CERTIFICATE", cert.Certificate[0])
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	b := mosquitto(t, "allow_anonymous true", "certfile "+ca, "keyfile "+write("key", "PRIVATE KEY", key))
	b.start()
	send := func(scheme, caFile string) error {
		cfg, _ := config(t, Place{URL: scheme + "://127.0.0.1:" + b.port + "/t"})
		cfg.Network.CAFile = caFile
		r := New(cfg)
		add(t, r, "v1")
		_, _, err := r.Send(t.Context())
		return err
	}
	if err := send("mqtts", ca); err != nil {
		t.Error(err)
	}
	wantCode(t, send("mqtts", ""), godwit.CodeTLS)
	if err := send("mqtt", ""); err == nil {
		t.Error("a broker that wants TLS was told everything in the open")
	}
	wantCode(t, send("mqtts", "/nonexistent"), godwit.CodeConfig)
}

// TestMosquittoBreaks: connections break at one byte after the other, and the
// broker is killed with them or lives. In the end it has confirmed everything,
// and who listened to a broker that lived has got it, in order.
func TestMosquittoBreaks(t *testing.T) {
	for _, killed := range []bool{false, true} {
		t.Run(map[bool]string{false: "connection", true: "broker"}[killed], func(t *testing.T) {
			b := mosquitto(t, "allow_anonymous true")
			b.start()
			s := b.subscribe("-t", "reports")
			cfg, clock := config(t, Place{URL: "mqtt://127.0.0.1:" + b.port + "/reports"})
			limit, step := 0, 29
			if killed {
				step = 331
			}
			cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
				c, err := (&net.Dialer{}).DialContext(ctx, network, address)
				if err != nil {
					return nil, err
				}
				kill := func() { c.Close() }
				if killed {
					kill = func() { b.stop(); b.start() }
				}
				return &fragile{Conn: c, left: limit, kill: kill}, nil
			}
			r := New(cfg)
			for i := range 4 {
				add(t, r, fmt.Sprint("v", i))
			}
			sent, broken := 0, 0
			for sent < 4 {
				limit += step
				n, _, err := r.Send(t.Context())
				if sent += n; err != nil {
					broken++
				}
				if limit > 10_000 || err == nil && sent < 4 {
					t.Fatal(sent, err)
				}
				clock.add(2 * time.Hour)
			}
			if broken < 3 {
				t.Errorf("only %d times something broke", broken)
			}
			for i := 0; i < 4 && !killed; {
				if _, c := s.next(t); c.Release == fmt.Sprint("v", i) {
					i++
				} else if c.Release != fmt.Sprint("v", i-1) { // twice is allowed
					t.Fatalf("%s where v%d should be", c.Release, i)
				}
			}
		})
	}
}

// A fragile connection lets so many bytes out, and then kills the other side.
type fragile struct {
	net.Conn
	left int
	kill func()
}

func (f *fragile) Write(b []byte) (int, error) {
	n, err := f.Conn.Write(b[:min(len(b), max(f.left, 0))])
	if f.left -= n; n < len(b) && err == nil {
		if f.kill != nil {
			f.kill()
			f.kill = nil
		}
		return f.Conn.Write(b[n:])
	}
	return n, err
}

// A script is a broker that says what a test wants.
type script func(c net.Conn, r *bufio.Reader)

func (s script) serve(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				s(c, bufio.NewReader(c))
			}()
		}
	}()
	return l.Addr().String()
}

// take reads a packet of ours, whose size is not bounded.
func take(r *bufio.Reader) (head byte, body []byte) {
	head, _ = r.ReadByte()
	n, _ := binary.ReadUvarint(r)
	body = make([]byte, min(n, 1<<20))
	io.ReadFull(r, body)
	return head, body
}

const accepted = "\x20\x03\x00\x00\x00"

// TestScripts: what brokers can say, and what we make of it.
func TestScripts(t *testing.T) {
	after := func(answers ...string) script {
		return func(c net.Conn, r *bufio.Reader) {
			for _, a := range answers {
				take(r)
				io.WriteString(c, a)
			}
			take(r)
		}
	}
	connack := func(code byte, properties string) string {
		return string(packet(mqttConnack, append([]byte{0, code, byte(len(properties))}, properties...)))
	}
	puback := func(code byte) string { return string([]byte{mqttPuback, 3, 0, 1, code}) }
	for _, c := range []struct {
		name   string
		do     script
		code   godwit.Code
		words  string
		queued int
	}{
		{"short PUBACK", after(accepted, "\x40\x02\x00\x01"), "", "", 0},
		{"PUBACK with properties", after(connack(0, "\x21\x00\x0a\x24\x01\x27\x00\x01\x00\x00\x12\x00\x02ab"), "\x40\x0a\x00\x01\x00\x06\x1f\x00\x03yes"), "", "", 0},
		{"nobody listens", after(accepted, puback(0x10)), "", "", 0},
		{"not authorized", after(connack(0x87, "\x1f\x00\x04nope")), godwit.CodeUnauthorized, "nope", 1},
		{"server moved", after(connack(0x9d, "\x1c\x00\x0bother:18883")), godwit.CodeRedirect, "it sends us to other:18883", 1},
		{"use another server", after(connack(0x9c, "")), godwit.CodeRedirect, "another broker", 1},
		{"busy", after(connack(0x89, "")), godwit.CodeNetwork, "0x89", 1},
		{"MQTT 3", after("\x20\x02\x00\x01"), godwit.CodeProtocol, "not version 5", 1},
		{"version refused", after(connack(0x84, "")), godwit.CodeProtocol, "not version 5", 1},
		{"client id", after(connack(0x85, "")), godwit.CodeConfig, "client id", 1},
		{"CONNECT is too large", after(connack(0x95, "")), godwit.CodeLimit, "0x95", 1},
		{"CONNECT has the wrong form", after(connack(0x99, "")), godwit.CodeLimit, "0x99", 1},
		{"DISCONNECT, too large", after(accepted, "\xe0\x01\x95"), godwit.CodeLimit, "not sent again", 0},
		{"no QoS 1", after(connack(0, "\x24\x00")), godwit.CodeProtocol, "QoS 0", 1},
		{"small packets", after(connack(0, "\x27\x00\x00\x00\x40")), godwit.CodeLimit, "does not take packets of", 0},
		{"a session that was not there", after("\x20\x03\x01\x00\x00"), godwit.CodeProtocol, "does not speak MQTT", 1},
		{"flags", after("\x20\x03\x02\x00\x00"), godwit.CodeProtocol, "does not speak MQTT", 1},
		{"a property twice", after(connack(0, "\x24\x01\x24\x01")), godwit.CodeProtocol, "does not speak MQTT", 1},
		{"an unknown property", after(connack(0, "\x3f\x01")), godwit.CodeProtocol, "does not speak MQTT", 1},
		{"properties that end early", after("\x20\x04\x00\x00\x05\x1f"), godwit.CodeProtocol, "does not speak MQTT", 1},
		{"a huge packet", after("\x20\xff\xff\xff\x7f"), godwit.CodeProtocol, "does not speak MQTT", 1},
		{"a length without end", after("\x20\xff\xff\xff\xff\xff"), godwit.CodeProtocol, "does not speak MQTT", 1},
		{"a length that is not the shortest", after("\x20\x83\x00\x00\x00\x00"), godwit.CodeProtocol, "does not speak MQTT", 1},
		{"HTTP", after("HTTP/1.1 400 Bad Request\r\n\r\n"), godwit.CodeProtocol, "does not speak MQTT", 1},
		{"PUBACK too early", after(puback(0)), godwit.CodeProtocol, "something else", 1},
		{"PUBACK of another packet", after(accepted, "\x40\x02\x00\x02"), godwit.CodeProtocol, "what was not sent", 1},
		{"PUBLISH", after(accepted, "\x30\x05\x00\x01t\x00x"), godwit.CodeProtocol, "does not speak MQTT", 1},
		{"quota", after(accepted, puback(0x97)), godwit.CodeNetwork, "0x97", 1},
		{"topic refused", after(accepted, puback(0x90)), godwit.CodeConfig, "the topic", 1},
		{"payload refused", after(accepted, puback(0x99)), godwit.CodeLimit, "not sent again", 0},
		{"DISCONNECT instead", after(accepted, "\xe0\x01\x8b"), godwit.CodeNetwork, "0x8b", 1},
		{"DISCONNECT, moved", after(accepted, "\xe0\x08\x9d\x06\x1c\x00\x03eth"), godwit.CodeRedirect, "sends us to eth", 1},
		{"cut after CONNECT", after(), godwit.CodeNetwork, "", 1},
		{"cut after PUBLISH", after(accepted), godwit.CodeNetwork, "", 1},
		{"half an answer", after(accepted, "\x40\x02\x00"), godwit.CodeTimeout, "is over", 1},
		{"half an answer, then cut", func(c net.Conn, r *bufio.Reader) {
			take(r)
			io.WriteString(c, accepted)
			take(r)
			io.WriteString(c, "\x40\x02\x00")
		}, godwit.CodeNetwork, "broke", 1},
		{"silence", func(c net.Conn, r *bufio.Reader) { io.Copy(io.Discard, r) }, godwit.CodeTimeout, "is over", 1},
		{"silence later", func(c net.Conn, r *bufio.Reader) { take(r); io.WriteString(c, accepted); io.Copy(io.Discard, r) }, godwit.CodeTimeout, "is over", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg, _ := config(t, Place{URL: "mqtt://" + c.do.serve(t) + "/t"})
			cfg.Timeout = 500 * time.Millisecond
			r := New(cfg)
			add(t, r, "v1")
			n, _, err := r.Send(t.Context())
			if got := godwit.CodeOf(err); got != c.code || (n == 1) != (c.code == "") || r.Pending() != c.queued {
				t.Fatalf("%d, %v (%s), %d left", n, err, got, r.Pending())
			}
			if err != nil && !strings.Contains(err.Error(), c.words) {
				t.Errorf("%v does not say %q", err, c.words)
			}
		})
	}
}

// TestUnwantedThenGone: what comes after a report that the broker threw us out
// for is sent over the next connection.
func TestUnwantedThenGone(t *testing.T) {
	var times atomic.Int32
	cfg, clock := config(t, Place{URL: "mqtt://" + script(func(c net.Conn, r *bufio.Reader) {
		first := times.Add(1) == 1
		take(r)
		io.WriteString(c, accepted)
		take(r)
		if first {
			io.WriteString(c, "\xe0\x01\x95")
			return
		}
		io.WriteString(c, "\x40\x02\x00\x01")
		take(r)
	}).serve(t) + "/t"})
	r := New(cfg)
	add(t, r, "v1")
	add(t, r, "v2")
	_, next, err := r.Send(t.Context())
	if err == nil || r.Pending() != 1 {
		t.Fatal(err, r.Pending())
	}
	clock.add(next.Sub(noon))
	if n, _, err := r.Send(t.Context()); n != 1 || err != nil || r.Pending() != 0 {
		t.Fatal(n, err)
	}
}
