package http1

import (
	"bufio"
	"errors"
	"io"
	"strconv"
)

// The transfer coding "chunked" (RFC 9112, 7.1).

const (
	maxSizeDigits = 15 // of a chunk; less than 2^60 bytes
	// Extensions say nothing to us: little of them is read past.
	maxExtensions   = 8 << 10
	maxChunkLine    = 2 << 10
	maxTrailerBytes = 4 << 10
)

// errChunked says that a body is not coded as its head promised.
var errChunked = errors.New("the chunks of the answer are malformed")

// A chunkedReader gives the content of a chunked body. At its end the reader
// below stands behind the last byte of the body.
type chunkedReader struct {
	r          *bufio.Reader
	left       uint64 // in this chunk
	within     bool   // a chunk whose end has not been read
	extensions int
	err        error // sticky
}

func (c *chunkedReader) Read(p []byte) (int, error) {
	if c.err == nil && c.left == 0 {
		c.err = c.next()
	}
	if c.err != nil {
		return 0, c.err
	}
	if uint64(len(p)) > c.left {
		p = p[:c.left]
	}
	n, err := c.r.Read(p)
	c.left -= uint64(n)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	c.err = err
	return n, err
}

// next reads to the first byte of the next chunk, or to the end of the body.
func (c *chunkedReader) next() error {
	if c.within {
		var end [2]byte
		if _, err := io.ReadFull(c.r, end[:]); err != nil {
			return endedEarly(err)
		}
		if end != [2]byte{'\r', '\n'} {
			return errChunked
		}
	}
	line, err := c.line()
	if err != nil {
		return err
	}
	digits := 0
	for digits < len(line) && isHex(line[digits]) {
		digits++
	}
	rest := line[digits:]
	c.extensions += len(rest)
	if digits == 0 || digits > maxSizeDigits || c.extensions > maxExtensions || !extensions(rest) {
		return errChunked
	}
	if c.left, err = strconv.ParseUint(string(line[:digits]), 16, 64); err != nil {
		return errChunked
	}
	c.within = true
	if c.left > 0 {
		return nil
	}
	for total := 0; ; {
		trailer, err := c.line()
		if err != nil {
			return err
		}
		if len(trailer) == 0 {
			return io.EOF
		}
		total += len(trailer)
		if _, _, ok := field(trailer); !ok || total > maxTrailerBytes {
			return errChunked
		}
	}
}

// extensions reports whether b may stand behind a chunk's size.
func extensions(b []byte) bool {
	if len(b) > 0 && b[0] == ';' {
		return true
	}
	for _, c := range b {
		if c != ' ' && c != '\t' {
			return false
		}
	}
	return true
}

// line gives a line of the coding itself. Its end must be CR LF: readers that
// take less have been made to see other chunks than their proxies.
func (c *chunkedReader) line() ([]byte, error) {
	var whole []byte
	for {
		b, err := c.r.ReadSlice('\n')
		if len(whole)+len(b) > maxChunkLine {
			return nil, errChunked
		}
		if err == bufio.ErrBufferFull {
			whole = append(whole, b...)
			continue
		}
		if err != nil {
			return nil, endedEarly(err)
		}
		if whole != nil {
			b = append(whole, b...)
		}
		n := len(b) - 2
		if n < 0 || b[n] != '\r' {
			return nil, errChunked
		}
		b = b[:n]
		for _, c := range b {
			if c == '\r' || c == 0 {
				return nil, errChunked
			}
		}
		return b, nil
	}
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func endedEarly(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// A ChunkedWriter writes a body in chunks, one for each call of Write.
type ChunkedWriter struct{ w *bufio.Writer }

// NewChunkedWriter gives a ChunkedWriter that leaves flushing w to its caller.
func NewChunkedWriter(w *bufio.Writer) ChunkedWriter { return ChunkedWriter{w} }

func (c ChunkedWriter) Write(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil // an empty chunk would be the end
	}
	c.w.WriteString(strconv.FormatInt(int64(len(b)), 16))
	c.w.WriteString("\r\n")
	n, err := c.w.Write(b)
	if err != nil {
		return n, err
	}
	_, err = c.w.WriteString("\r\n")
	return n, err
}

// Close ends the body, without trailers.
func (c ChunkedWriter) Close() error {
	_, err := c.w.WriteString("0\r\n\r\n")
	return err
}
