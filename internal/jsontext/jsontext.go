// Package jsontext reads and writes JSON (RFC 8259) without reflection. It is
// for small documents: configuration files, answers of a few kB, lines of
// output. What a document means is left to its users.
//
// The standard library's encoding/json would cost a device 300 kB of program
// and gives no line numbers; tests hold this package against it.
//
// Invariant: what Parse accepts is JSON and what Append writes is JSON, on one
// line.
package jsontext

import (
	"math"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// MaxDepth is how deep arrays and objects may be nested.
const MaxDepth = 64

// Kind is the type of a Value.
type Kind uint8

// The kinds.
const (
	Null Kind = iota
	Bool
	Number
	String
	Array
	Object
)

// A Value is a parsed JSON value.
type Value struct {
	Kind    Kind
	Line    int      // of its first byte, from 1
	Text    string   // String: the text; Number: as written; Bool: "true" or "false"
	List    []Value  // Array
	Members []Member // Object, in the document's order; names may repeat
}

// A Member is one entry of an object.
type Member struct {
	Name  string
	Line  int
	Value Value
}

// Get returns the last member called name, Null if there is none.
func (v Value) Get(name string) Value {
	for i := len(v.Members) - 1; i >= 0; i-- {
		if v.Members[i].Name == name {
			return v.Members[i].Value
		}
	}
	return Value{}
}

// Int returns a Number that is an integer and fits.
func (v Value) Int() (int64, bool) {
	if v.Kind != Number {
		return 0, false
	}
	n, err := strconv.ParseInt(v.Text, 10, 64)
	return n, err == nil
}

// A SyntaxError is a text that is not JSON.
type SyntaxError struct {
	Line int // where it stops being JSON, from 1
	Text string
}

func (e *SyntaxError) Error() string { return e.Text }

// Parse reads one value and nothing after it. The text must be UTF-8. Errors
// are of type *SyntaxError.
func Parse(b []byte) (Value, error) {
	p := parser{b: b, line: 1}
	if !utf8.Valid(b) {
		return Value{}, &SyntaxError{1, "this is not UTF-8 text"}
	}
	v, err := p.value(0)
	if err == nil {
		if p.space(); p.i < len(b) {
			err = p.fail("there is something after its end")
		}
	}
	if err != nil {
		return Value{}, err
	}
	return v, nil
}

type parser struct {
	b    []byte
	i    int
	line int
}

func (p *parser) fail(text string) error { return &SyntaxError{p.line, text} }

// unexpected says what stands where something else should.
func (p *parser) unexpected(wanted string) error {
	if p.i >= len(p.b) {
		return p.fail("it ends too early")
	}
	r, _ := utf8.DecodeRune(p.b[p.i:])
	return p.fail("there is " + strconv.QuoteRune(r) + " instead of " + wanted)
}

func (p *parser) space() {
	for ; p.i < len(p.b); p.i++ {
		switch p.b[p.i] {
		case '\n':
			p.line++
		case ' ', '\t', '\r':
		default:
			return
		}
	}
}

// next skips space and returns the byte there, 0 at the end.
func (p *parser) next() byte {
	p.space()
	if p.i < len(p.b) {
		return p.b[p.i]
	}
	return 0
}

func (p *parser) value(depth int) (Value, error) {
	if depth > MaxDepth {
		return Value{}, p.fail("it is nested too deep")
	}
	c := p.next()
	v := Value{Line: p.line}
	var err error
	switch {
	case c == '{':
		v.Kind = Object
		err = p.items('}', func() error {
			if p.next() != '"' {
				return p.unexpected("a name in quotes")
			}
			m := Member{Line: p.line}
			var err error
			if m.Name, err = p.text(); err != nil {
				return err
			}
			if p.next() != ':' {
				return p.unexpected("':'")
			}
			p.i++
			m.Value, err = p.value(depth + 1)
			v.Members = append(v.Members, m)
			return err
		})
	case c == '[':
		v.Kind = Array
		err = p.items(']', func() error {
			e, err := p.value(depth + 1)
			v.List = append(v.List, e)
			return err
		})
	case c == '"':
		v.Kind = String
		v.Text, err = p.text()
	case c == '-' || c >= '0' && c <= '9':
		v.Kind = Number
		v.Text, err = p.number()
	default:
		for _, w := range []struct {
			text string
			kind Kind
		}{{"true", Bool}, {"false", Bool}, {"null", Null}} {
			if end := p.i + len(w.text); end <= len(p.b) && string(p.b[p.i:end]) == w.text {
				v.Kind, p.i = w.kind, end
				if w.kind == Bool {
					v.Text = w.text
				}
				return v, nil
			}
		}
		err = p.unexpected("a value")
	}
	return v, err
}

// items reads what stands between brackets, separated by commas.
func (p *parser) items(end byte, item func() error) error {
	p.i++
	if p.next() == end {
		p.i++
		return nil
	}
	for {
		if err := item(); err != nil {
			return err
		}
		switch p.next() {
		case ',':
			p.i++
		case end:
			p.i++
			return nil
		default:
			return p.unexpected("',' or " + strconv.QuoteRune(rune(end)))
		}
	}
}

func (p *parser) digits() bool {
	start := p.i
	for p.i < len(p.b) && p.b[p.i] >= '0' && p.b[p.i] <= '9' {
		p.i++
	}
	return p.i > start
}

func (p *parser) number() (string, error) {
	start := p.i
	if p.b[p.i] == '-' {
		p.i++
	}
	at := func(c byte) bool { return p.i < len(p.b) && p.b[p.i] == c }
	if at('0') {
		p.i++
	} else if !p.digits() {
		return "", p.unexpected("a digit")
	}
	if at('.') {
		p.i++
		if !p.digits() {
			return "", p.unexpected("a digit")
		}
	}
	if at('e') || at('E') {
		p.i++
		if at('+') || at('-') {
			p.i++
		}
		if !p.digits() {
			return "", p.unexpected("a digit")
		}
	}
	return string(p.b[start:p.i]), nil
}

// text reads a string; a surrogate without its other half becomes U+FFFD.
func (p *parser) text() (string, error) {
	p.i++
	start := p.i
	for p.i < len(p.b) && p.b[p.i] != '"' && p.b[p.i] != '\\' && p.b[p.i] >= ' ' {
		p.i++
	}
	out := append([]byte(nil), p.b[start:p.i]...)
	for {
		if p.i >= len(p.b) {
			return "", p.fail("it ends too early")
		}
		switch c := p.b[p.i]; {
		case c == '"':
			p.i++
			return string(out), nil
		case c < ' ':
			return "", p.fail("a string holds a control character or a line end")
		case c != '\\':
			out = append(out, c)
			p.i++
		default:
			r, err := p.escape()
			if err != nil {
				return "", err
			}
			if utf16.IsSurrogate(r) {
				second := rune(utf8.RuneError)
				if rest := p.b[p.i:]; len(rest) >= 6 && rest[0] == '\\' && rest[1] == 'u' {
					if n, err := strconv.ParseUint(string(rest[2:6]), 16, 16); err == nil {
						second = utf16.DecodeRune(r, rune(n))
					}
				}
				if r = second; r != utf8.RuneError {
					p.i += 6
				}
			}
			out = utf8.AppendRune(out, r)
		}
	}
}

func (p *parser) escape() (rune, error) {
	p.i++
	if p.i >= len(p.b) {
		return 0, p.fail("it ends too early")
	}
	c := p.b[p.i]
	p.i++
	switch c {
	case '"', '\\', '/':
		return rune(c), nil
	case 'b':
		return '\b', nil
	case 'f':
		return '\f', nil
	case 'n':
		return '\n', nil
	case 'r':
		return '\r', nil
	case 't':
		return '\t', nil
	case 'u':
		if p.i+4 <= len(p.b) {
			if n, err := strconv.ParseUint(string(p.b[p.i:p.i+4]), 16, 16); err == nil {
				p.i += 4
				return rune(n), nil
			}
		}
	}
	return 0, p.fail("a string holds an escape that is none")
}

// A Field is one member of an object to write.
type Field struct {
	Name  string
	Value any
}

// Fields is an object to write, in this order.
type Fields []Field

// With returns f with one more member, unless v is the zero value of its type.
func (f Fields) With(name string, v any) Fields {
	switch v := v.(type) {
	case string:
		if v == "" {
			return f
		}
	case int64:
		if v == 0 {
			return f
		}
	case bool:
		if !v {
			return f
		}
	case []Fields:
		if len(v) == 0 {
			return f
		}
	}
	return append(f, Field{name, v})
}

// Append appends v as JSON to b: nil, a bool, a string, an int, an int64, a
// float64, Fields, []Fields or []string. It panics for other types. Bytes of
// strings that are not UTF-8 become U+FFFD; nil Fields are null.
func Append(b []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, "null"...)
	case bool:
		return strconv.AppendBool(b, v)
	case int:
		return strconv.AppendInt(b, int64(v), 10)
	case int64:
		return strconv.AppendInt(b, v, 10)
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return append(b, "null"...)
		}
		return strconv.AppendFloat(b, v, 'f', -1, 64)
	case string:
		return appendString(b, v)
	case []string:
		return appendList(b, v, appendString)
	case []Fields:
		return appendList(b, v, appendFields)
	case Fields:
		return appendFields(b, v)
	}
	panic("jsontext: a value of a type that it does not write")
}

func appendFields(b []byte, f Fields) []byte {
	if f == nil {
		return append(b, "null"...)
	}
	b = append(b, '{')
	for i, m := range f {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendString(b, m.Name), ':')
		b = Append(b, m.Value)
	}
	return append(b, '}')
}

func appendList[T any](b []byte, list []T, one func([]byte, T) []byte) []byte {
	b = append(b, '[')
	for i, v := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = one(b, v)
	}
	return append(b, ']')
}

func appendString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for _, r := range s { // gives U+FFFD for what is not UTF-8
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r == '\n':
			b = append(b, '\\', 'n')
		case r == '\r':
			b = append(b, '\\', 'r')
		case r == '\t':
			b = append(b, '\\', 't')
		case r < ' ' || r == 0x7f:
			b = append(b, '\\', 'u', '0', '0', hex[r>>4], hex[r&15])
		case r == 0x2028 || r == 0x2029: // line ends to some readers
			b = append(b, '\\', 'u', '2', '0', '2', hex[r&15])
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return append(b, '"')
}
