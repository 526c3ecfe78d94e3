// Package webclient asks web servers for content: one GET at a time, with
// redirects followed, connections tried again, pauses that a host asks for kept,
// and transfers that broke continued where they broke. Connections, proxies,
// patience with slow hosts and the words for what goes wrong below HTTP are here
// as well, for everybody who speaks HTTP.
//
// What is asked for, what an answer means and whether its bytes are the right
// ones is left to the callers. So is a limit on what they read: a body may go on
// without end.
//
// Invariant: credentials reach only the origin that they were given for, nothing
// leads from https to http, and nothing is sent to a host while it is to be left
// alone.
package webclient

import (
	"context"
	"math/rand/v2"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/internal/http1"
)

// A Config says how to reach hosts. The zero value is ready for use.
type Config struct {
	Network
	UserAgent  string        // "" is "godwit"
	Attempts   int           // at one request, 0 is 3
	Backoff    time.Duration // before the second attempt, about doubled each time, 0 is 1 s
	MaxBackoff time.Duration // 0 is 60 s

	Notes  Notes            // remembers pauses between runs; nil remembers nothing
	Now    func() time.Time // nil is time.Now
	OnDate func(time.Time)  // gets the time that a host says, where TLS proves who said it
	Events godwit.Events    // Debug events
}

// A Client sends requests. It is not safe for concurrent use, but for reading
// the body of one answer while another is asked for.
type Client struct {
	cfg    Config
	rt     *http1.Transport
	count  Traffic
	pauses Pauses
}

// MaxRedirects is how many are followed for one request.
const MaxRedirects = 5

