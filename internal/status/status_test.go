package status

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/board"
	"github.com/godwit-ota/godwit/config"
	"github.com/godwit-ota/godwit/engine"
	"github.com/godwit-ota/godwit/gate"
	"github.com/godwit-ota/godwit/history"
	"github.com/godwit-ota/godwit/internal/jsontext"
	"github.com/godwit-ota/godwit/store"
)

var update = flag.Bool("update", false, "rewrite the examples in docs/status.md")

var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

func inUTC(t *testing.T) {
	old := time.Local
	time.Local = time.UTC
	t.Cleanup(func() { time.Local = old })
}

// full has something to say in every place.
func full() *Status {
	window := gate.Verdict{Gate: "window", Holds: true, Code: godwit.CodeWindow, Reason: "releases are installed at 02:00-04:00, and it is Wed 12:00", Hint: "wait", Until: noon.Add(14 * time.Hour)}
	return &Status{
		At: noon, Version: "1.2.0", Device: "seven", Root: "/srv/station", Boots: 3,
		Trust: config.Trust{Mode: "signed", AllowedSigners: "/etc/godwit/allowed_signers", RevokedKeys: "/etc/godwit/revoked", Product: "station", Threshold: 1},
		Quota: "12 of 60 requests are left until 2026-03-04 12:40",
		Status: engine.Status{
			Layout: store.Slots, Policy: "signed", Settled: true,
			Running: store.Version{ID: "1111111111111111111111111111111111111111", Name: "v1.4.0", Ref: "refs/tags/v1.4.0", Tag: "1010101010101010101010101010101010101010",
				Time: noon.Add(-72 * time.Hour), At: noon.Add(-90 * time.Second), Policy: "signed", Signers: "alice@acme, bob@acme"},
			Previous:  store.Version{ID: "2222222222222222222222222222222222222222", Name: "v1.3.0", Ref: "refs/tags/v1.3.0"},
			Older:     []store.Version{{ID: store.BeforeGodwit}},
			Trial:     store.Trial{Open: true, BootsLeft: 2},
			TrialLeft: 61 * time.Second,
			Rejected:  []store.Rejection{{ID: "3333333333333333333333333333333333333333", Name: "v1.3.1", Reason: "its health check failed", At: noon.Add(-26 * time.Hour)}},
			Memory: godwit.Memory{Product: "station", Version: "v1.4.0", Time: noon.Add(-72 * time.Hour), Channel: "stable", Sequence: 42,
				Signers: "sha256:aa", Revoked: "sha256:bb"},
			Channel:   engine.Channel{Name: "stable", Release: "v1.4.1", NotAfter: noon.Add(-time.Hour), Expired: true},
			LastCheck: engine.Remark{At: noon.Add(-30 * time.Minute), Key: "1111111111111111111111111111111111111111", Text: "v1.4.1 is available"},
			LastError: engine.Remark{At: noon.Add(-5 * time.Hour), Key: "network", Text: "the host does not answer"},
			Health:    engine.Remark{At: noon.Add(-time.Minute), Text: "ok", Output: "selftest: 4 of 4\n"},
			Hooks:     []engine.Remark{{At: noon.Add(-2 * time.Minute), Key: "pre_switch", Text: "ok", Output: "stopped"}},
			Patched:   godwit.Patched{Applied: 3, Saved: 120_000, Failed: 1, Reason: "the old file differs"},
			BadPatch:  engine.Remark{At: noon.Add(-48 * time.Hour), Text: "the old file differs"},
		},
		Agent: &Live{PID: 4711, Started: noon.Add(-50 * time.Hour), Doing: "waiting", LastCheck: noon.Add(-10 * time.Minute), NextCheck: noon.Add(50 * time.Minute), Why: "as planned",
			Failures: 1, Pending: 2, Retries: 8, Chunk: 4096,
			Waiting: &Waiting{Release: "v1.4.1", Action: gate.Switch, Verdicts: []gate.Verdict{window}}},
		Asked: noon.Add(-10 * time.Minute),
		Gates: map[gate.Action][]gate.Verdict{
			gate.Check: {{Gate: "interval", Skipped: true, Reason: "nothing is said about the time between checks"}, {Gate: "crashes", Skipped: true, Reason: "it has no say in a check"}},
			gate.Fetch: {{Gate: "battery", Holds: true, Code: godwit.CodeBattery, Reason: "the battery is at 31%, and a download needs 40%", Hint: "it goes on when the battery is charged"}},
			gate.Switch: {{Gate: "battery", Holds: true, Code: godwit.CodeBattery, Reason: "the battery is at 31%, and installing needs 40%", Hint: "it goes on when the battery is charged"},
				window, {Gate: "busy", Overridden: true, Reason: "the application must not be disturbed: busy is there"}, {Gate: "halt", Skipped: true, Reason: "this device follows no channel"},
				{Gate: "temperature", Unknown: true, Reason: "the temperature is not known, and 60 °C are the most"}},
		},
		Month:  history.Month{Month: "2026-03", MeteredSent: 3_000, MeteredReceived: 51_000, Sent: 20_000, Received: 1_400_000},
		Budget: 5_000_000, Metered: true, Crashes: 1, Lost: errors.New("a copy was damaged"),
		Hardware: []board.Part{{Name: "board", Text: "Raspberry Pi Zero W Rev 1.1"}, {Name: "battery", Text: "BAT0: 31%"}, {Name: "led", Text: "ACT, driven by mmc0"},
			{Name: "watchdog", Text: "none"}, {Name: "clock", Text: "synchronized"}},
		Battery: gate.Battery{Known: true, Percent: 31, Charging: true}, Celsius: gate.Reading{Known: true, Value: 41.5},
		Events: slices.Values([]history.Event{
			{N: 9, Kind: history.KindCrash, At: noon.Add(-3 * time.Hour), Name: "watchdog", Text: "the watchdog reset the device"},
			{N: 8, Kind: history.KindUpdate, At: noon.Add(-90 * time.Second), Name: "on-trial", From: "v1.3.0", To: "v1.4.0", Text: "fetched with patches", Bytes: 48_000, Took: 12400 * time.Millisecond},
			{N: 7, Kind: history.KindUpdate, At: noon.Add(-26 * time.Hour), Name: "rolled-back", From: "v1.3.0", To: "v1.3.1", Text: "its health check failed"},
			{N: 4, Kind: history.KindError, At: noon.Add(-30 * time.Hour), Last: noon.Add(-5 * time.Hour), Count: 4, Name: "network", Stage: "check", Text: "the host does not answer"},
			{N: 2, Kind: history.KindUpdate, At: noon.Add(-700 * time.Hour), Name: "installed", To: "v1.3.0"},
		}),
	}
}

