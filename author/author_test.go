package author

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/trust"
	"github.com/godwit-ota/godwit/trust/sshsig"
)

// A desk is a place to make releases at: a bare repository, two clones of it,
// and keys. Everything is real.
type desk struct {
	t       *testing.T
	dir     string
	allowed string // lines of all keys made
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	for _, program := range []string{"git", "ssh-keygen"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(program + " is not installed")
		}
	}
	d := &desk{t: t, dir: t.TempDir()}
	t.Setenv("HOME", d.dir)
	t.Setenv("GIT_CONFIG_NOSYSTEM", "1")
	t.Setenv("GIT_CONFIG_GLOBAL", filepath.Join(d.dir, "gitconfig"))
	t.Setenv("SSH_AUTH_SOCK", "")
	t.Setenv("SSH_ASKPASS", "")
	t.Setenv("DISPLAY", "")
	d.git("", "config", "--global", "user.name", "A U Thor")
	d.git("", "config", "--global", "user.email", "author@example.org")
	d.git("", "config", "--global", "init.defaultBranch", "main")
	d.git("", "init", "--quiet", "--bare", "origin.git")
	d.git("", "clone", "--quiet", "origin.git", "one")
	d.key("alice")
	d.commit("one", "a.txt", "a")
	d.git("one", "push", "--quiet", "origin", "main")
	d.git("", "clone", "--quiet", "origin.git", "two")
	return d
}

func (d *desk) path(name string) string { return filepath.Join(d.dir, name) }

