// Package sshsig checks SSH signatures by OpenSSH's rules: the signatures that
// ssh-keygen -Y sign and git tag -s make, the allowed_signers file that says
// whose keys may sign what and when, and the lists of revoked keys, as text or
// as a KRL. The formats are OpenSSH's: PROTOCOL.sshsig, PROTOCOL.certkeys,
// PROTOCOL.u2f, PROTOCOL.krl, and ssh-keygen(1) under ALLOWED SIGNERS.
//
// What a signature means, how many it takes and what time it is are for package
// trust. Nothing here signs.
//
// Invariant: whatever is accepted here ssh-keygen -Y verify accepts as well. Of
// two readings of a doubtful input this package takes the stricter one.
// Lists are read as streams through buffers of fixed size.
package sshsig

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"hash"
	"io"

	"github.com/godwit-ota/godwit"
)

// MaxBlock is the largest armored signature that Parse reads, in bytes. One
// with a certificate over 16384-bit RSA keys has some 20,000.
const MaxBlock = 32 << 10

const (
	// Begin is the first line of an armored signature.
	Begin = "-----BEGIN SSH SIGNATURE-----"
	end   = "-----END SSH SIGNATURE-----"

	preamble = "SSHSIG"
	version  = 1
)

// A Signature is one SSH signature, read but not verified.
type Signature struct {
	Key       PublicKey
	Namespace string // what it was made for, such as "git"; never empty
	Hash      string // of the message: "sha256" or "sha512"

	blob []byte // algorithm and value
}

// Parse reads the armored signature that armored begins with, and returns what
// follows the line that ends it. The key is taken apart, and if it is a
// certificate, its authority's signature is verified.
//
// It fails with CodeBadSignature. Beyond what OpenSSH asks for, nothing stands
// behind the last line, nothing is reserved, and numbers are in their shortest
// form.
func Parse(armored []byte) (sig *Signature, rest []byte, err error) {
	body, ok := bytes.CutPrefix(armored, []byte(Begin+"\n"))
	if !ok {
		return nil, nil, malformed("its first line is not " + Begin)
	}
	body, _, ok = bytes.Cut(body[:min(len(body), MaxBlock)], []byte("\n"+end))
	if !ok {
		return nil, nil, malformed("there is no " + end)
	}
	rest = armored[len(Begin)+1+len(body)+1+len(end):]
	if len(rest) > 0 && rest[0] != '\n' {
		return nil, nil, malformed("something stands behind " + end)
	}
	rest = rest[min(1, len(rest)):]
	blob := make([]byte, base64.StdEncoding.DecodedLen(len(body)))
	n, err := base64.StdEncoding.Strict().Decode(blob, body)
	if err != nil {
		return nil, nil, malformed("its base64 is not right")
	}
	sig, err = parseBlob(blob[:n])
	return sig, rest, err
}

// parseBlob reads what the armor contains (PROTOCOL.sshsig, section 2).
func parseBlob(blob []byte) (*Signature, error) {
	w := wire{b: blob}
	if string(w.next(len(preamble))) != preamble || w.u32() != version {
		return nil, malformed("it is not an SSH signature of version 1")
	}
	key, s := w.str(), new(Signature)
	s.Namespace = string(w.str())
	reserved := w.str()
	s.Hash = string(w.str())
	s.blob = w.str()
	if !w.end() {
		return nil, malformed("it ends early or has more than its fields")
	}
	switch {
	case s.Namespace == "" || hasNUL(s.Namespace):
		return nil, malformed("it names no namespace")
	case len(reserved) > 0:
		return nil, malformed("it has a field that no version uses")
	case newHash(s.Hash) == nil:
		return nil, malformed("it uses another hash than sha256 and sha512")
	}
	var err error
	if s.Key, err = parseKey(key); err != nil {
		return nil, malformed("its key is not usable: " + err.Error())
	}
	return s, nil
}

func newHash(name string) hash.Hash {
	switch name {
	case "sha256":
		return sha256.New()
	case "sha512":
		return sha512.New()
	}
	return nil
}

// Verify checks that s is a signature over what message gives, made for
// namespace. It says nothing about who may sign: see Find and Revoked. Memory
// does not depend on the length of the message.
//
// It fails with CodeBadSignature, or with what message fails with.
func (s *Signature) Verify(message io.Reader, namespace string) error {
	if s.Namespace != namespace {
		return godwit.Fail(godwit.CodeBadSignature, nil,
			"the signature was made for the namespace "+quote(s.Namespace)+", not for "+quote(namespace),
			"sign again for "+quote(namespace)+": a signature is only good for what it was made for")
	}
	h := newHash(s.Hash)
	var buf [2048]byte
	for {
		n, err := message.Read(buf[:])
		h.Write(buf[:n])
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	signed := append(make([]byte, 0, 256), preamble...)
	signed = appendString(signed, s.Namespace)
	signed = appendString(signed, "")
	signed = appendString(signed, s.Hash)
	signed = appendString(signed, string(h.Sum(nil)))
	if err := s.Key.verify(s.blob, signed); err != nil {
		return godwit.Fail(godwit.CodeBadSignature, nil, "the signature by "+s.Key.Fingerprint()+" does not fit: "+err.Error(),
			"what was signed has changed since, or the signature belongs to something else")
	}
	return nil
}

func malformed(why string) error {
	return godwit.Fail(godwit.CodeBadSignature, nil, "the signature is malformed: "+why, "make it again with godwit, git or ssh-keygen -Y sign")
}