// calm is how a device is that has nothing to tell.
func calm() *Status {
	s := &Status{At: noon, Version: "1.2.0", Device: "seven", Root: "/srv/station", Boots: 3, Asked: noon.Add(-10 * time.Minute),
		Status: engine.Status{Layout: store.Slots, Policy: "none", Settled: true,
			Running:   store.Version{ID: "1111111111111111", Name: "v1.4.0", Ref: "refs/tags/v1.4.0", At: noon.Add(-72 * time.Hour)},
			Previous:  store.Version{ID: "2222222222222222", Name: "v1.3.0"},
			LastCheck: engine.Remark{At: noon.Add(-26 * time.Hour), Text: "up to date"}},
		Agent: &Live{PID: 4711, Started: noon.Add(-50 * time.Hour), Doing: "waiting", NextCheck: noon.Add(50 * time.Minute), Why: "as planned"},
		Gates: map[gate.Action][]gate.Verdict{gate.Check: {{Gate: "interval", Holds: true, Reason: "the last check was 10 min ago, and at least 60 min are between two"}},
			gate.Switch: {{Gate: "window", Reason: "releases are installed at 10:00-14:00, and it is Wed 12:00"}}},
		Hardware: []board.Part{{Name: "board", Text: "unknown"}, {Name: "battery", Text: "none"}},
	}
	return s
}

