// Package house holds the rules of how this repository is built, as pure
// functions over what `go list` and the file tree say: packages stand on
// floors and import only lower ones, a small set of them stays fit for
// microcontrollers, each says what it is for, names mean something, files stay
// readable. Its test applies the rules; nothing else uses it.
//
// Invariant: each rule returns one line for each violation, naming the place
// and what to do, and nothing when there is none.
package house

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// A Package is what the rules need to know of one package, in the words of
// `go list -json`.
type Package struct {
	ImportPath string
	Doc        string   // first sentence of the package comment
	GoFiles    []string // without tests
	Imports    []string // direct, without those of tests
	Deps       []string // direct and indirect
}

// A File is one Go source file.
type File struct {
	Path  string // relative to the repository
	Lines int
}

// rel is the path of a package of module below its root, "." for the root
// itself, and ok is false for packages of others.
func rel(module, importPath string) (name string, ok bool) {
	if importPath == module {
		return ".", true
	}
	return strings.CutPrefix(importPath, module+"/")
}

// Floors checks that each package of module stands on a floor and imports only
// packages on lower ones. Keys of floors are paths below the module, "." for
// its root; a key that ends in "/..." stands for everything below it.
func Floors(module string, floors map[string]int, packages []Package) (bad []string) {
	for _, p := range packages {
		name, ok := rel(module, p.ImportPath)
		if !ok {
			continue
		}
		floor, ok := floorOf(floors, name)
		if !ok {
			bad = append(bad, fmt.Sprintf("package %s stands on no floor: give it one in the table of floors", name))
			continue
		}
		for _, imported := range p.Imports {
			other, ok := rel(module, imported)
			if !ok {
				continue
			}
			if f, ok := floorOf(floors, other); ok && f >= floor {
				bad = append(bad, fmt.Sprintf("package %s (floor %d) imports %s (floor %d): only lower floors may be imported", name, floor, other, f))
			}
		}
	}
	return bad
}

func floorOf(floors map[string]int, name string) (int, bool) {
	if f, ok := floors[name]; ok {
		return f, true
	}
	for dir := name; dir != "."; {
		dir = path.Dir(dir)
		if f, ok := floors[dir+"/..."]; ok {
			return f, true
		}
	}
	return 0, false
}

// What the small set must not pull in at all, and what its packages must not
// import themselves. All of it is heavy on reflection, or missing on a
// microcontroller.
var (
	neverBelowSmall  = []string{"net", "net/http", "encoding/json", "log/slog", "crypto/tls", "text/template"}
	neverDirectSmall = []string{"fmt", "reflect", "os"}
)

// Small checks the packages of the small set, listed as they are built for a
// microcontroller (-tags=tinygo).
func Small(packages []Package) (bad []string) {
	for _, p := range packages {
		for _, d := range p.Deps {
			if slices.Contains(neverBelowSmall, d) {
				bad = append(bad, fmt.Sprintf("package %s pulls in %s, which the small set must not under -tags=tinygo", p.ImportPath, d))
			}
		}
		for _, d := range p.Imports {
			if slices.Contains(neverDirectSmall, d) {
				bad = append(bad, fmt.Sprintf("package %s imports %s, which the small set must not under -tags=tinygo", p.ImportPath, d))
			}
		}
	}
	return bad
}

// neverInBinary is what the program does without, and why.
var neverInBinary = map[string]string{
	"net/http": "its client alone costs 0.7 MB of the binary and of a device's memory: use internal/http1",
}

// Binary checks what a program pulls in.
func Binary(program Package) (bad []string) {
	for _, d := range program.Deps {
		if why, ok := neverInBinary[d]; ok {
			bad = append(bad, fmt.Sprintf("%s pulls in %s: %s", program.ImportPath, d, why))
		}
	}
	return bad
}

// Comments checks that each package with code says what it is for.
func Comments(packages []Package) (bad []string) {
	for _, p := range packages {
		if len(p.GoFiles) > 0 && strings.TrimSpace(p.Doc) == "" {
			bad = append(bad, fmt.Sprintf("package %s has no package comment: say what it is for, what it leaves to others, and its invariant", p.ImportPath))
		}
	}
	return bad
}

var emptyNames = []string{"base", "common", "helper", "helpers", "lib", "manager", "misc", "shared", "types", "util", "utils"}

// Names checks that no part of a package's path is a word for "anything".
func Names(packages []Package) (bad []string) {
	for _, p := range packages {
		for part := range strings.SplitSeq(p.ImportPath, "/") {
			if slices.Contains(emptyNames, part) {
				bad = append(bad, fmt.Sprintf("package %s: %q says nothing about what is inside", p.ImportPath, part))
			}
		}
	}
	return bad
}

// Lengths checks that no file has more than limit lines.
func Lengths(limit int, files []File) (bad []string) {
	for _, f := range files {
		if f.Lines > limit {
			bad = append(bad, fmt.Sprintf("%s has %d lines, more than %d: is it still one room?", f.Path, f.Lines, limit))
		}
	}
	return bad
}
