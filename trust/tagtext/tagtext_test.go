package tagtext

import (
	"bytes"
	"os/exec"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/godwit-ota/godwit"
)

const head = "object 1\ntype commit\ntag v1\ntagger A U Thor <a@b> 1796126400 +0100\n\n"

func TestTrailers(t *testing.T) {
	for message, want := range map[string]map[string][]string{
		"subject\n":                                               {},
		"subject\n\nProduct: station\n":                           {"product": {"station"}},
		"Product: station\n":                                      {"product": {"station"}},
		"subject\n\nProduct: early\n\nTree: x\n":                  {"tree": {"x"}},
		"subject\n\nPRODUCT : station\nno trailer\nTree:x\n\n":    {"product": {"station"}, "tree": {"x"}},
		"subject\n\nHalt: too\n loud\n\tstill\nFloor: v1\n":       {"halt": {"too loud still"}, "floor": {"v1"}},
		"subject\n\n goes on with nothing\nFloor: v1\nOther: 1\n": {"floor": {"v1"}},
		"subject\n\nWave: a=b\nWave: c=d\n":                       {"wave": {"a=b", "c=d"}},
		"subject\n\nProduct: a\nproduct: a\n":                     nil,
		"subject\n\nProduct:\n":                                   nil,
	} {
		tag, err := Parse([]byte(head + message))
		if want == nil {
			if godwit.CodeOf(err) != godwit.CodeBadStatement {
				t.Errorf("%q: %v", message, err)
			}
			continue
		}
		if err != nil || !reflect.DeepEqual(tag.trailers, want) {
			t.Errorf("%q: %v, %v, want %v", message, tag, err, want)
		}
	}
}

func TestParse(t *testing.T) {
	tag, err := Parse([]byte(head + "the subject\n\nNot-After: 2027-01-31T01:00:00+01:00\n"))
	if err != nil {
		t.Fatal(err)
	}
	when, err := tag.When("not-after")
	if tag.Object != "1" || tag.Kind != "commit" || tag.Name != "v1" || tag.Tagger != "A U Thor <a@b>" || tag.Time != time.Unix(1796126400, 0).UTC() ||
		tag.Subject != "the subject" || err != nil || when.Format(time.RFC3339) != "2027-01-31T00:00:00Z" || tag.Get("Product") != "" {
		t.Errorf("%+v, %v, %v", tag, when, err)
	}
	if when, err := tag.When("Product"); err != nil || !when.IsZero() {
		t.Errorf("%v, %v", when, err)
	}
	for _, bad := range []string{
		"", "object 1\n", strings.Replace(head, "object 1", "object ", 1), strings.Replace(head, "tag v1\n", "", 1), strings.Replace(head, "\n\n", "\nencoding x\n\n", 1),
		strings.Replace(head, "1796126400", "x", 1), strings.Replace(head, "1796126400", "-5", 1), head + "a\x00b", strings.TrimSuffix(head, "\n\n"),
	} {
		if _, err := Parse([]byte(bad)); godwit.CodeOf(err) != godwit.CodeBadStatement {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if tag, err := Parse([]byte(head + "s\n\nNot-After: soon\n")); err != nil {
		t.Error(err)
	} else if _, err := tag.When("Not-After"); godwit.CodeOf(err) != godwit.CodeBadStatement {
		t.Errorf("soon: %v", err)
	}
}

func TestSplit(t *testing.T) {
	const sig = sshBegin + "\nx\n"
	for object, want := range map[string]string{
		head + "s\n": head + "s\n", head + "s\n" + sig: head + "s\n", head + "s\n" + sig + sig: head + "s\n", head + "s " + sig: head + "s " + sig, "": "",
	} {
		if text, rest := Split([]byte(object)); string(text) != want || string(text)+string(rest) != object {
			t.Errorf("%q: %q and %q", object, text, rest)
		}
	}
	for text, want := range map[string]string{"x\n" + pgpBegin: "OpenPGP", "x\n" + cmsBegin: "X.509", "x": ""} {
		if got := OtherSignature([]byte(text)); got != want {
			t.Errorf("%q: %q", text, got)
		}
	}
}

// TestLikeGit compares the trailers with what git finds in the same messages.
func TestLikeGit(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is not installed")
	}
	for _, message := range []string{
		"Release v1\n\nProduct: station\nTree: abc\n", "Release v1\n\nfirst: not\n\nProduct: station\nWave: a=b\nWave: c=d\n", "Release v1\n\nHalt: too\n  loud\nFloor: v1\n",
	} {
		cmd := exec.Command("git", "interpret-trailers", "--parse", "--unfold")
		cmd.Stdin = strings.NewReader(message)
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		tag, err := Parse([]byte(head + message))
		if err != nil {
			t.Fatal(err)
		}
		theirs := map[string][]string{}
		for line := range strings.Lines(string(out)) {
			key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
			theirs[strings.ToLower(key)] = append(theirs[strings.ToLower(key)], value)
		}
		if !reflect.DeepEqual(tag.trailers, theirs) {
			t.Errorf("%q: %v, and git says %v", message, tag.trailers, theirs)
		}
	}
}

// No text makes the parser fail other than by an error, and what it accepts it
// read as the rules say.
func FuzzTag(f *testing.F) {
	f.Add("object 1\ntype commit\ntag v1\ntagger A <a@b> 1 +0000\n\nx\n\nProduct: station\nTree: 1\n")
	f.Add("object 1\ntype commit\ntag v1\ntagger > 9 \n\n: \n -----BEGIN SSH SIGNATURE-----\n")
	f.Add(head + "s\n\nHalt: a\n b\n" + sshBegin + "\n")
	f.Fuzz(func(t *testing.T, s string) {
		text, rest := Split([]byte(s))
		if string(text)+string(rest) != s || bytes.Contains(text, []byte("\n"+sshBegin)) {
			t.Fatalf("split into %q and %q", text, rest)
		}
		tag, err := Parse(text)
		if err != nil {
			if godwit.CodeOf(err) != godwit.CodeBadStatement {
				t.Errorf("%v", err)
			}
			return
		}
		for k, v := range tag.trailers {
			if len(v) == 0 || k != "wave" && len(v) > 1 {
				t.Errorf("%q: %q", k, v)
			}
		}
	})
}
