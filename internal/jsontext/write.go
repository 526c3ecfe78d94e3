package jsontext

import (
	"math"
	"strconv"
	"unicode/utf8"
)

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
