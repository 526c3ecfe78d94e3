package config

import (
	"errors"
	"io"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// oracle is what a complete YAML reader makes of a text, in our nodes.
func oracle(b []byte) (*node, error) {
	d := yaml.NewDecoder(strings.NewReader(string(b)))
	var doc yaml.Node
	err := d.Decode(&doc)
	if errors.Is(err, io.EOF) {
		return &node{kind: kindTable}, nil
	}
	if err != nil {
		return nil, err
	}
	var second yaml.Node
	if err := d.Decode(&second); !errors.Is(err, io.EOF) {
		return nil, errors.New("a second document")
	}
	if len(doc.Content) != 1 {
		return &node{kind: kindTable}, nil
	}
	return oracleNode(doc.Content[0])
}

func oracleNode(y *yaml.Node) (*node, error) {
	n := &node{text: y.Value}
	switch y.Kind {
	case yaml.MappingNode:
		n.kind = kindTable
		for i := 0; i+1 < len(y.Content); i += 2 {
			v, err := oracleNode(y.Content[i+1])
			if err != nil {
				return nil, err
			}
			if y.Content[i].Kind != yaml.ScalarNode {
				return nil, errors.New("complex key")
			}
			if err := n.add(y.Content[i].Value, 0, v); err != nil {
				return nil, err
			}
		}
	case yaml.SequenceNode:
		n.kind = kindList
		for _, e := range y.Content {
			v, err := oracleNode(e)
			if err != nil {
				return nil, err
			}
			n.list = append(n.list, v)
		}
	case yaml.ScalarNode:
		switch tag := y.ShortTag(); tag {
		case "!!str":
			n.kind = kindString
		case "!!int":
			n.kind = kindInt
		case "!!float":
			n.kind = kindFloat
		case "!!bool":
			n.kind, n.text = kindBool, strings.ToLower(y.Value)
		case "!!null":
			n.kind, n.text = kindNull, ""
		case "!!timestamp":
			n.kind = kindTime
		default:
			return nil, errors.New("tag " + tag)
		}
	default:
		return nil, errors.New("alias")
	}
	return n, nil
}

// show writes a node so that two can be compared.
func show(n *node) string {
	var b strings.Builder
	switch n.kind {
	case kindTable:
		b.WriteString("{")
		for _, p := range n.keys {
			b.WriteString(quote(p.name) + ":" + show(p.value) + " ")
		}
		b.WriteString("}")
	case kindList:
		b.WriteString("[")
		for _, e := range n.list {
			b.WriteString(show(e) + " ")
		}
		b.WriteString("]")
	default:
		b.WriteString(n.kind.String() + " " + quote(n.text))
	}
	return b.String()
}

// compareYAML checks that what our reader accepts means the same to a complete
// one.
func compareYAML(t *testing.T, text string) {
	t.Helper()
	got, err := parseYAML([]byte(text))
	if err != nil {
		return
	}
	want, err := oracle([]byte(text))
	if err != nil {
		t.Fatalf("%q is taken for %s, but: %v", text, show(got), err)
	}
	if want.kind == kindNull && len(got.keys) == 0 {
		return // an empty document
	}
	if a, b := show(got), show(want); a != b && !strings.Contains(b, kindTime.String()) && !strings.Contains(a, kindTime.String()) {
		t.Fatalf("%q\nis taken for %s\nbut means     %s", text, a, b)
	}
}

var yamlTexts = []string{
	fullYAML,
	"a: 1\nb:\n- x\n- y: 2\n  z: 3\n-\n  - deep\nc: {d: [1, 'two', \"thr\\u00e9e\"], e: null, f: }\n",
	"---\n# comment\na: b # comment\n\"quoted key\": 'it''s'\n'k': v#w\nurl: http://host:80/x\n",
	"list: [a,\n  b, # comment\n  c\n  ]\nmap: {\n  x: 1,\n  y: 2 }\n",
	"- 1\n- 2\n", "just text", "a:\n  b:\n    c: 1\n  d: 2\ne: 3", "a: ~\nb: null\nc:\nd: ''\ne: \"\"\n",
	"n: [0, -1, +2, 0x1F, 0o17, 1_000, 1.5, -.5, 1e3, .inf, .nan, 0b11, 017, 1__2, 1., 1.e5, 08, 0_7, 12e, -, 1-2, 190:20:30]",
	"t: [true, True, TRUE, yes, no, on, off, y, n, truE]", "d: [2026-01-02, 2026-01-02 10:00:00, 20:30, 1.2.3, 2026-1-2x]",
	"a: &x 1", "a: *x", "a: !!str 1", "a: |\n  text\n", "a: >\n  text\n", "? a\n: b", "<<: {a: 1}", "a: 1\na: 2", "%YAML 1.2\n---\na: 1",
	"a: 1\n---\nb: 2", "a: 1\n...\n", "a\tb: 1", "a:\t1", "\ta: 1", "a: 1\n  b: 2", "a:\n    b: 1\n  c: 2", "a: b: c", "a: 'x\n  y'", "a: x\n  y",
	"a: [1, 2", "a: {b: 1", "a: ]", "a: ,", "a: @x", "a: `x", "a: - b", "- a\nb: 1", "a:\n- b\n c", "a: {b:1}", "a: {\"b\":1}", "a: [b: 1]", "a: [1,,2]", "a: [,]",
	"a: \"x\\q\"", "a: \"\\x41\\u00e9\\U0001F600\\n\\t\\\\\\\"\\0\"", "a: 'x' y", "a: \"x\"#y", "a: {b: 1}#c", ": x", "-", "- - 1\n  - 2\n- 3", "-a: 1", "a: -b", "a: :b", "a: ?b",
	"\ufeffa: 1", "a: 1\r\nb: 2\r\n", "a: \x7f", "a: {x: {y: {z: [1]}}}", "a : 1", "\"a\" : 1", "a: #x", "a:   # x\n  b: 1", "a: [x # c\n  , y]", "a: [\n1]", "a b c: d e f",
	"a: {? b : c}", "a: {b, c: 1}", "a: [-, 1]", "a: [- 1]", "a: [?x, :y]", "-\t1", "-\t", "- -\t", "- \t", "a:\n\n\n  - 1\n\n  - 2\n", "a: '#'", "a: x #", "#", "  # only\n", "~: 1", "1: 2", "true: x", "a: [a]]", "[0b+0]", "a: 0xg", "a: .0_", "a: 1_0.5", "a: 1__", "a: _", "a: _1", "a: a_b", "a: 01e700", "a: 1e400", "[0?]",
}

func TestYAMLMeansTheSame(t *testing.T) {
	for _, s := range yamlTexts {
		compareYAML(t, s)
	}
	// What configuration files use must be accepted.
	for _, s := range yamlTexts[:8] {
		if _, err := parseYAML([]byte(s)); err != nil {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func TestYAMLThatIsRefusedByName(t *testing.T) {
	for text, want := range map[string]string{
		"a: |\n  text": "texts of several lines (| and >) are not supported", "a: &x 1": "anchors (&) are not supported", "a: *x": "aliases (*) are not supported",
		"a: !!str 1": "tags (!) are not supported", "? a\n: b": "complex keys (?) are not supported", "<<: {a: 1}": "merge keys (<<) are not supported",
		"a: x\n  y": "the indentation fits nothing above it; a text goes on one line, in quotes if need be",
	} {
		_, err := parseYAML([]byte(text))
		if err == nil || err.Error() != "this is not YAML that Godwit reads: "+want {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func FuzzYAML(f *testing.F) {
	for _, s := range yamlTexts {
		f.Add(s)
	}
	f.Fuzz(compareYAML)
}
