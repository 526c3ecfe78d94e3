// Package demo is `godwit demo`: the whole story on one machine in under a
// minute. A real Git host serves a repository on the loopback address; a device
// lives in a temporary folder; everything the device does is done by a child
// process of this very program, as it would be in the field.
//
// Invariant: nothing is claimed that was not checked here, by comparing the
// device's files with what git itself checks out. A claim that does not hold
// ends the demo with an error.
package demo

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/internal/githost"
	"github.com/godwit-ota/godwit/plan"
)

// Run tells the story to out, with the godwit binary program. layout is "slots"
// or "in-place"; seed chooses the moments of the power cuts, 0 takes one from
// the clock; keep leaves the folder behind. It returns an error as soon as
// something is not as it should be.
func Run(ctx context.Context, out io.Writer, program, layout string, seed uint64, keep bool) error {
	if _, err := exec.LookPath("git"); err != nil {
		return godwit.Fail(godwit.CodeFailed, err, "the demo runs a real Git host, which needs git", "install it, for example with `apt install git`; godwit itself does not need it")
	}
	if seed == 0 {
		seed = uint64(time.Now().UnixNano()) % 100_000
	}
	dir, err := os.MkdirTemp("", "godwit-demo-*")
	if err != nil {
		return err
	}
	if !keep {
		defer os.RemoveAll(dir)
	}
	s := &story{ctx: ctx, Out: out, Program: program, Layout: layout, Seed: seed, dir: dir, start: time.Now()}
	defer s.close()
	signed, err := s.signing()
	if err != nil {
		return err
	}
	s.say("A Git host and a device on this machine: no network, layout %s, seed %d.", layout, seed)
	for i, chapter := range []struct {
		title string
		tell  func() error
	}{
		{"A repository on a Git host", s.host},
		{"A new device", s.install},
		{"An update", s.update},
		{"Nothing new", s.nothingNew},
		{"The power fails in the middle", s.powerCuts},
		{"A bad version", s.badVersion},
		{"A person goes back", s.rollback},
		{"Somebody damages a file", s.damage},
		{"Signed releases", func() error { signed.server = s.server; return signed.signedReleases() }},
		{"The host is not what it was", signed.hostileHost},
	} {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		fmt.Fprintf(s.Out, "\n%d. %s\n", i+1, chapter.title)
		if err := chapter.tell(); err != nil {
			if keep {
				s.say("\nThe folder of the demo: %s", dir)
			}
			return godwit.Fail(godwit.CodeOf(err), err, "the demo found something that is not as it should be",
				fmt.Sprintf("run it again with --seed %d --layout %s --keep and look into its folder", seed, layout))
		}
	}
	fmt.Fprintf(s.Out, "\nShown in %.1f s, each time checked against git's own checkout:\n", time.Since(s.start).Seconds())
	for _, p := range append(s.proved, signed.proved...) {
		fmt.Fprintf(s.Out, "  ✓ %s\n", p)
	}
	if keep {
		s.say("\nThe folder of the demo: %s", dir)
	}
	return nil
}

// A story is one run of the demo.
type story struct {
	ctx     context.Context
	Out     io.Writer
	Program string // the godwit binary
	Layout  string
	Seed    uint64

	dir    string
	start  time.Time
	server *githost.Host
	repo   *githost.Repo
	proved []string
	clock  int64 // of the last signed tag
}

func (s *story) close() {
	if s.server != nil {
		s.server.Close()
	}
}

func (s *story) say(format string, args ...any) { fmt.Fprintf(s.Out, format+"\n", args...) }

// note is an indented line of the story.
func (s *story) note(format string, args ...any) { fmt.Fprintf(s.Out, "   "+format+"\n", args...) }

func (s *story) prove(format string, args ...any) {
	s.proved = append(s.proved, fmt.Sprintf(format, args...))
}

func (s *story) root() string       { return filepath.Join(s.dir, "device") }
func (s *story) configFile() string { return filepath.Join(s.dir, "godwit.toml") }

// host makes a repository with a first version and begins to serve it.
func (s *story) host() error {
	repos := filepath.Join(s.dir, "git")
	var err error
	if s.repo, err = githost.InitRepo(filepath.Join(repos, "station.git"), "sha1"); err != nil {
		return err
	}
	if s.server, err = githost.Start(githost.Config{Root: repos}); err != nil {
		return err
	}
	if err := s.publish("v1.0.0", firstVersion()); err != nil {
		return err
	}
	n, size, err := s.sizeOf("v1.0.0")
	if err != nil {
		return err
	}
	s.note("git http-backend serves %s", s.server.URL("station.git"))
	s.note("its tag v1.0.0 holds %d files, %s", n, plan.Bytes(size))
	return nil
}

