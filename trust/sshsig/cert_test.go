package sshsig

import (
	"encoding/binary"
	"math/big"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/godwit-ota/godwit"
)

// agent is an ssh-agent: the way in which ssh-keygen signs with a certificate.
func (b *bench) agent() (socket string) {
	b.t.Helper()
	if _, err := exec.LookPath("ssh-agent"); err != nil {
		b.t.Skip("ssh-agent is not installed")
	}
	dir, err := os.MkdirTemp("", "a") // a socket's path is short
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { os.RemoveAll(dir) })
	socket = dir + "/s"
	server := exec.Command("ssh-agent", "-D", "-a", socket)
	if err := server.Start(); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { server.Process.Kill(); server.Wait() })
	for range 200 {
		if _, err := os.Stat(socket); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	return socket
}

// signCertified signs with NAME-cert.pub, which the agent gets first.
func (b *bench) signCertified(socket, name, namespace, message string) string {
	b.t.Helper()
	add := exec.Command("ssh-add", "-q", name)
	add.Dir, add.Env = b.dir, append(os.Environ(), "SSH_AUTH_SOCK="+socket)
	if out, err := add.CombinedOutput(); err != nil {
		b.t.Fatalf("ssh-add %s: %v\n%s", name, err, out)
	}
	cmd := exec.Command("ssh-keygen", "-q", "-Y", "sign", "-f", name+"-cert.pub", "-n", namespace)
	cmd.Dir, cmd.Stdin, cmd.Env = b.dir, strings.NewReader(message), append(os.Environ(), "SSH_AUTH_SOCK="+socket)
	out, err := cmd.Output()
	if err != nil {
		b.t.Fatalf("signing with a certificate: %v", err)
	}
	return string(out)
}

