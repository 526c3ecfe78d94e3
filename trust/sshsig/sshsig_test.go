package sshsig

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/binary"
	"io"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/godwit-ota/godwit"
)

// bench is a folder with keys, where ssh-keygen works.
type bench struct {
	t   testing.TB
	dir string
}

func newBench(t testing.TB) *bench {
	t.Helper()
	if _, err := exec.LookPath("ssh-keygen"); err != nil {
		t.Skip("ssh-keygen is not installed")
	}
	return &bench{t, t.TempDir()}
}

func (b *bench) path(name string) string { return filepath.Join(b.dir, name) }

func (b *bench) write(name, text string) string {
	b.t.Helper()
	if err := os.WriteFile(b.path(name), []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
	return b.path(name)
}

func (b *bench) read(name string) string {
	b.t.Helper()
	text, err := os.ReadFile(b.path(name))
	if err != nil {
		b.t.Fatal(err)
	}
	return string(text)
}

// try runs ssh-keygen with stdin and returns what it said, and its error.
func (b *bench) try(stdin string, args ...string) (string, error) {
	cmd := exec.Command("ssh-keygen", args...)
	cmd.Dir, cmd.Stdin = b.dir, strings.NewReader(stdin)
	cmd.Env = append(os.Environ(), "TZ=UTC", "SSH_AUTH_SOCK=")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (b *bench) run(stdin string, args ...string) string {
	b.t.Helper()
	out, err := b.try(stdin, args...)
	if err != nil {
		b.t.Fatalf("ssh-keygen %q: %v\n%s", args, err, out)
	}
	return out
}

// key makes a key pair and returns the public half: type and base64.
func (b *bench) key(name string, args ...string) string {
	b.t.Helper()
	b.run("", append([]string{"-q", "-N", "", "-C", "", "-f", name}, args...)...)
	return strings.TrimSpace(b.read(name + ".pub"))
}

// sign signs message and returns the armored signature.
func (b *bench) sign(key, namespace, message string, args ...string) string {
	b.t.Helper()
	b.write("message", message)
	os.Remove(b.path("message.sig"))
	b.run("", append(append([]string{"-q", "-Y", "sign", "-f", key, "-n", namespace}, args...), "message")...)
	return b.read("message.sig")
}

// theirs is the verdict of ssh-keygen, as git verify-tag asks for it: first
// who it could be, then each of those. revoked may be "".
func (b *bench) theirs(armored, message, namespace, allowed, revoked string, at time.Time) bool {
	b.t.Helper()
	b.write("sig", armored)
	b.write("allowed", allowed)
	stamp := "-Overify-time=" + at.UTC().Format("20060102150405Z")
	out, err := b.try(message, "-Y", "find-principals", "-f", "allowed", "-s", "sig", stamp)
	if err != nil {
		return false
	}
	for who := range strings.Lines(out) {
		args := []string{"-Y", "verify", "-f", "allowed", "-s", "sig", "-n", namespace, "-I", strings.TrimSpace(who), stamp}
		if revoked != "" {
			b.write("revoked", revoked)
			args = append(args, "-r", "revoked")
		}
		if _, err := b.try(message, args...); err == nil {
			return true
		}
	}
	return false
}

func text(s string) List {
	return func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(s)), nil }
}

// ours is the verdict of this package, with what it says.
func ours(armored, message, namespace, allowed, revoked string, at time.Time) error {
	s, _, err := Parse([]byte(armored))
	if err != nil {
		return err
	}
	if err := s.Verify(strings.NewReader(message), namespace); err != nil {
		return err
	}
	signers, err := Find(text(allowed), s.Key, namespace)
	if err != nil {
		return err
	}
	if revoked != "" {
		if err := Revoked(text(revoked), s.Key); err != nil {
			return err
		}
	}
	for _, one := range signers {
		if one.ValidAt(at) {
			return nil
		}
	}
	return godwit.Fail(godwit.CodeUnknownSigner, nil, "not at that time", "")
}

var noon = time.Date(2026, 6, 15, 12, 0, 0, 0, time.UTC)

// TestKindsOfKeys signs with every kind that ssh-keygen makes.
func TestKindsOfKeys(t *testing.T) {
	b := newBench(t)
	for _, c := range []struct{ name, args string }{
		{"ed25519", "-t ed25519"},
		{"ecdsa-256", "-t ecdsa -b 256"},
		{"ecdsa-384", "-t ecdsa -b 384"},
		{"ecdsa-521", "-t ecdsa -b 521"},
		{"rsa-1024", "-t rsa -b 1024"},
		{"rsa-2048", "-t rsa -b 2048"},
	} {
		t.Run(c.name, func(t *testing.T) {
			public := b.key(c.name, strings.Fields(c.args)...)
			for _, hash := range []string{"sha256", "sha512"} {
				for _, message := range []string{"", "hello\n", strings.Repeat("0123456789abcdef", 10_000)} {
					sig := b.sign(c.name, "git", message, "-O", "hashalg="+hash)
					if err := ours(sig, message, "git", "alice@example.org "+public, "", noon); err != nil {
						t.Fatalf("%s, %d bytes: %v", hash, len(message), err)
					}
					for what, err := range map[string]error{
						"another message":   ours(sig, message+"x", "git", "alice "+public, "", noon),
						"another namespace": ours(sig, message, "godwit", "alice "+public, "", noon),
					} {
						if godwit.CodeOf(err) != godwit.CodeBadSignature {
							t.Errorf("%s: %v", what, err)
						}
					}
				}
			}
			s, _, err := Parse([]byte(b.sign(c.name, "git", "x")))
			if err != nil {
				t.Fatal(err)
			}
			if said := b.run("", "-l", "-f", c.name+".pub"); strings.Fields(said)[1] != s.Key.Fingerprint() {
				t.Errorf("fingerprint %s, ssh-keygen says %s", s.Key.Fingerprint(), said)
			}
			if !strings.HasPrefix(public, s.Key.Type()+" ") {
				t.Errorf("type %q of %q", s.Key.Type(), public)
			}
		})
	}
}

