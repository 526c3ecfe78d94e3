package http1

import (
	"bufio"
	"errors"
	"io"
	"net/url"
	"strconv"
	"strings"
)

// A Response is the answer to a request.
type Response struct {
	Status        string // "200 OK"
	StatusCode    int
	Header        Header
	ContentLength int64         // -1 if it is not known
	Body          io.ReadCloser // never nil; close it, so that nothing is left behind
	Request       *Request

	close bool // the connection ends with this answer
}

// ErrNoLocation is returned by Location.
var ErrNoLocation = errors.New("the answer says no Location")

// Location gives the URL in the header of that name, resolved against the
// request's.
func (r *Response) Location() (*url.URL, error) {
	where := r.Header.Get("Location")
	if where == "" {
		return nil, ErrNoLocation
	}
	if r.Request != nil && r.Request.URL != nil {
		return r.Request.URL.Parse(where)
	}
	return url.Parse(where)
}

// ReadResponse reads the answer to a request with the given method. The body
// reads from r; closing it does not read it to its end.
func ReadResponse(r *bufio.Reader, method string) (*Response, error) {
	resp, b, err := readResponse(r, method)
	if err == nil {
		resp.Body = io.NopCloser(b)
	}
	return resp, err
}

func readResponse(r *bufio.Reader, method string) (*Response, io.Reader, error) {
	head := newHeadReader(r)
	for {
		resp, minor, err := readHead(head)
		if err != nil {
			return nil, nil, err
		}
		if resp.StatusCode >= 200 {
			b, err := resp.body(r, method, minor)
			return resp, b, err
		}
		// Of announcements (RFC 9110, 15.2) nobody here wants to know.
		if resp.StatusCode == 101 {
			return nil, nil, malformed("the protocol is changed unasked")
		}
	}
}

// readHead reads a status line and the fields after it.
func readHead(head *headReader) (resp *Response, minor byte, err error) {
	line, err := head.line()
	if err != nil {
		return nil, 0, err
	}
	// HTTP/1.x SP 3DIGIT, then SP and words, which some leave out altogether.
	s := string(line)
	const form = "HTTP/1.x 200"
	if len(s) < len(form) || !strings.HasPrefix(s, "HTTP/1.") || !isDigits(s[7:8]) || s[8] != ' ' || !isDigits(s[9:12]) || s[9] == '0' ||
		len(s) > len(form) && s[12] != ' ' {
		return nil, 0, malformed("this is no answer")
	}
	resp = &Response{Status: s[9:], StatusCode: int(s[9]-'0')*100 + int(s[10]-'0')*10 + int(s[11]-'0')}
	resp.Header, err = head.fields()
	return resp, s[7], err
}

// body finds out how long the body is (RFC 9112, 6.3), and gives it.
func (r *Response) body(from *bufio.Reader, method string, minor byte) (io.Reader, error) {
	length, chunked, err := framing(r.Header, minor >= '1')
	if err != nil {
		return nil, err
	}
	delete(r.Header, "Transfer-Encoding")
	r.ContentLength = length
	r.close = minor == '0' || r.Header.has("Connection", "close")
	switch {
	case method == MethodHead:
		return eof{}, nil
	case r.StatusCode == StatusNoContent || r.StatusCode == StatusNotModified:
		r.ContentLength = 0
		return eof{}, nil
	case chunked:
		return &chunkedReader{r: from}, nil
	case length == 0:
		return eof{}, nil
	case length > 0:
		return &lengthReader{from, length}, nil
	}
	r.close = true
	return untilClosed{from}, nil
}

// framing reads the fields that say how long a body is: in chunks, or with a
// length, or -1 if they say nothing.
func framing(h Header, modern bool) (length int64, chunked bool, err error) {
	codings, lengths := h["Transfer-Encoding"], h["Content-Length"]
	switch {
	case len(codings) > 0 && len(lengths) > 0:
		return 0, false, malformed("it has both a length and a transfer coding")
	case len(codings) > 0:
		if len(codings) > 1 || !strings.EqualFold(codings[0], "chunked") || !modern {
			return 0, false, malformed("its transfer coding is not one that was asked for")
		}
		return -1, true, nil
	case len(lengths) == 0:
		return -1, false, nil
	}
	for _, l := range lengths {
		if l != lengths[0] {
			return 0, false, malformed("it has two lengths")
		}
	}
	h["Content-Length"] = lengths[:1]
	length, err = strconv.ParseInt(lengths[0], 10, 64)
	if err != nil || !isDigits(lengths[0]) {
		return 0, false, malformed("its length is no number")
	}
	return length, false, nil
}

func isDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// eof is the body of an answer without one.
type eof struct{}

func (eof) Read([]byte) (int, error) { return 0, io.EOF }

// A lengthReader gives left bytes of r, and fails if there are fewer.
type lengthReader struct {
	r    *bufio.Reader
	left int64
}

func (l *lengthReader) Read(p []byte) (int, error) {
	if l.left == 0 {
		return 0, io.EOF
	}
	if int64(len(p)) > l.left {
		p = p[:l.left]
	}
	n, err := l.r.Read(p)
	l.left -= int64(n)
	return n, endedEarly(err)
}

// untilClosed is a body that ends with the connection. Over TLS an end that the
// other side did not announce is an error of the connection below.
type untilClosed struct{ r *bufio.Reader }

func (u untilClosed) Read(p []byte) (int, error) { return u.r.Read(p) }
