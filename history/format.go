package history

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/godwit-ota/godwit/internal/jsontext"
)

// The file is one JSON object. Its first line holds the format and the SHA-256
// of all that follows it; each event and month is on a line of its own, so that
// a person can read it, and what is left of a damaged file too.
const (
	format  = 1
	headEnd = 100 // the first line is shorter
	// No device comes to that; it only keeps damage from using the numbers up.
	maxNumber = 1 << 53
	maxFile   = 4 << 20
)

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Format(time.RFC3339)
}

// encode writes s as a file.
func (s *state) encode() []byte {
	var b []byte
	b = append(b, `"seq":`...)
	b = strconv.AppendUint(b, s.seq, 10)
	if s.boot.id != "" {
		b = append(b, ",\n\"boot\":"...)
		b = jsontext.Append(b, jsontext.Fields{{Name: "id", Value: s.boot.id}}.With("at", stamp(s.boot.at)).With("closed", s.boot.closed))
	}
	if c := s.check; !c.at.IsZero() {
		b = append(b, ",\n\"check\":"...)
		b = jsontext.Append(b, jsontext.Fields{{Name: "at", Value: stamp(c.at)}}.With("every_s", int64(c.every/time.Second)).
			With("boot", c.boot).With("up_ms", c.up.Milliseconds()).With("since_ms", c.since.Milliseconds()).With("sure", c.sure).With("guess", c.guess))
	}
	var rows []jsontext.Fields
	for _, m := range s.months {
		rows = append(rows, jsontext.Fields{{Name: "month", Value: m.Month}}.With("metered_sent", m.MeteredSent).With("metered_received", m.MeteredReceived).
			With("sent", m.Sent).With("received", m.Received))
	}
	b = appendRows(b, "bytes", rows)
	for _, l := range []struct {
		key  string
		list []Event
	}{{"crashes", s.crashes}, {"errors", s.errors}, {"updates", s.updates}} {
		rows = rows[:0]
		for _, e := range l.list {
			rows = append(rows, e.fields())
		}
		b = appendRows(b, l.key, rows)
	}
	b = append(b, "}\n"...)
	sum := sha256.Sum256(b)
	head := `{"format":` + strconv.Itoa(format) + `,"sum":"` + hex.EncodeToString(sum[:]) + "\",\n"
	return append([]byte(head), b...)
}

func appendRows(b []byte, key string, rows []jsontext.Fields) []byte {
	b = append(b, ",\n"...)
	b = jsontext.Append(b, key)
	b = append(b, ":["...)
	for i, r := range rows {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, '\n')
		b = jsontext.Append(b, r)
	}
	return append(b, ']')
}

func (e Event) fields() jsontext.Fields {
	f := jsontext.Fields{{Name: "n", Value: int64(e.N)}}.With("at", stamp(e.At))
	switch e.Kind {
	case KindCrash:
		f = append(f, jsontext.Field{Name: "kind", Value: e.Name})
	case KindError:
		if !e.Last.Equal(e.At) {
			f = f.With("last", stamp(e.Last))
		}
		if e.Count > 1 {
			f = f.With("count", int64(e.Count))
		}
		f = append(f, jsontext.Field{Name: "code", Value: e.Name}).With("stage", e.Stage)
	case KindUpdate:
		f = append(f, jsontext.Field{Name: "outcome", Value: e.Name}).With("from", e.From).With("to", e.To).
			With("bytes", e.Bytes).With("took_ms", e.Took.Milliseconds())
	}
	return f.With("text", e.Text)
}

