package delta

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"strconv"

	"github.com/godwit-ota/godwit/delta/model"
)

// A Tier is how much memory a decoder takes, everything included that it is given
// or allocates.
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

// Memory is all that a decoder of the tier takes, in bytes: Buffer, the Decoder
// itself and the state of its sum. It is 0 for a tier that does not exist.
func (t Tier) Memory() int {
	if int(t) < len(tiers) {
		return tiers[t].memory
	}
	return 0
}

// Buffer is how much of Memory is the buffer that NewDecoder is given, in bytes.
func (t Tier) Buffer() int {
	if t.Memory() == 0 {
		return 0
	}
	return model.Memory(int(t))
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
type Sum [4]byte

// SumOf is the Sum of what a SHA-256 hash gave.
func SumOf(sha [sha256.Size]byte) Sum { return Sum(sha[:4]) }

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
	// Code is set where the contents are programs, or like them, and Recipe is then
	// what is known of the addresses in the old one.
	Code   bool
	Recipe model.Recipe
}

// Bounds of a header. Nothing is allocated for what it declares.
const (
	version   = 1
	maxSize   = 1 << 40
	maxRecipe = 200 // bytes
	maxHeader = 255 // bytes
)

var magic = [2]byte{0xD9, 'G'}

const (
	flagReadBack = 1 << iota
	flagInPlace
)

// Append writes the header.
func (h *Header) Append(b []byte) []byte {
	kind := version<<6 | byte(h.Method)<<4 | byte(h.Tier)<<2
	if h.ReadBack {
		kind |= flagReadBack
	}
	if h.Block > 0 {
		kind |= flagInPlace
	}
	b = append(b, magic[0], magic[1], kind)
	b = appendVarint(b, uint64(h.OldSize))
	b = append(b, h.OldSum[:]...)
	if h.Method != Same {
		d := h.NewSize - h.OldSize
		b = appendVarint(b, uint64(d<<1^d>>63))
		b = append(b, h.NewSum[:]...)
	}
	if h.Block > 0 {
		b = appendVarint(b, uint64(h.Slack))
		b = appendVarint(b, uint64(h.Block))
	}
	if h.Method == Modelled {
		var mem [maxRecipe]byte
		r := mem[:0]
		if h.Code {
			r = h.Recipe.Append(r)
		}
		b = appendVarint(b, uint64(len(r)))
		b = append(b, r...)
	}
	return b
}

// ErrNoPatch says that something is no patch, or of a later version of the
// format.
var ErrNoPatch = errors.New("this is no patch that this version of Godwit knows")

// ReadHeader reads the header of a patch and no more of r.
func ReadHeader(r io.Reader) (Header, error) { return readHeader(r, make([]byte, maxRecipe)) }

// readHeader reads a header by way of buf, of maxRecipe bytes.
func readHeader(r io.Reader, buf []byte) (h Header, err error) {
	f := field{r: r, buf: buf}
	m0, m1, kind := f.byte(), f.byte(), f.byte()
	if f.err == nil && (m0 != magic[0] || m1 != magic[1] || kind>>6 != version) {
		return h, ErrNoPatch
	}
	h.Method, h.Tier = Method(kind>>4&3), Tier(kind>>2&3)
	h.ReadBack = kind&flagReadBack != 0
	h.OldSize = f.size()
	h.OldSum = f.sum()
	h.NewSize, h.NewSum = h.OldSize, h.OldSum
	if h.Method != Same {
		d := int64(f.varint())
		h.NewSize += int64(uint64(d)>>1) ^ -(d & 1)
		h.NewSum = f.sum()
		if h.NewSize < 0 || h.NewSize > maxSize {
			f.fail()
		}
	}
	if kind&flagInPlace != 0 {
		if h.Slack, h.Block = f.size(), f.size(); h.Block == 0 {
			f.fail()
		}
	}
	if h.Method == Modelled {
		f.recipe(&h)
	}
	if h.Method > Modelled && h.Method != Same || h.Tier.Memory() == 0 {
		f.fail()
	}
	return h, f.err
}

// A field reads the parts of a header one after the other; after the first error
// all are zero.
type field struct {
	r   io.Reader
	buf []byte // what is read goes by here, so that nothing has to be allocated
	err error
}

// bytes are the next n ones, until bytes is called again.
func (f *field) bytes(n int) []byte {
	p := f.buf[:n]
	if f.err == nil {
		_, f.err = io.ReadFull(f.r, p)
		if f.err == io.EOF {
			f.err = io.ErrUnexpectedEOF
		}
	}
	if f.err != nil {
		clear(p)
	}
	return p
}

func (f *field) byte() byte { return f.bytes(1)[0] }

func (f *field) sum() Sum { return Sum(f.bytes(len(Sum{}))) }

// fail ends reading with ErrNoPatch, unless something was wrong before.
func (f *field) fail() {
	if f.err == nil {
		f.err = ErrNoPatch
	}
}

// recipe reads a recipe, behind its length, which is 0 for texts.
func (f *field) recipe(h *Header) {
	n := f.varint()
	if n == 0 || f.err != nil {
		return
	}
	if n > maxRecipe {
		f.fail()
		return
	}
	b := f.bytes(int(n))
	if f.err != nil {
		return
	}
	h.Code = true
	// A header is written in one way only: that says where the code begins.
	var again [maxRecipe]byte
	if rest, err := h.Recipe.Read(b); err != nil || len(rest) > 0 || !bytes.Equal(h.Recipe.Append(again[:0]), b) {
		f.fail()
	}
}

// varint reads a number, seven bits a byte, the lowest first, in as few bytes as
// it takes.
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
		if b == 0 && shift > 0 {
			f.fail()
			return 0
		}
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
