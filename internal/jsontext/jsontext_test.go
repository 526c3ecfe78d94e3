package jsontext

import (
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

// plain turns a Value into what encoding/json decodes into an any.
func plain(v Value) any {
	switch v.Kind {
	case Bool:
		return v.Text == "true"
	case Number:
		return json.Number(v.Text)
	case String:
		return v.Text
	case Array:
		list := []any{}
		for _, e := range v.List {
			list = append(list, plain(e))
		}
		return list
	case Object:
		m := map[string]any{}
		for _, e := range v.Members {
			m[e.Name] = plain(e.Value)
		}
		return m
	}
	return nil
}

func compare(t *testing.T, text string) {
	t.Helper()
	if strings.Count(text, "[")+strings.Count(text, "{") > MaxDepth || !utf8.ValidString(text) {
		return // stricter on purpose
	}
	v, err := Parse([]byte(text))
	var want any
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	ok := json.Valid([]byte(text))
	if ok {
		d.Decode(&want)
	}
	if (err == nil) != ok {
		t.Fatalf("%q: %v, but encoding/json says %v", text, err, ok)
	}
	if got := plain(v); ok && !reflect.DeepEqual(got, want) {
		t.Fatalf("%q: %#v, want %#v", text, got, want)
	}
	var s *SyntaxError
	if err != nil && !errors.As(err, &s) {
		t.Fatalf("%q: an error of type %T", text, err)
	}
}

var texts = []string{
	`{}`, `[]`, `null`, `true`, `false`, `0`, `-0.5e+10`, `""`, ` { "a" : [ 1 , "b" , { } ] , "a" : null } `,
	`"\u00e9\ud83d\ude00\n\/\ud800x\udc00"`, `"\ud800\ud800\udc00"`, `"\ud800\u12"`, `"é😀"`, `01`, `1.`, `.5`, `1e`, `+1`, `- 1`, `tru`, `nulll`, `{"a"}`, `{"a":}`, `{a:1}`,
	`[1,]`, `{"a":1,}`, `[1 2]`, `"` + "\n" + `"`, `"\x"`, `"`, `"\`, `"\u12`, `{`, `[`, ``, `1 1`, "\"\x7f\"", "\ufeff1", `1E9`, `{"a":1}]`,
}

func TestAgainstTheStandardLibrary(t *testing.T) {
	for _, s := range texts {
		compare(t, s)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range texts {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		compare(t, s)
		// And what is written is read back.
		b := Append(nil, Fields{{s, s}, {"list", []string{s, ""}}})
		var v map[string]any
		if err := json.Unmarshal(b, &v); err != nil || strings.ContainsAny(string(b), "\n\r") {
			t.Fatalf("%q: %v", b, err)
		}
		if want := strings.ToValidUTF8(s, "\uFFFD"); utf8.ValidString(s) && v["list"].([]any)[0] != want {
			t.Fatalf("%q was written as %s", s, b)
		}
	})
}

func TestLines(t *testing.T) {
	v, err := Parse([]byte("{\n\"a\": 1,\n\n\"b\": [\n2]}"))
	if err != nil || v.Members[1].Line != 4 || v.Members[1].Value.Line != 4 || v.Members[1].Value.List[0].Line != 5 {
		t.Errorf("%+v, %v", v, err)
	}
	_, err = Parse([]byte("{\n\"a\": 1,\n\n\"b\" 2}"))
	var s *SyntaxError
	if !errors.As(err, &s) || s.Line != 4 || s.Text != "there is '2' instead of ':'" {
		t.Error(err)
	}
}

func TestDepth(t *testing.T) {
	deep := func(n int) []byte { return []byte(strings.Repeat("[", n) + strings.Repeat("]", n)) }
	if _, err := Parse(deep(MaxDepth)); err != nil {
		t.Error(err)
	}
	if _, err := Parse(deep(1_000_000)); err == nil || err.Error() != "it is nested too deep" {
		t.Error(err)
	}
}

func TestAccess(t *testing.T) {
	v, _ := Parse([]byte(`{"n": 12, "f": 1.5, "n": 13, "s": "12"}`))
	if n, ok := v.Get("n").Int(); n != 13 || !ok {
		t.Error(n, ok)
	}
	for _, name := range []string{"f", "s", "none"} {
		if _, ok := v.Get(name).Int(); ok {
			t.Error(name)
		}
	}
}

func TestAppend(t *testing.T) {
	f := Fields{{"type", "x"}, {"n", 1}, {"big", int64(1) << 60}, {"f", 1.5}, {"nan", math.NaN()}, {"b", true}, {"nil", nil},
		{"none", Fields(nil)}, {"o", Fields{{"a", "\x1b\u2028<\xff"}}}, {"l", []Fields{{}, {{"z", 0}}}}}
	f = f.With("empty", "").With("zero", int64(0)).With("no", false).With("all", []Fields(nil)).With("there", "1")
	want := `{"type":"x","n":1,"big":1152921504606846976,"f":1.5,"nan":null,"b":true,"nil":null,"none":null,` +
		`"o":{"a":"\u001b\u2028<` + "\uFFFD" + `"},"l":[{},{"z":0}],"there":"1"}`
	if got := string(Append(nil, f)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