func (d *desk) git(in string, args ...string) string {
	d.t.Helper()
	out, err := d.try(in, args...)
	if err != nil {
		d.t.Fatalf("git %q: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(out)
}

func (d *desk) try(in string, args ...string) (string, error) {
	cmd := exec.Command("git", args...)
	cmd.Dir = d.path(in)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (d *desk) write(name, text string) {
	d.t.Helper()
	if err := os.WriteFile(d.path(name), []byte(text), 0o600); err != nil {
		d.t.Fatal(err)
	}
}

func (d *desk) commit(in, name, text string) {
	d.t.Helper()
	d.write(in+"/"+name, text)
	d.git(in, "add", name)
	d.git(in, "commit", "--quiet", "-m", name)
}

// key makes a key that is allowed to sign.
func (d *desk) key(name string) string {
	d.t.Helper()
	k, err := NewKey(context.Background(), d.path(name), name+"@example.org", false, nil, io.Discard)
	if err != nil {
		d.t.Fatal(err)
	}
	d.allowed += k.Line + "\n"
	d.write("allowed", d.allowed)
	return k.Fingerprint
}

// at opens a clone for somebody.
func (d *desk) at(clone, key string) *Repository {
	d.t.Helper()
	r, err := Open(context.Background(), Options{Dir: d.path(clone), Signer: Signer{Key: d.path(key)}})
	if err != nil {
		d.t.Fatal(err)
	}
	return r
}

// gate is a device's.
func (d *desk) gate(threshold int) *trust.Gate {
	d.t.Helper()
	g, err := trust.New(trust.Config{Mode: trust.Signed, Product: "station", Threshold: threshold,
		Allowed: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(d.allowed)), nil }})
	if err != nil {
		d.t.Fatal(err)
	}
	return g
}

// admitted has a device judge a tag of a clone, and git.
func (d *desk) admitted(clone, name string, threshold int) (godwit.Verified, error) {
	d.t.Helper()
	rel, err := d.at(clone, "alice").Statement(d.t.Context(), name)
	if err != nil {
		d.t.Fatal(err)
	}
	v, err := d.gate(threshold).Admit(d.t.Context(), rel, godwit.Memory{})
	if out, theirs := d.try(clone, "-c", "gpg.format=ssh", "-c", "gpg.ssh.allowedSignersFile="+d.path("allowed"), "verify-tag", name); theirs != nil && err == nil {
		d.t.Errorf("git verify-tag %s: %v\n%s", name, theirs, out)
	}
	return v, err
}

func TestTag(t *testing.T) {
	d := newDesk(t)
	ctx := t.Context()
	r := d.at("one", "alice")
	done, err := r.Tag(ctx, NewTag{Version: "v1.0.0", Product: "station", Message: "The first one\n\nWith: what looks like a trailer\n", NotAfter: time.Now().AddDate(1, 0, 0)})
	if err != nil {
		t.Fatal(err)
	}
	v, err := d.admitted("one", "v1.0.0", 1)
	if err != nil {
		t.Fatal(err)
	}
	if head := d.git("one", "rev-parse", "HEAD"); v.Commit != head || v.Version != "v1.0.0" || v.Tree != d.git("one", "rev-parse", "HEAD^{tree}") || !slices.Equal(v.Signers, []string{"alice@example.org"}) {
		t.Errorf("%+v", v)
	}
	message := d.git("one", "for-each-ref", "--format=%(contents:subject)%0a%0a%(contents:body)", "refs/tags/v1.0.0")
	cmd := exec.Command("git", "interpret-trailers", "--parse")
	cmd.Stdin = strings.NewReader(message)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	want := "Product: station\nTree: " + v.Tree + "\nNot-After: " + done.Get("Not-After") + "\n"
	if string(out) != want {
		t.Errorf("git finds the trailers\n%s, want\n%s", out, want)
	}
	// The next one knows its product.
	d.commit("one", "b.txt", "b")
	if done, err = r.Tag(ctx, NewTag{Version: "v1.1.0", Push: true}); err != nil || done.Product != "station" || !done.Pushed {
		t.Fatalf("%+v, %v", done, err)
	}
	if there := d.git("origin.git", "rev-parse", "refs/tags/v1.1.0"); there != done.ID {
		t.Errorf("the remote has %s, not %s", there, done.ID)
	}
	if _, err := d.admitted("origin.git", "v1.1.0", 1); err != nil {
		t.Error(err)
	}
}

// TestTagOfGit: what git signs by itself, devices take as well.
func TestTagOfGit(t *testing.T) {
	d := newDesk(t)
	d.git("one", "-c", "gpg.format=ssh", "-c", "user.signingkey="+d.path("alice"), "tag", "-s", "v1.0.0", "-m", "By hand", "-m", "Product: station")
	if _, err := d.admitted("one", "v1.0.0", 1); err != nil {
		t.Fatal(err)
	}
	got, err := d.at("one", "alice").release(t.Context(), "v1.0.0")
	if err != nil || got.Get("product") != "station" || got.Subject != "By hand" || got.Tagger != "A U Thor <author@example.org>" || len(got.Keys) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	// And a channel can lead there.
	d.git("one", "push", "--quiet", "origin", "v1.0.0")
	if _, _, err := d.at("one", "alice").Set(t.Context(), "stable", Setting{Version: "v1.0.0"}); err != nil {
		t.Error(err)
	}
}

func TestTagRefuses(t *testing.T) {
	d := newDesk(t)
	ctx := t.Context()
	r := d.at("one", "alice")
	if _, err := r.Tag(ctx, NewTag{Version: "v1.0.0", Product: "station"}); err != nil {
		t.Fatal(err)
	}
	d.commit("two", "z.txt", "z")
	if _, err := d.at("two", "alice").Tag(ctx, NewTag{Version: "v3.0.0", Product: "station", Push: true}); err != nil {
		t.Fatal(err)
	}
	before := d.git("one", "for-each-ref")
	good := NewTag{Version: "v1.1.0", Product: "station"}
	for _, c := range []struct {
		name string
		with func(*NewTag) *Repository
		code godwit.Code
		say  string
	}{
		{"no version", func(n *NewTag) *Repository { n.Version = "next"; return r }, godwit.CodeUsage, "\"next\" is not a version"},
		{"an option", func(n *NewTag) *Repository { n.Version = "--force"; return r }, godwit.CodeUsage, "not a version"},
		{"lower", func(n *NewTag) *Repository { n.Version = "v0.9.9"; return r }, godwit.CodeRefused, "v0.9.9 is not higher than v1.0.0"},
		{"the same but for the v", func(n *NewTag) *Repository { n.Version = "1.0.0"; return r }, godwit.CodeRefused, "not higher"},
		{"there already", func(n *NewTag) *Repository { n.Version = "v1.0.0"; n.AllowLower = true; return r }, godwit.CodeRefused, "exists already"},
		{"lower than at the remote", func(n *NewTag) *Repository { n.Push = true; return r }, godwit.CodeRefused, "not higher than v3.0.0"},
		{"over already", func(n *NewTag) *Repository { n.NotAfter = time.Now().Add(-time.Hour); return r }, godwit.CodeUsage, "over already"},
		{"message with a signature", func(n *NewTag) *Repository { n.Message = "x\n" + sshsig.Begin; return r }, godwit.CodeUsage, "signature"},
		{"product of two lines", func(n *NewTag) *Repository { n.Product = "station\nTree: 0"; return r }, godwit.CodeUsage, "cannot be the value of Product"},
		{"no such key", func(n *NewTag) *Repository { return d.at("one", "nobody") }, godwit.CodeUsage, "nobody cannot be read or made: open"},
		{"not a key", func(n *NewTag) *Repository { return d.at("one", "gitconfig") }, godwit.CodeFailed, "ssh-keygen cannot sign with"},
		{"untracked file", func(n *NewTag) *Repository { d.write("one/stray", ""); return r }, godwit.CodeRefused, "not committed: stray is not in Git"},
		{"changed file", func(n *NewTag) *Repository { os.Remove(d.path("one/stray")); d.write("one/a.txt", "changed"); return r }, godwit.CodeRefused, "not committed: a.txt is changed"},
	} {
		n := good
		repository := c.with(&n)
		_, err := repository.Tag(ctx, n)
		if godwit.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.say) {
			t.Errorf("%s: %v", c.name, err)
		}
		if after := d.git("one", "for-each-ref"); after != before {
			t.Errorf("%s: refs changed:\n%s", c.name, after)
		}
	}
	d.git("one", "checkout", "--quiet", "a.txt")
	if _, err := r.Tag(ctx, NewTag{Version: "v0.9.9", Product: "station", AllowLower: true}); err != nil {
		t.Errorf("allowed to be lower: %v", err)
	}
	if _, err := Open(ctx, Options{Dir: d.path("none")}); err == nil {
		t.Error("a folder that is not there is a repository")
	}
	if err := os.Mkdir(d.path("empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(ctx, Options{Dir: d.path("empty")}); godwit.CodeOf(err) != godwit.CodeUsage {
		t.Errorf("no repository: %v", err)
	}
	d.git("empty", "init", "--quiet")
	if _, err := d.at("empty", "alice").Tag(ctx, good); godwit.CodeOf(err) != godwit.CodeUsage || !strings.Contains(err.Error(), "no commit") {
		t.Errorf("no commit: %v", err)
	}
}

// TestLists: a release brings new lists of keys, or broken ones.
func TestLists(t *testing.T) {
	d := newDesk(t)
	r := d.at("one", "alice")
	if err := os.Mkdir(d.path("one/.godwit"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, text, say string }{
		{"allowed_signers", "alice ssh-ed25519 AAAA", "line 1 of the allowed_signers list"},
		{"allowed_signers", "# nobody", "allows 0 to sign"},
		{"allowed_signers", d.allowed, ""},
		{"revoked_keys", "SHA256:x", "line 1 of the list of revoked keys"},
		{"revoked_keys", strings.Fields(d.allowed)[2] + " " + strings.Fields(d.allowed)[3], "allows 0 to sign"},
		{"revoked_keys", "# nobody", ""},
	} {
		d.commit("one", ".godwit/"+c.name, c.text)
		_, err := r.Tag(t.Context(), NewTag{Version: "v1.0.0", Product: "station"})
		if (err == nil) != (c.say == "") || err != nil && (godwit.CodeOf(err) != godwit.CodeRefused || !strings.Contains(err.Error(), c.say)) {
			t.Errorf("%s %q: %v", c.name, c.text, err)
		}
		if err == nil {
			d.git("one", "tag", "-d", "v1.0.0")
		}
	}
}

// TestSHA256: repositories with the other kind of ids.
func TestSHA256(t *testing.T) {
	d := newDesk(t)
	ctx := t.Context()
	d.git("", "init", "--quiet", "--bare", "--object-format=sha256", "other.git")
	d.git("", "init", "--quiet", "--object-format=sha256", "other")
	d.git("other", "remote", "add", "origin", d.path("other.git"))
	d.commit("other", "a.txt", "a")
	r := d.at("other", "alice")
	if _, err := r.Tag(ctx, NewTag{Version: "v1.0.0", Product: "station", Push: true}); err != nil {
		t.Fatal(err)
	}
	if v, err := d.admitted("other.git", "v1.0.0", 1); err != nil || len(v.Commit) != 64 {
		t.Errorf("%q, %v", v.Commit, err)
	}
	for range 2 {
		if _, _, err := r.Set(ctx, "stable", Setting{Version: "v1.0.0"}); err != nil {
			t.Fatal(err)
		}
	}
}

// TestClock: a tag that is made before the one before it, devices refuse.
func TestClock(t *testing.T) {
	d := newDesk(t)
	r := d.at("one", "alice")
	t.Setenv("GIT_COMMITTER_DATE", "2099-01-01T00:00:00Z")
	if _, err := r.Tag(t.Context(), NewTag{Version: "v1.0.0", Product: "station"}); err != nil {
		t.Fatal(err)
	}
	os.Unsetenv("GIT_COMMITTER_DATE")
	if _, err := r.Tag(t.Context(), NewTag{Version: "v1.1.0"}); godwit.CodeOf(err) != godwit.CodeRefused || !strings.Contains(err.Error(), "still to come") {
		t.Error(err)
	}
}

// TestProduct: where it comes from.
func TestProduct(t *testing.T) {
	d := newDesk(t)
	r := d.at("one", "alice")
	d.git("one", "tag", "-a", "v0.5.0", "-m", "not signed", "-m", "Product: forged")
	if _, err := r.Tag(t.Context(), NewTag{Version: "v1.0.0"}); godwit.CodeOf(err) != godwit.CodeUsage || !strings.Contains(err.Error(), "which product") {
		t.Errorf("an unsigned tag says it: %v", err)
	}
	d.git("one", "config", "godwit.product", "pump")
	if done, err := r.Tag(t.Context(), NewTag{Version: "v1.0.0"}); err != nil || done.Product != "pump" {
		t.Errorf("%q, %v", done.Product, err)
	}
	if done, err := r.Tag(t.Context(), NewTag{Version: "v1.1.0", Product: "station"}); err != nil || done.Product != "station" {
		t.Errorf("%q, %v", done.Product, err)
	}
	d.git("one", "config", "--unset", "godwit.product")
	if done, err := r.Tag(t.Context(), NewTag{Version: "v1.2.0"}); err != nil || done.Product != "station" {
		t.Errorf("%q, %v", done.Product, err)
	}
}

func TestCosign(t *testing.T) {
	d := newDesk(t)
	ctx := t.Context()
	bob := d.key("bob")
	first, err := d.at("one", "alice").Tag(ctx, NewTag{Version: "v1.0.0", Product: "station", Push: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.admitted("one", "v1.0.0", 2); godwit.CodeOf(err) != godwit.CodeThreshold {
		t.Errorf("one of two: %v", err)
	}
	if _, err := d.at("one", "alice").Cosign(ctx, "v1.0.0", false); godwit.CodeOf(err) != godwit.CodeRefused {
		t.Errorf("the same key again: %v", err)
	}
	d.git("two", "fetch", "--quiet", "--tags")
	second, err := d.at("two", "bob").Cosign(ctx, "v1.0.0", true)
	if err != nil {
		t.Fatal(err)
	}
	if len(second.Keys) != 2 || second.Keys[1] != bob || !bytes.HasPrefix(second.object, first.object) || second.Product != "station" {
		t.Errorf("%+v", second)
	}
	v, err := d.admitted("two", "v1.0.0", 2)
	if err != nil || !slices.Equal(v.Signers, []string{"alice@example.org", "bob@example.org"}) {
		t.Errorf("%v, %v", v.Signers, err)
	}
	if there := d.git("origin.git", "rev-parse", "refs/tags/v1.0.0"); there != second.ID {
		t.Errorf("the remote has %s, not %s", there, second.ID)
	}
	// Somebody else signed meanwhile: the remote is not overwritten.
	d.key("carol")
	if _, err := d.at("one", "carol").Cosign(ctx, "v1.0.0", true); err == nil {
		t.Error("another's signature was overwritten")
	}
	if there := d.git("origin.git", "rev-parse", "refs/tags/v1.0.0"); there != second.ID {
		t.Errorf("the remote has %s, not %s", there, second.ID)
	}
	// What was signed and not pushed can be pushed later, but not over another's.
	if done, err := d.at("two", "carol").Cosign(ctx, "v1.0.0", false); err != nil || done.Pushed {
		t.Fatalf("%+v, %v", done, err)
	}
	third, err := d.at("two", "carol").Cosign(ctx, "v1.0.0", true)
	if err != nil || !third.Pushed || len(third.Keys) != 3 {
		t.Fatalf("%+v, %v", third, err)
	}
	if there := d.git("origin.git", "rev-parse", "refs/tags/v1.0.0"); there != third.ID {
		t.Errorf("the remote has %s, not %s", there, third.ID)
	}
	if _, err := d.at("two", "carol").Cosign(ctx, "v1.0.0", true); godwit.CodeOf(err) != godwit.CodeRefused {
		t.Errorf("pushed twice: %v", err)
	}
	if _, err := d.at("one", "carol").Cosign(ctx, "v1.0.0", true); err == nil {
		t.Error("another's signature was overwritten")
	}
	if there := d.git("origin.git", "rev-parse", "refs/tags/v1.0.0"); there != third.ID {
		t.Errorf("the remote has %s, not %s", there, third.ID)
	}
	// What was signed is looked at.
	for name, change := range map[string]func(string) string{
		"not signed": func(s string) string { return s[:strings.Index(s, sshsig.Begin)] },
		"tampered":   func(s string) string { return strings.Replace(s, "Product: station", "Product: pump", 1) },
	} {
		cmd := exec.Command("git", "mktag")
		cmd.Dir, cmd.Stdin = d.path("two"), strings.NewReader(change(string(first.object)))
		id, err := cmd.Output()
		if err != nil {
			t.Fatal(name, err)
		}
		d.git("two", "update-ref", "refs/tags/v1.0.0", strings.TrimSpace(string(id)))
		if _, err := d.at("two", "carol").Cosign(ctx, "v1.0.0", false); !godwit.CodeOf(err).Refusal() {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestKeys(t *testing.T) {
	d := newDesk(t)
	ctx := t.Context()
	message := []byte("hello")
	sign := func(key string) error {
		_, err := Signer{Key: key}.Sign(ctx, "godwit", message)
		return err
	}
	if err := sign(d.path("alice")); err != nil {
		t.Error(err)
	}
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", d.path("locked")).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Setenv("SSH_ASKPASS_REQUIRE", "never")
	if err := sign(d.path("locked")); err == nil || !strings.Contains(err.Error(), "locked") {
		t.Errorf("a passphrase and nobody to ask: %v", err)
	}
	public, err := os.ReadFile(d.path("alice.pub"))
	if err != nil {
		t.Fatal(err)
	}
	literal := strings.TrimSpace(string(public))
	if err := sign("key::" + literal); err == nil {
		t.Error("signed with a public key and no agent")
	}
	if _, err := exec.LookPath("ssh-agent"); err == nil {
		socket := filepath.Join(d.dir, "agent")
		agent := exec.Command("ssh-agent", "-D", "-a", socket)
		if err := agent.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { agent.Process.Kill(); agent.Wait() })
		t.Setenv("SSH_AUTH_SOCK", socket)
		for range 500 {
			if err = exec.Command("ssh-add", "-q", d.path("alice")).Run(); err == nil {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{"key::" + literal, literal, d.path("alice.pub")} {
			if err := sign(key); err != nil {
				t.Errorf("%s: %v", key, err)
			}
		}
	}
	for name, want := range map[string]string{"alice": "exists already", "alice/x": "cannot be read or made"} {
		if _, err := NewKey(ctx, d.path(name), "a@b", false, nil, io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, principal := range []string{"", "a b", "*", "a,b", "!a", "#a"} {
		if _, err := NewKey(ctx, d.path("new"), principal, false, nil, io.Discard); godwit.CodeOf(err) != godwit.CodeUsage {
			t.Errorf("%q: %v", principal, err)
		}
	}
	t.Setenv("PATH", d.dir)
	if err := sign(d.path("alice")); !errors.Is(err, exec.ErrNotFound) || !strings.Contains(err.Error(), "ssh-keygen is not installed") {
		t.Errorf("no ssh-keygen: %v", err)
	}
	if _, err := Open(ctx, Options{Dir: d.path("one")}); !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("no git: %v", err)
	}
}

func TestDefaultKey(t *testing.T) {
	d := newDesk(t)
	env := map[string]string{}
	get := func(name string) string { return env[name] }
	find := func() string {
		key, err := DefaultKey(t.Context(), d.path("one"), get)
		if err != nil {
			if godwit.CodeOf(err) != godwit.CodeUsage {
				t.Error(err)
			}
			return "none"
		}
		return key
	}
	if got := find(); got != "none" {
		t.Error(got)
	}
	d.git("one", "config", "user.signingkey", "~/openpgp")
	if got := find(); got != "none" { // of OpenPGP
		t.Error(got)
	}
	env["GODWIT_KEY"] = "/key"
	if got := find(); got != "/key" {
		t.Error(got)
	}
	d.git("one", "config", "gpg.format", "ssh")
	if got := find(); got != d.path("openpgp") {
		t.Error(got)
	}
}

func FuzzParseTag(f *testing.F) {
	head := "object 1111111111111111111111111111111111111111\ntype commit\ntag v1\ntagger A <a@b> 1 +0000\n\n"
	f.Add([]byte(head + "subject\n\nProduct: x\n"))
	f.Add([]byte(head + "subject\n\nProduct: x\n" + sshsig.Begin + "\nAAAA\n-----END SSH SIGNATURE-----\n"))
	f.Add([]byte("object x\ntype commit\ntag \ntagger \n\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		tag, err := parseTag(b)
		if err == nil && len(tag.Keys) == 0 && bytes.Contains(b, []byte("\n"+sshsig.Begin+"\n")) {
			t.Fatalf("a signature was overlooked: %q", b)
		}
	})
}
