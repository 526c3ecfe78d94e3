// Package githost is a real Git host on this machine: `git http-backend` behind
// net/http, on the loopback address. Tests and the demonstration use it, and it
// needs the git program. It is no server for a network: it trusts everybody who
// can reach it, or one pair of user and password.
//
// Invariant: what it answers is what stock git answers; Config can only take
// abilities away or put a handler in front.
package githost

import (
	"crypto/subtle"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/cgi"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Config says how a Host behaves. Only Root is required.
type Config struct {
	Root     string      // folder that holds the repositories
	Addr     string      // address to listen on; default 127.0.0.1:0
	TLS      *tls.Config // serve https with it
	NoFilter bool        // do not offer partial clones (git's own default)
	Version0 bool        // speak protocol version 0 only, as very old hosts do
	User     string      // with Password: ask for HTTP Basic credentials
	Password string
	Config   map[string]string                    // more Git configuration for the server side
	Wrap     func(next http.Handler) http.Handler // stands in front of everything, for faults
	Log      io.Writer                            // standard error of git http-backend; default: dropped
}

// A Host is a running Git host.
type Host struct {
	cfg      Config
	listener net.Listener
	server   *http.Server
	cgi      cgi.Handler

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
	h := &Host{cfg: cfg}
	h.cgi = cgi.Handler{
		Path:   filepath.Join(strings.TrimSpace(string(out)), "git-http-backend"),
		Env:    append(serverEnv(cfg), "GIT_PROJECT_ROOT="+root, "GIT_HTTP_EXPORT_ALL=1"),
		Stderr: cfg.Log,
	}
	var handler http.Handler = http.HandlerFunc(h.serve)
	if cfg.Wrap != nil {
		handler = cfg.Wrap(handler)
	}
	l, err := net.Listen("tcp", cfg.Addr)
	if err != nil {
		return nil, err
	}
	h.listener = l
	h.server = &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h.requests.Add(1)
			handler.ServeHTTP(w, r)
		}),
		ReadHeaderTimeout: time.Minute,
	}
	var serve net.Listener = counter{l, h}
	if cfg.TLS != nil {
		serve = tls.NewListener(serve, cfg.TLS)
	}
	go h.server.Serve(serve)
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
	env := []string{"HOME=/nonexistent", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_COUNT=" + strconv.Itoa(len(settings))}
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
func (h *Host) Close() error { return h.server.Close() }

func (h *Host) serve(w http.ResponseWriter, r *http.Request) {
	c := h.cgi
	if h.cfg.User != "" || h.cfg.Password != "" {
		user, password, _ := r.BasicAuth()
		ok := subtle.ConstantTimeCompare([]byte(user+"\x00"+password), []byte(h.cfg.User+"\x00"+h.cfg.Password))
		if ok != 1 {
			w.Header().Set("WWW-Authenticate", `Basic realm="githost"`)
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		c.Env = append(c.Env[:len(c.Env):len(c.Env)], "REMOTE_USER="+user)
	}
	if h.cfg.Version0 {
		r.Header.Del("Git-Protocol")
	}
	c.ServeHTTP(w, r)
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
