package wire

import (
	"net"
	"net/url"
	"strings"

	"github.com/godwit-ota/godwit"
)

// A location is where a repository is, taken from the URL that a person wrote.
type location struct {
	scheme     string // "http", "https", "ssh" or "file"
	user, pass string
	host, port string // port is "" for the scheme's own
	path       string // as the other side gets it: decoded, for http with its leading slash
}

// parseLocation reads the forms that git clone takes (git-clone, "GIT URLS"):
// http://, https://, ssh://, file://, user@host:path and a path.
func parseLocation(s string) (location, error) {
	bad := func(cause error, text string) (location, error) {
		return location{}, godwit.Fail(godwit.CodeConfig, cause, text,
			"write https://HOST/PATH, ssh://USER@HOST/PATH, USER@HOST:PATH, file:///PATH or a path")
	}
	if s == "" {
		return bad(nil, "no URL of a Git repository is given")
	}
	if strings.ContainsAny(s, "\x00\n\r") || strings.HasPrefix(s, "-") {
		return bad(nil, "the URL of the Git repository holds characters that cannot be in one")
	}
	if !strings.Contains(s, "://") {
		if host, path, ok := strings.Cut(s, ":"); ok && !strings.Contains(host, "/") {
			return parseSCP(host, path, bad)
		}
		return location{scheme: "file", path: s}, nil
	}
	u, err := url.Parse(s)
	if err != nil {
		// The parser's own words repeat the URL, with any password in it.
		return bad(nil, "the URL of the Git repository cannot be understood")
	}
	l := location{scheme: strings.ToLower(u.Scheme), host: strings.ToLower(u.Hostname()), port: u.Port(), path: u.Path}
	if u.User != nil {
		l.user = u.User.Username()
		l.pass, _ = u.User.Password()
	}
	switch l.scheme {
	case "http", "https":
		l.path = strings.TrimRight(u.EscapedPath(), "/")
		if u.RawQuery != "" || u.Fragment != "" {
			return bad(nil, "the URL of the Git repository has a query or a fragment")
		}
	case "ssh", "git+ssh", "ssh+git":
		l.scheme = "ssh"
		if strings.HasPrefix(l.path, "/~") {
			l.path = l.path[1:]
		}
	case "file":
		if l.host != "" && l.host != "localhost" {
			return bad(nil, "a file:// URL cannot name another host")
		}
		return location{scheme: "file", path: l.path}, nil
	case "git":
		return bad(nil, "git:// is not supported: nothing in it proves who the host is")
	default:
		return bad(nil, "the URL scheme "+printable([]byte(l.scheme))+":// is not supported")
	}
	if l.host == "" || strings.HasPrefix(l.host, "-") {
		return bad(nil, "the URL of the Git repository names no host")
	}
	if l.path == "" || l.path == "/" {
		return bad(nil, "the URL of the Git repository has no path")
	}
	return l, nil
}

// parseSCP reads USER@HOST:PATH, where an IPv6 HOST stands in brackets.
func parseSCP(host, path string, bad func(error, string) (location, error)) (location, error) {
	user, h, ok := strings.Cut(host, "@")
	if !ok {
		user, h = "", host
	}
	if strings.HasPrefix(h, "[") {
		whole := h + ":" + path
		end := strings.Index(whole, "]:")
		if end < 0 {
			return bad(nil, "the host of the Git repository has an open bracket")
		}
		h, path = whole[1:end], whole[end+2:]
	}
	if h == "" || path == "" || strings.HasPrefix(h, "-") {
		return bad(nil, "the URL of the Git repository lacks its host or its path")
	}
	return location{scheme: "ssh", user: user, host: strings.ToLower(h), path: path}, nil
}

// origin is the scheme, host and port: what credentials belong to.
func (l location) origin() string { return l.scheme + "://" + l.address() }

// address is host:port for dialling.
func (l location) address() string {
	port := l.port
	if port == "" {
		port = defaultPort(l.scheme)
	}
	return net.JoinHostPort(l.host, port)
}

func defaultPort(scheme string) string {
	switch scheme {
	case "http":
		return "80"
	case "ssh":
		return "22"
	}
	return "443"
}

// String is the location without credentials.
func (l location) String() string {
	if l.scheme == "file" {
		return l.path
	}
	host := l.host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if l.port != "" {
		host += ":" + l.port
	}
	path := l.path
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	return l.scheme + "://" + host + path
}

// address is HOST:PORT of a URL.
func address(u *url.URL) string {
	return location{scheme: strings.ToLower(u.Scheme), host: strings.ToLower(u.Hostname()), port: u.Port()}.address()
}
