package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
)

// A repo is a repository that comes out the same every time: version v of its
// tree is refs/tags/v.
type repo struct {
	name     string
	files    int             // text files of 0.5 to 8 kB
	versions int             // 1 … versions
	changed  func(v int) int // files that version v edits
	big      int64           // bytes of one large file more; 0 for none
	fresh    bool            // the large file is new in each version, not edited here and there
}

func share(n int) func(int) int { return func(int) int { return n } }

var repos = map[string]repo{
	"6k":     {name: "6k", files: 6000, versions: 6, changed: share(60)},
	"6k-all": {name: "6k-all", files: 6000, versions: 2, changed: share(6000)},
	"20k":    {name: "20k", files: 20000, versions: 2, changed: share(20000)},
	"64M":    {name: "64M", files: 6000, versions: 2, changed: share(60), big: 64 << 20},
	"256M":   {name: "256M", files: 6000, versions: 2, changed: share(60), big: 256 << 20},
	"5k":     {name: "5k", files: 5000, versions: 8, changed: share(5000)},
	"200M":   {name: "200M", files: 10, versions: 6, changed: share(1), big: 200 << 20, fresh: true},
}

// generation goes up when anything about the content changes.
const generation = 1

// make creates the bare repository below dir unless it is there.
func (r repo) make(dir string) error {
	final := filepath.Join(dir, fmt.Sprintf("%s-%d.git", r.name, generation))
	if _, err := os.Stat(final); err == nil {
		return nil
	}
	fmt.Fprintf(os.Stderr, "making the repository %s (once)\n", r.name)
	path := final + ".new"
	if err := os.RemoveAll(path); err != nil {
		return err
	}
	if err := git("", "init", "-q", "--bare", "-b", "main", path); err != nil {
		return err
	}
	if r.fresh {
		// Hosts do not look for deltas in files that are too large for it.
		if err := git(path, "config", "core.bigFileThreshold", "50m"); err != nil {
			return err
		}
	}
	cmd := exec.Command("git", "fast-import", "--quiet", "--done")
	cmd.Dir = path
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return err
	}
	w := bufio.NewWriterSize(in, 1<<20)
	for v := 1; v <= r.versions; v++ {
		r.commit(w, v)
	}
	io.WriteString(w, "done\n")
	if err := w.Flush(); err != nil {
		return err
	}
	in.Close()
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("git fast-import: %w", err)
	}
	if err := git(path, "repack", "-adfq", "--window=5", "--threads=2"); err != nil {
		return err
	}
	return os.Rename(path, final)
}

// commit writes version v in the format of git-fast-import(1).
func (r repo) commit(w *bufio.Writer, v int) {
	fmt.Fprintf(w, "commit refs/heads/main\ncommitter A <a@b> %d +0000\ndata 2\nv\n", 1700000000+v*86400)
	for i := range r.files {
		if v > 1 && !r.edits(i, v) {
			continue
		}
		text := r.text(i, v)
		fmt.Fprintf(w, "M %s inline %s\ndata %d\n%s\n", map[bool]string{true: "100755", false: "100644"}[i%50 == 7], r.path(i), len(text), text)
	}
	if r.big > 0 {
		fmt.Fprintf(w, "M 100644 inline data/large.bin\ndata %d\n", r.big)
		r.large(w, v)
		w.WriteByte('\n')
	}
	fmt.Fprintf(w, "reset refs/tags/%d\nfrom refs/heads/main\n\n", v)
}

func (r repo) path(i int) string {
	top := "lib"
	if i%10 == 0 {
		top = "app"
	}
	return fmt.Sprintf("%s/part%02d/group%d/module_%04d.py", top, i/10%40, i/400%5, i)
}

// lot is a number that depends on nothing but its arguments.
func lot(of ...int) uint64 {
	h := sha256.New()
	binary.Write(h, binary.LittleEndian, int64s(of))
	return binary.LittleEndian.Uint64(h.Sum(nil))
}

func int64s(of []int) []int64 {
	s := make([]int64, len(of))
	for i, n := range of {
		s[i] = int64(n)
	}
	return s
}

// edits reports whether version v changes file i.
func (r repo) edits(i, v int) bool {
	n := r.changed(v)
	return n >= r.files || (i+int(lot(v)%uint64(r.files)))%r.files%(r.files/n) == 0
}

// text is file i as it is in version v: each edit replaces one line in twelve.
func (r repo) text(i, v int) []byte {
	var b []byte
	lines := 10 + int(lot(i)%180)
	for l := range lines {
		last := 1
		for e := 2; e <= v; e++ {
			if r.edits(i, e) && (l+e+i)%12 == 0 {
				last = e
			}
		}
		b = append(b, line(rand.New(rand.NewPCG(uint64(i)<<32|uint64(l), uint64(last))))...)
	}
	return b
}

var words = []string{"self", "value", "sensor", "read", "return", "await", "if", "not", "None", "config", "time", "=", "==", "+", "(", ")", "def", "class", "count", "buffer", "offset", "state", "import", "for", "in", "range", "send", "queue", "level", "pressure"}

func line(r *rand.Rand) (b []byte) {
	for range 2 + r.IntN(9) {
		b = append(b, words[r.IntN(len(words))]...)
		b = append(b, ' ')
	}
	return fmt.Appendf(b, "%x\n", r.Uint32())
}

// large writes the large file as it is in version v, in blocks of 4 kB. An edit
// replaces one block in 400; a fresh file has nothing in common with the last.
func (r repo) large(w io.Writer, v int) {
	const block = 4096
	letters := "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ+-"
	b := make([]byte, block)
	for n := range int(r.big / block) {
		last := 1
		if r.fresh {
			last = v
		} else {
			for e := 2; e <= v; e++ {
				if lot(n, e)%400 == 0 {
					last = e
				}
			}
		}
		g := rand.New(rand.NewPCG(uint64(n), uint64(last)))
		for i := 0; i < block; i += 8 {
			u := g.Uint64()
			for k := range 8 {
				b[i+k] = letters[u>>(8*k)&63]
			}
		}
		w.Write(b)
	}
}

// git runs git in dir, without the user's own configuration.
func git(dir string, args ...string) error {
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = gitEnv()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("git %q: %w\n%s", args, err, out)
	}
	return nil
}

func gitEnv() []string {
	return append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_TERMINAL_PROMPT=0")
}
