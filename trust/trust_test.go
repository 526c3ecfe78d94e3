package trust

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/trust/sshsig"
	"github.com/godwit-ota/godwit/trust/tagtext"
)

// An office is a repository with people who sign, with git and ssh-keygen.
type office struct {
	t       *testing.T
	dir     string
	commit  string
	tree    string
	allowed string // file
	when    time.Time
}

func newOffice(t *testing.T) *office {
	t.Helper()
	for _, p := range []string{"git", "ssh-keygen"} {
		if _, err := exec.LookPath(p); err != nil {
			t.Skip(p + " is not installed (apt install git openssh-client)")
		}
	}
	o := &office{t: t, dir: t.TempDir(), when: time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)}
	o.allowed = filepath.Join(o.dir, "allowed_signers")
	o.git("init", "--quiet", "--initial-branch=main")
	o.write("main.py", "print('hello')\n")
	o.git("add", ".")
	o.git("commit", "--quiet", "-m", "first")
	o.commit, o.tree = o.git("rev-parse", "HEAD"), o.git("rev-parse", "HEAD^{tree}")
	for _, who := range []string{"alice", "bob", "mallory"} {
		o.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", who, "-f", who)
	}
	o.allow("alice", "")
	return o
}

func (o *office) run(name string, args ...string) string {
	o.t.Helper()
	out, err := o.try(name, args...)
	if err != nil {
		o.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return out
}

func (o *office) try(name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Dir = o.dir
	at := fmt.Sprintf("%d +0000", o.when.Unix())
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null", "HOME="+o.dir, "SSH_AUTH_SOCK=",
		"GIT_AUTHOR_NAME=A", "GIT_AUTHOR_EMAIL=a@example.org", "GIT_COMMITTER_NAME=A", "GIT_COMMITTER_EMAIL=a@example.org", "GIT_AUTHOR_DATE="+at, "GIT_COMMITTER_DATE="+at)
	out, err := cmd.CombinedOutput()
	return strings.TrimRight(string(out), "\n"), err
}

func (o *office) git(args ...string) string { o.t.Helper(); return o.run("git", args...) }

func (o *office) write(name, text string) {
	o.t.Helper()
	if err := os.WriteFile(filepath.Join(o.dir, name), []byte(text), 0o644); err != nil {
		o.t.Fatal(err)
	}
}

func (o *office) read(name string) string {
	o.t.Helper()
	b, err := os.ReadFile(filepath.Join(o.dir, name))
	if err != nil {
		o.t.Fatal(err)
	}
	return string(b)
}

// allow adds a line to allowed_signers.
func (o *office) allow(who, options string) {
	o.t.Helper()
	old, _ := os.ReadFile(o.allowed)
	line := who + "@example.org " + options
	o.write("allowed_signers", string(old)+strings.TrimRight(line, " ")+" "+o.read(who+".pub"))
}

// tag makes a signed tag, as git does, and returns the tag object.
func (o *office) tag(who, name, message string) string {
	o.t.Helper()
	o.git("-c", "gpg.format=ssh", "-c", "user.signingkey="+filepath.Join(o.dir, who), "tag", "--force", "-s", "-m", message, name, o.commit)
	return o.git("cat-file", "tag", name) + "\n"
}

// cosign adds a second signature, over the first.
func (o *office) cosign(who, tag string) string {
	o.t.Helper()
	return tag + o.sign(who, TagNamespace, tag)
}

func (o *office) sign(who, namespace, text string) string {
	o.t.Helper()
	o.write("text", text)
	os.Remove(filepath.Join(o.dir, "text.sig"))
	o.run("ssh-keygen", "-q", "-Y", "sign", "-n", namespace, "-f", who, "text")
	return o.read("text.sig")
}

func (o *office) list(name string) sshsig.List {
	return func() (io.ReadCloser, error) { return os.Open(filepath.Join(o.dir, name)) }
}

