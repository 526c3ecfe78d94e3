package jsontext

import (
	"io"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// Limits bound what a Reader takes. A zero field means the default.
type Limits struct {
	Bytes int64 // of the whole document; default: any number
	Text  int   // of one string or number, decoded; default 64 KiB
	// Surrogates keeps halves of surrogate pairs that stand alone, such as
	// "\ud800", in the three bytes that UTF-8 would have for them (WTF-8), as
	// Python does. Otherwise they become U+FFFD.
	Surrogates bool
}

// A LimitError is a document that is longer than its reader takes.
type LimitError struct {
	Line int
	Text string
}

func (e *LimitError) Error() string { return e.Text }

// readerBuffer is how much a Reader reads at a time.
const readerBuffer = 4096

// A Reader takes a document apart, one token at a time. It holds one buffer of
// 4 KiB and one string; arrays and objects may have any number of entries.
type Reader struct {
	src    io.Reader
	limits Limits
	buf    []byte // read and not yet used
	room   []byte
	srcErr error // what the source said after buf
	offset int64 // of buf in the document
	line   int

	state state
	stack uint64 // a bit for each open Array (0) or Object (1); the lowest is the innermost
	depth int
	err   error

	kind  Kind // of the last token
	at    int64
	start int // line of the last token
	text  []byte
}

type state uint8

const (
	wantValue  state = iota
	firstValue       // of an array, which may be empty
	firstName        // of an object, which may be empty
	wantName
	wantComma // or the end of what is open
)

// NewReader returns a Reader of one document. It may read further than to the
// document's end.
func NewReader(src io.Reader, l Limits) *Reader {
	if l.Text <= 0 {
		l.Text = 64 << 10
	}
	return &Reader{src: src, limits: l, line: 1, start: 1}
}

// Reset makes r read a new document with the same limits, in the same memory.
func (r *Reader) Reset(src io.Reader) {
	*r = Reader{src: src, limits: r.limits, room: r.room, text: r.text[:0], line: 1, start: 1}
}

// Next reads the next token and says what it is. Null, Bool, Number and String
// are whole values. Array and Object are the beginnings of such, which End
// ends; Name is the name of a member of an Object and comes before its value.
//
// After the document and whatever space follows it comes io.EOF. Other errors
// are *SyntaxError, *LimitError, or what the source said; they stay.
func (r *Reader) Next() (Kind, error) {
	if r.err != nil {
		return Null, r.err
	}
	k, err := r.next()
	if err != nil {
		r.err = err
		return Null, err
	}
	r.kind = k
	return k, nil
}

// Text is the text of the last token: the decoded Name or String, a Number as
// it was written, "true" or "false". It is valid until the next call of Next.
func (r *Reader) Text() []byte { return r.text }

// Offset is where the last token begins in the document, in bytes.
func (r *Reader) Offset() int64 { return r.at }

// Position is how many bytes of the document were used so far: where the last
// token ends.
func (r *Reader) Position() int64 { return r.offset }

// Line is the line in which the last token begins, from 1.
func (r *Reader) Line() int { return r.start }

// Depth is how many Arrays and Objects are open.
func (r *Reader) Depth() int { return r.depth }

// Skip passes over the rest of the value that the last token begins: after a
// Name its value, after Array or Object everything to their End. After other
// tokens there is nothing to pass over.
func (r *Reader) Skip() error {
	k, err := r.begin()
	if err != nil || k != Array && k != Object {
		return err
	}
	for depth := r.depth; r.depth >= depth; {
		if _, err := r.Next(); err != nil {
			return err
		}
	}
	return nil
}

// begin steps from a Name to its value.
func (r *Reader) begin() (Kind, error) {
	if r.kind == Name {
		return r.Next()
	}
	return r.kind, r.err
}

// Value reads a whole value into memory: after a Name its value, after Array or
// Object what they begin, and before the first token the whole document. It
// fails with a *LimitError when the value is longer than max bytes, unless max
// is 0.
func (r *Reader) Value(max int64) (Value, error) {
	k, err := r.begin()
	if r.offset == 0 && err == nil {
		k, err = r.Next()
	}
	if err != nil {
		return Value{}, err
	}
	if max > 0 {
		max += r.at
	}
	return r.value(k, max)
}

func (r *Reader) value(k Kind, end int64) (Value, error) {
	v := Value{Kind: k, Line: r.start}
	switch k {
	case Bool, Number, String:
		v.Text = string(r.text)
	case Array, Object:
		for {
			k, err := r.Next()
			if err != nil || k == End {
				return v, err
			}
			if end > 0 && r.offset > end {
				return v, r.tooLong("a value is larger than it may be")
			}
			m := Member{Line: r.start}
			if k == Name {
				m.Name = string(r.text)
				if k, err = r.Next(); err != nil {
					return v, err
				}
			}
			if m.Value, err = r.value(k, end); err != nil {
				return v, err
			}
			if v.Kind == Object {
				v.Members = append(v.Members, m)
			} else {
				v.List = append(v.List, m.Value)
			}
		}
	}
	return v, nil
}

func (r *Reader) next() (Kind, error) {
	c := r.space()
	if r.state == wantComma {
		if r.depth == 0 {
			if c != 0 || r.fill(1) {
				return Null, r.fail("there is something after its end")
			}
			return Null, r.ended(io.EOF)
		}
		object := r.stack&1 == 1
		switch {
		case c == ',':
			r.use(1)
			c = r.space()
			r.state = wantValue
			if object {
				r.state = wantName
			}
		case object && c == '}' || !object && c == ']':
			return r.close()
		case object:
			return Null, r.unexpected("',' or '}'")
		default:
			return Null, r.unexpected("',' or ']'")
		}
	}
	r.at, r.start = r.offset, r.line
	switch {
	case r.state == firstName && c == '}', r.state == firstValue && c == ']':
		return r.close()
	case r.state == firstName, r.state == wantName:
		if c != '"' {
			return Null, r.unexpected("a name in quotes")
		}
		if err := r.string(); err != nil {
			return Null, err
		}
		if r.space() != ':' {
			return Null, r.unexpected("':'")
		}
		r.use(1)
		r.state = wantValue
		return Name, nil
	}
	r.state = wantComma
	switch {
	case c == '{':
		return Object, r.open(1, firstName)
	case c == '[':
		return Array, r.open(0, firstValue)
	case c == '"':
		return String, r.string()
	case c == '-' || c >= '0' && c <= '9':
		return Number, r.number()
	case r.word("true"), r.word("false"):
		return Bool, nil
	case r.word("null"):
		r.text = r.text[:0]
		return Null, nil
	}
	return Null, r.ended(r.unexpected("a value")) // a word that was cut off
}

// word uses up a word if it stands here.
func (r *Reader) word(w string) bool {
	if !r.fill(len(w)) || string(r.buf[:len(w)]) != w {
		return false
	}
	r.text = append(r.text[:0], w...)
	r.use(len(w))
	return true
}

func (r *Reader) open(kind uint64, s state) error {
	if r.depth == MaxDepth {
		return r.fail("it is nested too deep")
	}
	r.use(1)
	r.stack = r.stack<<1 | kind
	r.depth++
	r.state = s
	return nil
}

func (r *Reader) close() (Kind, error) {
	r.at, r.start = r.offset, r.line
	r.use(1)
	r.stack >>= 1
	r.depth--
	r.state = wantComma
	return End, nil
}

// fill brings at least n bytes into buf and reports whether they are there.
func (r *Reader) fill(n int) bool {
	if len(r.buf) >= n {
		return true
	}
	if r.room == nil {
		r.room = make([]byte, readerBuffer)
	}
	r.buf = r.room[:copy(r.room, r.buf)]
	for tries := 0; len(r.buf) < n && r.srcErr == nil; tries++ {
		m, err := r.src.Read(r.room[len(r.buf):])
		r.buf = r.room[:len(r.buf)+m]
		if r.srcErr = err; m > 0 {
			tries = 0
		} else if tries == 100 {
			r.srcErr = io.ErrNoProgress
		}
		if l := r.limits.Bytes; l > 0 && r.offset+int64(len(r.buf)) > l {
			r.buf = r.buf[:l-r.offset]
			r.srcErr = r.tooLong("it is larger than " + strconv.FormatInt(l, 10) + " bytes")
		}
	}
	return len(r.buf) >= n
}

// use passes over n bytes of buf.
func (r *Reader) use(n int) {
	r.buf = r.buf[n:]
	r.offset += int64(n)
}

// space passes over white space and returns the byte behind it, 0 at the end.
func (r *Reader) space() byte {
	for r.fill(1) {
		switch c := r.buf[0]; c {
		case '\n':
			r.line++
		case ' ', '\t', '\r':
		default:
			return c
		}
		r.use(1)
	}
	return 0
}

func (r *Reader) fail(text string) error { return &SyntaxError{r.line, text} }

func (r *Reader) tooLong(text string) error { return &LimitError{r.line, text} }

// ended is the error where the source has no more: its own, or err.
func (r *Reader) ended(err error) error {
	if r.srcErr != nil && r.srcErr != io.EOF {
		return r.srcErr
	}
	return err
}

// unexpected says what stands where something else should.
func (r *Reader) unexpected(wanted string) error {
	if !r.fill(1) {
		return r.ended(r.fail("it ends too early"))
	}
	r.fill(utf8.UTFMax)
	c, n := utf8.DecodeRune(r.buf)
	if c == utf8.RuneError && n == 1 {
		return r.notUTF8()
	}
	return r.fail("there is " + strconv.QuoteRune(c) + " instead of " + wanted)
}

func (r *Reader) notUTF8() error { return r.fail("this is not UTF-8 text") }

// take moves n bytes of buf to the token's text.
func (r *Reader) take(n int) error {
	if len(r.text)+n > r.limits.Text {
		return r.tooLong("a string or number is longer than " + strconv.Itoa(r.limits.Text) + " bytes")
	}
	r.text = append(r.text, r.buf[:n]...)
	r.use(n)
	return nil
}

func (r *Reader) number() error {
	r.text = r.text[:0]
	at := func(chars string) bool {
		if r.fill(1) {
			for i := range len(chars) {
				if r.buf[0] == chars[i] {
					return true
				}
			}
		}
		return false
	}
	digits := func() error {
		if !at("0123456789") {
			return r.unexpected("a digit")
		}
		for at("0123456789") {
			if err := r.take(1); err != nil {
				return err
			}
		}
		return nil
	}
	var err error
	if at("-") {
		err = r.take(1)
	}
	if err == nil && at("0") {
		err = r.take(1)
	} else if err == nil {
		err = digits()
	}
	if err == nil && at(".") {
		if err = r.take(1); err == nil {
			err = digits()
		}
	}
	if err == nil && at("eE") {
		if err = r.take(1); err == nil && at("+-") {
			err = r.take(1)
		}
		if err == nil {
			err = digits()
		}
	}
	return err
}

// string reads a string from its first quote.
func (r *Reader) string() error {
	r.use(1)
	r.text = r.text[:0]
	valid := 0 // text up to here is UTF-8, or came from escapes
	for {
		if !r.fill(1) {
			return r.ended(r.fail("it ends too early"))
		}
		n := 0
		for n < len(r.buf) && r.buf[n] != '"' && r.buf[n] != '\\' && r.buf[n] >= ' ' {
			n++
		}
		if err := r.take(n); err != nil {
			return err
		}
		if len(r.buf) == 0 {
			continue
		}
		if !utf8.Valid(r.text[valid:]) {
			return r.notUTF8()
		}
		switch r.buf[0] {
		case '"':
			r.use(1)
			return nil
		case '\\':
			c, err := r.escape()
			if err != nil {
				return err
			}
			if utf16.IsSurrogate(c) && r.limits.Surrogates {
				r.text = append(r.text, 0xe0|byte(c>>12), 0x80|byte(c>>6)&0x3f, 0x80|byte(c)&0x3f)
			} else {
				r.text = utf8.AppendRune(r.text, c) // U+FFFD for half a pair
			}
			if err := r.take(0); err != nil {
				return err
			}
			valid = len(r.text)
		default:
			return r.fail("a string holds a control character or a line end")
		}
	}
}

// escape reads one escape, or two that are a pair of surrogates. The rune may
// be one of them that stands alone.
func (r *Reader) escape() (rune, error) {
	if !r.fill(2) {
		return 0, r.ended(r.fail("it ends too early"))
	}
	c := r.buf[1]
	switch c {
	case '"', '\\', '/':
	case 'b':
		c = '\b'
	case 'f':
		c = '\f'
	case 'n':
		c = '\n'
	case 'r':
		c = '\r'
	case 't':
		c = '\t'
	case 'u':
		first, ok := r.hex(0)
		if !ok {
			return 0, r.ended(r.fail("a string holds an escape that is none"))
		}
		if utf16.IsSurrogate(first) {
			if second, ok := r.hex(6); ok {
				if pair := utf16.DecodeRune(first, second); pair != utf8.RuneError {
					r.use(12)
					return pair, nil
				}
			}
		}
		r.use(6)
		return first, nil
	default:
		return 0, r.fail("a string holds an escape that is none")
	}
	r.use(2)
	return rune(c), nil
}

// hex reads the escape \uXXXX that begins at buf[i], if there is one.
func (r *Reader) hex(i int) (rune, bool) {
	if !r.fill(i+6) || r.buf[i] != '\\' || r.buf[i+1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(string(r.buf[i+2:i+6]), 16, 16)
	return rune(n), err == nil
}
