package jsontext

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
)

func scanned(s string) (lines []string, err error) {
	err = Scan(strings.NewReader(s), Limits{Text: 100}, func(path, text []byte) error {
		lines = append(lines, string(path)+"="+string(text))
		return nil
	})
	return lines, err
}

func TestScan(t *testing.T) {
	for _, c := range []struct {
		text string
		want []string
	}{
		{`{}`, nil},
		{`7`, []string{"=7"}},
		{`{"a": 1, "b": {"c": "x", "d": null}, "e": true}`, []string{"a=1", "b.c=x", "b.d=", "e=true"}},
		{`[{"a": 1}, {"a": 2}]`, []string{"a=1", "/=", "a=2", "/="}},
		{`{"l": [{"a": {"b": 1}}, 5, [6, {"c": 7}]], "z": 8}`, []string{"l.a.b=1", "l/=", "l=5", "l=6", "l.c=7", "l/=", "z=8"}},
		{`{"a.b": {"": 1}}`, []string{"a.b.=1"}},
	} {
		got, err := scanned(c.text)
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q, %v", c.text, got, err)
		}
	}
	var limit *LimitError
	if _, err := scanned(strings.Repeat(`{"`+strings.Repeat("n", 90)+`":`, 12) + "1" + strings.Repeat("}", 12)); !errors.As(err, &limit) {
		t.Error(err)
	}
	stop := errors.New("stop")
	if err := Scan(strings.NewReader(`{"a":1,"b":2}`), Limits{}, func(path, _ []byte) error { return stop }); err != stop {
		t.Error(err)
	}
}

func FuzzScan(f *testing.F) {
	for _, s := range []string{`{}`, `[]`, `{"a":[{"b":1},{"b":[2,{"c":null}]}],"d":"x"}`, `[[{"a":1}]]`, `1`, `{"":{"":[{}]}}`, `{"a":`, `[1,]`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		lines, err := scanned(s)
		for _, l := range lines {
			if len(l) > maxScanPath+102 {
				t.Fatalf("%q", l)
			}
		}
		if err == nil && !json.Valid([]byte(s)) {
			t.Fatalf("%q is not JSON", s)
		}
	})
}