func same(t *testing.T, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestCalmText(t *testing.T) {
	inUTC(t)
	same(t, calm().Text(noon, false), `running      v1.4.0 (1111111111), since 2026-03-01 12:00 (3 days ago)
             refs/tags/v1.4.0
previous     v1.3.0 (2222222222)
trust        nothing checks who made a release: trust.mode is "none"
tree         /srv/station, layout slots
last check   2026-03-04 11:50 (10 min ago): up to date
next check   2026-03-04 12:50 (in 50 min): as planned
agent        waiting; process 4711, since 2026-03-02 10:00 (2 days ago)
`)
}

func TestFullText(t *testing.T) {
	inUTC(t)
	s := full()
	text := s.Text(noon, true)
	same(t, text, `running      v1.4.0 (1111111111), since 2026-03-04 11:58 (1 min ago)
             refs/tags/v1.4.0, made 2026-03-01
             signed by alice@acme, bob@acme
trial        not confirmed yet: 1m1s left, and 2 boots of 3
previous     v1.3.0 (2222222222)
             the files from before Godwit
trust        releases for the product "station", signed by one in the allowed_signers that a release brought
             and not in the revoked_keys that a release brought
channel      stable, number 42: v1.4.1
             EXPIRED since 2026-03-04 11:00 (1 h ago): nothing new is installed until somebody sets it again
tree         /srv/station, layout slots
host         12 of 60 requests are left until 2026-03-04 12:40
last check   2026-03-04 11:50 (10 min ago): v1.4.1 is available
next check   2026-03-04 12:50 (in 50 min): as planned; 1 check has failed
waiting      v1.4.1 is there, but installing it waits for the gate window: releases are installed at 02:00-04:00, and it is Wed 12:00; open again at 2026-03-05 02:00 (in 14 h)
             wait
not now      downloading and installing: the battery is at 31%, and a download needs 40%
health       2026-03-04 11:59 (1 min ago): ok
             | selftest: 4 of 4
hook         pre_switch, 2026-03-04 11:58 (2 min ago): ok
             | stopped
patches      3 patches applied, 120 kB saved; 1 of no use
             the last, 2026-03-02 12:00 (2 days ago): the old file differs
last error   2026-03-04 07:00 (5 h ago): the host does not answer
crashes      1 in the last 24 hours; the last 2026-03-04 09:00 (3 h ago): watchdog, the watchdog reset the device
history      lost: a copy was damaged
this month   received 1.5 MB, sent 23 kB; over metered links 54 kB of 5.0 MB
hardware     board: Raspberry Pi Zero W Rev 1.1
             battery: BAT0: 31%
             led: ACT, driven by mmc0
             watchdog: none
             clock: synchronized
reports      2 wait to be sent
agent        waiting; process 4711, since 2026-03-02 10:00 (2 days ago)
rejected     v1.3.1 (3333333333), 2026-03-03 10:00 (26 h ago): its health check failed
checking     interval skipped: nothing is said about the time between checks
downloading  battery HOLDS: the battery is at 31%, and a download needs 40%
installing   battery HOLDS: the battery is at 31%, and installing needs 40%
             window HOLDS: releases are installed at 02:00-04:00, and it is Wed 12:00; open again at 2026-03-05 02:00 (in 14 h)
             busy passes: the application must not be disturbed: busy is there
             halt skipped: what the channel says counts when it is asked
             temperature unknown: the temperature is not known, and 60 °C are the most
`)
	if text := s.Text(noon, false); !strings.Contains(text, "\nhardware     Raspberry Pi Zero W Rev 1.1; battery 31%, charging; LED ACT, driven by mmc0; 41.5 °C\n") || strings.Contains(text, "skipped") {
		t.Error(text)
	}
}

// What is told in few other states.
func TestOtherText(t *testing.T) {
	inUTC(t)
	for _, c := range []struct {
		name   string
		change func(*Status)
		want   string
	}{
		{"damaged", func(s *Status) { s.Damaged = true }, "\nDAMAGED      both copies of the record are damaged: Godwit no longer knows what is installed\n             run `godwit update`"},
		{"unsettled", func(s *Status) { s.Settled = false }, "\nUNSETTLED    a switch was interrupted: run `godwit recover` to finish it\n"},
		{"never asked", func(s *Status) { s.LastCheck, s.Asked = engine.Remark{}, time.Time{} }, "\nlast check   never\n"},
		{"asked, and nothing noted", func(s *Status) { s.LastCheck = engine.Remark{} }, "\nlast check   2026-03-04 11:50 (10 min ago)\n"},
		{"gone back", func(s *Status) { s.Memory.Version = "v1.2.0" }, "\noldest       v1.2.0 may be gone back to: a signed channel leads there\n"},
		{"newer before", func(s *Status) { s.Memory.Version = "v1.5.0" }, "\nnewest       v1.5.0 was accepted before"},
		{"no agent", func(s *Status) { s.Agent = nil }, "\nnot now      checking: the last check was 10 min ago, and at least 60 min are between two\nagent        none runs\n"},
		{"waiting", func(s *Status) {
			s.Agent.Waiting = full().Agent.Waiting
			s.Agent.Why = "v1.4.1 waits: " + s.Agent.Waiting.Held().Reason
		}, "\nnext check   2026-03-04 12:50 (in 50 min)\nwaiting      v1.4.1 is there"},
		{"failing", func(s *Status) { s.Agent.Failures = 3 }, " (in 50 min): as planned; 3 checks in a row have failed\n"},
		{"control characters", func(s *Status) { s.LastError = engine.Remark{At: noon, Text: "bad\x1b[31m"} }, `: bad\x1b[31m`},
		{"rejected without a name", func(s *Status) { s.Rejected = []store.Rejection{{ID: "4444444444444444", Reason: "worse", At: noon}} }, "\nrejected     4444444444, 2026-03-04 12:00 (just now): worse\n"},
		{"good until", func(s *Status) {
			s.Channel = engine.Channel{Name: "stable", Release: "v2", NotAfter: noon.Add(time.Hour)}
		}, "\nchannel      stable: v2, good until 2026-03-04 13:00\n"},
		{"hmac", func(s *Status) { s.Policy = "hmac" }, "\ntrust        manifests made with the secret trust.key"},
		{"two signers", func(s *Status) {
			s.Policy, s.Trust = "signed", config.Trust{Product: "p", Threshold: 2, AllowedSigners: "/a", RevokedKeys: "/r"}
		}, "\ntrust        releases for the product \"p\", signed by 2 of those in /a\n             and not in /r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := calm()
			c.change(s)
			if got := s.Text(noon, false); !strings.Contains(got, c.want) {
				t.Errorf("got\n%s\nwithout\n%s", got, c.want)
			}
		})
	}
}

