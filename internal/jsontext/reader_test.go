package jsontext

import (
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"
)

// walk reads text one byte at a time and gives what encoding/json's tokens
// would be. It checks the offsets on the way.
func walk(t *testing.T, text string) (tokens []json.Token, err error) {
	r := NewReader(iotest.OneByteReader(strings.NewReader(text)), Limits{})
	end := int64(0)
	var open []Kind
	for {
		k, err := r.Next()
		if err == io.EOF {
			return tokens, nil
		}
		if err != nil {
			if _, again := r.Next(); again != err {
				t.Fatalf("%q: %v, and then %v", text, err, again)
			}
			return tokens, err
		}
		from, to := r.Offset(), r.Position()
		if from < end || to <= from || int(to) > len(text) {
			t.Fatalf("%q: a token from %d to %d, after %d", text, from, to, end)
		}
		if want := 1 + strings.Count(text[:from], "\n"); r.Line() != want {
			t.Fatalf("%q: a token at %d in line %d, not %d", text, from, r.Line(), want)
		}
		end = to
		raw := text[from:to]
		switch k {
		case Null:
			tokens = append(tokens, nil)
		case Bool:
			tokens = append(tokens, string(r.Text()) == "true")
		case Number:
			tokens = append(tokens, json.Number(r.Text()))
			if raw != string(r.Text()) {
				t.Fatalf("%q: %q stands for %q", text, raw, r.Text())
			}
		case String, Name:
			tokens = append(tokens, string(r.Text()))
			if k == Name { // with its colon
				raw = raw[:strings.LastIndexByte(raw, '"')+1]
			}
			var s string
			if err := json.Unmarshal([]byte(raw), &s); err != nil || s != string(r.Text()) {
				t.Fatalf("%q: %s stands for %q: %v", text, raw, r.Text(), err)
			}
		case Array, Object:
			open = append(open, k)
			tokens = append(tokens, json.Delim(raw[0]))
		case End:
			open = open[:len(open)-1]
			tokens = append(tokens, json.Delim(raw[0]))
		}
		if r.Depth() != len(open) {
			t.Fatalf("%q: depth %d, want %d", text, r.Depth(), len(open))
		}
	}
}

func compareTokens(t *testing.T, text string) {
	t.Helper()
	if strings.Count(text, "[")+strings.Count(text, "{") > MaxDepth || !utf8.ValidString(text) {
		return // stricter on purpose
	}
	got, err := walk(t, text)
	if valid := json.Valid([]byte(text)); (err == nil) != valid {
		t.Fatalf("%q: %v, but encoding/json says %v", text, err, valid)
	}
	if err != nil {
		return
	}
	var want []json.Token
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	for {
		tok, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, tok)
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%q: %#v, want %#v", text, got, want)
	}
	// Skipping the document passes over all of it.
	r := NewReader(strings.NewReader(text), Limits{})
	if _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	if err := r.Skip(); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	if _, err := r.Next(); err != io.EOF || r.Depth() != 0 {
		t.Fatalf("%q: after all of it %v", text, err)
	}
}

func TestReaderAgainstTheStandardLibrary(t *testing.T) {
	for _, s := range texts {
		compareTokens(t, s)
	}
	// Tokens that lie across the edge of the buffer.
	for pad := readerBuffer - 20; pad < readerBuffer+2; pad++ {
		space := strings.Repeat(" ", pad)
		for _, s := range []string{`{"a":-1.5e+10}`, `["\ud83d\ude00é😀"]`, `[true,false]`} {
			text := space + s
			got, err := Parse([]byte(text))
			want, _ := Parse([]byte(s))
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Fatalf("%d spaces and %s: %+v, %v", pad, s, got, err)
			}
		}
	}
}

func FuzzReader(f *testing.F) {
	for _, s := range texts {
		f.Add(s)
	}
	f.Fuzz(compareTokens)
}

