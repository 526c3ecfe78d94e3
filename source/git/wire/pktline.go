package wire

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/godwit-ota/godwit/internal/webclient"
)

// Sizes of pkt-lines (gitprotocol-common, "pkt-line Format").
const (
	maxPkt     = 65520 // bytes of one pkt-line with its four length digits
	maxPayload = maxPkt - 4
)

// A pktKind tells a data line from the special packets, which have no payload.
type pktKind uint8

const (
	pktData        pktKind = iota
	pktFlush               // 0000: end of a message
	pktDelim               // 0001: end of a section
	pktResponseEnd         // 0002: end of a response on a stateless connection
)

func (k pktKind) String() string {
	return [...]string{"data", "flush", "delimiter", "response end"}[k]
}

var errMalformed = errors.New("malformed pkt-line")

// A pktReader takes a byte stream apart into pkt-lines.
type pktReader struct {
	r   *bufio.Reader
	buf []byte // the last line; grows to at most maxPayload
	// sideband is set when every line carries a band number first, which is
	// what the capability sideband-all asks for.
	sideband bool
}

func newPktReader(r io.Reader) *pktReader {
	return &pktReader{r: bufio.NewReaderSize(r, 8<<10)}
}

// next begins the next packet and gives the length of its payload, which must
// be read through the reader's r before the next call. A stream that ends
// between packets gives io.EOF, one that ends within io.ErrUnexpectedEOF.
func (p *pktReader) next() (pktKind, int, error) {
	head, err := p.r.Peek(4)
	if err != nil {
		if err == io.EOF && len(head) > 0 {
			err = io.ErrUnexpectedEOF
		}
		return 0, 0, err
	}
	n := 0
	for _, c := range head {
		switch {
		case '0' <= c && c <= '9':
			n = n<<4 | int(c-'0')
		case 'a' <= c && c <= 'f':
			n = n<<4 | int(c-'a'+10)
		case 'A' <= c && c <= 'F':
			n = n<<4 | int(c-'A'+10)
		default:
			return 0, 0, fmt.Errorf("%w: length %q", errMalformed, head)
		}
	}
	switch {
	case n > maxPkt || n == 3:
		return 0, 0, fmt.Errorf("%w: length %q", errMalformed, head)
	case n < 3:
		p.r.Discard(4)
		return pktKind(n + 1), 0, nil
	}
	p.r.Discard(4)
	return pktData, n - 4, nil
}

// line reads the next packet whole, without a final newline. The bytes are good
// until the next call. A line that begins with "ERR " becomes a *remoteError,
// as does an error on the side band; progress is dropped.
func (p *pktReader) line() (pktKind, []byte, error) {
	for {
		kind, n, err := p.next()
		if err != nil || kind != pktData {
			return kind, nil, err
		}
		if cap(p.buf) < n {
			p.buf = make([]byte, n, min(max(2*n, 512), maxPayload))
		}
		b := p.buf[:n]
		if _, err := io.ReadFull(p.r, b); err != nil {
			return 0, nil, unexpected(err)
		}
		if p.sideband {
			if n == 0 {
				return 0, nil, fmt.Errorf("%w: no side band", errMalformed)
			}
			switch band := b[0]; band {
			case bandData:
				b = b[1:]
				if len(b) == 0 { // keep-alive
					continue
				}
			case bandProgress:
				continue
			case bandError:
				return 0, nil, &remoteError{printable(b[1:])}
			case 'E': // "ERR …" without a band
			default:
				return 0, nil, fmt.Errorf("%w: side band %d", errMalformed, band)
			}
		}
		if len(b) > 0 && b[len(b)-1] == '\n' {
			b = b[:len(b)-1]
		}
		if len(b) >= 4 && string(b[:4]) == "ERR " {
			return 0, nil, &remoteError{printable(b[4:])}
		}
		return pktData, b, nil
	}
}

// A remoteError is what the other side said before it gave up.
type remoteError struct{ text string }

func (e *remoteError) Error() string { return "the Git host says: " + e.text }

func printable(b []byte) string { return webclient.Printable(string(b)) }

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// A pktWriter makes pkt-lines. The first error sticks.
type pktWriter struct {
	w   io.Writer
	buf []byte
	err error
}

const hexDigits = "0123456789abcdef"

// line writes one line made of parts and a newline.
func (p *pktWriter) line(parts ...string) {
	n := 5
	for _, s := range parts {
		n += len(s)
	}
	if n > maxPkt && p.err == nil {
		p.err = fmt.Errorf("%w: a line of %d bytes is too long to send", errMalformed, n)
	}
	if p.err != nil {
		return
	}
	b := append(p.buf[:0], hexDigits[n>>12&15], hexDigits[n>>8&15], hexDigits[n>>4&15], hexDigits[n&15])
	for _, s := range parts {
		b = append(b, s...)
	}
	p.buf = append(b, '\n')
	_, p.err = p.w.Write(p.buf)
}

func (p *pktWriter) special(s string) {
	if p.err == nil {
		_, p.err = io.WriteString(p.w, s)
	}
}

func (p *pktWriter) flush() { p.special("0000") }
func (p *pktWriter) delim() { p.special("0001") }
