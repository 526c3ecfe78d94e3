package wire

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"strings"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/internal/http1"
	"github.com/godwit-ota/godwit/internal/webclient"
)

// An httpTransport speaks gitprotocol-http: GET info/refs for the
// advertisement and one POST for each exchange.
type httpTransport struct {
	c    *Client
	rt   *http1.Transport
	home string // origin of the configured URL: where credentials may go
	conf string // the configured URL without credentials
	base string // the repository's URL now: conf, or where redirects led
	// fickle is set when a redirect that led to base was a temporary one.
	fickle bool
	pauses webclient.Pauses
}

const (
	serviceQuery      = "/info/refs?service=git-upload-pack"
	servicePath       = "/git-upload-pack"
	typeAdvertisement = "application/x-git-upload-pack-advertisement"
	typeRequest       = "application/x-git-upload-pack-request"
	typeResult        = "application/x-git-upload-pack-result"

	gzipFrom  = 1 << 10 // requests above this are sent compressed, as git does
	spoolUpTo = 64 << 10
)

func newHTTP(c *Client) (*httpTransport, error) {
	rt, err := c.cfg.network().Transport(&c.count)
	if err != nil {
		return nil, err
	}
	t := &httpTransport{c: c, rt: rt, home: c.at.origin(), conf: c.at.String()}
	t.base = t.conf
	t.pauses = c.pauses()
	return t, nil
}

func (t *httpTransport) ready() bool { return t.c.known }

func (t *httpTransport) close() error {
	t.rt.CloseIdleConnections()
	return nil
}

func (t *httpTransport) broke(err error) error {
	return godwit.Fail(godwit.CodeNetwork, err, "the connection to "+t.c.at.host+" broke", "try again")
}

// moved reports whether the repository is asked for elsewhere than configured.
func (t *httpTransport) moved() bool { return t.base != t.conf }

// authorize adds the credentials if the request goes where they belong.
func (t *httpTransport) authorize(r *http1.Request) {
	cfg := &t.c.cfg
	r.Header.Set("User-Agent", cfg.UserAgent)
	if webclient.OriginOf(r.URL) != t.home {
		return
	}
	for k, v := range cfg.Header {
		r.Header.Set(k, v)
	}
	switch {
	case r.Header.Get("Authorization") != "":
	case cfg.Bearer != "":
		r.Header.Set("Authorization", "Bearer "+cfg.Bearer)
	case cfg.Token != "":
		user := cfg.Username
		if user == "" {
			user = "x-access-token"
		}
		r.SetBasicAuth(user, cfg.Token)
	case cfg.Username != "" || cfg.Password != "":
		r.SetBasicAuth(cfg.Username, cfg.Password)
	}
}

// hasCredentials reports whether any were configured.
func (c *Config) hasCredentials() bool {
	return c.Bearer != "" || c.Token != "" || c.Username != "" || c.Password != ""
}

// advertise implements transport. It always begins at the configured URL.
func (t *httpTransport) advertise(ctx context.Context) (io.ReadCloser, bool, error) {
	at := t.conf
	t.base, t.fickle = t.conf, false
	for hops := 0; ; hops++ {
		resp, err := t.do(ctx, func() (*http1.Request, error) {
			r, err := http1.NewRequestWithContext(ctx, http1.MethodGet, at+serviceQuery, nil)
			if err == nil {
				r.Header.Set("Git-Protocol", "version=2")
				r.Header.Set("Accept-Encoding", "identity")
			}
			return r, err
		})
		if err != nil {
			return nil, false, err
		}
		if webclient.IsRedirect(resp.StatusCode) {
			resp.Body.Close()
			if hops == webclient.MaxRedirects {
				return nil, false, t.redirectError("sends us from place to place without end", "")
			}
			next, err := t.follow(resp)
			if err != nil {
				return nil, false, err
			}
			t.fickle = t.fickle || resp.StatusCode != http1.StatusMovedPermanently && resp.StatusCode != http1.StatusPermanentRedirect
			at = next
			continue
		}
		if err := t.accept(resp, typeAdvertisement); err != nil {
			resp.Body.Close()
			return nil, false, err
		}
		t.base = at
		body, err := t.body(ctx, resp)
		return body, true, err
	}
}