func TestReaderLimits(t *testing.T) {
	for _, c := range []struct {
		name, text string
		limits     Limits
		want       string
	}{
		{"as long as allowed", `["abc"]`, Limits{Bytes: 7, Text: 3}, ""},
		{"too long", `["abc"] `, Limits{Bytes: 7}, "it is larger than 7 bytes"},
		{"too long within a string", `["abc"]`, Limits{Bytes: 4}, "it is larger than 4 bytes"},
		{"a long string", `["abcd"]`, Limits{Text: 3}, "a string or number is longer than 3 bytes"},
		{"long by an escape", `["abc\n"]`, Limits{Text: 3}, "a string or number is longer than 3 bytes"},
		{"a long name", `{"abcd":1}`, Limits{Text: 3}, "a string or number is longer than 3 bytes"},
		{"a long number", `[1000]`, Limits{Text: 3}, "a string or number is longer than 3 bytes"},
		{"an endless number", `[` + strings.Repeat("1", 70<<10), Limits{}, "a string or number is longer than 65536 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := NewReader(strings.NewReader(c.text), c.limits)
			var err error
			for err == nil {
				_, err = r.Next()
			}
			var limit *LimitError
			if c.want == "" && err != io.EOF || c.want != "" && (!errors.As(err, &limit) || limit.Text != c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

func TestReaderPassesOnWhatTheSourceSays(t *testing.T) {
	broken := errors.New("the line broke")
	for _, text := range []string{``, `[`, `["a`, `["\u00`, `[12`, `[tr`, `{"a":`, `[] `} {
		r := NewReader(io.MultiReader(strings.NewReader(text), iotest.ErrReader(broken)), Limits{})
		var err error
		for err == nil {
			_, err = r.Next()
		}
		if err != broken {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestReaderSkipsAndReadsValues(t *testing.T) {
	r := NewReader(strings.NewReader(`{"a": [1, {"b": [2]}], "c": {"d": "e", "f": [null]}, "g": 3, "h": "`+strings.Repeat("x", 100)+`"}`), Limits{})
	r.Next()
	for _, want := range []string{"a", "c", "g", "h"} {
		if k, err := r.Next(); k != Name || err != nil || string(r.Text()) != want {
			t.Fatal(k, err, string(r.Text()))
		}
		var v Value
		var err error
		switch want {
		case "a":
			err = r.Skip()
		case "c":
			if v, err = r.Value(40); len(v.Members) != 2 || v.Get("d").Text != "e" || v.Get("f").List[0].Kind != Null {
				t.Errorf("%+v", v)
			}
		case "g":
			if v, err = r.Value(1); v.Text != "3" {
				t.Errorf("%+v", v)
			}
		case "h":
			err = r.Skip()
		}
		if err != nil {
			t.Fatal(want, err)
		}
	}
	if k, err := r.Next(); k != End || err != nil {
		t.Error(k, err)
	}
	r = NewReader(strings.NewReader(`{"c": {"d": "e", "f": [null]}}`), Limits{})
	r.Next()
	r.Next()
	var limit *LimitError
	if _, err := r.Value(10); !errors.As(err, &limit) {
		t.Error(err)
	}
}

func TestReaderKeepsHalvesOfPairs(t *testing.T) {
	read := func(l Limits) string {
		r := NewReader(strings.NewReader(`"a\ud800b\udc00\ud83d\ude00"`), l)
		if _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
		return string(r.Text())
	}
	if got := read(Limits{}); got != "a\uFFFDb\uFFFD😀" {
		t.Errorf("%q", got)
	}
	if got := read(Limits{Surrogates: true}); got != "a\xed\xa0\x80b\xed\xb0\x80😀" {
		t.Errorf("%q", got)
	}
	for _, s := range []string{"\"\xed\xa0\x80\"", "\"\xc3\"", "\"\xc3\\u00e9\"", "\xff"} {
		r := NewReader(strings.NewReader(s), Limits{Surrogates: true})
		if _, err := r.Next(); err == nil || err.Error() != "this is not UTF-8 text" {
			t.Errorf("%q: %v", s, err)
		}
	}
}

// TestReaderMemory: a document of any length is read in a few allocations.
func TestReaderMemory(t *testing.T) {
	text := `[` + strings.Repeat(`{"path":"a/b","size":12,"ok":[true,null]},`, 10_000) + `0]`
	n := testing.AllocsPerRun(3, func() {
		r := NewReader(strings.NewReader(text), Limits{})
		for {
			if _, err := r.Next(); err == io.EOF {
				break
			} else if err != nil {
				t.Fatal(err)
			}
		}
	})
	if n > 10 {
		t.Errorf("%v allocations", n)
	}
}
