package sshsig

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/godwit-ota/godwit"
)

var update = flag.Bool("update", false, "make the test vectors anew, with new keys")

// vectorFile is for other programs as well.
const vectorFile = "../../docs/vectors/sshsig.json"

// A vector is one signature and the verdict. Bytes are base64 in JSON.
type vector struct {
	Name           string    `json:"name"`
	Message        string    `json:"message"`
	Namespace      string    `json:"namespace"`
	Time           time.Time `json:"time"`
	Signature      string    `json:"signature"`
	AllowedSigners string    `json:"allowed_signers"`
	Revoked        []byte    `json:"revoked,omitempty"`
	Verdict        string    `json:"verdict"` // "accepted", or the code of the refusal
}

func vectors(t testing.TB) []vector {
	t.Helper()
	b, err := os.ReadFile(vectorFile)
	if err != nil {
		t.Fatal(err)
	}
	var v struct{ Vectors []vector }
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return v.Vectors
}

// vectorKey is a certificate that some vectors allow and some revoke.
func vectorKey(t testing.TB) PublicKey {
	t.Helper()
	for _, v := range vectors(t) {
		if v.Name == "certificate" {
			s, _, err := Parse([]byte(v.Signature))
			if err != nil {
				t.Fatal(err)
			}
			return s.Key
		}
	}
	t.Fatal("there is no such vector")
	return PublicKey{}
}

func TestVectors(t *testing.T) {
	if *update {
		makeVectors(t)
	}
	all := vectors(t)
	if len(all) < 20 {
		t.Fatalf("only %d vectors: looking in the wrong place", len(all))
	}
	for _, v := range all {
		t.Run(v.Name, func(t *testing.T) {
			err := ours(v.Signature, v.Message, v.Namespace, v.AllowedSigners, string(v.Revoked), v.Time)
			got := "accepted"
			if err != nil {
				got = string(godwit.CodeOf(err))
			}
			if got != v.Verdict {
				t.Errorf("%s (%v), want %s", got, err, v.Verdict)
			}
		})
	}
}

// TestVectorsElsewhere has ssh-keygen judge the vectors.
func TestVectorsElsewhere(t *testing.T) {
	b := newBench(t)
	for _, v := range vectors(t) {
		if theirs := b.theirs(v.Signature, v.Message, v.Namespace, v.AllowedSigners, string(v.Revoked), v.Time); theirs != (v.Verdict == "accepted") {
			t.Errorf("%s: ssh-keygen says %v, and the verdict is %s", v.Name, theirs, v.Verdict)
		}
	}
}

