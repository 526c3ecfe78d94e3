package report

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/godwit-ota/godwit"
)

// TestStatus: what each status does to a report, and when it is tried again.
func TestStatus(t *testing.T) {
	status := func(n int, fields ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			for i := 0; i < len(fields); i += 2 {
				w.Header().Set(fields[i], fields[i+1])
			}
			w.WriteHeader(n)
			io.WriteString(w, "some words")
		}
	}
	const backoff = 30 * time.Second // ½ and up to one more, by chance
	for _, c := range []struct {
		name string
		do   http.HandlerFunc
		code godwit.Code   // "": confirmed
		wait time.Duration // least; 0: it is not tried again
		most time.Duration
	}{
		{"201", status(201), "", 0, 0},
		{"204", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, "", 0, 0},
		{"has it already", status(409), "", 0, 0},
		{"200 and a huge answer", func(w http.ResponseWriter, _ *http.Request) {
			b := make([]byte, 1<<20)
			for range 64 {
				if _, err := w.Write(b); err != nil {
					return
				}
			}
		}, "", 0, 0},
		{"unwanted", status(422), godwit.CodeProtocol, 0, 0},
		{"too large", status(413), godwit.CodeProtocol, 0, 0},
		{"500", status(500), godwit.CodeNetwork, backoff / 2, backoff * 3 / 2},
		{"503 without a time", status(503), godwit.CodeNetwork, backoff / 2, backoff * 3 / 2},
		{"503 with one", status(503, "Retry-After", "600"), godwit.CodeRetryAfter, 600 * time.Second, 660 * time.Second},
		{"429", status(429), godwit.CodeNetwork, backoff / 2, backoff * 3 / 2},
		{"429 with a time", status(429, "Retry-After", "2"), godwit.CodeRetryAfter, 2 * time.Second, 4 * time.Second},
		{"429 until a date", status(429, "Retry-After", noon.Add(time.Hour).Format(http.TimeFormat)), godwit.CodeRetryAfter, time.Hour, 61 * time.Minute},
		{"429 for years", status(429, "Retry-After", "99999999999999999999"), godwit.CodeRetryAfter, longestPause, longestPause + time.Minute},
		{"429 and nonsense", status(429, "Retry-After", "soon"), godwit.CodeNetwork, backoff / 2, backoff * 3 / 2},
		{"401", status(401), godwit.CodeUnauthorized, backoff / 2, backoff * 3 / 2},
		{"404", status(404), godwit.CodeNotFound, backoff / 2, backoff * 3 / 2},
		{"418", status(418), godwit.CodeProtocol, backoff / 2, backoff * 3 / 2},
		{"302 to a page", status(302, "Location", "http://login.example/"), godwit.CodeRedirect, backoff / 2, backoff * 3 / 2},
		{"308", status(308, "Location", "/elsewhere"), godwit.CodeRedirect, backoff / 2, backoff * 3 / 2},
		{"cut", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, godwit.CodeNetwork, backoff / 2, backoff * 3 / 2},
		{"not HTTP", func(w http.ResponseWriter, _ *http.Request) {
			c, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				io.WriteString(c, "220 mail.example ESMTP\r\n")
				c.Close()
			}
		}, godwit.CodeProtocol, backoff / 2, backoff * 3 / 2},
		{"confirmed, then cut", func(w http.ResponseWriter, _ *http.Request) {
			c, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nab")
				c.Close()
			}
		}, "", 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := receive(t)
			v.set(c.do)
			cfg, clock := config(t, Place{URL: v.URL})
			r := New(cfg)
			add(t, r, "v1")
			n, next, err := r.Send(t.Context())
			if got := godwit.CodeOf(err); got != c.code || n != map[bool]int{true: 1}[c.code == ""] {
				t.Fatalf("%d, %v (%s), want %s", n, err, got, c.code)
			}
			if c.wait == 0 {
				if !next.IsZero() || r.Pending() != 0 {
					t.Fatal(next, r.Pending())
				}
				v.set(nil)
				add(t, r, "v2")
				if _, _, err := r.Send(t.Context()); err != nil || v.releases() != "v2" || v.taken()[0].Dropped != map[bool]int64{true: 1}[c.code != ""] {
					t.Fatal(err, v.taken())
				}
				return
			}
			if wait := next.Sub(noon); wait < c.wait || wait > c.most || r.Pending() != 1 {
				t.Fatalf("again in %s, pending %d", wait, r.Pending())
			}
			if !strings.Contains(err.Error(), "127.0.0.1") {
				t.Errorf("%v does not say where", err)
			}
			// Too early, then in time.
			asked := v.requests()
			clock.add(c.wait - time.Millisecond)
			if n, again, err := r.Send(t.Context()); n != 0 || err != nil || !again.Equal(next) || v.requests() != asked {
				t.Fatal(n, again, err)
			}
			v.set(nil)
			clock.add(next.Sub(clock.now()))
			if n, _, err := r.Send(t.Context()); n != 1 || err != nil || v.releases() != "v1" || v.taken()[0].Dropped != 0 {
				t.Fatal(n, err, v.taken())
			}
		})
	}
}

