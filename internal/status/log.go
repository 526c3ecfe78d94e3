package status

import (
	"strconv"
	"time"

	"github.com/godwit-ota/godwit/history"
	"github.com/godwit-ota/godwit/internal/jsontext"
	"github.com/godwit-ota/godwit/internal/term"
	"github.com/godwit-ota/godwit/plan"
)

// Line is an event of the history for people, on one line without its end.
func Line(e history.Event) string {
	text := local(e.At) + "  " + string(e.Kind) + "         "[:8-len(e.Kind)] + e.Name
	switch e.Kind {
	case history.KindUpdate:
		if e.From != "" || e.To != "" {
			text += "  " + nothing(e.From) + " → " + nothing(e.To)
		}
		if e.Bytes > 0 {
			text += ", " + plan.Bytes(e.Bytes)
		}
		if e.Took > 0 {
			text += ", " + round(e.Took).String()
		}
	case history.KindError:
		if e.Stage != "" {
			text += " (" + e.Stage + ")"
		}
	}
	if e.Text != "" {
		text += ": " + e.Text
	}
	if e.Count > 1 {
		text += " (" + strconv.Itoa(e.Count) + " times, the last " + local(e.Last) + ")"
	}
	return oneLine(term.Clean(text))
}

func nothing(name string) string {
	if name == "" {
		return "nothing"
	}
	return name
}

func round(d time.Duration) time.Duration {
	if d < time.Second {
		return d.Round(time.Millisecond)
	}
	return d.Round(time.Second)
}

// oneLine keeps a text from making lines of its own.
func oneLine(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c == '\n' || c == '\t' {
			b[i] = ' '
		}
	}
	return string(b)
}

// EventFields is an event as a line of JSON.
func EventFields(e history.Event) jsontext.Fields {
	return append(jsontext.Fields{{Name: "type", Value: "log"}}, eventFields(e)...)
}

func eventFields(e history.Event) jsontext.Fields {
	f := jsontext.Fields{{Name: "n", Value: int64(e.N)}, {Name: "kind", Value: string(e.Kind)}}.
		With("at", at(e.At)).With("name", e.Name).With("text", e.Text).With("stage", e.Stage)
	if e.Count > 1 {
		f = append(f, jsontext.Field{Name: "count", Value: e.Count}).With("last", at(e.Last))
	}
	f = f.With("from", e.From).With("to", e.To).With("bytes", e.Bytes)
	if e.Took > 0 {
		f = append(f, jsontext.Field{Name: "seconds", Value: e.Took.Seconds()})
	}
	return f
}

// maxLog is how many events /log.json has.
const maxLog = 500

// logFields is the history as one document, the newest first.
func (s *Status) logFields() jsontext.Fields {
	list := []jsontext.Fields{}
	if s.Events != nil {
		for e := range s.Events {
			if len(list) == maxLog {
				break
			}
			list = append(list, eventFields(e))
		}
	}
	return jsontext.Fields{{Name: "type", Value: "log"}, {Name: "schema", Value: Schema}, {Name: "device", Value: s.Device}, {Name: "events", Value: list}}
}
