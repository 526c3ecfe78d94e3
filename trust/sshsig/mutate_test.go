package sshsig

import (
	"bytes"
	"encoding/base64"
	mathrand "math/rand/v2"
	"strings"
	"testing"

	"github.com/godwit-ota/godwit"
)

// TestMutations changes signatures, byte by byte and at random. What we still
// accept, if anything, ssh-keygen has to accept.
func TestMutations(t *testing.T) {
	b := newBench(t)
	for _, args := range []string{"-t ed25519", "-t ecdsa -b 256", "-t rsa -b 1024"} {
		name := "k-" + strings.Fields(args)[1]
		allowed := "alice " + b.key(name, strings.Fields(args)...)
		good := b.sign(name, "git", "hello")
		blob := dearmor(t, good)
		accepted := map[string]bool{}
		try := func(armored string) {
			if ours(armored, "hello", "git", allowed, "", noon) == nil && armored != good {
				accepted[armored] = true
			}
		}
		for i := range blob {
			for _, x := range []byte{0x01, 0x80, 0xff} {
				bad := bytes.Clone(blob)
				bad[i] ^= x
				try(armor(bad))
			}
			try(armor(blob[:i]))
		}
		try(armor(append(bytes.Clone(blob), 0)))
		r := mathrand.New(mathrand.NewPCG(1, 2))
		for range 2000 {
			bad := []byte(good)
			for range 1 + r.IntN(3) {
				i := r.IntN(len(bad))
				switch r.IntN(3) {
				case 0:
					bad[i] = byte(r.Uint32())
				case 1:
					bad = append(bad[:i], bad[i+1:]...)
				default:
					bad = append(bad[:i], append([]byte{"\n\r =A-"[r.IntN(6)]}, bad[i:]...)...)
				}
			}
			try(string(bad))
		}
		t.Logf("%s: %d changed signatures are still accepted", name, len(accepted))
		for armored := range accepted {
			if !b.theirs(armored, "hello", "git", allowed, "", noon) {
				t.Errorf("ssh-keygen refuses what we accept:\n%q", armored)
			}
			if !bytes.Equal(dearmor(t, strings.ReplaceAll(strings.SplitAfter(armored, end)[0], "\r", "")), blob) {
				t.Errorf("another signature is accepted:\n%q", armored)
			}
		}
	}
}

// TestArmor is about what stands around the base64.
func TestArmor(t *testing.T) {
	b := newBench(t)
	allowed := "alice " + b.key("k", "-t", "ed25519")
	good := b.sign("k", "git", "hello")
	body := base64.StdEncoding.EncodeToString(dearmor(t, good))
	for _, c := range []struct {
		name, armored string
		ok            bool
	}{
		{"as it came", good, true},
		{"no end of line at the end", strings.TrimSuffix(good, "\n"), true},
		{"CRLF", strings.ReplaceAll(good, "\n", "\r\n"), false},
		{"one line", Begin + "\n" + body + "\n" + end + "\n", true},
		{"something before", " " + good, false},
		{"nothing", "", false},
		{"only the first line", Begin, false},
		{"no end", strings.Split(good, end)[0], false},
		{"no base64", Begin + "\n" + end + "\n", false},
		{"first line goes on", Begin + body + "\n" + end + "\n", false},
		{"last line goes on", strings.TrimSuffix(good, "\n") + "x\n", false},
		{"last line is not one", Begin + "\n" + body + end + "\n", false},
		{"base64 with a space", Begin + "\n" + body[:8] + " " + body[8:] + "\n" + end + "\n", false},
		{"base64 cut", Begin + "\n" + body[:len(body)-1] + "\n" + end + "\n", false},
		{"longer than a signature can be", Begin + "\n" + strings.Repeat("\n", MaxBlock) + body + "\n" + end + "\n", false},
	} {
		err := ours(c.armored, "hello", "git", allowed, "", noon)
		if (err == nil) != c.ok || err != nil && godwit.CodeOf(err) != godwit.CodeBadSignature {
			t.Errorf("%s: %v", c.name, err)
		}
		if c.ok && !b.theirs(c.armored, "hello", "git", allowed, "", noon) {
			t.Errorf("%s: ssh-keygen refuses it", c.name)
		}
	}
	// Several, one after the other.
	rest := []byte(good + good + good + "tail")
	for range 3 {
		var err error
		if _, rest, err = Parse(rest); err != nil {
			t.Fatal(err)
		}
	}
	if string(rest) != "tail" {
		t.Errorf("%q is left", rest)
	}
}

