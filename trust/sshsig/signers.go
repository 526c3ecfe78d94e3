package sshsig

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/godwit-ota/godwit"
)

// maxSigners is the number of lines that Find returns for one key.
const maxSigners = 16

// signersName is what messages call the list.
const signersName = "the allowed_signers list"

// A Signer is one line of allowed_signers that allows a key.
type Signer struct {
	// Principal is the line's list of patterns as it stands there or, for a
	// certificate, its first name that the patterns match.
	Principal string
	Key       string // fingerprint; of a certificate, that of the certified key
	CA        bool   // the line allows an authority that certified the key
	// ValidAfter and ValidBefore are the first and the last second at which the
	// line, and the certificate, are good. The zero time is open.
	ValidAfter, ValidBefore time.Time
}

// ValidAt reports whether a signature made at t counts, to the second.
func (s Signer) ValidAt(t time.Time) bool {
	return (s.ValidAfter.IsZero() || t.Unix() >= s.ValidAfter.Unix()) &&
		(s.ValidBefore.IsZero() || t.Unix() <= s.ValidBefore.Unix())
}

// narrow makes s valid no earlier than after and no later than before.
func (s *Signer) narrow(after, before time.Time) {
	if s.ValidAfter.Before(after) {
		s.ValidAfter = after
	}
	if s.ValidBefore.IsZero() || !before.IsZero() && before.Before(s.ValidBefore) {
		s.ValidBefore = before
	}
}

// Find returns the lines of an allowed_signers file that allow key to sign for
// namespace, in the order of the file, at most the first 16. It does not look
// at the time: see ValidAt.
//
// It fails with CodeUnknownSigner if there is none, with CodeRefused if a line
// is malformed, wherever it is, and with CodeIO if the list cannot be read. A
// line with a type of key that is not known here counts for nobody: the list
// may be newer than this program.
func Find(allowed List, key PublicKey, namespace string) ([]Signer, error) {
	l, err := allowed.open(signersName)
	if err != nil {
		return nil, err
	}
	var found []Signer
	near := "" // why a line that has the key does not do
	if l != nil {
		defer l.close()
		for {
			e, err := l.entry()
			if err == io.EOF {
				break
			}
			if err != nil {
				return nil, err
			}
			s, why, ok := e.allows(&key, namespace)
			switch {
			case ok && len(found) < maxSigners:
				found = append(found, s)
			case why != "":
				near = ": line " + strconv.Itoa(l.number) + " has it, but " + why
			}
		}
	}
	if found == nil {
		return nil, godwit.Fail(godwit.CodeUnknownSigner, nil, "nobody is allowed to sign with the key "+key.Fingerprint()+near,
			"if the key is right, add it to allowed_signers on the device, or in a release signed by a key that it knows")
	}
	return found, nil
}

// CheckSigners checks that lists are of use: both are well-formed, and least
// people with as many keys may sign for namespace after at. Keys that are revoked
// do not count, nor lines that are over by then; an authority counts as many.
//
// It fails with CodeRefused, and with CodeIO if a list cannot be read.
func CheckSigners(allowed, revoked List, namespace string, least int, at time.Time) error {
	if err := Revoked(revoked, PublicKey{}); err != nil {
		return err
	}
	l, err := allowed.open(signersName)
	if err != nil {
		return err
	}
	var people, keys []string // no more than it takes
	least = max(1, min(least, maxSigners))
	count := 0
	for l != nil {
		e, err := l.entry()
		if err == io.EOF {
			break
		}
		if err == nil && count < least && !e.unknown && e.permits(namespace) && (Signer{ValidBefore: e.before}).ValidAt(at) {
			err = Revoked(revoked, e.key)
			switch {
			case godwit.CodeOf(err) == godwit.CodeRevoked:
				err = nil
			case err == nil && e.ca:
				count = least
			case err == nil:
				people, keys = add(people, e.principals), add(keys, e.key.Fingerprint())
				count = min(len(people), len(keys))
			}
		}
		if err != nil {
			l.close()
			return err
		}
	}
	if l != nil {
		l.close()
	}
	if count < least {
		return godwit.Fail(godwit.CodeRefused, nil, signersName+" allows "+strconv.Itoa(count)+" to sign for "+quote(namespace)+", and it takes "+strconv.Itoa(least),
			"it needs a line for each signer: NAME KEYTYPE KEY, as `godwit keygen` prints it; keys that are revoked or past valid-before do not count")
	}
	return nil
}

