package sshsig

import (
	"crypto/sha1"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/godwit-ota/godwit"
)

// TestRevoked revokes keys and certificates in every way that ssh-keygen knows,
// and holds each verdict to its own.
func TestRevoked(t *testing.T) {
	b := newBench(t)
	key, other := b.key("k", "-t", "ed25519"), b.key("other", "-t", "ecdsa", "-b", "256")
	ca, otherCA := b.key("ca", "-t", "ed25519"), b.key("other-ca", "-t", "ed25519")
	allowed := "alice cert-authority " + ca + "\nalice " + key + "\n"
	socket := b.agent()
	plain := b.sign("k", "git", "hello")
	certified := map[string]string{}
	for _, c := range []struct{ name, id, serial string }{{"cert", "laptop", "1234567"}, {"no serial", "laptop", "0"}, {"last serial", "last", "18446744073709551615"}} {
		b.run("", "-q", "-s", "ca", "-I", c.id, "-z", c.serial, "-n", "alice", "k.pub")
		certified[c.name] = b.signCertified(socket, "k", "git", "hello")
		b.write(strings.ReplaceAll(c.name, " ", "-")+".pub", b.read("k-cert.pub"))
	}
	// krl makes a KRL of a specification (ssh-keygen(1), KEY REVOCATION LISTS);
	// ca is the authority that it is about, "" for none.
	krl := func(ca, spec string, files ...string) string {
		b.write("spec", spec)
		args := []string{"-q", "-k", "-f", "krl"}
		if ca != "" {
			args = append(args, "-s", ca)
		}
		if spec != "" {
			files = append(files, "spec")
		}
		b.run("", append(args, files...)...)
		return b.read("krl")
	}
	fingerprint := strings.Fields(b.run("", "-l", "-f", "k.pub"))[1]
	many := func(from, step, n int) string {
		var s strings.Builder
		for i := range n {
			s.WriteString("serial: " + itoa(from+i*step) + "\n")
		}
		return s.String()
	}
	const all, certs = "plain cert no-serial last-serial", "cert no-serial last-serial"
	for _, c := range []struct {
		name, list string
		revoked    string // which of the signatures
	}{
		{"nothing", "# nobody\n", ""},
		{"text", key + "\n", all},
		{"text, second line, CRLF", "# who left\r\n" + other + "\r\n  " + key + " alice\r\n", all},
		{"text, another key", other, ""},
		{"text, authority", ca, certs},
		{"text, another authority", otherCA, ""},
		{"text, a certificate", b.read("cert.pub"), all},
		{"KRL, empty", krl("", ""), ""},
		{"KRL, key", krl("", "", "k.pub"), all},
		{"KRL, another key", krl("", "", "other.pub"), ""},
		{"KRL, key in a specification", krl("", "key: "+key+"\n"), all},
		{"KRL, SHA-1", krl("", "sha1: "+key+"\n"), all},
		{"KRL, SHA-1 of another", krl("", "sha1: "+other+"\n"), ""},
		{"KRL, SHA-256", krl("", "sha256: "+key+"\n"), all},
		{"KRL, SHA-256 of another", krl("", "sha256: "+other+"\n"), ""},
		{"KRL, fingerprint", krl("", "hash: "+fingerprint+"\n"), all},
		{"KRL, authority", krl("", "", "ca.pub"), certs},
		{"KRL, hash of the authority", krl("", "sha256: "+ca+"\n"), certs},
		{"KRL, the certificate", krl("", "", "cert.pub"), "cert"},
		{"KRL, the certificate without a serial", krl("", "", "no-serial.pub"), "cert no-serial"}, // by its id, which is the same
		{"KRL, serial", krl("ca.pub", "serial: 1234567\n"), "cert"},
		{"KRL, serial of another authority", krl("other-ca.pub", "serial: 1234567\n"), ""},
		{"KRL, serial of any authority", krl("none", "serial: 1234567\n"), "cert"},
		{"KRL, other serials", krl("ca.pub", "serial: 1234566\nserial: 1234568\n"), ""},
		{"KRL, the last serial", krl("ca.pub", "serial: 18446744073709551615\n"), "last-serial"},
		{"KRL, range", krl("ca.pub", "serial: 1000000-2000000\n"), "cert"},
		{"KRL, range from it", krl("ca.pub", "serial: 1234567-1234570\n"), "cert"},
		{"KRL, range to it", krl("ca.pub", "serial: 1-1234567\n"), "cert"},
		{"KRL, range behind it", krl("ca.pub", "serial: 1234568-1300000\n"), ""},
		{"KRL, all serials", krl("ca.pub", "serial: 1-18446744073709551615\n"), "cert last-serial"},
		{"KRL, bitmap", krl("ca.pub", many(1234567-63, 2, 100)), ""},
		{"KRL, bitmap with it", krl("ca.pub", many(1234567-128, 2, 100)), "cert"},
		{"KRL, bitmap that begins with it", krl("ca.pub", many(1234567, 3, 100)), "cert"},
		{"KRL, bitmap that ends with it", krl("ca.pub", many(1234567-99*3, 3, 100)), "cert"},
		{"KRL, id", krl("ca.pub", "id: laptop\n"), "cert no-serial"},
		{"KRL, another id", krl("ca.pub", "id: lap\nid: laptop2\n"), ""},
		{"KRL, much of everything", krl("ca.pub", many(1, 7, 500)+"id: last\nkey: "+other+"\nsha1: "+other+"\n"), "last-serial"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if strings.Contains(c.name, "bitmap") && !strings.Contains(c.list, "\x22\x00\x00\x00") {
				t.Error("there is no bitmap in it")
			}
			for name, sig := range map[string]string{"plain": plain, "cert": certified["cert"], "no-serial": certified["no serial"], "last-serial": certified["last serial"]} {
				want := godwit.Code("")
				for _, r := range strings.Fields(c.revoked) {
					if r == name {
						want = godwit.CodeRevoked
					}
				}
				err := ours(sig, "hello", "git", allowed, c.list, noon)
				if godwit.CodeOf(err) != want {
					t.Errorf("%s: %v, want the code %q", name, err, want)
				}
				if theirs := b.theirs(sig, "hello", "git", allowed, c.list, noon); theirs != (err == nil) {
					t.Errorf("%s: ssh-keygen says %v, we say %v", name, theirs, err)
				}
			}
			if err := Revoked(text(c.list), PublicKey{}); err != nil {
				t.Errorf("as a list: %v", err)
			}
			if !strings.HasPrefix(c.list, krlMagic) {
				return
			}
			// Cut anywhere but between two sections, it is malformed.
			whole, _, err := Parse([]byte(plain))
			if err != nil {
				t.Fatal(err)
			}
			ends := sectionEnds(c.list)
			for n := len(krlMagic); n < len(c.list); n++ {
				if err := Revoked(text(c.list[:n]), whole.Key); !ends[n] && err == nil {
					t.Fatalf("cut to %d of %d bytes it is taken", n, len(c.list))
				}
			}
		})
	}
}

