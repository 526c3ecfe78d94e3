package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// device makes one with version v of the repository installed.
func (b *run) device(c client, r repo, v int, filter string, https bool) (*device, sample, error) {
	if err := r.make(b.root); err != nil {
		return nil, sample{}, err
	}
	dir, err := os.MkdirTemp(b.out, c.name+"-")
	if err != nil {
		return nil, sample{}, err
	}
	d := &device{client: c, host: b.http, repo: r, dir: dir, filter: filter}
	if https {
		d.host, d.ca = b.https, b.ca
	}
	if err := d.configure(); err != nil {
		return nil, sample{}, err
	}
	if err := release(b.root, r, v); err != nil {
		return nil, sample{}, err
	}
	s, err := d.measure(d.install(d))
	return d, s, err
}

// steps updates one device of each client through the versions from..to, in
// turn, and gives the samples of each client. Every tree is compared with what
// git says it should be after the last step.
func (b *run) steps(r repo, from, to int, filter string, https bool, clients []client) ([][]sample, error) {
	var devices []*device
	defer func() {
		for _, d := range devices {
			os.RemoveAll(d.dir)
		}
	}()
	for _, c := range clients {
		d, _, err := b.device(c, r, from, filter, https)
		if d != nil {
			devices = append(devices, d)
		}
		if err != nil {
			return nil, err
		}
	}
	samples := make([][]sample, len(clients))
	for v := from + 1; v <= to; v++ {
		if err := release(b.root, r, v); err != nil {
			return nil, err
		}
		for i, d := range devices {
			settle()
			s, err := d.measure(d.update(d))
			if err != nil {
				return nil, err
			}
			samples[i] = append(samples[i], s)
		}
	}
	for _, d := range devices {
		if err := d.check(b.root, to); err != nil {
			return nil, err
		}
	}
	return samples, nil
}

// settle writes back what others left behind, so that nobody pays for it.
func settle() { exec.Command("sync").Run() }

// check compares the tree with version v by content.
func (d *device) check(root string, v int) error {
	tree := d.tree()
	if d.name == "godwit" {
		tree = filepath.Join(tree, "current")
	}
	out, err := exec.Command("git", "-C", filepath.Join(root, d.repo.serves()), "ls-tree", "-r", "-z", fmt.Sprintf("refs/tags/%d", v)).Output()
	if err != nil {
		return err
	}
	var want, paths []string
	for line := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		info, path, _ := strings.Cut(line, "\t")
		if strings.HasPrefix(path, d.filter) {
			want = append(want, strings.Fields(info)[2])
			paths = append(paths, path)
		}
	}
	if len(paths) == 0 {
		return errors.New("nothing to compare")
	}
	hash := exec.Command("git", "hash-object", "--no-filters", "--stdin-paths")
	hash.Dir = tree
	hash.Env = append(gitEnv(), "GIT_DIR=/nonexistent") // not the repository that this folder may lie in
	hash.Stdin = strings.NewReader(strings.Join(paths, "\n") + "\n")
	got, err := hash.Output()
	if err != nil {
		return fmt.Errorf("%s: hashing its tree: %w", d.name, err)
	}
	if strings.TrimSpace(string(got)) != strings.Join(want, "\n") {
		return fmt.Errorf("%s: its tree is not version %d of %s", d.name, v, d.repo.name)
	}
	return nil
}

func wire(s sample) int64         { return s.In + s.Out }
func rss(s sample) int64          { return s.RSS }
func wall(s sample) time.Duration { return s.Wall }

func (b *run) bytes() error {
	fmt.Fprintf(b.w, "\n## Bytes on the wire\n\nBoth ways, with HTTP headers. Median of the steps. git: `git fetch --depth=1`.\n\n"+
		"| update | godwit | git | go-git | godwit : git | go-git : godwit |\n|---|--:|--:|--:|--:|--:|\n")
	for _, c := range []struct {
		name   string
		repo   repo
		filter string
	}{
		{"60 of 6,000 files edited", repos["6k"], ""},
		{"the same, only `app/` wanted", repos["6k"], "app/"},
		{"all of 6,000 files edited", repos["6k-all"], ""},
		{"64 MB file edited in 40 places, and 60 files", repos["64M"], ""},
	} {
		s, err := b.steps(c.repo, 1, c.repo.versions, c.filter, false, b.clients)
		if err != nil {
			return err
		}
		own, git, gogit := median(s[0], wire), median(s[1], wire), median(s[2], wire)
		fmt.Fprintf(b.w, "| %s | %s | %s | %s | %.2f | %.1f |\n", c.name, kB(own), kB(git), kB(gogit),
			float64(own)/float64(git), float64(gogit)/float64(own))
	}
	fmt.Fprintf(b.w, "\n| nothing new | godwit | git | go-git |\n|---|--:|--:|--:|\n")
	var polls []sample
	for _, c := range b.clients {
		d, _, err := b.device(c, repos["6k"], 1, "", false)
		if err != nil {
			return err
		}
		s, err := d.measure(d.poll(d))
		if err != nil {
			return err
		}
		polls = append(polls, s)
		os.RemoveAll(d.dir)
	}
	fmt.Fprintf(b.w, "| requests | %d | %d | %d |\n| bytes both ways | %d | %d | %d |\n",
		polls[0].Requests, polls[1].Requests, polls[2].Requests, wire(polls[0]), wire(polls[1]), wire(polls[2]))
	return nil
}