// add adds s to a set.
func add(set []string, s string) []string {
	for _, t := range set {
		if t == s {
			return set
		}
	}
	return append(set, s)
}

// An entry is one line of allowed_signers.
type entry struct {
	principals    string
	ca            bool
	limited       bool   // to namespaces
	namespaces    string // patterns
	after, before time.Time
	key           PublicKey
	unknown       bool // the type of the key is not known
}

func (e *entry) permits(namespace string) bool {
	return !e.limited || matchList(namespace, e.namespaces)
}

// allows reports whether e allows key to sign for namespace, and if e has the
// key and does not allow it, why.
func (e *entry) allows(key *PublicKey, namespace string) (s Signer, why string, ok bool) {
	s = Signer{Principal: e.principals, Key: key.Fingerprint(), CA: e.ca}
	switch {
	case e.unknown:
		return s, "", false
	case !e.ca:
		if !bytes.Equal(e.key.blob, key.blob) {
			if bytes.Equal(e.key.plain, key.plain) {
				why = "the signature came with a certificate, and the line is not for an authority"
			}
			return s, why, false
		}
	case key.cert == nil:
		if bytes.Equal(e.key.plain, key.plain) {
			why = "as an authority, which only certifies other keys"
		}
		return s, why, false
	case !bytes.Equal(e.key.blob, key.cert.ca.blob):
		return s, "", false
	default:
		s.Principal = ""
		for _, p := range key.cert.principals {
			if matchList(p, e.principals) {
				s.Principal = p
				break
			}
		}
		switch {
		case key.cert.typ != userCertificate:
			return s, "the certificate is one for hosts", false
		case key.cert.critical:
			return s, "the certificate has critical options, which say nothing about releases", false
		case s.Principal == "":
			return s, "the certificate is for none of its principals", false
		}
		s.narrow(key.cert.validity())
	}
	if !e.permits(namespace) {
		return s, "only for the namespaces " + quote(e.namespaces), false
	}
	s.narrow(e.after, e.before)
	return s, "", true
}

// entry reads the next line: principals, options, key, comment (ssh-keygen(1),
// ALLOWED SIGNERS). The principals may stand in quotes.
func (l *list) entry() (entry, error) {
	var e entry
	line, err := l.line()
	if err != nil {
		return e, err
	}
	// What is put into such a list by mistake, most of all.
	if k, err := l.publicKey(line); err == nil || errors.Is(err, errUnknownType) {
		kind, _ := word(line)
		if err == nil {
			kind = []byte(k.Type())
		}
		return e, l.malformed("it is a public key alone; put who signs with it before it, as in alice@example.org " + string(kind) + " KEY")
	}
	if bytes.HasPrefix(line, []byte("-----BEGIN ")) {
		return e, l.malformed("it begins a private key, which only its owner may have; what belongs here is the line of the .pub file, with a name before it")
	}
	var name []byte
	if line[0] == '"' {
		var ok bool
		if name, line, ok = bytes.Cut(line[1:], []byte("\"")); !ok || len(line) == 0 || line[0] != ' ' && line[0] != '\t' {
			return e, l.malformed("a quote is not closed, or something stands behind it")
		}
		line = bytes.TrimLeft(line, " \t")
	} else if name, line = word(line); bytes.IndexByte(name, '"') >= 0 {
		return e, l.malformed("a quote stands within its principals")
	}
	e.principals = string(name)
	if !names(e.principals) {
		return e, l.malformed("it names nobody, or there is a comma too much")
	}
	e.key, err = l.publicKey(line)
	if errors.Is(err, errKeyForm) {
		text, why := e.options(line)
		if why != "" {
			return e, l.malformed(why)
		}
		e.key, err = l.publicKey(text)
	}
	if e.unknown = errors.Is(err, errUnknownType); err != nil && !e.unknown {
		return e, l.malformed("there is no usable key: " + err.Error())
	}
	return e, nil
}

