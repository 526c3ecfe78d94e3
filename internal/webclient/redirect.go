package webclient

import (
	"net"
	"net/url"
	"strings"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/internal/http1"
)

// IsRedirect reports whether a status leads elsewhere.
func IsRedirect(status int) bool {
	switch status {
	case http1.StatusMovedPermanently, http1.StatusFound, http1.StatusSeeOther, http1.StatusTemporaryRedirect, http1.StatusPermanentRedirect:
		return true
	}
	return false
}

// Redirect gives the URL that an answer leads to, if it is one to follow.
func Redirect(from *url.URL, resp *http1.Response) (*url.URL, error) {
	to, err := resp.Location()
	switch {
	case err != nil:
		return nil, RedirectError(from, "away without saying where")
	case to.Scheme != "http" && to.Scheme != "https" || to.Host == "":
		return nil, RedirectError(from, "to "+shown(to.String())+", which is not a web address")
	case to.User != nil:
		return nil, RedirectError(from, "to a URL with credentials in it")
	case from.Scheme == "https" && to.Scheme == "http":
		return nil, RedirectError(from, "from https to plain http at "+to.Hostname())
	}
	to.Fragment = ""
	return to, nil
}

// RedirectError is the error of a redirect that is not followed.
func RedirectError(from *url.URL, where string) error {
	return godwit.Fail(godwit.CodeRedirect, nil, from.Hostname()+" sends us "+where,
		"if that is a log-in page of the network, log in; otherwise check section source, or ask whoever runs the host")
}

// OriginOf is the scheme, host and port of a URL: what credentials belong to.
func OriginOf(u *url.URL) string {
	scheme, port := strings.ToLower(u.Scheme), u.Port()
	if port == "" {
		port = "443"
		if scheme == "http" {
			port = "80"
		}
	}
	return scheme + "://" + net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}

// shown is a URL for messages: without what may be secret in it.
func shown(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return "(not a URL)" // the parser's own words repeat it, with any password in it
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return Printable(u.String())
}

// Printable makes words from outside fit for a terminal and a log: one line of
// at most 200 bytes without control characters.
func Printable(text string) string {
	const most = 200
	var s strings.Builder
	for _, r := range strings.TrimSpace(text[:min(len(text), 4*most)]) {
		if s.Len() >= most {
			s.WriteString("…")
			break
		}
		switch {
		case r == '\n' || r == '\r' || r == '\t':
			r = ' '
		case r < ' ' || 0x7f <= r && r < 0xa0 || r == '\u2028' || r == '\u2029' || 0x202a <= r && r <= 0x202e || 0x2066 <= r && r <= 0x2069:
			r = '?'
		}
		s.WriteRune(r)
	}
	if s.Len() == 0 {
		return "nothing"
	}
	return s.String()
}
