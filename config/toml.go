package config

import (
	"errors"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// parseTOML reads TOML v1.0. It works on the library's syntax tree rather than
// on Go values, which keeps the line of each key.
func parseTOML(b []byte) (*node, error) {
	if !validText(b) {
		return nil, &syntaxError{0, "this is not UTF-8 text"}
	}
	t := tomlReader{root: &node{kind: kindTable}, opened: map[*node]bool{}}
	t.table = t.root
	t.p.Reset(b)
	for t.p.NextExpression() {
		if err := t.expression(t.p.Expression()); err != nil {
			return nil, err
		}
	}
	if err := t.p.Error(); err != nil {
		line := 0
		var pe *unstable.ParserError
		if errors.As(err, &pe) && pe.Highlight != nil {
			line = t.lineOf(pe.Highlight)
		}
		return nil, &syntaxError{line, "this is not TOML: " + strings.TrimPrefix(err.Error(), "toml: ")}
	}
	return t.root, nil
}

type tomlReader struct {
	p      unstable.Parser
	root   *node
	table  *node // where key = value lines go now
	opened map[*node]bool
}

func (t *tomlReader) lineOf(highlight []byte) (line int) {
	// Range panics when the parser reports text of its own making.
	defer func() {
		if recover() != nil {
			line = 0
		}
	}()
	return t.p.Shape(t.p.Range(highlight)).Start.Line
}

func (t *tomlReader) line(n *unstable.Node) int { return t.p.Shape(n.Raw).Start.Line }

func (t *tomlReader) expression(e *unstable.Node) error {
	switch e.Kind {
	case unstable.Table:
		names, line := t.key(e.Key())
		table, err := descend(t.root, names, line)
		if err != nil {
			return err
		}
		if t.opened[table] {
			return &syntaxError{line, "the section [" + strings.Join(names, ".") + "] is there twice"}
		}
		t.opened[table] = true
		t.table = table
	case unstable.ArrayTable:
		names, line := t.key(e.Key())
		return &syntaxError{line, "[[" + strings.Join(names, ".") + "]] makes a list of tables, and no key takes one"}
	case unstable.KeyValue:
		return t.keyValue(t.table, e, 0)
	}
	return nil
}

// key returns the parts of a dotted key and its line.
func (t *tomlReader) key(it unstable.Iterator) (names []string, line int) {
	for it.Next() {
		n := it.Node()
		if line == 0 {
			line = t.line(n)
		}
		names = append(names, string(n.Data))
	}
	return names, line
}

func (t *tomlReader) keyValue(into *node, e *unstable.Node, depth int) error {
	names, line := t.key(e.Key())
	last := len(names) - 1
	into, err := descend(into, names[:last], line)
	if err != nil {
		return err
	}
	v, err := t.value(e.Value(), line, depth)
	if err != nil {
		return err
	}
	return into.add(names[last], line, v)
}

func descend(n *node, names []string, line int) (*node, error) {
	if len(names) > maxDepth {
		return nil, &syntaxError{line, "tables are nested too deep"}
	}
	for _, name := range names {
		next := n.get(name)
		if next == nil {
			next = &node{kind: kindTable, line: line}
			if err := n.add(name, line, next); err != nil {
				return nil, err
			}
		}
		if next.kind != kindTable {
			return nil, &syntaxError{line, "the key \"" + name + "\" is " + next.kind.String() + " and cannot hold keys"}
		}
		n = next
	}
	return n, nil
}

func (t *tomlReader) value(e *unstable.Node, line, depth int) (*node, error) {
	if depth > maxDepth {
		return nil, &syntaxError{line, "lists and tables are nested too deep"}
	}
	n := &node{line: line, text: string(e.Data)}
	switch e.Kind {
	case unstable.String:
		n.kind = kindString
	case unstable.Bool:
		n.kind = kindBool
	case unstable.Integer:
		n.kind = kindInt
	case unstable.Float:
		n.kind = kindFloat
	case unstable.Array:
		n.kind, n.text = kindList, ""
		for it := e.Children(); it.Next(); {
			v, err := t.value(it.Node(), line, depth+1)
			if err != nil {
				return nil, err
			}
			n.list = append(n.list, v)
		}
	case unstable.InlineTable:
		n.kind, n.text = kindTable, ""
		for it := e.Children(); it.Next(); {
			if err := t.keyValue(n, it.Node(), depth+1); err != nil {
				return nil, err
			}
		}
	default: // the four kinds of date and time
		n.kind = kindTime
	}
	return n, nil
}