func (o *office) gate(change func(*Config)) *Gate {
	o.t.Helper()
	c := Config{Mode: Signed, Product: "station", Allowed: o.list("allowed_signers"), Channel: "stable", Now: func() time.Time { return o.when.Add(time.Hour) }}
	if change != nil {
		change(&c)
	}
	g, err := New(c)
	if err != nil {
		o.t.Fatal(err)
	}
	return g
}

func tagStatement(text string) godwit.Statement {
	return godwit.Statement{Form: godwit.TagStatement, Body: strings.NewReader(text), Size: int64(len(text))}
}

func (o *office) release(name, tag string) godwit.Release {
	return godwit.Release{Tip: godwit.Tip{Ref: "refs/tags/" + name, Commit: o.commit, Tag: "x"}, Version: name, Statement: tagStatement(tag)}
}

func (o *office) admit(g *Gate, name, tag string, m godwit.Memory) (godwit.Verified, error) {
	return g.Admit(context.Background(), o.release(name, tag), m)
}

func code(t *testing.T, err error, want godwit.Code) {
	t.Helper()
	if got := godwit.CodeOf(err); got != want {
		t.Errorf("%v: code %q, want %q", err, got, want)
	}
}

const station = "Release\n\nProduct: station"

// What git tag -s makes is accepted, git verify-tag agrees, and what comes of it
// is what the tag says.
func TestSignedTag(t *testing.T) {
	o := newOffice(t)
	tag := o.tag("alice", "v1.4.0", "The first one\n\nProduct: station\nTree: "+o.tree)
	o.git("-c", "gpg.ssh.allowedSignersFile="+o.allowed, "verify-tag", "v1.4.0")
	var steps []Step
	g := o.gate(func(c *Config) { c.Explain = func(s Step) { steps = append(steps, s) } })
	v, err := o.admit(g, "v1.4.0", tag, godwit.Memory{})
	code(t, err, "")
	if v.Policy != "signed" || len(v.Signers) != 1 || v.Signers[0] != "alice@example.org" || !v.Time.Equal(o.when) || v.Tree != o.tree ||
		v.Memory != (godwit.Memory{Product: "station", Version: "v1.4.0", Time: o.when, Clock: o.when}) {
		t.Errorf("%+v", v)
	}
	var names []string
	for _, s := range steps {
		if names = append(names, s.Check); s.Err != nil || s.Text == "" {
			t.Errorf("%+v", s)
		}
	}
	if got := strings.Join(names, " "); got != "signature threshold name product newer fresh" {
		t.Errorf("checks: %s", got)
	}
	// Bit by bit, nothing of it can be changed.
	for i := range len(tag) {
		b := []byte(tag)
		b[i] ^= 1
		if v, err := o.admit(g, "v1.4.0", string(b), godwit.Memory{}); err == nil {
			t.Errorf("byte %d, %q → %q: accepted as %+v", i, tag[i], b[i], v)
		}
	}
}

