package term

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/plan"
)

// A screen is a Printer whose output is kept and whose clock is set by hand.
type screen struct {
	*Printer
	out, err bytes.Buffer
	now      time.Time
}

func newScreen(cfg Config) *screen {
	s := &screen{now: time.Unix(1e9, 0)}
	cfg.Out, cfg.Err, cfg.Now = &s.out, &s.err, func() time.Time { return s.now }
	s.Printer = New(cfg)
	return s
}

func fetch(done, total int64) godwit.Event {
	return godwit.Event{Stage: godwit.StageFetch, Level: godwit.Progress, Done: done, Total: total, Unit: "B"}
}

func TestBarOnATerminal(t *testing.T) {
	s := newScreen(Config{Terminal: true})
	for i := range int64(11) { // 1 MB in a second
		s.Event(fetch(i*100_000, 2_000_000))
		s.now = s.now.Add(100 * time.Millisecond)
	}
	lines := strings.Split(s.err.String(), "\r")
	last := strings.TrimSuffix(lines[len(lines)-1], "\x1b[K")
	if want := "fetching [=============>            ] 50%  1.0 MB of 2.0 MB  1.0 MB/s  1s left"; last != want {
		t.Errorf("got  %q\nwant %q", last, want)
	}
	s.Event(godwit.Event{Stage: godwit.StageSwitch, Text: "switching"})
	if !strings.HasSuffix(s.err.String(), "\r\x1b[Kswitching\n") {
		t.Errorf("the bar is not taken away before a line: %q", s.err.String())
	}
}

func TestBarIsDrawnTenTimesASecond(t *testing.T) {
	s := newScreen(Config{Terminal: true})
	for i := range int64(10_000) { // in one second
		s.Event(fetch(i, 1e6))
		s.now = s.now.Add(100 * time.Microsecond)
	}
	if n := strings.Count(s.err.String(), "\r"); n < 9 || n > 11 {
		t.Errorf("drawn %d times", n)
	}
}

func TestBarFitsEveryWidth(t *testing.T) {
	b := bar{rate: 123456}
	for _, e := range []godwit.Event{fetch(1234567, 987654321), fetch(5, 0), {Stage: godwit.StageVerify, Done: 3, Total: 9, Unit: "files"}, {Stage: "something new", Done: 3}} {
		for w := 1; w < 200; w++ {
			if got := b.text(e, w); utf8.RuneCountInString(got) > w {
				t.Fatalf("width %d: %q has %d columns", w, got, utf8.RuneCountInString(got))
			}
		}
	}
}

func TestPlainProgress(t *testing.T) {
	s := newScreen(Config{})
	// Six hundred seconds in which a tenth takes a minute.
	for i := range int64(6000) {
		s.Event(fetch(i*1000, 6_000_000))
		s.now = s.now.Add(100 * time.Millisecond)
	}
	lines := strings.Split(strings.TrimSpace(s.err.String()), "\n")
	if len(lines) < 100 || len(lines) > 130 {
		t.Errorf("%d lines in ten minutes", len(lines))
	}
	if want := "fetching 0%, 50 kB of 6.0 MB, 10 kB/s, 9m55s left"; lines[0] != want {
		t.Errorf("got  %q\nwant %q", lines[0], want)
	}
	// A hundred files in half a second need no line at all.
	s = newScreen(Config{})
	for i := range int64(100) {
		s.Event(fetch(i, 100))
		s.now = s.now.Add(5 * time.Millisecond)
	}
	if s.err.Len() > 0 {
		t.Errorf("%q", s.err.String())
	}
}

func TestJSONLines(t *testing.T) {
	s := newScreen(Config{JSON: true, Verbose: true})
	s.Event(godwit.Event{Stage: godwit.StageCheck, Text: "a <b> & \"c\"\x1b"})
	s.Event(fetch(0, 10))
	s.now = s.now.Add(time.Second)
	s.Event(fetch(5, 10))
	s.Event(fetch(6, 10))
	s.Event(fetch(10, 10))
	s.Printf("never seen")
	s.Error(fmt.Errorf("update: %w", godwit.Fail(godwit.CodeTLS, errors.New("bad"), "no trust", "fix it")))
	want := `{"type":"event","stage":"check","level":"info","text":"a <b> & \"c\"\u001b"}
{"type":"event","stage":"fetch","level":"progress","done":0,"total":10,"unit":"B"}
{"type":"event","stage":"fetch","level":"progress","done":5,"total":10,"unit":"B"}
{"type":"event","stage":"fetch","level":"progress","done":10,"total":10,"unit":"B"}
{"type":"error","code":"tls","message":"update: no trust: bad","hint":"fix it","exit":6}
`
	if got := s.out.String(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	for line := range strings.Lines(s.out.String()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("not JSON: %s", line)
		}
	}
	if s.err.Len() > 0 {
		t.Errorf("on standard error: %q", s.err.String())
	}
}

