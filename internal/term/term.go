// Package term is what people and scripts see: lines of text, JSON lines, a
// progress bar, errors with hints, plans, and the exit code that goes with an
// error. What happens is decided elsewhere; nothing here changes it.
//
// Invariants: in JSON mode standard output carries nothing but JSON objects,
// one a line; nothing that came from outside reaches a terminal with its
// control characters.
package term

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/internal/jsontext"
)

// Config says where and how to print. The zero value prints text to nobody.
type Config struct {
	Out io.Writer // results
	Err io.Writer // progress, warnings and errors

	JSON    bool // JSON lines on Out instead of text
	Quiet   bool // no progress and no results, warnings and errors only
	Verbose bool // everything, Debug events too

	Terminal bool       // Err is a terminal that understands escape sequences
	Color    bool       // colours may be used there
	Width    func() int // its width in columns; nil means 80

	Now func() time.Time // nil means time.Now
}

// A Printer prints. It may be used by several goroutines.
type Printer struct {
	cfg Config
	mu  sync.Mutex
	bar bar
}

// New returns a Printer.
func New(cfg Config) *Printer {
	if cfg.Out == nil {
		cfg.Out = io.Discard
	}
	if cfg.Err == nil {
		cfg.Err = io.Discard
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Width == nil {
		cfg.Width = func() int { return 80 }
	}
	return &Printer{cfg: cfg}
}

// JSON reports whether results are wanted as JSON.
func (p *Printer) JSON() bool { return p.cfg.JSON }

// Verbose reports whether everything is wanted.
func (p *Printer) Verbose() bool { return p.cfg.Verbose }

// Printf prints a result as text. It does nothing in JSON mode or when quiet.
func (p *Printer) Printf(format string, args ...any) {
	if p.cfg.JSON || p.cfg.Quiet {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clearBar()
	io.WriteString(p.cfg.Out, Clean(fmt.Sprintf(format, args...)))
}

// Emit prints one line of JSON: an object whose first member is its "type". It
// does nothing in text mode.
func (p *Printer) Emit(f jsontext.Fields) {
	if !p.cfg.JSON {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.line(f)
}

func (p *Printer) line(f jsontext.Fields) {
	// A broken pipe is found by whoever reads the exit code.
	p.cfg.Out.Write(append(jsontext.Append(nil, f), '\n'))
}

var levels = [...]string{godwit.Info: "info", godwit.Progress: "progress", godwit.Warning: "warning", godwit.Debug: "debug"}

// eventFields is an event as JSON.
func eventFields(e godwit.Event) jsontext.Fields {
	f := jsontext.Fields{{Name: "type", Value: "event"}}.With("stage", string(e.Stage)).With("level", levels[e.Level]).With("text", e.Text)
	if e.Level == godwit.Progress {
		f = append(f, jsontext.Field{Name: "done", Value: e.Done}).With("total", e.Total).With("unit", e.Unit)
	}
	return f
}

// Event prints an event. It is a godwit.Events.
func (p *Printer) Event(e godwit.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch e.Level {
	case godwit.Debug:
		if !p.cfg.Verbose {
			return
		}
	case godwit.Info:
		if p.cfg.Quiet {
			return
		}
	case godwit.Progress:
		if !p.cfg.Quiet {
			p.progress(e)
		}
		return
	}
	if p.cfg.JSON {
		p.line(eventFields(e))
		return
	}
	p.clearBar()
	text := Clean(e.Text)
	switch e.Level {
	case godwit.Warning:
		text = p.color(yellow, "warning: ") + text
	case godwit.Debug:
		text = p.color(dim, string(e.Stage)+": "+text)
	}
	fmt.Fprintln(p.cfg.Err, text)
}

// Warn prints a warning that belongs to no stage.
func (p *Printer) Warn(text string) {
	p.Event(godwit.Event{Level: godwit.Warning, Text: text})
}

// Error prints an error, each of several joined ones by itself.
func (p *Printer) Error(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clearBar()
	exit := ExitCode(err)
	for _, err := range split(err) {
		hint := godwit.HintOf(err)
		if p.cfg.JSON {
			f := jsontext.Fields{{Name: "type", Value: "error"}, {Name: "code", Value: string(godwit.CodeOf(err))}, {Name: "message", Value: err.Error()}}
			p.line(append(f.With("hint", hint), jsontext.Field{Name: "exit", Value: exit}))
			continue
		}
		fmt.Fprintln(p.cfg.Err, p.color(red, "error: ")+Clean(err.Error()))
		if hint != "" {
			fmt.Fprintln(p.cfg.Err, p.color(dim, "hint: ")+Clean(hint))
		}
	}
}

// Done ends the progress bar.
func (p *Printer) Done() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clearBar()
}

// split takes apart what errors.Join put together at the top.
func split(err error) []error {
	if _, ours := err.(*godwit.Error); ours {
		return []error{err}
	}
	if j, ok := err.(interface{ Unwrap() []error }); ok {
		var all []error
		for _, e := range j.Unwrap() {
			all = append(all, split(e)...)
		}
		if len(all) > 0 {
			return all
		}
	}
	return []error{err}
}

// ExitCode is the exit code of a command that ended with err.
func ExitCode(err error) int {
	code := godwit.CodeOf(err)
	switch {
	case code.Refusal():
		return 4
	case code.Deferral():
		return 5
	}
	switch code {
	case "":
		return 0
	case godwit.CodeUsage, godwit.CodeConfig:
		return 2
	case godwit.CodeNetwork, godwit.CodeTimeout, godwit.CodeTLS:
		return 6
	case godwit.CodeRolledBack:
		return 7
	}
	return 1
}

// ExitAvailable is the exit code of `check` when there is something newer.
const ExitAvailable = 3

// exitMeanings says what each exit code means.
var exitMeanings = [...]string{
	0:             "done, or nothing to do",
	1:             "failed",
	2:             "wrong usage or configuration",
	ExitAvailable: "an update is available",
	4:             "refused by policy",
	5:             "deferred: not now",
	6:             "the network or the host cannot be reached, try again",
	7:             "rolled back",
}

// ExitCodes lists the exit codes.
func ExitCodes() []int {
	codes := make([]int, len(exitMeanings))
	for i := range codes {
		codes[i] = i
	}
	return codes
}

// ExitMeaning says what an exit code means.
func ExitMeaning(code int) string { return exitMeanings[code] }

const (
	red    = "\x1b[1;31m"
	yellow = "\x1b[33m"
	dim    = "\x1b[2m"
)

func (p *Printer) color(c, s string) string {
	if !p.cfg.Terminal || !p.cfg.Color {
		return s
	}
	return c + s + "\x1b[0m"
}

// Clean returns s with every control character but line ends and tabs written
// as "\x1b", so that a file name cannot act on a terminal.
func Clean(s string) string {
	bad := func(r rune) bool {
		return r < ' ' && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069
	}
	if strings.IndexFunc(s, bad) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case bad(r) && r < 0x100:
			fmt.Fprintf(&b, `\x%02x`, r)
		case bad(r):
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
