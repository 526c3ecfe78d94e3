package delta

import (
	"crypto/sha256"
	"errors"
	"io"
	"strconv"
)

// A Tier is how much memory a decoder may take, everything included that it is
// given or allocates.
type Tier uint8

// The tiers, with the numbers that patches use.
const (
	Tiny  Tier = 1 // 6 KB: microcontrollers
	Small Tier = 2 // 64 KB: anything that runs Linux
	Large Tier = 3 // 1 MB
)

var tiers = [...]struct {
	name   string
	memory int
}{Tiny: {"6k", 6 << 10}, Small: {"64k", 64 << 10}, Large: {"1m", 1 << 20}}

// Memory is the size of the buffer that a decoder of the tier works in, in
// bytes. It is 0 for a tier that does not exist.
func (t Tier) Memory() int {
	if int(t) < len(tiers) {
		return tiers[t].memory
	}
	return 0
}

// String returns "6k", "64k" or "1m".
func (t Tier) String() string {
	if t.Memory() > 0 {
		return tiers[t].name
	}
	return "unknown"
}

// ParseTier reads what String gives.
func ParseTier(s string) (Tier, error) {
	for t := Tiny; t <= Large; t++ {
		if tiers[t].name == s {
			return t, nil
		}
	}
	return 0, errors.New("there is no tier " + strconv.Quote(s) + ": use 6k, 64k or 1m")
}

// Within is the largest tier whose decoder works in memory bytes, 0 if none does.
func Within(memory int64) Tier {
	t := Large
	for t > 0 && int64(t.Memory()) > memory {
		t--
	}
	return t
}

// A Method is how a patch says what the new content is.
type Method uint8

// The methods, with the numbers that patches use.
const (
	Stored   Method = 0 // the new content itself
	Modelled Method = 1 // coded against the old content
	Same     Method = 2 // the new content is the old one
)

// String names the method in reports.
func (m Method) String() string {
	switch m {
	case Stored:
		return "stored"
	case Modelled:
		return "modelled"
	case Same:
		return "same"
	}
	return "unknown"
}

// A Sum is the first bytes of the SHA-256 of a content. It finds out that a
// patch belongs to another content, or that it was damaged; who has to know that
// the result is what somebody vouched for holds it against a full digest.
type Sum [8]byte

// SumOf is the Sum of what a SHA-256 hash gave.
func SumOf(sha [sha256.Size]byte) Sum { return Sum(sha[:8]) }

// A Header is what a patch says of itself. Format: docs/patch-format.md.
type Header struct {
	Method           Method
	Tier             Tier
	OldSize, NewSize int64 // bytes
	OldSum, NewSum   Sum
	// ReadBack is set when the decoder reads parts of the new content again that
	// it has written.
	ReadBack bool
	// Slack and Block are set in patches that a file can be turned by in place:
	// the old content lies Slack bytes behind the beginning of the new one, and
	// while a block of Block bytes is written only what lies behind it is read.
	// Block is 0 in other patches.
	Slack, Block int64
	// Recipe is what the model was told of the contents.
	Recipe Recipe
}

// Bounds of a header. Nothing is allocated for what it declares.
const (
	version   = 1
	maxSize   = 1 << 40
	maxHeader = 96 // bytes
)

var magic = [2]byte{0xD9, 'G'}

const (
	flagReadBack = 1 << iota
	flagInPlace
	flagsKnown = flagReadBack | flagInPlace
)

// Append writes the header.
func (h Header) Append(b []byte) []byte {
	b = append(b, magic[0], magic[1], version<<4|byte(h.Method)<<2|byte(h.Tier))
	var flags byte
	if h.ReadBack {
		flags |= flagReadBack
	}
	if h.Block > 0 {
		flags |= flagInPlace
	}
	b = append(b, flags)
	b = appendVarint(b, uint64(h.OldSize))
	b = append(b, h.OldSum[:]...)
	if h.Method != Same {
		b = appendVarint(b, uint64(h.NewSize))
		b = append(b, h.NewSum[:]...)
	}
	if h.Block > 0 {
		b = appendVarint(b, uint64(h.Slack))
		b = appendVarint(b, uint64(h.Block))
	}
	if h.Method == Modelled {
		b = h.Recipe.append(b)
	}
	return b
}

// ErrNoPatch says that something is no patch, or of a later version of the
// format.
var ErrNoPatch = errors.New("this is no patch that this version of Godwit knows")

// ReadHeader reads the header of a patch and no more of r.
func ReadHeader(r io.Reader) (Header, error) {
	f := field{r: r}
	var h Header
	m0, m1, kind, flags := f.byte(), f.byte(), f.byte(), f.byte()
	if f.err == nil && (m0 != magic[0] || m1 != magic[1] || kind>>4 != version || flags&^flagsKnown != 0) {
		return h, ErrNoPatch
	}
	h.Method, h.Tier = Method(kind>>2&3), Tier(kind&3)
	h.ReadBack = flags&flagReadBack != 0
	h.OldSize = f.size()
	f.bytes(h.OldSum[:])
	h.NewSize, h.NewSum = h.OldSize, h.OldSum
	if h.Method != Same {
		h.NewSize = f.size()
		f.bytes(h.NewSum[:])
	}
	if flags&flagInPlace != 0 {
		h.Slack, h.Block = f.size(), f.size()
		if f.err == nil && h.Block == 0 {
			return h, ErrNoPatch
		}
	}
	if h.Method == Modelled {
		h.Recipe.read(&f)
	}
	if f.err != nil {
		return h, f.err
	}
	if h.Method > Same || h.Tier.Memory() == 0 {
		return h, ErrNoPatch
	}
	return h, nil
}

// A field reads the parts of a header one after the other; after the first error
// all are zero.
type field struct {
	r   io.Reader
	err error
	one [1]byte
}

func (f *field) bytes(p []byte) {
	if f.err != nil {
		return
	}
	if _, err := io.ReadFull(f.r, p); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		f.err = err
		clear(p)
	}
}

func (f *field) byte() byte {
	f.bytes(f.one[:])
	return f.one[0]
}

func (f *field) varint() uint64 {
	var v uint64
	for shift := 0; ; shift += 7 {
		b := f.byte()
		if f.err != nil {
			return 0
		}
		if shift > 56 {
			f.err = ErrNoPatch
			return 0
		}
		v |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return v
		}
	}
}

// size reads a number of bytes.
func (f *field) size() int64 {
	v := f.varint()
	if v > maxSize {
		f.err = ErrNoPatch
		return 0
	}
	return int64(v)
}

func appendVarint(b []byte, v uint64) []byte {
	for ; v >= 0x80; v >>= 7 {
		b = append(b, byte(v)|0x80)
	}
	return append(b, byte(v))
}
