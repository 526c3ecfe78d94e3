package config

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/godwit-ota/godwit"
)

// A decoder fills a Config from a node and collects what is wrong.
type decoder struct {
	c        *Config
	file     string
	options  Options
	problems []error
	alias    map[string]string // reference form: what its keys are called in messages
}

func (d *decoder) fail(line int, text, hint string) {
	d.problems = append(d.problems, godwit.Fail(godwit.CodeConfig, nil, place(d.file, line)+text, hint))
}

func (d *decoder) decode(root *node) {
	d.begin()
	if root.kind != kindTable {
		d.fail(root.line, "a configuration file is a table of sections, not "+root.kind.String(), "")
		return
	}
	for _, p := range root.keys {
		if strings.HasPrefix(p.name, "_") { // a comment, for JSON
			continue
		}
		d.section(p)
	}
}

func (d *decoder) begin() {
	file := d.c.File
	*d.c = *Defaults()
	d.c.File, d.c.lines = file, map[string]int{}
}

func (d *decoder) section(p pair) {
	if hint, later := laterSections[p.name]; later {
		d.fail(p.line, "the section ["+p.name+"] has no effect in this version of Godwit, so it is refused", hint)
		return
	}
	var keys []string
	known := false
	for _, k := range Keys {
		known = known || k.Section == p.name
		if k.Section == p.name {
			keys = append(keys, k.Name)
		}
	}
	if !known {
		d.unknownSection(p)
		return
	}
	if p.value.kind == kindNull {
		return // an empty section in YAML
	}
	if p.value.kind != kindTable {
		d.fail(p.line, fmt.Sprintf("%s is a section with keys of its own, not %s", p.name, p.value.kind), "")
		return
	}
	for _, kv := range p.value.keys {
		if strings.HasPrefix(kv.name, "_") {
			continue
		}
		i := slices.IndexFunc(Keys, func(k Key) bool { return k.Section == p.name && k.Name == kv.name })
		if i < 0 {
			d.unknownKey(p.name, kv, keys)
			continue
		}
		d.c.lines[p.name+"."+kv.name] = kv.line
		d.value(Keys[i], kv)
	}
}

func (d *decoder) unknownSection(p pair) {
	var names []string
	for _, s := range Sections {
		names = append(names, s.Name)
	}
	what := "section [" + p.name + "]"
	if p.value.kind != kindTable {
		what = "key " + strconv.Quote(p.name) + " outside of any section"
	}
	hint := "the sections are " + strings.Join(names, ", ")
	if near := Nearest(p.name, names); near != "" {
		hint = "did you mean [" + near + "]?"
	} else if s := sectionsWith(p.name); s != "" {
		hint = "did you mean " + s + "?"
	}
	d.fail(p.line, "unknown "+what, hint)
}

func (d *decoder) unknownKey(section string, kv pair, keys []string) {
	hint := "the keys of [" + section + "] are " + strings.Join(keys, ", ")
	if near := Nearest(kv.name, keys); near != "" {
		hint = "did you mean " + strconv.Quote(near) + "?"
	} else if s := sectionsWith(kv.name); s != "" {
		hint = "did you mean " + s + "?"
	}
	d.fail(kv.line, "unknown key "+strconv.Quote(kv.name)+" in ["+section+"]", hint)
}

// sectionsWith names the keys called name, with their sections.
func sectionsWith(name string) string {
	var all []string
	for _, k := range Keys {
		if k.Name == name {
			all = append(all, "["+k.Section+"] "+k.Name)
		}
	}
	return orList(all)
}

