//go:build linux

package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// The updates, each from the same first version.
const (
	small   = "small change"  // three files of a few KB
	file    = "1 MB file"     // a new one, which cannot be compressed
	large   = "1 MB in LFS"   // the same file, of which Git has a pointer only
	release = "3 MB release"  // two thirds of it new, one third edited
	first   = "first version" // that everything begins with
)

var versions = map[string]string{first: "v1.0.0", small: "v1.1.0", file: "v1.2.0", large: "v1.3.0", release: "v1.4.0"}

// A source is a place where releases come from, and how the device is told of it.
type source struct {
	name    string
	git     bool
	more    string // of the section source
	lines   string // other sections
	updates []string
}

var sources = []source{
	{name: "git", git: true, updates: []string{small, file, release}},
	{name: "git", git: true, updates: []string{large}, more: "lfs = true\nlfs_url = \"http://" + hostIP + ":8080/lfs\"\n"},
	{name: "folder", lines: "[patches]\nuse = \"never\"\n", updates: []string{small, file, release}},
	{name: "patches", lines: "[patches]\nuse = \"always\"\n", updates: []string{small, file, release}},
}

// A shop is what was released: for each update a folder with the repository
// station.git and the published folder station, in which that update is the
// newest release.
type shop struct {
	dir    string
	godwit string // the program
	seed   uint64
}

func (s *shop) at(update string) string { return filepath.Join(s.dir, versions[update]) }

func (s *shop) signers() string { return filepath.Join(s.dir, "allowed_signers") }

// tree gives the files of a release, by path.
func (s *shop) tree(update string) map[string][]byte {
	files := map[string][]byte{}
	for i := range 150 {
		name, c := fmt.Sprintf("lib/part%d/module%03d.bin", i%10, i), noise(s.seed, "old", i, 20_000)
		if update == release && i >= 50 {
			// Under another name: nobody can make a patch, so nobody need try.
			name, c = fmt.Sprintf("lib/part%d/new%03d.bin", i%10, i), noise(s.seed, "new", i, 20_000)
		} else if update == release {
			// Three edits, a third of the file.
			for k := range 3 {
				copy(c[2_000+6_000*k:], noise(s.seed, fmt.Sprint("edit ", k), i, 2_000))
			}
		}
		files[name] = c
	}
	for i := range 5 {
		var b strings.Builder
		for n := range 80 {
			fmt.Fprintf(&b, "setting_%d_%d = %q # %s\n", i, n, "value", versions[first])
			if update == small && i < 3 && n%20 == 7 {
				fmt.Fprintf(&b, "added_%d_%d = %x\n", i, n, noise(s.seed, update, i*100+n, 40))
			}
		}
		files[fmt.Sprintf("etc/settings%d.conf", i)] = []byte(b.String())
	}
	if update == file || update == large {
		files["data/model.bin"] = noise(s.seed, "model", 0, 1_000_000)
	}
	return files
}

// noise is bytes that nobody can compress, always the same.
func noise(seed uint64, what string, n, size int) []byte {
	var key [32]byte
	copy(key[:], fmt.Sprint(seed, " ", n, " ", what))
	b := make([]byte, size)
	rand.NewChaCha8(key).Read(b)
	return b
}

// prepare builds the program and makes the releases that runs need, unless those
// of an earlier run are to be used.
func prepare(out string, seed uint64, reuse bool, runs []run) (*shop, error) {
	dir, err := filepath.Abs(out)
	if err != nil {
		return nil, err
	}
	s := &shop{dir: dir, godwit: filepath.Join(dir, "godwit"), seed: seed}
	if !reuse {
		if err := os.RemoveAll(dir); err != nil {
			return nil, err
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	if err := s.sh(".", "go", "build", "-tags", "nethttpomithttp2", "-o", s.godwit, "github.com/godwit-ota/godwit/cmd/godwit"); err != nil {
		return nil, err
	}
	if reuse {
		return s, nil
	}
	key := filepath.Join(dir, "key")
	if err := s.sh(dir, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", key); err != nil {
		return nil, err
	}
	public, err := os.ReadFile(key + ".pub")
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(s.signers(), append([]byte("author@example.org "), public...), 0o644); err != nil {
		return nil, err
	}
	work := filepath.Join(dir, "work")
	if err := s.sh(dir, "git", "init", "--quiet", "--initial-branch=main", work); err != nil {
		return nil, err
	}
	for _, u := range []string{first, small, file, large, release} {
		if u != first && !slices.ContainsFunc(runs, func(r run) bool { return r.update == u }) {
			continue
		}
		if err := s.release(work, u, key); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// release makes one release and the folder in which it is the newest.
func (s *shop) release(work, update, key string) error {
	version, at := versions[update], s.at(update)
	if update != first {
		if err := s.sh(work, "git", "checkout", "--quiet", versions[first]); err != nil {
			return err
		}
	}
	if err := os.RemoveAll(filepath.Join(work, "lib")); err != nil {
		return err
	}
	for name, c := range s.tree(update) {
		if update == large && len(c) >= 1_000_000 {
			sum := sha256.Sum256(c)
			if err := os.MkdirAll(filepath.Join(at, "lfs"), 0o755); err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(at, "lfs", hex.EncodeToString(sum[:])), c, 0o644); err != nil {
				return err
			}
			c = fmt.Appendf(nil, "version https://git-lfs.github.com/spec/v1\noid sha256:%x\nsize %d\n", sum, len(c))
		}
		name = filepath.Join(work, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(name, c, 0o644); err != nil {
			return err
		}
	}
	repository, published := filepath.Join(at, "station.git"), filepath.Join(at, "station")
	push := []string{"git", "push", "--quiet", repository, versions[first]}
	if update != first {
		push = append(push, version)
	}
	for _, args := range [][]string{
		{"git", "add", "--all"},
		{"git", "commit", "--quiet", "--message", "Release " + version},
		{s.godwit, "tag", version, "--product", "station", "--key", key},
		{"git", "init", "--quiet", "--bare", "--initial-branch=main", repository},
		push,
	} {
		if err := s.sh(work, args...); err != nil {
			return err
		}
	}
	if update == large {
		return nil // a pointer is of no use in a published folder
	}
	if update != first {
		if err := os.CopyFS(published, os.DirFS(filepath.Join(s.at(first), "station"))); err != nil {
			return err
		}
	}
	return s.sh(work, s.godwit, "publish", "--out", published, "--rev", version, "--channel", "stable", "--key", key)
}

// sh runs a program without the user's own configuration of git.
func (s *shop) sh(dir string, args ...string) error {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL="+os.DevNull,
		"GIT_AUTHOR_NAME=A U Thor", "GIT_AUTHOR_EMAIL=author@example.org", "GIT_COMMITTER_NAME=A U Thor", "GIT_COMMITTER_EMAIL=author@example.org")
	if b, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(b)))
	}
	return nil
}
