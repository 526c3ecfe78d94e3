package githost

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
)

// A Repo is a bare repository that a Host can serve. Its methods run git
// without the user's own configuration.
type Repo struct {
	Dir  string
	time int64 // of the next commit, so that ids are the same on every run
}

// InitRepo makes an empty bare repository in dir, with HEAD at the branch main.
// format is "sha1" or "sha256".
func InitRepo(dir, format string) (*Repo, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	r := OpenRepo(dir)
	_, err := r.Git("init", "--quiet", "--bare", "--initial-branch=main", "--object-format="+format, ".")
	return r, err
}

// OpenRepo gives a Repo for the repository that exists in dir.
func OpenRepo(dir string) *Repo { return &Repo{Dir: dir, time: 1_700_000_000} }

// Git runs git in the repository and returns what it printed, without the last
// line end.
func (r *Repo) Git(args ...string) (string, error) { return r.GitInput(nil, args...) }

// GitInput is Git with standard input.
func (r *Repo) GitInput(stdin io.Reader, args ...string) (string, error) {
	cmd := exec.Command("git", args...)
	cmd.Dir = r.Dir
	cmd.Stdin = stdin
	cmd.Env = append(os.Environ(),
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=A U Thor", "GIT_AUTHOR_EMAIL=author@example.org",
		"GIT_COMMITTER_NAME=C O Mitter", "GIT_COMMITTER_EMAIL=committer@example.org",
		fmt.Sprintf("GIT_AUTHOR_DATE=%d +0000", r.time), fmt.Sprintf("GIT_COMMITTER_DATE=%d +0000", r.time))
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("git %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(problems.Bytes()))
	}
	return strings.TrimSuffix(out.String(), "\n"), nil
}

// A Change is what a commit does to one path.
type Change struct {
	Mode    string // "100644" (default), "100755", "120000"; "160000" with Content a commit id; "remove"
	Content []byte
}

// Text is a Change to a plain file.
func Text(s string) Change { return Change{Content: []byte(s)} }

// Exec is a Change to an executable file.
func Exec(s string) Change { return Change{Mode: "100755", Content: []byte(s)} }

// Remove is a Change that removes a file or a folder.
func Remove() Change { return Change{Mode: "remove"} }

// Commit adds a commit with the changes to branch, which it begins if it is
// new, and returns the commit's id.
func (r *Repo) Commit(branch, message string, changes map[string]Change) (string, error) {
	ref := "refs/heads/" + branch
	parent, err := r.Git("for-each-ref", "--format=%(objectname)", ref)
	if err != nil {
		return "", err
	}
	paths := make([]string, 0, len(changes))
	for p := range changes {
		paths = append(paths, p)
	}
	sort.Strings(paths)
	pr, pw := io.Pipe()
	go func() {
		w := bufio.NewWriter(pw)
		fmt.Fprintf(w, "commit %s\ncommitter C O Mitter <committer@example.org> %d +0000\ndata %d\n%s\n", ref, r.time, len(message), message)
		if parent != "" {
			fmt.Fprintf(w, "from %s\n", parent)
		}
		for _, p := range paths {
			c := changes[p]
			name := `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(p) + `"`
			switch c.Mode {
			case "remove":
				fmt.Fprintf(w, "D %s\n", name)
			case "160000":
				fmt.Fprintf(w, "M 160000 %s %s\n", c.Content, name)
			default:
				mode := c.Mode
				if mode == "" {
					mode = "100644"
				}
				fmt.Fprintf(w, "M %s inline %s\ndata %d\n", mode, name, len(c.Content))
				w.Write(c.Content)
				w.WriteByte('\n')
			}
		}
		pw.CloseWithError(w.Flush())
	}()
	_, err = r.GitInput(pr, "fast-import", "--quiet", "--date-format=raw")
	pr.Close()
	if err != nil {
		return "", err
	}
	r.time += 60
	return r.Git("rev-parse", ref)
}

// Tag makes an annotated tag of commit and returns the tag object's id.
func (r *Repo) Tag(name, commit, message string) (string, error) {
	if _, err := r.Git("tag", "--annotate", "--force", "--message="+message, name, commit); err != nil {
		return "", err
	}
	return r.Git("rev-parse", "refs/tags/"+name)
}

// Export writes the tree of revision rev into the new folder dir, by git's own
// hand: what a device should look like.
func (r *Repo) Export(rev, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	index, err := filepath.Abs(dir + ".index")
	if err != nil {
		return err
	}
	defer os.Remove(index)
	abs, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	cmd := exec.Command("git", "--git-dir=.", "--work-tree="+abs, "-c", "core.autocrlf=false", "-c", "core.bare=false",
		"read-tree", "-u", "--reset", rev)
	cmd.Dir = r.Dir
	cmd.Env = append(os.Environ(), "GIT_INDEX_FILE="+index, "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL="+os.DevNull)
	if out, err := cmd.CombinedOutput(); err != nil {
		return errors.New("git read-tree: " + err.Error() + ": " + string(out))
	}
	return nil
}
