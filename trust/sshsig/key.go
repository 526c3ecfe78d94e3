package sshsig

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/binary"
	"hash"
	"strings"
)

// The plain types of keys, RFC 4253, 5656, 8709 and PROTOCOL.u2f. DSA is not
// among them: it cannot be had without SHA-1.
const (
	typeEd25519   = "ssh-ed25519"
	typeRSA       = "ssh-rsa"
	typeECDSA     = "ecdsa-sha2-" // and the name of the curve
	typeSKEd25519 = "sk-ssh-ed25519@openssh.com"
	typeSKECDSA   = "sk-ecdsa-sha2-nistp256@openssh.com"

	certSuffix = "-cert-v01@openssh.com"
)

// The lengths of RSA keys that OpenSSH takes, in bits.
const minRSA, maxRSA = 1024, 16384

// A PublicKey is an SSH key, or a certificate for one. The zero value is no key.
type PublicKey struct {
	kind  string // plain type
	plain []byte // wire form of the key itself, without a certificate
	blob  []byte // wire form as it came

	ed          ed25519.PublicKey
	ec          *ecdsa.PublicKey
	rsa         *rsa.PublicKey
	application string // of a key in hardware

	cert *certificate // nil for a plain key
}

// Type returns the type of the key, such as "ssh-ed25519"; for a certificate,
// that of the certified key.
func (k PublicKey) Type() string { return k.kind }

// Fingerprint returns "SHA256:…" as ssh-keygen -l prints it; for a certificate,
// that of the certified key.
func (k PublicKey) Fingerprint() string {
	sum := sha256.Sum256(k.plain)
	return "SHA256:" + base64.RawStdEncoding.EncodeToString(sum[:])
}

// parseKey reads the wire form of a key or certificate. errUnknownType is for
// those whose type is well-formed but not known.
func parseKey(blob []byte) (PublicKey, error) {
	w := wire{b: blob}
	name := string(w.str())
	k := PublicKey{blob: blob}
	if w.bad || name == "" {
		return k, errKeyForm
	}
	k.kind = name
	certified := isCertificate(name)
	if certified {
		k.kind = strings.TrimSuffix(name, certSuffix)
		if k.kind == "sk-ssh-ed25519" || k.kind == "sk-ecdsa-sha2-nistp256" {
			k.kind += "@openssh.com"
		}
		w.str() // nonce
	}
	start := len(blob) - len(w.b)
	if err := k.parseFields(&w); err != nil {
		return k, err
	}
	fields := blob[start : len(blob)-len(w.b)]
	k.plain = append(appendString(make([]byte, 0, 4+len(k.kind)+len(fields)), k.kind), fields...)
	if certified {
		if err := k.parseCertificate(&w); err != nil {
			return k, err
		}
	}
	if !w.end() {
		return k, errKeyForm
	}
	return k, nil
}

// parseFields reads what makes the key of its kind.
func (k *PublicKey) parseFields(w *wire) error {
	switch k.kind {
	case typeEd25519, typeSKEd25519:
		k.ed = w.str()
		if len(k.ed) != ed25519.PublicKeySize {
			return errKeyForm
		}
	case typeECDSA + "nistp256", typeECDSA + "nistp384", typeECDSA + "nistp521", typeSKECDSA:
		curve := string(w.str())
		if k.kind != typeECDSA+curve && (k.kind != typeSKECDSA || curve != "nistp256") {
			return errKeyForm
		}
		var err error
		switch curve {
		case "nistp256":
			k.ec, err = ecdsa.ParseUncompressedPublicKey(elliptic.P256(), w.str())
		case "nistp384":
			k.ec, err = ecdsa.ParseUncompressedPublicKey(elliptic.P384(), w.str())
		default:
			k.ec, err = ecdsa.ParseUncompressedPublicKey(elliptic.P521(), w.str())
		}
		if err != nil {
			return errKeyForm
		}
	case typeRSA:
		e, n := w.mpint(), w.mpint()
		// The library asks for an exponent of 31 bits, odd and above one.
		if bits := n.BitLen(); e.BitLen() > 31 || e.Int64() < 3 || e.Bit(0) == 0 || bits < minRSA || bits > maxRSA || n.Bit(0) == 0 {
			return errKeyForm
		}
		k.rsa = &rsa.PublicKey{N: n, E: int(e.Int64())}
	default:
		return errUnknownType
	}
	if k.hardware() {
		k.application = string(w.str())
	}
	if w.bad {
		return errKeyForm
	}
	return nil
}

// hardware reports whether the key lives in a security key.
func (k *PublicKey) hardware() bool { return k.kind == typeSKEd25519 || k.kind == typeSKECDSA }

// verify checks blob, algorithm and value of a signature, over message. Whether
// somebody touched the security key is in the signed flags, and as with
// ssh-keygen it makes no difference.
func (k *PublicKey) verify(blob, message []byte) error {
	w := wire{b: blob}
	algorithm, value := string(w.str()), w.str()
	if k.hardware() {
		// PROTOCOL.u2f, "SSH U2F Signatures": flags and counter follow, and what
		// is signed is made of them and of hashes.
		flags, counter := w.u8(), w.u32()
		app, sum := sha256.Sum256([]byte(k.application)), sha256.Sum256(message)
		message = append(append(make([]byte, 0, 69), app[:]...), flags)
		message = append(binary.BigEndian.AppendUint32(message, counter), sum[:]...)
	}
	if !w.end() {
		return errSigForm
	}
	switch {
	case k.rsa != nil:
		return k.verifyRSA(algorithm, value, message)
	case algorithm != k.kind:
		return errAlgorithm
	case k.ec != nil:
		return k.verifyECDSA(value, message)
	case len(value) != ed25519.SignatureSize:
		return errSigForm
	case !ed25519.Verify(k.ed, message, value):
		return errMismatch
	}
	return nil
}

// verifyRSA follows RFC 8332. A value that lost leading zeros gets them back,
// as OpenSSH does it.
func (k *PublicKey) verifyRSA(algorithm string, value, message []byte) error {
	var id crypto.Hash
	var h hash.Hash
	switch algorithm {
	case "rsa-sha2-256":
		id, h = crypto.SHA256, sha256.New()
	case "rsa-sha2-512":
		id, h = crypto.SHA512, sha512.New()
	default:
		return errAlgorithm
	}
	h.Write(message)
	size := k.rsa.Size()
	if len(value) == 0 || len(value) > size {
		return errSigForm
	}
	if len(value) < size {
		value = append(make([]byte, size-len(value), size), value...)
	}
	if rsa.VerifyPKCS1v15(k.rsa, id, h.Sum(nil), value) != nil {
		return errMismatch
	}
	return nil
}

// verifyECDSA follows RFC 5656, section 3.1.2.
func (k *PublicKey) verifyECDSA(value, message []byte) error {
	w := wire{b: value}
	r, s := w.mpint(), w.mpint()
	if !w.end() {
		return errSigForm
	}
	var h hash.Hash
	switch k.ec.Curve.Params().BitSize {
	case 256:
		h = sha256.New()
	case 384:
		h = sha512.New384()
	default:
		h = sha512.New()
	}
	h.Write(message)
	if !ecdsa.Verify(k.ec, h.Sum(nil), r, s) {
		return errMismatch
	}
	return nil
}

func isCertificate(name string) bool { return strings.HasSuffix(name, certSuffix) }
