package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/internal/githost"
	"github.com/godwit-ota/godwit/internal/githost/nethttp"
)

func poll(c *Client) error {
	return c.ListRefs(context.Background(), []string{"refs/heads/main"}, func(Ref) error { return nil })
}

// serve starts a server for one handler.
func serve(t testing.TB, h http.HandlerFunc) *httptest.Server {
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

const (
	zero40 = "0000000000000000000000000000000000000000"
	one40  = "1111111111111111111111111111111111111111"
)

var advert2 = pkt("# service=git-upload-pack\n", "0000", "version 2\n", "ls-refs\n", "fetch=shallow\n", "0000")

func pkt(lines ...string) string {
	var b strings.Builder
	for _, l := range lines {
		if l == "0000" || l == "0001" || l == "0002" {
			b.WriteString(l)
		} else {
			fmt.Fprintf(&b, "%04x%s", len(l)+4, l)
		}
	}
	return b.String()
}

// says answers the advertisement as Git does and POSTs with body.
func says(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			w.Header().Set("Content-Type", typeAdvertisement)
			io.WriteString(w, advert2)
			return
		}
		w.Header().Set("Content-Type", typeResult)
		io.WriteString(w, body)
	}
}

// status answers everything with a status.
func status(code int, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
	}
}

func TestAnswersThatAreNotGit(t *testing.T) {
	adv := func(kind, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", kind)
			io.WriteString(w, body)
		}
	}
	for _, c := range []struct {
		name    string
		handler http.HandlerFunc
		code    godwit.Code
		words   string // that the sentence must hold
	}{
		{"captive portal", adv("text/html; charset=utf-8", "<!DOCTYPE html><title>Welcome to Hotel</title>"), godwit.CodeNetwork, "web page"},
		{"html without type", adv("", "<html>"), godwit.CodeNetwork, "web page"},
		{"dumb", adv("text/plain", one40+"\trefs/heads/main\n"), godwit.CodeProtocol, "dumb"},
		{"json", adv("application/json", "{}"), godwit.CodeProtocol, "application/json"},
		{"400", status(400), godwit.CodeProtocol, "400"},
		{"401", status(401), godwit.CodeUnauthorized, "asks for credentials"},
		{"403", status(403), godwit.CodeUnauthorized, "refuses access"},
		{"404", status(404), godwit.CodeNotFound, "no Git repository"},
		{"407", status(407), godwit.CodeUnauthorized, "proxy"},
		{"410", status(410), godwit.CodeNotFound, "no Git repository"},
		{"429", status(429), godwit.CodeRetryAfter, "left alone"},
		{"500", status(500), godwit.CodeNetwork, "fault"},
		{"502", status(502), godwit.CodeNetwork, "fault"},
		{"503", status(503), godwit.CodeNetwork, "fault"},
		{"511", status(511), godwit.CodeNetwork, "log-in"},
		{"204", status(204), godwit.CodeProtocol, "204"},
		{"redirect without location", status(302), godwit.CodeRedirect, "without saying where"},
		{"redirect to a page", status(302, "Location", "http://login.example.org/?to=x"), godwit.CodeRedirect, "not a Git repository"},
		{"redirect to file", status(302, "Location", "file:///etc/passwd"), godwit.CodeRedirect, "not a web address"},
		{"redirect with credentials", status(302, "Location", "http://a:b@127.0.0.1/x.git/info/refs?service=git-upload-pack"), godwit.CodeRedirect, "credentials"},
		{"empty", adv(typeAdvertisement, ""), godwit.CodeNetwork, "broke"},
		{"rubbish", adv(typeAdvertisement, "rubbish"), godwit.CodeProtocol, "not Git's protocol"},
		{"cut", adv(typeAdvertisement, advert2[:40]), godwit.CodeNetwork, "broke"},
		{"ERR", adv(typeAdvertisement, pkt("ERR access denied \x1b[31m or so")), godwit.CodeUnauthorized, "refused these credentials"},
		{"ERR strange", adv(typeAdvertisement, pkt("ERR out of cheese")), godwit.CodeProtocol, "gave up"},
		{"no fetch", adv(typeAdvertisement, pkt("version 2\n", "ls-refs\n", "0000")), godwit.CodeProtocol, "not Git's protocol"},
		{"unknown hash", adv(typeAdvertisement, pkt("version 2\n", "ls-refs\n", "fetch\n", "object-format=md5\n", "0000")), godwit.CodeProtocol, "not Git's protocol"},
		{"delimiter", adv(typeAdvertisement, pkt("version 2\n", "0001")), godwit.CodeProtocol, "not Git's protocol"},
		{"an encoding", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", typeAdvertisement)
			w.Header().Set("Content-Encoding", "br")
			io.WriteString(w, "x")
		}, godwit.CodeProtocol, "not Git's protocol"},
		{"refs: cut", says(pkt(one40+" refs/heads/main\n") + "0040"), godwit.CodeNetwork, "broke"},
		{"refs: no end", says(pkt(one40 + " refs/heads/main\n")), godwit.CodeNetwork, "broke"},
		{"refs: empty", says(""), godwit.CodeNetwork, "broke"},
		{"refs: no id", says(pkt("xyz refs/heads/main\n", "0000")), godwit.CodeProtocol, "not Git's protocol"},
		{"refs: long id", says(pkt(one40+"11 refs/heads/main\n", "0000")), godwit.CodeProtocol, "not Git's protocol"},
		{"refs: control", says(pkt(one40+" refs/heads/\x1b[0m\n", "0000")), godwit.CodeProtocol, "not Git's protocol"},
		{"refs: delimiter", says(pkt("0001")), godwit.CodeProtocol, "not Git's protocol"},
		{"refs: wrong type", func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet {
				says("")(w, r)
				return
			}
			w.Header().Set("Content-Type", "text/html")
			io.WriteString(w, "<html>")
		}, godwit.CodeNetwork, "web page"},
		{"refs: redirect", func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet {
				says("")(w, r)
				return
			}
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		}, godwit.CodeRedirect, "answers a request with a redirect"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := poll(dial(t, Config{URL: serve(t, c.handler).URL + "/repo.git", Proxy: "none"}))
			codeIs(t, err, c.code)
			var e *godwit.Error
			if errors.As(err, &e); !strings.Contains(e.Text, c.words) || e.Hint == "" {
				t.Errorf("%q (%q) does not say %q", e.Text, e.Hint, c.words)
			}
			if strings.ContainsAny(err.Error(), "\x1b\n") {
				t.Errorf("control characters in %q", err)
			}
		})
	}
}

