package report

import (
	"crypto/ed25519"
	"crypto/sha512"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/crypto/ssh"

	"github.com/godwit-ota/godwit"
)

// maxKeyFile is the size of the largest file that is read as a key, in bytes. An
// ed25519 key has some 400.
const maxKeyFile = 16 << 10

const keyHint = "make one with godwit, or with ssh-keygen -t ed25519 -N ''"

// A key signs reports.
type key struct{ signer ssh.Signer }

// loadKey reads an OpenSSH private key (PROTOCOL.key). Only ed25519 is taken:
// its signatures are short and the same each time.
func loadKey(file string) (*key, error) {
	fail := func(err error, text, hint string) (*key, error) {
		return nil, godwit.Fail(godwit.CodeConfig, err, text, hint)
	}
	f, err := os.Open(file)
	if err != nil {
		return fail(err, "the key that signs reports cannot be read", keyHint)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	if err != nil {
		return fail(err, "the key that signs reports cannot be read", keyHint)
	}
	signer, err := ssh.ParsePrivateKey(text)
	var locked *ssh.PassphraseMissingError
	switch {
	case errors.As(err, &locked):
		return fail(nil, "the key that signs reports has a passphrase", "nobody is there to type it: "+keyHint)
	case err != nil:
		return fail(err, "the file "+file+" is no private key", keyHint)
	case signer.PublicKey().Type() != keyType:
		return fail(nil, "the key that signs reports is of the type "+signer.PublicKey().Type()+", not "+keyType, keyHint)
	}
	return &key{signer}, nil
}

// sign makes an armored SSH signature over message for Namespace, the one that
// ssh-keygen -Y sign makes (PROTOCOL.sshsig, sections 2 and 3). Package
// trust/sshsig reads it.
func (k *key) sign(message []byte) (string, error) {
	const hash = "sha512"
	sum := sha512.Sum512(message)
	// What is signed: the preamble, namespace, a reserved field, hash, its value.
	b := append(make([]byte, 0, 256), "SSHSIG"...)
	b = fields(b, Namespace, "", hash, string(sum[:]))
	signature, err := k.signer.Sign(nil, b)
	if err != nil {
		return "", godwit.Fail(godwit.CodeFailed, err, "a report cannot be signed", "")
	}
	value := fields(nil, signature.Format, string(signature.Blob))
	// What is armored: the preamble, a version, the key, the same, the value.
	b = append(b[:0], "SSHSIG\x00\x00\x00\x01"...)
	b = fields(b, string(k.signer.PublicKey().Marshal()), Namespace, "", hash, string(value))
	return armor("SSH SIGNATURE", b), nil
}

// fields appends each text behind its length (RFC 4251, 5, "string").
func fields(b []byte, list ...string) []byte {
	for _, s := range list {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
	}
	return b
}

// armor writes b between two lines of dashes as ssh-keygen does it.
func armor(kind string, b []byte) string {
	s := "-----BEGIN " + kind + "-----\n"
	for text := base64.StdEncoding.EncodeToString(b); text != ""; {
		n := min(len(text), 70)
		s += text[:n] + "\n"
		text = text[n:]
	}
	return s + "-----END " + kind + "-----\n"
}

// NewKey makes an ed25519 key without a passphrase in file, which only its owner
// can read, unless a key is there already. It returns the public key as it
// stands in allowed_signers, "ssh-ed25519 BASE64", and whether it made one.
// comment is for people; the id of the device is a good one. The key is durable
// when NewKey returns: after a power cut there is the whole key or none.
//
// It fails with the codes config (what is there is no such key) and io.
func NewKey(file, comment string) (public string, made bool, err error) {
	if _, err := os.Lstat(file); errors.Is(err, fs.ErrNotExist) {
		if made, err = makeKey(file, comment); err != nil {
			return "", false, godwit.Fail(godwit.CodeIO, err, "the key that signs reports cannot be made", "its folder must be there and writable")
		}
	}
	k, err := loadKey(file)
	if err != nil {
		return "", false, err
	}
	return keyType + " " + base64.StdEncoding.EncodeToString(k.signer.PublicKey().Marshal()), made, nil
}

const keyType = "ssh-ed25519" // RFC 8709

// keyText gives a private key as OpenSSH writes it (PROTOCOL.key), unencrypted.
// The ssh package would do it as well, for 25 kB of the binary: it can encrypt,
// and knows keys of all kinds.
func keyText(private ed25519.PrivateKey, comment string) string {
	public := private[ed25519.SeedSize:]
	blob := string(fields(nil, keyType, string(public)))
	// Two numbers that are equal show a reader that it decrypted well.
	secret := fields(make([]byte, 8), keyType, string(public), string(private), comment)
	for i := byte(1); len(secret)%8 != 0; i++ { // cipher "none" has blocks of 8
		secret = append(secret, i)
	}
	b := fields([]byte("openssh-key-v1\x00"), "none", "none", "") // cipher, kdf, its options
	b = append(b, 0, 0, 0, 1)                                     // one key
	return armor("OPENSSH PRIVATE KEY", fields(b, blob, string(secret)))
}

// makeKey reports whether it was this call that put the key there.
func makeKey(file, comment string) (made bool, err error) {
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return false, err
	}
	dir := filepath.Dir(file)
	f, err := os.CreateTemp(dir, ".new-key-*") // mode 0600
	if err != nil {
		return false, err
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(keyText(private, clean(comment, maxText)))
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return false, err
	}
	// A link never takes the place of a key that somebody made meanwhile. FAT has
	// no links.
	err = os.Link(f.Name(), file)
	switch {
	case errors.Is(err, fs.ErrExist):
		return false, nil
	case err != nil:
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		return false, err
	}
	d, err := os.Open(dir)
	if err != nil {
		return true, err
	}
	defer d.Close()
	return true, d.Sync()
}
