package sshsig

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/godwit-ota/godwit"
)

// TestLines holds lists to the verdict of ssh-keygen: what we accept it accepts
// too, and the other way round but where a case says that we are stricter.
func TestLines(t *testing.T) {
	b := newBench(t)
	key := b.key("k", "-t", "ed25519")
	other := b.key("other", "-t", "ed25519")
	sig := b.sign("k", "git", "hello")
	day := noon.Format("20060102")
	utc := func(d time.Duration) string { return noon.Add(d).Format("20060102150405Z") }
	for _, c := range []struct {
		name, allowed string
		stricter      bool
		want          godwit.Code
	}{
		{name: "plain", allowed: "alice " + key},
		{name: "comment behind", allowed: "alice " + key + " alice's laptop \"home\""},
		{name: "comments and blank lines", allowed: "# signers\n\n   \n\t# more\nalice " + key},
		{name: "CRLF", allowed: "# signers\r\nalice " + key + "\r\n"},
		{name: "tabs", allowed: "\t alice\t\t" + strings.Replace(key, " ", "\t", 1)},
		{name: "several principals", allowed: "alice,*@example.org,!eve@example.org " + key},
		{name: "quoted principals", allowed: `"alice smith,bob" ` + key},
		{name: "quote within principals", allowed: `al"ice sm"ith ` + key, want: godwit.CodeRefused},
		{name: "quote not closed", allowed: `"alice ` + key, want: godwit.CodeRefused},
		{name: "quote closed and no space", allowed: `"alice"x ` + key, want: godwit.CodeRefused},
		{name: "only who it is not", allowed: "!alice " + key, want: godwit.CodeRefused},
		{name: "comma before a principal", allowed: ",alice " + key, want: godwit.CodeRefused},
		{name: "comma too much between principals", allowed: "bob,,alice " + key, stricter: true, want: godwit.CodeRefused},
		{name: "comma behind a principal", allowed: "alice, " + key, stricter: true, want: godwit.CodeRefused},
		{name: "second line", allowed: "bob " + other + "\nalice " + key},
		{name: "other key", allowed: "bob " + other, want: godwit.CodeUnknownSigner},
		{name: "empty", allowed: "", want: godwit.CodeUnknownSigner},
		{name: "no key", allowed: "alice", want: godwit.CodeRefused},
		{name: "only a type", allowed: "alice ssh-ed25519", want: godwit.CodeRefused},
		{name: "only the base64", allowed: "alice " + strings.Fields(key)[1], want: godwit.CodeRefused},
		{name: "no principal", allowed: key, want: godwit.CodeRefused},
		{name: "malformed before", allowed: "alice\nalice " + key, stricter: true, want: godwit.CodeRefused},
		{name: "malformed behind", allowed: "alice " + key + "\nalice", stricter: true, want: godwit.CodeRefused},
		{name: "type of another key", allowed: "alice ssh-rsa " + strings.Fields(key)[1], want: godwit.CodeRefused},
		{name: "type by its short name", allowed: "alice ED25519 " + strings.Fields(key)[1], want: godwit.CodeRefused},
		{name: "base64 cut", allowed: "alice " + key[:len(key)-4], want: godwit.CodeRefused},
		{name: "base64 goes on", allowed: "alice " + key + "AAAA", want: godwit.CodeRefused},
		{name: "zero byte", allowed: "alice " + key + "\x00", stricter: true, want: godwit.CodeRefused},

		{name: "namespace", allowed: `alice namespaces="git" ` + key},
		{name: "namespaces", allowed: `alice namespaces="file,git" ` + key},
		{name: "namespace patterns", allowed: `alice namespaces="g*,!god*" ` + key},
		{name: "namespace ruled out", allowed: `alice namespaces="*,!git" ` + key, want: godwit.CodeUnknownSigner},
		{name: "other namespace", allowed: `alice namespaces="godwit" ` + key, want: godwit.CodeUnknownSigner},
		{name: "no namespace", allowed: `alice namespaces="" ` + key, want: godwit.CodeUnknownSigner},
		{name: "namespaces twice", allowed: `alice namespaces="git",namespaces="git" ` + key, want: godwit.CodeRefused},
		{name: "namespaces not quoted", allowed: `alice namespaces=git ` + key, want: godwit.CodeRefused},
		{name: "option in capitals", allowed: `alice NameSpaces="git" ` + key},
		{name: "namespace with a quote", allowed: `alice namespaces="a\"b,git" ` + key},
		{name: "namespace with spaces", allowed: `alice namespaces="a b,git" ` + key},
		{name: "other namespace, then the right line", allowed: `alice namespaces="file" ` + key + "\nalice " + key},

		{name: "authority", allowed: "alice cert-authority " + key, want: godwit.CodeUnknownSigner},
		{name: "authority with a value", allowed: `alice cert-authority="x" ` + key, want: godwit.CodeRefused},
		{name: "unknown option", allowed: "alice no-touch-required " + key, want: godwit.CodeRefused},
		{name: "unknown option with a value", allowed: `alice from="x" ` + key, want: godwit.CodeRefused},
		{name: "comma at the end", allowed: `alice namespaces="git", ` + key, want: godwit.CodeRefused},
		{name: "no comma", allowed: `alice namespaces="git"valid-after="20200101" ` + key, want: godwit.CodeRefused},

		{name: "valid since before", allowed: `alice valid-after="20200101" ` + key},
		{name: "valid since this second", allowed: `alice valid-after="` + utc(0) + `" ` + key},
		{name: "valid in a second", allowed: `alice valid-after="` + utc(time.Second) + `" ` + key, want: godwit.CodeUnknownSigner},
		{name: "valid until this second", allowed: `alice valid-before="` + utc(0) + `" ` + key},
		{name: "valid until a second ago", allowed: `alice valid-before="` + utc(-time.Second) + `" ` + key, want: godwit.CodeUnknownSigner},
		{name: "both", allowed: `alice valid-after="` + day + `",valid-before="` + day + `235959" ` + key},
		{name: "both, the wrong way round", allowed: `alice valid-before="20200101",valid-after="20200102" ` + key, want: godwit.CodeRefused},
		{name: "both, the same", allowed: `alice valid-before="20200101",valid-after="20200101" ` + key, want: godwit.CodeRefused},
		{name: "minutes, UTC", allowed: `alice valid-after="` + noon.Format("200601021504") + `UTC" ` + key},
		{name: "lower-case z", allowed: `alice valid-after="` + day + `z" ` + key},
		{name: "time twice", allowed: `alice valid-after="20200101",valid-after="20200101" ` + key, want: godwit.CodeRefused},
		{name: "time not quoted", allowed: `alice valid-after=20200101 ` + key, want: godwit.CodeRefused},
		{name: "hours only", allowed: `alice valid-after="2020010112" ` + key, want: godwit.CodeRefused},
		{name: "no such month", allowed: `alice valid-after="20201301" ` + key, want: godwit.CodeRefused},
		{name: "no such day", allowed: `alice valid-after="20200230" ` + key, stricter: true, want: godwit.CodeRefused},
		{name: "signs in a time", allowed: `alice valid-after="+2020011" ` + key, want: godwit.CodeRefused},
		{name: "the beginning of time", allowed: `alice valid-after="19700101Z" ` + key, want: godwit.CodeRefused},

		{name: "key of a later kind", allowed: "new ssh-later AAAACXNzaC1sYXRlcg==\nalice " + key},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := ours(sig, "hello", "git", c.allowed, "", noon)
			if godwit.CodeOf(err) != c.want {
				t.Fatalf("%v, want the code %q", err, c.want)
			}
			if c.name == "key of a later kind" {
				return // ssh-keygen knows none of those
			}
			if theirs := b.theirs(sig, "hello", "git", c.allowed, "", noon); theirs != (err == nil) && !(theirs && c.stricter) {
				t.Errorf("ssh-keygen says %v, we say %v", theirs, err)
			}
		})
	}
}