func TestRefusedTags(t *testing.T) {
	o := newOffice(t)
	good := o.tag("alice", "v1.4.0", station)
	light := "object " + o.commit + "\ntype commit\ntag v1.4.0\ntagger A <a@example.org> 1796126400 +0000\n\n" + station + "\n"
	o.write("revoked", o.read("alice.pub"))
	o.run("ssh-keygen", "-q", "-k", "-f", "revoked.krl", "alice.pub")
	later := godwit.Memory{Product: "station", Version: "v1.5.0", Time: o.when.Add(-time.Hour)}
	newer := godwit.Memory{Product: "station", Version: "v1.0.0", Time: o.when.Add(time.Second)}
	for _, tt := range []struct {
		what, name, tag string
		memory          godwit.Memory
		change          func(*Config)
		want            godwit.Code
	}{
		{what: "good", name: "v1.4.0", tag: good},
		{what: "no signature", name: "v1.4.0", tag: light, want: godwit.CodeUnsigned},
		{what: "an OpenPGP signature", name: "v1.4.0", tag: light + "-----BEGIN PGP SIGNATURE-----\n\niQ==\n-----END PGP SIGNATURE-----\n", want: godwit.CodeUnsigned},
		{what: "a stranger", name: "v1.4.0", tag: o.tag("mallory", "v1.4.0", station), want: godwit.CodeUnknownSigner},
		{what: "another name", name: "v9.0.0", tag: good, want: godwit.CodeWrongName},
		{what: "another product", name: "v1.4.0", tag: o.tag("alice", "v1.4.0", "x\n\nProduct: toaster"), want: godwit.CodeWrongProduct},
		{what: "no product", name: "v1.4.0", tag: o.tag("alice", "v1.4.0", "x"), want: godwit.CodeWrongProduct},
		{what: "no product, and none asked for", name: "v1.4.0", tag: o.tag("alice", "v1.4.0", "x"), change: func(c *Config) { c.Product = AnyProduct }},
		{what: "a product in the wrong paragraph", name: "v1.4.0", tag: o.tag("alice", "v1.4.0", "x\n\nProduct: station\n\nand more"), want: godwit.CodeWrongProduct},
		{what: "two products", name: "v1.4.0", tag: o.tag("alice", "v1.4.0", "x\n\nProduct: station\nproduct: toaster"), want: godwit.CodeBadStatement},
		{what: "lower version", name: "v1.4.0", tag: good, memory: later, want: godwit.CodeDowngrade},
		{what: "lower version of another product", name: "v1.4.0", tag: good, memory: godwit.Memory{Product: "toaster", Version: "v1.5.0"}},
		{what: "earlier time", name: "v1.4.0", tag: good, memory: newer, want: godwit.CodeDowngrade},
		{what: "expired", name: "v1.4.0", tag: o.tag("alice", "v1.4.0", station+"\nNot-After: 2026-12-01T12:30:00Z"), want: godwit.CodeExpired},
		{what: "not expired", name: "v1.4.0", tag: o.tag("alice", "v1.4.0", station+"\nNot-After: 2026-12-01T13:30:00Z")},
		{what: "no time", name: "v1.4.0", tag: o.tag("alice", "v1.4.0", station+"\nNot-After: soon"), want: godwit.CodeBadStatement},
		{what: "too few", name: "v1.4.0", tag: good, change: func(c *Config) { c.Threshold = 2 }, want: godwit.CodeThreshold},
		{what: "the same twice", name: "v1.4.0", tag: o.cosign("alice", good), change: func(c *Config) { c.Threshold = 2 }, want: godwit.CodeThreshold},
		{what: "a stranger too", name: "v1.4.0", tag: o.cosign("mallory", good)},
		{what: "a stranger first", name: "v1.4.0", tag: o.cosign("alice", o.tag("mallory", "v1.4.0", station))},
		{what: "revoked", name: "v1.4.0", tag: good, change: func(c *Config) { c.Revoked = o.list("revoked") }, want: godwit.CodeRevoked},
		{what: "revoked by KRL", name: "v1.4.0", tag: good, change: func(c *Config) { c.Revoked = o.list("revoked.krl") }, want: godwit.CodeRevoked},
		{what: "a list that is gone", name: "v1.4.0", tag: good, change: func(c *Config) { c.Revoked = o.list("nowhere") }, want: godwit.CodeIO},
		{what: "another namespace", name: "v1.4.0", tag: light + o.sign("alice", FileNamespace, light), want: godwit.CodeBadSignature},
		{what: "text between signatures", name: "v1.4.0", tag: good + "x\n" + o.sign("alice", TagNamespace, good), want: godwit.CodeBadSignature},
		{what: "text after the signature", name: "v1.4.0", tag: good + "Product: toaster\n", want: godwit.CodeBadSignature},
		{what: "seventeen signatures", name: "v1.4.0", tag: light + strings.Repeat(o.sign("mallory", TagNamespace, light), 17), want: godwit.CodeLimit},
		{what: "a tag of a tag", name: "v1.4.0", tag: func() string {
			s := strings.Replace(light, "type commit", "type tag", 1)
			return s + o.sign("alice", TagNamespace, s)
		}(), want: godwit.CodeBadStatement},
		{what: "another commit than the host says", name: "v1.4.0", tag: func() string {
			s := strings.Replace(light, o.commit, strings.Repeat("0", 40), 1)
			return s + o.sign("alice", TagNamespace, s)
		}(), want: godwit.CodeTampered},
		{what: "no tagger", name: "v1.4.0", tag: func() string {
			s := strings.Replace(light, "tagger A", "tugger A", 1)
			return s + o.sign("alice", TagNamespace, s)
		}(), want: godwit.CodeBadStatement},
		{what: "a NUL", name: "v1.4.0", tag: light + "\x00" + o.sign("alice", TagNamespace, light+"\x00"), want: godwit.CodeUnsigned},
		{what: "a commit alone", name: "main", want: godwit.CodeUnsigned},
		{what: "too long", name: "v1.4.0", tag: good + strings.Repeat("x", 65<<10), want: godwit.CodeLimit},
	} {
		t.Run(tt.what, func(t *testing.T) {
			r := o.release(tt.name, tt.tag)
			if tt.tag == "" {
				r.Statement = godwit.Statement{}
			}
			v, err := o.gate(tt.change).Admit(context.Background(), r, tt.memory)
			code(t, err, tt.want)
			if err != nil && tt.want != godwit.CodeIO && tt.want != godwit.CodeLimit && !godwit.CodeOf(err).Refusal() {
				t.Errorf("%v is no refusal", err)
			}
			if err == nil && v.Memory.Version != "v1.4.0" {
				t.Errorf("%+v", v.Memory)
			}
		})
	}
}

