package wire

import (
	"fmt"
	"io"
)

// The side bands (gitprotocol-pack, "Packfile Data").
const (
	bandData     = 1
	bandProgress = 2
	bandError    = 3
)

// A demux is the pack inside a stream of side-band packets. Its end is the
// flush packet; a stream that ends before that gives io.ErrUnexpectedEOF.
type demux struct {
	p    *pktReader
	left int // bytes of band 1 left in the current packet
	err  error
}

func (d *demux) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	for d.left == 0 && d.err == nil {
		d.err = d.begin()
	}
	if d.err != nil {
		return 0, d.err
	}
	n, err := d.p.r.Read(b[:min(len(b), d.left)])
	d.left -= n
	if err != nil {
		d.err = unexpected(err)
		if n > 0 {
			err = nil
		} else {
			err = d.err
		}
	}
	return n, err
}

// begin goes to the next packet of the pack.
func (d *demux) begin() error {
	kind, n, err := d.p.next()
	if err != nil {
		return unexpected(err)
	}
	if kind != pktData {
		if kind == pktFlush {
			return io.EOF
		}
		return fmt.Errorf("%w: a %s packet within the pack", errMalformed, kind)
	}
	if n == 0 {
		return fmt.Errorf("%w: no side band", errMalformed)
	}
	band, err := d.p.r.ReadByte()
	if err != nil {
		return unexpected(err)
	}
	switch n--; band {
	case bandData:
		d.left = n
		return nil
	case bandProgress:
		_, err := d.p.r.Discard(n)
		return unexpected(err)
	case bandError:
		text := make([]byte, min(n, 1024))
		if _, err := io.ReadFull(d.p.r, text); err != nil {
			return unexpected(err)
		}
		return &remoteError{printable(text)}
	}
	if band == 'E' {
		// "ERR …" without a band, from a server that failed before its first
		// side-band packet.
		text := make([]byte, min(n, 1024))
		if _, err := io.ReadFull(d.p.r, text); err == nil && len(text) > 3 && string(text[:3]) == "RR " {
			return &remoteError{printable(text[3:])}
		}
	}
	return fmt.Errorf("%w: side band %d", errMalformed, band)
}
