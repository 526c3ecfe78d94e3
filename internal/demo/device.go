package demo

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"github.com/godwit-ota/godwit/internal/githost"
	"github.com/godwit-ota/godwit/internal/jsontext"
)

// expect is a command of the device and how it must end.
type expect struct {
	args  []string
	exit  int
	quiet bool   // do not show it
	root  string // instead of the device's own
}

// command makes a child process of this program.
func (s *story) command(root string, args ...string) *exec.Cmd {
	if root != "" {
		args = append(args, "--root", root)
	}
	cmd := exec.CommandContext(s.ctx, s.Program, append([]string{"--config", s.configFile()}, args...)...)
	cmd.Dir = s.dir
	// Nothing of this machine may come between the device and the host.
	for _, v := range os.Environ() {
		switch name, _, _ := strings.Cut(strings.ToUpper(v), "="); name {
		case "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "GODWIT_CONFIG":
		default:
			cmd.Env = append(cmd.Env, v)
		}
	}
	return cmd
}

// godwit runs a command, shows it, and checks its exit code.
func (s *story) godwit(e expect) (stdout []byte, err error) {
	cmd := s.command(e.root, e.args...)
	var out bytes.Buffer
	all := &screen{}
	cmd.Stdout = io.MultiWriter(&out, all)
	cmd.Stderr = all
	err = cmd.Run()
	if !e.quiet {
		s.note("$ godwit %s", strings.Join(e.args, " "))
		for line := range strings.Lines(all.String()) {
			s.note("| %s", strings.TrimRight(line, "\n"))
		}
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return nil, err
	}
	if code := cmd.ProcessState.ExitCode(); code != e.exit {
		return nil, fmt.Errorf("godwit %s ended with exit code %d instead of %d: %s", strings.Join(e.args, " "), code, e.exit, all.String())
	}
	return out.Bytes(), nil
}

// A screen keeps what two streams print, in the order in which it came.
type screen struct {
	mu sync.Mutex
	strings.Builder
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.Builder.Write(p)
}

// traffic is the number of bytes that crossed the wire so far, both ways.
func (s *story) traffic() int64 {
	to, from := s.server.Traffic()
	return to + from
}

// tree is where the running version lies below a device's root.
func (s *story) tree(root string) string {
	if s.Layout == "slots" {
		return filepath.Join(root, "current")
	}
	return root
}

// is checks that the device runs exactly the version, and says so.
func (s *story) is(version string) error {
	got, err := s.which(s.root(), version)
	if err != nil {
		return err
	}
	n, _, err := s.sizeOf(got)
	if err != nil {
		return err
	}
	s.note("checked: %d files, all as git checks out %s, and no other", n, got)
	return nil
}

// which returns the one of the versions that the tree of a device is, byte for
// byte, and checks that the device's own record says the same.
func (s *story) which(root string, versions ...string) (string, error) {
	var why []string
	for _, v := range versions {
		want := filepath.Join(s.dir, "expected-"+v)
		if _, err := os.Stat(want); errors.Is(err, fs.ErrNotExist) {
			if err := s.repo.Export(v, want); err != nil {
				return "", err
			}
		}
		if err := s.same(want, root); err != nil {
			why = append(why, "not "+v+": "+err.Error())
			continue
		}
		return v, s.recordSays(root, v)
	}
	return "", errors.New("the device's files are " + strings.Join(why, "; "))
}

// same compares two trees: names, contents, exec bits, nothing more and nothing
// less, but for Godwit's own files.
func (s *story) same(want, root string) error {
	tree := s.tree(root)
	got, err := filepath.EvalSymlinks(tree)
	if err != nil {
		return err
	}
	seen := 0
	err = filepath.WalkDir(got, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(got, name)
		if s.Layout == "in-place" && (rel == ".godwit" || rel == "version.json") {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if d.IsDir() {
			if entries, err := os.ReadDir(name); err != nil || len(entries) == 0 {
				return fmt.Errorf("the folder %s is empty (%v)", rel, err)
			}
			return nil
		}
		seen++
		return sameFile(filepath.Join(want, rel), name, rel)
	})
	if err != nil {
		return err
	}
	n := 0
	filepath.WalkDir(want, func(_ string, d fs.DirEntry, _ error) error {
		if !d.IsDir() {
			n++
		}
		return nil
	})
	if n != seen {
		return fmt.Errorf("%d of %d files are there", seen, n)
	}
	return nil
}

func sameFile(want, got, rel string) error {
	a, err := os.ReadFile(want)
	if err != nil {
		return fmt.Errorf("%s should not be there", rel)
	}
	b, err := os.ReadFile(got)
	if err != nil {
		return err
	}
	if !bytes.Equal(a, b) {
		return fmt.Errorf("%s has another content", rel)
	}
	ai, err := os.Stat(want)
	if err != nil {
		return err
	}
	bi, err := os.Lstat(got)
	if err != nil {
		return err
	}
	if !bi.Mode().IsRegular() || ai.Mode()&0o100 != bi.Mode()&0o100 {
		return fmt.Errorf("%s has another mode", rel)
	}
	return nil
}

// recordSays checks that `godwit status` and version.json name the version.
func (s *story) recordSays(root, version string) error {
	commit, err := s.repo.Git("rev-parse", version+"^{commit}")
	if err != nil {
		return err
	}
	out, err := s.godwit(expect{args: []string{"status", "--json"}, quiet: true, root: root})
	if err != nil {
		return err
	}
	status, err := jsontext.Parse(out)
	if err != nil {
		return fmt.Errorf("status: %w", err)
	}
	b, err := os.ReadFile(filepath.Join(root, "version.json"))
	if err != nil {
		return err
	}
	file, err := jsontext.Parse(b)
	if err != nil {
		return fmt.Errorf("version.json: %w", err)
	}
	running, written, settled := status.Get("running").Get("commit").Text, file.Get("commit").Text, status.Get("settled").Text
	if running != commit || written != commit || settled != "true" {
		return fmt.Errorf("the files are %s, but the record says %s (settled: %s) and version.json %s", commit, running, settled, written)
	}
	return nil
}

// publish pushes a version.
func (s *story) publish(tag string, changes map[string]githost.Change) error {
	changes["VERSION"] = githost.Text(tag + "\n")
	commit, err := s.repo.Commit("main", "Release "+tag, changes)
	if err != nil {
		return err
	}
	_, err = s.repo.Tag(tag, commit, "Release "+tag)
	return err
}

// sizeOf counts the files and bytes of a version, as git sees them.
func (s *story) sizeOf(version string) (files int, size int64, err error) {
	out, err := s.repo.Git("ls-tree", "-r", "--long", version)
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(out) {
		var mode, kind, id string
		var n int64
		if _, err := fmt.Sscan(line, &mode, &kind, &id, &n); err != nil {
			return 0, 0, err
		}
		files, size = files+1, size+n
	}
	return files, size, nil
}
