package report

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/internal/webclient"
	"github.com/godwit-ota/godwit/trust/sshsig"
	"github.com/godwit-ota/godwit/vfs/crashfs"
)

var noon = time.Date(2026, 6, 15, 12, 0, 0, 0, time.UTC)

// straight is a network without whatever proxy the machine has.
var straight = webclient.Network{Proxy: "none"}

// testKey makes a key once for all tests.
var testKey = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "godwit-report-key")
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "key")
	_, _, err = NewKey(file, "test")
	return file, err
})

func keyFile(t testing.TB) string {
	t.Helper()
	file, err := testKey()
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func TestMain(m *testing.M) {
	code := m.Run()
	if file, err := testKey(); err == nil {
		os.RemoveAll(filepath.Dir(file))
	}
	if err := goleak.Find(); code == 0 && err != nil {
		println(err.Error())
		code = 1
	}
	os.Exit(code)
}

// A clock that a test turns.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// middle is randomness without any.
type middle struct{}

func (middle) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

// config is a device with a disk in memory.
func config(t testing.TB, places ...Place) (Config, *clock) {
	c := &clock{at: noon}
	return Config{Device: "station-7", Version: "v1.2.3", Key: keyFile(t), FS: crashfs.New(crashfs.Options{}), Folder: "state/report",
		Places: places, Now: c.now, Network: straight, Timeout: 5 * time.Second}, c
}

func wantCode(t testing.TB, err error, code godwit.Code) {
	t.Helper()
	if godwit.CodeOf(err) != code {
		t.Fatalf("got %v (%s), want code %q", err, godwit.CodeOf(err), code)
	}
}

func add(t testing.TB, r *Reporter, release string) {
	t.Helper()
	if err := r.Add(Report{Release: release, Verdict: Confirmed}); err != nil {
		t.Fatal(err)
	}
}

// sealed is what arrives.
type sealed struct {
	Report    json.RawMessage
	Signature string
}

// content is what a receiver makes of a report.
type content struct {
	ID, Device, Release, Verdict, Reason, Code string
	Seq, Dropped, Format                       int64
}

// open checks a report as a receiver does.
func open(t testing.TB, body []byte) content {
	t.Helper()
	var s sealed
	if err := json.Unmarshal(body, &s); err != nil {
		t.Fatalf("%v in %q", err, body)
	}
	sig, rest, err := sshsig.Parse([]byte(s.Signature))
	if err != nil || len(rest) > 0 {
		t.Fatal(err, rest)
	}
	if err := sig.Verify(strings.NewReader(string(s.Report)), Namespace); err != nil {
		t.Fatal(err)
	}
	var c content
	if err := json.Unmarshal(s.Report, &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// A receiver is a server that does as it is told, and then notes what it took.
type receiver struct {
	*httptest.Server
	mu    sync.Mutex
	got   []content
	asked int
	takes int              // so many before do
	do    http.HandlerFunc // nil: takes it
}

func receive(t testing.TB) *receiver {
	v := &receiver{}
	v.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		v.mu.Lock()
		defer v.mu.Unlock()
		v.asked++
		if v.takes--; v.do != nil && v.takes < 0 {
			v.do(w, req)
			return
		}
		if err != nil || req.Method != "POST" || req.Header.Get("Content-Type") != "application/json" || req.Header.Get("User-Agent") != "godwit/v1.2.3" {
			t.Errorf("%v, %s, %v", err, req.Method, req.Header)
		}
		v.got = append(v.got, open(t, body))
	}))
	t.Cleanup(v.Close)
	return v
}

// set has it take so many reports more, and then do.
func (v *receiver) set(do http.HandlerFunc, takes ...int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.do, v.takes = do, 0
	if len(takes) > 0 {
		v.takes = takes[0]
	}
}

// forget begins anew.
func (v *receiver) forget() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.got = nil
}

// requests is how many there were.
func (v *receiver) requests() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.asked
}