func TestCertificates(t *testing.T) {
	b := newBench(t)
	ca := b.key("ca", "-t", "ed25519")
	cas := map[string]string{
		"ca":       ca,
		"ca-ecdsa": b.key("ca-ecdsa", "-t", "ecdsa", "-b", "384"),
		"ca-rsa":   b.key("ca-rsa", "-t", "rsa", "-b", "2048"),
	}
	keys := map[string]string{
		"k-ed25519": b.key("k-ed25519", "-t", "ed25519"),
		"k-ecdsa":   b.key("k-ecdsa", "-t", "ecdsa", "-b", "256"),
		"k-rsa":     b.key("k-rsa", "-t", "rsa", "-b", "2048"),
	}
	socket := b.agent()
	type rule struct {
		name, allowed string
		want          godwit.Code
		stricter      bool
	}
	plain := []rule{
		{name: "right", allowed: "alice cert-authority " + ca},
		{name: "pattern", allowed: "al*,!bob cert-authority " + ca},
		{name: "second name", allowed: "al2 cert-authority " + ca},
		{name: "with namespace and time", allowed: `alice namespaces="git",cert-authority,valid-before="20270101Z" ` + ca},
		{name: "line over", allowed: `alice cert-authority,valid-before="20200101Z" ` + ca, want: godwit.CodeUnknownSigner},
		{name: "other name", allowed: "bob cert-authority " + ca, want: godwit.CodeUnknownSigner},
		{name: "name ruled out", allowed: "*,!al* cert-authority " + ca, want: godwit.CodeUnknownSigner},
		{name: "authority not marked", allowed: "alice " + ca, want: godwit.CodeUnknownSigner},
		{name: "other namespace", allowed: `alice cert-authority,namespaces="file" ` + ca, want: godwit.CodeUnknownSigner},
		{name: "other authority", allowed: "alice cert-authority " + cas["ca-rsa"], want: godwit.CodeUnknownSigner},
		{name: "the key without its certificate", allowed: "alice " + keys["k-ed25519"], want: godwit.CodeUnknownSigner},
	}
	for _, c := range []struct {
		name  string
		ca    string
		key   string
		args  string
		rules []rule
	}{
		{"ed25519", "ca", "k-ed25519", "-n alice,al2 -V 20260101Z:20261231Z", plain},
		{"ecdsa by rsa", "ca-rsa", "k-ecdsa", "-n alice -V always:forever", []rule{{name: "right", allowed: "alice cert-authority " + cas["ca-rsa"]}}},
		{"rsa by ecdsa", "ca-ecdsa", "k-rsa", "-n alice", []rule{{name: "right", allowed: "alice cert-authority " + cas["ca-ecdsa"]}}},
		{"rsa by rsa, sha256", "ca-rsa", "k-rsa", "-n alice -t rsa-sha2-256", []rule{{name: "right", allowed: "alice cert-authority " + cas["ca-rsa"]}}},
		{"over", "ca", "k-ed25519", "-n alice -V 20250101Z:20260101Z", []rule{{name: "over", allowed: "alice cert-authority " + ca, want: godwit.CodeUnknownSigner}}},
		{"over this second", "ca", "k-ed25519", "-n alice -V 20250101Z:20260615120000Z", []rule{{name: "over", allowed: "alice cert-authority " + ca, want: godwit.CodeUnknownSigner}}},
		{"the last second", "ca", "k-ed25519", "-n alice -V 20260615120000Z:20260615120001Z", []rule{{name: "right", allowed: "alice cert-authority " + ca}}},
		{"not yet", "ca", "k-ed25519", "-n alice -V 20260615120001Z:20270101Z", []rule{{name: "not yet", allowed: "alice cert-authority " + ca, want: godwit.CodeUnknownSigner}}},
		{"for a host", "ca", "k-ed25519", "-h -n alice", []rule{{name: "host", allowed: "alice cert-authority " + ca, want: godwit.CodeUnknownSigner}}},
		{"for nobody", "ca", "k-ed25519", "", []rule{{name: "nobody", allowed: "* cert-authority " + ca, want: godwit.CodeUnknownSigner}}},
		{"critical option", "ca", "k-ed25519", "-n alice -O force-command=/bin/true", []rule{{name: "critical", allowed: "alice cert-authority " + ca, want: godwit.CodeUnknownSigner, stricter: true}}},
		{"unknown critical option", "ca", "k-ed25519", "-n alice -O critical:later@example.org=x", []rule{{name: "critical", allowed: "alice cert-authority " + ca, want: godwit.CodeUnknownSigner, stricter: true}}},
		{"extensions", "ca", "k-ed25519", "-n alice -O extension:later@example.org=x", []rule{{name: "right", allowed: "alice cert-authority " + ca}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b.run("", strings.Fields("-q -s "+c.ca+" -I serial-1 -z 1 "+c.args+" "+c.key+".pub")...)
			sig := b.signCertified(socket, c.key, "git", "hello")
			s, _, err := Parse([]byte(sig))
			if err != nil {
				t.Fatal(err)
			}
			if said := b.run("", "-l", "-f", c.key+".pub"); strings.Fields(said)[1] != s.Key.Fingerprint() {
				t.Errorf("fingerprint %s, ssh-keygen says %s", s.Key.Fingerprint(), said)
			}
			for _, r := range c.rules {
				err := ours(sig, "hello", "git", r.allowed, "", noon)
				if godwit.CodeOf(err) != r.want {
					t.Errorf("%s: %v, want the code %q", r.name, err, r.want)
				}
				if theirs := b.theirs(sig, "hello", "git", r.allowed, "", noon); theirs != (err == nil) && !(r.stricter && theirs) {
					t.Errorf("%s: ssh-keygen says %v, we say %v", r.name, theirs, err)
				}
			}
			if len(c.rules) == len(plain) {
				got, err := Find(text("bob cert-authority "+ca+"\nal2 cert-authority "+ca), s.Key, "git")
				if err != nil || len(got) != 1 || got[0].Principal != "al2" || !got[0].CA || got[0].ValidBefore.UTC().Format(time.RFC3339) != "2026-12-30T23:59:59Z" {
					t.Errorf("%+v, %v", got, err)
				}
			}
		})
	}
}

// TestForgedCertificates changes what an authority signed.
func TestForgedCertificates(t *testing.T) {
	b := newBench(t)
	ca := b.key("ca", "-t", "ed25519")
	b.key("k", "-t", "ed25519")
	socket := b.agent()
	b.run("", "-q", "-s", "ca", "-I", "id", "-n", "alice", "k.pub")
	blob := dearmor(t, b.signCertified(socket, "k", "git", "hello"))
	w := wire{b: blob[len(preamble)+4:]}
	at := len(preamble) + 4 + 4
	cert := w.str()
	for i := range cert {
		blob[at+i] ^= 1
		err := ours(armor(blob), "hello", "git", "* cert-authority "+ca, "", noon)
		blob[at+i] ^= 1
		if code := godwit.CodeOf(err); code != godwit.CodeBadSignature {
			t.Fatalf("byte %d of the certificate changed: %v", i, err)
		}
	}
	if err := ours(armor(blob), "hello", "git", "* cert-authority "+ca, "", noon); err != nil {
		t.Fatalf("unchanged: %v", err)
	}
}

