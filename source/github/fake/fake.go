// Package fake is a host with an API on this machine, for tests: as GitHub,
// Gitea or GitLab it tells of one real Git repository. Its answers have the form
// that the hosts' API descriptions promise. It also limits how often it is asked,
// sends attached files from another address, leaves out what is too much, knows
// old names of a repository, and does what else a real host does now and then.
//
// It needs the git program. It leaves every judgement to its tests, which see
// all requests and can stand in front of any.
//
// Invariant: what it says of commits, trees and contents is what git says.
package fake

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Config says what a Host is like. Only Dir is required.
type Config struct {
	Kind  string // "github", "gitea" or "gitlab"; "" is GitHub
	Dir   string // the repository, bare or with a working tree
	Owner string // "" is "acme"
	Repo  string // "" is "station"
	Token string // of whoever may read; "" is everybody
	TLS   bool   // serve https; see Host.CAFile
}

// A Host is a running host. Its fields may be changed while nobody asks.
type Host struct {
	cfg     Config
	api     *httptest.Server // API, and pages
	raw     *httptest.Server // files of repositories
	storage *httptest.Server // attached files

	Limit      int       // requests until Reset; 0 is without end
	Reset      time.Time // when the limit begins anew
	MostListed int       // entries in an answer about a tree; 0 is any number
	PerPage    int       // entries on a page of Gitea's and GitLab's; 0 is what they do
	OldNames   []string  // OWNER/REPO that lead to the repository
	Direct     bool      // attached files are answered by the API itself
	Disorder   bool      // GitLab: list in reverse order

	mu       sync.Mutex
	front    func(w http.ResponseWriter, r *http.Request, next http.Handler)
	used     int
	releases []*Release // the newest last
	requests []Request
	assets   map[int]*asset
}

// A Release is something that the host shows as one.
type Release struct {
	Tag        string
	Assets     map[string][]byte
	Draft      bool
	Prerelease bool
	id         int
	assets     []*asset
}

type asset struct {
	id      int
	name    string
	content []byte
}

// A Request is one that the host has seen.
type Request struct {
	Server string // "api", "raw" or "storage"
	Path   string // with the query
	Header http.Header
	Status int
	Sent   int64 // bytes of the answer's body
}

// New starts a host. Close ends it.
func New(cfg Config) (*Host, error) {
	if cfg.Owner == "" {
		cfg.Owner = "acme"
	}
	if cfg.Repo == "" {
		cfg.Repo = "station"
	}
	h := &Host{cfg: cfg, assets: make(map[int]*asset), Reset: time.Now().Add(time.Hour)}
	if _, err := h.git("rev-parse", "--git-dir"); err != nil {
		return nil, errors.New("fake: " + cfg.Dir + " is no Git repository")
	}
	var serve func(http.ResponseWriter, *http.Request)
	switch cfg.Kind {
	case "", "github":
		serve = h.serveGitHub
	case "gitea":
		serve = h.serveGitea
	case "gitlab":
		serve = h.serveGitLab
	default:
		return nil, errors.New("fake: no such kind: " + cfg.Kind)
	}
	start := func(server string, next http.HandlerFunc) *httptest.Server {
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.see(server, w, r, next) }))
		s.Config.ErrorLog = nil
		if cfg.TLS {
			s.StartTLS()
		} else {
			s.Start()
		}
		return s
	}
	h.api = start("api", func(w http.ResponseWriter, r *http.Request) { h.guard(w, r, serve) })
	h.raw = start("raw", h.serveRaw)
	h.storage = start("storage", h.serveStorage)
	return h, nil
}

// Close ends the host.
func (h *Host) Close() {
	for _, s := range []*httptest.Server{h.api, h.raw, h.storage} {
		s.CloseClientConnections()
		s.Close()
	}
}

// URL is the address of the repository in a browser.
func (h *Host) URL() string { return h.api.URL + "/" + h.name() }

// Raw is where files are as RAW/OWNER/REPO/COMMIT/PATH.
func (h *Host) Raw() string { return h.raw.URL }