// makeVectors writes the file. The keys are thrown away.
func makeVectors(t *testing.T) {
	b := newBench(t)
	var all []vector
	add := func(name, sig, allowed, revoked string, verdict godwit.Code) {
		v := vector{name, "release v1.4.0\n", "git", noon, sig, allowed, []byte(revoked), string(verdict)}
		if verdict == "" {
			v.Verdict = "accepted"
		}
		all = append(all, v)
	}
	const message = "release v1.4.0\n"
	lines := map[string]string{}
	for _, args := range []string{"-t ed25519", "-t ecdsa -b 256", "-t ecdsa -b 384", "-t ecdsa -b 521", "-t rsa -b 2048"} {
		f := strings.Fields(args)
		name := strings.Join(f[1:], "")
		name = strings.ReplaceAll(name, "-b", "-")
		lines[name] = b.key(name, f...)
		add(name, b.sign(name, "git", message), "alice "+lines[name]+"\n", "", "")
		add(name+", sha256", b.sign(name, "git", message, "-O", "hashalg=sha256"), "alice "+lines[name]+"\n", "", "")
	}
	for _, kind := range []string{typeSKEd25519, typeSKECDSA} {
		k := newSecurityKey(t, kind)
		add(kind, k.signature("git", message, 1, 42), "alice "+k.line()+"\n", "", "")
		bad := dearmor(t, k.signature("git", message, 1, 42))
		bad[len(bad)-1]++ // the counter
		add(kind+", another counter", armor(bad), "alice "+k.line()+"\n", "", godwit.CodeBadSignature)
	}
	key, sig := lines["ed25519"], b.sign("ed25519", "git", message)
	add("another message", b.sign("ed25519", "git", "release v1.3.0\n"), "alice "+key+"\n", "", godwit.CodeBadSignature)
	add("another namespace", b.sign("ed25519", "file", message), "alice "+key+"\n", "", godwit.CodeBadSignature)
	add("nobody", sig, "# none\n", "", godwit.CodeUnknownSigner)
	add("somebody else", sig, "bob "+lines["rsa-2048"]+"\n", "", godwit.CodeUnknownSigner)
	add("second line", sig, "# who signs\r\nbob "+lines["rsa-2048"]+"\r\n\"alice smith,al\" "+key+" at home\r\n", "", "")
	add("namespaces", sig, `alice namespaces="file,g?t" `+key+"\n", "", "")
	add("namespace ruled out", sig, `alice namespaces="*,!git" `+key+"\n", "", godwit.CodeUnknownSigner)
	add("in time", sig, `alice valid-after="20260101Z",valid-before="20260615120000Z" `+key+"\n", "", "")
	add("too early", sig, `alice valid-after="20260615120001Z" `+key+"\n", "", godwit.CodeUnknownSigner)
	add("too late", sig, `alice valid-before="20260615115959Z" `+key+"\n", "", godwit.CodeUnknownSigner)
	add("malformed list", sig, `alice valid-before=20270101 `+key+"\n", "", godwit.CodeRefused)
	add("revoked, text", sig, "alice "+key+"\n", key+"\n", godwit.CodeRevoked)
	b.run("", "-q", "-k", "-f", "krl", "ed25519.pub")
	add("revoked, KRL", sig, "alice "+key+"\n", b.read("krl"), godwit.CodeRevoked)
	add("others revoked", sig, "alice "+key+"\n", lines["rsa-2048"]+"\n", "")

	ca := b.key("ca", "-t", "ed25519")
	socket := b.agent()
	b.run("", "-q", "-s", "ca", "-I", "laptop", "-z", "77", "-n", "alice", "-V", "20260101Z:20270101Z", "ed25519.pub")
	certified := b.signCertified(socket, "ed25519", "git", message)
	add("certificate", certified, "al* cert-authority "+ca+"\n", "", "")
	add("certificate, other name", certified, "bob cert-authority "+ca+"\n", "", godwit.CodeUnknownSigner)
	add("certificate, no authority", certified, "alice "+ca+"\n", "", godwit.CodeUnknownSigner)
	b.write("spec", "serial: 70-80\n")
	b.run("", "-q", "-k", "-f", "krl", "-s", "ca.pub", "spec")
	add("certificate, revoked by range", certified, "alice cert-authority "+ca+"\n", b.read("krl"), godwit.CodeRevoked)
	b.write("spec", "id: desktop\nserial: 78\n")
	b.run("", "-q", "-k", "-f", "krl", "-s", "ca.pub", "spec")
	add("certificate, others revoked", certified, "alice cert-authority "+ca+"\n", b.read("krl"), "")
	var serials strings.Builder
	for n := 71; n < 1000; n += 6 { // not 77's neighbours
		serials.WriteString("serial: " + itoa(n) + "\n")
	}
	b.write("spec", serials.String())
	b.run("", "-q", "-k", "-f", "krl", "-s", "ca.pub", "spec")
	add("certificate, revoked by bitmap", certified, "alice cert-authority "+ca+"\n", b.read("krl"), godwit.CodeRevoked)

	text, err := json.MarshalIndent(map[string]any{
		"format":  "SSH signatures (OpenSSH PROTOCOL.sshsig), allowed_signers (ssh-keygen(1)), revoked keys as text or KRL (PROTOCOL.krl, base64 here)",
		"vectors": all,
	}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(vectorFile), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(vectorFile, append(text, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}