// taken are the reports that arrived, in order.
func (v *receiver) taken() []content {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.got)
}

// releases are the names that arrived, in order.
func (v *receiver) releases() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	var names []string
	for _, c := range v.got {
		names = append(names, c.Release)
	}
	return strings.Join(names, " ")
}

func TestSend(t *testing.T) {
	v := receive(t)
	cfg, _ := config(t, Place{URL: v.URL + "/reports"})
	r := New(cfg)
	if n, next, err := r.Send(t.Context()); n != 0 || !next.IsZero() || err != nil {
		t.Fatal(n, next, err)
	}
	add(t, r, "v1")
	add(t, r, "v2")
	err := r.Add(Report{Verdict: Failed, Release: "v3", Code: godwit.CodeDiskFull, Reason: "the disk\nis \"full\""})
	if err != nil || r.Pending() != 3 {
		t.Fatal(err, r.Pending())
	}
	n, next, err := New(cfg).Send(t.Context())
	if n != 3 || !next.IsZero() || err != nil || r.Pending() != 0 {
		t.Fatal(n, next, err, r.Pending())
	}
	if v.releases() != "v1 v2 v3" || v.taken()[2].Reason != `the disk is "full"` || v.taken()[2].Seq != 3 || v.taken()[0].ID == v.taken()[1].ID {
		t.Errorf("%+v", v.taken())
	}
	if n, _, _ := r.Send(t.Context()); n != 0 || v.requests() != 3 {
		t.Error("sent again")
	}
	if sent, received := r.Transferred(); sent != 0 || received != 0 {
		t.Error("another Reporter sent")
	}
}