// names reports whether there is a pattern in the list that can match, and none
// that is empty: ssh-keygen -Y find-principals looks no further than to that.
func names(patterns string) bool {
	some := false
	for p := range strings.SplitSeq(patterns, ",") {
		if p == "" {
			return false
		}
		some = some || p[0] != '!'
	}
	return some
}

// options reads the options that text begins with and returns what follows
// them, or why it cannot.
func (e *entry) options(text []byte) (rest []byte, why string) {
	for {
		end := bytes.IndexAny(text, "=, \t")
		if end < 0 {
			return nil, "there is no key"
		}
		option := strings.ToLower(string(text[:end]))
		value, given, ok := "", false, true
		if text[end] == '=' {
			given = true
			if value, text, ok = quoted(text[end+1:]); !ok {
				return nil, "the value of the option " + quote(option) + " is not in quotes"
			}
		} else {
			text = text[end:]
		}
		switch {
		case option == "cert-authority" && !given:
			e.ca = true
		case option == "namespaces" && given && !e.limited:
			e.limited, e.namespaces = true, value
		case option == "valid-after" && given && e.after.IsZero():
			e.after, ok = parseTime(value)
		case option == "valid-before" && given && e.before.IsZero():
			e.before, ok = parseTime(value)
		default:
			return nil, quote(option) + " is neither a usable key nor an option that is known, complete and given once"
		}
		switch {
		case !ok:
			return nil, "the time " + quote(value) + " is not one, as YYYYMMDD, YYYYMMDDHHMM or YYYYMMDDHHMMSS, with Z for UTC"
		case len(text) == 0:
			return nil, "there is no key"
		case text[0] == ',':
			text = text[1:]
		case text[0] != ' ' && text[0] != '\t':
			return nil, "something stands behind the option " + quote(option)
		case !e.after.IsZero() && !e.before.IsZero() && !e.after.Before(e.before):
			return nil, "it ends before it begins"
		default:
			return bytes.TrimLeft(text, " \t"), ""
		}
	}
}

// quoted reads a string in quotes, where \" is a quote.
func quoted(text []byte) (value string, rest []byte, ok bool) {
	if len(text) == 0 || text[0] != '"' {
		return "", nil, false
	}
	var b []byte
	for i := 1; i < len(text); i++ {
		switch {
		case text[i] == '"':
			return string(b), text[i+1:], true
		case text[i] == '\\' && i+1 < len(text) && text[i+1] == '"':
			i++
		}
		b = append(b, text[i])
	}
	return "", nil, false
}

// parseTime reads a time as ssh-keygen(1) writes it in allowed_signers: local
// unless it ends in Z or UTC.
func parseTime(s string) (time.Time, bool) {
	zone, digits := time.Local, s
	if n := len(s); n > 1 && strings.EqualFold(s[n-1:], "Z") {
		zone, digits = time.UTC, s[:n-1]
	} else if n > 3 && strings.EqualFold(s[n-3:], "UTC") {
		zone, digits = time.UTC, s[:n-3]
	}
	const layout = "20060102150405"
	switch len(digits) {
	case 8, 12, 14:
	default:
		return time.Time{}, false
	}
	t, err := time.ParseInLocation(layout[:len(digits)], digits, zone)
	return t, err == nil && t.Unix() > 0
}