// armor writes a signature as ssh-keygen does.
func armor(blob []byte) string {
	enc := base64.StdEncoding.EncodeToString(blob)
	var s strings.Builder
	s.WriteString(Begin + "\n")
	for len(enc) > 70 {
		s.WriteString(enc[:70] + "\n")
		enc = enc[70:]
	}
	s.WriteString(enc + "\n" + end + "\n")
	return s.String()
}

func str(parts ...string) []byte {
	var b []byte
	for _, p := range parts {
		b = appendString(b, p)
	}
	return b
}

// toSign is what a signature over message is made of.
func toSign(namespace, message string) []byte {
	sum := sha512.Sum512([]byte(message))
	return append([]byte(preamble), str(namespace, "", "sha512", string(sum[:]))...)
}

// envelope is a signature before it is armored.
func envelope(key, namespace string, signature []byte) []byte {
	b := append([]byte(preamble), 0, 0, 0, 1)
	return append(b, str(key, namespace, "", "sha512", string(signature))...)
}

// mint is an mpint of RFC 4251.
func mint(n *big.Int) string {
	b := n.Bytes()
	if len(b) > 0 && b[0]&0x80 != 0 {
		b = append([]byte{0}, b...)
	}
	return string(b)
}

// securityKey plays a security key by PROTOCOL.u2f.
type securityKey struct {
	kind, app string
	public    []byte // wire form
	sign      func(message []byte) string
}

func newSecurityKey(t testing.TB, kind string) *securityKey {
	t.Helper()
	k := &securityKey{kind: kind, app: "ssh:"}
	switch kind {
	case typeSKEd25519:
		public, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		k.public = str(kind, string(public), k.app)
		k.sign = func(message []byte) string { return string(ed25519.Sign(private, message)) }
	case typeSKECDSA:
		private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		point, err := private.PublicKey.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		k.public = str(kind, "nistp256", string(point), k.app)
		k.sign = func(message []byte) string {
			sum := sha256.Sum256(message)
			r, s, err := ecdsa.Sign(rand.Reader, private, sum[:])
			if err != nil {
				t.Fatal(err)
			}
			return string(str(mint(r), mint(s)))
		}
	}
	return k
}

func (k *securityKey) line() string {
	return k.kind + " " + base64.StdEncoding.EncodeToString(k.public)
}

// signature is over message, with the flags and the counter of the key.
func (k *securityKey) signature(namespace, message string, flags byte, counter uint32) string {
	app, sum := sha256.Sum256([]byte(k.app)), sha256.Sum256(toSign(namespace, message))
	signed := append(append([]byte{}, app[:]...), flags)
	signed = append(binary.BigEndian.AppendUint32(signed, counter), sum[:]...)
	sig := append(str(k.kind, k.sign(signed)), flags)
	sig = binary.BigEndian.AppendUint32(sig, counter)
	return armor(envelope(string(k.public), namespace, sig))
}

func TestSecurityKeys(t *testing.T) {
	b := newBench(t)
	for _, kind := range []string{typeSKEd25519, typeSKECDSA} {
		k := newSecurityKey(t, kind)
		allowed := "alice " + k.line() + "\n"
		for _, flags := range []byte{0, 1, 5} { // nobody touched it; touched; with a PIN
			sig := k.signature("git", "hello", flags, 7)
			if err := ours(sig, "hello", "git", allowed, "", noon); err != nil {
				t.Errorf("%s, flags %d: %v", kind, flags, err)
			}
			if !b.theirs(sig, "hello", "git", allowed, "", noon) {
				t.Errorf("%s, flags %d: ssh-keygen refuses it", kind, flags)
			}
			if err := ours(sig, "hellp", "git", allowed, "", noon); godwit.CodeOf(err) != godwit.CodeBadSignature {
				t.Errorf("%s, flags %d, other message: %v", kind, flags, err)
			}
		}
		// The flags and the counter are signed, too.
		good := k.signature("git", "hello", 1, 7)
		blob := dearmor(t, good)
		for i := 1; i <= 5; i++ {
			bad := bytes.Clone(blob)
			bad[len(bad)-i] ^= 1
			if err := ours(armor(bad), "hello", "git", allowed, "", noon); godwit.CodeOf(err) != godwit.CodeBadSignature {
				t.Errorf("%s, byte %d from the end changed: %v", kind, i, err)
			}
		}
		// Another application is another key.
		other := *k
		other.app = "ssh:other"
		if err := ours(other.signature("git", "hello", 1, 7), "hello", "git", allowed, "", noon); godwit.CodeOf(err) != godwit.CodeBadSignature {
			t.Errorf("%s, other application: %v", kind, err)
		}
	}
}

func dearmor(t testing.TB, armored string) []byte {
	t.Helper()
	body := strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(armored), Begin), end)
	blob, err := base64.StdEncoding.DecodeString(strings.TrimSpace(body))
	if err != nil {
		t.Fatal(err)
	}
	return blob
}

func decode(t testing.TB, s string) []byte {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