func TestLevels(t *testing.T) {
	for _, c := range []struct {
		cfg  Config
		want string
	}{
		{Config{}, "info\nwarning: careful\n"},
		{Config{Quiet: true}, "warning: careful\n"},
		{Config{Verbose: true}, "info\ncheck: detail\nwarning: careful\n"},
	} {
		s := newScreen(c.cfg)
		s.Event(godwit.Event{Text: "info"})
		s.Event(godwit.Event{Stage: godwit.StageCheck, Level: godwit.Debug, Text: "detail"})
		s.Event(godwit.Event{Level: godwit.Warning, Text: "careful"})
		if got := s.err.String(); got != c.want {
			t.Errorf("%+v: %q", c.cfg, got)
		}
	}
}

func TestErrors(t *testing.T) {
	inner := godwit.Fail(godwit.CodeNoRef, nil, "the repository has no branch \"x\x1b[31m\"", "look at source.branch")
	for _, c := range []struct {
		name string
		err  error
		want string
	}{
		{"plain", errors.New("it broke"), "error: it broke\n"},
		{"hint of the cause", godwit.Fail(godwit.CodeFailed, inner, "cannot update", ""), "error: cannot update: the repository has no branch \"x\\x1b[31m\"\nhint: look at source.branch\n"},
		{"outer hint wins", godwit.Fail(godwit.CodeFailed, inner, "cannot update", "try again"), "error: cannot update: the repository has no branch \"x\\x1b[31m\"\nhint: try again\n"},
		{"joined", errors.Join(errors.New("one"), errors.Join(inner, errors.New("three"))), "error: one\nerror: the repository has no branch \"x\\x1b[31m\"\nhint: look at source.branch\nerror: three\n"},
		{"cause is joined", godwit.Fail(godwit.CodeIO, errors.Join(errors.New("a"), errors.New("b")), "disk", ""), "error: disk: a\nb\n"},
	} {
		s := newScreen(Config{Quiet: true})
		s.Error(c.err)
		if got := s.err.String(); got != c.want {
			t.Errorf("%s: got\n%swant\n%s", c.name, got, c.want)
		}
	}
}

func TestExitCodes(t *testing.T) {
	for code, want := range map[godwit.Code]int{
		godwit.CodeFailed: 1, godwit.CodeDiskFull: 1, godwit.CodeModified: 1, godwit.CodeUnauthorized: 1, godwit.CodeProtocol: 1,
		godwit.CodeUsage: 2, godwit.CodeConfig: 2, godwit.CodeRefused: 4, godwit.CodeRejected: 4,
		godwit.CodeRetryAfter: 5, godwit.CodeOnTrial: 5,
		godwit.CodeNetwork: 6, godwit.CodeTimeout: 6, godwit.CodeTLS: 6, godwit.CodeRolledBack: 7,
	} {
		if got := ExitCode(fmt.Errorf("x: %w", godwit.Fail(code, nil, "y", ""))); got != want {
			t.Errorf("%s: %d, want %d", code, got, want)
		}
		if ExitMeaning(want) == "" {
			t.Errorf("exit code %d has no meaning", want)
		}
	}
	if ExitCode(nil) != 0 || ExitCode(errors.New("x")) != 1 {
		t.Error("nil or a plain error")
	}
}

func TestClean(t *testing.T) {
	for in, want := range map[string]string{"plain ä\n\t": "plain ä\n\t", "a\x1b[2Jb": `a\x1b[2Jb`, "\r\x07\x7f\u009b": `\x0d\x07\x7f\x9b`, "a\u202eb": `a\u202eb`} {
		if got := Clean(in); got != want {
			t.Errorf("%q: %q", in, got)
		}
	}
}

func TestTimeLeft(t *testing.T) {
	for in, want := range map[float64]string{0.2: "1s", 59: "59s", 61: "1m01s", 3700: "1h01m", 1e9: "days"} {
		if got := timeLeft(in); got != want {
			t.Errorf("%v: %s", in, got)
		}
	}
}

func listing(entries ...godwit.Entry) godwit.Listing {
	return func(yield func(godwit.Entry, error) bool) {
		for _, e := range entries {
			if !yield(e, nil) {
				return
			}
		}
	}
}

func entry(path string, m godwit.Mode, content string, sized bool) godwit.Entry {
	h := godwit.SHA256.New(0)
	h.Write([]byte(content))
	e := godwit.Entry{Path: path, Mode: m, Digest: godwit.MakeDigest(godwit.SHA256, h.Sum(nil)), Size: godwit.UnknownSize}
	if sized {
		e.Size = int64(len(content))
	}
	return e
}

