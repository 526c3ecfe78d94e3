package http1

import (
	"bufio"
	"io"
	"slices"
	"strings"
)

// A Header holds the fields of a message's head by canonical name. It converts
// to and from http.Header.
type Header map[string][]string

// Get gives the first value of a field, "" if there is none.
func (h Header) Get(key string) string {
	if v := h[CanonicalHeaderKey(key)]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// Values gives all values of a field. The slice is not a copy.
func (h Header) Values(key string) []string { return h[CanonicalHeaderKey(key)] }

// Set makes value the only one of a field.
func (h Header) Set(key, value string) { h[CanonicalHeaderKey(key)] = []string{value} }

// Add adds a value to a field.
func (h Header) Add(key, value string) {
	key = CanonicalHeaderKey(key)
	h[key] = append(h[key], value)
}

// Del removes a field.
func (h Header) Del(key string) { delete(h, CanonicalHeaderKey(key)) }

// Clone gives a copy; of nil it is nil.
func (h Header) Clone() Header {
	if h == nil {
		return nil
	}
	c := make(Header, len(h))
	for k, v := range h {
		c[k] = slices.Clone(v)
	}
	return c
}

// has looks for a word in a field whose value is a list of them (RFC 9110, 5.6.1).
func (h Header) has(key, word string) bool {
	for _, v := range h[key] {
		for part := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(strings.Trim(part, " \t"), word) {
				return true
			}
		}
	}
	return false
}

// CanonicalHeaderKey gives the form of a field's name in which Header keeps it:
// the first letter and those after a hyphen are capital. What is no field name
// is returned as it is.
func CanonicalHeaderKey(s string) string {
	if !isToken(s) {
		return s
	}
	upper := true
	for i := range len(s) {
		if c := s[i]; upper && 'a' <= c && c <= 'z' || !upper && 'A' <= c && c <= 'Z' {
			return canonical([]byte(s))
		}
		upper = s[i] == '-'
	}
	return s
}

func canonical(b []byte) string {
	upper := true
	for i, c := range b {
		switch {
		case upper && 'a' <= c && c <= 'z':
			b[i] = c - 'a' + 'A'
		case !upper && 'A' <= c && c <= 'Z':
			b[i] = c - 'A' + 'a'
		}
		upper = c == '-'
	}
	return string(b)
}

// isToken reports whether s is a token (RFC 9110, 5.6.2), as methods and names
// of fields are.
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0) {
			return false
		}
	}
	return s != ""
}

// isValue reports whether s may be a field's value (RFC 9110, 5.5): nothing in
// it can end the line or be taken for something else.
func isValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// check looks for fields that must not be sent.
func (h Header) check() error {
	for k, values := range h {
		if !isToken(k) {
			return &RequestError{"the name of a header field has a character that it must not have"}
		}
		for _, v := range values {
			if !isValue(v) {
				return &RequestError{"the header field " + k + " has a character that it must not have"}
			}
		}
	}
	return nil
}

// write writes the fields in the order of their names, but for those to leave
// out.
func (h Header) write(w *bufio.Writer, leaveOut func(key string) bool) {
	keys := make([]string, 0, len(h))
	for k := range h {
		if leaveOut == nil || !leaveOut(k) {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	for _, k := range keys {
		for _, v := range h[k] {
			writeField(w, k, strings.Trim(v, " \t"))
		}
	}
}

// Write writes the fields as they stand in a head, without the empty line that
// ends it. It writes nothing that has a character it must not have.
func (h Header) Write(w *bufio.Writer) error {
	if err := h.check(); err != nil {
		return err
	}
	h.write(w, nil)
	return nil
}

func writeField(w *bufio.Writer, key, value string) {
	w.WriteString(key)
	w.WriteString(": ")
	w.WriteString(value)
	w.WriteString("\r\n")
}

// The head of a message, or its trailers, may have so much, answers that only
// announce another one (1xx) included.
const (
	maxHeadBytes = 64 << 10
	maxHeadLines = 200
)

// A headReader reads lines within these limits.
type headReader struct {
	r     *bufio.Reader
	bytes int
	lines int
}

func newHeadReader(r *bufio.Reader) *headReader { return &headReader{r, maxHeadBytes, maxHeadLines} }

// line gives the next line without its end, which may be a bare LF (RFC 9112,
// 2.2). It is valid until the next call.
func (h *headReader) line() ([]byte, error) {
	if h.lines--; h.lines < 0 {
		return nil, malformed("the head has too many lines")
	}
	var long []byte
	for {
		part, err := h.r.ReadSlice('\n')
		if h.bytes -= len(part); h.bytes < 0 {
			return nil, malformed("the head is too long")
		}
		switch {
		case err == bufio.ErrBufferFull:
			long = append(long, part...)
			continue
		case err == io.EOF:
			return nil, io.ErrUnexpectedEOF
		case err != nil:
			return nil, err
		}
		if long != nil {
			part = append(long, part...)
		}
		part = part[:len(part)-1]
		if n := len(part); n > 0 && part[n-1] == '\r' {
			part = part[:n-1]
		}
		for _, c := range part {
			if c == '\r' || c == 0 {
				return nil, malformed("a line of the head has a character that it must not have")
			}
		}
		return part, nil
	}
}

// fields reads up to the empty line that ends a head. Folded lines and names
// that are none are errors.
func (h *headReader) fields() (Header, error) {
	fields := make(Header)
	for {
		line, err := h.line()
		if err != nil {
			return nil, err
		}
		if len(line) == 0 {
			return fields, nil
		}
		name, value, ok := field(line)
		if !ok {
			return nil, malformed("a line of the head is no header field")
		}
		fields.Add(name, value)
	}
}

// field takes a line apart.
func field(line []byte) (name, value string, ok bool) {
	name, value, ok = strings.Cut(string(line), ":")
	value = strings.Trim(value, " \t")
	return name, value, ok && isToken(name) && isValue(value)
}

// ReadHeader reads the fields of a head up to the empty line after them.
func ReadHeader(r *bufio.Reader) (Header, error) { return newHeadReader(r).fields() }
