package manifest

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/godwit-ota/godwit"
)

func TestReadChannel(t *testing.T) {
	r, n := source(`{"channel": "stable", "sequence": 42, "release": "v1.4.0", "manifest": "` + sumA + `", "product": "station",
		"rollout": 25, "waves": ["site=lab", " ring = 0 "], "window": "22:30-04:00", "floor": "v1.2.0", "floor_manifest": "` + strings.Repeat("0b", 32) + `", "not_after": "2027-01-31T00:00:00Z",
		"rollback_to": "v1.4.0", "halt": "it is too loud", "time": "2026-11-23T12:00:00Z", "highest": "v1.5.0", "more": {}}`)
	want := Channel{
		Name: "stable", Sequence: 42, Release: "v1.4.0", Manifest: sumA, Product: "station", Rollout: 25,
		Waves:  []godwit.Label{{Key: "site", Value: "lab"}, {Key: "ring", Value: "0"}},
		Window: godwit.Window{From: 22*60 + 30, To: 4 * 60}, Floor: "v1.2.0", FloorManifest: strings.Repeat("0b", 32), NotAfter: time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC),
		RollbackTo: "v1.4.0", Halt: "it is too loud", Time: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC), Highest: "v1.5.0",
	}
	got, err := ReadChannel(r, n)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("%+v, %v", got, err)
	}
	text := string(want.Append(nil))
	if !strings.Contains(text, `"waves": ["site=lab","ring=0"]`) || !strings.Contains(text, `"window": "22:30-04:00"`) {
		t.Error(text)
	}
	r, n = source(text)
	if got, err := ReadChannel(r, n); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
}

const least = `"channel": "stable", "sequence": 1, "release": "v1", "time": "2026-11-23T12:00:00Z", "manifest": "`

func TestRolloutOfAChannel(t *testing.T) {
	for _, c := range []struct {
		text string
		want int
		halt string
	}{
		{``, 100, ""}, {`, "waves": ["a=b"]`, 0, ""}, {`, "waves": []`, 100, ""}, {`, "rollout": 0`, 0, HaltZero}, {`, "waves": ["a=b"], "rollout": 7`, 7, ""},
		{`, "waves": ["a=b"], "rollout": 0`, 0, HaltZero}, {`, "waves": ["a=b"], "rollout": 0, "halt": "stop"`, 0, "stop"}, {`, "rollout": 100, "waves": ["a=b"]`, 100, ""},
	} {
		r, n := source(`{` + least + sumA + `"` + c.text + `}`)
		got, err := ReadChannel(r, n)
		if err != nil || got.Rollout != c.want || got.Halt != c.halt {
			t.Errorf("%s: %d %q, %v", c.text, got.Rollout, got.Halt, err)
		}
		b := string(got.Append(nil))
		r, n = source(b)
		if again, err := ReadChannel(r, n); err != nil || !reflect.DeepEqual(again, got) {
			t.Errorf("%s: %+v, %v", b, again, err)
		}
	}
}

func TestReadChannelRefuses(t *testing.T) {
	for _, c := range []struct{ name, doc, text string }{
		{"nothing", `{}`, `"channel" is missing`},
		{"no manifest", `{"channel": "stable", "sequence": 1, "release": "v1", "time": "2026-11-23T12:00:00Z"}`, `"manifest" is missing`},
		{"sequence 0", `{"channel": "stable", "sequence": 0, "release": "v1"}`, `"sequence" is missing`},
		{"no time", `{"channel": "stable", "sequence": 1, "release": "v1", "manifest": "` + sumA + `"}`, `"time" is missing`},
		{"a Git id", `{` + least + sumA[:40] + `"}`, `"manifest" must be the SHA-256`},
		{"a Git id for the floor", `{` + least + sumA + `", "floor_manifest": "` + sumA[:40] + `"}`, `"floor_manifest" must be the SHA-256`},
		{"101 %", `{` + least + sumA + `", "rollout": 101}`, `"rollout" must be a percentage`},
		{"a text as rollout", `{` + least + sumA + `", "rollout": "25%"}`, `"rollout" must be a number`},
		{"no label", `{` + least + sumA + `", "waves": ["lab"]}`, `"lab" is not of the form site=lab`},
		{"waves that are none", `{` + least + sumA + `", "waves": "site=lab"}`, `"waves" must be a list`},
		{"hours that are none", `{` + least + sumA + `", "window": "2-4"}`, `"2-4" is not of the form 02:00-04:00`},
		{"hour 25", `{` + least + sumA + `", "window": "02:00-25:00"}`, `is not of the form`},
		{"minute 60", `{` + least + sumA + `", "window": "02:60-03:00"}`, `is not of the form`},
		{"twice", `{` + least + sumA + `", "sequence": 2}`, `"sequence" appears twice`},
		{"not JSON", `stable`, `the channel file is not JSON`},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, n := source(c.doc)
			_, err := ReadChannel(r, n)
			if godwit.CodeOf(err) != godwit.CodeBadStatement || !strings.Contains(err.Error(), c.text) {
				t.Errorf("%s: %v; want …%s…", godwit.CodeOf(err), err, c.text)
			}
		})
	}
	r, n := source(`{` + least + sumA + `"}` + strings.Repeat(" ", maxChannel))
	if _, err := ReadChannel(r, n); godwit.CodeOf(err) != godwit.CodeLimit {
		t.Error(err)
	}
}

func TestWindows(t *testing.T) {
	for from := 0; from < 24*60; from += 7 {
		w := godwit.Window{From: from, To: (from + 611) % (24 * 60)}
		if got, err := ParseWindow(FormatWindow(w)); err != nil || got != w {
			t.Fatalf("%+v: %s: %+v, %v", w, FormatWindow(w), got, err)
		}
	}
	if w, err := ParseWindow("20:00-24:00"); err != nil || w != (godwit.Window{From: 1200}) {
		t.Error(w, err)
	}
}
