// Package http1 is a client for HTTP/1.1 (RFC 9110, RFC 9112): persistent
// connections, TLS, proxies, bodies of any length in constant memory. Its types
// have the names and the meaning of those in net/http, for as much as Godwit
// needs of them.
//
// It exists because of size. Linking the client of net/http costs 0.73 MB of a
// binary that may have 8, and nearly as much memory on the device, since most of
// a binary is mapped while it runs; http.ReadResponse alone brings 0.43 MB of
// that. So nothing that is linked into godwit imports net/http. Tests do, and
// hold this package against it.
//
// It leaves to others: redirects, cookies, compression, HTTP/2, names of hosts
// beyond ASCII (write them as xn--…), and trying again, but for one case: a
// connection that was kept open and turns out to be dead.
//
// Invariant: what it accepts as an answer net/http would read the same way. Where
// two readers could see two answers in the same bytes (lengths that differ, a
// length beside chunks, folded lines, bytes left over) it refuses, or does not
// use the connection again. What a caller puts into a request cannot end a line
// of its head.
package http1

// A ProtocolError says that the other side does not speak HTTP/1.1 as it should.
type ProtocolError struct{ text string }

func (e *ProtocolError) Error() string { return "malformed HTTP: " + e.text }

func malformed(text string) error { return &ProtocolError{text} }

// A ProxyError says that a proxy was reached, or should have been, and did not
// let a connection through.
type ProxyError struct {
	Proxy      string // HOST:PORT
	StatusCode int    // of the answer to CONNECT; 0 if there was none
	Err        error  // why, otherwise
}

func (e *ProxyError) Error() string {
	why := ""
	if e.Err != nil {
		why = e.Err.Error()
	} else {
		why = statusLine(e.StatusCode)
	}
	return "the proxy " + e.Proxy + ": " + why
}

func (e *ProxyError) Unwrap() error { return e.Err }

// A timeoutError is an end of patience of this package's own.
type timeoutError string

func (e timeoutError) Error() string { return string(e) }
func (timeoutError) Timeout() bool   { return true }
func (timeoutError) Temporary() bool { return true }
