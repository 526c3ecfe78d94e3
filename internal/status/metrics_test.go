package status

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/godwit-ota/godwit/history"
	"github.com/godwit-ota/godwit/store"
)

// awkward has labels that need escapes.
func awkward() *Status {
	s := full()
	s.Running = store.Version{ID: "11", Name: "v\"1\\2\n{3}, é \xff"}
	s.Channel.Name = `back\`
	return s
}

func TestMetricsByPromtool(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("SKIPPED: promtool is not installed (apt-get install prometheus); only the checker in this file has looked")
	}
	for name, s := range map[string]*Status{"full": full(), "calm": calm(), "awkward": awkward(), "empty": {}} {
		cmd := exec.Command(promtool, "check", "metrics")
		cmd.Stdin = bytes.NewReader(Metrics(s))
		if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
	cmd := exec.Command(promtool, "check", "metrics")
	cmd.Stdin = strings.NewReader("godwit_x{a=\"b} 1\n")
	if err := cmd.Run(); err == nil {
		t.Error("promtool sees no damage")
	}
}

var (
	metricName = regexp.MustCompile(`^godwit_[a-z0-9]+(_[a-z0-9]+)*$`)
	labelName  = regexp.MustCompile(`^[a-z]+$`)
)

// parsed reads the text format strictly, as its description has it: HELP and TYPE
// once before the samples of each metric, those together, none twice.
func parsed(t *testing.T, b []byte) map[string]float64 {
	t.Helper()
	all, types := map[string]float64{}, map[string]bool{}
	if len(b) == 0 || b[len(b)-1] != '\n' {
		t.Fatalf("no line end at the end of %q", b)
	}
	current, helped := "", ""
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSuffix(line, "\n")
		if rest, ok := strings.CutPrefix(line, "# HELP "); ok {
			helped, rest, _ = strings.Cut(rest, " ")
			if !strings.HasSuffix(rest, ".") || strings.Contains(rest, `\`) {
				t.Errorf("%q", line)
			}
			continue
		}
		if rest, ok := strings.CutPrefix(line, "# TYPE "); ok {
			name, kind, _ := strings.Cut(rest, " ")
			if name != helped || kind != "gauge" || types[name] || !metricName.MatchString(name) {
				t.Errorf("%q after help on %q", line, helped)
			}
			current, types[name] = name, true
			continue
		}
		name := line[:strings.IndexAny(line+" ", "{ ")]
		if name != current {
			t.Errorf("%q belongs to %s", line, current)
		}
		rest, seen := line[len(name):], map[string]bool{}
		key := name
		if strings.HasPrefix(rest, "{") {
			for sep := byte('{'); sep != '}'; {
				label, after, ok := strings.Cut(rest[1:], `="`)
				if !ok || !labelName.MatchString(label) || seen[label] {
					t.Fatalf("label %q in %q", label, line)
				}
				seen[label] = true
				var value strings.Builder
				for i := 0; ; i++ {
					if i >= len(after) {
						t.Fatalf("no end in %q", line)
					}
					if after[i] == '"' {
						rest = after[i+1:]
						break
					}
					if after[i] == '\\' {
						i++
						c, ok := map[byte]byte{'\\': '\\', '"': '"', 'n': '\n'}[after[i]]
						if !ok {
							t.Fatalf("escape in %q", line)
						}
						value.WriteByte(c)
						continue
					}
					value.WriteByte(after[i])
				}
				key += ";" + label + "=" + value.String()
				if sep = rest[0]; sep != ',' && sep != '}' {
					t.Fatalf("%q", line)
				}
			}
			rest = rest[1:]
		}
		text, ok := strings.CutPrefix(rest, " ")
		v, err := strconv.ParseFloat(text, 64)
		if _, twice := all[key]; !ok || err != nil || twice {
			t.Errorf("%q: %v", line, err)
		}
		all[key] = v
	}
	return all
}