// New returns a Client. It reads the file with certificate authorities but does
// not connect.
func New(cfg Config) (*Client, error) {
	if cfg.UserAgent == "" {
		cfg.UserAgent = "godwit"
	}
	if cfg.Attempts <= 0 {
		cfg.Attempts = 3
	}
	if cfg.Backoff <= 0 {
		cfg.Backoff = time.Second
	}
	if cfg.MaxBackoff <= 0 {
		cfg.MaxBackoff = time.Minute
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	c := &Client{cfg: cfg, pauses: Pauses{Notes: cfg.Notes, Now: cfg.Now}}
	var err error
	c.rt, err = cfg.Network.Transport(&c.count)
	return c, err
}

// Close ends the connections.
func (c *Client) Close() error {
	c.rt.CloseIdleConnections()
	return nil
}

// Transferred is the number of bytes sent and received so far, below TLS's
// encryption.
func (c *Client) Transferred() (sent, received int64) { return c.count.Sent(), c.count.Received() }

// A Request is one GET.
type Request struct {
	URL    string
	Header map[string]string
	// Secret is header fields that are sent to the origin of URL alone (scheme,
	// host and port), whatever a redirect leads to.
	Secret map[string]string

	// IfNoneMatch is the ETag of an answer that the caller kept: the answer is 304
	// if it is still the one.
	IfNoneMatch string
	// Offset asks for the content from there on. ETag, if known, is the content's
	// whose beginning the caller has. It gets it from the beginning if that is
	// another one, or if the server knows no ranges.
	Offset int64
	ETag   string
	// Resume makes the Body go on by itself after the connection broke, where the
	// server lets it. Only for callers that check what they get.
	Resume bool
}

// An Answer is what came. Close its Body in any case.
type Answer struct {
	Status int // 200 and 206 are content; see Get for what does not appear here
	Header http1.Header
	URL    *url.URL // what answered in the end
	Moved  string   // where the content has moved for good, "" if it has not
	Offset int64    // where in the content Body begins: Request.Offset, or 0
	Size   int64    // of the whole content, -1 if unknown
	ETag   string
	Body   *Body
}

// Get sends a request and gives the answer once its head is there. Failures to
// connect and faults of the server (408 and 5xx) are tried again; what remains
// of those, and a request to be left alone, is an error. Every other status is
// an answer: Answer.Refused puts it into words.
//
// Errors have the codes network, timeout, tls, retry-after, redirect, protocol,
// unauthorized (by a proxy) and config.
func (c *Client) Get(ctx context.Context, r Request) (*Answer, error) {
	a, err := c.get(ctx, &r)
	if err != nil || r.Offset == 0 {
		return a, err
	}
	if a.Status == http1.StatusPartialContent && a.Offset == r.Offset && (r.ETag == "" || a.ETag == "" || a.ETag == r.ETag) {
		return a, nil
	}
	switch a.Status {
	case http1.StatusPartialContent, http1.StatusRequestedRangeNotSatisfiable:
		// Not what was asked for, or there is no such range any more.
		a.Body.Close()
		whole := r
		whole.Offset, whole.ETag = 0, ""
		return c.get(ctx, &whole)
	}
	return a, nil
}

// get tries one request until it is answered.
func (c *Client) get(ctx context.Context, r *Request) (a *Answer, err error) {
	wait := c.cfg.Backoff
	for n := 1; ; n++ {
		a, err = c.follow(ctx, r)
		if err == nil || n >= c.cfg.Attempts || ctx.Err() != nil || godwit.CodeOf(err) != godwit.CodeNetwork {
			return a, err
		}
		// Devices that lost the host together must not come back together.
		pause := wait/2 + rand.N(wait)
		c.cfg.Events.Say(godwit.StageCheck, godwit.Debug, "again in "+pause.Round(time.Millisecond).String()+": "+err.Error())
		select {
		case <-ctx.Done():
			return nil, Stopped(ctx)
		case <-time.After(pause):
		}
		wait = min(2*wait, c.cfg.MaxBackoff)
	}
}

// follow sends a request to where redirects lead.
func (c *Client) follow(ctx context.Context, r *Request) (*Answer, error) {
	at, home, moved := r.URL, "", ""
	for hops := 0; ; hops++ {
		req, err := http1.NewRequestWithContext(ctx, http1.MethodGet, at, nil)
		if err != nil || req.URL.Host == "" {
			return nil, godwit.Fail(godwit.CodeConfig, nil, "a URL cannot be asked for: "+shown(at), "check section source")
		}
		if hops == 0 {
			home = OriginOf(req.URL)
		}
		c.dress(req, r, home)
		resp, err := c.send(ctx, req)
		if err != nil {
			return nil, err
		}
		if !IsRedirect(resp.StatusCode) {
			return c.answer(ctx, r, resp, moved)
		}
		resp.Body.Close()
		if hops == MaxRedirects {
			return nil, RedirectError(req.URL, "from place to place without end")
		}
		next, err := Redirect(req.URL, resp)
		if err != nil {
			return nil, err
		}
		permanent := resp.StatusCode == http1.StatusMovedPermanently || resp.StatusCode == http1.StatusPermanentRedirect
		if at = next.String(); permanent && (hops == 0 || moved != "") {
			moved = at
		}
	}
}

// dress puts the header fields on a request.
func (c *Client) dress(req *http1.Request, r *Request, home string) {
	h := req.Header
	for k, v := range r.Header {
		h.Set(k, v)
	}
	if OriginOf(req.URL) == home {
		for k, v := range r.Secret {
			h.Set(k, v)
		}
	}
	h.Set("User-Agent", c.cfg.UserAgent)
	h.Set("Accept-Encoding", "identity")
	if r.IfNoneMatch != "" {
		h.Set("If-None-Match", r.IfNoneMatch)
	}
	if r.Offset > 0 {
		h.Set("Range", "bytes="+strconv.FormatInt(r.Offset, 10)+"-")
		if strong(r.ETag) {
			h.Set("If-Range", r.ETag)
		}
	}
}

// strong reports whether an ETag stands for bytes rather than for what they mean
// (RFC 9110, 8.8.1); only such a one is for If-Range.
func strong(etag string) bool { return strings.HasPrefix(etag, `"`) }

// send sends one request, unless its host is to be left alone.
func (c *Client) send(ctx context.Context, req *http1.Request) (*http1.Response, error) {
	host := req.URL.Hostname()
	if err := c.pauses.Check(req.URL.Host); err != nil {
		return nil, err
	}
	resp, err := c.rt.RoundTrip(req)
	if err != nil {
		return nil, Explain(ctx, host, c.cfg.Now(), err)
	}
	resp.Request = req
	if c.cfg.OnDate != nil && req.URL.Scheme == "https" {
		if t, err := http1.ParseTime(resp.Header.Get("Date")); err == nil {
			c.cfg.OnDate(t)
		}
	}
	err = c.pauses.Obey(req.URL.Host, resp)
	switch s := resp.StatusCode; {
	case err != nil:
	case s == http1.StatusProxyAuthRequired:
		err = AskedByProxy(nil)
	case s == http1.StatusNetworkAuthenticationRequired, s == http1.StatusRequestTimeout, s >= 500:
		err = faulty(host, s)
	default:
		return resp, nil
	}
	resp.Body.Close()
	return nil, err
}

// answer makes an Answer of one that is not a redirect.
func (c *Client) answer(ctx context.Context, r *Request, resp *http1.Response, moved string) (*Answer, error) {
	a := &Answer{Status: resp.StatusCode, Header: resp.Header, URL: resp.Request.URL, Moved: moved, Size: resp.ContentLength, ETag: resp.Header.Get("ETag")}
	a.Body = &Body{c: c, ctx: ctx, from: *r, r: resp.Body, host: a.URL.Hostname(), end: -1}
	content := a.Status == http1.StatusOK
	if a.Status == http1.StatusPartialContent {
		content = true
		var ok bool
		if a.Offset, a.Size, ok = ContentRange(resp.Header.Get("Content-Range")); !ok || r.Offset == 0 {
			a.Body.Close()
			return nil, godwit.Fail(godwit.CodeProtocol, nil, a.Body.host+" sends a part that was not asked for", "try again later; a proxy may be in the way")
		}
	}
	if e := resp.Header.Get("Content-Encoding"); content && e != "" && !strings.EqualFold(e, "identity") {
		a.Body.Close()
		return nil, godwit.Fail(godwit.CodeProtocol, nil, a.Body.host+" sends its answer in the encoding "+Printable(e)+", which was not asked for", "the host must be set up to leave contents as they are")
	}
	a.Body.at, a.Body.etag, a.Body.resume = a.Offset, a.ETag, r.Resume && content
	if content {
		a.Body.end = a.Size
	}
	return a, nil
}

// ContentRange reads where a part begins, and the size of the whole or -1
// (RFC 9110, 14.4).
func ContentRange(s string) (from, size int64, ok bool) {
	s, ok = strings.CutPrefix(s, "bytes ")
	span, total, slash := strings.Cut(s, "/")
	first, last, dash := strings.Cut(span, "-")
	if !ok || !slash || !dash {
		return 0, 0, false
	}
	from, ok1 := number(first)
	to, ok2 := number(last)
	size = -1
	if total != "*" {
		if size, ok = number(total); !ok || to >= size {
			return 0, 0, false
		}
	}
	return from, size, ok1 && ok2 && from <= to
}

func number(s string) (int64, bool) {
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil && n >= 0 && s[0] != '+'
}