// decode reads a file. whole is false for one that is damaged: then s is what
// could be made out, and entries how many events and months that is. A file of
// the reference updater is whole.
func decode(b []byte, opt Options) (s state, whole bool, entries int) {
	head, body, _ := bytes.Cut(b, []byte("\n"))
	sum, ours := headSum(head)
	if ours {
		got := sha256.Sum256(body)
		whole = hex.EncodeToString(got[:]) == sum
	}
	v, err := jsontext.Parse(b)
	if err != nil || v.Kind != jsontext.Object {
		v, whole = jsontext.Value{}, false
	}
	ours = ours || v.Get("format").Kind != jsontext.Null || v.Get("sum").Kind != jsontext.Null
	whole = whole || !ours && (v.Get("crashes").Kind == jsontext.Array || v.Get("errors").Kind == jsontext.Array || v.Get("updates").Kind == jsontext.Array)
	s.take(v)
	if !whole {
		var lines state
		for line := range bytes.Lines(b) {
			lines.takeLine(line)
		}
		if lines.entries() > s.entries() {
			s = lines
		}
	}
	entries = s.entries()
	s.order(opt)
	return s, whole, entries
}

func (s *state) entries() int {
	return len(s.months) + len(s.crashes) + len(s.errors) + len(s.updates)
}

// headSum returns the checksum that a first line of ours gives.
func headSum(head []byte) (sum string, ours bool) {
	n, ok := strings.CutPrefix(string(head), `{"format":`)
	n, sum, ok2 := strings.Cut(n, `,"sum":"`)
	sum, ok3 := strings.CutSuffix(sum, `",`)
	_, err := strconv.ParseUint(n, 10, 16)
	return sum, ok && ok2 && ok3 && err == nil
}

// headSeq returns the number of a file from its first bytes, 0 if there is none.
func headSeq(b []byte) uint64 {
	head, body, _ := bytes.Cut(b, []byte("\n"))
	if _, ours := headSum(head); !ours {
		return 0
	}
	n, ok := strings.CutPrefix(string(body), `"seq":`)
	if i := strings.IndexFunc(n, func(r rune) bool { return r < '0' || r > '9' }); ok && i > 0 {
		seq, _ := strconv.ParseUint(n[:i], 10, 64)
		return seq
	}
	return 0
}

// takeLine takes what one line of a damaged file holds.
func (s *state) takeLine(line []byte) {
	line = bytes.TrimRight(bytes.TrimSpace(line), ",")
	var v jsontext.Value
	for _, form := range [][]byte{line, bytes.TrimSuffix(line, []byte("]")), bytes.TrimSuffix(line, []byte("]}")), slices.Concat([]byte("{"), line, []byte("}"))} {
		if o, err := jsontext.Parse(form); err == nil && o.Kind == jsontext.Object {
			v = o
			break
		}
	}
	for _, c := range []struct {
		sign string
		key  string
	}{{"month", "bytes"}, {"code", "errors"}, {"outcome", "updates"}, {"kind", "crashes"}} {
		if v.Get(c.sign).Kind == jsontext.String {
			list := jsontext.Value{Kind: jsontext.Array, List: []jsontext.Value{v}}
			v = jsontext.Value{Kind: jsontext.Object, Members: []jsontext.Member{{Name: c.key, Value: list}}}
			break
		}
	}
	s.take(v)
}

// take takes everything from an object that it knows.
func (s *state) take(v jsontext.Value) {
	if n := number(v, "seq"); n < maxNumber {
		s.seq = max(s.seq, uint64(n))
	}
	if b := v.Get("boot"); b.Kind == jsontext.Object {
		s.boot = boot{id: fit(word(b, "id"), maxWord), at: moment(b, "at"), closed: b.Get("closed").Text == "true"}
	}
	if c := v.Get("check"); c.Kind == jsontext.Object {
		s.check = check{at: moment(c, "at"), every: span(c, "every_s", time.Second), boot: fit(word(c, "boot"), maxWord),
			up: span(c, "up_ms", time.Millisecond), since: span(c, "since_ms", time.Millisecond), sure: c.Get("sure").Text == "true", guess: c.Get("guess").Text == "true"}
		if s.check.at.IsZero() {
			s.check = check{}
		}
	}
	for _, m := range v.Get("bytes").List {
		if _, ok := monthNumber(word(m, "month")); ok {
			s.months = append(s.months, Month{word(m, "month"), number(m, "metered_sent"), number(m, "metered_received"), number(m, "sent"), number(m, "received")})
		}
	}
	for _, l := range []struct {
		key  string
		kind Kind
	}{{"crashes", KindCrash}, {"errors", KindError}, {"updates", KindUpdate}} {
		list := s.list(l.kind)
		for _, x := range v.Get(l.key).List {
			if e, ok := event(x, l.kind); ok {
				*list = append(*list, e)
			}
		}
	}
}

