package config

import (
	"strconv"
	"strings"
	"unicode/utf8"
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
			if r < ' ' && r != '\t' || r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x2029 || r == utf8.RuneError || r == 0xfeff {
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

// A yamlText reads what stands on a line.
type yamlText struct {
	y          *yamlReader
	s          string
	i          int
	line       int
	flowIndent int
}

// key reads "name:" at the beginning of a line. rest is what follows.
func (t *yamlText) key() (name, rest string, ok bool, err error) {
	if t.s == "" {
		return "", "", false, nil
	}
	switch c := t.s[0]; c {
	case '"', '\'':
		name, err = t.quoted()
		if err != nil {
			return "", "", false, err
		}
		after := strings.TrimLeft(t.s[t.i:], " ")
		if after == ":" || strings.HasPrefix(after, ": ") || strings.HasPrefix(after, ":\t") {
			return name, after[1:], true, nil
		}
		return "", "", false, nil
	case '[', '{':
		return "", "", false, nil
	case '?':
		if t.s == "?" || strings.HasPrefix(t.s, "? ") {
			return "", "", false, t.y.fail("complex keys (?) are not supported")
		}
	}
	for i := 0; i < len(t.s); i++ {
		if t.s[i] == '#' && i > 0 && (t.s[i-1] == ' ' || t.s[i-1] == '\t') {
			break
		}
		if t.s[i] == ':' && (i+1 == len(t.s) || t.s[i+1] == ' ' || t.s[i+1] == '\t') {
			name = strings.TrimRight(t.s[:i], " \t")
			if name == "" || len(t.s[:i]) > 1000 {
				return "", "", false, t.y.fail("there is no key before \":\"")
			}
			if err := t.plainStart(name); err != nil {
				return "", "", false, err
			}
			if name == "<<" {
				return "", "", false, t.y.fail("merge keys (<<) are not supported")
			}
			return name, t.s[i+1:], true, nil
		}
	}
	return "", "", false, nil
}

// plainStart refuses the characters that mean something else in YAML.
func (t *yamlText) plainStart(s string) error {
	what := ""
	switch s[0] {
	case '&':
		what = "anchors (&)"
	case '*':
		what = "aliases (*)"
	case '!':
		what = "tags (!)"
	case '|', '>':
		what = "texts of several lines (| and >)"
	case '@', '`', '%', ',', ']', '}', '#':
		return t.y.fail("a text that begins with " + s[:1] + " needs quotes")
	case '-', '?', ':':
		if len(s) == 1 || s[1] == ' ' || s[1] == '\t' {
			return t.y.fail("a text that begins with \"" + s[:1] + " \" needs quotes")
		}
	}
	if what != "" {
		return t.y.fail(what + " are not supported")
	}
	return nil
}

// value reads one value. In a flow collection, "," and brackets end it.
func (t *yamlText) value(flow bool, depth int) (*node, error) {
	if depth > maxDepth {
		return nil, t.y.fail("lists and tables are nested too deep")
	}
	n := &node{line: t.line}
	switch c := t.s[t.i]; c {
	case '"', '\'':
		s := yamlText{y: t.y, s: t.s[t.i:], line: t.line}
		text, err := s.quoted()
		t.i += s.i
		n.kind, n.text = kindString, text
		return n, err
	case '[':
		n.kind = kindList
		err := t.items(']', depth, func() error {
			v, err := t.value(true, depth+1)
			n.list = append(n.list, v)
			return err
		})
		return n, err
	case '{':
		n.kind = kindTable
		err := t.items('}', depth, func() error { return t.member(n, depth) })
		return n, err
	}
	text, err := t.plain(flow)
	if err != nil {
		return nil, err
	}
	n.kind, n.text = resolve(text)
	if p := strings.ToLower(strings.TrimLeft(text, "+-")); n.kind == kindString && (strings.HasPrefix(p, "0b") || strings.HasPrefix(p, "0o") || strings.HasPrefix(p, "0x")) {
		return nil, t.y.fail("a text that begins like a number needs quotes") // readers of YAML disagree
	}
	return n, nil
}

// plain reads a scalar without quotes.
func (t *yamlText) plain(flow bool) (string, error) {
	start := t.i
	for ; t.i < len(t.s); t.i++ {
		c := t.s[t.i]
		blank := t.i > start && (t.s[t.i-1] == ' ' || t.s[t.i-1] == '\t')
		last := t.i+1 == len(t.s)
		if c == '#' && blank {
			break
		}
		if c == ':' && (last || t.s[t.i+1] == ' ' || t.s[t.i+1] == '\t' || flow && strings.IndexByte(",[]{}", t.s[t.i+1]) >= 0) {
			if flow {
				break
			}
			return "", t.y.fail("there is a second \": \" on the line; put the text in quotes")
		}
		if flow && c == '?' { // readers of YAML disagree
			return "", t.y.fail("a text that holds ? needs quotes here")
		}
		if flow && strings.IndexByte(",[]{}", c) >= 0 {
			break
		}
	}
	text := strings.TrimRight(t.s[start:t.i], " \t")
	if text == "" {
		return "", t.y.fail("a value is missing")
	}
	if flow && (text[0] == ':' || text == "-") {
		return "", t.y.fail("a text that begins with " + text[:1] + " needs quotes here")
	}
	if text == "<<" {
		return "", t.y.fail("merge keys (<<) are not supported")
	}
	return text, t.plainStart(text)
}

// items reads a flow collection up to its closing bracket.
func (t *yamlText) items(end byte, depth int, item func() error) error {
	t.i++
	if err := t.skip(); err != nil {
		return err
	}
	for t.s[t.i] != end {
		if err := item(); err != nil {
			return err
		}
		if err := t.skip(); err != nil {
			return err
		}
		switch t.s[t.i] {
		case ',':
			t.i++
			if err := t.skip(); err != nil {
				return err
			}
		case end:
		default:
			return t.y.fail("there is no \",\" or \"" + string(rune(end)) + "\" after a value")
		}
	}
	t.i++
	return nil
}

// skip goes over space, comments and line ends within a flow collection.
func (t *yamlText) skip() error {
	for {
		blank := t.i == 0
		for t.i < len(t.s) && (t.s[t.i] == ' ' || t.s[t.i] == '\t') {
			t.i++
			blank = true
		}
		if t.i < len(t.s) && (t.s[t.i] != '#' || !blank) {
			if t.s[t.i] == '#' {
				return t.y.fail("a comment needs a space before it")
			}
			return nil
		}
		if t.y.at+1 >= len(t.y.lines) {
			return t.y.fail("a bracket is not closed")
		}
		t.y.at++
		l := t.y.lines[t.y.at]
		if l.indent <= t.flowIndent {
			return t.y.fail("a bracket is not closed, or what is in it is not indented")
		}
		t.s, t.i, t.line = l.text, 0, l.number
	}
}

// member reads "key: value" in a flow mapping.
func (t *yamlText) member(n *node, depth int) error {
	line := t.line
	var name string
	var err error
	if c := t.s[t.i]; c == '"' || c == '\'' {
		s := yamlText{y: t.y, s: t.s[t.i:], line: t.line}
		name, err = s.quoted()
		t.i += s.i
		t.i += len(t.s[t.i:]) - len(strings.TrimLeft(t.s[t.i:], " "))
	} else {
		name, err = t.plain(true)
	}
	if err != nil {
		return err
	}
	if t.i >= len(t.s) || t.s[t.i] != ':' {
		return t.y.fail("there is no \":\" after the key " + strconv.Quote(name))
	}
	t.i++
	if t.i < len(t.s) && t.s[t.i] != ' ' {
		return t.y.fail("there is no space after \":\"")
	}
	if err := t.skip(); err != nil {
		return err
	}
	if c := t.s[t.i]; c == ',' || c == '}' {
		return n.add(name, line, &node{kind: kindNull, line: line})
	}
	v, err := t.value(true, depth+1)
	if err != nil {
		return err
	}
	return n.add(name, line, v)
}

// quoted reads a text in quotes at the beginning of t.s.
func (t *yamlText) quoted() (string, error) {
	quote := t.s[0]
	var b strings.Builder
	for i := 1; i < len(t.s); i++ {
		c := t.s[i]
		switch {
		case c == quote && quote == '\'' && i+1 < len(t.s) && t.s[i+1] == '\'':
			b.WriteByte('\'')
			i++
		case c == quote:
			t.i = i + 1
			return b.String(), nil
		case c == '\\' && quote == '"':
			r, n := escaped(t.s[i:])
			if n == 0 {
				return "", t.y.fail("a text in quotes holds an escape that is none")
			}
			b.WriteString(r)
			i += n - 1
		default:
			b.WriteByte(c)
		}
	}
	return "", t.y.fail("a text in quotes does not end on its line")
}

// escaped reads one escape of a double-quoted text. n is its length, 0 if it is
// none.
func escaped(s string) (text string, n int) {
	if len(s) < 2 {
		return "", 0
	}
	if i := strings.IndexByte(`0abtnvfre "\N_LP`, s[1]); i >= 0 {
		return []string{"\x00", "\a", "\b", "\t", "\n", "\v", "\f", "\r", "\x1b", " ", `"`, `\`, "\u0085", "\u00a0", "\u2028", "\u2029"}[i], 2
	}
	digits := map[byte]int{'x': 2, 'u': 4, 'U': 8}[s[1]]
	if digits == 0 || len(s) < 2+digits {
		return "", 0
	}
	r, err := strconv.ParseUint(s[2:2+digits], 16, 32)
	if err != nil || !utf8.ValidRune(rune(r)) || r > utf8.MaxRune {
		return "", 0
	}
	return string(rune(r)), 2 + digits
}

// resolve tells the kind of a scalar without quotes, by the core schema of YAML
// 1.2 with the numbers and dates that readers of YAML 1.1 would see. What looks
// like either is not taken for a text, so that nobody is surprised.
func resolve(s string) (kind, string) {
	switch s {
	case "~", "null", "Null", "NULL":
		return kindNull, ""
	case "true", "True", "TRUE":
		return kindBool, "true"
	case "false", "False", "FALSE":
		return kindBool, "false"
	case ".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF", "-.inf", "-.Inf", "-.INF", ".nan", ".NaN", ".NAN":
		return kindFloat, s
	}
	c := s[0]
	if c >= '0' && c <= '9' || (c == '-' || c == '+' || c == '.') && len(s) > 1 {
		plain := strings.ReplaceAll(s, "_", "")
		if _, err := strconv.ParseInt(plain, 0, 64); err == nil {
			return kindInt, s
		}
		if _, err := strconv.ParseUint(plain, 0, 64); err == nil {
			return kindInt, s
		}
		if _, err := strconv.ParseFloat(plain, 64); err == nil && isDecimal(plain) {
			return kindFloat, s
		}
		if isDate(s) {
			return kindTime, s
		}
	}
	return kindString, s
}

// isDecimal reports whether s is a decimal number with an optional fraction and
// exponent.
func isDecimal(s string) bool {
	s = strings.TrimLeft(s[:1], "+-") + s[1:]
	mantissa, exponent, has := strings.Cut(strings.ToLower(s), "e")
	if has {
		exponent = strings.TrimPrefix(strings.TrimPrefix(exponent, "+"), "-")
		if exponent == "" || strings.Trim(exponent, "0123456789") != "" {
			return false
		}
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	return whole+fraction != "" && strings.Trim(whole+fraction, "0123456789") == "" && strings.Count(mantissa, ".") <= 1
}

// isDate reports whether s begins as a date does: "2026-01-02".
func isDate(s string) bool {
	parts := strings.SplitN(s, "-", 3)
	return len(parts) == 3 && len(parts[0]) == 4 && strings.Trim(parts[0]+parts[1], "0123456789") == "" &&
		len(parts[1]) > 0 && len(parts[1]) <= 2 && len(parts[2]) > 0 && parts[2][0] >= '0' && parts[2][0] <= '9'
}
