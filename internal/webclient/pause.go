package webclient

import (
	"errors"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/internal/http1"
)

// Pauses are what hosts ask for with Retry-After (RFC 9110, 10.2.3), or by the
// headers with which GitHub and GitLab say that a quota is used up. They are
// kept over restarts, so that a device that restarts in a loop does not become a
// burden to a host.
type Pauses struct {
	Notes Notes // nil remembers nothing
	Now   func() time.Time

	loaded bool
	list   []pause
}

type pause struct {
	host       string // HOST:PORT as in the URL
	set, until time.Time
}

const (
	pauseFile    = "retry-after"
	pauseTitle   = "godwit retry-after 1"
	maxPauses    = 8
	longestPause = 24 * time.Hour
	plainPause   = time.Minute // for 429 without a time
	// A clock that went back further than this since a pause was set was wrong
	// then or is now: the pause cannot be told any more and ends.
	clockSlack = 10 * time.Minute
)

// Check fails with CodeRetryAfter while the host is to be left alone.
func (p *Pauses) Check(host string) error {
	p.load()
	for i, q := range p.list {
		if q.host != host {
			continue
		}
		now := p.Now()
		if !now.Before(q.set.Add(-clockSlack)) && now.Before(q.until) {
			return p.err(q)
		}
		p.list = append(p.list[:i], p.list[i+1:]...)
		p.save()
		return nil
	}
	return nil
}

func (p *Pauses) err(q pause) error {
	left := q.until.Sub(p.Now()).Round(time.Second)
	return &godwit.Error{
		Code: godwit.CodeRetryAfter, Until: q.until,
		Text: q.host + " asks to be left alone until " + q.until.UTC().Format("2006-01-02 15:04:05") + " UTC, " + left.String() + " from now",
		Hint: "nothing to do: the next check after that time asks again",
	}
}

// Obey begins a pause if the answer asks for one, and returns it as an error.
func (p *Pauses) Obey(host string, resp *http1.Response) error {
	now := p.Now()
	after, reset := resp.Header.Get("Retry-After"), quotaReset(resp.Header, now)
	switch resp.StatusCode {
	case http1.StatusTooManyRequests:
	case http1.StatusServiceUnavailable:
		reset = 0
		if after == "" {
			return nil
		}
	case http1.StatusForbidden:
		// GitHub says so too when a quota is used up.
		if after == "" && reset <= 0 {
			return nil
		}
	default:
		return nil
	}
	wait, ok := parseRetryAfter(after, now)
	if !ok {
		if wait = reset; wait <= 0 {
			if resp.StatusCode != http1.StatusTooManyRequests {
				return nil
			}
			wait = plainPause
		}
	}
	wait = min(max(wait, time.Second), longestPause)
	p.load()
	q := pause{host, now, now.Add(wait)}
	for i := range p.list {
		if p.list[i].host == host {
			p.list = append(p.list[:i], p.list[i+1:]...)
			break
		}
	}
	if p.list = append(p.list, q); len(p.list) > maxPauses {
		p.list = p.list[1:]
	}
	p.save()
	return p.err(q)
}

// quotaReset is how long a quota that is used up stays so: by the time in
// X-RateLimit-Reset (GitHub) or RateLimit-Reset (GitLab), in seconds since 1970
// by the host's clock. It is 0 or less if there is something left.
func quotaReset(h http1.Header, now time.Time) time.Duration {
	for _, prefix := range []string{"X-RateLimit-", "RateLimit-"} {
		if h.Get(prefix+"Remaining") != "0" {
			continue
		}
		if s, err := strconv.ParseInt(h.Get(prefix+"Reset"), 10, 64); err == nil && s > 0 && s < 1<<40 {
			if there, err := http1.ParseTime(h.Get("Date")); err == nil {
				now = there
			}
			return min(time.Unix(s, 0).Sub(now)+time.Second, longestPause)
		}
	}
	return 0
}

// parseRetryAfter reads seconds or a date.
func parseRetryAfter(s string, now time.Time) (time.Duration, bool) {
	s = strings.TrimSpace(s)
	if s == "" {
		return 0, false
	}
	if strings.Trim(s, "0123456789") == "" {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || n > int64(longestPause/time.Second) {
			return longestPause, true
		}
		return time.Duration(n) * time.Second, true
	}
	at, err := http1.ParseTime(s)
	if err != nil {
		return 0, false
	}
	return min(max(at.Sub(now), 0), longestPause), true
}

func (p *Pauses) load() {
	if p.loaded {
		return
	}
	p.loaded = true
	if p.Notes == nil {
		return
	}
	if b, err := p.Notes.Load(pauseFile); err == nil {
		p.list = parsePauses(b)
	}
}

// save loses nothing that is needed when it fails.
func (p *Pauses) save() {
	if p.Notes == nil {
		return
	}
	if len(p.list) == 0 {
		if _, err := p.Notes.Load(pauseFile); !errors.Is(err, fs.ErrNotExist) {
			p.Notes.Save(pauseFile, nil)
		}
		return
	}
	n := NewNote(pauseTitle)
	for _, q := range p.list {
		n.Add(q.host, strconv.FormatInt(q.set.Unix(), 10)+" "+strconv.FormatInt(q.until.Unix(), 10))
	}
	p.Notes.Save(pauseFile, n.Bytes())
}

func parsePauses(b []byte) (list []pause) {
	ok := ReadNote(b, pauseTitle, func(host, value string) {
		set, until, _ := strings.Cut(value, " ")
		s, err1 := strconv.ParseInt(set, 10, 64)
		u, err2 := strconv.ParseInt(until, 10, 64)
		q := pause{host, time.Unix(s, 0), time.Unix(u, 0)}
		length := q.until.Sub(q.set)
		if err1 == nil && err2 == nil && length > 0 && length <= longestPause+time.Second && len(list) < maxPauses {
			list = append(list, q)
		}
	})
	if !ok {
		return nil
	}
	return list
}
