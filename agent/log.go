package agent

import (
	"io"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/internal/jsontext"
)

// A Level is how much a line matters.
type Level uint8

// The levels, with the numbers that syslog(3) and the journal have for them.
const (
	Error   Level = 3
	Warning Level = 4
	Info    Level = 6
	Debug   Level = 7
)

func (l Level) String() string {
	switch l {
	case Error:
		return "error"
	case Warning:
		return "warning"
	case Info:
		return "info"
	}
	return "debug"
}

// A Log writes lines for people and programs: "LEVEL text key=value …", or JSON
// objects. What repeats itself, and what is too much, is counted instead of
// written. Its methods may be called by several goroutines; a nil Log is silent.
type Log struct {
	W       io.Writer
	Journal bool             // lines begin with "<N>", see sd-daemon(3), and have no time: the journal has both
	JSON    bool             // a JSON object a line
	Most    Level            // lines above this are left out; 0 means Info
	Now     func() time.Time // nil means time.Now

	mu      sync.Mutex
	seen    map[string]*repeated
	tokens  float64
	filled  time.Time
	dropped int
}

// A repeated line was written at first, and came more times since.
type repeated struct {
	first time.Time
	more  int
}

const (
	repeatAfter = time.Hour // the same line is written once in this time
	maxSeen     = 64        // lines that are known to repeat
	burst       = 200       // lines that may come at once
	perLine     = 5 * time.Second
)

// Say writes a line. fields are keys and values by turns.
func (l *Log) Say(level Level, text string, fields ...string) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	most := l.Most
	if most == 0 {
		most = Info
	}
	if level > most {
		return
	}
	now := l.now()
	if level <= Warning { // what goes on as it should is told each time
		key := level.String() + text
		if r := l.seen[key]; r != nil && now.Sub(r.first) < repeatAfter && now.Sub(r.first) >= 0 {
			r.more++
			return
		} else if r != nil && r.more > 0 {
			fields = append(fields, "repeated", itoa(r.more))
		}
		l.remember(key, now)
	}
	if !l.token(now) {
		l.dropped++
		return
	}
	if l.dropped > 0 {
		n := l.dropped
		l.dropped = 0
		l.write(Warning, now, itoa(n)+" lines were left out: too many at once", nil)
	}
	l.write(level, now, text, fields)
}

// Fail writes what an error says, with its code and what to do about it.
func (l *Log) Fail(level Level, what string, err error) {
	fields := []string{"what", what, "code", string(godwit.CodeOf(err))}
	if h := godwit.HintOf(err); h != "" {
		fields = append(fields, "hint", h)
	}
	l.Say(level, err.Error(), fields...)
}

// Event writes what an update does. Progress is not written.
func (l *Log) Event(e godwit.Event) {
	level, ok := map[godwit.Level]Level{godwit.Info: Info, godwit.Warning: Warning, godwit.Debug: Debug}[e.Level]
	if ok && e.Text != "" {
		l.Say(level, e.Text, "stage", string(e.Stage))
	}
}

func (l *Log) now() time.Time {
	if l.Now != nil {
		return l.Now()
	}
	return time.Now()
}

func (l *Log) remember(key string, now time.Time) {
	if l.seen == nil {
		l.seen = map[string]*repeated{}
	}
	if len(l.seen) >= maxSeen {
		oldest := ""
		for k, r := range l.seen {
			if oldest == "" || r.first.Before(l.seen[oldest].first) {
				oldest = k
			}
		}
		delete(l.seen, oldest)
	}
	l.seen[key] = &repeated{first: now}
}

// token takes one of the lines that may be written now.
func (l *Log) token(now time.Time) bool {
	if l.filled.IsZero() {
		l.tokens = burst
	} else if gone := now.Sub(l.filled); gone > 0 {
		l.tokens = min(burst, l.tokens+float64(gone)/float64(perLine))
	}
	l.filled = now
	if l.tokens < 1 {
		return false
	}
	l.tokens--
	return true
}

func (l *Log) write(level Level, now time.Time, text string, fields []string) {
	var b strings.Builder
	switch {
	case l.JSON:
		f := jsontext.Fields{{Name: "type", Value: "log"}, {Name: "at", Value: now.UTC().Format(time.RFC3339)}, {Name: "level", Value: level.String()}, {Name: "text", Value: text}}
		for i := 0; i+1 < len(fields); i += 2 {
			f = append(f, jsontext.Field{Name: fields[i], Value: fields[i+1]})
		}
		b.Write(jsontext.Append(nil, f))
	default:
		if l.Journal {
			b.WriteString("<" + itoa(int(level)) + ">")
		} else {
			b.WriteString(now.Format("2006-01-02 15:04:05 ") + level.String() + " ")
		}
		b.WriteString(oneLine(text))
		for i := 0; i+1 < len(fields); i += 2 {
			if fields[i+1] == "" {
				continue
			}
			b.WriteString(" " + fields[i] + "=" + quoted(fields[i+1]))
		}
	}
	b.WriteByte('\n')
	io.WriteString(l.W, b.String())
}

// longest is how many bytes of a text are written: the journal makes two lines of one that
// is very long, and the second would have a level of its own choice.
const longest = 4 << 10

// oneLine keeps what was said elsewhere from making lines of its own, and from telling
// terminals what to do.
func oneLine(s string) string {
	if len(s) > longest {
		s = s[:longest]
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == 0x2028 || r == 0x2029 {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}

func quoted(s string) string {
	if s = oneLine(s); strings.ContainsAny(s, " \"=") {
		return strconv.Quote(s)
	}
	return s
}

func itoa(n int) string { return strconv.Itoa(n) }
