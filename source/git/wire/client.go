package wire

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/internal/webclient"
)

// A Config says where a repository is and how to talk to its host. Only URL is
// needed.
type Config struct {
	URL string // http://, https://, ssh://, file://, USER@HOST:PATH or a path

	// Credentials, for the host in URL alone. Those in the URL itself count as
	// Username and Password.
	Username string
	Password string
	Token    string // as the password of HTTP Basic; the user name is Username or "x-access-token"
	Bearer   string // "Authorization: Bearer …"
	// Header is sent with every HTTP request to the host in URL.
	Header map[string]string

	SSHKey     string // file with a private key, without a passphrase; "" asks the agent at SSH_AUTH_SOCK
	KnownHosts string // file; "" is ~/.ssh/known_hosts and /etc/ssh/ssh_known_hosts
	HostKey    string // the host's public key ("ssh-ed25519 AAAA…") or its fingerprint ("SHA256:…"); replaces KnownHosts

	CAFile string // PEM, certificate authorities beside the system's
	Proxy  string // URL; "" takes HTTP_PROXY, HTTPS_PROXY and NO_PROXY, "none" goes straight

	UserAgent      string        // "" is "godwit"
	ConnectTimeout time.Duration // until a connection stands, 0 is 30 s
	IdleTimeout    time.Duration // until something is received, 0 is 60 s
	Chunk          int           // bytes that are read at once, 0 is 4096
	MinRate        int           // bytes a second, over ten IdleTimeouts; 0 is 10, negative is any
	Attempts       int           // at one request, 0 is 3
	Backoff        time.Duration // before the second attempt, doubled each time, 0 is 1 s

	State  State            // remembers between runs; nil remembers nothing
	Now    func() time.Time // nil is time.Now
	OnDate func(time.Time)  // gets the time that a host says, where TLS proves who said it
	Events godwit.Events    // Debug events
}

// State keeps a few small files between runs. Names are plain words without
// slashes. What was lost or damaged costs one more request.
type State interface {
	// Load gives what was saved, and an error matching fs.ErrNotExist if
	// nothing was. Files longer than a few KiB need not be read.
	Load(name string) ([]byte, error)
	Save(name string, b []byte) error
}

// A Client talks to one repository. It is not safe for concurrent use, and a
// pack must be read to its end, or closed, before the next call.
type Client struct {
	cfg   Config
	at    location
	t     transport
	count webclient.Traffic
	side  *httpTransport // for LFS beside a repository that is not on HTTP

	caps   Capabilities
	known  bool // caps holds something
	cached bool // caps came from an earlier run and was not yet seen to work
}

// A transport carries requests to a server and answers back.
type transport interface {
	// advertise asks for what the server says first. smart tells whether HTTP's
	// extra line comes before it. Close the stream in any case.
	advertise(ctx context.Context) (stream io.ReadCloser, smart bool, err error)
	// ready reports whether an exchange can begin without an advertisement.
	ready() bool
	// exchange sends one request, which write may have to produce more than
	// once, and gives the answer. A stream that was not read to its end, by
	// the sense of the protocol, must be closed with keep false.
	exchange(ctx context.Context, write func(io.Writer) error) (answer, error)
	// broke words the error of a connection that ended before its time.
	broke(err error) error
	close() error
}

// An answer is a stream that is closed when the protocol says that it is over.
type answer struct {
	io.Reader
	finish func(complete bool) error
}

