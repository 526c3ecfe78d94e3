package model

import "io"

// A coder turns bits with probabilities into bytes and back: the carry-less
// binary arithmetic coder of Mahoney's paq, 32 bits wide, with probabilities of
// 16 bits.
type coder struct {
	low, high uint32
	value     uint32 // decoding: what was read of the code
	encoding  bool

	in   io.Reader
	buf  []byte // decoding: bytes read ahead; encoding: unused
	r, n int    // of buf
	used int64  // bytes of in that were taken into value
	past int    // bytes taken behind the end of in
	err  error
	done []byte // encoding
}

// maxPast is how many zero bytes stand in for the end of the code that the
// encoder left out.
const maxPast = 8

// fill4 reads the first bytes of the code.
func (c *coder) fill4() {
	c.low, c.high = 0, 1<<32-1
	for range 4 {
		c.value = c.value<<8 | uint32(c.next())
	}
}

func (c *coder) startEncoding() { c.low, c.high, c.encoding = 0, 1<<32-1, true }

// readFull reads all of p; that there is less is an error.
func readFull(r io.ReaderAt, p []byte, off int64) (int, error) {
	n, err := r.ReadAt(p, off)
	if n == len(p) {
		return n, nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func (c *coder) next() byte {
	if c.r == c.n {
		if c.err != nil {
			return 0
		}
		c.r, c.n = 0, 0
		for tries := 0; c.n == 0 && c.err == nil; tries++ {
			c.n, c.err = c.in.Read(c.buf)
			if tries == 100 && c.n == 0 && c.err == nil {
				c.err = io.ErrNoProgress
			}
		}
		if c.n == 0 {
			if c.err == io.EOF {
				if c.past++; c.past <= maxPast {
					c.err = nil
					return 0
				}
				c.err = io.ErrUnexpectedEOF
			}
			return 0
		}
		if c.err == io.EOF {
			c.err = nil
		}
	}
	b := c.buf[c.r]
	c.r++
	c.used++
	return b
}

// code codes one bit that is 1 with probability p/65536, 0 < p < 65536. When
// encoding it codes bit, when decoding it gives the bit that was coded.
func (c *coder) code(bit int, p uint32) int {
	mid := c.low + uint32(uint64(c.high-c.low)*uint64(p)>>16)
	// Without branches: which one is taken is what nobody can predict.
	one := -uint32(bit)
	if !c.encoding {
		one = uint32((int64(c.value) - int64(mid) - 1) >> 63)
		bit = int(one & 1)
	}
	c.high = c.high&^one | mid&one
	c.low = c.low&one | (mid+1)&^one
	for (c.low^c.high)>>24 == 0 {
		if c.encoding {
			c.done = append(c.done, byte(c.high>>24))
		} else {
			c.value = c.value<<8 | uint32(c.next())
		}
		c.low <<= 8
		c.high = c.high<<8 | 255
	}
	return bit
}

// finish writes what the decoder needs to tell the last bit; it reads zeros
// behind the end.
func (c *coder) finish() []byte {
	// The shortest byte string that, with zeros behind it, lies in low..high.
	for keep := 0; keep <= 4; keep++ {
		mask := uint32(0)
		if keep > 0 {
			mask = ^uint32(0) << (32 - 8*keep)
		}
		v := c.high & mask
		if v >= c.low {
			for k := range keep {
				c.done = append(c.done, byte(v>>(24-8*k)))
			}
			break
		}
	}
	for k := 0; k < 4 && len(c.done) > 0 && c.done[len(c.done)-1] == 0; k++ {
		c.done = c.done[:len(c.done)-1]
	}
	return c.done
}
