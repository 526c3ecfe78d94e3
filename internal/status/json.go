package status

import (
	"strings"

	"github.com/godwit-ota/godwit/engine"
	"github.com/godwit-ota/godwit/gate"
	"github.com/godwit-ota/godwit/history"
	"github.com/godwit-ota/godwit/internal/jsontext"
	"github.com/godwit-ota/godwit/store"
)

// Schema is the number of the schema in docs/status.md. It changes when a name
// changes its meaning or goes; new names may come without that.
const Schema = 1

// An object is one in the making. Methods with plain types are a third of the
// code of a literal.
type object jsontext.Fields

func (o *object) add(name string, v any) { *o = append(*o, jsontext.Field{Name: name, Value: v}) }

func (o *object) text(name, v string)                   { o.add(name, v) }
func (o *object) flag(name string, v bool)              { o.add(name, v) }
func (o *object) number(name string, v int64)           { o.add(name, v) }
func (o *object) list(name string, v []jsontext.Fields) { o.add(name, v) }

// some adds a text unless it is empty.
func (o *object) some(name, v string) {
	if v != "" {
		o.add(name, v)
	}
}

// fields adds an object, null for nil.
func (o *object) fields(name string, v *object) {
	if v == nil {
		o.add(name, nil)
		return
	}
	o.add(name, jsontext.Fields(*v))
}

// Fields is the status as JSON.
func (s *Status) Fields() jsontext.Fields {
	o := &object{}
	o.text("type", "status")
	o.number("schema", Schema)
	o.text("at", at(s.At))
	o.some("godwit", s.Version)
	o.text("device", s.Device)
	o.text("state", s.State())
	o.text("root", s.Root)
	o.text("layout", string(s.Layout))
	o.text("policy", s.Policy)
	o.fields("running", version(s.Running))
	o.fields("previous", version(s.Previous))
	if s.Older != nil {
		var older []jsontext.Fields
		for _, v := range s.Older {
			older = append(older, jsontext.Fields(*version(v)))
		}
		o.list("older", older)
	}
	o.some("product", s.Trust.Product)
	o.fields("channel", s.channel())
	o.fields("memory", s.memory())
	o.some("quota", s.Quota)
	o.flag("settled", s.Settled)
	o.flag("damaged", s.Damaged)
	var trial *object
	if s.Trial.Open {
		trial = &object{}
		trial.number("boots_left", int64(s.Trial.BootsLeft))
		trial.add("seconds_left", s.TrialLeft.Seconds())
	}
	o.fields("trial", trial)
	rejected := []jsontext.Fields{}
	for _, r := range s.Rejected {
		f := &object{}
		f.text("commit", r.ID)
		f.some("name", r.Name)
		f.some("reason", r.Reason)
		f.some("at", at(r.At))
		rejected = append(rejected, jsontext.Fields(*f))
	}
	o.list("rejected", rejected)
	o.fields("last_check", remarked(s.LastCheck, "commit"))
	o.some("asked", at(s.Asked))
	o.fields("last_error", remarked(s.LastError, "code"))
	o.fields("health", remarked(s.Health, ""))
	if s.Hooks != nil {
		var hooks []jsontext.Fields
		for _, m := range s.Hooks {
			hooks = append(hooks, jsontext.Fields(*remarked(m, "name")))
		}
		o.list("hooks", hooks)
	}
	if p := s.Patched; p.Applied+p.Failed > 0 || p.Saved > 0 {
		f := &object{}
		f.number("applied", int64(p.Applied))
		f.number("saved", p.Saved)
		f.number("failed", int64(p.Failed))
		f.some("reason", p.Reason)
		f.some("last_failure", at(s.BadPatch.At))
		o.fields("patches", f)
	}
	s.further(o)
	return jsontext.Fields(*o)
}

