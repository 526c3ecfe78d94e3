// Package corpus is the real files that patches are measured on: two versions
// each of things that are updated over the air. They come from package
// registries by name and version (corpus.txt has the table), and corpus.lock
// holds their digests, so that a figure is always about the same bytes.
package corpus

import (
	"bufio"
	_ "embed"
	"fmt"
	"strings"
)

//go:embed corpus.txt
var table string

// A Pair is one line of the table: two versions of one file or tree.
type Pair struct {
	Set   string // bench or train; no package is in both
	Class string // source, tree, wasm, firmware, go, elf, image
	Name  string
	Old   Item
	New   Item
}

// An Item is where one version comes from.
type Item struct {
	Kind    string // npm, deb, mod (a Go module's files) or go (a program to build)
	Package string // of a deb with its architecture: name:arch; of a go the package to build
	Version string
	Path    string // in the package; of a tree with a slash at the end; of a go the architecture
	Steps   []string
	Match   []string // of a tree: the endings of names that are wanted
}

// Tree says whether it is a folder of files.
func (i Item) Tree() bool { return strings.HasSuffix(i.Path, "/") }

// Sets and classes in the order in which they are reported.
var (
	Sets    = []string{"bench", "train"}
	Classes = []string{"source", "tree", "wasm", "firmware", "go", "elf", "image"}
)

// Table gives all pairs.
func Table() ([]Pair, error) { return parse(table) }

// parse reads the table. Columns: set, class, name, kind:package, the old and
// the new version, path|step|step, and for trees the endings. {a,b} anywhere
// in the package or the path is a for the old and b for the new version.
func parse(text string) ([]Pair, error) {
	var pairs []Pair
	names := map[string]bool{}
	home := map[string]string{} // package: the set that it belongs to
	scan := bufio.NewScanner(strings.NewReader(text))
	for n := 1; scan.Scan(); n++ {
		line, _, _ := strings.Cut(scan.Text(), "#")
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		p, err := parsePair(f)
		if err != nil {
			return nil, fmt.Errorf("corpus.txt:%d: %w", n, err)
		}
		if key := p.Set + " " + p.Name; names[key] {
			return nil, fmt.Errorf("corpus.txt:%d: a second %s", n, key)
		} else {
			names[key] = true
		}
		for _, i := range []Item{p.Old, p.New} {
			family := i.Family()
			if s, ok := home[family]; ok && s != p.Set {
				return nil, fmt.Errorf("corpus.txt:%d: %s is in both sets", n, family)
			}
			home[family] = p.Set
		}
		pairs = append(pairs, p)
	}
	return pairs, scan.Err()
}

// Family is what must not be in both sets: the package whatever its
// architecture or version, because builds of the same source look alike.
func (i Item) Family() string {
	name := i.Package
	switch i.Kind {
	case "deb":
		name, _, _ = strings.Cut(name, ":")
		for _, source := range []string{"u-boot", "openssh", "arm-trusted-firmware", "python3.11", "samba"} {
			if strings.HasPrefix(name, source+"-") {
				name = source
			}
		}
		if strings.HasPrefix(name, "linux-image-") {
			// Kernels are large; their modules are drawn apart by name instead.
			name = "linux/" + i.Path[strings.LastIndex(i.Path, "/")+1:]
		}
	case "go", "mod":
		name, _, _ = strings.Cut(name, "//")
		return "go:" + name
	}
	return i.Kind + ":" + name
}

func parsePair(f []string) (Pair, error) {
	if len(f) < 7 || len(f) > 8 {
		return Pair{}, fmt.Errorf("%d columns, not 7 or 8", len(f))
	}
	p := Pair{Set: f[0], Class: f[1], Name: f[2]}
	if !oneOf(p.Set, Sets) || !oneOf(p.Class, Classes) {
		return p, fmt.Errorf("%s %s: no such set or class", p.Set, p.Class)
	}
	for side, item := range []*Item{&p.Old, &p.New} {
		source, path := choose(f[3], side), choose(f[6], side)
		kind, name, ok := strings.Cut(source, ":")
		if !ok || !oneOf(kind, []string{"npm", "deb", "mod", "go"}) {
			return p, fmt.Errorf("%s: not a source", source)
		}
		steps := strings.Split(path, "|")
		*item = Item{Kind: kind, Package: name, Version: f[4+side], Path: steps[0], Steps: steps[1:]}
		if item.Tree() != (p.Class == "tree") || item.Tree() != (len(f) == 8) {
			return p, fmt.Errorf("%s: a tree has a path with a slash at the end, and a column of endings", p.Name)
		}
		if item.Tree() {
			item.Match = strings.Split(f[7], ",")
		}
	}
	return p, nil
}

// choose replaces each {a,b} with a for side 0 and b for side 1.
func choose(s string, side int) string {
	for {
		before, rest, ok := strings.Cut(s, "{")
		if !ok {
			return s
		}
		both, after, ok := strings.Cut(rest, "}")
		if !ok {
			return s
		}
		a, b, _ := strings.Cut(both, ",")
		if side == 1 {
			a = b
		}
		s = before + a + after
	}
}

func oneOf(s string, all []string) bool {
	for _, a := range all {
		if a == s {
			return true
		}
	}
	return false
}