// page is docs/status.md.
const doc = "../../docs/status.md"

// block replaces or returns what stands in the code block after a mark.
func block(t *testing.T, mark, now string) {
	t.Helper()
	b, err := os.ReadFile(doc)
	if err != nil {
		t.Fatal(err)
	}
	re := regexp.MustCompile("(?s)(" + regexp.QuoteMeta(mark) + "\n```[a-z]*\n)(.*?)(```\n)")
	m := re.FindSubmatchIndex(b)
	if m == nil {
		t.Fatalf("%s has no %s", doc, mark)
	}
	if *update {
		b = slices.Concat(b[:m[4]], []byte(now), b[m[5]:])
		if err := os.WriteFile(doc, b, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	same(t, string(b[m[4]:m[5]]), now)
}

// indented is JSON for people.
func indented(b []byte, v any, depth int) []byte {
	pad := "\n" + strings.Repeat("  ", depth+1)
	switch v := v.(type) {
	case jsontext.Fields:
		if v == nil || depth > 1 {
			return jsontext.Append(b, v)
		}
		b = append(b, '{')
		for i, f := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(append(b, pad...), strconv.Quote(f.Name)+": "...)
			b = indented(b, f.Value, depth+1)
		}
		return append(b, "\n"+strings.Repeat("  ", depth)+"}"...)
	case []jsontext.Fields:
		b = append(b, '[')
		for i, f := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(b, pad...)
			b = jsontext.Append(b, f)
		}
		return append(b, "\n"+strings.Repeat("  ", depth)+"]"...)
	}
	return jsontext.Append(b, v)
}

// names collects the paths of all members.
func names(prefix string, v any, into map[string]bool) {
	switch v := v.(type) {
	case jsontext.Fields:
		for _, f := range v {
			name := prefix + f.Name
			for long, short := range map[string]string{"previous.": "running.", "older.": "running.", "agent.waiting.gates.": "gates.", "last_crash.": "log.", "last_update.": "log."} {
				if rest, ok := strings.CutPrefix(name, long); ok {
					name = short + rest
				}
			}
			into[name] = true
			names(name+".", f.Value, into)
		}
	case []jsontext.Fields:
		for _, f := range v {
			names(prefix, f, into)
		}
	}
}

