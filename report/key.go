package report

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha512"
	"encoding/base64"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

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
	case signer.PublicKey().Type() != ssh.KeyAlgoED25519:
		return fail(nil, "the key that signs reports is of the type "+signer.PublicKey().Type()+", not "+ssh.KeyAlgoED25519, keyHint)
	}
	return &key{signer}, nil
}

// sign makes an armored SSH signature over message for Namespace, the one that
// ssh-keygen -Y sign makes (PROTOCOL.sshsig, sections 2 and 3). Package
// trust/sshsig reads it.
func (k *key) sign(message []byte) (string, error) {
	const hash = "sha512"
	field := func(b []byte, s []byte) []byte {
		return append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
	}
	sum := sha512.Sum512(message)
	// What is signed: the preamble, namespace, a reserved field, hash, its value.
	b := append(make([]byte, 0, 256), "SSHSIG"...)
	b = field(field(field(field(b, []byte(Namespace)), nil), []byte(hash)), sum[:])
	signature, err := k.signer.Sign(rand.Reader, b)
	if err != nil {
		return "", godwit.Fail(godwit.CodeFailed, err, "a report cannot be signed", "")
	}
	value := field(field(nil, []byte(signature.Format)), signature.Blob)
	// What is armored: the preamble, a version, the key, the same, the value.
	b = binary.BigEndian.AppendUint32(append(b[:0], "SSHSIG"...), 1)
	b = field(b, k.signer.PublicKey().Marshal())
	b = field(field(field(field(b, []byte(Namespace)), nil), []byte(hash)), value)
	var s strings.Builder
	s.WriteString("-----BEGIN SSH SIGNATURE-----\n")
	for text := base64.StdEncoding.EncodeToString(b); text != ""; {
		n := min(len(text), 70) // as ssh-keygen breaks it
		s.WriteString(text[:n] + "\n")
		text = text[n:]
	}
	s.WriteString("-----END SSH SIGNATURE-----\n")
	return s.String(), nil
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
	return string(bytes.TrimSpace(ssh.MarshalAuthorizedKey(k.signer.PublicKey()))), made, nil
}

// makeKey reports whether it was this call that put the key there.
func makeKey(file, comment string) (made bool, err error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return false, err
	}
	block, err := ssh.MarshalPrivateKey(private, clean(comment, maxText))
	if err != nil {
		return false, err
	}
	dir := filepath.Dir(file)
	f, err := os.CreateTemp(dir, ".new-key-*") // mode 0600
	if err != nil {
		return false, err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(pem.EncodeToMemory(block))
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
