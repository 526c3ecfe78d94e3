// Package trust decides who may say what a device installs. A Gate judges the
// statements that releases and channels come with: signed Git tags and signed
// manifests, by OpenSSH's rules; manifests with an HMAC, as the reference
// updater makes them; or nothing at all, where the configuration says so.
//
// It leaves to others: where statements come from and that the bytes below a
// signature are what it names (the sources, which hash all they bring), and
// what is remembered (the store, in its record).
//
// Invariant: no byte of a statement is read for its meaning before a signature
// of an allowed key was found good over all of it. What is admitted passed
// every check of its policy; what is refused says which one it failed.
package trust

import (
	"context"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/internal/semver"
	"github.com/godwit-ota/godwit/manifest"
	"github.com/godwit-ota/godwit/trust/sshsig"
	"github.com/godwit-ota/godwit/trust/tagtext"
)

// A Mode is a policy.
type Mode string

// The policies.
const (
	None   Mode = "none"   // whoever can change what the host gives decides
	Signed Mode = "signed" // allowed keys decide
	HMAC   Mode = "hmac"   // whoever knows the secret decides, each device included
)

// AnyProduct stands for the product of a device whose signers' keys are used for
// nothing else: then statements need not name one.
const AnyProduct = "*"

// Config is what a Gate goes by.
type Config struct {
	Mode    Mode
	Product string // that this device is, or AnyProduct

	// Signed: who may sign, who may no more, and how many must have.
	Allowed, Revoked sshsig.List
	Threshold        int // 0 means 1
	// Kept opens a list of keys that a release brought, by its digest.
	Kept func(digest string) (io.ReadCloser, error)

	Key []byte // HMAC: the secret

	Channel string           // that the device follows, "" for none
	Now     func() time.Time // the device's clock; nil means time.Now
	Limits  manifest.Limits
	Explain func(Step) // told of each check as it is made; may be nil
}

// A Step is one check of a statement.
type Step struct {
	Check string // "signature", "name", "product", "newer", "fresh", "threshold", "content"
	Text  string // what was found, when it is good
	Err   error  // why it is not
}

// A Gate judges releases and channels.
type Gate struct{ c Config }