// Two people sign one tag; git checks the outer signature, ssh-keygen both.
func TestThreshold(t *testing.T) {
	o := newOffice(t)
	o.allow("bob", `namespaces="git"`)
	tag := o.cosign("bob", o.tag("alice", "v2.0.0", station))
	g := o.gate(func(c *Config) { c.Threshold = 2 })
	v, err := o.admit(g, "v2.0.0", tag, godwit.Memory{})
	code(t, err, "")
	if strings.Join(v.Signers, " ") != "alice@example.org bob@example.org" {
		t.Errorf("%v", v.Signers)
	}
	o.write("object", tag)
	id := o.git("hash-object", "-t", "tag", "-w", "object")
	o.git("update-ref", "refs/tags/v2.0.0", id)
	if out := o.git("-c", "gpg.ssh.allowedSignersFile="+o.allowed, "verify-tag", "v2.0.0"); !strings.Contains(out, "bob@") {
		t.Errorf("git: %s", out)
	}
}

// People are counted, not lines: who has two names or two keys is one, and a
// name that two could have is left to the one who has no other.
func TestDistinctSigners(t *testing.T) {
	o := newOffice(t)
	key := func(who string) string { return o.read(who + ".pub") }
	tag := o.cosign("bob", o.tag("alice", "v2.0.0", station))
	g := o.gate(func(c *Config) { c.Threshold = 2 })
	for list, want := range map[string]godwit.Code{
		"a " + key("alice") + "b " + key("bob"):                       "",
		"a " + key("alice") + "a " + key("bob"):                       godwit.CodeThreshold,
		"a " + key("alice") + "a,b " + key("bob"):                     godwit.CodeThreshold,
		"b " + key("alice") + "a " + key("alice") + "b " + key("bob"): "",
	} {
		o.write("allowed_signers", list)
		_, err := o.admit(g, "v2.0.0", tag, godwit.Memory{})
		if godwit.CodeOf(err) != want {
			t.Errorf("%s: %v, want %q", list, err, want)
		}
	}
}

// Who may sign depends on when it was signed.
func TestValidity(t *testing.T) {
	o := newOffice(t)
	o.write("allowed_signers", "")
	o.allow("alice", `valid-before="20261201110000Z"`)
	_, err := o.admit(o.gate(nil), "v1.0.0", o.tag("alice", "v1.0.0", station), godwit.Memory{})
	code(t, err, godwit.CodeUnknownSigner)
	o.when = o.when.Add(-2 * time.Hour)
	_, err = o.admit(o.gate(nil), "v1.0.0", o.tag("alice", "v1.0.0", station), godwit.Memory{})
	code(t, err, "")
}

