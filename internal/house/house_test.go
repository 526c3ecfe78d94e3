package house

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/godwit-ota/godwit"

// floors is the building plan. A package imports only lower floors, never
// sideways; tests may import anything.
var floors = map[string]int{
	".": 0,

	"gate":               1,
	"plan":               1,
	"manifest":           1,
	"trust/sshsig":       1,
	"trust/tagtext":      1,
	"vfs":                1,
	"source/git/object":  1,
	"source/git/wire":    2,
	"source/git/lfs":     2,
	"internal/githost":   1,
	"internal/webclient": 1,
	"internal/house":     1,
	"internal/jsontext":  0,
	"internal/semver":    0,
	"internal/http1":     0,
	"internal/race":      0,

	// In front of the Git host, for tests.
	"internal/githost/nethttp": 2,

	"delta/model":    1,
	"delta/address":  0,
	"delta":          2,
	"delta/otadelta": 1,
	"delta/tree":     3,
	"delta/inplace":  3,
	"delta/diff":     4,
	"delta/train":    5,

	"vfs/crashfs":        2,
	"store":              2,
	"trust":              2,
	"source/github":      2,
	"source/github/fake": 1,
	"source/web":         4,
	"source/web/mirror":  1,
	"source/web/server":  2,
	"source/dir":         2,
	"source/git":         3,
	"app":                2,
	"board":              2,
	"history":            2,
	"report":             3,
	"service":            2,

	"engine": 3,

	"config":        4,
	"internal/term": 4,
	"author":        4,
	"publish":       5,

	"internal/device": 5,
	"internal/demo":   5,

	"internal/status": 6,

	"agent": 7,

	"internal/cli": 8,

	"cmd/godwit": 9,

	// Programs that others can begin with.
	"examples/...": 10,

	// Proofs use everything and nothing else uses them.
	"proof/powercut/wire": 1,
	"proof/...":           10,
}

// small is the set that is meant to run on microcontrollers as well.
var small = []string{".", "gate", "plan", "vfs", "store", "manifest", "trust", "trust/sshsig", "trust/tagtext", "source/web", "engine",
	"delta", "delta/model", "delta/address", "delta/otadelta", "delta/tree", "delta/inplace"}

// longest is the number of lines after which a file is asked whether it is two.
const longest = 600

func TestFloors(t *testing.T) { report(t, Floors(module, floors, list(t, "./..."))) }

func TestPackagesSayWhatTheyAreFor(t *testing.T) { report(t, Comments(list(t, "./..."))) }

func TestPackageNames(t *testing.T) { report(t, Names(list(t, "./..."))) }

func TestSmallSet(t *testing.T) {
	var there []string
	for _, dir := range small {
		if m, _ := filepath.Glob(filepath.Join(top, dir, "*.go")); len(m) > 0 {
			there = append(there, "./"+dir)
		}
	}
	report(t, Small(list(t, append([]string{"-tags=tinygo"}, there...)...)))
	build := exec.Command("go", append([]string{"build", "-tags=tinygo"}, there...)...)
	build.Dir = top
	if out, err := build.CombinedOutput(); err != nil {
		t.Errorf("the small set does not compile under -tags=tinygo:\n%s", out)
	}
}

// TestBinary holds the binary to doing without net/http, on whatever system it
// is built for.
func TestBinary(t *testing.T) {
	for _, p := range list(t, "./cmd/godwit") {
		if !slices.Contains(p.Deps, module+"/internal/http1") {
			t.Errorf("%s does not do anything over HTTP: looking in the wrong place", p.ImportPath)
		}
		report(t, Binary(p))
	}
}

