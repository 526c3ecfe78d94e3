package sshsig

import (
	"strings"
	"testing"
	"time"

	"github.com/godwit-ota/godwit"
)

func FuzzParse(f *testing.F) {
	for _, v := range vectors(f) {
		f.Add([]byte(v.Signature))
	}
	f.Add([]byte(Begin + "\n" + end))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, rest, err := Parse(b)
		if err != nil {
			if godwit.CodeOf(err) != godwit.CodeBadSignature {
				t.Fatal(err)
			}
			return
		}
		if len(rest) >= len(b) || string(b[len(b)-len(rest):]) != string(rest) {
			t.Fatalf("%q is not the end of %q", rest, b)
		}
		if s.Namespace == "" || s.Key.Fingerprint() == "" {
			t.Fatalf("%+v", s)
		}
		s.Verify(strings.NewReader("message"), s.Namespace)
	})
}

func FuzzSigners(f *testing.F) {
	for _, v := range vectors(f) {
		f.Add(v.AllowedSigners)
	}
	f.Add(`"a b",*@x,!y cert-authority,namespaces="a\"b",valid-after="20200101Z",valid-before="202101010203" ssh-ed25519 AAAA c`)
	key := vectorKey(f)
	f.Fuzz(func(t *testing.T, list string) {
		signers, err := Find(text(list), key, "git")
		switch godwit.CodeOf(err) {
		case "":
			if len(signers) == 0 {
				t.Fatal("nobody, and no error")
			}
			err := CheckSigners(text(list), nil, "git", 1, time.Unix(0, 0))
			if err != nil {
				t.Fatalf("of no use, and it allows %+v: %v", signers, err)
			}
			signers[0].ValidAt(time.Unix(0, 0))
		case godwit.CodeRefused:
			if CheckSigners(text(list), nil, "git", 1, time.Unix(0, 0)) == nil {
				t.Fatalf("of use, and %v", err)
			}
		case godwit.CodeUnknownSigner:
		default:
			t.Fatal(err)
		}
	})
}

func FuzzRevoked(f *testing.F) {
	for _, v := range vectors(f) {
		if v.Revoked != nil {
			f.Add(v.Revoked)
		}
	}
	key := vectorKey(f)
	f.Fuzz(func(t *testing.T, list []byte) {
		err, none := Revoked(text(string(list)), key), Revoked(text(string(list)), PublicKey{})
		switch godwit.CodeOf(err) {
		case "":
			if none != nil {
				t.Fatalf("the list alone: %v", none)
			}
		case godwit.CodeRevoked, godwit.CodeRefused:
		default:
			t.Fatal(err)
		}
	})
}