// A release from the far future is taken, and its time is not remembered: it
// would keep all that follows out, and make a device's clock believe it.
func TestFarFuture(t *testing.T) {
	o := newOffice(t)
	g := o.gate(nil)
	o.when = o.when.AddDate(50, 0, 0)
	tag := o.tag("alice", "v1.0.0", station)
	o.when = o.when.AddDate(-50, 0, 0)
	v, err := o.admit(g, "v1.0.0", tag, godwit.Memory{})
	code(t, err, "")
	if !v.Memory.Time.IsZero() || !v.Memory.Clock.IsZero() || v.Memory.Version != "v1.0.0" {
		t.Errorf("%+v", v.Memory)
	}
	_, err = o.admit(g, "v1.0.1", o.tag("alice", "v1.0.1", station), v.Memory)
	code(t, err, "")
	// A year is too much for a clock that is right, and not for one that was never
	// set: 2026-11-23 is the best guess then.
	o.when = o.when.AddDate(1, 0, 0)
	tag = o.tag("alice", "v1.0.0", station)
	o.when = o.when.AddDate(-1, 0, 0)
	v, err = o.admit(g, "v1.0.0", tag, godwit.Memory{})
	code(t, err, "")
	unset, err := o.admit(o.gate(func(c *Config) { c.Now = func() time.Time { return time.Unix(0, 0) } }), "v1.0.0", tag, godwit.Memory{})
	code(t, err, "")
	if !v.Memory.Time.IsZero() || unset.Memory.Time.IsZero() {
		t.Errorf("%+v, %+v", v.Memory, unset.Memory)
	}
}

func (o *office) orders(g *Gate, name, tag string, m godwit.Memory) (godwit.Orders, error) {
	sum := sha256.Sum256([]byte(tag))
	id := hex.EncodeToString(sum[:])
	return g.Orders(context.Background(), tagStatement(tag), godwit.Tip{Ref: "refs/tags/channel/" + name, Commit: o.commit, Tag: id, Channel: id}, m)
}

