package lfs

import (
	"errors"
	"regexp"
	"strings"
	"testing"
)

const sum = "4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393"

const good = "version https://git-lfs.github.com/spec/v1\noid sha256:" + sum + "\nsize 12345\n"

func TestParsePointer(t *testing.T) {
	for in, want := range map[string]Pointer{
		good: {sum, 12345},
		strings.Replace(good, "size 12345", "size 0", 1): {sum, 0},
		good + "zone x\n": {sum, 12345},
		strings.Replace(good, "oid ", "a.b-c value with spaces\noid ", 1): {sum, 12345},
	} {
		if p, err := ParsePointer([]byte(in)); err != nil || p != want {
			t.Errorf("%q: %+v, %v", in, p, err)
		}
	}
	for name, in := range map[string]string{
		"empty":             "",
		"text":              "hello\n",
		"other version":     strings.Replace(good, "spec/v1", "spec/v2", 1),
		"before 1.0":        strings.Replace(good, "git-lfs.github.com", "hawser.github.com", 1),
		"version not first": strings.Replace(good, "version", "a b\nversion", 1),
		"no end":            strings.TrimSuffix(good, "\n"),
		"cr":                strings.ReplaceAll(good, "\n", "\r\n"),
		"no size":           good[:strings.Index(good, "size")],
		"no oid":            "version https://git-lfs.github.com/spec/v1\nsize 1\n",
		"order":             "version https://git-lfs.github.com/spec/v1\nsize 1\noid sha256:" + sum + "\n",
		"twice":             good + "size 1\n",
		"upper case":        strings.Replace(good, sum, strings.ToUpper(sum), 1),
		"short oid":         strings.Replace(good, sum, sum[1:], 1),
		"md5":               strings.Replace(good, "sha256", "md5", 1),
		"negative":          strings.Replace(good, "12345", "-1", 1),
		"leading zero":      strings.Replace(good, "12345", "012345", 1),
		"plus":              strings.Replace(good, "12345", "+1", 1),
		"too big":           strings.Replace(good, "12345", "9999999999999999999", 1),
		"double space":      strings.Replace(good, "size ", "size  ", 1),
		"extension":         strings.Replace(good, "oid ", "ext-0-x sha256:"+sum+"\noid ", 1),
		"empty line":        good + "\n",
		"too long":          good + "z " + strings.Repeat("x", PointerLimit) + "\n",
	} {
		if p, err := ParsePointer([]byte(in)); !errors.Is(err, ErrNotPointer) {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
}

func FuzzParsePointer(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte(strings.Replace(good, "12345", "0", 1)))
	f.Add([]byte(strings.Replace(good, "oid ", "ext-0-x y\noid ", 1)))
	f.Add([]byte("version https://git-lfs.github.com/spec/v1\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ParsePointer(b)
		if err != nil {
			return
		}
		if len(b) >= PointerLimit || !isSHA256(p.OID) || p.Size < 0 || !strings.Contains(string(b), "oid sha256:"+p.OID+"\n") {
			t.Fatalf("%q gave %+v", b, p)
		}
		p.Digest()
	})
}

func FuzzContentRange(f *testing.F) {
	f.Add("bytes 0-9/10")
	f.Add("bytes 5-9/*")
	f.Add("bytes */10")
	f.Fuzz(func(t *testing.T, s string) {
		d := &download{p: Pointer{Size: 10}, at: 5}
		if d.continues(s) && !continuation.MatchString(s) {
			t.Fatal(s)
		}
	})
}

var continuation = regexp.MustCompile(`^bytes 5-[5-9]/(\*|10)$`)