// TestLocalTime reads times without a zone as those of this place, which the
// tests of the table cannot: they say UTC everywhere.
func TestLocalTime(t *testing.T) {
	defer func(was *time.Location) { time.Local = was }(time.Local)
	time.Local = time.FixedZone("there", 3600)
	got, ok := parseTime("20260615130000")
	if !ok || !got.Equal(noon) {
		t.Errorf("%v %v, want %v", got, ok, noon)
	}
}

func TestSigners(t *testing.T) {
	b := newBench(t)
	key := b.key("k", "-t", "ed25519")
	s, _, err := Parse([]byte(b.sign("k", "git", "hello")))
	if err != nil {
		t.Fatal(err)
	}
	got, err := Find(text("alice "+key+"\nbob@x,*@y valid-after=\"20260101Z\",valid-before=\"20260102Z\" "+key), s.Key, "git")
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got[0].Principal != "alice" || got[0].Key != s.Key.Fingerprint() || !got[0].ValidAfter.IsZero() || !got[0].ValidBefore.IsZero() || got[0].CA {
		t.Errorf("%+v", got)
	}
	if got[1].Principal != "bob@x,*@y" || got[1].ValidAfter.Format(time.DateOnly) != "2026-01-01" || got[1].ValidBefore.UTC().Format(time.DateOnly) != "2026-01-02" {
		t.Errorf("%+v", got[1])
	}
	if got, err := Find(text(strings.Repeat("alice "+key+"\n", 1000)), s.Key, "git"); err != nil || len(got) != maxSigners {
		t.Errorf("%d signers, %v", len(got), err)
	}
	for name, c := range map[string]struct {
		list List
		code godwit.Code
		say  string
	}{
		"no list":                  {nil, godwit.CodeUnknownSigner, s.Key.Fingerprint()},
		"none there":               {func() (io.ReadCloser, error) { return nil, nil }, godwit.CodeUnknownSigner, ""},
		"unreadable":               {func() (io.ReadCloser, error) { return nil, errors.New("stolen") }, godwit.CodeIO, "stolen"},
		"breaks":                   {func() (io.ReadCloser, error) { return io.NopCloser(broken{}), nil }, godwit.CodeIO, "torn"},
		"too long":                 {text("alice " + key + " " + strings.Repeat("x", maxLine)), godwit.CodeRefused, "line 1"},
		"too long, no end of line": {text("# ok\nalice " + strings.Repeat("x", 10*maxLine)), godwit.CodeRefused, "line 2"},
		"why not":                  {text("# file only\nalice namespaces=\"file\" " + key), godwit.CodeUnknownSigner, "line 2 has it, but only for the namespaces \"file\""},
	} {
		_, err := Find(c.list, s.Key, "git")
		if godwit.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.say) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A long comment is a line as well.
	if err := CheckSigners(text("# "+strings.Repeat("x", maxLine-4)+"\nalice "+key), nil, "git", 1, noon); err != nil {
		t.Error(err)
	}
}