func TestChannels(t *testing.T) {
	o := newOffice(t)
	g := o.gate(nil)
	set := func(trailers string) string {
		return o.tag("alice", "channel/stable", "stable: v1.4.0\n\nProduct: station\nRelease: v1.4.0\n"+trailers)
	}
	first := set("Sequence: 42\nRollout: 25%\nWave: site=lab\nWave: site = office \nWindow: 02:00-04:30\nFloor: v1.2.0\nNot-After: 2027-01-31T00:00:00Z")
	full, err := o.orders(g, "stable", first, godwit.Memory{})
	code(t, err, "")
	if full.Channel != "stable" || full.Sequence != 42 || full.Release != "v1.4.0" || full.Commit != o.commit || full.Rollout != 25 ||
		fmt.Sprint(full.Waves) != "[site=lab site=office]" || full.Window != (godwit.Window{From: 120, To: 270}) || full.Floor != "v1.2.0" ||
		!full.NotAfter.Equal(time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC)) || full.Halt != "" {
		t.Errorf("%+v", full)
	}
	m := full.Memory
	if m.Sequence != 42 || m.Channel != "stable" || m.Orders == "" || m.Product != "station" {
		t.Errorf("%+v", m)
	}
	m.Version, m.Time = "v1.5.0", o.when.Add(time.Minute)
	for _, tt := range []struct {
		what, name, tag string
		want            godwit.Code
	}{
		{"newer", "stable", set("Sequence: 43"), ""},
		{"older", "stable", set("Sequence: 41"), godwit.CodeReplayed},
		{"other orders under the same number", "stable", set("Sequence: 42\nRollout: 100%"), godwit.CodeReplayed},
		{"another channel", "stable", o.tag("alice", "channel/beta", "x\n\nProduct: station\nRelease: v1.4.0\nSequence: 43"), godwit.CodeWrongName},
		{"the same, signed by another as well", "stable", o.cosign("bob", first), ""},
		{"a release's tag", "stable", o.tag("alice", "v1.4.0", station), godwit.CodeWrongName},
		{"another product", "stable", o.tag("alice", "channel/stable", "x\n\nProduct: toaster\nRelease: v1.4.0\nSequence: 43"), godwit.CodeWrongProduct},
		{"a stranger", "stable", o.tag("mallory", "channel/stable", "x\n\nProduct: station\nRelease: v1.4.0\nSequence: 43"), godwit.CodeUnknownSigner},
		{"no sequence", "stable", set(""), godwit.CodeBadStatement},
		{"no number", "stable", set("Sequence: many"), godwit.CodeBadStatement},
		{"negative", "stable", set("Sequence: -1"), godwit.CodeBadStatement},
		{"huge", "stable", set("Sequence: 18446744073709551616"), godwit.CodeBadStatement},
		{"no release", "stable", o.tag("alice", "channel/stable", "x\n\nProduct: station\nSequence: 43"), godwit.CodeBadStatement},
		{"rollout of 101%", "stable", set("Sequence: 43\nRollout: 101%"), godwit.CodeBadStatement},
		{"rollout without a percent sign", "stable", set("Sequence: 43\nRollout: 10"), godwit.CodeBadStatement},
		{"wave", "stable", set("Sequence: 43\nWave: lab"), godwit.CodeBadStatement},
		{"window", "stable", set("Sequence: 43\nWindow: 2-4"), godwit.CodeBadStatement},
		{"floor", "stable", set("Sequence: 43\nFloor: old"), godwit.CodeBadStatement},
		{"rollback to something else", "stable", set("Sequence: 43\nRollback-To: v1.3.0"), godwit.CodeBadStatement},
		{"an unsigned channel", "stable", "object " + o.commit + "\ntype commit\ntag channel/stable\ntagger A <a@b> 1 +0000\n\nSequence: 43\n", godwit.CodeUnsigned},
	} {
		t.Run(tt.what, func(t *testing.T) {
			got, err := o.orders(g, tt.name, tt.tag, m)
			code(t, err, tt.want)
			if err == nil && (got.Memory.Sequence != got.Sequence || got.Memory.Version != "v1.5.0") {
				t.Errorf("%+v", got.Memory)
			}
		})
	}
	for trailers, want := range map[string]godwit.Orders{
		"":                              {Rollout: 100},
		"Wave: a=b":                     {Rollout: 0},
		"Rollout: 0%":                   {Halt: "its roll-out is 0%"},
		"Rollout: 0%\nWave: a=b":        {Halt: "its roll-out is 0%"},
		"Halt: it burns":                {Rollout: 100, Halt: "it burns"},
		"Rollout: 7%\nHalt: it\n burns": {Rollout: 7, Halt: "it burns"},
	} {
		got, err := o.orders(g, "stable", set("Sequence: 43\n"+trailers), m)
		code(t, err, "")
		if got.Rollout != want.Rollout || got.Halt != want.Halt {
			t.Errorf("%q: %+v", trailers, got)
		}
	}
	// Going back: the memory of versions follows the signed word, once.
	_, err = o.orders(g, "stable", set("Sequence: 44\nRollback-To: v1.4.0"), m)
	code(t, err, godwit.CodeReplayed) // of before the release that it goes back from
	o.when = o.when.Add(2 * time.Minute)
	back, err := o.orders(g, "stable", set("Sequence: 44\nRollback-To: v1.4.0"), m)
	code(t, err, "")
	if back.Memory.Version != "v1.4.0" || !back.Memory.Time.IsZero() {
		t.Errorf("%+v", back.Memory)
	}
	_, err = o.admit(g, "v1.4.0", o.tag("alice", "v1.4.0", station), m)
	code(t, err, godwit.CodeDowngrade)
	_, err = o.admit(g, "v1.4.0", o.tag("alice", "v1.4.0", station), back.Memory)
	code(t, err, "")
	m = back.Memory
	m.Version = "v1.6.0"
	again, err := o.orders(g, "stable", set("Sequence: 44\nRollback-To: v1.4.0"), m)
	code(t, err, "")
	if again.Memory.Version != "v1.6.0" {
		t.Errorf("the same orders a second time: %+v", again.Memory)
	}
	// The channel disappears.
	_, err = g.Orders(context.Background(), godwit.Statement{}, godwit.Tip{Ref: "refs/tags/v9.0.0", Commit: o.commit}, m)
	code(t, err, godwit.CodeWithdrawn)
	for _, m := range []godwit.Memory{{}, {Product: "toaster", Channel: "stable", Sequence: 3}, {Product: "station", Channel: "beta", Sequence: 3}} {
		_, err = g.Orders(context.Background(), godwit.Statement{}, godwit.Tip{Ref: "refs/tags/v9.0.0", Commit: o.commit}, m)
		code(t, err, "")
	}
}

