package publish

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/trust/tagtext"
)

// A File is one file of a tree.
type File struct {
	Path string
	Mode godwit.Mode
	id   string // of its blob, in a revision
}

type byPath []File

func (f byPath) Len() int           { return len(f) }
func (f byPath) Less(i, j int) bool { return f[i].Path < f[j].Path }
func (f byPath) Swap(i, j int)      { f[i], f[j] = f[j], f[i] }

// A Tree is where the files of a release come from.
type Tree interface {
	// list gives the files in ascending byte order of path.
	list(ctx context.Context, without []string) ([]File, error)
	// open begins to read files; next gives the content of one.
	open(ctx context.Context) (next func(File) (io.ReadCloser, error), done func() error, err error)
}

// A Dir is a plain folder.
type Dir string

func (d Dir) list(ctx context.Context, without []string) (files []File, err error) {
	var skip []string
	for _, w := range without {
		skip = append(skip, place(w))
	}
	root := place(string(d))
	err = filepath.WalkDir(root, func(name string, e fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		if name != root && slices.Contains(skip, name) {
			if e.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if e.IsDir() {
			if name != root && e.Name() == ".git" {
				return fs.SkipDir
			}
			return nil
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		f := File{Path: filepath.ToSlash(rel), Mode: godwit.File}
		info, err := e.Info()
		switch {
		case err != nil:
			return err
		case info.Mode()&fs.ModeSymlink != 0:
			f.Mode = godwit.Symlink
		case !info.Mode().IsRegular():
			return usage(strconv.Quote(f.Path)+" is no file", "leave it out with --exclude")
		case info.Mode()&0o111 != 0:
			f.Mode = godwit.Executable
		}
		files = append(files, f)
		return nil
	})
	sort.Sort(byPath(files))
	return files, diskError(err)
}

// within reports whether the folder is one, or lies in one.
func (d Dir) within(folder string) bool {
	rel, err := filepath.Rel(place(folder), place(string(d)))
	return err == nil && filepath.IsLocal(rel)
}

// place is where a file or folder really is, or will be.
func place(name string) string {
	abs, err := filepath.Abs(name)
	if err != nil {
		return name
	}
	real, err := filepath.EvalSymlinks(abs)
	switch up, last := filepath.Split(abs); {
	case err == nil:
		return real
	case last != "":
		return filepath.Join(place(up), last)
	}
	return abs
}

func (d Dir) open(context.Context) (func(File) (io.ReadCloser, error), func() error, error) {
	root, err := os.OpenRoot(string(d))
	if err != nil {
		return nil, nil, diskError(err)
	}
	return func(f File) (io.ReadCloser, error) {
		if f.Mode == godwit.Symlink {
			target, err := root.Readlink(filepath.FromSlash(f.Path))
			return io.NopCloser(strings.NewReader(filepath.ToSlash(target))), diskError(err)
		}
		r, err := root.Open(filepath.FromSlash(f.Path))
		return r, diskError(err)
	}, root.Close, nil
}

// A Revision is a commit of a Git repository.
type Revision struct {
	Repo   string // folder of the repository or of a clone of it
	Commit string
	Tree   string
	Tag    string // the tag that the revision was named by, "" if it was none
	// Product is what the trailer of an annotated tag says, or git's configuration
	// (godwit.product); "" if neither does.
	Product string
}

// Resolve finds out what a revision is: a tag, a branch, a commit.
func Resolve(ctx context.Context, repo, rev string) (Revision, error) {
	r := Revision{Repo: repo}
	if strings.HasPrefix(rev, "-") {
		return r, usage("there is no revision "+strconv.Quote(rev), "")
	}
	if _, err := r.git(ctx, "rev-parse", "--git-dir"); err != nil {
		if godwit.CodeOf(err) == godwit.CodeUsage {
			err = usage("there is no Git repository here", "run it inside the clone, or take a plain folder with --from")
		}
		return r, err
	}
	out, err := r.git(ctx, "rev-parse", "--verify", "--end-of-options", rev+"^{commit}")
	if err != nil {
		if godwit.CodeOf(err) == godwit.CodeUsage {
			err = usage("there is no revision "+strconv.Quote(rev)+" in the repository", "check its name; `git fetch --tags` brings those that the clone lacks")
		}
		return r, err
	}
	r.Commit = out
	if r.Tree, err = r.git(ctx, "rev-parse", "--verify", r.Commit+"^{tree}"); err != nil {
		return r, err
	}
	if _, err := r.git(ctx, "show-ref", "--verify", "--quiet", "refs/tags/"+strings.TrimPrefix(rev, "refs/tags/")); err == nil {
		r.Tag = strings.TrimPrefix(rev, "refs/tags/")
		object, _ := r.git(ctx, "cat-file", "tag", "refs/tags/"+r.Tag)
		text, _ := tagtext.Split([]byte(object))
		if t, err := tagtext.Parse(text); err == nil {
			r.Product = t.Get("Product")
		}
	}
	if r.Product == "" {
		r.Product, _ = r.git(ctx, "config", "--get", "godwit.product")
	}
	return r, nil
}

func (r Revision) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = r.Repo
	cmd.Env = append(os.Environ(), "LC_ALL=C", "GIT_TERMINAL_PROMPT=0")
	return cmd
}

func (r Revision) git(ctx context.Context, args ...string) (string, error) {
	cmd := r.command(ctx, args...)
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	return strings.TrimSpace(string(out)), gitError(ctx, err, complaint.String())
}

func gitError(ctx context.Context, err error, complaint string) error {
	if err == nil || ctx.Err() != nil {
		return err
	}
	if errors.Is(err, exec.ErrNotFound) {
		return godwit.Fail(godwit.CodeFailed, err, "git is not installed here", "install it, or publish a plain folder with --from")
	}
	line, _, _ := strings.Cut(strings.TrimSpace(complaint), "\n")
	if line == "" {
		line = err.Error()
	}
	return usage("git says: "+line, "is this a repository, and is the revision in it?")
}

func (r Revision) list(ctx context.Context, _ []string) (files []File, err error) {
	cmd := r.command(ctx, "ls-tree", "-r", "-z", "--full-tree", r.Commit)
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		return nil, gitError(ctx, err, complaint.String())
	}
	for line := range strings.SplitSeq(string(out), "\x00") {
		if line == "" {
			continue
		}
		info, path, _ := strings.Cut(line, "\t")
		field := strings.Fields(info)
		if len(field) != 3 {
			return nil, godwit.Fail(godwit.CodeFailed, nil, "git prints a tree in a way that is not understood", "")
		}
		f := File{Path: path, id: field[2]}
		switch field[0] {
		case "100755":
			f.Mode = godwit.Executable
		case "120000":
			f.Mode = godwit.Symlink
		case "160000":
			return nil, godwit.Fail(godwit.CodeSubmodule, nil, strconv.Quote(path)+" is a submodule, whose files are not in the repository", "publish a plain folder that has them, with --from")
		default:
			f.Mode = godwit.File
		}
		files = append(files, f)
	}
	sort.Sort(byPath(files))
	return files, nil
}

