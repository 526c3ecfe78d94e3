package corpus

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// A Store is the folder that the corpus is laid out in:
//
//	files/SET/CLASS/NAME/old and new    what is compared
//	packages/                           what it was taken from
//	pairs.txt                           the list: set, class, name, old path, new path
type Store struct {
	Dir  string
	Log  io.Writer
	apt  *apt
	open map[string]map[string][]byte // the package that was read last
}

// A Have is a pair that is there.
type Have struct {
	Pair
	OldPath, NewPath string // files, or folders of a tree
}

// Fetch brings those pairs of the table that are wanted and not there yet, and
// writes pairs.txt, which lists all that is there. Pairs that cannot be had
// are told in the error; the others are there all the same.
func (s *Store) Fetch(table []Pair, wanted func(Pair) bool, lock Lock) error {
	var failed []error
	for _, p := range table {
		if !wanted(p) {
			continue
		}
		if err := s.bring(p, lock); err != nil {
			failed = append(failed, fmt.Errorf("%s %s: %w", p.Set, p.Name, err))
		}
	}
	var list strings.Builder
	for _, h := range s.There(table) {
		fmt.Fprintf(&list, "%s\t%s\t%s\t%s\t%s\n", h.Set, h.Class, h.Name, h.OldPath, h.NewPath)
	}
	failed = append(failed, replace(filepath.Join(s.Dir, "pairs.txt"), []byte(list.String())))
	return errors.Join(failed...)
}

// There gives the pairs of the table whose files are there.
func (s *Store) There(table []Pair) []Have {
	var have []Have
	for _, p := range table {
		h := s.at(p)
		if fresh(p.Old, h.OldPath) && fresh(p.New, h.NewPath) {
			have = append(have, h)
		}
	}
	return have
}

func (s *Store) at(p Pair) Have {
	dir := filepath.Join(s.Dir, "files", p.Set, p.Class, p.Name)
	return Have{Pair: p, OldPath: filepath.Join(dir, "old"), NewPath: filepath.Join(dir, "new")}
}

// fresh says whether path holds the item. A note beside it tells: a changed
// line of the table must not keep the files of the line before.
func fresh(i Item, path string) bool {
	was, err := os.ReadFile(path + noted)
	return err == nil && string(was) == i.String()
}

const noted = ".from"

// bring makes both sides of a pair, unless they are there, and holds them to
// the lock.
func (s *Store) bring(p Pair, lock Lock) error {
	h := s.at(p)
	for _, side := range []struct {
		name, path string
		item       Item
	}{{"old", h.OldPath, p.Old}, {"new", h.NewPath, p.New}} {
		if !fresh(side.item, side.path) {
			fmt.Fprintf(s.Log, "%s %s: %s\n", p.Set, p.Name, side.item)
			os.Remove(side.path + noted)
			if err := os.RemoveAll(side.path); err != nil {
				return err
			}
			if err := s.lay(side.item, side.path); err != nil {
				return fmt.Errorf("%s: %w", side.item, err)
			}
			if err := os.WriteFile(side.path+noted, []byte(side.item.String()), 0o644); err != nil {
				return err
			}
		}
		if err := lock.check(p.Set+"/"+p.Name+"/"+side.name, side.path); err != nil {
			return err
		}
	}
	if lock.same(p) {
		return errors.New("both versions are the same bytes")
	}
	return nil
}

func (i Item) String() string {
	return strings.Join(append([]string{i.Kind, i.Package, i.Version, i.Path}, append(i.Steps, i.Match...)...), " ")
}

// lay puts an item at path.
func (s *Store) lay(i Item, path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if i.Kind == "go" {
		data, err := s.build(i)
		if err != nil {
			return err
		}
		return os.WriteFile(path, data, 0o644)
	}
	files, err := s.Files(i)
	if err != nil {
		return err
	}
	if !i.Tree() {
		data, ok := files[i.Path]
		if !ok {
			return fmt.Errorf("no %s in it", i.Path)
		}
		for _, step := range i.Steps {
			if data, err = convert(step, data); err != nil {
				return err
			}
		}
		return os.WriteFile(path, data, 0o644)
	}
	n := 0
	for name, data := range files {
		rest, ok := strings.CutPrefix(name, strings.TrimPrefix(i.Path, "./"))
		if !ok || !slices.ContainsFunc(i.Match, func(end string) bool { return strings.HasSuffix(name, end) }) {
			continue
		}
		if strings.HasPrefix(rest, ".") || strings.Contains(rest, "/.") {
			continue // hidden files are never part of a release
		}
		if !filepath.IsLocal(rest) {
			return fmt.Errorf("%s: leads out of the folder", name)
		}
		to := filepath.Join(path, rest)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(to, data, 0o644); err != nil {
			return err
		}
		n++
	}
	if n == 0 {
		return fmt.Errorf("nothing under %s", i.Path)
	}
	return nil
}

// Files gives the regular files of a package.
func (s *Store) Files(i Item) (map[string][]byte, error) {
	key := i.Kind + " " + i.Package + " " + i.Version
	if f, ok := s.open[key]; ok {
		return f, nil
	}
	var files map[string][]byte
	var err error
	switch i.Kind {
	case "npm":
		files, err = s.npm(i)
	case "deb":
		files, err = s.deb(i)
	case "mod":
		files, err = module(i)
	}
	if err != nil {
		return nil, err
	}
	// Lines of one package stand together; two are kept, for old and new.
	if len(s.open) >= 2 || s.open == nil {
		s.open = map[string]map[string][]byte{}
	}
	s.open[key] = files
	return files, nil
}

// npm packs a package of the npm registry.
func (s *Store) npm(i Item) (map[string][]byte, error) {
	dir := filepath.Join(s.Dir, "packages", "npm", strings.ReplaceAll(i.Package, "/", "_")+"@"+i.Version)
	file, err := only(dir, func() error { return command(dir, nil, "npm", "pack", "--silent", i.Package+"@"+i.Version) })
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	all, err := untar(z)
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	for name, data := range all {
		_, rest, _ := strings.Cut(name, "/") // package/, mostly
		files[rest] = data
	}
	return files, nil
}

// only gives the one file in dir, which get makes if it is not there.
func only(dir string, get func() error) (string, error) {
	for range 2 {
		if entries, err := os.ReadDir(dir); err == nil && len(entries) == 1 {
			return filepath.Join(dir, entries[0].Name()), nil
		}
		if err := os.RemoveAll(dir); err != nil {
			return "", err
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return "", err
		}
		if err := get(); err != nil {
			os.RemoveAll(dir)
			return "", err
		}
	}
	return "", fmt.Errorf("%s: not one file", dir)
}

func untar(r io.Reader) (map[string][]byte, error) {
	files := map[string][]byte{}
	t := tar.NewReader(r)
	for {
		h, err := t.Next()
		if err == io.EOF {
			return files, nil
		}
		if err != nil {
			return nil, err
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		data, err := io.ReadAll(t)
		if err != nil {
			return nil, err
		}
		files[strings.TrimPrefix(h.Name, "./")] = data
	}
}

// command runs a program and gives what it complained about as the error.
func command(dir string, env []string, name string, args ...string) error {
	_, err := output(dir, env, name, args...)
	return err
}

func output(dir string, env []string, name string, args ...string) ([]byte, error) {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, &complaint)
	}
	return out, nil
}

// replace writes a file so that a reader sees the old or the new one.
func replace(path string, data []byte) error {
	if err := os.WriteFile(path+".tmp", data, 0o644); err != nil {
		return err
	}
	return os.Rename(path+".tmp", path)
}
