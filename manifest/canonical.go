package manifest

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"math"
	"sort"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/internal/jsontext"
)

// maxValue is how long the canonical form of a member of the document may be,
// or of one element if the member is a list: objects are sorted in memory.
const maxValue = 256 << 10

// CheckHMAC checks the signature within a manifest: HMAC-SHA256 over its
// canonical form, the document without the member "signature" as Python writes
// it with json.dumps(…, sort_keys=True, separators=(",", ":")). The error is
// CodeUnsigned when there is no signature and CodeBadSignature when it is not
// that of key.
func CheckHMAC(r io.ReaderAt, size int64, key []byte) error {
	members, err := locate(r, size)
	if err != nil {
		return err
	}
	have := ""
	for _, m := range members {
		have += m.text
	}
	if have == "" {
		return godwit.Fail(godwit.CodeUnsigned, nil, "the manifest is not signed", "sign it with `godwit manifest --key`, with the same key as this device has")
	}
	sum, err := macOf(r, members, key)
	if err != nil {
		return err
	}
	if !hmac.Equal([]byte(hex.EncodeToString(sum)), []byte(have)) {
		return godwit.Fail(godwit.CodeBadSignature, nil, "the manifest's signature is not made with this device's key, or the manifest was changed afterwards", "sign it with the key that this device has")
	}
	return nil
}

// HMAC computes the signature of a manifest, in hexadecimal. A signature that it
// already has does not count.
func HMAC(r io.ReaderAt, size int64, key []byte) (string, error) {
	members, err := locate(r, size)
	if err != nil {
		return "", err
	}
	sum, err := macOf(r, members, key)
	return hex.EncodeToString(sum), err
}

// Canonical writes the canonical form of a manifest, that HMAC is over, to w.
func Canonical(w io.Writer, r io.ReaderAt, size int64) error {
	members, err := locate(r, size)
	if err != nil {
		return err
	}
	return canonical(w, r, members)
}

const signature = "signature"

func macOf(r io.ReaderAt, members []member, key []byte) ([]byte, error) {
	mac := hmac.New(sha256.New, key)
	if err := canonical(mac, r, members); err != nil {
		return nil, err
	}
	return mac.Sum(nil), nil
}

// A member of the document lies between two offsets.
type member struct {
	name     string
	text     string // of the signature
	from, to int64
}

// locate finds the members of the document, in the order of their names' code
// points, which is the byte order of UTF-8.
func locate(r io.ReaderAt, size int64) ([]member, error) {
	d, err := open(r, size, math.MaxInt64, &manifestWords)
	if err != nil {
		return nil, err
	}
	var members []member
	for {
		name, k, err := d.member()
		if err != nil {
			return nil, err
		}
		if k == jsontext.End {
			break
		}
		m := member{name: name, from: d.Offset()}
		if name == signature && k != jsontext.Null {
			if m.text, err = d.word(name, k); err != nil {
				return nil, err
			}
		}
		if err := d.Skip(); err != nil {
			return nil, d.explain(err)
		}
		m.to = d.Position()
		members = append(members, m)
	}
	sort.Sort(inOrder{len(members), func(i int) string { return members[i].name }, func(i, j int) { members[i], members[j] = members[j], members[i] }})
	return members, nil
}

func canonical(w io.Writer, r io.ReaderAt, members []member) error {
	c := canonizer{w: w}
	c.put('{')
	first := true
	for _, m := range members {
		if m.name == signature {
			continue
		}
		if !first {
			c.put(',')
		}
		first = false
		c.name([]byte(m.name))
		c.in = jsontext.NewReader(io.NewSectionReader(r, m.from, m.to-m.from), readerLimits)
		if err := c.top(); err != nil {
			return manifestWords.explain(err)
		}
	}
	c.put('}')
	return c.flush()
}

// A canonizer writes values in canonical form. The elements of a list go out
// one by one, so that only one of them is in memory.
type canonizer struct {
	in      *jsontext.Reader
	w       io.Writer
	buf     []byte
	members []part // of the objects that are open
	order   byName
}

// A part is one member of an object in buf: its name, as it sorts, and what is
// written for it.
type part struct{ name, text, end int }

func (c *canonizer) put(b byte) { c.buf = append(c.buf, b) }

func (c *canonizer) name(s []byte) {
	c.buf = appendASCII(c.buf, s)
	c.put(':')
}

func (c *canonizer) flush() error {
	_, err := c.w.Write(c.buf)
	c.buf = c.buf[:0]
	return err
}

// top writes the value of a member of the document.
func (c *canonizer) top() error {
	k, err := c.in.Next()
	if err != nil {
		return err
	}
	if k != jsontext.Array {
		if err := c.value(k); err != nil {
			return err
		}
		return c.flush()
	}
	c.put('[')
	for n := 0; ; n++ {
		k, err := c.in.Next()
		if err != nil {
			return err
		}
		if k == jsontext.End {
			c.put(']')
			return c.flush()
		}
		if n > 0 {
			c.put(',')
		}
		if err := c.value(k); err != nil {
			return err
		}
		if err := c.flush(); err != nil {
			return err
		}
	}
}

func (c *canonizer) value(k jsontext.Kind) (err error) {
	switch k {
	case jsontext.Null:
		c.buf = append(c.buf, "null"...)
	case jsontext.Bool:
		c.buf = append(c.buf, c.in.Text()...)
	case jsontext.Number:
		c.buf, err = appendNumber(c.buf, string(c.in.Text()))
	case jsontext.String:
		c.buf = appendASCII(c.buf, c.in.Text())
	case jsontext.Array:
		c.put('[')
		for n := 0; ; n++ {
			if k, err = c.in.Next(); err != nil {
				return err
			}
			if k == jsontext.End {
				break
			}
			if n > 0 {
				c.put(',')
			}
			if err := c.value(k); err != nil {
				return err
			}
		}
		c.put(']')
	case jsontext.Object:
		return c.object()
	}
	return err
}

// object gathers the members of an object behind what is in buf, and puts them
// in order there.
func (c *canonizer) object() error {
	begin, first := len(c.buf), len(c.members)
	for {
		k, err := c.in.Next()
		if err != nil {
			return err
		}
		if k == jsontext.End {
			break
		}
		p := part{name: len(c.buf)}
		c.buf = append(c.buf, c.in.Text()...)
		p.text = len(c.buf)
		c.name(c.in.Text())
		if k, err = c.in.Next(); err != nil {
			return err
		}
		if err := c.value(k); err != nil {
			return err
		}
		if p.end = len(c.buf); p.end > maxValue {
			return godwit.Fail(godwit.CodeLimit, nil, "the manifest has an object that is too large to be put in order", "objects in a manifest may be "+strconv.Itoa(maxValue>>10)+" kB")
		}
		c.members = append(c.members, p)
	}
	parts := c.members[first:]
	c.order = byName{parts, c.buf}
	sort.Sort(&c.order)
	end := len(c.buf)
	c.put('{')
	for i, p := range parts {
		if i > 0 {
			if name := c.buf[p.name:p.text]; bytes.Equal(c.buf[parts[i-1].name:parts[i-1].text], name) {
				return manifestWords.fail(nil, strconv.QuoteToGraphic(string(name))+" appears twice in an object")
			}
			c.put(',')
		}
		c.buf = append(c.buf, c.buf[p.text:p.end]...)
	}
	c.put('}')
	c.buf = c.buf[:begin+copy(c.buf[begin:], c.buf[end:])]
	c.members = c.members[:first]
	return nil
}

// byName sorts parts of buf. It is at work for each file of a manifest, so it does
// not allocate.
type byName struct {
	parts []part
	buf   []byte
}

func (b *byName) Len() int      { return len(b.parts) }
func (b *byName) Swap(i, j int) { b.parts[i], b.parts[j] = b.parts[j], b.parts[i] }
func (b *byName) Less(i, j int) bool {
	p, q := b.parts[i], b.parts[j]
	return bytes.Compare(b.buf[p.name:p.text], b.buf[q.name:q.text]) < 0
}

// inOrder sorts anything by names.
type inOrder struct {
	n    int
	name func(i int) string
	swap func(i, j int)
}

func (o inOrder) Len() int           { return o.n }
func (o inOrder) Less(i, j int) bool { return o.name(i) < o.name(j) }
func (o inOrder) Swap(i, j int)      { o.swap(i, j) }

// appendASCII appends a string as Python's json.dumps writes it. s is UTF-8, in
// which halves of surrogate pairs may stand alone (WTF-8).
func appendASCII(b, s []byte) []byte {
	const digits = "0123456789abcdef"
	unit := func(c rune) {
		b = append(b, '\\', 'u', digits[c>>12&15], digits[c>>8&15], digits[c>>4&15], digits[c&15])
	}
	b = append(b, '"')
	for len(s) > 0 {
		c, n := utf8.DecodeRune(s)
		if c == utf8.RuneError && n == 1 && len(s) >= 3 {
			c, n = rune(s[0]&0x0f)<<12|rune(s[1]&0x3f)<<6|rune(s[2]&0x3f), 3
		}
		s = s[n:]
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', byte(c))
		case c >= ' ' && c <= '~':
			b = append(b, byte(c))
		case c == '\n':
			b = append(b, '\\', 'n')
		case c == '\r':
			b = append(b, '\\', 'r')
		case c == '\t':
			b = append(b, '\\', 't')
		case c == '\f':
			b = append(b, '\\', 'f')
		case c == '\b':
			b = append(b, '\\', 'b')
		case c > 0xffff:
			high, low := utf16.EncodeRune(c)
			unit(high)
			unit(low)
		default:
			unit(c)
		}
	}
	return append(b, '"')
}

// appendNumber appends a number as Python writes it after having read it: an
// int digit by digit, anything else as the shortest float64 that reads back the
// same, with an exponent from 1e16 up and below 1e-4 (repr of float).
func appendNumber(b []byte, text string) ([]byte, error) {
	whole := true
	for i := range len(text) {
		if c := text[i]; c == '.' || c == 'e' || c == 'E' {
			whole = false
		}
	}
	if whole {
		switch {
		case text == "-0":
			text = "0"
		case len(text) > 4300: // where Python refuses, too
			return b, manifestWords.fail(nil, "it has a number of more than 4300 digits")
		}
		return append(b, text...), nil
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return b, manifestWords.fail(nil, "it has a number that is too large, "+strconv.Quote(text[:min(len(text), 40)]))
	}
	if a := math.Abs(f); a != 0 && (a < 1e-4 || a >= 1e16) {
		return strconv.AppendFloat(b, f, 'e', -1, 64), nil
	}
	begin := len(b)
	b = strconv.AppendFloat(b, f, 'f', -1, 64)
	if bytes.IndexByte(b[begin:], '.') < 0 {
		b = append(b, ".0"...)
	}
	return b, nil
}
