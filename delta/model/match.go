package model

// A matcher predicts the next byte by what followed the last bytes when they were
// seen before.
type matcher struct {
	hist []byte // the last bytes
	head []byte // by a hash of four bytes, where they ended last; 16 bits each
	pos  uint32
	ptr  uint32 // place of the predicted byte
	len  uint32 // how many bytes speak for it
}

func (m *matcher) clear() {
	clear(m.hist)
	clear(m.head)
}

// predict is the next byte, and how many bytes speak for it.
func (m *matcher) predict() (byte, uint32) {
	if m.len == 0 {
		return 0, 0
	}
	return m.hist[m.ptr&uint32(len(m.hist)-1)], m.len
}

// minMatch is how many bytes have to be equal for a prediction; no more than
// maxMatch are compared.
const (
	minMatch = 3
	maxMatch = 16
)

func (m *matcher) update(b byte, c4 uint32) {
	mask := uint32(len(m.hist) - 1)
	if m.len > 0 && m.hist[m.ptr&mask] == b {
		m.len++
		m.ptr++
	} else {
		m.len = 0
	}
	m.hist[m.pos&mask] = b
	m.pos++
	h := c4 * 0x9E3779B1 >> 8 & uint32(len(m.head)/2-1)
	if m.len == 0 {
		p := get16(m.head, uint(h))
		n, most := uint32(0), min(maxMatch, p)
		for hist := m.hist; n < most && hist[(p-1-n)&mask] == hist[(m.pos-1-n)&mask]; {
			n++
		}
		if n >= minMatch {
			m.len = n
		}
		m.ptr = p
	}
	put16(m.head, uint(h), m.pos&mask)
}
