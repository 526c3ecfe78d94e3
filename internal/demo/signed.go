package demo

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/adler32"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/internal/githost"
	"github.com/godwit-ota/godwit/internal/jsontext"
)

// signing begins a second story in the folder of the first: another repository
// on the same host, and a device that installs only what its author signed.
func (s *story) signing() (*story, error) {
	if _, err := exec.LookPath("ssh-keygen"); err != nil {
		return nil, godwit.Fail(godwit.CodeFailed, err, "the demo signs releases with ssh-keygen, which is not here",
			"install it, for example with `apt install openssh-client`; a device does not need it")
	}
	t := *s
	t.dir = filepath.Join(s.dir, "signed")
	t.proved = nil
	t.clock = 1_750_000_000
	if err := os.Mkdir(t.dir, 0o755); err != nil {
		return nil, err
	}
	var err error
	t.repo, err = githost.InitRepo(filepath.Join(s.dir, "git", "signed.git"), "sha1")
	return &t, err
}

// signedReleases: a device that knows one key, and two releases signed with it.
func (s *story) signedReleases() error {
	key := filepath.Join(s.dir, "author")
	if out, err := exec.CommandContext(s.ctx, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", key).CombinedOutput(); err != nil {
		return fmt.Errorf("ssh-keygen: %w: %s", err, out)
	}
	public, err := os.ReadFile(key + ".pub")
	if err != nil {
		return err
	}
	signers := filepath.Join(s.dir, "allowed_signers")
	if err := os.WriteFile(signers, []byte("author@example.org "+string(public)), 0o644); err != nil {
		return err
	}
	s.note("The author has an SSH key; a second device has its public half in allowed_signers.")
	_, err = s.godwit(expect{args: []string{"init", "--url", s.server.URL("signed.git"), "--root", s.root(), "--layout", s.Layout,
		"--trust", "signed", "--allowed-signers", signers, "--product", "station"}, quiet: true})
	if err != nil {
		return err
	}
	first := map[string]githost.Change{"start": githost.Exec("#!/bin/sh\npython3 main.py\n"), "main.py": githost.Text("first\n"), "lib/__init__.py": githost.Text("")}
	if err := s.release("v1.0.0", "station", first); err != nil {
		return err
	}
	if _, err := s.godwit(expect{args: []string{"update"}}); err != nil {
		return err
	}
	if err := s.is("v1.0.0"); err != nil {
		return err
	}
	if err := s.release("v1.1.0", "station", map[string]githost.Change{"main.py": githost.Text("second\n")}); err != nil {
		return err
	}
	if _, err := s.godwit(expect{args: []string{"update"}}); err != nil {
		return err
	}
	if err := s.is("v1.1.0"); err != nil {
		return err
	}
	out, err := s.godwit(expect{args: []string{"status", "--json"}, quiet: true})
	if err != nil {
		return err
	}
	status, err := jsontext.Parse(out)
	if err != nil {
		return err
	}
	who := ""
	for _, name := range status.Get("running").Get("signers").List {
		who += name.Text
	}
	if who != "author@example.org" {
		return fmt.Errorf("status says that %q signed the release", who)
	}
	s.note("and `godwit status` names author@example.org as who signed it")
	s.prove("a release that its author signed is installed, and who signed it is known")
	return nil
}

// hostileHost plays what somebody can try who owns the Git host.
func (s *story) hostileHost() error {
	for _, attack := range []struct {
		what string
		do   func() error
		code string
		undo func() error
	}{
		{"the tag v9.0.0 is the object of the signed v1.0.0: an old release under a new name", func() error {
			return s.point("refs/tags/v9.0.0", "refs/tags/v1.0.0")
		}, "wrong-name", s.drop("v9.0.0")},
		{"a new release v2.0.0 that nobody signed", func() error {
			commit, err := s.repo.Commit("main", "Not by the author", map[string]githost.Change{"main.py": githost.Text("evil\n")})
			if err != nil {
				return err
			}
			_, err = s.repo.Tag("v2.0.0", commit, "Release v2.0.0\n\nProduct: station\n")
			return err
		}, "unsigned", s.drop("v2.0.0")},
		{"v3.0.0 of another product, signed with the same key", func() error {
			return s.release("v3.0.0", "thermostat", map[string]githost.Change{"main.py": githost.Text("for a thermostat\n")})
		}, "wrong-product", s.drop("v3.0.0")},
		{"v1.2.0 is signed, and the host has put another content in the place of main.py", func() error {
			if err := s.release("v1.2.0", "station", map[string]githost.Change{"main.py": githost.Text("third\n")}); err != nil {
				return err
			}
			return s.tamper("v1.2.0", "main.py", "evil!\n")
		}, "tampered", func() error { return s.tamper("v1.2.0", "main.py", "third\n") }},
		{"the channel stable, as it was signed long ago", func() error {
			return s.channel(1, "v1.2.0", time.Unix(1_751_000_000, 0))
		}, "expired", nil},
	} {
		s.note("The host: %s", attack.what)
		if err := attack.do(); err != nil {
			return err
		}
		if _, err := s.godwit(expect{args: []string{"update"}, exit: 4}); err != nil {
			return err
		}
		if err := s.refused(attack.code); err != nil {
			return fmt.Errorf("%s: %w", attack.what, err)
		}
		if attack.undo != nil {
			if err := attack.undo(); err != nil {
				return err
			}
		}
	}
	s.note("Each time: the code is as it should be, nothing is staged, and every file is still v1.1.0's.")
	s.prove("an old tag under a new name, an unsigned release, another product's, other bytes and an expired channel: all refused")

	s.note("The author signs the channel again, good for a month:")
	if err := s.channel(2, "v1.2.0", time.Now().AddDate(0, 1, 0)); err != nil {
		return err
	}
	if _, err := s.godwit(expect{args: []string{"update"}}); err != nil {
		return err
	}
	if err := s.is("v1.2.0"); err != nil {
		return err
	}
	s.note("The host goes back to the channel of before:")
	if err := s.point("refs/tags/channel/stable", "refs/kept/1"); err != nil {
		return err
	}
	if _, err := s.godwit(expect{args: []string{"update"}, exit: 4}); err != nil {
		return err
	}
	if err := s.is("v1.2.0"); err != nil {
		return err
	}
	s.prove("what a channel said before is not believed again")
	return nil
}

