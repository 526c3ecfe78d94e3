package report

import (
	"bytes"
	"context"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/internal/http1"
	"github.com/godwit-ota/godwit/internal/webclient"
)

// A web posts reports. The answer's status alone counts: 2xx is a receipt, and
// 409 one by a server that has the report already. Redirects are not followed:
// a network's log-in page must not be taken for a receipt, and a token must not
// go to another host.
type web struct {
	p *place
	t *http1.Transport
}

func (w *web) close() { w.t.CloseIdleConnections() }

func (w *web) send(ctx context.Context, body []byte) error {
	p := w.p
	req, err := http1.NewRequestWithContext(ctx, http1.MethodPost, p.u.String(), bytes.NewReader(body))
	if err != nil {
		return p.explain(ctx, err)
	}
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("User-Agent", strings.TrimSuffix("godwit/"+clean(p.r.cfg.Version, maxText), "/"))
	if p.Token != "" {
		req.Header.Set("Authorization", "Bearer "+p.Token)
	} else if p.User != "" {
		req.SetBasicAuth(p.User, p.Password)
	}
	resp, err := w.t.RoundTrip(req)
	if err != nil {
		return p.explain(ctx, err)
	}
	// A short answer is read to its end, so that the connection can carry the
	// next report. Whatever it says, and however it ends, changes nothing.
	if resp.ContentLength >= 0 && resp.ContentLength <= 4<<10 {
		io.Copy(io.Discard, resp.Body)
	}
	resp.Body.Close()
	return p.judge(resp)
}

// contentType is what reports are, to HTTP and to MQTT.
const contentType = "application/json"

// judge tells what a status means for a report.
func (p *place) judge(resp *http1.Response) error {
	words := "it answered HTTP " + strconv.Itoa(resp.StatusCode)
	var err error
	switch s := resp.StatusCode; {
	case s/100 == 2, s == 409:
		return nil
	case webclient.IsRedirect(s):
		where := webclient.Printable(resp.Header.Get("Location"))
		return p.fail(godwit.CodeRedirect, nil, "it sends us to "+where+" ("+words+")",
			"redirects are not followed: write the new address in section report, or log in to the network")
	case s == http1.StatusUnauthorized, s == http1.StatusForbidden, s == http1.StatusProxyAuthRequired, s == http1.StatusNetworkAuthenticationRequired:
		return p.fail(godwit.CodeUnauthorized, nil, words, "check the token or the user and the password in section report")
	case s == http1.StatusNotFound, s == http1.StatusGone, s == 405:
		return p.fail(godwit.CodeNotFound, nil, words, "check the address in section report")
	case s == http1.StatusBadRequest, s == 413, s == 422:
		return unwantedError{p.fail(godwit.CodeProtocol, nil, "it does not want this one, which is not sent again ("+words+")", "the server's log may say why")}
	case s == http1.StatusTooManyRequests, s == http1.StatusRequestTimeout, s >= 500:
		err = p.fail(godwit.CodeNetwork, nil, words, "nothing to do here: it is tried again")
	default:
		return p.fail(godwit.CodeProtocol, nil, words, "check the address in section report; a proxy may be in the way")
	}
	if wait, ok := retryAfter(resp.Header.Get("Retry-After"), p.r.cfg.Now()); ok {
		return pauseError{p.fail(godwit.CodeRetryAfter, nil, words+" and asks to be left alone for "+wait.String(), "nothing to do here: it is tried again"), wait}
	}
	return err
}

// retryAfter reads seconds or a date (RFC 9110, 10.2.3). A pause is at most
// longestPause.
func retryAfter(s string, now time.Time) (time.Duration, bool) {
	s = strings.TrimSpace(s)
	if s == "" {
		return 0, false
	}
	if strings.Trim(s, "0123456789") == "" {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || n > int64(longestPause/time.Second) {
			return longestPause, true
		}
		return time.Duration(n) * time.Second, n > 0
	}
	at, err := http1.ParseTime(s)
	if err != nil || !at.After(now) {
		return 0, false
	}
	return min(at.Sub(now).Round(time.Second), longestPause), true
}
