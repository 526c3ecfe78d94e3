package config

import (
	"errors"
	"strings"

	"github.com/godwit-ota/godwit/internal/jsontext"
)

// parseJSON reads JSON (RFC 8259).
func parseJSON(b []byte) (*node, error) {
	if !validText(b) {
		return nil, &syntaxError{0, "this is not UTF-8 text"}
	}
	v, err := jsontext.Parse(b)
	if err != nil {
		line := 0
		var s *jsontext.SyntaxError
		if errors.As(err, &s) {
			line = s.Line
		}
		return nil, &syntaxError{line, "this is not JSON: " + err.Error()}
	}
	n, err := jsonNode(v, 0)
	if err == nil && n.kind != kindTable {
		err = &syntaxError{v.Line, "a configuration file is a JSON object, not " + n.kind.String()}
	}
	return n, err
}

func jsonNode(v jsontext.Value, depth int) (*node, error) {
	if depth > maxDepth {
		return nil, &syntaxError{v.Line, "lists and tables are nested too deep"}
	}
	n := &node{line: v.Line, text: v.Text}
	switch v.Kind {
	case jsontext.Null:
		n.kind = kindNull
	case jsontext.Bool:
		n.kind = kindBool
	case jsontext.String:
		n.kind = kindString
	case jsontext.Number:
		n.kind = kindInt
		if strings.ContainsAny(v.Text, ".eE") {
			n.kind = kindFloat
		}
	case jsontext.Array:
		n.kind = kindList
		for _, e := range v.List {
			item, err := jsonNode(e, depth+1)
			if err != nil {
				return nil, err
			}
			n.list = append(n.list, item)
		}
	case jsontext.Object:
		n.kind = kindTable
		for _, m := range v.Members {
			value, err := jsonNode(m.Value, depth+1)
			if err != nil {
				return nil, err
			}
			if err := n.add(m.Name, m.Line, value); err != nil {
				return nil, err
			}
		}
	}
	return n, nil
}