func TestNotHTTP(t *testing.T) {
	codeIs(t, poll(dial(t, Config{URL: "http://" + rawServer(t, "SSH-2.0-OpenSSH_9.2\r\n") + "/x.git"})), godwit.CodeProtocol)
	codeIs(t, poll(dial(t, Config{URL: "http://" + rawServer(t, "") + "/x.git"})), godwit.CodeNetwork)
	codeIs(t, poll(dial(t, Config{URL: "https://" + rawServer(t, "HTTP/1.1 400 Bad Request\r\n\r\n") + "/x.git"})), godwit.CodeTLS)
	codeIs(t, poll(dial(t, Config{URL: "http://no-such-host.invalid/x.git"})), godwit.CodeNetwork)
	codeIs(t, poll(dial(t, Config{URL: "http://" + rawServer(t, "HTTP/1.1 200 OK\r\nX: "+strings.Repeat("a", 1<<20)) + "/x.git"})), godwit.CodeProtocol)
}

func TestSilence(t *testing.T) {
	hold := func(r *http.Request) { <-r.Context().Done() }
	for name, h := range map[string]http.HandlerFunc{
		"from the start": func(_ http.ResponseWriter, r *http.Request) { hold(r) },
		"in the headers": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", typeAdvertisement)
			w.(http.Flusher).Flush()
			hold(r)
		},
		"in a line": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", typeAdvertisement)
			io.WriteString(w, "001e# serv")
			w.(http.Flusher).Flush()
			hold(r)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, h)
			defer s.CloseClientConnections()
			codeIs(t, poll(dial(t, Config{URL: s.URL + "/x.git", IdleTimeout: 50 * time.Millisecond})), godwit.CodeTimeout)
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
			defer cancel()
			c := dial(t, Config{URL: s.URL + "/x.git"})
			codeIs(t, c.ListRefs(ctx, nil, func(Ref) error { return nil }), godwit.CodeTimeout)
			ctx, cancel = context.WithCancel(context.Background())
			time.AfterFunc(20*time.Millisecond, cancel)
			if err := c.ListRefs(ctx, nil, func(Ref) error { return nil }); !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
		})
	}
}

// TestSlow: what moves is not cut off, however long it takes.
func TestSlow(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			says(pkt("0000"))(w, r)
			return
		}
		w.Header().Set("Content-Type", typeAdvertisement)
		for i := range 12 {
			io.WriteString(w, advert2[5*i:5*i+5])
			w.(http.Flusher).Flush()
			time.Sleep(100 * time.Millisecond)
		}
		io.WriteString(w, advert2[60:])
	})
	if err := poll(dial(t, Config{URL: s.URL + "/x.git", IdleTimeout: 800 * time.Millisecond})); err != nil {
		t.Fatal(err)
	}
}

func TestTrickle(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", typeAdvertisement)
		io.WriteString(w, "fff0")
		for {
			if _, err := io.WriteString(w, "x"); err != nil {
				return
			}
			w.(http.Flusher).Flush()
			select {
			case <-r.Context().Done():
				return
			case <-time.After(2 * time.Millisecond):
			}
		}
	})
	err := poll(dial(t, Config{URL: s.URL + "/x.git", IdleTimeout: 400 * time.Millisecond, MinRate: 1 << 20}))
	codeIs(t, err, godwit.CodeTimeout)
	if !strings.Contains(err.Error(), "only") {
		t.Fatal(err)
	}
}

