package sshsig

import "time"

// maxPrincipals is the number of principals that OpenSSH takes in a certificate.
const maxPrincipals = 256

// userCertificate is the type of certificates for people, not for hosts.
const userCertificate = 1

// A certificate is what an authority says of a key: PROTOCOL.certkeys. Its
// signature has been verified.
type certificate struct {
	ca            PublicKey // plain
	serial        uint64
	typ           uint32
	id            string
	principals    []string
	after, before uint64 // seconds since 1970; from after, until just before before
	critical      bool   // it has conditions that must be understood
}

// parseCertificate reads what follows the key in a certificate, up to its end.
func (k *PublicKey) parseCertificate(w *wire) error {
	c := &certificate{serial: w.u64(), typ: w.u32(), id: string(w.str())}
	principals := wire{b: w.str()}
	c.after, c.before = w.u64(), w.u64()
	critical, extensions := wire{b: w.str()}, wire{b: w.str()}
	w.str() // reserved
	authority := w.str()
	body := k.blob[:len(k.blob)-len(w.b)]
	signature := w.str()
	if !w.end() || hasNUL(c.id) {
		return errKeyForm
	}
	for len(principals.b) > 0 {
		p := string(principals.str())
		if len(c.principals) == maxPrincipals || hasNUL(p) {
			return errKeyForm
		}
		c.principals = append(c.principals, p)
	}
	c.critical = len(critical.b) > 0
	for _, options := range []*wire{&principals, &critical, &extensions} {
		for len(options.b) > 0 {
			options.str()
			options.str()
		}
		if options.bad {
			return errKeyForm
		}
	}
	if name := (&wire{b: authority}).str(); isCertificate(string(name)) {
		return errKeyForm // authorities do not certify each other
	}
	var err error
	if c.ca, err = parseKey(authority); err != nil {
		return err
	}
	if err := c.ca.verify(signature, body); err != nil {
		return err
	}
	k.cert = c
	return nil
}

// faraway stands for times so late that they mean "always".
const faraway = 1 << 40

// validity returns the first and the last second at which c is valid; the zero
// time is open.
func (c *certificate) validity() (first, last time.Time) {
	if c.after > 0 {
		first = time.Unix(int64(min(c.after, faraway)), 0)
	}
	if c.before < faraway {
		last = time.Unix(int64(c.before)-1, 0)
	}
	return first, last
}
