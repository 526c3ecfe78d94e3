package trust

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/trust/sshsig"
	"github.com/godwit-ota/godwit/trust/tagtext"
)

// The namespaces of signatures (PROTOCOL.sshsig): Git's for tags, Godwit's own
// for files, so that neither passes for the other.
const (
	TagNamespace  = "git"
	FileNamespace = "godwit"
)

// maxTag bounds a tag object, which is read whole.
const maxTag = 64 << 10

// maxSignatures is how many signatures of one statement are looked at.
const maxSignatures = 16

// maxDetached bounds the signatures beside a file.
const maxDetached = 64 << 10

// A signer made a signature that is good, by a key that is allowed: if the time
// is right, which is known only once the statement is read.
type signer struct {
	key   string // fingerprint
	lines []sshsig.Signer
	text  []byte // TagStatement: what comes before all signatures
}

// lists opens the lists in force: those that a release brought, else the
// configured.
func (g *Gate) lists(m godwit.Memory) (allowed, revoked sshsig.List, err error) {
	allowed, revoked = g.c.Allowed, g.c.Revoked
	if g.c.Kept == nil {
		return allowed, revoked, nil
	}
	for _, l := range []struct {
		digest string
		list   *sshsig.List
	}{{m.Signers, &allowed}, {m.Revoked, &revoked}} {
		if l.digest == "" {
			continue
		}
		// One that cannot be opened is told apart from one that is malformed.
		f, err := g.c.Kept(l.digest)
		if err != nil {
			return nil, nil, err
		}
		f.Close()
		*l.list = func() (io.ReadCloser, error) { return g.c.Kept(l.digest) }
	}
	return allowed, revoked, nil
}

