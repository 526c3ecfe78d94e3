package plan_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/plan"
	"pgregory.net/rapid"
)

func digest(s string) godwit.Digest {
	h := godwit.SHA256.New(0)
	h.Write([]byte(s))
	return godwit.MakeDigest(godwit.SHA256, h.Sum(nil))
}

// listing makes entries from "path" to "content"; a "+" before the content is
// the exec bit, a "@" a symbolic link.
func listing(files map[string]string) godwit.Listing {
	return func(yield func(godwit.Entry, error) bool) {
		for _, p := range slices.Sorted(maps.Keys(files)) {
			e := godwit.Entry{Path: p, Mode: godwit.File, Size: int64(len(files[p])), Digest: digest(strings.TrimLeft(files[p], "+@"))}
			switch {
			case strings.HasPrefix(files[p], "+"):
				e.Mode = godwit.Executable
			case strings.HasPrefix(files[p], "@"):
				e.Mode = godwit.Symlink
			}
			if !yield(e, nil) {
				return
			}
		}
	}
}

func TestPermits(t *testing.T) {
	for _, c := range []struct {
		allow, ignore, path string
		want                bool
	}{
		{"", "", "anything/at/all", true},
		{"lib/", "", "lib/a.py", true},
		{"lib", "", "lib/a.py", true},
		{"lib/", "", "lib", true},
		{"lib", "", "library.py", false},
		{"lib", "", "other/lib/a.py", false},
		{"main.py", "", "main.py", true},
		{"main.py", "", "main.pyc", false},
		{"lib", "lib/tests/", "lib/tests/a.py", false},
		{"lib", "lib/tests/", "lib/testsuite.py", true},
		{"", "secret", "secret", false},
		{"secret", "secret", "secret", false},
	} {
		r := plan.Rules{Allow: strings.Fields(c.allow), Ignore: strings.Fields(c.ignore)}
		if got := r.Permits(c.path); got != c.want {
			t.Errorf("allow %q ignore %q: Permits(%q) = %v", c.allow, c.ignore, c.path, got)
		}
	}
}

func TestCheckPath(t *testing.T) {
	unix, fat := plan.Names{}, plan.Names{Windows: true, FoldCase: true}
	for _, p := range []string{"", "/etc/passwd", "a//b", "a/", "../a", "a/../b", "a/.", ".", "a\x00b", ".git", ".git/config", "a/.GIT/hooks/x", ".git./x", "git~1", "GIT~1/x",
		".git::$INDEX_ALLOCATION/x", ".g\u200cit/config", strings.Repeat("x", 256), strings.Repeat("x/", 2100) + "x"} {
		if err := unix.CheckPath(p); godwit.CodeOf(err) != godwit.CodeBadPath {
			t.Errorf("%.60q: %v", p, err)
		}
	}
	for _, p := range []string{"a", ".gitignore", "a/.github/x", "...", "git", "a b/c\\d", "NUL", "aux.txt", "trailing.", "x:y", strings.Repeat("x", 255), "ünï/cödé", "\xff\xfe"} {
		if err := unix.CheckPath(p); err != nil {
			t.Errorf("%.60q: %v", p, err)
		}
	}
	for _, p := range []string{"a\\b", "NUL", "lib/aux.txt", "com1", "LPT9.log", "con .txt", "trailing.", "trailing ", "x:y", "what?", "a\tb", "a|b"} {
		if err := fat.CheckPath(p); godwit.CodeOf(err) != godwit.CodeBadPath {
			t.Errorf("FAT %q: %v", p, err)
		}
	}
	for _, p := range []string{"com", "com10", "common.py", "null", "lib/console.py"} {
		if err := fat.CheckPath(p); err != nil {
			t.Errorf("FAT %q: %v", p, err)
		}
	}
}

