//go:build linux

package board

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/godwit-ota/godwit"
)

// A Pattern is what the LED shows.
type Pattern uint8

// The patterns. Connecting, Connected, Downloading and Trial last until another
// is shown; File goes back to what was shown before it, Success and Failure to
// Off.
const (
	Off         Pattern = iota
	Connecting          // two quick blinks, again and again
	Connected           // solid
	Downloading         // pulses
	Trial               // a slow blink
	File                // one quick blink, for each file
	Success             // three quick blinks
	Failure             // one blink of 500 ms
	patterns

	// Processing looks like Connected.
	Processing = Connected
)

func (p Pattern) String() string {
	if p >= patterns {
		return "pattern " + strconv.Itoa(int(p))
	}
	return [...]string{"off", "connecting", "connected", "downloading", "trial", "file", "success", "failure"}[p]
}

// A step is the LED on or off for a while; for ever if for no time.
type step struct {
	on  bool
	dur time.Duration
}

const quick = 100 * time.Millisecond

// steps of each pattern; all but the last three begin anew at their end.
var steps = [patterns][]step{
	Off:         {{false, 0}},
	Connecting:  {{true, quick}, {false, quick}, {true, quick}, {false, 700 * time.Millisecond}},
	Connected:   {{true, 0}},
	Downloading: {{true, 250 * time.Millisecond}, {false, 250 * time.Millisecond}},
	Trial:       {{true, time.Second}, {false, time.Second}},
	File:        {{false, quick}, {true, quick}, {false, quick}},
	Success:     {{false, quick}, {true, quick}, {false, quick}, {true, quick}, {false, quick}, {true, quick}, {false, quick}},
	Failure:     {{false, quick}, {true, 500 * time.Millisecond}, {false, quick}},
}

// An LED is one LED of the kernel's class "leds". It is left alone until the
// first Show. A nil LED does nothing.
// Source: Documentation/leds/leds-class.rst, Documentation/ABI/testing/sysfs-class-led.
type LED struct {
	dir, name string
	report    func(error)
	wake      chan struct{} // there is something else to play
	stop      chan struct{}
	done      chan struct{} // the player has ended

	mu      sync.Mutex
	running bool
	closed  bool
	base    Pattern       // what lasts
	once    Pattern       // what is played before base goes on; Off for nothing
	again   bool          // once more: another file came meanwhile
	played  chan struct{} // closed when once has ended or was replaced

	// Only the player's.
	reported         bool
	trigger, before  string // what the LED did when it was taken
	maximum, current string
}

func newLED(dir, name string, report func(error)) *LED {
	return &LED{dir: dir, name: name, report: report,
		wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{})}
}

// Show plays p from now on, in place of what is being shown, and returns at once.
// The first call takes the LED from whoever drives it. To show what lasts a
// second time changes nothing, so that it may be called with every progress; nor
// does Off end a Success or Failure, which end in it.
func (l *LED) Show(p Pattern) {
	if l == nil || p >= patterns {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	switch {
	case p == File && l.once == File:
		l.again = true // a restarted blink would never be seen
		return
	case p == File || p == Success || p == Failure:
		if p != File {
			l.base = Off
		}
		l.ended()
		l.once, l.again, l.played = p, false, make(chan struct{})
	case p == l.base && l.running:
		return
	default:
		l.ended()
		l.base = p
	}
	if !l.running {
		l.running = true
		go l.play()
	}
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// ended says that nothing is played once any more.
func (l *LED) ended() {
	if l.played != nil {
		close(l.played)
	}
	l.once, l.again, l.played = Off, false, nil
}

// Wait returns when a File, Success or Failure has been played to its end or was
// replaced, or when ctx ends. It returns at once where nothing of that kind is
// shown. A program that is about to exit calls it before Close.
func (l *LED) Wait(ctx context.Context) {
	if l == nil {
		return
	}
	l.mu.Lock()
	played := l.played
	l.mu.Unlock()
	if played == nil {
		return
	}
	select {
	case <-played:
	case <-ctx.Done():
	}
}

// Close ends what is shown, at once, and gives the LED back as it was found. (A
// trigger "timer" comes back with the kernel's default times.)
func (l *LED) Close() error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	running, closed := l.running, l.closed
	l.closed = true
	if !closed {
		close(l.stop)
		l.ended()
	}
	l.mu.Unlock()
	if running {
		<-l.done
	}
	return nil
}

// play is the player: the one goroutine that writes to the LED.
func (l *LED) play() {
	defer close(l.done)
	l.take()
	defer l.giveBack()
	for {
		l.mu.Lock()
		p, once := l.once, true
		if p == Off {
			p, once = l.base, false
		}
		played := l.played
		l.mu.Unlock()
		ended := true
		for _, s := range steps[p] {
			l.set(s.on)
			var after <-chan time.Time
			if s.dur > 0 {
				after = time.After(s.dur)
			}
			select {
			case <-after:
				continue
			case <-l.wake:
				ended = false
			case <-l.stop:
				return
			}
			break
		}
		if !once || !ended {
			continue
		}
		l.mu.Lock()
		switch {
		case l.played != played: // replaced at the last moment
		case l.again:
			l.again = false
		default:
			l.ended()
		}
		l.mu.Unlock()
	}
}

// take notes what the LED does, and ends it.
func (l *LED) take() {
	l.maximum = "1"
	if n, err := readInt(l.dir + "/max_brightness"); err == nil && n > 0 {
		l.maximum = strconv.FormatInt(n, 10)
	}
	l.before = "0"
	if n, err := readInt(l.dir + "/brightness"); err == nil && n >= 0 {
		l.before = strconv.FormatInt(n, 10)
	}
	// The trigger that drives it stands in brackets among those there are.
	s, _ := read(l.dir + "/trigger")
	l.trigger = selected(s)
	if l.trigger != "" && l.trigger != "none" {
		l.try(write(l.dir+"/trigger", "none"))
	}
}

func (l *LED) giveBack() {
	if l.trigger == "" || l.trigger == "none" {
		l.try(write(l.dir+"/brightness", l.before))
		return
	}
	l.try(write(l.dir+"/brightness", "0"))
	l.try(write(l.dir+"/trigger", l.trigger))
}

func (l *LED) set(on bool) {
	value := "0"
	if on {
		value = l.maximum
	}
	if value == l.current {
		return
	}
	err := write(l.dir+"/brightness", value)
	l.try(err)
	if err == nil {
		l.current = value
	}
}

// try reports the first error.
func (l *LED) try(err error) {
	if err == nil || l.reported {
		return
	}
	l.reported = true
	l.report(godwit.Fail(godwit.CodeFailed, err, "the LED "+strconv.Quote(l.name)+" cannot be used",
		"`ls /sys/class/leds` shows what there is; writing there needs root"))
}

// selected is the word in brackets.
func selected(s string) string {
	_, s, _ = strings.Cut(s, "[")
	s, _, ok := strings.Cut(s, "]")
	if !ok {
		return ""
	}
	return s
}

func (l *LED) describe() string {
	if l == nil {
		return "none"
	}
	if _, err := readInt(l.dir + "/brightness"); err != nil {
		return l.name + ": " + err.Error()
	}
	s := l.name
	if t, _ := read(l.dir + "/trigger"); selected(t) != "" {
		s += ", driven by " + clean(selected(t))
	}
	return s
}
