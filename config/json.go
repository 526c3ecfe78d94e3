package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"unicode/utf8"
)

// parseJSON reads JSON (RFC 8259), token by token, to know the line of each
// key.
func parseJSON(b []byte) (*node, error) {
	if !validText(b) {
		return nil, &syntaxError{0, "this is not UTF-8 text"}
	}
	j := jsonReader{b: b, d: json.NewDecoder(bytes.NewReader(b))}
	j.d.UseNumber()
	n, err := j.value(0)
	if err == nil {
		if _, e := j.d.Token(); !errors.Is(e, io.EOF) {
			err = &syntaxError{j.line(), "there is something after the end of the JSON value"}
		}
	}
	if err == nil && n.kind != kindTable {
		err = &syntaxError{1, "a configuration file is a JSON object, not " + n.kind.String()}
	}
	if err != nil {
		var s *syntaxError
		if errors.As(err, &s) {
			return nil, err
		}
		line := j.line()
		var se *json.SyntaxError
		if errors.As(err, &se) {
			line = 1 + bytes.Count(b[:min(int(se.Offset), len(b))], []byte{'\n'})
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, &syntaxError{line, "this is not JSON: it ends too early"}
		}
		return nil, &syntaxError{line, "this is not JSON: " + err.Error()}
	}
	return n, nil
}

type jsonReader struct {
	b []byte
	d *json.Decoder
}

// line is that of the token read last.
func (j jsonReader) line() int {
	return 1 + bytes.Count(j.b[:min(int(j.d.InputOffset()), len(j.b))], []byte{'\n'})
}

func (j jsonReader) value(depth int) (*node, error) {
	t, err := j.d.Token()
	if err != nil {
		return nil, err
	}
	n := &node{line: j.line()}
	if depth > maxDepth {
		return nil, &syntaxError{n.line, "lists and tables are nested too deep"}
	}
	switch t := t.(type) {
	case json.Delim:
		if t == '[' {
			n.kind = kindList
			for j.d.More() {
				v, err := j.value(depth + 1)
				if err != nil {
					return nil, err
				}
				n.list = append(n.list, v)
			}
		} else {
			n.kind = kindTable
			for j.d.More() {
				k, err := j.d.Token()
				if err != nil {
					return nil, err
				}
				name, ok := k.(string)
				if !ok {
					return nil, &syntaxError{j.line(), "a key must be a string"}
				}
				line := j.line()
				v, err := j.value(depth + 1)
				if err != nil {
					return nil, err
				}
				if err := n.add(name, line, v); err != nil {
					return nil, err
				}
			}
		}
		_, err = j.d.Token() // the closing bracket
	case string:
		n.kind, n.text = kindString, t
	case json.Number:
		n.kind, n.text = kindInt, t.String()
		if bytes.ContainsAny([]byte(n.text), ".eE") {
			n.kind = kindFloat
		}
	case bool:
		n.kind, n.text = kindBool, "false"
		if t {
			n.text = "true"
		}
	case nil:
		n.kind = kindNull
	}
	return n, err
}

func validText(b []byte) bool { return utf8.Valid(b) && bytes.IndexByte(b, 0) < 0 }
