// Package githost is a real Git host on this machine: `git http-backend` behind
// a small HTTP server on the loopback address. Tests and the demonstration use
// it, and it needs the git program. It is no server for a network: it trusts
// everybody who can reach it, or one pair of user and password.
//
// The godwit binary carries this package for its demonstration and does without
// net/http, whose server and CGI would be half a megabyte of it; so there is a
// server of a few lines in serve.go. Tests that want handlers of net/http in
// front find them in package nethttp below this one.
//
// Invariant: what it answers is what stock git answers; Config can only take
// abilities away or put a handler in front.
package githost

import (
	"crypto/subtle"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/godwit-ota/godwit/internal/http1"
)

// Config says how a Host behaves. Only Root is required.
type Config struct {
	Root     string                          // folder that holds the repositories
	Addr     string                          // address to listen on; default 127.0.0.1:0
	TLS      func(net.Listener) net.Listener // serve https: a wrapper around tls.NewListener
	NoFilter bool                            // do not offer partial clones (git's own default)
	Version0 bool                            // speak protocol version 0 only, as very old hosts do
	User     string                          // with Password: ask for HTTP Basic credentials
	Password string                          //
	Config   map[string]string               // more Git configuration for the server side
	Wrap     func(next Handler) Handler      // stands in front of everything, for faults
	Log      io.Writer                       // standard error of git http-backend; default: dropped
}

// A Host is a running Git host.
type Host struct {
	cfg      Config
	backend  string   // path of git-http-backend
	env      []string // its environment
	handler  Handler
	listener net.Listener

	mu     sync.Mutex
	conns  map[net.Conn]bool
	closed bool

	requests       atomic.Int64
	sent, received atomic.Int64
}

// Start begins to serve cfg.Root. Close ends it.
func Start(cfg Config) (*Host, error) {
	git, err := exec.LookPath("git")
	if err != nil {
		return nil, errors.New("githost: the git program is not installed")
	}
	out, err := exec.Command(git, "--exec-path").Output()
	if err != nil {
		return nil, errors.New("githost: git --exec-path: " + err.Error())
	}
	root, err := filepath.Abs(cfg.Root)
	if err != nil {
		return nil, err
	}
	if cfg.Addr == "" {
		cfg.Addr = "127.0.0.1:0"
	}
	if cfg.Log == nil {
		cfg.Log = io.Discard
	}
	h := &Host{
		cfg:     cfg,
		backend: filepath.Join(strings.TrimSpace(string(out)), "git-http-backend"),
		env:     append(serverEnv(cfg), "GIT_PROJECT_ROOT="+root, "GIT_HTTP_EXPORT_ALL=1"),
		conns:   make(map[net.Conn]bool),
	}
	h.handler = HandlerFunc(h.serveGit)
	if cfg.Wrap != nil {
		h.handler = cfg.Wrap(h.handler)
	}
	h.listener, err = net.Listen("tcp", cfg.Addr)
	if err != nil {
		return nil, err
	}
	var accept net.Listener = counter{h.listener, h}
	if cfg.TLS != nil {
		accept = cfg.TLS(accept)
	}
	go h.accept(accept)
	return h, nil
}

// serverEnv is the environment of git on the server side: nothing of the user's
// own configuration, and cfg's.
func serverEnv(cfg Config) []string {
	settings := [][2]string{
		{"safe.directory", "*"},
		{"uploadpack.allowFilter", strconv.FormatBool(!cfg.NoFilter)},
	}
	for k, v := range cfg.Config {
		settings = append(settings, [2]string{k, v})
	}
	env := []string{"HOME=/nonexistent", "PATH=" + os.Getenv("PATH"), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_COUNT=" + strconv.Itoa(len(settings))}
	for i, s := range settings {
		n := strconv.Itoa(i)
		env = append(env, "GIT_CONFIG_KEY_"+n+"="+s[0], "GIT_CONFIG_VALUE_"+n+"="+s[1])
	}
	return env
}

// URL is the address of the repository name below Root.
func (h *Host) URL(name string) string {
	scheme := "http://"
	if h.cfg.TLS != nil {
		scheme = "https://"
	}
	return scheme + h.listener.Addr().String() + "/" + name
}

// Requests counts the HTTP requests so far.
func (h *Host) Requests() int64 { return h.requests.Load() }

// Traffic gives the bytes that clients received and sent so far, headers and
// TLS included.
func (h *Host) Traffic() (toClients, fromClients int64) { return h.sent.Load(), h.received.Load() }

// Close ends the host and every connection to it.
func (h *Host) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for c := range h.conns {
		c.Close()
	}
	return h.listener.Close()
}

// ServeHTTP answers one request.
func (h *Host) ServeHTTP(w ResponseWriter, r *http1.Request) {
	h.requests.Add(1)
	h.handler.ServeHTTP(w, r)
}

func (h *Host) serveGit(w ResponseWriter, r *http1.Request) {
	var remoteUser string
	if h.cfg.User != "" || h.cfg.Password != "" {
		user, password, _ := r.BasicAuth()
		ok := subtle.ConstantTimeCompare([]byte(user+"\x00"+password), []byte(h.cfg.User+"\x00"+h.cfg.Password))
		if ok != 1 {
			w.Header().Set("WWW-Authenticate", `Basic realm="githost"`)
			fail(w, "who are you?", http1.StatusUnauthorized)
			return
		}
		remoteUser = user
	}
	if h.cfg.Version0 {
		r.Header.Del("Git-Protocol")
	}
	h.runCGI(w, r, remoteUser)
}

// counter counts the bytes of every connection it accepts.
type counter struct {
	net.Listener
	host *Host
}

func (c counter) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return countedConn{conn, c.host}, nil
}

type countedConn struct {
	net.Conn
	host *Host
}

func (c countedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.host.received.Add(int64(n))
	return n, err
}

func (c countedConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.host.sent.Add(int64(n))
	return n, err
}