// follow gives the repository's URL that a redirect of info/refs leads to.
func (t *httpTransport) follow(resp *http1.Response) (string, error) {
	where, err := resp.Location()
	if err != nil {
		return "", t.redirectError("sends us away without saying where", "")
	}
	shown := printable([]byte(where.Redacted()))
	if where.User != nil {
		return "", t.redirectError("sends us to a URL with credentials in it", "set source.url to where the repository is now")
	}
	from := resp.Request.URL
	switch {
	case where.Scheme != "http" && where.Scheme != "https":
		return "", t.redirectError("sends us to "+shown+", which is not a web address", "")
	case from.Scheme == "https" && where.Scheme == "http":
		return "", t.redirectError("sends us from https to plain http ("+shown+")",
			"godwit does not leave an encrypted connection for one that is not; set source.url to where the repository is now")
	case where.Host == "":
		return "", t.redirectError("sends us to "+shown+", which names no host", "")
	}
	where.Fragment = ""
	base, ok := strings.CutSuffix(where.String(), serviceQuery)
	if !ok {
		return "", t.redirectError("sends us to "+shown+", which is not a Git repository",
			"if that is a log-in page of the network, log in; otherwise check source.url and the credentials")
	}
	return base, nil
}

func (t *httpTransport) redirectError(what, hint string) error {
	if hint == "" {
		hint = "check source.url; whoever runs the host can tell where the repository is"
	}
	return godwit.Fail(godwit.CodeRedirect, nil, t.c.at.host+" "+what, hint)
}

// exchange implements transport with one POST.
func (t *httpTransport) exchange(ctx context.Context, write func(io.Writer) error) (answer, error) {
	var plain counter
	if err := write(&plain); err != nil {
		return answer{}, err
	}
	encode, size := write, int64(plain)
	if plain > gzipFrom {
		encode = func(w io.Writer) error { return squeezed(w, t.c.caps.hexLen(), write) }
		var n counter
		if err := encode(&n); err != nil {
			return answer{}, err
		}
		size = int64(n)
	}
	var spool io.Reader
	if size <= spoolUpTo {
		b := bytes.NewBuffer(make([]byte, 0, size))
		if err := encode(b); err != nil {
			return answer{}, err
		}
		spool = bytes.NewReader(b.Bytes())
	}
	var body *pipeBody
	pipe := func() (io.ReadCloser, error) {
		body.stop()
		body = newPipeBody(encode)
		return body, nil
	}
	resp, err := t.do(ctx, func() (*http1.Request, error) {
		r, err := http1.NewRequestWithContext(ctx, http1.MethodPost, t.base+servicePath, spool)
		if err != nil {
			return nil, err
		}
		r.Header.Set("Content-Type", typeRequest)
		r.Header.Set("Accept", typeResult)
		r.Header.Set("Accept-Encoding", "identity")
		if t.c.caps.Version == 2 {
			r.Header.Set("Git-Protocol", "version=2")
		}
		if plain > gzipFrom {
			r.Header.Set("Content-Encoding", "gzip")
		}
		if spool == nil {
			r.ContentLength, r.GetBody = size, pipe
			r.Body, err = pipe()
		}
		return r, err
	})
	if err == nil {
		if webclient.IsRedirect(resp.StatusCode) {
			err = &redirected{t.redirectError("answers a request with a redirect", "")}
		} else {
			err = t.accept(resp, typeResult)
		}
		if err != nil {
			resp.Body.Close()
		}
	}
	// Nothing may range over the request's "have" ids once this returns; what
	// has not been sent when the answer is there is not waited for.
	body.stop()
	if err != nil {
		return answer{}, err
	}
	stream, err := t.body(ctx, resp)
	if err != nil {
		return answer{}, err
	}
	return answer{stream, func(complete bool) error {
		if complete {
			// The end of the answer, so that the connection can be used again.
			var rest [64]byte
			stream.Read(rest[:])
		}
		return stream.Close()
	}}, nil
}