// TestSshKeygen has the real program check what arrives, the way docs/reports.md
// shows it.
func TestSshKeygen(t *testing.T) {
	if _, err := exec.LookPath("ssh-keygen"); err != nil {
		t.Skip("ssh-keygen is not installed")
	}
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	public, made, err := NewKey(path("key"), "station-7")
	if err != nil || !made {
		t.Fatal(made, err)
	}
	cfg, _ := config(t, Place{URL: "file://" + path("reports.jsonl")})
	cfg.Key = path("key")
	r := New(cfg)
	if err := r.Add(Report{Verdict: RolledBack, Release: "v2 <äß€😀\\>", From: "v1", Reason: "it said \"no\"\t\u2028\x7f\xff &c"}); err != nil {
		t.Fatal(err)
	}
	if n, _, err := r.Send(t.Context()); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	line, err := os.ReadFile(path("reports.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	shell := shellOf(t)
	run := func(device, allowed string) (string, error) {
		if err := os.WriteFile(path("allowed_signers"), []byte(allowed+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("sh", "-ec", shell)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "DEVICE="+device)
		cmd.Stdin = strings.NewReader(string(line))
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	for _, c := range []struct {
		name, device, allowed string
		ok                    bool
	}{
		{"as it is", "station-7", "station-7 " + public, true},
		{"for this alone", "station-7", `station-7 namespaces="report@godwit" ` + public, true},
		{"for something else", "station-7", `station-7 namespaces="git" ` + public, false},
		{"another device", "station-8", "station-7 " + public, false},
	} {
		if out, err := run(c.device, c.allowed); (err == nil) != c.ok {
			t.Errorf("%s: %v\n%s", c.name, err, out)
		}
	}
	line = []byte(strings.Replace(string(line), "rolled-back", "confirmed", 1))
	if out, err := run("station-7", "station-7 "+public); err == nil {
		t.Errorf("a forged report is accepted\n%s", out)
	}
}

// shellOf takes the script that checks a report from the docs.
func shellOf(t *testing.T) string {
	t.Helper()
	doc, err := os.ReadFile("../docs/reports.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(doc), "```sh\n")
	script, _, end := strings.Cut(rest, "```\n")
	if !ok || !end {
		t.Fatal("docs/reports.md has no script")
	}
	return script
}

// TestCanonical: reading and writing again gives the same bytes, with jq and
// Python as with Go.
func TestCanonical(t *testing.T) {
	cfg, _ := config(t, Place{URL: "http://localhost"})
	r := New(cfg)
	k, err := loadKey(cfg.Key)
	if err != nil {
		t.Fatal(err)
	}
	rep := Report{ID: "x", Verdict: Failed, Time: noon, Reason: "ä\"\\\x00\x1f\x7f\u0085\u2028\u202e\xff<&>/", Boot: "b", Code: "io", Commit: "c", From: "f", Release: "r", Tree: "t"}
	body, err := r.seal(k, &rep, 7, 2)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"boot":"b","code":"io","commit":"c","device":"station-7","dropped":2,"format":1,"from":"f","godwit":"v1.2.3","id":"x",` +
		`"reason":"ä\"\\??????` + "\ufffd" + `<&>/","release":"r","seq":7,"time":"2026-06-15T12:00:00Z","tree":"t","verdict":"failed"}`
	if !strings.HasPrefix(string(body), `{"report":`+want+`,"signature":"-----BEGIN`) {
		t.Fatalf("%s\nis not\n%s", body, want)
	}
	open(t, body)
	for _, args := range [][]string{
		{"jq", "-cj", ".report"},
		{"jq", "-cSj", ".report"},
		{"python3", "-c", "import json,sys; sys.stdout.write(json.dumps(json.load(sys.stdin)['report'],sort_keys=True,separators=(',',':'),ensure_ascii=False))"},
	} {
		if _, err := exec.LookPath(args[0]); err != nil {
			t.Logf("%s is not installed: left out", args[0])
			continue
		}
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Stdin = strings.NewReader(string(body))
		cmd.Env = append(os.Environ(), "PYTHONIOENCODING=utf-8")
		if out, err := cmd.Output(); err != nil || string(out) != want {
			t.Errorf("%v: %v\n%s", args, err, out)
		}
	}
}

func TestTextsAreBounded(t *testing.T) {
	cfg, _ := config(t, Place{URL: "http://localhost"})
	r := New(cfg)
	long := strings.Repeat("ä€\x00", 1<<16)
	if err := r.Add(Report{Verdict: Failed, Reason: long, Release: long, Commit: long, Tree: long, From: long, Boot: long, Code: godwit.Code(long)}); err != nil {
		t.Fatal(err)
	}
	r.change(func(q *queue) (bool, error) {
		if c := open(t, q.items[0].body); len(q.items[0].body) > 3<<10 || len(c.Reason) > maxReason || len(c.Reason) < maxReason-3 || len(c.Release) > maxText {
			t.Errorf("%d bytes: %+v", len(q.items[0].body), c)
		}
		return false, nil
	})
}

func TestBound(t *testing.T) {
	v := receive(t)
	for _, c := range []struct {
		name           string
		reports, bytes int
		reason         string
		want           int
	}{
		{"by number", 4, 0, "", 4},
		{"by bytes", 0, 8 << 10, strings.Repeat("x", maxReason), 7},
		{"default", 0, 0, "", 32},
	} {
		t.Run(c.name, func(t *testing.T) {
			v.forget()
			cfg, _ := config(t, Place{URL: v.URL})
			cfg.MaxReports, cfg.MaxBytes = c.reports, c.bytes
			r := New(cfg)
			for range 40 {
				if err := r.Add(Report{Verdict: Confirmed, Reason: c.reason}); err != nil {
					t.Fatal(err)
				}
			}
			if n, _, err := r.Send(t.Context()); err != nil || n != c.want || r.Pending() != 0 {
				t.Fatal(n, err, r.Pending())
			}
			for i, got := range v.taken() {
				if n := int64(40 - len(v.taken()) + i + 1); got.Seq != n || got.Dropped != max(0, n-int64(c.want)) {
					t.Errorf("%d: seq %d, dropped %d", i, got.Seq, got.Dropped)
				}
			}
		})
	}
}

func TestSameID(t *testing.T) {
	v := receive(t)
	cfg, _ := config(t, Place{URL: v.URL})
	r := New(cfg)
	for range 2 {
		if err := r.Add(Report{ID: "boot-7.confirmed", Verdict: Confirmed}); err != nil {
			t.Fatal(err)
		}
	}
	if r.Pending() != 1 {
		t.Error(r.Pending())
	}
}

func TestNothingToDo(t *testing.T) {
	cfg, _ := config(t)
	cfg.Key = "/nonexistent"
	r := New(cfg)
	if err := r.Add(Report{}); err != nil || cfg.FS.(*crashfs.FS).Ops() != 0 {
		t.Error(err)
	}
	if n, next, err := r.Send(t.Context()); n != 0 || !next.IsZero() || err != nil {
		t.Error(n, next, err)
	}
}

func TestMistakes(t *testing.T) {
	cfg, _ := config(t, Place{URL: "http://localhost"})
	for _, c := range []struct {
		name   string
		change func(*Config, *Report)
		code   godwit.Code
	}{
		{"no device", func(c *Config, _ *Report) { c.Device = "" }, godwit.CodeConfig},
		{"device with a line end", func(c *Config, _ *Report) { c.Device = "a\nb" }, godwit.CodeConfig},
		{"device with a comma", func(c *Config, _ *Report) { c.Device = "a,b" }, godwit.CodeConfig},
		{"no key", func(c *Config, _ *Report) { c.Key = "/nonexistent" }, godwit.CodeConfig},
		{"no verdict", func(_ *Config, r *Report) { r.Verdict = "" }, godwit.CodeUsage},
		{"no id", func(_ *Config, r *Report) { r.ID = "a b" }, godwit.CodeUsage},
		{"no randomness", func(c *Config, _ *Report) { c.Random = strings.NewReader("") }, godwit.CodeFailed},
	} {
		cfg, rep := cfg, Report{Verdict: Confirmed}
		c.change(&cfg, &rep)
		r := New(cfg)
		if err := r.Add(rep); godwit.CodeOf(err) != c.code || r.Pending() != 0 {
			t.Errorf("%s: %v (%s)", c.name, err, godwit.CodeOf(err))
		}
	}
}

func TestPlaceCheck(t *testing.T) {
	for _, u := range []string{"https://h/x?y=z", "http://u:p@h:80", "mqtts://h/a/{device}/b", "mqtt://h:1/t", "mqtt://[::1]/t", "file:///var/log/r", "mqtts://h/{device}"} {
		if err := (Place{URL: u}).Check(); err != nil {
			t.Errorf("%s: %v", u, err)
		}
	}
	for _, u := range []string{"", "h/x", "ftp://h/x", "https:///x", "mqtts://h", "mqtts://h/", "mqtts://h/a/+", "mqtts://h/a/%23", "mqtts://h/$SYS/x", "mqtts://h/t?x",
		"mqtts:///t", "file://h/x", "file:x", "file:///", "file:///a/../b", "http://h:x", "http://%zz"} {
		if err := (Place{URL: u}).Check(); godwit.CodeOf(err) != godwit.CodeConfig {
			t.Errorf("%s: %v", u, err)
		}
	}
}

// TestStopped: a context that ends is not held against a place.
func TestStopped(t *testing.T) {
	v := receive(t)
	cfg, _ := config(t, Place{URL: v.URL})
	r := New(cfg)
	add(t, r, "v1")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	n, next, err := r.Send(ctx)
	if n != 0 || !next.Equal(noon) || err == nil || errors.Is(err, io.EOF) {
		t.Fatal(n, next, err)
	}
	if n, _, err := r.Send(t.Context()); n != 1 || err != nil {
		t.Fatal(n, err)
	}
}