func TestCheckLink(t *testing.T) {
	for _, c := range []struct {
		path, target string
		ok           bool
	}{
		{"a", "b", true}, {"a", "b/c", true}, {"d/a", "../b", true}, {"d/e/a", "../../b/c", true}, {"a", "./b", true},
		{"a", "", false}, {"a", "/etc/passwd", false}, {"a", "..", false}, {"a", "../b", false}, {"d/a", "../../b", false},
		{"a", "b/../c", false}, {"d/a", "../e/../../..", false}, {"a", ".git/config", false}, {"a", "b\x00c", false},
	} {
		err := plan.CheckLink(c.path, c.target)
		if (err == nil) != c.ok || err != nil && godwit.CodeOf(err) != godwit.CodeSymlink {
			t.Errorf("CheckLink(%q, %q) = %v", c.path, c.target, err)
		}
	}
}

func input(installed, release map[string]string) plan.Input {
	return plan.Input{From: "a", To: "b", Installed: listing(installed), Release: listing(release), Free: -1}
}

func steps(t *testing.T, p *plan.Plan) string {
	t.Helper()
	var b strings.Builder
	for s, err := range p.Steps() {
		if err != nil {
			t.Fatal(err)
		}
		b.WriteString(string(s.Op) + " " + s.Path)
		if s.Fetch {
			b.WriteString(" *")
		}
		if s.Reason != "" {
			b.WriteString(" (" + s.Reason + ")")
		}
		b.WriteString("; ")
	}
	return strings.TrimSuffix(b.String(), "; ")
}

func TestSteps(t *testing.T) {
	old := map[string]string{"gone": "x", "keep": "k", "main": "one", "run": "r", "was/here": "w", "lost/rule": "l"}
	release := map[string]string{"keep": "k", "main": "two", "run": "+r", "new": "w", "fresh": "f", "tests/a": "t", "data/x": "d", "lost/rule": "l2", "state/x": "s"}
	in := input(old, release)
	in.Rules = plan.Rules{Ignore: []string{"tests", "lost"}, Shared: []string{"data/"}}
	in.Has = func(d godwit.Digest) bool { return d == digest("w") }
	in.Reserved = func(p string) string {
		if p == "state/x" {
			return "Godwit's own"
		}
		return ""
	}
	p, err := plan.Make(in)
	if err != nil {
		t.Fatal(err)
	}
	const want = "skip data/x (shared between versions); add fresh *; delete gone; keep keep; skip lost/rule (ignored); replace main *; add new; mode run; " +
		"skip state/x (Godwit's own); skip tests/a (ignored); delete was/here"
	if got := steps(t, p); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if p.Added != 2 || p.Replaced != 1 || p.Modes != 1 || p.Deleted != 2 || p.Kept != 1 || p.Skipped != 4 || p.FetchFiles != 2 || p.FetchBytes != 4 || !p.Exact {
		t.Errorf("totals: %+v", p)
	}
}

func TestInPlaceLeavesWhatTheRulesDoNotCover(t *testing.T) {
	in := input(map[string]string{"app/old": "x", "mine/a": "y", "cache/b": "z"}, map[string]string{"app/new": "n"})
	in.InPlace = true
	in.Rules = plan.Rules{Allow: []string{"app"}, Delete: []string{"cache/"}}
	p, err := plan.Make(in)
	if err != nil {
		t.Fatal(err)
	}
	if got := steps(t, p); got != "add app/new *; delete app/old; delete cache/b" {
		t.Error(got)
	}
}

