package github

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/source/github/fake"
	"github.com/godwit-ota/godwit/trust"
)

// An office is a world whose releases are signed, and the gate of a device that
// knows alice.
type office struct {
	*world
	keys, allowed string
	gate          *trust.Gate
}

func newOffice(t *testing.T, kind string) *office {
	t.Helper()
	o := &office{world: newWorld(t, kind), keys: t.TempDir()}
	o.cfg.Signed = true
	o.git("config", "gpg.format", "ssh")
	for _, who := range []string{"alice", "mallory"} {
		if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", who, "-f", filepath.Join(o.keys, who)).CombinedOutput(); err != nil {
			t.Fatalf("ssh-keygen: %v\n%s", err, out)
		}
	}
	key, err := os.ReadFile(filepath.Join(o.keys, "alice.pub"))
	if err != nil {
		t.Fatal(err)
	}
	o.allowed = "alice@example.org " + string(key)
	o.gate, err = trust.New(trust.Config{Mode: trust.Signed, Product: "station", Channel: stable,
		Allowed: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(o.allowed)), nil }})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// release signs a tag for the last commit, and shows it as a release.
func (o *office) release(who, version string) {
	o.Helper()
	o.git("config", "user.signingKey", filepath.Join(o.keys, who))
	o.git("tag", "-s", "-m", version+"\n\nProduct: station", version)
	o.host.Publish(fake.Release{Tag: version})
}

// manifest signs a manifest, and attaches it to a release of its own.
func (o *office) manifest(who, inside, version string, change func([]byte) []byte) {
	o.Helper()
	var m map[string]any
	if err := json.Unmarshal(o.manifestOf(inside, "main.py"), &m); err != nil {
		o.Fatal(err)
	}
	m["product"], m["commit"] = "station", o.git("rev-parse", "HEAD")
	m["generated_at"] = "2026-12-01T12:00:00Z"
	b, err := json.Marshal(m)
	if err != nil {
		o.Fatal(err)
	}
	cmd := exec.Command("ssh-keygen", "-Y", "sign", "-n", "godwit", "-f", filepath.Join(o.keys, who))
	cmd.Stdin = bytes.NewReader(b)
	signature, err := cmd.Output()
	if err != nil {
		o.Fatal(err)
	}
	o.git("tag", version)
	o.host.Publish(fake.Release{Tag: version, Assets: map[string][]byte{manifestName: change(b), signatureName: signature}})
}

// install does what an update does.
func (o *office) install() (godwit.Described, error) {
	o.Helper()
	s := o.open()
	var d godwit.Described
	tip, err := s.Tip(o.Context())
	if err != nil {
		return d, err
	}
	rel, err := s.Release(o.Context(), tip)
	if err != nil {
		return d, err
	}
	v, err := o.gate.Admit(o.Context(), rel, godwit.Memory{})
	if err != nil {
		return d, err
	}
	if d, err = s.Describe(o.Context(), v, nil); err == nil {
		err = s.Fetch(o.Context(), d, d.Listing, o.device)
	}
	return d, err
}

