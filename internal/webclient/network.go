package webclient

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/internal/http1"
)

// A Network says how connections are made. The zero value is ready for use.
type Network struct {
	CAFile         string        // PEM, certificate authorities beside the system's
	Proxy          string        // URL; "" takes HTTP_PROXY, HTTPS_PROXY and NO_PROXY, "none" goes straight
	ConnectTimeout time.Duration // until a connection stands, 0 is 30 s
	IdleTimeout    time.Duration // until something is received, 0 is 60 s
	Chunk          int           // bytes that are read at once, 0 is 4096
	MinRate        int           // bytes a second, over ten IdleTimeouts; 0 is 10, negative is any
}

// Transport makes one with small buffers, whose connections count, and give up
// on a silent host but not on a slow one.
func (n Network) Transport(count *Traffic) (*http1.Transport, error) {
	if n.ConnectTimeout <= 0 {
		n.ConnectTimeout = 30 * time.Second
	}
	if n.IdleTimeout <= 0 {
		n.IdleTimeout = 60 * time.Second
	}
	if n.MinRate == 0 {
		n.MinRate = 10
	}
	proxy, err := parseProxy(n.Proxy)
	if err != nil {
		return nil, err
	}
	secure := &tls.Config{MinVersion: tls.VersionTLS12}
	if n.CAFile != "" {
		if secure.RootCAs, err = rootsWith(n.CAFile); err != nil {
			return nil, err
		}
	}
	slow := &window{}
	return &http1.Transport{
		Proxy: proxy,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			d := net.Dialer{Timeout: n.ConnectTimeout, KeepAlive: 30 * time.Second}
			if !slow.fast() {
				d.Control = narrow
			}
			c, err := d.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			p := &patientConn{c, Patience{Idle: n.IdleTimeout, MinRate: n.MinRate}, gauge{w: slow}}
			p.gauge.apply(c)
			return p, nil
		},
		Wrap:                func(c net.Conn) net.Conn { return &countedConn{c, count} },
		TLSClientConfig:     secure,
		TLSHandshakeTimeout: n.ConnectTimeout,
		IdleConnTimeout:     n.IdleTimeout,
		ReadBufferSize:      n.Chunk,
		WriteBufferSize:     4 << 10,
	}, nil
}

// rootsWith gives the system's certificate authorities and those in a file.
func rootsWith(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, godwit.Fail(godwit.CodeConfig, err, "the file with certificate authorities cannot be read", "check source.ca_file")
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, godwit.Fail(godwit.CodeConfig, nil, "there is no certificate in "+file,
			"source.ca_file takes certificates in PEM form (-----BEGIN CERTIFICATE-----)")
	}
	return pool, nil
}

// parseProxy reads Network.Proxy.
func parseProxy(s string) (func(*http1.Request) (*url.URL, error), error) {
	switch s {
	case "":
		return http1.ProxyFromEnvironment, nil
	case "none":
		return nil, nil
	}
	if !strings.Contains(s, "://") {
		s = "http://" + s
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" {
		return nil, godwit.Fail(godwit.CodeConfig, nil, "the proxy's URL cannot be understood", "write source.proxy = \"http://HOST:PORT\", or \"none\"")
	}
	switch u.Scheme {
	case "http", "https", "socks5", "socks5h":
		return http1.ProxyURL(u), nil
	}
	return nil, godwit.Fail(godwit.CodeConfig, nil, "a proxy of the kind "+Printable(u.Scheme)+" is not supported", "use http://, https:// or socks5://")
}

// A Traffic counts bytes.
type Traffic struct{ sent, received atomic.Int64 }

// Sent is the number of bytes sent so far.
func (t *Traffic) Sent() int64 { return t.sent.Load() }

// Received is the number of bytes received so far.
func (t *Traffic) Received() int64 { return t.received.Load() }

// Count adds bytes that passed on another way.
func (t *Traffic) Count(sent, received int) {
	t.sent.Add(int64(sent))
	t.received.Add(int64(received))
}

// A countedConn adds what passes to a Traffic.
type countedConn struct {
	net.Conn
	t *Traffic
}

func (c *countedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.t.Count(0, n)
	return n, err
}

func (c *countedConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.t.Count(n, 0)
	return n, err
}

// A Patience says how long silence is borne. There is no limit on a whole
// exchange: a large one over a slow link takes as long as it takes.
type Patience struct {
	Idle    time.Duration // without any byte
	MinRate int           // bytes a second, over ten times Idle

	// Time spent waiting, and what came, since the window began.
	waited   time.Duration
	received int64
}

// Note takes in a read of n bytes that took some time, and fails when the
// other side has been sending next to nothing for long.
func (p *Patience) Note(took time.Duration, n int) error {
	p.waited += took
	p.received += int64(n)
	span := 10 * p.Idle
	if p.waited < span {
		return nil
	}
	if p.received < int64(span.Seconds()*float64(p.MinRate)) {
		return errTrickle{p.received, p.waited}
	}
	p.waited, p.received = 0, 0
	return nil
}

// Silence is the error of another side that said nothing for so long.
func Silence(host string, idle time.Duration) error { return TimedOut(host, errIdle(idle)) }

// A patientConn fails when the other side is silent for too long.
type patientConn struct {
	net.Conn
	Patience
	gauge gauge
}

// errIdle and errTrickle replace the deadline errors of the operating system.
type errIdle time.Duration

func (e errIdle) Error() string {
	return "the other side said nothing for " + time.Duration(e).String()
}
func (errIdle) Timeout() bool   { return true }
func (errIdle) Temporary() bool { return true }

type errTrickle struct {
	bytes int64
	span  time.Duration
}

func (e errTrickle) Error() string {
	return "the other side sent only " + strconv.FormatInt(e.bytes, 10) + " bytes in " + e.span.Round(time.Second).String()
}
func (errTrickle) Timeout() bool   { return true }
func (errTrickle) Temporary() bool { return true }

func (c *patientConn) Read(b []byte) (int, error) {
	began := time.Now()
	c.Conn.SetReadDeadline(began.Add(c.Idle))
	n, err := c.Conn.Read(b)
	if err != nil {
		if os.IsTimeout(err) {
			err = errIdle(c.Idle)
		}
		return n, err
	}
	now := time.Now()
	c.gauge.note(c.Conn, n, now)
	return n, c.Note(now.Sub(began), n)
}

// Write also gives a Read that already waits its full time again: on a
// connection that was kept open it began before there was anything to answer.
func (c *patientConn) Write(b []byte) (int, error) {
	c.Conn.SetDeadline(time.Now().Add(c.Idle))
	n, err := c.Conn.Write(b)
	if os.IsTimeout(err) {
		err = errIdle(c.Idle)
	}
	return n, err
}

// CloseWrite lets a shutdown through to TCP where there is one.
func (c *patientConn) CloseWrite() error {
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return nil
}