func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		name    string
		release map[string]string
		change  func(*plan.Input)
		want    godwit.Code
		says    string
	}{
		{"dot dot", map[string]string{"a/../../b": ""}, nil, godwit.CodeBadPath, `"a/../../b"`},
		{"git", map[string]string{".git/hooks/post-checkout": ""}, nil, godwit.CodeBadPath, "Git"},
		{"link", map[string]string{"l": "@x"}, nil, godwit.CodeSymlink, `"l"`},
		{"case", map[string]string{"Readme": "", "README": ""}, func(in *plan.Input) { in.Names.FoldCase = true }, godwit.CodeCaseCollision, `"README" and "Readme"`},
		{"case of a folder", map[string]string{"Lib/a": "", "lib/b": ""}, func(in *plan.Input) { in.Names.FoldCase = true }, godwit.CodeCaseCollision, `"Lib/a" and "lib/b"`},
		{"files", map[string]string{"a": "", "b": "", "c": ""}, func(in *plan.Input) { in.Limits.MaxFiles = 2 }, godwit.CodeLimit, "limits.max_files"},
		{"bytes", map[string]string{"a": "xx", "b": "xx"}, func(in *plan.Input) { in.Limits.MaxBytes = 3 }, godwit.CodeLimit, "limits.max_bytes"},
		{"file bytes", map[string]string{"a": "xxxx"}, func(in *plan.Input) { in.Limits.MaxFileBytes = 3 }, godwit.CodeLimit, `"a"`},
		{"depth", map[string]string{strings.Repeat("d/", 200) + "f": ""}, nil, godwit.CodeLimit, "201 parts"},
		{"disk", map[string]string{"a": "xxxx"}, func(in *plan.Input) { in.Free = 3 }, godwit.CodeDiskFull, "needs 4 B"},
		{"reserve", map[string]string{"a": "xxxx"}, func(in *plan.Input) { in.Free, in.Limits.MinFree = 5, 2 }, godwit.CodeDiskFull, "needs 6 B"},
		{"rule", map[string]string{}, func(in *plan.Input) { in.Rules.Allow = []string{"../x"} }, godwit.CodeConfig, "allow"},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := input(nil, c.release)
			if c.change != nil {
				c.change(&in)
			}
			_, err := plan.Make(in)
			if godwit.CodeOf(err) != c.want || !strings.Contains(err.Error()+hint(err), c.says) {
				t.Errorf("%v (%s), want %s and %q", err, godwit.CodeOf(err), c.want, c.says)
			}
		})
	}
	in := input(nil, map[string]string{"Readme": "", "README": ""})
	if _, err := plan.Make(in); err != nil {
		t.Errorf("two names where case counts: %v", err)
	}
}

func hint(err error) string {
	if e, ok := err.(*godwit.Error); ok {
		return e.Hint
	}
	return ""
}

// Carrying out the steps of a plan on the installed tree gives the target.
func TestStepsLeadToTarget(t *testing.T) {
	name := rapid.SampledFrom([]string{"a", "b", "a/b", "a/c", "lib/x", "lib/y", "z"})
	tree := rapid.MapOf(name, rapid.SampledFrom([]string{"1", "2", "+1", ""}))
	rapid.Check(t, func(t *rapid.T) {
		old, release := tree.Draw(t, "old"), tree.Draw(t, "release")
		in := input(old, release)
		in.InPlace = rapid.Bool().Draw(t, "inPlace")
		if rapid.Bool().Draw(t, "filter") {
			in.Rules.Ignore = []string{"lib"}
		}
		p, err := plan.Make(in)
		if err != nil {
			t.Fatal(err)
		}
		got := maps.Clone(old)
		for s, err := range p.Steps() {
			if err != nil {
				t.Fatal(err)
			}
			switch s.Op {
			case plan.Add, plan.Replace, plan.Mode:
				got[s.Path] = release[s.Path]
			case plan.Delete:
				delete(got, s.Path)
			}
		}
		for p := range old {
			if !in.Rules.Permits(p) {
				delete(got, p)
			}
		}
		want := map[string]string{}
		for e, err := range p.Target() {
			if err != nil {
				t.Fatal(err)
			}
			want[e.Path] = release[e.Path]
		}
		if !maps.Equal(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
	})
}

func FuzzCheckPath(f *testing.F) {
	for _, s := range []string{"a/b", "../x", ".git/config", "nul.txt", "a//b", "\x00", "git~1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, p string) {
		err := plan.Names{Windows: true}.CheckPath(p)
		if err == nil && (strings.Contains("/"+p+"/", "/../") || strings.HasPrefix(p, "/") || strings.ContainsAny(p, "\x00\\:")) {
			t.Errorf("%q was accepted", p)
		}
	})
}