func TestFileLengths(t *testing.T) {
	var files []File
	err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if d.IsDir() && slices.Contains([]string{".git", "bin", "out"}, d.Name()) {
			return fs.SkipDir
		}
		if d.Type().IsRegular() && strings.HasSuffix(path, ".go") {
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			name, err := filepath.Rel(top, path)
			if err != nil {
				return err
			}
			files = append(files, File{name, bytes.Count(b, []byte("\n"))})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 5 {
		t.Fatalf("only %d Go files found: looking in the wrong place", len(files))
	}
	report(t, Lengths(longest, files))
}

// TestEachRuleSeesDamage plants one violation of each rule, next to something
// that is right.
func TestEachRuleSeesDamage(t *testing.T) {
	plan := map[string]int{".": 0, "low": 1, "beside": 1, "high": 2, "all/...": 3}
	for _, c := range []struct {
		name string
		got  []string
		want string // part of the only line; "" for none
	}{
		{"down is right", Floors("m", plan, []Package{{ImportPath: "m/high", Imports: []string{"m/low", "m", "fmt"}}}), ""},
		{"up", Floors("m", plan, []Package{{ImportPath: "m/low", Imports: []string{"m/high"}}}), "low (floor 1) imports high (floor 2)"},
		{"sideways", Floors("m", plan, []Package{{ImportPath: "m/low", Imports: []string{"m/beside"}}}), "low (floor 1) imports beside (floor 1)"},
		{"the root imports", Floors("m", plan, []Package{{ImportPath: "m", Imports: []string{"m/low"}}}), ". (floor 0) imports low"},
		{"no floor", Floors("m", plan, []Package{{ImportPath: "m/new"}}), "new stands on no floor"},
		{"a floor for all below", Floors("m", plan, []Package{{ImportPath: "m/all/a/b", Imports: []string{"m/high"}}}), ""},
		{"into what is on top", Floors("m", plan, []Package{{ImportPath: "m/high", Imports: []string{"m/all/a"}}}), "high (floor 2) imports all/a (floor 3)"},
		{"other modules are free", Floors("m", plan, []Package{{ImportPath: "mm/low", Imports: []string{"m/high"}}}), ""},

		{"small is right", Small([]Package{{ImportPath: "m", Imports: []string{"errors"}, Deps: []string{"errors", "os", "fmt"}}}), ""},
		{"small pulls in net/http", Small([]Package{{ImportPath: "m", Imports: []string{"x"}, Deps: []string{"x", "net/http"}}}), "m pulls in net/http"},
		{"small imports fmt", Small([]Package{{ImportPath: "m", Imports: []string{"fmt"}, Deps: []string{"fmt"}}}), "m imports fmt"},

		{"a binary is right", Binary(Package{ImportPath: "m/cmd", Deps: []string{"net", "crypto/tls"}}), ""},
		{"a binary with net/http", Binary(Package{ImportPath: "m/cmd", Deps: []string{"net", "net/http"}}), "m/cmd pulls in net/http"},

		{"a comment is right", Comments([]Package{{ImportPath: "m", GoFiles: []string{"a.go"}, Doc: "Package m."}}), ""},
		{"no comment", Comments([]Package{{ImportPath: "m", GoFiles: []string{"a.go"}, Doc: " "}}), "m has no package comment"},
		{"only tests", Comments([]Package{{ImportPath: "m"}}), ""},

		{"a name is right", Names([]Package{{ImportPath: "m/utility"}}), ""},
		{"an empty name", Names([]Package{{ImportPath: "m/util/x"}}), `"util"`},

		{"short is right", Lengths(3, []File{{"a.go", 3}}), ""},
		{"too long", Lengths(3, []File{{"a.go", 4}}), "a.go has 4 lines"},
	} {
		t.Run(c.name, func(t *testing.T) {
			switch {
			case c.want == "" && len(c.got) > 0:
				t.Errorf("found %q where all is right", c.got)
			case c.want != "" && (len(c.got) != 1 || !strings.Contains(c.got[0], c.want)):
				t.Errorf("found %q, want one line with %q", c.got, c.want)
			}
		})
	}
}

const top = "../.."

func report(t *testing.T, bad []string) {
	t.Helper()
	for _, line := range bad {
		t.Error(line)
	}
}

// list asks the go command; args are flags and package patterns.
func list(t *testing.T, args ...string) []Package {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Doc,GoFiles,Imports,Deps"}, args...)...)
	cmd.Dir = top
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, &complaint)
	}
	var packages []Package
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p Package
		if err := d.Decode(&p); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
	if len(packages) == 0 {
		t.Fatal("go list names no package: looking in the wrong place")
	}
	return packages
}

// Every test that docs/security.md names exists.
func TestSecurityTableIsPlayed(t *testing.T) {
	table, err := os.ReadFile(filepath.Join(top, "docs/security.md"))
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]bool{}
	err = filepath.WalkDir(top, func(p string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(p, "_test.go") {
			return err
		}
		b, err := os.ReadFile(p)
		for line := range strings.Lines(string(b)) {
			if name, ok := strings.CutPrefix(line, "func Test"); ok {
				name, _, _ = strings.Cut(name, "(")
				there["Test"+name] = true
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	named := 0
	for i, word := range strings.Split(string(table), "`") {
		if i%2 == 1 && strings.HasPrefix(word, "Test") {
			if named++; !there[word] {
				t.Errorf("docs/security.md names %s, which no test has", word)
			}
		}
	}
	if named < 20 {
		t.Errorf("docs/security.md names %d tests", named)
	}
}
