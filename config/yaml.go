package config

import (
	"strings"
)

// parseYAML reads the part of YAML 1.2 that configuration files use: block
// mappings and sequences, flow mappings and sequences, plain and quoted
// scalars on one line, and comments. Everything else (anchors, aliases, tags,
// block scalars, complex keys, several documents) is refused by name rather
// than misread. What it accepts means the same to every YAML reader; tests hold
// it against a complete one.
func parseYAML(b []byte) (*node, error) {
	if !validText(b) {
		return nil, &syntaxError{0, "this is not UTF-8 text"}
	}
	y := &yamlReader{}
	if err := y.split(strings.TrimPrefix(string(b), "\ufeff")); err != nil {
		return nil, err
	}
	if len(y.lines) == 0 {
		return &node{kind: kindTable}, nil
	}
	n, err := y.block(y.lines[0].indent, 0)
	if err == nil && y.at < len(y.lines) {
		err = y.fail("the indentation fits nothing above it")
	}
	if err != nil {
		return nil, err
	}
	return n, nil
}

// A yamlLine is a line that is neither empty nor only a comment.
type yamlLine struct {
	number int
	indent int
	text   string // without indentation
}

type yamlReader struct {
	lines []yamlLine
	at    int
}

func (y *yamlReader) fail(text string) error {
	line := 0
	if y.at < len(y.lines) {
		line = y.lines[y.at].number
	} else if len(y.lines) > 0 {
		line = y.lines[len(y.lines)-1].number
	}
	return &syntaxError{line, "this is not YAML that Godwit reads: " + text}
}

func (y *yamlReader) split(text string) error {
	begun := false // past a "---"
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSuffix(line, "\r")
		for _, r := range line {
			if r < ' ' && r != '\t' || r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x2029 || r == 0xfeff || r == 0xfffe || r == 0xffff {
				return &syntaxError{i + 1, "this is not YAML: there is a control character"}
			}
		}
		content := strings.TrimLeft(line, " ")
		l := yamlLine{i + 1, len(line) - len(content), strings.TrimRight(content, " \t")}
		if content == "" || content[0] == '#' {
			continue
		}
		if content[0] == '\t' || strings.HasSuffix(l.text, "-") && strings.Contains(content[len(l.text):], "\t") {
			return &syntaxError{i + 1, "this is not YAML: there is a tab where spaces must be"}
		}
		if l.indent == 0 {
			if l.text == "---" && !begun && len(y.lines) == 0 {
				begun = true
				continue
			}
			if strings.HasPrefix(l.text, "---") || strings.HasPrefix(l.text, "...") {
				return &syntaxError{i + 1, "this is not YAML that Godwit reads: there is a second document, or text beside \"---\""}
			}
			if l.text[0] == '%' {
				return &syntaxError{i + 1, "this is not YAML that Godwit reads: directives (%) are not supported"}
			}
		}
		y.lines = append(y.lines, l)
	}
	return nil
}

// block reads the mapping, sequence or single value that begins on the current
// line, whose indentation is indent.
func (y *yamlReader) block(indent, depth int) (*node, error) {
	l := y.lines[y.at]
	if depth > maxDepth {
		return nil, y.fail("lists and tables are nested too deep")
	}
	if isItem(l.text) {
		return y.sequence(indent, depth)
	}
	s := yamlText{y: y, s: l.text, line: l.number}
	if _, _, isKey, err := s.key(); err != nil {
		return nil, err
	} else if isKey {
		return y.mapping(indent, depth)
	}
	n, err := y.inline(l.text, l.number, depth)
	return n, err
}

func isItem(s string) bool { return s == "-" || strings.HasPrefix(s, "- ") }

func (y *yamlReader) sequence(indent, depth int) (*node, error) {
	n := &node{kind: kindList, line: y.lines[y.at].number}
	for y.at < len(y.lines) && y.lines[y.at].indent == indent && isItem(y.lines[y.at].text) {
		l := y.lines[y.at]
		rest := strings.TrimLeft(l.text[1:], " ")
		if strings.HasPrefix(rest, "\t") {
			return nil, y.fail("there is a tab after \"-\"")
		}
		var item *node
		var err error
		switch {
		case rest == "" || rest[0] == '#':
			item, err = y.nested(indent, indent+1, depth)
		default:
			// "- a: 1" begins a mapping whose indentation is that of "a".
			y.lines[y.at] = yamlLine{l.number, indent + len(l.text) - len(rest), rest}
			item, err = y.block(y.lines[y.at].indent, depth+1)
		}
		if err != nil {
			return nil, err
		}
		n.list = append(n.list, item)
	}
	if y.at < len(y.lines) && y.lines[y.at].indent >= indent && (y.lines[y.at].indent > indent || !isKeyLine(y)) {
		return nil, y.fail("the indentation fits nothing above it")
	}
	return n, nil
}

// isKeyLine reports whether the current line is "key: …".
func isKeyLine(y *yamlReader) bool {
	l := y.lines[y.at]
	s := yamlText{y: y, s: l.text, line: l.number}
	_, _, ok, err := s.key()
	return ok && err == nil
}

// nested reads the value on the lines after the current one: those with at
// least least columns of indentation. Without any the value is null.
func (y *yamlReader) nested(indent, least, depth int) (*node, error) {
	line := y.lines[y.at].number
	y.at++
	if y.at < len(y.lines) {
		next := y.lines[y.at]
		if next.indent >= least && (next.indent > indent || isItem(next.text)) {
			return y.block(next.indent, depth+1)
		}
	}
	return &node{kind: kindNull, line: line}, nil
}

func (y *yamlReader) mapping(indent, depth int) (*node, error) {
	n := &node{kind: kindTable, line: y.lines[y.at].number}
	for y.at < len(y.lines) && y.lines[y.at].indent == indent {
		l := y.lines[y.at]
		if isItem(l.text) {
			return nil, y.fail("there is a list item where a key should be")
		}
		s := yamlText{y: y, s: l.text, line: l.number}
		name, rest, isKey, err := s.key()
		if err != nil {
			return nil, err
		}
		if !isKey {
			return nil, y.fail("there is no \"key: value\" here; a text goes on one line, in quotes if need be")
		}
		if strings.HasPrefix(strings.TrimLeft(rest, " "), "\t") {
			return nil, y.fail("there is a tab after \":\"")
		}
		rest = strings.TrimLeft(rest, " ")
		var v *node
		if rest == "" || rest[0] == '#' {
			// A list may stand at the indentation of its key.
			v, err = y.nested(indent, indent, depth)
		} else {
			v, err = y.inline(rest, l.number, depth+1)
		}
		if err != nil {
			return nil, err
		}
		if err := n.add(name, l.number, v); err != nil {
			return nil, err
		}
	}
	if y.at < len(y.lines) && y.lines[y.at].indent > indent {
		return nil, y.fail("the indentation fits nothing above it; a text goes on one line, in quotes if need be")
	}
	return n, nil
}

// inline reads a value that begins on the current line and goes past it. A flow
// collection may go on over further lines.
func (y *yamlReader) inline(text string, line, depth int) (*node, error) {
	indent := y.lines[y.at].indent
	s := &yamlText{y: y, s: text, line: line, flowIndent: indent}
	n, err := s.value(false, depth)
	if err != nil {
		return nil, err
	}
	if rest := strings.TrimLeft(s.s[s.i:], " \t"); rest != "" && (rest[0] != '#' || !isBlank(s.s[s.i]) && !isBlank(s.s[s.i-1])) {
		return nil, y.fail("there is something after the value")
	}
	y.at++
	return n, nil
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }
