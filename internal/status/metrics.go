package status

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/gate"
	"github.com/godwit-ota/godwit/history"
)

// A metrics is text in the format of Prometheus, version 0.0.4.
// Source: prometheus.io/docs/instrumenting/exposition_formats.
type metrics struct{ bytes.Buffer }

// gauge begins a metric. All are gauges: what is counted is counted in a month, in a
// day, or in a history of a limited length, and can fall.
func (m *metrics) gauge(name, help string) {
	m.WriteString("# HELP godwit_" + name + " " + help + "\n# TYPE godwit_" + name + " gauge\n")
}

// sample is a value of the metric. labels are names and values by turns.
func (m *metrics) sample(name string, value float64, labels ...string) {
	m.WriteString("godwit_" + name)
	for i := 0; i+1 < len(labels); i += 2 {
		m.WriteByte("{,"[min(i, 1)])
		m.WriteString(labels[i] + `="` + escaper.Replace(strings.ToValidUTF8(labels[i+1], "\uFFFD")) + `"`)
	}
	if len(labels) > 0 {
		m.WriteByte('}')
	}
	m.WriteString(" " + strconv.FormatFloat(value, 'f', -1, 64) + "\n")
}

var escaper = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

// one is a metric with one value.
func (m *metrics) one(name, help string, value float64) {
	m.gauge(name, help)
	m.sample(name, value)
}

