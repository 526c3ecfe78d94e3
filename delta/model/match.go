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
	if len(m.hist) == 0 {
		return
	}
	mask := uint32(len(m.hist) - 1)
	if m.len > 0 && m.hist[m.ptr&mask] == b {
		m.len++
		m.ptr++
	} else {
		m.len = 0
	}
	m.hist[m.pos&mask] = b
	m.pos++
	h := 2 * (c4 * 0x9E3779B1 >> 8 & uint32(len(m.head)/2-1))
	if m.len == 0 {
		m.ptr = uint32(m.head[h]) | uint32(m.head[h+1])<<8
		if m.ptr > 0 {
			for m.len < maxMatch && m.len < m.ptr && m.hist[(m.ptr-1-m.len)&mask] == m.hist[(m.pos-1-m.len)&mask] {
				m.len++
			}
		}
		if m.len < minMatch {
			m.len = 0
		}
	}
	at := m.pos & mask
	m.head[h], m.head[h+1] = byte(at), byte(at>>8)
}
