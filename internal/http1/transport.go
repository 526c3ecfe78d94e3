package http1

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/url"
	"sync"
	"time"
)

// A RoundTripper gives the answer to one request.
type RoundTripper interface {
	RoundTrip(*Request) (*Response, error)
}

// A Transport sends requests over connections that it makes, and keeps open
// for the next one. The zero value is ready for use, by many at once.
type Transport struct {
	// Proxy gives the proxy for a request, nil for none; nil is no proxy at all.
	// Schemes are http, https, socks5 and socks5h. Credentials in its URL are for
	// the proxy.
	Proxy func(*Request) (*url.URL, error)

	// DialContext connects; nil is a net.Dialer.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
	// Wrap, if not nil, is laid around every connection as HTTP is spoken on it:
	// above TLS and behind a proxy. It must pass deadlines and Close through.
	Wrap func(net.Conn) net.Conn

	// TLSClientConfig is for hosts and for proxies. ServerName and NextProtos
	// are filled in.
	TLSClientConfig *tls.Config
	// TLSHandshakeTimeout is for the handshake, and for a proxy to connect; 0 is
	// no limit.
	TLSHandshakeTimeout time.Duration
	// ResponseHeaderTimeout begins when the request, with its body, was sent and
	// ends with the answer's head; 0 is no limit.
	ResponseHeaderTimeout time.Duration

	DisableKeepAlives bool
	MaxIdleConns      int           // kept open; 0 is 2
	IdleConnTimeout   time.Duration // for so long; 0 is without end

	ReadBufferSize  int // of a connection; 0 is 4096
	WriteBufferSize int

	mu   sync.Mutex
	idle []*conn // the longest idle first
}

const bufferSize = 4 << 10

// A route is where a connection leads.
type route struct {
	proxy  *url.URL
	secure bool
	addr   string // HOST:PORT
}

// via reports whether requests are for the proxy to pass on, rather than for
// whom it connects us to.
func (r *route) via() bool {
	return r.proxy != nil && !r.secure && (r.proxy.Scheme == "http" || r.proxy.Scheme == "https")
}

// key is the same for requests that can use the same connection.
func (r *route) key() string {
	key := ""
	if r.proxy != nil {
		key = r.proxy.String() + " "
	}
	switch {
	case r.via():
		return key
	case r.secure:
		return key + "https " + r.addr
	}
	return key + "http " + r.addr
}

// RoundTrip sends a request and gives the answer as soon as its head is there.
// Any status is an answer. The request's Body is closed in any case, maybe
// after RoundTrip returned.
//
// Errors of the network, of TLS and of DialContext come as they are. Others are
// a ProtocolError, a ProxyError, the context's error, or the body's.
func (t *Transport) RoundTrip(r *Request) (*Response, error) {
	if err := r.check(); err != nil {
		r.closeBody()
		return nil, err
	}
	if t.DisableKeepAlives && !r.Close {
		once := *r
		once.Close = true
		r = &once
	}
	ctx := r.Context()
	way := route{secure: r.URL.Scheme == "https", addr: address(r.URL)}
	if t.Proxy != nil {
		var err error
		if way.proxy, err = t.Proxy(r); err != nil {
			r.closeBody()
			return nil, err
		}
	}
	c := t.takeIdle(way.key())
	for {
		var err error
		used := c != nil
		if !used {
			if c, err = t.connect(ctx, &way); err != nil {
				r.closeBody()
				return nil, reason(ctx, err)
			}
		}
		resp, err := c.roundTrip(ctx, r)
		if err == nil {
			return resp, nil
		}
		if !used || !c.stale || ctx.Err() != nil || r.Body != nil && r.GetBody == nil {
			var own *bodyError
			if errors.As(err, &own) {
				err = own.err
			}
			return nil, reason(ctx, err)
		}
		// It was dead before it heard of this request. Whatever else is idle may
		// be as dead, so the second try is on a connection of its own.
		c = nil
		if r.GetBody != nil {
			body, err := r.GetBody()
			if err != nil {
				return nil, err
			}
			again := *r
			again.Body = body
			r = &again
		}
	}
}

// reason gives the context's error for what happened because it ended.
func reason(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func (r *Request) closeBody() {
	if r.Body != nil {
		r.Body.Close()
	}
}

// CloseIdleConnections closes what is not in use.
func (t *Transport) CloseIdleConnections() {
	t.mu.Lock()
	idle := t.idle
	t.idle = nil
	t.mu.Unlock()
	for _, c := range idle {
		c.expiry.Stop()
		c.close()
	}
}

// takeIdle gives the connection for key that was used last.
func (t *Transport) takeIdle(key string) *conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := len(t.idle) - 1; i >= 0; i-- {
		if c := t.idle[i]; c.key == key {
			t.idle = append(t.idle[:i], t.idle[i+1:]...)
			c.expiry.Stop()
			return c
		}
	}
	return nil
}

// putIdle keeps a connection, or closes it.
func (t *Transport) putIdle(c *conn) {
	most := t.MaxIdleConns
	if most <= 0 {
		most = 2
	}
	wait := t.IdleConnTimeout
	if wait <= 0 {
		wait = 1 << 62
	}
	t.mu.Lock()
	var oldest *conn
	if len(t.idle) >= most {
		oldest = t.idle[0]
		oldest.expiry.Stop()
		t.idle = t.idle[1:]
	}
	c.expiry = time.AfterFunc(wait, func() { t.expire(c) })
	t.idle = append(t.idle, c)
	t.mu.Unlock()
	if oldest != nil {
		oldest.close()
	}
}

// expire closes a connection if it is still idle.
func (t *Transport) expire(c *conn) {
	t.mu.Lock()
	found := false
	for i := range t.idle {
		if t.idle[i] == c {
			t.idle = append(t.idle[:i], t.idle[i+1:]...)
			found = true
			break
		}
	}
	t.mu.Unlock()
	if found {
		c.close()
	}
}

// address gives HOST:PORT, with the port of the scheme.
func address(u *url.URL) string {
	port := u.Port()
	if port == "" {
		switch u.Scheme {
		case "https":
			port = "443"
		case "socks5", "socks5h":
			port = "1080"
		default:
			port = "80"
		}
	}
	return net.JoinHostPort(u.Hostname(), port)
}

var _ RoundTripper = (*Transport)(nil)
var _ io.ReadCloser = (*body)(nil)
