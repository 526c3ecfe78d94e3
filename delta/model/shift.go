package model

// A shiftMap says how far what was at an old address has moved: a step function
// that is learned from where jumps of the alignment lead and from references that
// were decoded. Addresses and shifts are modulo 1<<32.
type shiftMap struct {
	mem  []byte // a key and a shift of 32 bits for each step, in ascending order of the keys
	used []byte // 1 for steps that were right since the hand passed
	n    int
	hand int
}

func (m *shiftMap) key(i int) uint32 { return le32(m.mem[8*i : 8*i+4]) }
func (m *shiftMap) val(i int) uint32 { return le32(m.mem[8*i+4 : 8*i+8]) }

func (m *shiftMap) set(i int, key, val uint32) {
	put32(m.mem[8*i:8*i+4], key)
	put32(m.mem[8*i+4:8*i+8], val)
}

func put32(b []byte, v uint32) {
	_ = b[3]
	b[0], b[1], b[2], b[3] = byte(v), byte(v>>8), byte(v>>16), byte(v>>24)
}

// find is the index of the last key at or below t, -1 if there is none.
func (m *shiftMap) find(t uint32) int {
	lo, hi := 0, m.n
	for lo < hi {
		h := int(uint(lo+hi) >> 1)
		if m.key(h) <= t {
			lo = h + 1
		} else {
			hi = h
		}
	}
	return lo - 1
}

// shift is what was learned of t, how sure that is, 0 to 3, and what else it may
// be.
func (m *shiftMap) shift(t uint32) (s, other uint32, sure uint32) {
	i := m.find(t)
	if i < 0 {
		if m.n == 0 {
			return 0, 0, 0
		}
		return m.val(0), 0, 0
	}
	s = m.val(i)
	other = s
	if i+1 < m.n {
		other = m.val(i + 1)
	}
	at := m.key(i)
	if at == t {
		return s, other, 3
	}
	if i+1 < m.n {
		if other == s {
			return s, s, 2
		}
		if m.key(i+1)-t < (t-at)>>3 {
			return other, s, 1
		}
	}
	return s, other, 1
}

// learn notes that what was at t has moved by s.
func (m *shiftMap) learn(t, s uint32) {
	if len(m.used) == 0 {
		return // texts have none
	}
	i := m.find(t)
	if i >= 0 && m.key(i) == t {
		m.set(i, t, s)
		return
	}
	// A run of equal shifts has two keys, its first and its last address.
	if i >= 0 && m.val(i) == s {
		if i > 0 && m.val(i-1) == s {
			m.set(i, t, s)
			return
		}
	} else if i+2 < m.n && m.val(i+1) == s && m.val(i+2) == s {
		m.set(i+1, t, s)
		return
	}
	if m.n == len(m.used) {
		// The next step goes that was of no use since the hand came by.
		for {
			if m.hand++; m.hand >= m.n {
				m.hand = 0
			}
			if m.used[m.hand] == 0 {
				break
			}
			m.used[m.hand] = 0
		}
		k := m.hand
		copy(m.mem[8*k:], m.mem[8*k+8:8*m.n])
		copy(m.used[k:], m.used[k+1:m.n])
		m.n--
		if k <= i {
			i--
		}
	}
	i++
	copy(m.mem[8*i+8:8*m.n+8], m.mem[8*i:8*m.n])
	copy(m.used[i+1:m.n+1], m.used[i:m.n])
	m.set(i, t, s)
	m.used[i] = 0
	m.n++
	if i <= m.hand {
		m.hand++
	}
}

// touch tells that what was learned of t was right.
func (m *shiftMap) touch(t uint32) {
	if i := m.find(t); i >= 0 {
		m.used[i] = 1
	}
}
