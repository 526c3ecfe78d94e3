// Package jsontext reads and writes JSON (RFC 8259) without reflection. Parse
// and Append are for small documents: configuration files, answers of a few kB,
// lines of output. A Reader walks through documents of any length in a fixed
// amount of memory. What a document means is left to its users.
//
// The standard library's encoding/json would cost a device 300 kB of program
// and gives no line numbers; tests hold this package against it.
//
// Invariant: what Parse and a Reader accept to its end is JSON, and what Append
// writes is JSON, on one line.
package jsontext

import (
	"bytes"
	"io"
	"strconv"
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

	// These two a Reader gives; no Value has them.
	Name // of a member; its value follows
	End  // of an Array or Object
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
	r := NewReader(bytes.NewReader(b), Limits{Text: max(len(b), 1)})
	v, err := r.Value(0)
	if err == nil {
		_, err = r.Next()
	}
	if err != io.EOF {
		return Value{}, err
	}
	return v, nil
}