// install writes a configuration and brings the first version to the device.
func (s *story) install() error {
	_, err := s.godwit(expect{args: []string{"init", "--url", s.server.URL("station.git"), "--channel", "stable", "--root", s.root(),
		"--layout", s.Layout, "--health-command", "./selftest", "--within", "2s", "--trust", "none"}, quiet: true})
	if err != nil {
		return err
	}
	before := s.traffic()
	if _, err := s.godwit(expect{args: []string{"update"}}); err != nil {
		return err
	}
	if err := s.is("v1.0.0"); err != nil {
		return err
	}
	s.note("%s crossed the wire", plan.Bytes(s.traffic()-before))
	s.prove("a first install from a stock Git host, with one binary and one configuration file")
	return nil
}

// update brings a small change.
func (s *story) update() error {
	if err := s.publish("v1.1.0", smallChange()); err != nil {
		return err
	}
	s.note("v1.1.0 is pushed: four files changed, one of them large; one new, one gone")
	before := s.traffic()
	if _, err := s.godwit(expect{args: []string{"update"}}); err != nil {
		return err
	}
	bytes := s.traffic() - before
	if err := s.is("v1.1.0"); err != nil {
		return err
	}
	_, size, err := s.sizeOf("v1.1.0")
	if err != nil {
		return err
	}
	s.note("%s crossed the wire for a tree of %s: 1/%d of it", plan.Bytes(bytes), plan.Bytes(size), size/bytes)
	if bytes > size/10 {
		return fmt.Errorf("the update took %d bytes of a tree of %d", bytes, size)
	}
	s.prove("an update that cost %s for a tree of %s", plan.Bytes(bytes), plan.Bytes(size))
	return nil
}

// nothingNew asks once more.
func (s *story) nothingNew() error {
	requests, before := s.server.Requests(), s.traffic()
	if _, err := s.godwit(expect{args: []string{"check"}}); err != nil {
		return err
	}
	n, bytes := s.server.Requests()-requests, s.traffic()-before
	s.note("%d request, %s both ways", n, plan.Bytes(bytes))
	if n != 1 {
		return fmt.Errorf("a check took %d requests", n)
	}
	s.prove("a check that finds nothing new is one request of %s", plan.Bytes(bytes))
	return nil
}

// badVersion publishes a version whose self-test fails.
func (s *story) badVersion() error {
	if err := s.publish("v1.3.0", badChange()); err != nil {
		return err
	}
	s.note("v1.3.0 is pushed; its ./selftest, which the device asks, will fail")
	if _, err := s.godwit(expect{args: []string{"update"}, exit: 7}); err != nil {
		return err
	}
	if err := s.is("v1.2.0"); err != nil {
		return err
	}
	s.note("exit code 7: v1.2.0 is back. And once more:")
	if _, err := s.godwit(expect{args: []string{"update"}, exit: 4}); err != nil {
		return err
	}
	if err := s.is("v1.2.0"); err != nil {
		return err
	}
	s.prove("a version that fails its health check is sent back, and is not tried twice")
	return nil
}

// rollback goes to the version before by hand.
func (s *story) rollback() error {
	if err := s.publish("v1.4.0", goodChange()); err != nil {
		return err
	}
	if _, err := s.godwit(expect{args: []string{"update"}}); err != nil {
		return err
	}
	if err := s.is("v1.4.0"); err != nil {
		return err
	}
	requests := s.server.Requests()
	if _, err := s.godwit(expect{args: []string{"rollback"}}); err != nil {
		return err
	}
	if err := s.is("v1.2.0"); err != nil {
		return err
	}
	if n := s.server.Requests() - requests; n != 0 {
		return fmt.Errorf("the rollback asked the host %d times", n)
	}
	s.note("without a single request to the host")
	s.prove("a rollback without a download")
	return nil
}

// damage spoils installed files.
func (s *story) damage() error {
	tree := s.tree(s.root())
	first, second := filepath.Join(tree, "lib", "module007.py"), filepath.Join(tree, "app", "main.py")
	// Written anew rather than in place, as an editor would.
	if err := os.Remove(first); err != nil {
		return err
	}
	if err := os.WriteFile(first, []byte("spoilt\n"), 0o644); err != nil {
		return err
	}
	if err := os.Remove(second); err != nil {
		return err
	}
	s.note("lib/module007.py is overwritten, app/main.py is deleted")
	if _, err := s.godwit(expect{args: []string{"verify"}, exit: 1}); err != nil {
		return err
	}
	before := s.traffic()
	if _, err := s.godwit(expect{args: []string{"verify", "--repair"}}); err != nil {
		return err
	}
	if err := s.is("v1.2.0"); err != nil {
		return err
	}
	if n := s.traffic() - before; n > 0 {
		s.note("%s crossed the wire", plan.Bytes(n))
	}
	s.prove("damage is found by hashing, and only what is damaged is repaired")
	return nil
}