// Dial makes a Client. It reads key and certificate files but does not connect.
func Dial(cfg Config) (*Client, error) {
	at, err := parseLocation(cfg.URL)
	if err != nil {
		return nil, err
	}
	if at.user != "" && cfg.Username == "" {
		cfg.Username = at.user
	}
	if at.pass != "" && cfg.Password == "" {
		cfg.Password = at.pass
	}
	if cfg.UserAgent == "" {
		cfg.UserAgent = "godwit"
	}
	if cfg.ConnectTimeout <= 0 {
		cfg.ConnectTimeout = 30 * time.Second
	}
	if cfg.IdleTimeout <= 0 {
		cfg.IdleTimeout = 60 * time.Second
	}
	if cfg.MinRate == 0 {
		cfg.MinRate = 10
	}
	if cfg.Attempts <= 0 {
		cfg.Attempts = 3
	}
	if cfg.Backoff <= 0 {
		cfg.Backoff = time.Second
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	c := &Client{cfg: cfg, at: at}
	switch at.scheme {
	case "http", "https":
		c.t, err = newHTTP(c)
	case "ssh":
		c.t, err = newSSH(c)
	default:
		c.t = newLocal(c)
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

// Close ends the connection. The Client must not be used afterwards.
func (c *Client) Close() error {
	if c.side != nil {
		c.side.close()
	}
	return c.t.close()
}

// Transferred is the number of bytes sent and received so far, with the headers
// of HTTP but without what TLS, SSH and proxies add.
func (c *Client) Transferred() (sent, received int64) {
	return c.count.Sent(), c.count.Received()
}

// URL is the repository's, without credentials.
func (c *Client) URL() string { return c.at.String() }

// Capabilities gives what the server can do: as remembered, if that is not too
// old, otherwise by asking.
func (c *Client) Capabilities(ctx context.Context) (Capabilities, error) {
	if c.recall() {
		return c.caps, nil
	}
	_, err := c.discover(ctx, nil)
	return c.caps, c.explain(ctx, err)
}

// recall reports whether capabilities are known, from this run or an earlier.
func (c *Client) recall() bool {
	if !c.known {
		if h, ok := c.t.(*httpTransport); ok {
			c.known = h.recall(&c.caps)
			c.cached = c.known
		}
	}
	return c.known
}

// discover asks for the advertisement. A version 0 server lists its refs in it;
// they go to fn.
func (c *Client) discover(ctx context.Context, fn func(Ref) error) (seen int, err error) {
	c.known, c.cached = false, false
	stream, smart, err := c.t.advertise(ctx)
	if err != nil {
		return 0, err
	}
	a, err := readAdvertisement(newPktReader(stream), smart, fn)
	h, isHTTP := c.t.(*httpTransport)
	if isHTTP && err == nil {
		// The end of the answer, so that the connection can be used again.
		var rest [64]byte
		stream.Read(rest[:])
	}
	if e := stream.Close(); err == nil {
		err = e
	}
	if err != nil {
		return a.seen, err
	}
	c.caps, c.known = a.caps, true
	if isHTTP {
		h.remember(&c.caps)
	}
	return a.seen, nil
}

// attempts calls fn again, after a growing pause, while it fails for lack of a
// connection.
func (c *Client) attempts(ctx context.Context, fn func() error) error {
	wait := c.cfg.Backoff
	for n := 1; ; n++ {
		err := fn()
		if err == nil || n >= c.cfg.Attempts || ctx.Err() != nil || godwit.CodeOf(err) != godwit.CodeNetwork {
			return err
		}
		c.cfg.Events.Say(godwit.StageCheck, godwit.Debug, "again in "+wait.String()+": "+err.Error())
		select {
		case <-ctx.Done():
			return webclient.Stopped(ctx)
		case <-time.After(wait):
		}
		wait = min(2*wait, time.Minute)
	}
}

// again decides after a failed exchange whether what an earlier run remembered
// may be the reason. If so it is forgotten.
func (c *Client) again(err error) bool {
	h, ok := c.t.(*httpTransport)
	if !ok || !c.cached || !staleness(err, h.moved()) {
		return false
	}
	c.known, c.cached = false, false
	h.forget()
	return true
}

// ListRefs calls fn for each ref whose name begins with one of the prefixes,
// for all refs if there are none. A server of version 0 also names HEAD and
// lists everything on the way here. An empty repository has no refs, or only a
// HEAD without ID.
//
// If fn returns an error the listing stops with it.
func (c *Client) ListRefs(ctx context.Context, prefixes []string, fn func(Ref) error) error {
	seen := 0
	filtered := func(r Ref) error {
		if !matches(r.Name, prefixes) {
			return nil
		}
		seen++
		return fn(r)
	}
	for {
		err := c.listRefs(ctx, prefixes, filtered)
		if err != nil && seen == 0 && c.again(err) {
			continue
		}
		return c.explain(ctx, err)
	}
}

func (c *Client) listRefs(ctx context.Context, prefixes []string, fn func(Ref) error) error {
	if !c.recall() || c.caps.Version != 2 || !c.t.ready() {
		if _, err := c.discover(ctx, fn); err != nil || c.caps.Version != 2 {
			return err
		}
	}
	a, err := c.t.exchange(ctx, func(w io.Writer) error { return writeLsRefs(w, &c.caps, c.cfg.UserAgent, prefixes) })
	if err != nil {
		return err
	}
	err = readLsRefs(newPktReader(a), &c.caps, fn)
	if e := a.finish(err == nil); err == nil {
		err = e
	}
	if err == nil {
		c.cached = false
	}
	return err
}

// ErrNoFilter is in the chain of Fetch's error when FetchRequest.Filter is set
// and the server has no filters. Servers lose that ability by a change of their
// configuration, so it may come although Capabilities said otherwise before.
var ErrNoFilter = errors.New("the server does not filter")

// Fetch asks for a pack. What it gives is the bare pack (gitformat-pack); Read
// fails with a godwit.Error when the pack ends early. Close it in any case.
func (c *Client) Fetch(ctx context.Context, r FetchRequest) (io.ReadCloser, FetchInfo, error) {
	for {
		pack, info, err := c.fetch(ctx, &r)
		if err != nil && c.again(err) {
			continue
		}
		if err != nil {
			return nil, info, c.explain(ctx, err)
		}
		return pack, info, nil
	}
}

func (c *Client) fetch(ctx context.Context, r *FetchRequest) (io.ReadCloser, FetchInfo, error) {
	if !c.recall() || !c.t.ready() {
		if _, err := c.discover(ctx, nil); err != nil {
			return nil, FetchInfo{}, err
		}
	}
	caps := c.caps
	if err := r.check(&caps); err != nil {
		return nil, FetchInfo{}, godwit.Fail(godwit.CodeFailed, err, "the request for a pack is wrong", "")
	}
	if r.Filter != "" && !caps.Filter {
		return nil, FetchInfo{}, godwit.Fail(godwit.CodeProtocol, ErrNoFilter, c.at.host+" cannot leave out files",
			"on a host of your own: git config --system uploadpack.allowFilter true")
	}
	deepen := r.Depth > 0 || len(r.Shallow) > 0
	if deepen && !caps.Shallow {
		return nil, FetchInfo{}, godwit.Fail(godwit.CodeProtocol, nil, c.at.host+" cannot send a commit without its history", "use another Git host")
	}
	write := r.write2
	if caps.Version != 2 {
		write = r.write0
	}
	a, err := c.t.exchange(ctx, func(w io.Writer) error { return write(w, &caps, c.cfg.UserAgent) })
	if err != nil {
		return nil, FetchInfo{}, err
	}
	p := newPktReader(a)
	var info FetchInfo
	if caps.Version == 2 {
		p.sideband = caps.sidebandAll
		info, err = readSections2(p, &caps)
	} else {
		info, err = readSections0(p, &caps, r.Depth > 0)
	}
	if err == ErrNotReady {
		c.cached = false // the server understood
	}
	if err != nil {
		a.finish(err == ErrNotReady)
		return nil, info, err
	}
	c.cached = false
	pack := &packStream{c: c, ctx: ctx, a: a, r: &demux{p: p}}
	if caps.Version != 2 && !caps.band && !caps.band64k {
		pack.r = p.r
	}
	return pack, info, nil
}

// A packStream is the pack of one Fetch.
type packStream struct {
	c   *Client
	ctx context.Context
	a   answer
	r   io.Reader
	err error // sticky
}

func (s *packStream) Read(b []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	n, err := s.r.Read(b)
	if err != nil && err != io.EOF {
		err = s.c.explain(s.ctx, err)
	}
	s.err = err
	return n, err
}

var errClosed = errors.New("the pack was closed")

func (s *packStream) Close() error {
	if s.err == errClosed {
		return nil
	}
	err := s.a.finish(s.err == io.EOF)
	s.err = errClosed
	return err
}