func (r Revision) open(ctx context.Context) (func(File) (io.ReadCloser, error), func() error, error) {
	cmd := r.command(ctx, "cat-file", "--batch")
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, nil, err
	}
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, nil, gitError(ctx, err, "")
	}
	out := bufio.NewReader(pipe)
	next := func(f File) (io.ReadCloser, error) {
		if _, err := io.WriteString(in, f.id+"\n"); err != nil {
			return nil, err
		}
		line, err := out.ReadString('\n')
		if err != nil {
			return nil, gitError(ctx, err, "")
		}
		field := strings.Fields(line)
		if len(field) != 3 || field[1] != "blob" {
			return nil, godwit.Fail(godwit.CodeFailed, nil, "git does not have the content of "+strconv.Quote(f.Path), "fetch it: git fetch --refetch")
		}
		size, err := strconv.ParseInt(field[2], 10, 64)
		return blob{&io.LimitedReader{R: out, N: size}, out}, err
	}
	done := func() error {
		in.Close()
		io.Copy(io.Discard, out)
		return gitError(ctx, cmd.Wait(), "")
	}
	return next, done, nil
}

// A blob is a content in the output of git cat-file, which a line feed follows.
type blob struct {
	*io.LimitedReader
	out *bufio.Reader
}

func (b blob) Close() error {
	if _, err := io.Copy(io.Discard, b.LimitedReader); err != nil {
		return err
	}
	if b.N > 0 {
		return io.ErrUnexpectedEOF
	}
	_, err := b.out.Discard(1)
	return err
}
