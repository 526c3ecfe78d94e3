package sshsig

import (
	"encoding/binary"
	"errors"
	"math/big"
	"strings"
)

// wire reads the data types of RFC 4251, section 5. After the first field that
// is not there it gives nothing but zeros, and end reports false.
type wire struct {
	b   []byte
	bad bool
}

func (w *wire) next(n int) []byte {
	if n < 0 || n > len(w.b) {
		w.b, w.bad = nil, true
		return nil
	}
	b := w.b[:n:n]
	w.b = w.b[n:]
	return b
}

func (w *wire) u8() byte {
	if b := w.next(1); b != nil {
		return b[0]
	}
	return 0
}

func (w *wire) u32() uint32 {
	if b := w.next(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (w *wire) u64() uint64 {
	if b := w.next(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (w *wire) str() []byte {
	n := w.u32()
	if uint64(n) > uint64(len(w.b)) {
		w.b, w.bad = nil, true
		return nil
	}
	return w.next(int(n))
}

// mpint reads a positive number in its shortest form.
func (w *wire) mpint() *big.Int {
	b := w.str()
	if len(b) == 0 || b[0]&0x80 != 0 || b[0] == 0 && (len(b) == 1 || b[1]&0x80 == 0) {
		w.b, w.bad = nil, true
		return new(big.Int)
	}
	return new(big.Int).SetBytes(b)
}

// end reports whether all fields were there and nothing is left.
func (w *wire) end() bool { return !w.bad && len(w.b) == 0 }

func appendString(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
}

func hasNUL(s string) bool { return strings.IndexByte(s, 0) >= 0 }

func quote(s string) string {
	clean := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '"' {
			return '?'
		}
		return r
	}, s[:min(len(s), 64)])
	return "\"" + clean + "\""
}

// Reasons that callers put into their sentences.
var (
	errUnknownType = errors.New("keys of its type are not known here")
	errKeyForm     = errors.New("it is malformed")
	errMismatch    = errors.New("it is over something else, or by another key")
	errAlgorithm   = errors.New("its algorithm is not one for this key, or not safe any more")
	errSigForm     = errors.New("its value is malformed")
)