func examplePlan(t *testing.T) *plan.Plan {
	t.Helper()
	old := listing(entry("a", godwit.File, "one", true), entry("gone", godwit.File, "xx", true), entry("run.sh", godwit.File, "#!", true), entry("same", godwit.File, "s", true))
	new := listing(entry("a", godwit.File, "three", true), entry("docs/x", godwit.File, "d", true), entry("n\x1b[31mew", godwit.Executable, "nnnn", true),
		entry("run.sh", godwit.Executable, "#!", true), entry("same", godwit.File, "s", true))
	p, err := plan.Make(plan.Input{From: "aaa", To: "bbb", Installed: old, Release: new, Rules: plan.Rules{Ignore: []string{"docs/"}}, Free: 5e9})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPlanForPeople(t *testing.T) {
	s := newScreen(Config{})
	if err := s.Plan(examplePlan(t), "v1 (aaa)", "v2 (bbb)"); err != nil {
		t.Fatal(err)
	}
	want := `plan: v1 (aaa) → v2 (bbb)

  new 1 file
    n\x1b[31mew                               4 B  executable

  change 1 file
    a                                         3 B → 5 B

  mode 1 file
    run.sh                                    plain file → executable

  delete 1 file
    gone                                      2 B

  skip 1 file
    docs/x                                    ignored

kept: 1 file. To fetch: 2 files (9 B before compression and deltas). To write: 9 B. Free: 5.0 GB.
`
	if got := s.out.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestPlanAsJSON(t *testing.T) {
	s := newScreen(Config{JSON: true})
	if err := s.Plan(examplePlan(t), "v1", "v2"); err != nil {
		t.Fatal(err)
	}
	want := `{"type":"step","op":"replace","path":"a","mode":"file","size":5,"old_mode":"file","old_size":3,"fetch":true}
{"type":"step","op":"skip","path":"docs/x","mode":"file","size":1,"reason":"ignored"}
{"type":"step","op":"delete","path":"gone","old_mode":"file","old_size":2}
{"type":"step","op":"add","path":"n\u001b[31mew","mode":"exec","size":4,"fetch":true}
{"type":"step","op":"mode","path":"run.sh","mode":"exec","size":2,"old_mode":"file","old_size":2}
{"type":"plan","from":"aaa","to":"bbb","added":1,"replaced":1,"modes":1,"deleted":1,"kept":1,"skipped":1,"fetch_files":2,"fetch_bytes":9,"write_bytes":9,"exact":true,"free":5000000000}
`
	if got := s.out.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestLongGroupsAreCut(t *testing.T) {
	var many []godwit.Entry
	for i := range 50 {
		many = append(many, entry(fmt.Sprintf("f%02d", i), godwit.File, "x", false))
	}
	p, err := plan.Make(plan.Input{To: "b", Installed: listing(), Release: listing(many...), Free: -1})
	if err != nil {
		t.Fatal(err)
	}
	for verbose, want := range map[bool]int{false: listed, true: 50} {
		s := newScreen(Config{Verbose: verbose})
		s.Plan(p, "", "v1")
		if n := strings.Count(s.out.String(), "    f"); n != want {
			t.Errorf("verbose %v: %d paths", verbose, n)
		}
		if verbose != !strings.Contains(s.out.String(), "… and 38 more") {
			t.Errorf("%s", s.out.String())
		}
	}
}

// A real terminal, made by script(1), is told from a pipe.
func TestDetect(t *testing.T) {
	if os.Getenv("GODWIT_TEST_DETECT") != "" {
		cfg := Config{Err: os.Stderr}
		cfg.Detect(os.Getenv)
		fmt.Printf("terminal=%v color=%v", cfg.Terminal, cfg.Color)
		os.Exit(0)
	}
	script, err := exec.LookPath("script")
	if err != nil {
		t.Skip("script(1) is not here")
	}
	for _, c := range []struct{ env, want string }{
		{"TERM=xterm", "terminal=true color=true"}, {"TERM=dumb", "terminal=false color=false"},
		{"TERM=xterm NO_COLOR=1", "terminal=true color=false"}} {
		cmd := exec.Command(script, "-qec", "env GODWIT_TEST_DETECT=1 "+c.env+" "+os.Args[0]+" -test.run '^TestDetect$'", "/dev/null")
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), c.want) {
			t.Errorf("%s: %q, %v", c.env, out, err)
		}
	}
	var pipe Config
	pipe.Err = &bytes.Buffer{}
	pipe.Detect(func(string) string { return "xterm" })
	if pipe.Terminal {
		t.Error("a buffer is taken for a terminal")
	}
}
