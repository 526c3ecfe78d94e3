package term

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/plan"
)

// How often progress is shown, and over how long its rate is averaged.
const (
	barEvery   = 100 * time.Millisecond // on a terminal
	jsonEvery  = 250 * time.Millisecond
	lineEvery  = 5 * time.Second // plain lines, and sooner when a tenth was done,
	lineSooner = time.Second     // but not sooner than this
	rateOver   = 3 * time.Second
)

// A bar is the state of the progress of one stage.
type bar struct {
	stage   godwit.Stage
	unit    string
	name    string // of what, where there are many
	start   time.Time
	shown   time.Time // when a line was last shown
	tenth   int64     // tenths that were done then
	sampled time.Time // when rate was last brought up to date
	done    int64     // what was done then
	rate    float64   // units a second, 0 while unknown
	onLine  bool      // the terminal's line holds the bar
}

// verbs word the stages that show progress.
var verbs = map[godwit.Stage]string{
	godwit.StageCheck:    "asking",
	godwit.StageDescribe: "reading the release",
	godwit.StagePlan:     "planning",
	godwit.StageFetch:    "fetching",
	godwit.StageBuild:    "building",
	godwit.StageSwitch:   "switching",
	godwit.StageHealth:   "waiting for health",
	godwit.StageRecover:  "recovering",
	godwit.StageRollback: "going back",
	godwit.StageVerify:   "verifying",
	godwit.StagePrune:    "tidying up",
	"diff":               "comparing",
	"apply":              "applying",
}

// progress shows an event of level Progress, or not: often enough for the eye,
// seldom enough for a log.
func (p *Printer) progress(e godwit.Event) {
	now := p.cfg.Now()
	b := &p.bar
	if b.stage != e.Stage || b.unit != e.Unit || b.name != e.Text || e.Done < b.done {
		*b = bar{stage: e.Stage, unit: e.Unit, name: e.Text, start: now, sampled: now, done: e.Done, onLine: b.onLine}
		if !p.cfg.Terminal && !p.cfg.JSON {
			b.shown = now // a stage that is over in no time needs no line
		}
	}
	b.sample(now, e.Done)
	last := e.Total > 0 && e.Done >= e.Total
	since := now.Sub(b.shown)
	switch {
	case p.cfg.JSON:
		if since < jsonEvery && !last {
			return
		}
		p.line(eventFields(e))
	case p.cfg.Terminal:
		if since < barEvery && !last {
			return
		}
		b.onLine = true
		fmt.Fprint(p.cfg.Err, "\r"+b.text(e, p.cfg.Width()-1)+"\x1b[K")
	default:
		tenth := int64(0)
		if e.Total > 0 {
			tenth = e.Done * 10 / e.Total
		}
		if since < lineSooner || since < lineEvery && tenth <= b.tenth {
			return
		}
		b.tenth = tenth
		fmt.Fprintln(p.cfg.Err, b.text(e, 0))
	}
	b.shown = now
}

// clearBar takes the bar off the terminal before something else is printed.
func (p *Printer) clearBar() {
	if p.bar.onLine {
		fmt.Fprint(p.cfg.Err, "\r\x1b[K")
		p.bar.onLine = false
		p.bar.shown = time.Time{}
	}
}

// sample brings the rate up to date: a mean in which older time counts less.
func (b *bar) sample(now time.Time, done int64) {
	dt := now.Sub(b.sampled)
	if dt < barEvery {
		return
	}
	r := float64(done-b.done) / dt.Seconds()
	if b.rate == 0 {
		b.rate = r
	} else {
		w := min(1, dt.Seconds()/rateOver.Seconds())
		b.rate += (r - b.rate) * w
	}
	b.sampled, b.done = now, done
}

// text is the bar, at most width columns wide; without a width it is a line
// for a log.
func (b *bar) text(e godwit.Event, width int) string {
	head := verbs[e.Stage]
	if head == "" {
		head = string(e.Stage)
	}
	if e.Text != "" {
		head += " " + Clean(e.Text)
	}
	amount := func(n int64) string {
		if e.Unit == "B" {
			return plan.Bytes(n)
		}
		return strconv.FormatInt(n, 10)
	}
	var parts []string
	if e.Unit == "%" {
		// The percentage says all.
	} else if e.Total > 0 {
		unit := ""
		if e.Unit != "B" {
			unit = " " + e.Unit
		}
		parts = append(parts, amount(e.Done)+" of "+amount(e.Total)+unit)
	} else if e.Unit == "B" {
		parts = append(parts, amount(e.Done))
	} else {
		parts = append(parts, strings.TrimSpace(amount(e.Done)+" "+e.Unit))
	}
	if b.rate >= 1 && e.Unit == "B" {
		parts = append(parts, plan.Bytes(int64(b.rate))+"/s")
	}
	if left := e.Total - e.Done; b.rate > 0 && e.Total > 0 && left > 0 && e.Unit != "%" {
		parts = append(parts, timeLeft(float64(left)/b.rate)+" left")
	}
	percent := ""
	if e.Total > 0 {
		percent = fmt.Sprintf("%d%%", min(100, e.Done*100/e.Total))
	}
	if width <= 0 {
		return strings.Join(append([]string{strings.TrimSpace(head + " " + strings.TrimSpace(percent))}, parts...), ", ")
	}
	// What does not fit is left out from the end; the bar takes what is left.
	for {
		tail := strings.TrimSpace(percent + "  " + strings.Join(parts, "  "))
		room := width - utf8.RuneCountInString(head) - utf8.RuneCountInString(tail) - 5
		switch {
		case e.Total > 0 && room >= 8:
			return head + " " + drawing(e.Done, e.Total, min(room, 30)) + " " + tail
		case room >= -3:
			return head + "  " + tail
		case len(parts) > 0:
			parts = parts[:len(parts)-1]
			continue
		}
		r := []rune(head)
		return string(r[:min(len(r), width)])
	}
}

func drawing(done, total int64, cells int) string {
	full := int(min(done, total) * int64(cells) / total)
	s := strings.Repeat("=", full)
	if full < cells {
		s += ">" + strings.Repeat(" ", cells-full-1)
	}
	return "[" + s + "]"
}

func timeLeft(seconds float64) string {
	s := int64(seconds + 0.999)
	switch {
	case s < 60:
		return strconv.FormatInt(s, 10) + "s"
	case s < 3600:
		return fmt.Sprintf("%dm%02ds", s/60, s%60)
	case s < 100*3600:
		return fmt.Sprintf("%dh%02dm", s/3600, s/60%60)
	}
	return "days"
}