// refused checks that an update has left v1.1.0 and nothing of another.
func (s *story) refused(code string) error {
	v, err := s.which(s.root(), "v1.1.0")
	if err != nil {
		return err
	}
	out, err := s.godwit(expect{args: []string{"status", "--json"}, quiet: true})
	if err != nil {
		return err
	}
	status, err := jsontext.Parse(out)
	if err != nil {
		return err
	}
	if got := status.Get("last_error").Get("code").Text; got != code {
		return fmt.Errorf("the code is %q and not %q", got, code)
	}
	staged, err := os.ReadDir(filepath.Join(s.root(), ".godwit", "stage"))
	if err != nil || len(staged) > 0 {
		return fmt.Errorf("%d things are staged beside %s (%v)", len(staged), v, err)
	}
	return nil
}

// release commits and pushes a version, with a tag that the author signed.
func (s *story) release(version, product string, changes map[string]githost.Change) error {
	changes["VERSION"] = githost.Text(version + "\n")
	commit, err := s.repo.Commit("main", "Release "+version, changes)
	if err != nil {
		return err
	}
	return s.signedTag(version, commit, "Release "+version+"\n\nProduct: "+product+"\n")
}

// channel signs and pushes what the channel stable says.
func (s *story) channel(sequence int, version string, notAfter time.Time) error {
	commit, err := s.repo.Git("rev-parse", version+"^{commit}")
	if err != nil {
		return err
	}
	err = s.signedTag("channel/stable", commit, fmt.Sprintf("channel/stable\n\nSequence: %d\nRelease: %s\nProduct: station\nNot-After: %s\n",
		sequence, version, notAfter.UTC().Format(time.RFC3339)))
	if err != nil {
		return err
	}
	return s.point(fmt.Sprintf("refs/kept/%d", sequence), "refs/tags/channel/stable")
}

// signedTag writes the tag object that `git tag -s` writes with gpg.format=ssh.
func (s *story) signedTag(name, commit, message string) error {
	s.clock += 60
	text := fmt.Sprintf("object %s\ntype commit\ntag %s\ntagger Author <author@example.org> %d +0000\n\n%s", commit, name, s.clock, message)
	cmd := exec.CommandContext(s.ctx, "ssh-keygen", "-q", "-Y", "sign", "-n", "git", "-f", filepath.Join(s.dir, "author"))
	cmd.Stdin = strings.NewReader(text)
	var problems bytes.Buffer
	cmd.Stderr = &problems
	signature, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("ssh-keygen: %w: %s", err, problems.Bytes())
	}
	id, err := s.repo.GitInput(strings.NewReader(text+string(signature)), "hash-object", "-t", "tag", "-w", "--stdin")
	if err != nil {
		return err
	}
	return s.point("refs/tags/"+name, id)
}

// point makes a ref name what revision does.
func (s *story) point(ref, revision string) error {
	_, err := s.repo.Git("update-ref", ref, revision)
	return err
}

// drop makes a function that takes a tag away, and what was committed for it.
func (s *story) drop(tag string) func() error {
	return func() error {
		if _, err := s.repo.Git("update-ref", "-d", "refs/tags/"+tag); err != nil {
			return err
		}
		return s.point("refs/heads/main", "v1.1.0^{commit}")
	}
}

// tamper gives the object of a file another content and keeps its name: Git
// serves it without a look (`git fsck` would notice).
func (s *story) tamper(version, file, content string) error {
	id, err := s.repo.Git("rev-parse", version+":"+file)
	if err != nil {
		return err
	}
	name := filepath.Join(s.repo.Dir, "objects", id[:2], id[2:])
	if _, err := os.Stat(name); err != nil {
		return errors.New("the object of " + file + " lies in a pack")
	}
	if err := os.Remove(name); err != nil { // it cannot be written to
		return err
	}
	return os.WriteFile(name, stored(fmt.Appendf(nil, "blob %d\x00%s", len(content), content)), 0o444)
}

// stored is b, at most 65,535 bytes, as zlib data that is not compressed: header,
// one stored block, checksum (RFC 1950, RFC 1951 3.2.4).
func stored(b []byte) []byte {
	out := []byte{0x78, 0x01, 1}
	out = binary.LittleEndian.AppendUint16(out, uint16(len(b)))
	out = binary.LittleEndian.AppendUint16(out, ^uint16(len(b)))
	return binary.BigEndian.AppendUint32(append(out, b...), adler32.Checksum(b))
}
