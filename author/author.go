// Package author is the other end of an update: it makes what devices check.
// In a clone of the repository it signs the tags of releases and of channels,
// and pushes them. A key is never read here: ssh-keygen signs, so that agents,
// passphrases and keys in hardware work as they do elsewhere.
//
// It leaves to others: manifests and published folders (publish), and whether a
// device would take what was made (trust).
//
// Invariant: every signature was verified after it was made, before anything
// is written. The repository's refs change last, and only from the values that
// were looked at: two authors cannot overwrite each other.
package author

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/godwit-ota/godwit"
)

// A Repository is a clone in which releases are made, or a bare repository.
type Repository struct {
	dir    string
	remote string
	signer Signer
	now    func() time.Time
}

// Options say how to work in a Repository.
type Options struct {
	Dir    string           // in the repository; "" is here
	Remote string           // "" is "origin"
	Signer Signer           // for what signs
	Now    func() time.Time // nil means time.Now
}

// Open finds the repository.
func Open(ctx context.Context, o Options) (*Repository, error) {
	r := &Repository{dir: o.Dir, remote: o.Remote, signer: o.Signer, now: o.Now}
	if r.remote == "" {
		r.remote = "origin"
	}
	if r.now == nil {
		r.now = time.Now
	}
	if _, err := r.git(ctx, nil, "rev-parse", "--git-dir"); err != nil {
		if errors.Is(err, exec.ErrNotFound) {
			return nil, err
		}
		return nil, misuse("there is no Git repository here", "run it in a clone of the repository that devices follow")
	}
	return r, nil
}

// git runs git and returns what it printed, without white space at the end.
func (r *Repository) git(ctx context.Context, stdin []byte, args ...string) (string, error) {
	out, err := r.raw(ctx, stdin, args...)
	return strings.TrimRight(string(out), "\n"), err
}

// raw runs git and returns what it printed.
func (r *Repository) raw(ctx context.Context, stdin []byte, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = r.dir
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	if stdin != nil {
		cmd.Stdin = bytes.NewReader(stdin)
	}
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	err := cmd.Run()
	switch {
	case err == nil:
		return out.Bytes(), nil
	case errors.Is(err, exec.ErrNotFound):
		return nil, godwit.Fail(godwit.CodeFailed, err, "git is not installed", "install git: releases are made in a Git repository")
	case ctx.Err() != nil:
		return nil, ctx.Err()
	}
	return nil, godwit.Fail(godwit.CodeFailed, nil, "git "+args[0]+" failed: "+lastLine(complaint.String()), "")
}

// refuse is for what would be a mistake, misuse for what can be given otherwise.
func refuse(text, hint string) error { return godwit.Fail(godwit.CodeRefused, nil, text, hint) }
func misuse(text, hint string) error { return godwit.Fail(godwit.CodeUsage, nil, text, hint) }

// lastLine is the line of a complaint that says most.
func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	for _, l := range lines {
		for _, mark := range []string{"fatal: ", "error: ", "! "} {
			if text, ok := strings.CutPrefix(strings.TrimSpace(l), mark); ok {
				return text
			}
		}
	}
	return lines[len(lines)-1]
}

// config gives a value of git's configuration, "" if it is not set.
func (r *Repository) config(ctx context.Context, name string) string {
	v, err := r.git(ctx, nil, "config", "--get", name)
	if err != nil {
		return ""
	}
	return v
}

// ref gives the id of what a ref names, "" if there is none.
func (r *Repository) ref(ctx context.Context, name string) (string, error) {
	out, err := r.git(ctx, nil, "for-each-ref", "--format=%(refname) %(objectname)", name)
	for _, line := range strings.Split(out, "\n") { // name may be a pattern
		if id, ok := strings.CutPrefix(line, name+" "); ok {
			return id, nil
		}
	}
	return "", err
}

// remoteRefs gives the refs of the remote that match a pattern: name to id.
func (r *Repository) remoteRefs(ctx context.Context, patterns ...string) (map[string]string, error) {
	out, err := r.git(ctx, nil, append([]string{"ls-remote", "--refs", r.remote}, patterns...)...)
	if err != nil {
		return nil, godwit.Fail(godwit.CodeNetwork, err, "the remote "+r.remote+" cannot be asked", "look at `git remote -v`, or work without it: --no-push")
	}
	refs := map[string]string{}
	for _, line := range strings.Split(out, "\n") {
		if id, name, ok := strings.Cut(line, "\t"); ok {
			refs[name] = id
		}
	}
	return refs, nil
}

// write stores a tag object.
func (r *Repository) write(ctx context.Context, object []byte) (id string, err error) {
	return r.git(ctx, object, "mktag")
}

// tagger is who makes a tag, and when, in git's form.
func (r *Repository) tagger(ctx context.Context) (string, error) {
	who, err := r.git(ctx, nil, "var", "GIT_COMMITTER_IDENT")
	if err != nil {
		return "", godwit.Fail(godwit.CodeUsage, err, "git does not know who you are", "git config user.name and user.email")
	}
	return who, nil
}

// A Signer signs with an SSH key, by ssh-keygen -Y sign.
type Signer struct {
	// Key is the file of a private key, or of a public one whose private half an
	// agent has, or the public key itself: "ssh-ed25519 AAAA…", "key::…" as in
	// git's user.signingkey.
	Key string
	// Notes gets what the person at the keyboard has to do, such as to touch a
	// security key. Passphrases are asked for on the terminal. May be nil.
	Notes io.Writer
}