// Certificate is the authority's that signed for an https host, in DER.
func (h *Host) Certificate() []byte { return h.api.Certificate().Raw }

func (h *Host) name() string { return h.cfg.Owner + "/" + h.cfg.Repo }

// Rename gives the repository another name. The old one leads to it.
func (h *Host) Rename(owner, repo string) {
	h.OldNames = append(h.OldNames, h.name())
	h.cfg.Owner, h.cfg.Repo = owner, repo
}

// Publish shows a release. Its Tag must be in the repository.
func (h *Host) Publish(r Release) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.remove(r.Tag)
	r.id = 1000 + len(h.releases) + len(h.assets)
	for _, name := range slices.Sorted(maps.Keys(r.Assets)) {
		a := &asset{id: 5000 + len(h.assets), name: name, content: r.Assets[name]}
		h.assets[a.id] = a
		r.assets = append(r.assets, a)
	}
	h.releases = append(h.releases, &r)
}

// Delete takes a release away. The tag stays.
func (h *Host) Delete(tag string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.remove(tag)
}

func (h *Host) remove(tag string) {
	h.releases = slices.DeleteFunc(h.releases, func(r *Release) bool { return r.Tag == tag })
}

// latest is the release that the host calls so; named is the one of a tag.
func (h *Host) latest() *Release {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range slices.Backward(h.releases) {
		if !r.Draft && !r.Prerelease {
			return r
		}
	}
	return nil
}

func (h *Host) named(tag string) *Release {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range h.releases {
		if r.Tag == tag && !r.Draft {
			return r
		}
	}
	return nil
}

func (h *Host) asset(id string) *asset {
	h.mu.Lock()
	defer h.mu.Unlock()
	n, _ := strconv.Atoi(id)
	return h.assets[n]
}

// Requests gives what was asked since the last call.
func (h *Host) Requests() []Request {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.requests
	h.requests = nil
	return r
}

// Used is how much of the limit is used up.
func (h *Host) Used() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.used
}

// SetUsed changes how much of the limit is used up.
func (h *Host) SetUsed(n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.used = n
}

// Front puts fn in front of every request, for faults; nil takes it away.
func (h *Host) Front(fn func(w http.ResponseWriter, r *http.Request, next http.Handler)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.front = fn
}

// see writes down a request and its answer.
func (h *Host) see(server string, w http.ResponseWriter, r *http.Request, next http.HandlerFunc) {
	rec := &recorder{ResponseWriter: w, status: 200}
	q := Request{Server: server, Path: r.URL.RequestURI(), Header: r.Header.Clone()}
	defer func() {
		q.Status, q.Sent = rec.status, rec.sent
		h.mu.Lock()
		h.requests = append(h.requests, q)
		h.mu.Unlock()
	}()
	h.mu.Lock()
	front := h.front
	h.mu.Unlock()
	if front != nil {
		front(rec, r, next)
	} else {
		next(rec, r)
	}
}

type recorder struct {
	http.ResponseWriter
	status int
	sent   int64
}

func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(b []byte) (int, error) {
	n, err := r.ResponseWriter.Write(b)
	r.sent += int64(n)
	return n, err
}

func (r *recorder) Flush() { r.ResponseWriter.(http.Flusher).Flush() }

// may reports whether a request has the token.
func (h *Host) may(r *http.Request) bool {
	got := r.Header.Get("Private-Token")
	for _, scheme := range []string{"Bearer ", "token "} {
		if t, ok := strings.CutPrefix(r.Header.Get("Authorization"), scheme); ok {
			got = t
		}
	}
	return h.cfg.Token == "" && got == "" || got == h.cfg.Token
}

