package config

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// parseYAML reads one YAML document. Anchors and aliases are refused: a few
// lines of them can stand for gigabytes.
func parseYAML(b []byte) (*node, error) {
	if !validText(b) {
		return nil, &syntaxError{0, "this is not UTF-8 text"}
	}
	d := yaml.NewDecoder(bytes.NewReader(b))
	var doc yaml.Node
	err := d.Decode(&doc)
	if errors.Is(err, io.EOF) { // empty, or comments only
		return &node{kind: kindTable}, nil
	}
	if err != nil {
		return nil, yamlError(err)
	}
	var second yaml.Node
	if err := d.Decode(&second); !errors.Is(err, io.EOF) {
		if err != nil {
			return nil, yamlError(err)
		}
		return nil, &syntaxError{second.Line, "there is a second document after \"---\""}
	}
	if len(doc.Content) != 1 {
		return &node{kind: kindTable}, nil
	}
	return yamlValue(doc.Content[0], 0)
}

var yamlLine = regexp.MustCompile(`^line (\d+): `)

func yamlError(err error) error {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 0
	if m := yamlLine.FindStringSubmatch(text); m != nil {
		line, _ = strconv.Atoi(m[1])
		text = text[len(m[0]):]
	}
	return &syntaxError{line, "this is not YAML: " + text}
}

func yamlValue(y *yaml.Node, depth int) (*node, error) {
	if depth > maxDepth {
		return nil, &syntaxError{y.Line, "lists and tables are nested too deep"}
	}
	n := &node{line: y.Line, text: y.Value}
	if y.Anchor != "" {
		return nil, &syntaxError{y.Line, "anchors (&" + y.Anchor + ") are not supported"}
	}
	switch y.Kind {
	case yaml.MappingNode:
		n.kind = kindTable
		for i := 0; i+1 < len(y.Content); i += 2 {
			k := y.Content[i]
			if k.Kind != yaml.ScalarNode || k.ShortTag() == "!!merge" {
				return nil, &syntaxError{k.Line, "a key must be a plain word"}
			}
			v, err := yamlValue(y.Content[i+1], depth+1)
			if err != nil {
				return nil, err
			}
			if err := n.add(k.Value, k.Line, v); err != nil {
				return nil, err
			}
		}
	case yaml.SequenceNode:
		n.kind = kindList
		for _, e := range y.Content {
			v, err := yamlValue(e, depth+1)
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
			n.kind = kindNull
		case "!!timestamp":
			n.kind = kindTime
		default:
			return nil, &syntaxError{y.Line, "the tag " + tag + " is not supported"}
		}
	default:
		return nil, &syntaxError{y.Line, "aliases (*" + y.Value + ") are not supported"}
	}
	return n, nil
}