func (b *run) memory() error {
	fmt.Fprintf(b.w, "\n## Memory\n\nPeak resident set of an update (of git: of the largest of its processes).\n\n"+
		"| update | over | godwit | git | go-git | go-git : godwit |\n|---|---|--:|--:|--:|--:|\n")
	for _, c := range []struct {
		name string
		repo repo
	}{
		{"60 of 6,000 files edited", repos["6k"]},
		{"all of 6,000 files edited", repos["6k-all"]},
		{"all of 20,000 files edited", repos["20k"]},
		{"64 MB file edited, 6,000 files", repos["64M"]},
		{"256 MB file edited, 6,000 files", repos["256M"]},
	} {
		for _, https := range []bool{false, true} {
			s, err := b.steps(c.repo, 1, min(c.repo.versions, 4), "", https, b.clients)
			if err != nil {
				return err
			}
			own, git, gogit := median(s[0], rss), median(s[1], rss), median(s[2], rss)
			fmt.Fprintf(b.w, "| %s | %s | %s | %s | %s | %.1f |\n", c.name, map[bool]string{false: "http", true: "https"}[https],
				mb(own), mb(git), mb(gogit), float64(gogit)/float64(own))
		}
	}
	fmt.Fprintf(b.w, "\n| first install | over | godwit | git | go-git |\n|---|---|--:|--:|--:|\n")
	for _, https := range []bool{false, true} {
		fmt.Fprintf(b.w, "| 6,000 files | %s |", map[bool]string{false: "http", true: "https"}[https])
		for _, c := range b.clients {
			d, s, err := b.device(c, repos["6k"], 1, "", https)
			if err != nil {
				return err
			}
			fmt.Fprintf(b.w, " %s |", mb(s.RSS))
			os.RemoveAll(d.dir)
		}
		fmt.Fprintln(b.w)
	}
	return nil
}

func (b *run) speed() error {
	fmt.Fprintf(b.w, "\n## Speed\n\nFrom the command to a tree that survives a power cut. Runs in turn; the ratio is the median of the pairs'.\n"+
		"git: `git fetch --depth=1 && git checkout && sync -f`.\n\n"+
		"| update | pairs | godwit | git | godwit : git |\n|---|--:|--:|--:|--:|\n")
	for _, c := range []struct {
		name string
		repo repo
	}{
		{"5,000 files edited", repos["5k"]},
		{"one new file of 200 MB", repos["200M"]},
	} {
		s, err := b.steps(c.repo, 1, c.repo.versions, "", false, b.clients[:2])
		if err != nil {
			return err
		}
		var ratios []float64
		for i := range s[0] {
			ratios = append(ratios, float64(s[0][i].Wall)/float64(s[1][i].Wall))
		}
		fmt.Fprintf(b.w, "| %s | %d | %.2f s | %.2f s | %.2f |\n", c.name, len(ratios), median(s[0], wall).Seconds(), median(s[1], wall).Seconds(),
			median(ratios, func(f float64) float64 { return f }))
	}
	return nil
}

func (b *run) size() error {
	fmt.Fprintf(b.w, "\n## Size\n\n| program | bytes | |\n|---|--:|---|\n")
	own, err := size(b.godwit)
	if err != nil {
		return err
	}
	fmt.Fprintf(b.w, "| godwit | %d | static |\n", own)
	other, err := size(b.gogit)
	if err != nil {
		return err
	}
	fmt.Fprintf(b.w, "| an updater of 70 lines with go-git | %d | static, %.2f × |\n", other, float64(other)/float64(own))
	core, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		return err
	}
	var all int64
	for _, name := range []string{"git", "git-remote-http"} {
		n, err := size(filepath.Join(strings.TrimSpace(string(core)), name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		all += n
	}
	fmt.Fprintf(b.w, "| git and git-remote-http | %d | and their shared libraries |\n", all)
	return nil
}

func size(file string) (int64, error) {
	i, err := os.Stat(file)
	if err != nil {
		return 0, err
	}
	return i.Size(), nil
}

func kB(n int64) string {
	if n >= 10_000_000 {
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	}
	return fmt.Sprintf("%.1f kB", float64(n)/1e3)
}

// mb is in 10^6 bytes, the stricter way to read a limit in MB.
func mb(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }
