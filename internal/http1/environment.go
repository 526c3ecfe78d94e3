package http1

import (
	"errors"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strings"
)

// ProxyFromEnvironment is a Transport.Proxy that obeys HTTP_PROXY, HTTPS_PROXY
// and NO_PROXY, or the same in lower case, as golang.org/x/net/http/httpproxy
// documents it: a proxy is a URL or HOST:PORT; NO_PROXY is a list, separated by
// commas, of domains (with their subdomains; only those, with a dot in front),
// addresses and networks (10.0.0.0/8), each but networks perhaps with a port, or
// "*". This machine itself is never asked for through a proxy.
func ProxyFromEnvironment(r *Request) (*url.URL, error) { return fromSettings(r.URL, os.Getenv) }

func fromSettings(u *url.URL, setting func(name string) string) (*url.URL, error) {
	get := func(name string) string {
		if v := setting(name); v != "" {
			return v
		}
		return setting(strings.ToLower(name))
	}
	name := "HTTP_PROXY"
	if u.Scheme == "https" {
		name = "HTTPS_PROXY"
	}
	proxy := parseProxy(get(name))
	if proxy == nil {
		return nil, nil
	}
	if name == "HTTP_PROXY" && setting("REQUEST_METHOD") != "" {
		// In a CGI program this variable is what a client sends as "Proxy:".
		return nil, errors.New("HTTP_PROXY is not taken from the environment of a CGI program")
	}
	if !throughProxy(address(u), get("NO_PROXY")) {
		return nil, nil
	}
	return proxy, nil
}

// parseProxy gives nil for what cannot be understood.
func parseProxy(s string) *url.URL {
	if s == "" {
		return nil
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme == "" || u.Host == "" {
		if plain, e := url.Parse("http://" + s); e == nil {
			return plain
		}
	}
	if err != nil {
		return nil
	}
	return u
}

// throughProxy decides about HOST:PORT by the list of exceptions.
func throughProxy(addr, except string) bool {
	host, port, err := net.SplitHostPort(addr)
	if err != nil || host == "localhost" {
		return false
	}
	ip, err := netip.ParseAddr(host)
	isIP := err == nil
	ip = ip.WithZone("").Unmap()
	if isIP && ip.IsLoopback() {
		return false
	}
	host = strings.ToLower(strings.TrimSpace(host))
	for item := range strings.SplitSeq(except, ",") {
		item = strings.ToLower(strings.TrimSpace(item))
		if item == "" {
			continue
		}
		if item == "*" {
			return false
		}
		if network, err := netip.ParsePrefix(item); err == nil {
			if isIP && holds(network, ip) {
				return false
			}
			continue
		}
		name, only, err := net.SplitHostPort(item)
		if err != nil {
			name, only = item, ""
		}
		if name == "" || only != "" && only != port {
			continue
		}
		if one, err := netip.ParseAddr(name); err == nil && one.Zone() == "" {
			if isIP && one.Unmap() == ip {
				return false
			}
			continue
		}
		if rest, ok := strings.CutPrefix(name, "*."); ok {
			name = "." + rest
		}
		if !isIP && covers(name, host) {
			return false
		}
	}
	return true
}

// holds reports whether a network has an address, also when one of the two is
// an IPv4 one in the clothes of IPv6.
func holds(n netip.Prefix, ip netip.Addr) bool {
	if bare := n.Addr().Unmap(); bare != n.Addr() && n.Bits() >= 96 {
		n = netip.PrefixFrom(bare, n.Bits()-96)
	}
	return n.Contains(ip)
}

// covers reports whether an exception, "example.org" or ".example.org", is for
// host.
func covers(name, host string) bool {
	if strings.HasPrefix(name, ".") {
		return strings.HasSuffix(host, name)
	}
	return host == name || strings.HasSuffix(host, "."+name)
}
