package http1

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// A Request is one to send, or one that ReadRequest received.
type Request struct {
	Method string // "" is GET
	URL    *url.URL
	// Header has the fields of the head. Those that say how the message is
	// framed or the connection used are left out when it is sent: they are this
	// package's to say.
	Header Header
	// Body is the content, nil for none. Transport closes it.
	Body io.ReadCloser
	// GetBody gives the body anew. With it, or without a body, a request may be
	// sent a second time when a connection that was kept open turns out to be
	// dead: whoever must not have that leaves GetBody nil.
	GetBody func() (io.ReadCloser, error)
	// ContentLength is the length of Body; 0 or less means that it is not known
	// if there is a Body. In a received Request it is -1 for one in chunks.
	ContentLength int64
	Host          string // instead of URL.Host in the head
	Close         bool   // the connection is not used any further
	RemoteAddr    string // of whom sent it, for whom receives it to fill in

	ctx context.Context
}

// A RequestError says why a request cannot be sent. Nothing was.
type RequestError struct{ text string }

func (e *RequestError) Error() string { return "this HTTP request cannot be sent: " + e.text }

// NewRequestWithContext makes a Request that ends with ctx at any point, the
// reading of the answer's body included. Length and GetBody are set for bodies
// of package bytes and strings.
func NewRequestWithContext(ctx context.Context, method, address string, body io.Reader) (*Request, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	r := &Request{Method: method, URL: u, Header: make(Header), ctx: ctx}
	switch b := body.(type) {
	case nil:
	case *bytes.Reader:
		left := *b
		r.replay(int64(b.Len()), func() io.Reader { b := left; return &b })
	case *strings.Reader:
		left := *b
		r.replay(int64(b.Len()), func() io.Reader { b := left; return &b })
	case *bytes.Buffer:
		left := b.Bytes()
		r.replay(int64(len(left)), func() io.Reader { return bytes.NewReader(left) })
	case io.ReadCloser:
		r.Body = b
	default:
		r.Body = io.NopCloser(b)
	}
	return r, nil
}

func (r *Request) replay(length int64, anew func() io.Reader) {
	if length == 0 {
		return
	}
	r.ContentLength = length
	r.Body = io.NopCloser(anew())
	r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(anew()), nil }
}

// Context is what the request ends with.
func (r *Request) Context() context.Context {
	if r.ctx == nil {
		return context.Background()
	}
	return r.ctx
}

// Clone gives a copy with another context. The Body is the same.
func (r *Request) Clone(ctx context.Context) *Request {
	c := *r
	c.ctx = ctx
	c.Header = r.Header.Clone()
	if r.URL != nil {
		u := *r.URL
		c.URL = &u
	}
	return &c
}

// SetBasicAuth sets Authorization (RFC 7617).
func (r *Request) SetBasicAuth(user, password string) {
	r.Header.Set("Authorization", basic(user, password))
}

func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// BasicAuth is the inverse of SetBasicAuth.
func (r *Request) BasicAuth() (user, password string, ok bool) {
	scheme, coded, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Basic") {
		return "", "", false
	}
	b, err := base64.StdEncoding.DecodeString(coded)
	if err != nil {
		return "", "", false
	}
	return strings.Cut(string(b), ":")
}

func (r *Request) method() string {
	if r.Method == "" {
		return MethodGet
	}
	return r.Method
}

// check refuses what cannot be sent.
func (r *Request) check() error {
	switch {
	case r.URL == nil || r.URL.Scheme != "http" && r.URL.Scheme != "https":
		return &RequestError{"its URL is not one of http or https"}
	case !isHost(r.host()):
		return &RequestError{"its host has a character that it must not have; beyond ASCII write xn--…"}
	case r.URL.Hostname() == "":
		return &RequestError{"its URL names no host"}
	case !isToken(r.method()) || r.method() == MethodConnect:
		return &RequestError{"its method"}
	case r.ContentLength > 0 && r.Body == nil:
		return &RequestError{"it has a length and no body"}
	}
	return r.Header.check()
}

// host is the value of Host: without the zone of an address, which means
// something on this machine alone (RFC 6874, 4), and without an empty port.
func (r *Request) host() string {
	host := r.Host
	if host == "" {
		host = r.URL.Host
	}
	host = strings.TrimSuffix(host, ":")
	if end := strings.LastIndexByte(host, ']'); strings.HasPrefix(host, "[") && end > 0 {
		if zone := strings.LastIndexByte(host[:end], '%'); zone > 0 {
			host = host[:zone] + host[end:]
		}
	}
	return host
}

// isHost reports whether s has only characters of a host and a port.
func isHost(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("!$%&'()*+,-.:;=[]_~", c) >= 0) {
			return false
		}
	}
	return s != ""
}

// target is what follows the method: the path, or for a proxy the whole URL
// (RFC 9112, 3.2). What a URL may carry but a request line must not is escaped.
func (r *Request) target(absolute bool) string {
	t := r.URL.RequestURI()
	if absolute && strings.HasPrefix(t, "/") {
		t = r.URL.Scheme + "://" + r.host() + t
	}
	plain := true
	for i := range len(t) {
		plain = plain && t[i] > ' ' && t[i] < 0x7f
	}
	if plain {
		return t
	}
	var b strings.Builder
	for i := range len(t) {
		if c := t[i]; c > ' ' && c < 0x7f {
			b.WriteByte(c)
		} else {
			b.WriteByte('%')
			b.WriteByte("0123456789ABCDEF"[c>>4])
			b.WriteByte("0123456789ABCDEF"[c&15])
		}
	}
	return b.String()
}