// TestTwoSigners: a tag with two signatures, each over all before it, comes as it
// is.
func TestTwoSigners(t *testing.T) {
	for _, kind := range []string{GitHub, Gitea} {
		o := newOffice(t, kind)
		o.release("alice", "v1.0.0")
		sign := exec.Command("ssh-keygen", "-Y", "sign", "-n", "git", "-f", filepath.Join(o.keys, "mallory"))
		one := o.git("cat-file", "tag", "v1.0.0") + "\n"
		sign.Stdin = strings.NewReader(one)
		more, err := sign.Output()
		if err != nil {
			t.Fatal(err)
		}
		write := exec.Command("git", "-C", o.dir, "hash-object", "-t", "tag", "-w", "--stdin")
		write.Stdin = strings.NewReader(one + string(more))
		id, err := write.Output()
		if err != nil {
			t.Fatal(err)
		}
		o.git("update-ref", "refs/tags/v1.0.0", strings.TrimSpace(string(id)))
		s := o.open()
		tip, err := s.Tip(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		rel, err := s.Release(t.Context(), tip)
		if err != nil || body(t, rel.Statement) != one+string(more) {
			t.Errorf("%s: got %+v, %v", kind, rel.Statement, err)
		}
		if _, err := o.install(); err != nil {
			t.Error(kind, err)
		}
	}
}

// TestHostileHost: who owns the host can withhold a release and nothing else.
func TestHostileHost(t *testing.T) {
	same := func(b []byte) []byte { return b }
	for _, c := range []struct {
		name string
		play func(o *office)
		code godwit.Code
	}{
		{"signed tag", func(o *office) { o.release("alice", "v1.0.0") }, ""},
		{"signed manifest", func(o *office) { o.manifest("alice", "v1.0.0", "v1.0.0", same) }, ""},
		{"tag of somebody else", func(o *office) { o.release("mallory", "v1.0.0") }, godwit.CodeUnknownSigner},
		{"manifest of somebody else", func(o *office) { o.manifest("mallory", "v1.0.0", "v1.0.0", same) }, godwit.CodeUnknownSigner},
		{"unsigned tag", func(o *office) {
			o.git("tag", "-am", "Product: station", "v1.0.0")
			o.host.Publish(fake.Release{Tag: "v1.0.0"})
		}, godwit.CodeUnsigned},
		{"plain tag", func(o *office) {
			o.git("tag", "v1.0.0")
			o.host.Publish(fake.Release{Tag: "v1.0.0"})
		}, godwit.CodeUnsigned},
		{"old tag under a new name", func(o *office) {
			o.release("alice", "v1.0.0")
			o.git("update-ref", "refs/tags/v2.0.0", o.git("rev-parse", "v1.0.0"))
			o.host.Publish(fake.Release{Tag: "v2.0.0"})
		}, godwit.CodeWrongName},
		{"old manifest under a new name", func(o *office) { o.manifest("alice", "v1.0.0", "v2.0.0", same) }, godwit.CodeWrongName},
		{"changed manifest", func(o *office) {
			o.manifest("alice", "v1.0.0", "v1.0.0", func(b []byte) []byte { return bytes.Replace(b, []byte("main.py"), []byte("evil.py"), 1) })
		}, godwit.CodeBadSignature},
		{"another commit behind the tag", func(o *office) {
			o.release("alice", "v1.0.0")
			signed := o.git("rev-parse", "HEAD")
			o.lie("git/tags/", `"object":{"sha":"`+signed, `"object":{"sha":"`+o.commit(map[string]string{"main.py": "evil"}))
		}, godwit.CodeTampered},
		{"another tree behind the commit", func(o *office) {
			o.release("alice", "v1.0.0")
			signed := o.git("rev-parse", "HEAD^{tree}")
			o.commit(map[string]string{"main.py": "evil"})
			o.lie("git/commits/", signed, o.git("rev-parse", "HEAD^{tree}"))
		}, godwit.CodeBadSignature},
		{"another list of files", func(o *office) {
			o.release("alice", "v1.0.0")
			o.lie("git/trees/", "main.py", "evil.py")
		}, godwit.CodeBadObject},
		{"another content", func(o *office) {
			o.release("alice", "v1.0.0")
			o.lie("/main.py", "one", "two")
		}, godwit.CodeBadObject},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := newOffice(t, GitHub)
			c.play(o)
			d, err := o.install()
			if godwit.CodeOf(err) != c.code {
				t.Fatalf("got %v (%s), want code %s", err, godwit.CodeOf(err), c.code)
			}
			for digest, b := range o.device {
				if strings.Contains(string(b), "evil") || strings.Contains(string(b), "two") {
					t.Errorf("%s is on the device: %q", digest, b)
				}
			}
			if err == nil && len(o.tree(d.Listing)) == 0 {
				t.Error("nothing was installed")
			}
		})
	}
}

// TestRepair: what was installed by a manifest comes again without one, and
// without a list of all files.
func TestRepair(t *testing.T) {
	for _, kind := range kinds {
		o := newOffice(t, kind)
		o.manifest("alice", "v1.0.0", "v1.0.0", func(b []byte) []byte { return b })
		d, err := o.install()
		if err != nil {
			t.Fatal(kind, err)
		}
		var want []godwit.Entry
		for e := range d.Listing {
			want = append(want, e)
		}
		clear(o.device)
		o.host.Delete("v1.0.0")
		o.cfg.Limits.TreeFiles = 1
		o.paths()
		s := o.open()
		again, err := s.Describe(t.Context(), godwit.Verified{Release: godwit.Release{Tip: d.Tip, Version: d.Version}, Time: d.Time}, nil)
		if err != nil || len(o.paths()) != 0 {
			t.Fatal(kind, err)
		}
		err = s.Fetch(t.Context(), again, func(yield func(godwit.Entry, error) bool) {
			for _, e := range want {
				if !yield(e, nil) {
					return
				}
			}
		}, o.device)
		if err != nil || len(o.device) != len(want) || len(want) == 0 {
			t.Errorf("%s: %d files, %v", kind, len(o.device), err)
		}
		for _, err = range again.Listing {
			break
		}
		if err == nil {
			t.Errorf("%s: a list of more files than allowed", kind)
		}
	}
}