// TestPauseSurvives: a place that asked to be left alone is, by the next process
// too; our own pauses end with the process.
func TestPauseSurvives(t *testing.T) {
	v := receive(t)
	v.set(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "600")
		w.WriteHeader(429)
	})
	cfg, clock := config(t, Place{URL: v.URL})
	cfg.Random = middle{}
	r := New(cfg)
	add(t, r, "v1")
	_, next, err := r.Send(t.Context())
	wantCode(t, err, godwit.CodeRetryAfter)
	n, again, err := New(cfg).Send(t.Context())
	if n != 0 || err != nil || v.requests() != 1 || again.Before(next) || again.Sub(next) > time.Second {
		t.Fatal(n, again, err)
	}
	// A clock that went back far makes it meaningless.
	v.set(nil)
	clock.add(-time.Hour)
	if n, _, err := New(cfg).Send(t.Context()); n != 1 || err != nil {
		t.Fatal(n, err)
	}
}

// TestBackoff: pauses double up to the longest, and end with a success.
func TestBackoff(t *testing.T) {
	v := receive(t)
	fail := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }
	v.set(fail)
	cfg, clock := config(t, Place{URL: v.URL})
	cfg.Random, cfg.Backoff, cfg.MaxBackoff = middle{}, 10*time.Second, time.Minute
	r := New(cfg)
	add(t, r, "v1")
	for i, want := range []time.Duration{5, 10, 20, 30, 30, 30} { // no chance: half of each
		_, next, err := r.Send(t.Context())
		wantCode(t, err, godwit.CodeNetwork)
		if wait := next.Sub(clock.now()); wait != want*time.Second {
			t.Fatalf("%d: %s", i, wait)
		}
		clock.add(next.Sub(clock.now()))
	}
	for range 100 {
		r.places[0].fails++
	}
	v.set(nil)
	if n, _, err := r.Send(t.Context()); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	v.set(fail)
	add(t, r, "v2")
	if _, next, _ := r.Send(t.Context()); next.Sub(clock.now()) != 5*time.Second {
		t.Error(next.Sub(clock.now()))
	}
}

// TestOrder: a failure in the middle keeps the order, and nothing is skipped.
func TestOrder(t *testing.T) {
	v := receive(t)
	cfg, clock := config(t, Place{URL: v.URL})
	r := New(cfg)
	for i := range 6 {
		add(t, r, fmt.Sprint("v", i))
	}
	n := 0
	for i := range 5 {
		v.set(func(w http.ResponseWriter, _ *http.Request) {
			if i%2 == 0 {
				panic(http.ErrAbortHandler)
			}
			w.WriteHeader(503)
		}, 1)
		k, next, err := r.Send(t.Context())
		wantCode(t, err, godwit.CodeNetwork)
		n += k
		clock.add(next.Sub(clock.now()))
	}
	v.set(nil)
	k, _, err := r.Send(t.Context())
	if n += k; err != nil {
		t.Fatal(err)
	}
	if v.releases() != "v0 v1 v2 v3 v4 v5" || n != 6 {
		t.Error(v.releases(), n)
	}
}

