package config

import (
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/godwit-ota/godwit/internal/jsontext"
)

// Values are what a written file sets: "section.key" to a string, a bool, an
// int, a []string or a map[string]string.
type Values map[string]any

// Values gives what a file has to set so that loading it leads to c: all that is
// not a default. Secrets are among them as they stand in c's file.
func (c *Config) Values() Values {
	v, d := Values{}, Defaults()
	for _, k := range Keys {
		if mine := plain(k.field(c)); literal(mine, " = ") != literal(plain(k.field(d)), " = ") {
			v[k.Section+"."+k.Name] = mine
		}
	}
	return v
}

// plain is what a file holds for the value that field points to.
func plain(field any) any {
	switch f := field.(type) {
	case *string:
		return *f
	case *Path:
		return string(*f)
	case *Secret:
		if name, ok := strings.CutPrefix(f.raw, "file:"); ok && !filepath.IsAbs(name) {
			return "file:" + filepath.Join(f.dir, name) // the new file may lie elsewhere
		}
		return f.raw
	case *bool:
		return *f
	case *int:
		return *f
	case *float64:
		return *f
	case *Size:
		return f.String()
	case *time.Duration:
		return shortDuration(*f)
	case *[]string:
		return *f
	case *Command:
		if len(*f) == 3 && slices.Equal((*f)[:2], Shell("")[:2]) {
			return (*f)[2]
		}
		return []string(*f)
	case *Headers:
		return map[string]string(*f)
	case *Labels:
		return map[string]string(*f)
	}
	panic("config: a field of no known type")
}

// Write writes a configuration file in the format that name's extension says:
// the values in v, and in TOML and YAML every other basic key as a comment.
func Write(w io.Writer, name string, v Values) error {
	var s string
	switch strings.ToLower(filepath.Ext(name)) {
	case ".json":
		s = writeJSON(v)
	case ".yaml", ".yml":
		s = writeText(v, "%s:\n", "  ", ": ")
	default:
		s = writeText(v, "[%s]\n", "", " = ")
	}
	_, err := io.WriteString(w, s)
	return err
}

func writeText(v Values, head, indent, equals string) string {
	var b strings.Builder
	b.WriteString("# Configuration of Godwit. Every key is described in docs/configuration.md.\n")
	for _, s := range Sections {
		var body strings.Builder
		set := false
		for _, k := range Keys {
			value, has := v[k.Section+"."+k.Name]
			if k.Section != s.Name || !k.Basic && !has {
				continue
			}
			comment(&body, indent, k.Doc)
			if has {
				set = true
				body.WriteString(indent + k.Name + equals + literal(value, equals) + "\n")
			} else {
				ex := k.Example
				if equals == ": " {
					ex = strings.NewReplacer("{ ", "{", " }", "}", " = ", ": ").Replace(ex)
				}
				body.WriteString(indent + "# " + k.Name + equals + ex + "\n")
			}
		}
		if body.Len() == 0 {
			continue
		}
		b.WriteString("\n")
		comment(&b, "", s.Doc)
		line := fmt.Sprintf(head, s.Name)
		if !set && equals == ": " {
			line = "# " + line // YAML has no empty section
		}
		b.WriteString(line + body.String())
	}
	return b.String()
}

// comment writes text as comment lines of at most 80 columns.
func comment(b *strings.Builder, indent, text string) {
	width := 0
	for _, word := range strings.Fields(text) {
		if width == 0 || width+1+len(word) > 78-len(indent) {
			if width > 0 {
				b.WriteString("\n")
			}
			b.WriteString(indent + "# " + word)
			width = len(word)
			continue
		}
		b.WriteString(" " + word)
		width += 1 + len(word)
	}
	b.WriteString("\n")
}

// literal writes a value so that it is read back: in JSON's way, which TOML and
// YAML read as well, but that TOML has another sign between key and value.
func literal(v any, equals string) string {
	switch v := v.(type) {
	case bool:
		return strconv.FormatBool(v)
	case int:
		return strconv.Itoa(v)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case []string:
		q := make([]string, len(v))
		for i, s := range v {
			q[i] = quote(s)
		}
		return "[" + strings.Join(q, ", ") + "]"
	case map[string]string:
		q := make([]string, 0, len(v))
		for _, key := range slices.Sorted(maps.Keys(v)) {
			q = append(q, quote(key)+equals+quote(v[key]))
		}
		return "{" + strings.Join(q, ", ") + "}"
	}
	return quote(fmt.Sprint(v))
}

// quote is JSON's way, which TOML and YAML read as well.
func quote(s string) string { return string(jsontext.Append(nil, s)) }

func writeJSON(v Values) string {
	var sections []string
	for _, s := range Sections {
		var keys []string
		for _, k := range Keys {
			if value, has := v[k.Section+"."+k.Name]; has && k.Section == s.Name {
				keys = append(keys, "    "+quote(k.Name)+": "+literal(value, ": "))
			}
		}
		if len(keys) > 0 {
			sections = append(sections, "  "+quote(s.Name)+": {\n"+strings.Join(keys, ",\n")+"\n  }")
		}
	}
	return "{\n" + strings.Join(sections, ",\n") + "\n}\n"
}

// Reference writes the part of docs/configuration.md that describes the keys.
func Reference(w io.Writer) error {
	var b strings.Builder
	d := Defaults()
	for _, s := range Sections {
		fmt.Fprintf(&b, "\n## [%s]\n\n%s\n\n| key | type | default | meaning |\n|---|---|---|---|\n", s.Name, s.Doc)
		for _, k := range Keys {
			if k.Section != s.Name {
				continue
			}
			doc := k.Doc
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s Example: `%s` |\n", k.Name, k.Type(), k.defaultText(d), doc, k.Example)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (k Key) defaultText(d *Config) string {
	if k.Required() {
		return "required"
	}
	switch f := k.field(d).(type) {
	case *string:
		if *f != "" {
			return "`" + quote(*f) + "`"
		}
	case *int:
		if *f != 0 {
			return strconv.Itoa(*f)
		}
		if k.Section == "limits" {
			return "no limit"
		}
	case *float64:
		return strconv.FormatFloat(*f, 'f', -1, 64)
	case *Size:
		if *f == 0 {
			return "no limit"
		}
		return f.String()
	case *time.Duration:
		if *f != 0 {
			return "`\"" + shortDuration(*f) + "\"`"
		}
	case *bool:
		return strconv.FormatBool(*f)
	}
	return "–"
}
