// Package nethttp lets handlers of net/http stand in front of a Git host, for
// tests that make it fail in some way. It is a package of its own so that
// net/http stays out of the godwit binary, which carries the Git host.
//
// Invariant: only tests and proofs import it.
package nethttp

import (
	"bufio"
	"net"
	"net/http"

	"github.com/godwit-ota/godwit/internal/githost"
	"github.com/godwit-ota/godwit/internal/http1"
)

// Wrap gives what githost.Config.Wrap takes. A panic with http.ErrAbortHandler
// breaks the connection off, as it does in net/http.
func Wrap(front func(next http.Handler) http.Handler) func(githost.Handler) githost.Handler {
	return func(next githost.Handler) githost.Handler {
		h := front(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(inner{w}, &http1.Request{Method: r.Method, URL: r.URL, Header: http1.Header(r.Header), Body: r.Body,
				ContentLength: r.ContentLength, Host: r.Host, Close: r.Close, RemoteAddr: r.RemoteAddr})
		}))
		return githost.HandlerFunc(func(w githost.ResponseWriter, r *http1.Request) {
			defer func() {
				if p := recover(); p == http.ErrAbortHandler {
					panic(githost.ErrAbort)
				} else if p != nil {
					panic(p)
				}
			}()
			h.ServeHTTP(outer{w}, &http.Request{Method: r.Method, URL: r.URL, RequestURI: r.URL.RequestURI(), Header: http.Header(r.Header), Body: r.Body,
				ContentLength: r.ContentLength, Host: r.Host, Close: r.Close, RemoteAddr: r.RemoteAddr, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1})
		})
	}
}

// inner is a writer of net/http for the Git host.
type inner struct{ http.ResponseWriter }

func (w inner) Header() http1.Header { return http1.Header(w.ResponseWriter.Header()) }

func (w inner) Flush() {
	if f, ok := w.ResponseWriter.(http.Flusher); ok {
		f.Flush()
	}
}

// outer is a writer of the Git host for net/http.
type outer struct{ githost.ResponseWriter }

func (w outer) Header() http.Header { return http.Header(w.ResponseWriter.Header()) }

func (w outer) Flush() { w.ResponseWriter.(http.Flusher).Flush() }

func (w outer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return w.ResponseWriter.(http.Hijacker).Hijack()
}