// base is the digest of the configured lists.
func (g *Gate) base() (string, error) {
	h := sha256.New()
	for _, l := range []sshsig.List{g.c.Allowed, g.c.Revoked} {
		if l != nil {
			f, err := l()
			if err == nil {
				_, err = io.Copy(h, f)
				f.Close()
			}
			if err != nil {
				return "", godwit.Fail(godwit.CodeIO, err, "the configured lists of keys cannot be read", "look at trust.allowed_signers and trust.revoked_keys")
			}
		}
		h.Write([]byte{0})
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// Adopt judges the lists of keys that an admitted release brought, which
// m.Signers and m.Revoked name, and gives the memory to go on with. It refuses
// lists under which no further release of its form could be signed by as many as
// this device asks for, CodeBadStatement.
func (g *Gate) Adopt(v godwit.Verified, m godwit.Memory) (godwit.Memory, error) {
	var err error
	if m.Base, err = g.base(); err != nil {
		return m, err
	}
	allowed, revoked, err := g.lists(m)
	if err == nil {
		namespace := FileNamespace
		if v.Statement.Form == godwit.TagStatement {
			namespace = TagNamespace
		}
		err = sshsig.CheckSigners(allowed, revoked, namespace, g.c.Threshold, v.Time)
	}
	if err != nil {
		return m, godwit.Fail(godwit.CodeBadStatement, err, "the release brings lists of keys under which no further release could be signed", "mend "+godwit.SignersPath+" and "+godwit.RevokedPath+" and release again")
	}
	return m, nil
}

// signatures finds the good signatures of allowed keys below a statement. There
// is at least one when it returns nil. What was wrong with others counts only
// if not enough are left.
func (g *Gate) signatures(st godwit.Statement, m godwit.Memory, what string) ([]signer, error) {
	signers, err := g.goodSignatures(st, m, what)
	if err != nil {
		return nil, g.step("signature", "", err)
	}
	return signers, nil
}

func (g *Gate) goodSignatures(st godwit.Statement, m godwit.Memory, what string) ([]signer, error) {
	var text, blocks []byte
	namespace := FileNamespace
	switch st.Form {
	case godwit.NoStatement:
		return nil, godwit.Fail(godwit.CodeUnsigned, nil, what+" is not signed: the host names a commit and no signed tag", "release it with godwit tag, and follow a tag or a channel")
	case godwit.TagStatement:
		namespace = TagNamespace
		if st.Size > maxTag {
			return nil, godwit.Fail(godwit.CodeLimit, nil, "the tag of "+what+" is larger than 64 KiB", "")
		}
		b := make([]byte, st.Size)
		if n, err := st.Body.ReadAt(b, 0); n < len(b) {
			return nil, godwit.Fail(godwit.CodeIO, err, "the tag of "+what+" cannot be read", "")
		}
		text, blocks = tagtext.Split(b)
	case godwit.FileStatement:
		if blocks = st.Signatures; len(blocks) > maxDetached {
			return nil, godwit.Fail(godwit.CodeLimit, nil, "the signatures of "+what+" have more than 64 KiB", "")
		}
	}
	if st.Form == godwit.FileStatement {
		blocks = bytes.TrimLeft(blocks, "\r\n\t ")
	}
	if len(blocks) == 0 {
		hint := "sign it: godwit tag does"
		if st.Form == godwit.FileStatement {
			hint = "sign it: godwit publish does"
		}
		if k := tagtext.OtherSignature(text); k != "" {
			hint = "its signature is an " + k + " one; SSH keys count here: git config gpg.format ssh, or godwit tag"
		}
		return nil, godwit.Fail(godwit.CodeUnsigned, nil, what+" is not signed", hint)
	}
	allowed, revoked, err := g.lists(m)
	if err != nil {
		return nil, err
	}
	var good []signer
	var first error
	for n := 0; len(blocks) > 0; n++ {
		if n == maxSignatures {
			return nil, godwit.Fail(godwit.CodeLimit, nil, what+" has more than "+strconv.Itoa(maxSignatures)+" signatures", "")
		}
		sig, rest, err := sshsig.Parse(blocks)
		if err != nil {
			// Where one ends and the next begins is no longer known.
			return nil, err
		}
		message := io.NewSectionReader(st.Body, 0, st.Size)
		if st.Form == godwit.TagStatement {
			// It covers all that comes before it, earlier signatures included.
			message = io.NewSectionReader(st.Body, 0, st.Size-int64(len(blocks)))
		} else {
			rest = bytes.TrimLeft(rest, "\r\n\t ")
		}
		blocks = rest
		s, err := check(sig, message, namespace, allowed, revoked)
		if err != nil {
			if first == nil {
				first = err
			}
			continue
		}
		s.text = text
		good = append(good, s)
	}
	if len(good) == 0 {
		var e *godwit.Error
		if errors.As(first, &e) && e.Code == godwit.CodeBadSignature {
			first = godwit.Fail(e.Code, nil, what+": "+e.Text, e.Hint)
		}
		return nil, first
	}
	return good, nil
}

// check looks at one signature: is the key allowed, not revoked, and the
// signature good. Cheap questions come first.
func check(sig *sshsig.Signature, message io.Reader, namespace string, allowed, revoked sshsig.List) (signer, error) {
	lines, err := sshsig.Find(allowed, sig.Key, namespace)
	if err == nil && revoked != nil {
		err = sshsig.Revoked(revoked, sig.Key)
	}
	if err == nil {
		err = sig.Verify(message, namespace)
	}
	return signer{key: sig.Key.Fingerprint(), lines: lines}, err
}

// count checks that enough distinct signers were allowed at the time at, and
// names them. Two keys of one name are one signer, and so are two names for one
// key.
func (g *Gate) count(signers []signer, at time.Time, what string) ([]string, error) {
	if g.c.Mode != Signed {
		return nil, nil
	}
	// Those with the fewest names choose first, so that nobody takes a name away
	// from another who has no second one.
	var names []string
	keys := map[string]bool{}
	for n := 1; n <= maxSignatures; n++ {
		for _, s := range signers {
			if len(s.lines) != n || keys[s.key] {
				continue
			}
			for _, l := range s.lines {
				if l.ValidAt(at) && !shared(names, l.Principal) {
					names, keys[s.key] = append(names, l.Principal), true
					break
				}
			}
		}
	}
	if len(names) == 0 {
		return nil, g.step("signature", "", godwit.Fail(godwit.CodeUnknownSigner, nil,
			what+" is signed with the key "+signers[0].key+", which was not allowed to sign on "+day(at), "look at valid-after and valid-before in the list of allowed signers"))
	}
	g.step("signature", "signed by "+join(names), nil)
	var err error
	if len(names) < g.c.Threshold {
		err = godwit.Fail(godwit.CodeThreshold, nil, what+" is signed by "+strconv.Itoa(len(names))+" of the "+strconv.Itoa(g.c.Threshold)+" signers that this device asks for: "+join(names),
			cosigning(what))
	}
	return names, g.step("threshold", strconv.Itoa(len(names))+" of "+strconv.Itoa(g.c.Threshold)+" signers", err)
}

// cosigning says how another person signs.
func cosigning(what string) string {
	if strings.HasPrefix(what, "the channel ") {
		return "have others sign it too: godwit channel cosign, or godwit publish --cosign for a folder"
	}
	return "have others sign it too: godwit tag --cosign, or godwit publish --cosign for a folder"
}

// shared reports whether principals, a list of patterns, has one in common with
// one of names: then they are one person.
func shared(names []string, principals string) bool {
	for p := range strings.SplitSeq(principals, ",") {
		for _, n := range names {
			for q := range strings.SplitSeq(n, ",") {
				if p == q {
					return true
				}
			}
		}
	}
	return false
}

func join(names []string) string {
	s := ""
	for i, n := range names {
		if i > 0 {
			s += ", "
		}
		s += n
	}
	return s
}