// broken is a file on a bad disk.
type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("torn") }

func TestCheckSigners(t *testing.T) {
	b := newBench(t)
	key, two, three := b.key("k", "-t", "ed25519"), b.key("two", "-t", "ed25519"), b.key("three", "-t", "ecdsa", "-b", "256")
	b.run("", "-q", "-k", "-f", "krl", "two.pub")
	bad := func() (io.ReadCloser, error) { return io.NopCloser(broken{}), nil }
	for name, c := range map[string]struct {
		allowed, revoked List
		least            int
		say              string // "" where it is of use
	}{
		"plain":              {text("alice " + key), nil, 1, ""},
		"for git":            {text("alice namespaces=\"git\" " + key), nil, 1, ""},
		"for manifests":      {text("alice namespaces=\"godwit\" " + key), nil, 1, "allows 0 to sign for \"git\", and it takes 1"},
		"authority":          {text("* cert-authority " + key), nil, 3, ""},
		"authority, revoked": {text("* cert-authority " + key), text(key), 1, "allows 0"},
		"over":               {text("alice valid-before=\"19990101\" " + key), nil, 1, "allows 0"},
		"over later":         {text("alice valid-before=\"20270101\" " + key), nil, 1, ""},
		"not yet":            {text("alice valid-after=\"20270101\" " + key), nil, 1, ""},
		"none":               {nil, nil, 1, "allows 0"},
		"empty":              {text("# nobody yet\n"), nil, 0, "allows 0"},
		"only unknown kinds": {text("alice ssh-later AAAACXNzaC1sYXRlcg=="), nil, 1, "allows 0"},

		"two of two":              {text("alice " + key + "\nbob " + two), nil, 2, ""},
		"one of two":              {text("alice " + key), nil, 2, "allows 1 to sign for \"git\", and it takes 2"},
		"two keys of one":         {text("alice " + key + "\nalice " + two), nil, 2, "allows 1"},
		"two names of one key":    {text("alice " + key + "\nbob " + key), nil, 2, "allows 1"},
		"in an odd order":         {text("alice " + key + "\nalice " + two + "\nbob " + key), nil, 2, ""},
		"two, and one is revoked": {text("alice " + key + "\nbob " + two), text(two), 2, "allows 1"},
		"two, revoked by a KRL":   {text("alice " + key + "\nbob " + two), text(b.read("krl")), 2, "allows 1"},
		"three, and one is":       {text("alice " + key + "\nbob " + two + "\ncarol " + three), text(two), 2, ""},
		"all are revoked":         {text("alice " + key + "\nbob " + two), text(key + "\n" + two), 1, "allows 0"},
		"revoked, and malformed":  {text("alice " + key), text("SHA256:x"), 1, "line 1 of the list of revoked keys"},
		"revoked cannot be read":  {text("alice " + key), bad, 1, "torn"},
		"mistake behind":          {text("alice " + key + "\n\nbob ssh-ed25519 x"), nil, 1, "line 3"},
		"mistake in an option":    {text("alice name-spaces=\"git\" " + key), nil, 1, "\"name-spaces\""},
		"breaks":                  {bad, nil, 1, "torn"},
	} {
		err := CheckSigners(c.allowed, c.revoked, "git", c.least, noon)
		if (err == nil) != (c.say == "") || err != nil && !strings.Contains(err.Error(), c.say) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		s, patterns string
		want        bool
	}{
		{"git", "git", true}, {"git", "gi", false}, {"git", "gits", false}, {"git", "*", true}, {"", "*", true}, {"", "", true},
		{"git", "", false}, {"git", "g?t", true}, {"git", "g??t", false}, {"git", "*t", true}, {"git", "g*", true}, {"git", "*i*", true},
		{"git", "x*", false}, {"git", "**", true}, {"git", "?*?", true}, {"git", "????", false}, {"aab", "*ab", true}, {"aXbXc", "a*X*c", true},
		{"git", "a,git", true}, {"git", "a,b", false}, {"git", "*,!git", false}, {"git", "!git,*", false}, {"git", "!a", false}, {"git", "!a,*", true},
		{"Git", "git", false}, {"a,b", "a?b", true},
	} {
		if got := matchList(c.s, c.patterns); got != c.want {
			t.Errorf("%q in %q: %v", c.s, c.patterns, got)
		}
	}
}