// further is what is not in the record or the notes.
func (s *Status) further(o *object) {
	if s.Agent == nil {
		o.add("agent", nil)
	} else {
		o.add("agent", s.Agent.fields())
	}
	gates := []jsontext.Fields{}
	for _, a := range actions {
		for _, f := range verdictFields(s.Gates[a]) {
			gates = append(gates, append(jsontext.Fields{{Name: "action", Value: a.String()}}, f...))
		}
	}
	o.list("gates", gates)
	m := &object{}
	m.text("month", s.Month.Month)
	m.number("received", s.Month.Received)
	m.number("sent", s.Month.Sent)
	m.number("metered_received", s.Month.MeteredReceived)
	m.number("metered_sent", s.Month.MeteredSent)
	m.number("budget", s.Budget)
	m.flag("metered", s.Metered)
	o.fields("traffic", m)
	o.number("crashes", int64(s.Crashes))
	for _, e := range []struct {
		name string
		kind history.Kind
	}{{"last_crash", history.KindCrash}, {"last_update", history.KindUpdate}} {
		if last, ok := s.last(e.kind); ok {
			o.add(e.name, eventFields(last))
		} else {
			o.add(e.name, nil)
		}
	}
	if s.Lost != nil {
		o.text("history_lost", s.Lost.Error())
	}
	var b *object
	if s.Battery.Known {
		b = &object{}
		b.number("percent", int64(s.Battery.Percent))
		b.flag("charging", s.Battery.Charging)
	}
	o.fields("battery", b)
	if s.Celsius.Known {
		o.add("celsius", s.Celsius.Value)
	}
	hardware := []jsontext.Fields{}
	for _, p := range s.Hardware {
		hardware = append(hardware, jsontext.Fields{{Name: "name", Value: p.Name}, {Name: "text", Value: p.Text}})
	}
	o.list("hardware", hardware)
}

// VersionFields is a version as JSON: nil for none.
func VersionFields(v store.Version) jsontext.Fields {
	if o := version(v); o != nil {
		return jsontext.Fields(*o)
	}
	return nil
}

func version(v store.Version) *object {
	if v.IsZero() {
		return nil
	}
	o := &object{}
	o.text("commit", v.ID)
	o.some("ref", v.Ref)
	o.some("name", v.Name)
	o.some("tag", v.Tag)
	o.some("time", at(v.Time))
	o.some("since", at(v.At))
	o.some("policy", v.Policy)
	if v.Signers != "" {
		o.add("signers", strings.Split(v.Signers, ", "))
	}
	return o
}

// channel is what the channel said at the last check.
func (s *Status) channel() *object {
	if s.Channel.Name == "" {
		return nil
	}
	o := &object{}
	o.text("name", s.Channel.Name)
	o.text("release", s.Channel.Release)
	o.some("not_after", at(s.Channel.NotAfter))
	if s.Channel.Expired {
		o.flag("expired", true)
	}
	return o
}

func (s *Status) memory() *object {
	m := s.Memory
	if m.Version == "" && m.Sequence == 0 && m.Signers+m.Revoked == "" {
		return nil
	}
	o := &object{}
	o.some("product", m.Product)
	o.some("version", m.Version)
	o.some("time", at(m.Time))
	o.some("channel", m.Channel)
	if m.Sequence > 0 {
		o.number("sequence", int64(m.Sequence))
	}
	o.some("allowed_signers", m.Signers)
	o.some("revoked_keys", m.Revoked)
	return o
}

// remarked is a remark, nil if there is none. key names what its Key is.
func remarked(m engine.Remark, key string) *object {
	if m.At.IsZero() {
		return nil
	}
	o := &object{}
	o.text("at", at(m.At))
	if key != "" {
		o.some(key, m.Key)
	}
	o.text("result", m.Text)
	o.some("output", m.Output)
	return o
}

// verdictFields are the verdicts that say something.
func verdictFields(list []gate.Verdict) []jsontext.Fields {
	all := []jsontext.Fields{}
	for _, v := range list {
		if v.Skipped {
			continue
		}
		all = append(all, jsontext.Fields{{Name: "gate", Value: v.Gate}, {Name: "holds", Value: v.Holds}, {Name: "reason", Value: v.Reason}}.
			With("code", string(v.Code)).With("hint", v.Hint).With("until", at(v.Until)).With("overridden", v.Overridden).With("unknown", v.Unknown))
	}
	return all
}