// since is a metric that is a time; without one there is no value.
func (m *metrics) since(name, help string, t time.Time) {
	if t.Unix() > 0 {
		m.one(name, help, float64(t.Unix()))
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// Metrics is the status in the text format of Prometheus. The same status always
// gives the same bytes: nothing in them is the time at which they were made.
func Metrics(s *Status) []byte {
	var m metrics
	m.gauge("info", "What this is; the value is always 1.")
	m.sample("info", 1, "version", s.Running.Name, "commit", s.Running.ID, "previous", s.Previous.Name, "channel", s.Channel.Name,
		"device", s.Device, "policy", s.Policy, "godwit", s.Version)
	m.one("confirmed", "Whether what runs has proved that it works.", truth(s.Confirmed()))
	m.one("trial_open", "Whether what runs is on trial.", truth(s.Trial.Open))
	m.one("damaged", "Whether the record of what is installed is damaged.", truth(s.Damaged))
	m.one("channel_expired", "Whether nobody has renewed the channel's orders in time.", truth(s.Channel.Expired))
	m.since("running_since_timestamp_seconds", "When the version that runs was switched to.", s.Running.At)
	m.since("last_check_timestamp_seconds", "When the source was asked last.", s.Asked)
	m.since("last_error_timestamp_seconds", "When something failed that has not been got over.", s.LastError.At)
	m.one("agent_up", "Whether an agent runs.", truth(s.Agent != nil))
	if a := s.Agent; a != nil {
		m.since("next_check_timestamp_seconds", "When the source is asked next.", a.NextCheck)
		m.one("check_failures", "Checks that failed in a row.", float64(a.Failures))
		m.one("reports_pending", "Reports that wait to be sent.", float64(a.Pending))
		m.one("release_waiting", "Whether a release is there that a gate holds back.", truth(a.Waiting != nil))
	}
	m.gauge("bytes_month", "Bytes that went over the network this month.")
	for _, v := range []struct {
		n                  int64
		direction, metered string
	}{{s.Month.Received, "received", "false"}, {s.Month.Sent, "sent", "false"}, {s.Month.MeteredReceived, "received", "true"}, {s.Month.MeteredSent, "sent", "true"}} {
		m.sample("bytes_month", float64(v.n), "direction", v.direction, "metered", v.metered)
	}
	if s.Budget > 0 {
		m.one("budget_bytes", "Bytes that may go over metered links in a month.", float64(s.Budget))
	}
	m.one("crashes_24h", "Crashes in the last 24 hours.", float64(s.Crashes))
	if s.Battery.Known {
		m.one("battery_ratio", "Charge of the battery, 1 being full.", float64(s.Battery.Percent)/100)
		m.one("battery_charging", "Whether the battery is being charged.", truth(s.Battery.Charging))
	}
	if s.Celsius.Known && s.Celsius.Value == s.Celsius.Value {
		m.one("temperature_celsius", "The hottest sensor.", s.Celsius.Value)
	}
	m.gates(s)
	m.updates(s)
	return m.Bytes()
}

// gates has a value for each gate that there is a rule for.
func (m *metrics) gates(s *Status) {
	begun := false
	for _, a := range []gate.Action{gate.Check, gate.Fetch, gate.Switch} {
		for _, v := range s.Gates[a] {
			if v.Skipped {
				continue
			}
			if !begun {
				m.gauge("gate_holds", "Whether a gate says not now.")
				begun = true
			}
			m.sample("gate_holds", truth(v.Holds), "gate", v.Gate, "action", a.String())
		}
	}
}

// updates counts how the updates that are remembered ended.
func (m *metrics) updates(s *Status) {
	if s.Events == nil {
		return
	}
	counts := map[string]int{}
	for e := range s.Events {
		if e.Kind == history.KindUpdate {
			counts[e.Name]++
		}
	}
	outcomes := make([]string, 0, len(counts))
	for o := range counts {
		outcomes = append(outcomes, o)
	}
	slices.Sort(outcomes)
	for i, o := range outcomes {
		if i == 0 {
			m.gauge("updates", "Attempts to update that the history remembers, at most 50.")
		}
		m.sample("updates", float64(counts[o]), "outcome", o)
	}
}

// readings are the metrics that change all the time and mean little when they do.
var readings = [][]byte{[]byte("godwit_battery_ratio "), []byte("godwit_temperature_celsius ")}

// What is in the file for longer than this is written again, because of readings
// that changed, or to show that somebody still looks after it.
const (
	readingsEvery = time.Minute
	freshEvery    = 15 * time.Minute
)

// WriteMetrics puts metrics into a file for the textfile collector of the
// node_exporter, which shows how old it is. Whoever reads it finds the old or the new
// content, never half of it; after a power cut it may be empty, until the next call.
//
// It may be called as often as one likes. It writes at once when something
// happened; when only battery or temperature differ, once a minute at most; and when
// nothing does, it sets the file's time every 15 minutes and writes nothing. A folder
// in memory is the best place for it all the same.
func WriteMetrics(file string, b []byte) error {
	info, err := os.Stat(file)
	if err == nil && info.Mode().IsRegular() {
		now := time.Now()
		age := now.Sub(info.ModTime())
		old, err := os.ReadFile(file)
		switch {
		case err != nil || !bytes.Equal(settled(old), settled(b)):
		case bytes.Equal(old, b):
			if age >= freshEvery || age < 0 {
				return failed(os.Chtimes(file, now, now))
			}
			return nil
		case age >= 0 && age < readingsEvery:
			return nil
		}
	}
	tmp := file + ".new"
	if err := os.WriteFile(tmp, b, 0o644); err != nil {
		os.Remove(tmp)
		return failed(err)
	}
	if err := os.Rename(tmp, file); err != nil {
		os.Remove(tmp)
		return failed(err)
	}
	return nil
}

// settled are metrics without their readings.
func settled(b []byte) []byte {
	var out []byte
lines:
	for line := range bytes.Lines(b) {
		for _, r := range readings {
			if bytes.HasPrefix(line, r) {
				continue lines
			}
		}
		out = append(out, line...)
	}
	return out
}

func failed(err error) error {
	if err == nil {
		return nil
	}
	hint := "see who may write there"
	if errors.Is(err, fs.ErrNotExist) {
		hint = "make the folder that agent.metrics_file is in"
	}
	return godwit.Fail(godwit.CodeIO, err, "the metrics cannot be written", hint)
}