// ours are the fields that a caller does not set.
func ours(key string) bool {
	switch key {
	case "Host", "Content-Length", "Transfer-Encoding", "Trailer", "Te", "Connection", "Keep-Alive", "Proxy-Connection", "Upgrade", "Expect":
		return true
	}
	return false
}

// writeHead writes the request line and the fields. auth is for the proxy.
func (r *Request) writeHead(w *bufio.Writer, absolute bool, auth string) {
	w.WriteString(r.method())
	w.WriteByte(' ')
	w.WriteString(r.target(absolute))
	w.WriteString(" HTTP/1.1\r\n")
	writeField(w, "Host", r.host())
	switch {
	case r.Body == nil:
		if m := r.method(); m != MethodGet && m != MethodHead {
			writeField(w, "Content-Length", "0")
		}
	case r.ContentLength > 0:
		writeField(w, "Content-Length", strconv.FormatInt(r.ContentLength, 10))
	default:
		writeField(w, "Transfer-Encoding", "chunked")
	}
	if auth != "" && r.Header.Get("Proxy-Authorization") == "" {
		writeField(w, "Proxy-Authorization", auth)
	}
	if r.Close {
		writeField(w, "Connection", "close")
	}
	r.Header.write(w, ours)
	w.WriteString("\r\n")
}

// A bodyError is one of the request's own body, not of the connection.
type bodyError struct{ err error }

func (e *bodyError) Error() string { return e.err.Error() }
func (e *bodyError) Unwrap() error { return e.err }

var errBodyLength = errors.New("the body of the HTTP request has another length than it says")

// writeBody sends the body after the head.
func (r *Request) writeBody(w *bufio.Writer) error {
	if r.Body == nil {
		return nil
	}
	buf := make([]byte, 4<<10)
	if r.ContentLength > 0 {
		n, err := io.CopyBuffer(plainWriter{w}, plainReader{io.LimitReader(r.Body, r.ContentLength)}, buf)
		if err != nil {
			return err
		}
		var more [1]byte
		if k, err := r.Body.Read(more[:]); n != r.ContentLength || k > 0 {
			return &bodyError{errBodyLength}
		} else if err != nil && err != io.EOF {
			return &bodyError{err}
		}
		return nil
	}
	// What the body gives at once is a chunk, and is sent at once.
	chunks := NewChunkedWriter(w)
	for {
		n, err := r.Body.Read(buf)
		if n > 0 {
			chunks.Write(buf[:n])
			if err := w.Flush(); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return chunks.Close()
		}
		if err != nil {
			return &bodyError{err}
		}
	}
}

// plainReader tells the errors of a body from those of the connection, and with
// plainWriter keeps io.Copy from ways around that.
type plainReader struct{ r io.Reader }

func (p plainReader) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	if err != nil && err != io.EOF {
		err = &bodyError{err}
	}
	return n, err
}

type plainWriter struct{ w io.Writer }

func (p plainWriter) Write(b []byte) (int, error) { return p.w.Write(b) }

// ReadRequest reads the head of a request as a server does. Its Body reads from
// r and must be read to its end before the next request can be.
func ReadRequest(r *bufio.Reader) (*Request, error) {
	if _, err := r.Peek(1); err != nil {
		return nil, err
	}
	head := newHeadReader(r)
	line, err := head.line()
	if err != nil {
		return nil, err
	}
	method, rest, _ := strings.Cut(string(line), " ")
	target, version, _ := strings.Cut(rest, " ")
	if !isToken(method) || version != "HTTP/1.1" && version != "HTTP/1.0" {
		return nil, malformed("this is no request")
	}
	u, err := url.ParseRequestURI(target)
	if err != nil {
		return nil, malformed("this is no request")
	}
	header, err := head.fields()
	if err != nil {
		return nil, err
	}
	hosts := header["Host"]
	if len(hosts) > 1 || len(hosts) == 0 && version == "HTTP/1.1" {
		return nil, malformed("a request names one host")
	}
	q := &Request{Method: method, URL: u, Header: header, Host: header.Get("Host"), ctx: context.Background()}
	delete(header, "Host")
	q.Close = version == "HTTP/1.0" || header.has("Connection", "close")
	length, chunked, err := framing(header, version == "HTTP/1.1")
	switch {
	case err != nil:
		return nil, err
	case chunked:
		q.ContentLength = -1
		q.Body = io.NopCloser(&chunkedReader{r: r})
	default:
		q.ContentLength = max(length, 0)
		q.Body = io.NopCloser(&lengthReader{r, q.ContentLength})
	}
	return q, nil
}

// zoneless gives a host's name as certificates have it.
func zoneless(host string) string {
	if a, err := netip.ParseAddr(host); err == nil {
		return a.WithZone("").String()
	}
	return host
}
