package sshsig

import (
	"bytes"
	"errors"
	"io"
	"strconv"

	"github.com/godwit-ota/godwit"
)

// revokedName is what messages call the list.
const revokedName = "the list of revoked keys"

// Revoked checks that key is not in a list of revoked keys: a KRL, or public
// keys as text, one a line, as for ssh-keygen -Y verify -r. A key is revoked
// with every certificate for it, and a certificate also with its authority.
// With the zero key it only checks the list.
//
// It fails with CodeRevoked if the key is in the list, with CodeRefused if the
// list is malformed, and with CodeIO if it cannot be read: who was revoked is
// not known then, so nobody is trusted. Keys of types that are not known here
// cannot have signed and are passed over.
func Revoked(revoked List, key PublicKey) error {
	l, err := revoked.open(revokedName)
	if l == nil || err != nil {
		return err
	}
	defer l.close()
	if magic, _ := l.Peek(len(krlMagic)); string(magic) == krlMagic {
		in, err := l.krl(&key)
		if err == nil && in {
			err = revokedError(key, "")
		}
		return err
	}
	for {
		line, err := l.line()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		k, err := l.publicKey(line)
		if errors.Is(err, errUnknownType) {
			continue
		}
		if err != nil {
			return l.malformed("there is no usable key: " + err.Error())
		}
		if bytes.Equal(k.plain, key.plain) || key.cert != nil && bytes.Equal(k.plain, key.cert.ca.plain) {
			return revokedError(key, " by line "+strconv.Itoa(l.number))
		}
	}
}

func revokedError(key PublicKey, where string) error {
	return godwit.Fail(godwit.CodeRevoked, nil, "the key "+key.Fingerprint()+", or who certified it, was revoked"+where,
		"sign with another key that the device knows")
}
