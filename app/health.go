package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/godwit-ota/godwit/internal/http1"
)

// Health waits until the running version has proved that it works. It returns
// the end of the output of the last try, and an error when the version failed
// for good or ctx ended first: the error then says what the last try found.
// Without anything to check it returns nil at once.
func (a *App) Health(ctx context.Context) (output string, err error) {
	h := a.cfg.Health
	switch {
	case len(h.Command) > 0:
		return a.retry(ctx, func() (string, error) {
			// The deadline is that of ctx; the limit only has to be beyond it.
			return a.run(ctx, "the health check", h.Command, 365*24*time.Hour, nil)
		})
	case h.URL != "":
		return a.retry(ctx, func() (string, error) { return a.ask(ctx, h.URL) })
	case h.Unit != "":
		return a.watchUnit(ctx, h)
	}
	return "", nil
}

// retry calls try until it returns no error, or one that another try will not
// change, or ctx ends.
func (a *App) retry(ctx context.Context, try func() (string, error)) (string, error) {
	var lastOut string
	var lastErr error
	for n := 1; ; n++ {
		out, err := try()
		if err == nil {
			return out, nil
		}
		if lastErr == nil || !over(ctx) { // not the try that the deadline ended
			lastOut, lastErr = out, err
		}
		var start *startError
		if errors.As(err, &start) {
			return out, err
		}
		if !sleep(ctx, a.cfg.Health.Interval) {
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				lastErr = fmt.Errorf("%w (tried %s, until the time was over)", lastErr, times(n))
			}
			return lastOut, lastErr
		}
	}
}

// over reports whether ctx has ended, or is about to: the network may notice a
// deadline a moment before ctx says so.
func over(ctx context.Context) bool {
	at, ok := ctx.Deadline()
	return ctx.Err() != nil || ok && time.Until(at) < 10*time.Millisecond
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return strconv.Itoa(n) + " times"
}

// sleep reports whether ctx lived through it.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return ctx.Err() == nil
	}
}

// ask sends one GET. Redirects are answers, not followed: the application is
// asked, not whatever it points to.
func (a *App) ask(ctx context.Context, address string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	r, err := http1.NewRequestWithContext(ctx, http1.MethodGet, address, nil)
	if err != nil || r.URL.Host == "" || r.URL.Scheme != "http" && r.URL.Scheme != "https" {
		return "", &startError{"the health check", address, errors.New("this is no http or https address")}
	}
	r.Header.Set("User-Agent", "godwit")
	r.Header.Set("Accept", "*/*")
	if u := r.URL.User; u != nil {
		password, _ := u.Password()
		r.SetBasicAuth(u.Username(), password)
	}
	resp, err := (&http1.Transport{DisableKeepAlives: true}).RoundTrip(r)
	if err != nil {
		return "", fmt.Errorf("the health check had no answer: %w", err)
	}
	defer resp.Body.Close()
	var out tail
	io.Copy(&out, io.LimitReader(resp.Body, 256<<10))
	if resp.StatusCode/100 != 2 {
		return out.String(), fmt.Errorf("the health check %s answered %s", r.URL.Redacted(), resp.Status)
	}
	return out.String(), nil
}

// watchUnit waits until the unit has been active, and not been restarted, for
// h.Stable. systemd counts the restarts it makes by itself in NRestarts
// (systemd.service(5), org.freedesktop.systemd1(5)).
func (a *App) watchUnit(ctx context.Context, h Health) (string, error) {
	restarts := -1      // when it was first asked
	var pid string      // of its main process when it was last asked
	var since time.Time // when pid was first seen active
	state := "unknown to systemctl"
	for {
		now, out, err := a.unit(ctx, h.Unit)
		var start *startError
		if errors.As(err, &start) {
			return out, err
		}
		switch {
		case err != nil: // systemd itself may be restarting
		case now.active == "not-found":
			return out, fmt.Errorf("there is no unit %s", h.Unit)
		case restarts >= 0 && now.restarts > restarts:
			return a.unitOutput(h.Unit), fmt.Errorf("the unit %s did not stay up: systemd restarted it", h.Unit)
		case now.active == "failed":
			return a.unitOutput(h.Unit), fmt.Errorf("the unit %s failed", h.Unit)
		case now.active != "active":
			since = time.Time{}
		case since.IsZero() || now.pid != pid:
			since = time.Now()
		case time.Since(since) >= h.Stable:
			return now.String(), nil
		}
		if err == nil {
			restarts, pid, state = now.restarts, now.pid, now.active
		}
		if !sleep(ctx, min(h.Interval, h.Stable/4+time.Millisecond)) {
			return a.unitOutput(h.Unit), fmt.Errorf("the unit %s was not active for %s in time: it is %s", h.Unit, h.Stable, state)
		}
	}
}

type unitState struct {
	active   string // ActiveState: "active", "activating", "failed", …
	restarts int
	pid      string
}

func (u unitState) String() string {
	return "ActiveState=" + u.active + " MainPID=" + u.pid + " NRestarts=" + strconv.Itoa(u.restarts)
}

func (a *App) unit(ctx context.Context, unit string) (unitState, string, error) {
	out, err := a.run(ctx, "systemctl show "+unit, []string{a.cfg.Systemctl, "show", unit,
		"--property=LoadState,ActiveState,NRestarts,MainPID"}, 30*time.Second, nil)
	if err != nil {
		return unitState{}, out, err
	}
	var u unitState
	for line := range strings.Lines(out) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch key {
		case "ActiveState":
			u.active = value
		case "NRestarts":
			u.restarts, _ = strconv.Atoi(value)
		case "MainPID":
			u.pid = value
		case "LoadState":
			if value == "not-found" {
				u.active = value
				return u, out, nil
			}
		}
	}
	return u, out, nil
}

// unitOutput is what systemd has to say about a unit, with the end of its log.
// It is asked for after the deadline too, so it has a time of its own.
func (a *App) unitOutput(unit string) string {
	out, _ := a.run(context.Background(), "systemctl status",
		[]string{a.cfg.Systemctl, "status", "--no-pager", "--lines=20", unit}, 10*time.Second, nil)
	return out
}
