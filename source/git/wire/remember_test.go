package wire

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godwit-ota/godwit"
)

func TestPause(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	clock := func() time.Time { return now }
	var answer atomic.Value
	var requests atomic.Int64
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		if h, ok := answer.Load().(http.HandlerFunc); ok && h != nil {
			h(w, r)
			return
		}
		says(pkt(one40+" refs/heads/main\n", "0000"))(w, r)
	})
	state := &memory{}
	cfg := Config{URL: s.URL + "/x.git", State: state, Now: clock}
	asked := func() (int64, error) {
		before := requests.Load()
		err := poll(dial(t, cfg))
		return requests.Load() - before, err
	}
	if _, err := asked(); err != nil {
		t.Fatal(err)
	}
	date := func(d time.Duration) string { return now.Add(d).UTC().Format(http.TimeFormat) }
	for _, c := range []struct {
		name   string
		answer http.HandlerFunc
		wait   time.Duration // 0: no pause
	}{
		{"429 seconds", status(429, "Retry-After", "120"), 2 * time.Minute},
		{"429 date", status(429, "Retry-After", date(10*time.Minute)), 10 * time.Minute},
		{"429 alone", status(429), time.Minute},
		{"429 rubbish", status(429, "Retry-After", "soon"), time.Minute},
		{"429 past", status(429, "Retry-After", date(-time.Hour)), time.Second},
		{"429 for years", status(429, "Retry-After", "99999999999999999999"), 24 * time.Hour},
		{"429 until 2999", status(429, "Retry-After", "Mon, 01 Jan 2999 00:00:00 GMT"), 24 * time.Hour},
		{"503", status(503, "Retry-After", "30"), 30 * time.Second},
		{"503 alone", status(503), 0},
		{"503 rubbish", status(503, "Retry-After", "-5"), 0},
		{"403", status(403, "Retry-After", "60"), time.Minute},
		{"403 alone", status(403), 0},
		{"403 quota", status(403, "X-RateLimit-Remaining", "0", "X-RateLimit-Reset", strconv.FormatInt(now.Add(20*time.Minute).Unix(), 10), "Date", date(0)), 20*time.Minute + time.Second},
		{"403 quota left", status(403, "X-RateLimit-Remaining", "9", "X-RateLimit-Reset", "1900000000"), 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			now = time.Unix(1_800_000_000, 0)
			state.files = nil
			answer.Store(c.answer)
			_, err := asked()
			answer.Store(http.HandlerFunc(nil))
			if c.wait == 0 {
				if godwit.CodeOf(err) == godwit.CodeRetryAfter {
					t.Fatal(err)
				}
				return
			}
			codeIs(t, err, godwit.CodeRetryAfter)
			if until := now.Add(c.wait).UTC().Format("15:04:05"); !strings.Contains(err.Error(), until) {
				t.Errorf("%v does not name %s", err, until)
			}
			// Each client stands for a new run.
			now = now.Add(c.wait - time.Second)
			if n, err := asked(); c.wait > time.Second && (n != 0 || godwit.CodeOf(err) != godwit.CodeRetryAfter) {
				t.Errorf("%d requests within the pause, %v", n, err)
			}
			now = now.Add(time.Second)
			if n, err := asked(); n == 0 || err != nil {
				t.Errorf("%d requests after it, %v", n, err)
			}
		})
	}

	now = time.Unix(1_800_000_000, 0)
	answer.Store(status(429, "Retry-After", "3600"))
	asked()
	answer.Store(http.HandlerFunc(nil))
	now = now.Add(-5 * time.Minute)
	if _, err := asked(); godwit.CodeOf(err) != godwit.CodeRetryAfter {
		t.Errorf("a clock that was set by minutes: %v", err)
	}
	now = now.Add(-20 * 365 * 24 * time.Hour)
	if _, err := asked(); err != nil {
		t.Errorf("a clock that lost twenty years: %v", err)
	}

	// The pause is the host's that asked.
	now = time.Unix(1_800_000_000, 0)
	answer.Store(status(429, "Retry-After", "3600"))
	asked()
	answer.Store(http.HandlerFunc(nil))
	other := serve(t, says(pkt("0000")))
	if err := poll(dial(t, Config{URL: other.URL + "/x.git", State: state, Now: clock})); err != nil {
		t.Errorf("another host: %v", err)
	}
	// One that cannot be saved still holds within the run.
	answer.Store(status(429, "Retry-After", "3600"))
	c := dial(t, Config{URL: s.URL + "/x.git", State: &memory{fail: errors.New("read-only")}, Now: clock})
	poll(c)
	before := requests.Load()
	codeIs(t, poll(c), godwit.CodeRetryAfter)
	if requests.Load() != before {
		t.Error("asked within the pause")
	}
}
