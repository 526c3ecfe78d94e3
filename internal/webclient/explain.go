package webclient

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/internal/http1"
)

// Stopped is the error of a context that ended.
func Stopped(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return godwit.Fail(godwit.CodeTimeout, ctx.Err(), "the time for talking to the host is over", "try again later")
	}
	return godwit.Fail(godwit.CodeFailed, ctx.Err(), "stopped", "")
}

// TimedOut is the error of a host that took too long.
func TimedOut(host string, cause error) error {
	return godwit.Fail(godwit.CodeTimeout, cause, host+" took too long to answer",
		"try again; on a slow link set a larger source.timeout")
}

// Explain finds the meaning of an error from below HTTP. now is what the device
// believes, for words about certificates.
func Explain(ctx context.Context, host string, now time.Time, err error) error {
	if ctx.Err() != nil {
		return Stopped(ctx)
	}
	var known *godwit.Error
	if errors.As(err, &known) {
		return err
	}
	var (
		proxy   *http1.ProxyError
		answer  *http1.ProtocolError
		request *http1.RequestError
	)
	switch {
	case errors.As(err, &proxy) && proxy.StatusCode == http1.StatusProxyAuthRequired:
		return AskedByProxy(err)
	case errors.As(err, &proxy):
		return godwit.Fail(godwit.CodeNetwork, err, "the proxy does not let us through to "+host, "check source.proxy, HTTPS_PROXY and NO_PROXY")
	case errors.As(err, &answer):
		return godwit.Fail(godwit.CodeProtocol, err, host+" does not speak HTTP", "check the scheme and the port in source.url")
	case errors.As(err, &request):
		return godwit.Fail(godwit.CodeConfig, err, "a request to "+host+" cannot be sent", "check source.url and the headers in section source")
	}
	if e := explainTLS(host, now, err); e != nil {
		return e
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() || os.IsTimeout(err) {
		return TimedOut(host, err)
	}
	var dns *net.DNSError
	text, hint := "the connection to "+host+" broke", "try again"
	switch {
	case errors.As(err, &dns):
		text, hint = "the name "+host+" has no address", "is this device online? Check source.url and the name server"
	case errors.Is(err, syscall.ECONNREFUSED):
		text, hint = host+" does not accept connections", "is the host running? Check the port in source.url"
	case errors.Is(err, syscall.ENETUNREACH) || errors.Is(err, syscall.EHOSTUNREACH):
		text, hint = "there is no way to "+host, "is this device online?"
	}
	return godwit.Fail(godwit.CodeNetwork, err, text, hint)
}

// explainTLS gives nil if err has nothing to do with TLS.
func explainTLS(host string, now time.Time, err error) error {
	fail := func(text, hint string) error { return godwit.Fail(godwit.CodeTLS, err, text, hint) }
	var (
		unknown x509.UnknownAuthorityError
		name    x509.HostnameError
		invalid x509.CertificateInvalidError
		roots   x509.SystemRootsError
		record  tls.RecordHeaderError
		verify  *tls.CertificateVerificationError
	)
	const day = "2006-01-02"
	switch {
	case errors.As(err, &unknown):
		return fail("the certificate of "+host+" is not signed by an authority that this device knows",
			"set source.ca_file to your own authority's certificate, or install the package ca-certificates")
	case errors.As(err, &name):
		return fail("the certificate is not one for "+host, "check the host name in source.url; a network may also be in the way")
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired && invalid.Cert != nil:
		if now.Before(invalid.Cert.NotBefore) {
			return fail("the certificate of "+host+" is not valid before "+invalid.Cert.NotBefore.Format(day),
				"this device believes that it is "+now.UTC().Format(day)+": set its clock")
		}
		return fail("the certificate of "+host+" ended on "+invalid.Cert.NotAfter.Format(day),
			"the host must renew it; or this device's clock, which says "+now.UTC().Format(day)+", is wrong")
	case errors.As(err, &roots):
		return fail("this device has no list of certificate authorities", "install the package ca-certificates, or set source.ca_file")
	case errors.As(err, &record):
		return fail(host+" does not speak TLS on this port", "check the scheme and the port in source.url")
	case errors.As(err, &invalid), errors.As(err, &verify):
		return fail("the certificate of "+host+" is not valid", "the host must repair it")
	case strings.HasPrefix(err.Error(), "remote error: tls: "):
		return fail(host+" broke off the TLS connection", "it may need another version of TLS than 1.2 and 1.3, or a client certificate")
	case strings.HasPrefix(err.Error(), "tls: "), strings.HasPrefix(err.Error(), "local error: tls: "):
		return fail("the TLS connection to "+host+" failed", "try again; a network may be in the way")
	}
	return nil
}

// AskedByProxy is the error of a proxy that wants credentials.
func AskedByProxy(cause error) error {
	return godwit.Fail(godwit.CodeUnauthorized, cause, "the proxy asks for credentials (HTTP 407)", "write source.proxy = \"http://USER:PASSWORD@HOST:PORT\"")
}

// faulty is the error of a host that cannot answer now.
func faulty(host string, status int) error {
	words := "HTTP " + strconv.Itoa(status)
	if status == http1.StatusNetworkAuthenticationRequired {
		return godwit.Fail(godwit.CodeNetwork, nil, "the network wants a log-in first ("+words+")", "log in to the network with a browser")
	}
	return godwit.Fail(godwit.CodeNetwork, nil, host+" has a fault ("+words+")", "nothing to do here: try again later")
}

// Refused puts an answer that is not content into words. what is the thing that
// was asked for, as in "the file app/main.py"; hint is for the case that it is
// not there; said, if not nil, is the host's own words.
func (a *Answer) Refused(what, hint string, said error) error {
	code, does := godwit.CodeProtocol, " does not take the request for "
	switch a.Status {
	case http1.StatusUnauthorized, http1.StatusForbidden:
		code, does, hint = godwit.CodeUnauthorized, " does not let us have ", "check source.token: what is private needs one, which may read this and is still valid"
	case http1.StatusNotFound, http1.StatusGone:
		code, does = godwit.CodeNotFound, " does not have "
	default:
		hint = "check section source; a proxy may be in the way"
	}
	return godwit.Fail(code, said, a.URL.Hostname()+does+what+" (HTTP "+strconv.Itoa(a.Status)+")", hint)
}