// event reads one event, ours or the reference updater's, which has a
// "timestamp" and "details", or "version", "success" and "error".
func event(v jsontext.Value, k Kind) (Event, bool) {
	if v.Kind != jsontext.Object {
		return Event{}, false
	}
	e := Event{Kind: k, At: moment(v, "at", "timestamp"), Text: word(v, "text", "details", "error"), Stage: word(v, "stage"),
		From: word(v, "from"), To: word(v, "to", "version"), Bytes: number(v, "bytes"), Took: span(v, "took_ms", time.Millisecond)}
	if n := number(v, "n"); n < maxNumber {
		e.N = uint64(n)
	}
	switch k {
	case KindCrash:
		e.Name = word(v, "kind")
	case KindError:
		e.Name = word(v, "code")
		e.Count = int(min(number(v, "count"), 1<<30))
		if e.Last = moment(v, "last"); e.Last.IsZero() {
			e.Last = e.At
		}
	case KindUpdate:
		e.Name = word(v, "outcome")
		if ok := v.Get("success"); e.Name == "" && ok.Kind == jsontext.Bool {
			e.Name = map[string]string{"true": "installed", "false": "failed"}[ok.Text]
		}
	}
	e = e.fit()
	return e, e.N > 0 || !e.At.IsZero()
}

// order sorts what was read, gives numbers to what has none, and keeps to the
// limits.
func (s *state) order(opt Options) {
	all := slices.Concat(s.crashes, s.errors, s.updates)
	slices.SortStableFunc(all, func(a, b Event) int {
		if c := cmp.Compare(a.N, b.N); c != 0 {
			return c
		}
		return a.At.Compare(b.At)
	})
	s.crashes, s.errors, s.updates = nil, nil, nil
	for _, e := range all {
		e.N = max(e.N, s.last+1)
		s.last = e.N
		list := s.list(e.Kind)
		*list = append(*list, e)
	}
	s.trim(opt)
	months := s.months
	s.months = nil
	for _, m := range months {
		s.count(m, opt.Now())
	}
}

// word returns the first of these members that is text.
func word(v jsontext.Value, names ...string) string {
	for _, n := range names {
		if m := v.Get(n); m.Kind == jsontext.String {
			return m.Text
		}
	}
	return ""
}

// number returns a member that is a number, and not less than 0.
func number(v jsontext.Value, name string) int64 {
	n, _ := v.Get(name).Int()
	return max(n, 0)
}

func span(v jsontext.Value, name string, unit time.Duration) time.Duration {
	return time.Duration(min(number(v, name), int64(1<<62/unit))) * unit
}

// epoch2000 is where some builds of MicroPython begin to count seconds.
const epoch2000 = 946684800

// moment returns the first of these members that is a time: RFC 3339, or a
// number of seconds.
func moment(v jsontext.Value, names ...string) time.Time {
	for _, n := range names {
		switch m := v.Get(n); m.Kind {
		case jsontext.String:
			if t, err := time.Parse(time.RFC3339, m.Text); err == nil {
				return second(t)
			}
		case jsontext.Number:
			if f, err := strconv.ParseFloat(m.Text, 64); err == nil && f > 0 && f < 1e12 {
				if f < epoch2000 {
					f += epoch2000
				}
				return second(time.Unix(int64(f), 0))
			}
		}
	}
	return time.Time{}
}