func TestMetrics(t *testing.T) {
	all := parsed(t, Metrics(full()))
	for key, want := range map[string]float64{
		"godwit_confirmed": 0, "godwit_trial_open": 1, "godwit_channel_expired": 1, "godwit_agent_up": 1, "godwit_check_failures": 1, "godwit_reports_pending": 2,
		"godwit_last_check_timestamp_seconds":                 float64(noon.Add(-10 * time.Minute).Unix()),
		"godwit_next_check_timestamp_seconds":                 float64(noon.Add(50 * time.Minute).Unix()),
		"godwit_bytes_month;direction=sent;metered=true":      3000,
		"godwit_bytes_month;direction=received;metered=false": 1_400_000,
		"godwit_battery_ratio":                                0.31, "godwit_temperature_celsius": 41.5, "godwit_crashes_24h": 1,
		"godwit_gate_holds;gate=window;action=switch": 1, "godwit_gate_holds;gate=busy;action=switch": 0,
		"godwit_updates;outcome=rolled-back": 1, "godwit_updates;outcome=installed": 1,
	} {
		if got, ok := all[key]; !ok || got != want {
			t.Errorf("%s is %v, %v instead of %v", key, got, ok, want)
		}
	}
	if all := parsed(t, Metrics(awkward())); all["godwit_info;version=v\"1\\2\n{3}, é \uFFFD;commit=11;previous=v1.3.0;channel=back\\;device=seven;policy=signed;godwit=1.2.0"] != 1 {
		t.Error(all)
	}
	for key := range parsed(t, Metrics(&Status{})) {
		if strings.Contains(key, "battery") || strings.Contains(key, "timestamp") || strings.Contains(key, "temperature") || strings.Contains(key, "updates") {
			t.Errorf("%s is not known", key)
		}
	}
}

// docs/status.md names every metric.
func TestMetricsAreDocumented(t *testing.T) {
	said := table(t, "<!-- metrics -->")
	is := map[string]bool{}
	for key := range parsed(t, Metrics(full())) {
		name, _, _ := strings.Cut(key, ";")
		is[name] = true
	}
	for name := range is {
		if !said[name] {
			t.Errorf("%s is not documented", name)
		}
	}
	for name := range said {
		if !is[name] {
			t.Errorf("%s is documented, and not there", name)
		}
	}
}

func TestWriteMetrics(t *testing.T) {
	file := filepath.Join(t.TempDir(), "godwit.prom")
	s := full()
	read := func() string {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	write := func() {
		t.Helper()
		if err := WriteMetrics(file, Metrics(s)); err != nil {
			t.Fatal(err)
		}
	}
	inode := func() os.FileInfo {
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	aged := func(d time.Duration) { os.Chtimes(file, time.Now().Add(-d), time.Now().Add(-d)) }

	write()
	first := inode()
	if read() != string(Metrics(s)) || first.Mode().Perm() != 0o644 {
		t.Error(first.Mode(), read())
	}
	write()
	if !os.SameFile(first, inode()) {
		t.Error("written although nothing changed")
	}
	s.Celsius.Value = 50
	write()
	if !os.SameFile(first, inode()) {
		t.Error("a reading was written at once")
	}
	aged(2 * time.Minute)
	write()
	if os.SameFile(first, inode()) || read() != string(Metrics(s)) {
		t.Error("a reading was not written after a minute")
	}
	s.Trial.Open = false
	write()
	if read() != string(Metrics(s)) {
		t.Error("a change was not written at once")
	}
	last := inode()
	aged(time.Hour)
	write()
	if !os.SameFile(last, inode()) || time.Since(inode().ModTime()) > time.Minute {
		t.Error("not fresh without a write")
	}
	aged(-time.Hour) // the clock was ahead
	write()
	if time.Until(inode().ModTime()) > 0 {
		t.Error("from the future")
	}
	os.WriteFile(file, nil, 0o644) // after a power cut
	write()
	if read() != string(Metrics(s)) {
		t.Error("not mended")
	}
	if names, _ := filepath.Glob(filepath.Dir(file) + "/*"); len(names) != 1 {
		t.Error(names)
	}
	if err := WriteMetrics(filepath.Join(file, "x"), nil); err == nil {
		t.Error("written where there is no folder")
	}
}

// The same status gives the same bytes.
func TestMetricsAreStable(t *testing.T) {
	s := full()
	s.Events = func(yield func(history.Event) bool) {
		for _, o := range []string{"z", "a", "m", "b", "q"} {
			if !yield(history.Event{Kind: history.KindUpdate, Name: o}) {
				return
			}
		}
	}
	want := Metrics(s)
	for range 20 {
		if !bytes.Equal(Metrics(s), want) {
			t.Fatal("another text")
		}
	}
	later := *s
	later.At = noon.Add(time.Hour)
	if !bytes.Equal(Metrics(&later), want) {
		t.Error("the time of gathering is in it")
	}
}