// New returns a Gate. The error has CodeConfig.
func New(c Config) (*Gate, error) {
	switch c.Mode {
	case None:
	case HMAC:
		if len(c.Key) == 0 {
			return nil, godwit.Fail(godwit.CodeConfig, nil, "trust.mode is \"hmac\" and there is no trust.key", "set trust.key to the secret that the manifests are made with")
		}
	case Signed:
		if c.Allowed == nil || c.Product == "" {
			return nil, godwit.Fail(godwit.CodeConfig, nil, "trust.mode is \"signed\" and trust.allowed_signers or trust.product is missing", "set both")
		}
	default:
		return nil, godwit.Fail(godwit.CodeConfig, nil, "there is no trust.mode "+strconv.Quote(string(c.Mode)), "use \"signed\", \"hmac\" or \"none\"")
	}
	if c.Threshold < 1 {
		c.Threshold = 1
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Gate{c}, nil
}

// Policy names the rule: "none", "signed", "hmac".
func (g *Gate) Policy() string { return string(g.c.Mode) }

// step tells of a check and passes its error on.
func (g *Gate) step(check, text string, err error) error {
	if g.c.Explain != nil {
		g.c.Explain(Step{check, text, err})
	}
	return err
}

// about is m, if it is about this device's product, and of another product no
// more than who was revoked. Lists that a release brought are forgotten once the
// configuration has others than those whose place they took.
func (g *Gate) about(m godwit.Memory) (godwit.Memory, error) {
	if m.Product != g.c.Product {
		m = godwit.Memory{Clock: m.Clock, Signers: m.Signers, Revoked: m.Revoked, Base: m.Base}
	}
	if m.Base == "" {
		return m, nil
	}
	base, err := g.base()
	if err == nil && base != m.Base {
		m.Signers, m.Revoked, m.Base = "", "", ""
	}
	return m, err
}

// claims are what a release says of itself, in whichever form.
type claims struct {
	name     string // "v1.4.0"
	commit   string // "" if it does not say
	product  string
	tree     string
	made     time.Time
	notAfter time.Time
	sequence uint64
	head     manifest.Head // of a manifest
}

// Admit judges a release against what the device remembers. Errors of the group
// "refused by policy" tell which check failed; malformed manifests have
// CodeBadManifest.
func (g *Gate) Admit(_ context.Context, r godwit.Release, m godwit.Memory) (godwit.Verified, error) {
	st := r.Statement
	v := godwit.Verified{Release: r, Policy: g.Policy(), Memory: m}
	if g.c.Mode == None {
		if st.Form != godwit.FileStatement {
			return v, nil
		}
		c, err := g.readManifest(st)
		describe(&v, c)
		return v, g.step("content", "", err)
	}
	m, err := g.about(m)
	if err != nil {
		return v, err
	}
	what := "the release " + r.Version
	if r.Version == "" {
		what = "the release"
	}
	var signers []signer
	var c claims
	if g.c.Mode == HMAC {
		if st.Form != godwit.FileStatement {
			err = godwit.Fail(godwit.CodeUnsigned, nil, what+" has no manifest that could be signed with an HMAC", "attach manifest.json to the release, made with godwit manifest --key")
		} else {
			err = manifest.CheckHMAC(st.Body, st.Size, g.c.Key)
		}
		if err := g.step("signature", "the HMAC is right", err); err != nil {
			return v, err
		}
	} else if signers, err = g.signatures(st, m, what); err != nil {
		return v, err
	}
	if st.Form == godwit.TagStatement {
		c, err = readTag(signers[0].text)
	} else {
		c, err = g.readManifest(st)
		if err == nil && g.c.Mode == Signed && c.made.IsZero() {
			err = godwit.Fail(godwit.CodeBadStatement, nil, "the signed manifest does not say when it was made", "make it again with godwit manifest")
		}
	}
	if err != nil {
		return v, g.step("content", "", err)
	}
	// Who may sign can depend on the time, which is inside.
	if v.Signers, err = g.count(signers, c.made, what); err != nil {
		return v, err
	}
	if err := g.step("name", "it is "+c.name, g.named(r, c)); err != nil {
		return v, err
	}
	if g.c.Mode == Signed || c.product != "" {
		if err := g.product(c.product, what); err != nil {
			return v, err
		}
	}
	now, set := m.Now(g.c.Now())
	if err := g.newer(c, m, now); err != nil {
		return v, err
	}
	describe(&v, c)
	v.Memory = g.remember(c, m, now, set)
	return v, nil
}

// describe takes over what the statement says.
func describe(v *godwit.Verified, c claims) {
	v.Time, v.Tree = c.made, c.tree
	v.Deletes, v.PostUpdate, v.Undo = c.head.Deletes, c.head.PostUpdate, c.head.Rollback
	if v.Version == "" {
		v.Version = c.name
	}
}

// readManifest reads the head of a manifest.
func (g *Gate) readManifest(st godwit.Statement) (claims, error) {
	h, err := manifest.ReadHead(st.Body, st.Size, g.c.Limits)
	return claims{name: h.Version, commit: h.Commit, product: h.Product, tree: h.Tree, made: h.Generated, notAfter: h.NotAfter, sequence: h.Sequence, head: h}, err
}

// readTag reads the text of a release's tag.
func readTag(text []byte) (claims, error) {
	t, err := tagtext.Parse(text)
	if err != nil {
		return claims{}, err
	}
	if t.Kind != "commit" {
		return claims{}, tagtext.Bad(strconv.Quote(t.Name) + " names a " + t.Kind + " and not a commit")
	}
	c := claims{name: t.Name, commit: t.Object, product: t.Get("Product"), tree: t.Get("Tree"), made: t.Time}
	c.notAfter, err = t.When("Not-After")
	return c, err
}

// sameName compares what the host calls something with what it calls itself.
func sameName(host, signed, kind string) error {
	if host == signed {
		return nil
	}
	return godwit.Fail(godwit.CodeWrongName, nil, "the host gives out the "+kind+" "+strconv.Quote(host)+", and what is signed there is "+strconv.Quote(signed),
		"the host shows one "+kind+" under the name of another; look at who may write to it")
}

// named holds the name and the commit that the host gave against the statement.
func (g *Gate) named(r godwit.Release, c claims) error {
	host := r.Version
	if r.Statement.Form == godwit.TagStatement {
		host = strings.TrimPrefix(r.Ref, "refs/tags/")
	}
	if g.c.Mode == HMAC {
		// The reference updater never compared, and its generator writes "dev" where
		// it is told nothing. Of two versions it has to be the same one.
		v, ok := semver.Parse(c.name)
		if w, ok2 := semver.Parse(host); !ok || ok2 && semver.Compare(v, w) == 0 {
			host = ""
		}
	}
	if host != "" {
		if err := sameName(host, c.name, "release"); err != nil {
			return err
		}
	}
	if strings.HasPrefix(r.Ref, "refs/") && c.commit != "" && c.commit != r.Commit {
		return godwit.Fail(godwit.CodeTampered, nil, "the release "+c.name+" is signed for the commit "+c.commit+", and the host says "+r.Commit, "the tag was moved after it was signed, or the host lies")
	}
	return nil
}

// product checks that a statement is for this device's product.
func (g *Gate) product(product, what string) error {
	var err error
	switch {
	case g.c.Product == AnyProduct || product == g.c.Product:
	case g.c.Mode != Signed && g.c.Product == "": // the configuration does not ask
	case product == "":
		err = godwit.Fail(godwit.CodeWrongProduct, nil, what+" does not say which product it is for, and this device is a "+strconv.Quote(g.c.Product),
			"sign it with a trailer \"Product: "+g.c.Product+"\", as godwit tag does; where the keys sign for this product alone, set trust.product = \"*\"")
	default:
		err = godwit.Fail(godwit.CodeWrongProduct, nil, what+" is for the product "+strconv.Quote(product)+", and this device is a "+strconv.Quote(g.c.Product),
			"look whether source.url is the right repository, and trust.product what this device is")
	}
	return g.step("product", "it is for "+g.c.Product, err)
}

// newer checks that a release is neither older than what was accepted before
// nor past its time.
func (g *Gate) newer(c claims, m godwit.Memory, now time.Time) error {
	var err error
	seen, ok := semver.Parse(m.Version)
	v, isVersion := semver.Parse(c.name)
	hint := "going back needs a channel that says so (godwit channel set --rollback), or somebody on the device (godwit rollback, godwit update --forget)"
	switch {
	case ok && isVersion && semver.Compare(v, seen) < 0:
		err = godwit.Fail(godwit.CodeDowngrade, nil, "the release "+c.name+" is older than "+m.Version+", which this device has accepted before", hint)
	case !c.made.IsZero() && c.made.Before(m.Time): // only unsigned ones may not say
		err = godwit.Fail(godwit.CodeDowngrade, nil, "the release "+c.name+" was made on "+day(c.made)+", before one of "+day(m.Time)+" that this device has accepted", hint)
	case m.Channel == "" && c.sequence < m.Sequence:
		err = godwit.Fail(godwit.CodeDowngrade, nil, "the release "+c.name+" has the sequence "+strconv.FormatUint(c.sequence, 10)+", and this device has accepted "+strconv.FormatUint(m.Sequence, 10), hint)
	}
	if err := g.step("newer", "nothing newer was accepted here", err); err != nil {
		return err
	}
	if !c.notAfter.IsZero() && now.After(c.notAfter) {
		err = godwit.Fail(godwit.CodeExpired, nil, "the release "+c.name+" was good until "+c.notAfter.Format(time.RFC3339), "publish a newer one; if there is one, the host holds it back")
	}
	return g.step("fresh", "it has not expired", err)
}

func day(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") }

// remember gives the memory of a device that takes the release.
func (g *Gate) remember(c claims, m godwit.Memory, now time.Time, set bool) godwit.Memory {
	m.Product = g.c.Product
	seen, ok := semver.Parse(m.Version)
	if v, isVersion := semver.Parse(c.name); isVersion && (!ok || semver.Compare(v, seen) > 0) {
		m.Version = c.name
	}
	if c.made.After(m.Time) && godwit.HasCome(c.made, now, set) {
		m.Time = c.made
	}
	if m.Channel == "" {
		m.Sequence = max(m.Sequence, c.sequence)
	}
	return m.Tick(c.made, now, set)
}
