package config

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

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
	if p := strings.ToLower(strings.TrimLeft(text, "+-")); n.kind == kindString && (strings.Contains(p, "_") && isDecimal(strings.ReplaceAll(p, "_", "")+"0") || strings.HasPrefix(p, "0b") || strings.HasPrefix(p, "0o") || strings.HasPrefix(p, "0x")) {
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
		if _, err := strconv.ParseFloat(s, 64); err == nil && isDecimal(s) {
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
