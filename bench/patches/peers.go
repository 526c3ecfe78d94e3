package patches

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/godwit-ota/godwit/bench/corpus"
)

// whole is the peer that does without the old version.
const whole = "xz, full file"

// A peer is another way to get from old to new.
type peer struct {
	name string
	what string // version and options; part of the cache's key
	// make gives commands, of which the smallest patch counts.
	make  func(old, new, patch string) [][]string
	apply func(old, patch, new string) []string
}

// A peerResult is a patch that was applied and gave the new bytes.
type peerResult struct {
	size int64
	rss  int64 // of the one that applied it
}

// peers gives those that are on this machine, and what is not.
func peers(store *corpus.Store) (all []peer, absent []string) {
	for _, p := range []struct {
		name, version, what string
		make                func(old, new, patch string) [][]string
		apply               func(old, patch, new string) []string
	}{
		{"bsdiff", "bsdiff", "as it is",
			func(old, new, patch string) [][]string { return [][]string{{"bsdiff", old, new, patch}} },
			func(old, patch, new string) []string { return []string{"bspatch", old, new, patch} }},
		{"xdelta3", "xdelta3 -V", "-9 -n -A -I 0 -W 8M -B as large as the old file, the smaller of -S lzma and -S djw", xdelta,
			func(old, patch, new string) []string {
				return []string{"xdelta3", "-d", "-f", "-B", "134217728", "-s", old, patch, new}
			}},
		{"zstd", "zstd --version", "-22 --ultra --long=27 --patch-from --no-check, the smaller of that and with targetLength=4096 in one thread",
			func(old, new, patch string) [][]string {
				plain := []string{"zstd", "-q", "-f", "-22", "--ultra", "--long=27", "--no-check", "--patch-from=" + old, new, "-o", patch}
				return [][]string{plain, append([]string{"zstd", "--single-thread", "--zstd=targetLength=4096"}, plain[1:]...)}
			},
			func(old, patch, new string) []string {
				return []string{"zstd", "-q", "-f", "-d", "--long=27", "--patch-from=" + old, patch, "-o", new}
			}},
		{whole, "xz --version", "-9e --check=none",
			func(old, new, patch string) [][]string {
				return [][]string{{"sh", "-c", `exec xz -9e --check=none -T1 -c "$1" >"$2"`, "sh", new, patch}}
			},
			func(old, patch, new string) []string {
				return []string{"sh", "-c", `exec xz -dc "$1" >"$2"`, "sh", patch, new}
			}},
	} {
		args := strings.Fields(p.version)
		if _, err := exec.LookPath(args[0]); err != nil {
			absent = append(absent, p.name+": not installed")
			continue
		}
		all = append(all, peer{p.name, strings.TrimSpace(version(args) + " " + p.what), p.make, p.apply})
	}
	h, err := hdiff(store)
	if err != nil {
		return all, append(absent, "HDiffPatch: "+strings.SplitN(err.Error(), "\n", 2)[0])
	}
	// Before the full file, which comes last.
	all = append(all, h)
	for i := len(all) - 1; i > 0 && all[i-1].name == whole; i-- {
		all[i-1], all[i] = all[i], all[i-1]
	}
	return all, absent
}

// version is the first number with a dot that a program gives of itself; those
// that give none are known by what they do.
func version(args []string) string {
	if len(args) < 2 {
		return ""
	}
	out, _ := exec.Command(args[0], args[1:]...).CombinedOutput()
	for _, word := range strings.Fields(string(out)) {
		word = strings.Trim(word, "v,;()")
		if word != "" && word[0] >= '0' && word[0] <= '9' && strings.Contains(word, ".") {
			return word
		}
	}
	return ""
}

// xdelta3 wants to be told that it may look at all of the old file.
func xdelta(old, new, patch string) [][]string {
	window := int64(1 << 19)
	if n, err := size(old); err == nil {
		window = max(window, n)
	}
	var all [][]string
	for _, second := range []string{"lzma", "djw"} {
		all = append(all, []string{"xdelta3", "-e", "-f", "-9", "-n", "-A", "-I", "0", "-W", "8388608",
			"-B", strconv.FormatInt(window, 10), "-S", second, "-s", old, new, patch})
	}
	return all
}

// try makes a peer's patch, applies it and checks what came out.
func (b *run) try(p peer, old, new, newSum string) (r peerResult, err error) {
	best := filepath.Join(b.tmp, "best")
	for _, args := range p.make(old, new, filepath.Join(b.tmp, "patch")) {
		file := filepath.Join(b.tmp, "patch")
		os.Remove(file)
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			return r, fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, out)
		}
		n, err := size(file)
		if err != nil {
			return r, err
		}
		if r.size == 0 || n < r.size {
			r.size = n
			if err := os.Rename(file, best); err != nil {
				return r, err
			}
		}
	}
	got := filepath.Join(b.tmp, "got")
	os.RemoveAll(got) // it may be a tree that godwit laid
	cost, err := b.Measure(p.apply(old, best, got)...)
	if err != nil {
		return r, err
	}
	r.rss = cost.RSS
	if sum, err := corpus.Sum(got); err != nil || sum != newSum {
		return r, errors.Join(errors.New("its patch gives other bytes"), err)
	}
	return r, nil
}

// A cache keeps what peers did: their patches never change. It is a list of
// tool, old digest, new digest, size and memory.
type cache struct {
	file string
	all  map[cacheKey]peerResult
}

type cacheKey struct{ tool, old, new string }

func openCache(file string) *cache {
	c := &cache{file, map[cacheKey]peerResult{}}
	data, _ := os.ReadFile(file)
	scan := bufio.NewScanner(bytes.NewReader(data))
	for scan.Scan() {
		f := strings.Split(scan.Text(), "\t")
		if len(f) != 5 {
			continue // a line that a kill cut short
		}
		n, err1 := strconv.ParseInt(f[3], 10, 64)
		rss, err2 := strconv.ParseInt(f[4], 10, 64)
		if err1 == nil && err2 == nil {
			c.all[cacheKey{f[0], f[1], f[2]}] = peerResult{n, rss}
		}
	}
	return c
}

func (c *cache) get(k cacheKey) (peerResult, bool) {
	r, ok := c.all[k]
	return r, ok
}

func (c *cache) put(k cacheKey, r peerResult) error {
	c.all[k] = r
	f, err := os.OpenFile(c.file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "%s\t%s\t%s\t%d\t%d\n", k.tool, k.old, k.new, r.size, r.rss)
	return errors.Join(err, f.Close())
}