// Every member of the JSON stands in the table of docs/status.md, and nothing else does.
func TestSchemaIsDocumented(t *testing.T) {
	inUTC(t)
	is := map[string]bool{}
	s := full()
	names("", s.Fields(), is)
	for e := range s.Events {
		names("log.", EventFields(e), is)
	}
	said := table(t, "<!-- schema -->")
	for name := range is {
		if !said[name] {
			t.Errorf("%s does not name %s", doc, name)
		}
	}
	for name := range said {
		if !is[name] {
			t.Errorf("%s names %s, which is not there", doc, name)
		}
	}
	block(t, "<!-- example: json -->", string(indented(nil, s.Fields(), 0))+"\n")
	block(t, "<!-- example: text -->", calm().Text(noon, false))
	var log strings.Builder
	for e := range s.Events {
		log.WriteString(Line(e) + "\n")
	}
	block(t, "<!-- example: log -->", log.String())
	block(t, "<!-- example: metrics -->", string(Metrics(s)))
	if v, err := jsontext.Parse(jsontext.Append(nil, s.Fields())); err != nil || v.Get("schema").Text != "1" || v.Members[0].Name != "type" {
		t.Error(err, v.Get("schema"))
	}
}

// table gives the names in the first column of the table after a mark.
func table(t *testing.T, mark string) map[string]bool {
	t.Helper()
	b, err := os.ReadFile(doc)
	if err != nil {
		t.Fatal(err)
	}
	_, after, ok := strings.Cut(string(b), mark+"\n")
	if !ok {
		t.Fatalf("%s has no %s", doc, mark)
	}
	said := map[string]bool{}
	for line := range strings.Lines(after) {
		if !strings.HasPrefix(line, "|") {
			break
		}
		first, _, _ := strings.Cut(line[1:], "|")
		for i, word := range strings.Split(first, "`") {
			if i%2 == 1 {
				said[word] = true
			}
		}
	}
	if len(said) < 5 {
		t.Fatalf("the table after %s names %d things", mark, len(said))
	}
	return said
}

// The members that were there before there was a number of the schema.
func TestJSONOfLittle(t *testing.T) {
	got := string(jsontext.Append(nil, (&Status{Root: "/", Status: engine.Status{Layout: store.InPlace, Policy: "none", Settled: true}}).Fields()))
	same(t, got, `{"type":"status","schema":1,"at":"","device":"","state":"nothing installed","root":"/","layout":"in-place","policy":"none","running":null,"previous":null,"channel":null,"memory":null,`+
		`"settled":true,"damaged":false,"trial":null,"rejected":[],"last_check":null,"last_error":null,"health":null,"agent":null,"gates":[],`+
		`"traffic":{"month":"","received":0,"sent":0,"metered_received":0,"metered_sent":0,"budget":0,"metered":false},"crashes":0,"last_crash":null,"last_update":null,"battery":null,"hardware":[]}`)
}

func TestLiveIsReadAsWritten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "run", "x.json")
	want := *full().Agent
	want.PID = os.Getpid()
	if err := want.Write(file); err != nil {
		t.Fatal(err)
	}
	got, ok := ReadLive(file)
	if !ok {
		t.Fatal("not read")
	}
	same(t, string(jsontext.Append(nil, got.fields())), string(jsontext.Append(nil, want.fields())))
	want.PID = 1 << 30
	if err := want.Write(file); err != nil {
		t.Fatal(err)
	}
	if _, ok := ReadLive(file); ok {
		t.Error("an agent that is gone runs")
	}
}

func TestState(t *testing.T) {
	for want, change := range map[string]func(*Status){
		"confirmed": func(*Status) {}, "damaged": func(s *Status) { s.Damaged = true }, "unsettled": func(s *Status) { s.Settled = false },
		"on trial": func(s *Status) { s.Trial.Open = true }, "nothing installed": func(s *Status) { s.Running = store.Version{} }, "channel expired": func(s *Status) { s.Channel.Expired = true },
	} {
		s := calm()
		change(s)
		if got := s.State(); got != want {
			t.Errorf("%s instead of %s", got, want)
		}
		if got := s.Confirmed(); got != (want == "confirmed" || want == "channel expired") {
			t.Errorf("%s: confirmed %v", want, got)
		}
	}
}

func TestLine(t *testing.T) {
	inUTC(t)
	same(t, Line(history.Event{Kind: history.KindError, At: noon, Name: "io", Text: "two\nlines\x1b[1m"}), "2026-03-04 12:00  error   io: two lines\\x1b[1m")
	same(t, Line(history.Event{Kind: history.KindUpdate, At: noon, Name: "failed", Took: 1400 * time.Microsecond}), "2026-03-04 12:00  update  failed, 1ms")
}