func (d *decoder) value(k Key, kv pair) {
	n, full := kv.value, k.Section+"."+k.Name
	if n.kind == kindNull {
		return // as if it were not there: "token": null
	}
	wrong := func() {
		found := n.kind.String()
		if n.kind != kindTable && n.kind != kindList && len(n.text) <= 60 {
			found = n.text
			if n.kind == kindString {
				found = strconv.Quote(n.text)
			}
		}
		hint := ""
		if n.kind == kindInt || n.kind == kindFloat || n.kind == kindBool || n.kind == kindTime {
			if t := k.Type(); strings.Contains(t, "string") || strings.Contains(t, "one of") {
				hint = "put the value in quotes"
			}
		}
		d.fail(kv.line, full+" must be "+k.Type()+", not "+found, hint)
	}
	switch f := k.field(d.c).(type) {
	case *string:
		if n.kind != kindString || k.Choices != nil && !slices.Contains(k.Choices, n.text) {
			wrong()
			return
		}
		*f = n.text
	case *Path:
		if n.kind != kindString {
			wrong()
			return
		}
		*f = d.path(n.text)
	case *Secret:
		if n.kind != kindString {
			wrong()
			return
		}
		*f = Secret{key: full, raw: n.text, dir: d.c.dir()}
	case *bool:
		if n.kind != kindBool || n.text != "true" && n.text != "false" {
			wrong()
			return
		}
		*f = n.text == "true"
	case *int:
		v, err := strconv.ParseInt(strings.ReplaceAll(n.text, "_", ""), 0, 32)
		if n.kind != kindInt || err != nil || v < 0 {
			wrong()
			return
		}
		*f = int(v)
	case *float64:
		v, err := strconv.ParseFloat(strings.ReplaceAll(n.text, "_", ""), 64)
		if n.kind != kindInt && n.kind != kindFloat || err != nil || !(v >= 0 && v <= 1e9) {
			wrong()
			return
		}
		*f = v
	case *Size:
		v, err := ParseSize(n.text)
		if n.kind == kindInt {
			var i int64
			i, err = strconv.ParseInt(strings.ReplaceAll(n.text, "_", ""), 0, 64)
			v = Size(i)
		}
		if n.kind != kindString && n.kind != kindInt || err != nil || v < 0 {
			wrong()
			return
		}
		*f = v
	case *time.Duration:
		v, err := ParseDuration(n.text)
		if n.kind != kindString || err != nil {
			wrong()
			return
		}
		*f = v
	case *[]string:
		v, ok := texts(n)
		if !ok {
			wrong()
			return
		}
		*f = v
	case *Command:
		if n.kind == kindString {
			if n.text != "" {
				*f = Shell(n.text)
			}
			break
		}
		v, ok := texts(n)
		if !ok || len(v) > 0 && v[0] == "" {
			wrong()
			return
		}
		*f = v
	case *Headers:
		v, ok := textTable(n)
		if !ok {
			wrong()
			return
		}
		*f = v
	case *Labels:
		v, ok := textTable(n)
		if !ok {
			wrong()
			return
		}
		*f = v
	}
	d.placeholders(n, kv.line, full)
}

// path resolves a relative path against the folder of the file.
func (d *decoder) path(p string) Path {
	if p == "" || filepath.IsAbs(p) {
		return Path(p)
	}
	return Path(filepath.Join(d.c.dir(), p))
}

// placeholders refuses values in which something was left for a person to fill
// in: "YOUR_GITHUB_USERNAME", "https://YOUR_GIT_HOST/…".
func (d *decoder) placeholders(n *node, line int, full string) {
	for _, e := range n.list {
		d.placeholders(e, line, full)
	}
	for _, e := range n.keys {
		d.placeholders(e.value, line, full+"."+e.name)
	}
	if n.kind != kindString {
		return
	}
	if p := placeholder(n.text); p != "" {
		d.fail(line, full+" still holds the placeholder "+p, "replace it with your own value")
	}
}

func placeholder(s string) string {
	i := strings.Index(s, "YOUR_")
	if i < 0 || i > 0 && isWord(s[i-1]) {
		return ""
	}
	end := i
	for end < len(s) && isWord(s[end]) {
		end++
	}
	return s[i:end]
}

func isWord(b byte) bool { return b >= 'A' && b <= 'Z' || b == '_' || b >= '0' && b <= '9' }

func texts(n *node) ([]string, bool) {
	if n.kind != kindList {
		return nil, false
	}
	v := make([]string, 0, len(n.list))
	for _, e := range n.list {
		if e.kind != kindString {
			return nil, false
		}
		v = append(v, e.text)
	}
	return v, true
}

func textTable(n *node) (map[string]string, bool) {
	if n.kind != kindTable {
		return nil, false
	}
	v := map[string]string{}
	for _, e := range n.keys {
		if e.value.kind != kindString {
			return nil, false
		}
		v[e.name] = e.value.text
	}
	return v, true
}

func orList(all []string) string {
	q := make([]string, len(all))
	for i, s := range all {
		q[i] = strconv.Quote(s)
		if strings.HasPrefix(s, "[") {
			q[i] = s
		}
	}
	switch len(q) {
	case 0:
		return ""
	case 1:
		return q[0]
	}
	return strings.Join(q[:len(q)-1], ", ") + " or " + q[len(q)-1]
}

// Nearest returns the one of names that a typing mistake away from name would
// give, "" if none is near.
func Nearest(name string, names []string) string {
	fold := func(s string) string { return strings.ToLower(strings.NewReplacer("-", "", "_", "").Replace(s)) }
	best, at := "", 1+max(1, len(name)/3)
	for _, n := range names {
		if dist := distance(fold(name), fold(n)); dist < at {
			best, at = n, dist
		}
	}
	return best
}

// distance is the number of letters to insert, remove, replace or swap with
// their neighbour (optimal string alignment).
func distance(a, b string) int {
	if len(a) > 64 {
		return 64
	}
	two, prev, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(prev[j]+1, row[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], two[j-2]+1)
			}
		}
		two, prev, row = prev, row, two
	}
	return prev[len(b)]
}
