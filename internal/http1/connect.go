package http1

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/url"
	"strconv"
)

// connect makes the connection for a route.
func (t *Transport) connect(ctx context.Context, way *route) (*conn, error) {
	dial := t.DialContext
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	first := way.addr
	if way.proxy != nil {
		first = address(way.proxy)
		switch way.proxy.Scheme {
		case "http", "https", "socks5", "socks5h":
		default:
			return nil, &ProxyError{Proxy: first, Err: errors.New("a proxy of the kind " + strconv.QuoteToASCII(way.proxy.Scheme) + " is not known")}
		}
	}
	below, err := dial(ctx, "tcp", first)
	if err != nil {
		if way.proxy != nil && ctx.Err() == nil {
			err = &ProxyError{Proxy: first, Err: err}
		}
		return nil, err
	}
	top := below
	if way.proxy != nil {
		if top, err = t.pass(ctx, way, below); err != nil {
			below.Close()
			return nil, err
		}
	}
	if way.secure {
		host, _, _ := net.SplitHostPort(way.addr)
		if top, err = t.secure(ctx, top, host); err != nil {
			below.Close()
			return nil, err
		}
	}
	return newConn(t, way, below, top), nil
}

// secure lays TLS over a connection.
func (t *Transport) secure(ctx context.Context, c net.Conn, host string) (net.Conn, error) {
	var cfg *tls.Config
	if t.TLSClientConfig != nil {
		cfg = t.TLSClientConfig.Clone()
	} else {
		cfg = new(tls.Config)
	}
	if cfg.ServerName == "" {
		cfg.ServerName = zoneless(host)
	}
	cfg.NextProtos = []string{"http/1.1"}
	s := tls.Client(c, cfg)
	return s, t.within(ctx, c, "the TLS handshake took too long", func(ctx context.Context) error { return s.HandshakeContext(ctx) })
}

// within runs a step of connecting over c under TLSHandshakeTimeout.
func (t *Transport) within(ctx context.Context, c net.Conn, late string, step func(context.Context) error) error {
	inner, cancel := ctx, context.CancelFunc(func() {})
	if t.TLSHandshakeTimeout > 0 {
		inner, cancel = context.WithTimeout(ctx, t.TLSHandshakeTimeout)
	}
	defer cancel()
	unwatch := context.AfterFunc(inner, func() { c.Close() })
	err := step(inner)
	switch {
	case unwatch():
		return err
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	return timeoutError(late)
}

// pass gets the connection to a proxy through to where the route leads.
func (t *Transport) pass(ctx context.Context, way *route, c net.Conn) (net.Conn, error) {
	at := address(way.proxy)
	fail := func(err error) (net.Conn, error) {
		var known *ProxyError
		if !errors.As(err, &known) && ctx.Err() == nil {
			err = &ProxyError{Proxy: at, Err: err}
		}
		return nil, err
	}
	var step func(net.Conn, *route) error
	switch way.proxy.Scheme {
	case "socks5", "socks5h":
		step = socks
	case "https":
		var err error
		if c, err = t.secure(ctx, c, way.proxy.Hostname()); err != nil {
			return fail(err)
		}
		fallthrough
	default:
		if !way.secure {
			return c, nil
		}
		step = tunnel
	}
	err := t.within(ctx, c, "it took too long to connect", func(context.Context) error { return step(c, way) })
	if err != nil {
		return fail(endedEarly(err))
	}
	return c, nil
}

// tunnel asks an HTTP proxy to connect (RFC 9110, 9.3.6).
func tunnel(c net.Conn, way *route) error {
	if !isHost(way.addr) {
		return &RequestError{"its host has a character that it must not have"}
	}
	w := bufio.NewWriterSize(c, 512)
	w.WriteString("CONNECT " + way.addr + " HTTP/1.1\r\n")
	writeField(w, "Host", way.addr)
	if u := way.proxy.User; u != nil {
		password, _ := u.Password()
		writeField(w, "Proxy-Authorization", basic(u.Username(), password))
	}
	w.WriteString("\r\n")
	if err := w.Flush(); err != nil {
		return err
	}
	r := bufio.NewReaderSize(c, 512)
	resp, _, err := readResponse(r, MethodHead) // what follows 200 is not a body
	switch {
	case err != nil:
		return err
	case resp.StatusCode/100 != 2:
		return &ProxyError{Proxy: address(way.proxy), StatusCode: resp.StatusCode}
	case r.Buffered() > 0:
		return malformed("the proxy speaks before its turn")
	}
	return nil
}

// socks asks a SOCKS proxy to connect (RFC 1928), with a password if there is
// one (RFC 1929). Names are left for the proxy to look up.
func socks(c net.Conn, way *route) error {
	const (
		version    = 5
		noAuth     = 0
		byPassword = 2
		connect    = 1
		ipv4       = 1
		name       = 3
		ipv6       = 4
	)
	host, port, _ := net.SplitHostPort(way.addr)
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil || len(host) > 255 {
		return errors.New("it cannot be asked for this address")
	}
	hello := []byte{version, 1, noAuth}
	user := way.proxy.User
	if user != nil {
		hello[2] = byPassword
	}
	if _, err := c.Write(hello); err != nil {
		return err
	}
	var b [262]byte
	if _, err := io.ReadFull(c, b[:2]); err != nil {
		return err
	}
	if b[0] != version || b[1] != hello[2] {
		return errors.New("it wants to know who we are in another way")
	}
	if user != nil {
		n := user.Username()
		p, _ := user.Password()
		if n == "" || len(n) > 255 || len(p) > 255 {
			return errors.New("the credentials have a length that it cannot take")
		}
		ask := append([]byte{1, byte(len(n))}, n...)
		ask = append(append(ask, byte(len(p))), p...)
		if _, err := c.Write(ask); err != nil {
			return err
		}
		if _, err := io.ReadFull(c, b[:2]); err != nil {
			return err
		}
		if b[1] != 0 {
			return &ProxyError{Proxy: address(way.proxy), StatusCode: StatusProxyAuthRequired}
		}
	}
	ask := []byte{version, connect, 0}
	if ip := net.ParseIP(host); ip.To4() != nil {
		ask = append(append(ask, ipv4), ip.To4()...)
	} else if ip != nil {
		ask = append(append(ask, ipv6), ip...)
	} else {
		ask = append(append(ask, name, byte(len(host))), host...)
	}
	if _, err := c.Write(append(ask, byte(number>>8), byte(number))); err != nil {
		return err
	}
	if _, err := io.ReadFull(c, b[:5]); err != nil {
		return err
	}
	if b[0] != version || b[1] != 0 {
		return errors.New("it does not connect us: SOCKS reply " + strconv.Itoa(int(b[1])))
	}
	rest := 0 // of the address that it connects from, and a port
	switch b[3] {
	case ipv4:
		rest = 4 - 1 + 2
	case ipv6:
		rest = 16 - 1 + 2
	case name:
		rest = int(b[4]) + 2
	default:
		return errors.New("its reply is not SOCKS")
	}
	_, err = io.ReadFull(c, b[:rest])
	return err
}

// ProxyURL gives a Transport.Proxy that is always the same.
func ProxyURL(u *url.URL) func(*Request) (*url.URL, error) {
	return func(*Request) (*url.URL, error) { return u, nil }
}