// TestEnvelope is about the fields around key and signature.
func TestEnvelope(t *testing.T) {
	k := newSecurityKey(t, typeSKEd25519)
	key, sig := string(k.public), string(dearmor(t, k.signature("git", "hello", 1, 1)))
	value := sig[strings.LastIndex(sig, "sha512")+6+4:]
	head := preamble + "\x00\x00\x00\x01"
	for name, c := range map[string]struct {
		blob string
		ok   bool
	}{
		"right":            {head + string(str(key, "git", "", "sha512", value)), true},
		"version 2":        {preamble + "\x00\x00\x00\x02" + string(str(key, "git", "", "sha512", value)), false},
		"version 0":        {preamble + "\x00\x00\x00\x00" + string(str(key, "git", "", "sha512", value)), false},
		"another preamble": {"SSHSIH\x00\x00\x00\x01" + string(str(key, "git", "", "sha512", value)), false},
		"no namespace":     {head + string(str(key, "", "", "sha512", value)), false},
		"zero in it":       {head + string(str(key, "git\x00", "", "sha512", value)), false},
		"reserved":         {head + string(str(key, "git", "x", "sha512", value)), false},
		"sha1":             {head + string(str(key, "git", "", "sha1", value)), false},
		"no key":           {head + string(str("", "git", "", "sha512", value)), false},
		"a later key":      {head + string(str(string(str("ssh-later")), "git", "", "sha512", value)), false},
		"more":             {head + string(str(key, "git", "", "sha512", value, "")), false},
		"less":             {head + string(str(key, "git", "", "sha512")), false},
	} {
		s, _, err := Parse([]byte(armor([]byte(c.blob))))
		if err == nil {
			err = s.Verify(strings.NewReader("hello"), "git")
		}
		if (err == nil) != c.ok || err != nil && godwit.CodeOf(err) != godwit.CodeBadSignature {
			t.Errorf("%s: %v", name, err)
		}
	}
	s, _, err := Parse([]byte(armor([]byte(sig))))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Verify(broken{}, "git"); err == nil || err.Error() != "torn" {
		t.Errorf("a message that breaks off: %v", err)
	}
}

// TestRandomLines puts lists together at random. Whatever we accept, ssh-keygen
// has to accept.
func TestRandomLines(t *testing.T) {
	b := newBench(t)
	key, other, ca := b.key("k", "-t", "ed25519"), b.key("o", "-t", "ecdsa", "-b", "256"), b.key("ca", "-t", "ed25519")
	socket := b.agent()
	b.run("", "-q", "-s", "ca", "-I", "id", "-n", "alice,bob@x,we ird", "k.pub")
	sigs := []string{b.sign("k", "git", "hello"), b.signCertified(socket, "k", "git", "hello")}
	r := mathrand.New(mathrand.NewPCG(3, 4))
	pick := func(s ...string) string { return s[r.IntN(len(s))] }
	line := func() string {
		l := pick("alice", "al*", "*", "!alice,*", "alice,!bob", `"alice"`, `"a b,alice"`, "*@x,!bob*", "", "#alice", "al?ce", ",alice", "alice,", "a,,alice", "!alice", `"we ird"`) + pick(" ", " ", "  ", "\t", "")
		for n := r.IntN(3); n > 0; n-- {
			l += pick("cert-authority", "Cert-Authority", `namespaces="g*"`, `namespaces="!x,git"`, `namespaces=""`, `namespaces="a,git\""`, "namespaces=git", `valid-after="20200101"`,
				`valid-before="20300101Z"`, `valid-after="20260615120000Z"`, `valid-after="20261"`, `valid-before="20200101"`, "x", "cert-authorityx")
			if n > 1 {
				l += pick(",", ",", " ", ", ", "")
			}
		}
		l += pick(" ", " ", "\t", "", ",") + pick(key, ca, ca, other, key+" c", strings.Replace(key, " ", "  ", 1), key[:len(key)-1], key+"=", "ssh-ed25519") + pick("\n", "\r\n", "", " # x\n")
		if r.IntN(10) == 0 {
			at := r.IntN(len(l))
			l = l[:at] + pick("\"", " ", ",", "\\", "=", "\t", "#", "!", "\v", "\xa0") + l[at:]
		}
		return l
	}
	accepted := 0
	for range 1500 {
		list := line()
		if r.IntN(2) == 0 {
			list += line()
		}
		for _, sig := range sigs {
			if ours(sig, "hello", "git", list, "", noon) != nil {
				continue
			}
			accepted++
			if !b.theirs(sig, "hello", "git", list, "", noon) {
				t.Errorf("ssh-keygen refuses what we accept: %q", list)
			}
		}
	}
	if accepted < 50 {
		t.Errorf("only %d lists were accepted, too few to tell", accepted)
	}
}