// sectionEnds says where a KRL may end.
func sectionEnds(list string) map[int]bool {
	w := wire{b: []byte(list)}
	w.next(len(krlMagic) + 4 + 3*8)
	w.str()
	w.str()
	ends := map[int]bool{len(list) - len(w.b): true}
	for len(w.b) > 0 && !w.bad {
		w.u8()
		w.str()
		ends[len(list)-len(w.b)] = true
	}
	return ends
}

func itoa(n int) string {
	if n < 10 {
		return string(rune('0' + n))
	}
	return itoa(n/10) + itoa(n%10)
}

// TestBadLists: a list that cannot be read or understood lets nobody through.
func TestBadLists(t *testing.T) {
	b := newBench(t)
	key := b.key("k", "-t", "ed25519")
	s, _, err := Parse([]byte(b.sign("k", "git", "hello")))
	if err != nil {
		t.Fatal(err)
	}
	u64 := func(n ...uint64) string {
		var b []byte
		for _, n := range n {
			b = binary.BigEndian.AppendUint64(b, n)
		}
		return string(b)
	}
	head := krlMagic + "\x00\x00\x00\x01" + u64(1, 1, 0) + string(str("", "a comment"))
	section := func(kind byte, contents string) string { return string([]byte{kind}) + string(str(contents)) }
	certs := func(sub ...string) string { return section(krlCertificates, string(str("", ""))+strings.Join(sub, "")) }
	sub := func(kind byte, contents string) string { return string([]byte{kind}) + string(str(contents)) }
	sum1, sum256 := sha1.Sum([]byte("x")), sha256.Sum256([]byte("x"))
	for name, c := range map[string]struct {
		list List
		code godwit.Code
	}{
		"no list":    {nil, ""},
		"none there": {func() (io.ReadCloser, error) { return nil, nil }, ""},
		"unreadable": {func() (io.ReadCloser, error) { return nil, errors.New("stolen") }, godwit.CodeIO},
		"breaks":     {func() (io.ReadCloser, error) { return io.NopCloser(broken{}), nil }, godwit.CodeIO},
		"KRL that breaks": {func() (io.ReadCloser, error) {
			return io.NopCloser(io.MultiReader(strings.NewReader(head), broken{})), nil
		}, godwit.CodeIO},
		"text with a mistake":   {text("ssh-ed25519 xyz"), godwit.CodeRefused},
		"text, a fingerprint":   {text(s.Key.Fingerprint()), godwit.CodeRefused},
		"text, a later kind":    {text("ssh-later AAAACXNzaC1sYXRlcg=="), ""},
		"text, another mistake": {text("alice " + key), godwit.CodeRefused},

		"head":                        {text(head), ""},
		"version 2":                   {text(strings.Replace(head, "\x00\x00\x00\x01", "\x00\x00\x00\x02", 1)), godwit.CodeRefused},
		"unknown section":             {text(head + section(6, "")), godwit.CodeRefused},
		"extension":                   {text(head + section(krlExtension, string(str("x@y"))+"\x00"+string(str("z")))), ""},
		"critical extension":          {text(head + section(krlExtension, string(str("x@y"))+"\x01"+string(str("z")))), godwit.CodeRefused},
		"extension with more":         {text(head + section(krlExtension, string(str("x@y"))+"\x00"+string(str("z"))+"?")), godwit.CodeRefused},
		"short SHA-1":                 {text(head + section(krlSHA1, string(str(string(sum1[1:]))))), godwit.CodeRefused},
		"SHA-1":                       {text(head + section(krlSHA1, string(str(string(sum1[:]))))), ""},
		"long SHA-256":                {text(head + section(krlSHA256, string(str(string(sum256[:])+"x")))), godwit.CodeRefused},
		"SHA-256":                     {text(head + section(krlSHA256, string(str(string(sum256[:]))))), ""},
		"string beyond its section":   {text(head + section(krlKeys, "\x00\x00\x00\x05abcd")), godwit.CodeRefused},
		"half a length":               {text(head + section(krlKeys, "\x00\x00")), godwit.CodeRefused},
		"section beyond the end":      {text(head + "\x02\x00\x00\x00\x01"), godwit.CodeRefused},
		"endless section":             {text(head + "\x02\xff\xff\xff\xff"), godwit.CodeRefused},
		"signature":                   {text(head + section(krlSignature, "key") + string(str("signature"))), ""},
		"more behind a signature":     {text(head + section(krlSignature, "key") + string(str("signature")) + section(krlKeys, "")), godwit.CodeRefused},
		"signature cut":               {text(head + section(krlSignature, "key")), godwit.CodeRefused},
		"certificates":                {text(head + certs()), ""},
		"certificates of no key":      {text(head + section(krlCertificates, string(str("xyz", "")))), godwit.CodeRefused},
		"certificates of a bad key":   {text(head + section(krlCertificates, string(str(string(str("ssh-ed25519", "short")), "")))), godwit.CodeRefused},
		"certificates of a later key": {text(head + section(krlCertificates, string(str(string(str("ssh-later")), "")))), ""},
		"certificates of a huge key":  {text(head + section(krlCertificates, string(str(strings.Repeat("x", maxLine), "")))), godwit.CodeRefused},
		"unknown subsection":          {text(head + certs(sub(0x24, ""))), godwit.CodeRefused},
		"serials":                     {text(head + certs(sub(krlSerials, u64(1, 2)))), ""},
		"half a serial":               {text(head + certs(sub(krlSerials, u64(1)+"x"))), godwit.CodeRefused},
		"serial 0":                    {text(head + certs(sub(krlSerials, u64(0)))), godwit.CodeRefused},
		"range":                       {text(head + certs(sub(krlSerialRange, u64(1, 2)))), ""},
		"range the wrong way round":   {text(head + certs(sub(krlSerialRange, u64(2, 1)))), godwit.CodeRefused},
		"range from 0":                {text(head + certs(sub(krlSerialRange, u64(0, 1)))), godwit.CodeRefused},
		"two ranges":                  {text(head + certs(sub(krlSerialRange, u64(1, 2, 3, 4)))), godwit.CodeRefused},
		"bitmap":                      {text(head + certs(sub(krlBitmap, u64(1)+string(str("\x01"))))), ""},
		"bitmap with 0":               {text(head + certs(sub(krlBitmap, u64(0)+string(str("\x01"))))), godwit.CodeRefused},
		"negative bitmap":             {text(head + certs(sub(krlBitmap, u64(1)+string(str("\x81"))))), godwit.CodeRefused},
		"bitmap beyond all numbers":   {text(head + certs(sub(krlBitmap, u64(math.MaxUint64)+string(str("\x02"))))), godwit.CodeRefused},
		"bitmap with more":            {text(head + certs(sub(krlBitmap, u64(1)+string(str("\x01"))+"x"))), godwit.CodeRefused},
		"ids":                         {text(head + certs(sub(krlKeyIDs, string(str("a", "b"))))), ""},
		"certificate extension":       {text(head + certs(sub(krlCertExt, string(str("x@y"))+"\x00"+string(str("z"))))), ""},
		"critical one":                {text(head + certs(sub(krlCertExt, string(str("x@y"))+"\x01"+string(str("z"))))), godwit.CodeRefused},
	} {
		if err := Revoked(c.list, s.Key); godwit.CodeOf(err) != c.code {
			t.Errorf("%s: %v, want the code %q", name, err, c.code)
		}
	}
}