// TestDeadPlace: one that does not answer holds up no other, and gets everything
// when it is back.
func TestDeadPlace(t *testing.T) {
	slow, live := receive(t), receive(t)
	stop := make(chan bool)
	slow.set(func(http.ResponseWriter, *http.Request) { <-stop })
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	cfg, clock := config(t, Place{URL: slow.URL}, Place{URL: live.URL}, Place{URL: "http://" + gone.Addr().String()}, Place{URL: "nonsense"}, Place{URL: live.URL})
	cfg.Timeout = 300 * time.Millisecond
	r := New(cfg)
	add(t, r, "v1")
	add(t, r, "v2")
	began := time.Now()
	n, next, err := r.Send(t.Context())
	if n != 2 || live.releases() != "v1 v2" || r.Pending() != 2 || next.IsZero() || time.Since(began) > 3*time.Second {
		t.Fatal(n, next, err, live.releases())
	}
	for _, words := range []string{"is over", "does not accept connections", "a kind that is not known"} {
		if !strings.Contains(err.Error(), words) {
			t.Errorf("%v does not say that %s", err, words)
		}
	}
	close(stop)
	slow.set(nil)
	clock.add(time.Hour)
	add(t, r, "v3")
	if n, _, _ = r.Send(t.Context()); n != 4 || slow.releases() != "v1 v2 v3" || live.releases() != "v1 v2 v3" {
		t.Fatal(n, slow.releases(), live.releases())
	}
	// Without the dead ones in the configuration nothing is left to send.
	cfg.Places = cfg.Places[:2]
	r = New(cfg)
	add(t, r, "v4")
	if n, next, err := r.Send(t.Context()); n != 2 || !next.IsZero() || err != nil || r.Pending() != 0 {
		t.Fatal(n, next, err, r.Pending())
	}
}

func TestCredentials(t *testing.T) {
	v := receive(t)
	var said []string
	v.set(func(_ http.ResponseWriter, r *http.Request) {
		said = append(said, r.Header.Get("Authorization")+" "+r.URL.String())
	})
	host := strings.TrimPrefix(v.URL, "http://")
	for _, p := range []Place{{URL: v.URL + "/a?b=c", Token: "T"}, {URL: "http://u:p@" + host}, {URL: v.URL, User: "u", Password: "p"}} {
		cfg, _ := config(t, p)
		r := New(cfg)
		add(t, r, "v1")
		if _, _, err := r.Send(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := strings.Join(said, ","); got != "Bearer T /a?b=c,Basic dTpw /,Basic dTpw /" {
		t.Error(got)
	}
	if a, b := New(Config{Places: []Place{{URL: "http://u:p@h/x"}}}), New(Config{Places: []Place{{URL: "http://h/x"}}}); a.places[0].key != b.places[0].key {
		t.Error("another password makes another place")
	}
	// No error tells a password.
	cfg, _ := config(t, Place{URL: "http://u:secret@127.0.0.1:1/x", Token: "secret"})
	r := New(cfg)
	add(t, r, "v1")
	if _, _, err := r.Send(t.Context()); err == nil || strings.Contains(err.Error(), "secret") {
		t.Error(err)
	}
}

// TestDialAndBusy: connections are made by Dial, and a second Send does not wait
// for the first.
func TestDialAndBusy(t *testing.T) {
	v := receive(t)
	cfg, _ := config(t, Place{URL: "http://reports.example/x"})
	in, out := make(chan bool), make(chan bool)
	cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		if address != "reports.example:80" {
			t.Error(address)
		}
		in <- true
		<-out
		return net.Dial(network, v.Listener.Addr().String())
	}
	r := New(cfg)
	add(t, r, "v1")
	done := make(chan error)
	go func() {
		_, _, err := r.Send(t.Context())
		done <- err
	}()
	<-in
	_, _, err := r.Send(t.Context())
	wantCode(t, err, godwit.CodeBusy)
	add(t, r, "v2") // meanwhile
	close(out)
	if err := <-done; err != nil || v.releases() != "v1" || r.Pending() != 1 {
		t.Fatal(err, v.releases())
	}
	// A mistake in the configuration waits for the next try as everything does.
	cfg.Network.CAFile = "/nonexistent"
	_, next, err := New(cfg).Send(t.Context())
	wantCode(t, err, godwit.CodeConfig)
	if !next.After(noon) {
		t.Error("it is tried again at once")
	}
	if sent, received := r.Transferred(); sent < 500 || received < 50 {
		t.Error(sent, received)
	}
}

func FuzzRetryAfter(f *testing.F) {
	for _, s := range []string{"120", "0", "-1", "1e3", "Fri, 31 Dec 2100 23:59:59 GMT", "Friday, 31-Dec-99 23:59:59 GMT", "99999999999999999999", " 5 ", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, ok := retryAfter(s, noon)
		if ok && (d <= 0 || d > longestPause) {
			t.Fatal(d)
		}
	})
}
