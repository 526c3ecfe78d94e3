package config

import (
	"bytes"
	"strconv"
	"unicode/utf8"
)

// kind is the type that a format gave a value.
type kind uint8

const (
	kindTable kind = iota
	kindList
	kindString
	kindInt
	kindFloat
	kindBool
	kindNull
	kindTime
)

// String names the kind as messages do.
func (k kind) String() string {
	return [...]string{"a table", "a list", "a string", "a whole number", "a number with a fraction", "true or false", "nothing", "a date or time"}[k]
}

// A node is a value as all three formats give it.
type node struct {
	kind kind
	line int
	text string // scalars: strings without their quotes, numbers as written
	keys []pair // tables, in the file's order
	list []*node
}

type pair struct {
	name  string
	line  int
	value *node
}

func (n *node) get(name string) *node {
	for _, p := range n.keys {
		if p.name == name {
			return p.value
		}
	}
	return nil
}

// add puts a key into the table n. The same key twice is an error, whatever the
// format thinks of it: one of the two would be lost.
func (n *node) add(name string, line int, v *node) error {
	for _, p := range n.keys {
		if p.name == name {
			m := "the key " + strconv.Quote(name) + " is there twice"
			if p.line > 0 {
				m += ", first on line " + strconv.Itoa(p.line)
			}
			return &syntaxError{line, m}
		}
	}
	n.keys = append(n.keys, pair{name, line, v})
	return nil
}

// A syntaxError is a file that is not in its format.
type syntaxError struct {
	line int // 0 if unknown
	text string
}

func (e *syntaxError) Error() string { return e.text }

// maxDepth is how deep lists and tables may be nested. Two levels have a use.
const maxDepth = 16

func validText(b []byte) bool { return utf8.Valid(b) && bytes.IndexByte(b, 0) < 0 }