// TestCertifiedSecurityKeys has certificates of the kinds that only hardware
// has. The authority is real.
func TestCertifiedSecurityKeys(t *testing.T) {
	b := newBench(t)
	ca := b.key("ca", "-t", "ed25519")
	for _, kind := range []string{typeSKEd25519, typeSKECDSA} {
		k := newSecurityKey(t, kind)
		b.write("sk.pub", k.line()+"\n")
		b.run("", "-q", "-s", "ca", "-I", "id", "-n", "alice", "sk.pub")
		certified := *k
		certified.public = decode(t, strings.Fields(b.read("sk-cert.pub"))[1])
		sig := certified.signature("git", "hello", 1, 1)
		if err := ours(sig, "hello", "git", "alice cert-authority "+ca, "", noon); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		if !b.theirs(sig, "hello", "git", "alice cert-authority "+ca, "", noon) {
			t.Errorf("%s: ssh-keygen refuses it", kind)
		}
	}
}

// TestWeakSignatures: SHA-1 is refused, whoever made it.
func TestWeakSignatures(t *testing.T) {
	b := newBench(t)
	public := b.key("k", "-t", "rsa", "-b", "2048")
	blob := dearmor(t, b.sign("k", "git", "hello"))
	w := wire{b: blob[len(preamble)+4:]}
	key := string(w.str())
	w.str()
	w.str()
	w.str()
	inner := wire{b: w.str()}
	inner.str()
	value := string(inner.str())
	sig := armor(envelope(key, "git", str("ssh-rsa", value)))
	if err := ours(sig, "hello", "git", "alice "+public, "", noon); godwit.CodeOf(err) != godwit.CodeBadSignature || !strings.Contains(err.Error(), "not safe") {
		t.Errorf("ssh-rsa: %v", err)
	}
	good := armor(envelope(key, "git", str("rsa-sha2-512", value)))
	if err := ours(good, "hello", "git", "alice "+public, "", noon); err != nil {
		t.Errorf("put together again: %v", err)
	}
}

// TestKeyForms refuses keys that OpenSSH would not take, or not in that form.
func TestKeyForms(t *testing.T) {
	odd := func(bits uint) string { return mint(new(big.Int).SetBit(big.NewInt(1), int(bits-1), 1)) }
	for name, c := range map[string]struct {
		blob []byte
		ok   bool
	}{
		"rsa of 1024 bits":   {str("ssh-rsa", "\x01\x00\x01", odd(1024)), true},
		"rsa of 16384 bits":  {str("ssh-rsa", "\x01\x00\x01", odd(16384)), true},
		"rsa of 1023 bits":   {str("ssh-rsa", "\x01\x00\x01", odd(1023)), false},
		"rsa of 16385 bits":  {str("ssh-rsa", "\x01\x00\x01", odd(16385)), false},
		"even exponent":      {str("ssh-rsa", "\x01\x00\x00", odd(2048)), false},
		"exponent 1":         {str("ssh-rsa", "\x01", odd(2048)), false},
		"negative exponent":  {str("ssh-rsa", "\x81\x00\x01", odd(2048)), false},
		"long exponent":      {str("ssh-rsa", "\x00\x01\x00\x01", odd(2048)), false},
		"huge exponent":      {str("ssh-rsa", "\x01\x00\x00\x00\x01", odd(2048)), false},
		"ed25519":            {str("ssh-ed25519", strings.Repeat("x", 32)), true},
		"ed25519, 31 bytes":  {str("ssh-ed25519", strings.Repeat("x", 31)), false},
		"ed25519, more":      {append(str("ssh-ed25519", strings.Repeat("x", 32)), 0), false},
		"ed25519, nothing":   {str("ssh-ed25519"), false},
		"curve is another":   {str("ecdsa-sha2-nistp256", "nistp384", strings.Repeat("x", 65)), false},
		"not on the curve":   {str("ecdsa-sha2-nistp256", "nistp256", "\x04"+strings.Repeat("x", 64)), false},
		"point at infinity":  {str("ecdsa-sha2-nistp256", "nistp256", "\x00"), false},
		"no curve":           {str("ecdsa-sha2-", "", "\x00"), false},
		"sk without its app": {str(typeSKEd25519, strings.Repeat("x", 32)), false},
		"nothing":            {nil, false},
		"no name":            {str(""), false},
	} {
		if _, err := parseKey(c.blob); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	long := binary.BigEndian.AppendUint32(nil, 1<<31)
	if _, err := parseKey(long); err == nil {
		t.Error("a length beyond the end is taken")
	}
}