// The lists that a release brought count instead of those of the configuration,
// until somebody changes these.
func TestRotation(t *testing.T) {
	o := newOffice(t)
	o.write("next", "bob@example.org "+o.read("bob.pub"))
	o.write("empty", "# nobody\n")
	o.write("out", o.read("alice.pub"))
	g := o.gate(func(c *Config) {
		c.Kept = func(name string) (io.ReadCloser, error) { return os.Open(filepath.Join(o.dir, name)) }
	})
	byAlice, byBob := o.tag("alice", "v1.0.0", station), o.tag("bob", "v1.0.0", station)
	released := godwit.Verified{Release: godwit.Release{Statement: godwit.Statement{Form: godwit.TagStatement}}, Time: time.Now()}
	m, err := g.Adopt(released, godwit.Memory{Product: "station", Signers: "next"})
	code(t, err, "")
	_, err = o.admit(g, "v1.0.0", byAlice, m)
	code(t, err, godwit.CodeUnknownSigner)
	_, err = o.admit(g, "v1.0.0", byBob, m)
	code(t, err, "")
	for _, bad := range []godwit.Memory{{Signers: "empty"}, {Signers: "nowhere"}, {Signers: "alice"}, {Signers: "next", Revoked: "empty.krl"}} {
		o.write("empty.krl", "SSHKRL\n\x00broken")
		if _, err := g.Adopt(released, bad); godwit.CodeOf(err) != godwit.CodeBadStatement {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	o.write("both", o.read("allowed_signers")+"bob@example.org "+o.read("bob.pub"))
	revoked, err := g.Adopt(released, godwit.Memory{Product: "station", Signers: "both", Revoked: "out"})
	code(t, err, "")
	_, err = o.admit(g, "v1.0.0", byAlice, revoked)
	code(t, err, godwit.CodeRevoked)
	// Somebody on the device writes another list.
	o.write("allowed_signers", "alice@example.org "+o.read("alice.pub")+"# edited\n")
	_, err = o.admit(g, "v1.0.0", byAlice, m)
	code(t, err, "")
	_, err = o.admit(g, "v1.0.0", byBob, m)
	code(t, err, godwit.CodeUnknownSigner)
}

func TestConfig(t *testing.T) {
	nobody := func() (io.ReadCloser, error) { return nil, os.ErrNotExist }
	for _, c := range []Config{{}, {Mode: "maybe"}, {Mode: HMAC}, {Mode: Signed}, {Mode: Signed, Product: "x"}, {Mode: Signed, Allowed: nobody}} {
		if _, err := New(c); godwit.CodeOf(err) != godwit.CodeConfig {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// No text of a channel is read as something that makes no sense.
func FuzzChannel(f *testing.F) {
	f.Add("object 1\ntype commit\ntag channel/stable\ntagger A <a@b> 1796126400 +0000\n\nSequence: 42\nRelease: v1.4.0\nRollout: 25%\nWave: site=lab\nWindow: 02:00-04:00\nFloor: v1.2.0\nNot-After: 2027-01-31T00:00:00Z\nHalt: a\n b\n")
	f.Fuzz(func(t *testing.T, s string) {
		tag, err := tagtext.Parse([]byte(s))
		if err != nil {
			return
		}
		if c, err := readChannel(tag); err == nil && (c.Sequence == 0 || c.Release == "" || c.Rollout < 0 || c.Rollout > 100) {
			t.Errorf("%+v", c)
		}
	})
}