// guard stands in front of the API: limits, tokens, old names.
func (h *Host) guard(w http.ResponseWriter, r *http.Request, next http.HandlerFunc) {
	h.mu.Lock()
	over := h.Limit > 0 && h.used >= h.Limit
	if !over {
		h.used++
	}
	left := max(h.Limit-h.used, 0)
	h.mu.Unlock()
	if h.Limit > 0 {
		w.Header().Set("X-RateLimit-Limit", strconv.Itoa(h.Limit))
		w.Header().Set("X-RateLimit-Remaining", strconv.Itoa(left))
		w.Header().Set("X-RateLimit-Reset", strconv.FormatInt(h.Reset.Unix(), 10))
		w.Header().Set("X-RateLimit-Used", strconv.Itoa(h.Limit-left))
		w.Header().Set("X-RateLimit-Resource", "core")
	}
	switch {
	case over:
		fail(w, 403, "API rate limit exceeded for 127.0.0.1.")
		return
	case r.Header.Get("User-Agent") == "":
		fail(w, 403, "Request forbidden by administrative rules. Please make sure your request has a User-Agent header.")
		return
	case !h.may(r) && (r.Header.Get("Authorization") != "" || r.Header.Get("Private-Token") != ""):
		fail(w, 401, "Bad credentials")
		return
	case !h.may(r):
		fail(w, 404, "Not Found")
		return
	}
	for _, old := range h.OldNames {
		for _, prefix := range []string{"/api/v3/repos/", "/api/v1/repos/"} {
			if rest, ok := strings.CutPrefix(r.URL.RequestURI(), prefix+old); ok && (rest == "" || rest[0] == '/') {
				w.Header().Set("Location", h.api.URL+strings.TrimSuffix(prefix, "repos/")+"repositories/4711"+rest)
				reply(w, r, 301, object{"message": "Moved Permanently", "url": h.api.URL, "documentation_url": "https://docs.github.com"})
				return
			}
		}
	}
	next(w, r)
}

// uncount gives back a request that does not count: GitHub takes 304 out of the
// limit for those who show a token.
func (h *Host) uncount(r *http.Request) {
	if r.Header.Get("Authorization") == "" {
		return
	}
	h.mu.Lock()
	h.used--
	h.mu.Unlock()
}

type object = map[string]any

// reply sends JSON with an ETag, or 304.
func reply(w http.ResponseWriter, r *http.Request, status int, v any) bool {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	return send(w, r, status, b)
}

// send sends bytes with an ETag, or 304, and reports which.
func send(w http.ResponseWriter, r *http.Request, status int, b []byte) (fresh bool) {
	sum := sha256.Sum256(b)
	tag := `W/"` + hex.EncodeToString(sum[:]) + `"`
	if status == 200 {
		w.Header().Set("ETag", tag)
		if r.Header.Get("If-None-Match") == tag {
			w.WriteHeader(304)
			return false
		}
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(status)
	w.Write(b)
	return true
}

func fail(w http.ResponseWriter, status int, message string) {
	b, _ := json.Marshal(object{"message": message, "documentation_url": "https://docs.github.com/rest", "status": strconv.Itoa(status)})
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	w.Write(b)
}

// serveStorage is the other host that attached files come from. Like the real
// ones it takes one way of asking: the address alone.
func (h *Host) serveStorage(w http.ResponseWriter, r *http.Request) {
	a := h.asset(strings.TrimPrefix(r.URL.Path, "/files/"))
	switch {
	case r.Header.Get("Authorization") != "" || r.Header.Get("Private-Token") != "":
		fail(w, 400, "Only one auth mechanism allowed")
	case a == nil || r.URL.Query().Get("sig") != "secret":
		fail(w, 403, "AuthenticationFailed")
	default:
		content(w, r, a.content)
	}
}

// git runs git and gives its output.
func (h *Host) git(args ...string) (string, error) {
	cmd := exec.Command("git", append([]string{"-C", h.cfg.Dir, "-c", "safe.directory=*", "-c", "core.quotePath=false"}, args...)...)
	out, err := cmd.Output()
	return string(out), err
}

// id gives the id of an object, "" if there is none.
func (h *Host) id(name string) string {
	if strings.HasPrefix(name, "-") {
		return ""
	}
	out, err := h.git("rev-parse", "--verify", "--quiet", name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(out)
}

// blob gives a content.
func (h *Host) blob(name string) ([]byte, bool) {
	if strings.HasPrefix(name, "-") {
		return nil, false
	}
	out, err := h.git("cat-file", "blob", name)
	return []byte(out), err == nil
}