// A redirected is the answer to a POST that may be followed by asking anew for
// the advertisement.
type redirected struct{ err error }

func (r *redirected) Error() string { return r.err.Error() }
func (r *redirected) Unwrap() error { return r.err }

// do sends a request, again where that cannot do harm: every request here only
// asks. It gives the first answer of any kind, with its first byte received.
func (t *httpTransport) do(ctx context.Context, build func() (*http1.Request, error)) (resp *http1.Response, err error) {
	err = t.c.attempts(ctx, func() error {
		if err := t.pauses.Check(t.c.at.address()); err != nil {
			return err
		}
		r, err := build()
		if err != nil {
			return godwit.Fail(godwit.CodeConfig, err, "the URL of the Git repository cannot be asked for", "check source.url")
		}
		t.authorize(r)
		resp, err = t.rt.RoundTrip(r)
		if err != nil {
			return webclient.Explain(ctx, r.URL.Hostname(), t.c.cfg.Now(), err)
		}
		if t.c.cfg.OnDate != nil && r.URL.Scheme == "https" {
			if at, err := http1.ParseTime(resp.Header.Get("Date")); err == nil {
				t.c.cfg.OnDate(at)
			}
		}
		if resp.StatusCode == http1.StatusOK {
			first := bufio.NewReaderSize(resp.Body, 512)
			if _, err = first.Peek(1); err != nil && err != io.EOF {
				resp.Body.Close()
				return webclient.Explain(ctx, r.URL.Hostname(), t.c.cfg.Now(), err)
			}
			resp.Body = &peeked{first, resp.Body}
		}
		return nil
	})
	return resp, err
}

type peeked struct {
	*bufio.Reader
	io.Closer
}

// body is an answer's content, with errors put into words. Every request asks
// for it as it is, so there is nothing to decompress.
func (t *httpTransport) body(ctx context.Context, resp *http1.Response) (io.ReadCloser, error) {
	b := &httpBody{ctx: ctx, t: t, r: resp.Body, c: resp.Body, host: resp.Request.URL.Hostname()}
	if e := resp.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		b.Close()
		return nil, errors.New("the answer comes in the encoding " + printable([]byte(e)) + ", which was not asked for")
	}
	return b, nil
}

type httpBody struct {
	ctx  context.Context
	t    *httpTransport
	r    io.Reader
	c    io.Closer
	host string
}

func (b *httpBody) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		err = webclient.Explain(b.ctx, b.host, b.t.c.cfg.Now(), err)
	}
	return n, err
}

func (b *httpBody) Close() error {
	b.c.Close() // an error of reading was reported by Read
	return nil
}

// A counter counts what is written to it.
type counter int64

func (c *counter) Write(b []byte) (int, error) {
	*c += counter(len(b))
	return len(b), nil
}

// A pipeBody is a request body that is made while it is sent.
type pipeBody struct {
	*io.PipeReader
	done chan struct{}
}

func newPipeBody(write func(io.Writer) error) *pipeBody {
	r, w := io.Pipe()
	p := &pipeBody{r, make(chan struct{})}
	go func() {
		defer close(p.done)
		b := bufio.NewWriterSize(w, 4<<10)
		err := write(b)
		if e := b.Flush(); err == nil {
			err = e
		}
		w.CloseWithError(err)
	}()
	return p
}

// stop ends the making and waits for that. A nil pipeBody is stopped.
func (p *pipeBody) stop() {
	if p != nil {
		p.PipeReader.CloseWithError(errStopped)
		<-p.done
	}
}

var errStopped = errors.New("the answer came before the request was sent")

// network is what connections of HTTP are made by.
func (c *Config) network() webclient.Network {
	return webclient.Network{CAFile: c.CAFile, Proxy: c.Proxy, ConnectTimeout: c.ConnectTimeout, IdleTimeout: c.IdleTimeout, Chunk: c.Chunk, MinRate: c.MinRate}
}

func (c *Client) pauses() webclient.Pauses {
	p := webclient.Pauses{Now: c.cfg.Now}
	if c.cfg.State != nil {
		p.Notes = c.cfg.State
	}
	return p
}