func TestEndless(t *testing.T) {
	forever := func(line string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", typeAdvertisement)
			io.WriteString(w, pkt("version 2\n"))
			for r.Context().Err() == nil {
				if _, err := io.WriteString(w, strings.Repeat(pkt(line), 100)); err != nil {
					return
				}
			}
		}
	}
	codeIs(t, poll(dial(t, Config{URL: serve(t, forever("x=y\n")).URL + "/x.git"})), godwit.CodeProtocol)
}

func TestCredentials(t *testing.T) {
	r := makeRepo(t, "sha1")
	h := r.host(githost.Config{User: "x-access-token", Password: "s3cret"})
	u := h.URL("repo.git")
	codeIs(t, poll(dial(t, Config{URL: u})), godwit.CodeUnauthorized)
	codeIs(t, poll(dial(t, Config{URL: u, Token: "wrong"})), godwit.CodeUnauthorized)
	for name, cfg := range map[string]Config{
		"token":    {URL: u, Token: "s3cret"},
		"basic":    {URL: u, Username: "x-access-token", Password: "s3cret"},
		"in url":   {URL: strings.Replace(u, "//", "//x-access-token:s3cret@", 1)},
		"overlaid": {URL: strings.Replace(u, "//", "//x-access-token@", 1), Token: "s3cret"},
	} {
		c := dial(t, cfg)
		if err := poll(c); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if strings.Contains(c.URL(), "s3cret") {
			t.Errorf("%s: the URL shows the password", name)
		}
	}
	// Secrets are in no error and in nothing that is remembered.
	state := &memory{}
	err := poll(dial(t, Config{URL: strings.Replace(u, "//", "//me:hidden@", 1), State: state}))
	codeIs(t, err, godwit.CodeUnauthorized)
	poll(dial(t, Config{URL: strings.Replace(u, "//", "//x-access-token:s3cret@", 1), State: state}))
	all := err.Error()
	for _, b := range state.files {
		all += string(b)
	}
	if strings.Contains(all, "hidden") || strings.Contains(all, "s3cret") || len(state.files) == 0 {
		t.Errorf("secrets, or nothing, in %q", all)
	}
	if _, err := Dial(Config{URL: "https://user:hid den@host/\x7f"}); err == nil || strings.Contains(err.Error(), "hid") {
		t.Errorf("bad URL: %v", err)
	}
	// Bearer and extra headers.
	var seen http.Header
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		seen = r.Header.Clone()
		says(pkt("0000"))(w, r)
	})
	if err := poll(dial(t, Config{URL: s.URL + "/x.git", Bearer: "abc", Header: map[string]string{"X-Device": "7"}, UserAgent: "godwit/9"})); err != nil {
		t.Fatal(err)
	}
	if seen.Get("Authorization") != "Bearer abc" || seen.Get("X-Device") != "7" || seen.Get("User-Agent") != "godwit/9" {
		t.Fatalf("%v", seen)
	}
}

func TestRetry(t *testing.T) {
	r := makeRepo(t, "sha1")
	var n atomic.Int64
	break2 := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if i := n.Add(1); i == 1 || i == 2 {
				c, _, _ := w.(http.Hijacker).Hijack()
				c.Close()
				return
			}
			next.ServeHTTP(w, r)
		})
	}
	h := r.host(githost.Config{Wrap: nethttp.Wrap(break2)})
	list(t, dial(t, Config{URL: h.URL("repo.git")}))
	if n.Load() != 4 {
		t.Errorf("%d requests", n.Load())
	}
	n.Store(0)
	codeIs(t, poll(dial(t, Config{URL: h.URL("repo.git"), Attempts: 2})), godwit.CodeNetwork)
	// A long request is sent whole again.
	n.Store(-1)
	have := func(yield func(string) bool) {
		for range 5000 {
			if !yield(r.old) {
				return
			}
		}
	}
	c := dial(t, Config{URL: h.URL("repo.git")})
	pack, _, err := c.Fetch(context.Background(), FetchRequest{Want: []string{r.new}, Have: have})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, pack); err != nil {
		t.Fatal(err)
	}
	pack.Close()
}

func TestEmptyAndUnborn(t *testing.T) {
	root := t.TempDir()
	git(t, root, "init", "-q", "--bare", "-b", "trunk", "repo.git")
	r := &testRepo{t: t, root: root, dir: root + "/repo.git"}
	eachTransport(t, r, func(t *testing.T, cfg Config) {
		c := dial(t, cfg)
		caps, err := c.Capabilities(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		refs := list(t, c)
		if caps.Version == 2 && (len(refs) != 1 || refs[0] != Ref{Name: "HEAD", SymrefTarget: "refs/heads/trunk"}) || len(refs) > 1 {
			t.Fatalf("%+v", refs)
		}
		if refs := list(t, c, "refs/heads/"); len(refs) != 0 {
			t.Fatalf("%+v", refs)
		}
	})
}
