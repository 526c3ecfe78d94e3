package board

import (
	"context"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const led = "sys/class/leds/ACT/"

func withLED(t *testing.T) *tree {
	return fake(t, map[string]string{led + "brightness": "0\n", led + "max_brightness": "255\n",
		led + "trigger": "none kbd-scrolllock [mmc0] timer heartbeat default-on\n"})
}

// film looks at the LED every 50 ms, in the middle between its changes, for so
// long: # for on, - for off.
func (d *tree) film(length time.Duration) string {
	var s strings.Builder
	time.Sleep(25 * time.Millisecond)
	for range length / (50 * time.Millisecond) {
		synctest.Wait()
		switch v := d.get(led + "brightness"); v {
		case "0":
			s.WriteByte('-')
		case "255":
			s.WriteByte('#')
		default:
			d.t.Errorf("brightness %q", v)
		}
		time.Sleep(50 * time.Millisecond)
	}
	return s.String()
}

func TestPatterns(t *testing.T) {
	for _, c := range []struct {
		show []Pattern
		want string
	}{
		{[]Pattern{Connecting}, "##--##--------------##--##--------------"},
		{[]Pattern{Connected}, "########################################"},
		{[]Pattern{Processing}, "########################################"},
		{[]Pattern{Downloading}, "#####-----#####-----#####-----#####-----"},
		{[]Pattern{Trial}, "####################--------------------"},
		{[]Pattern{Off}, "----------------------------------------"},
		{[]Pattern{Success}, "--##--##--##----------------------------"},
		{[]Pattern{Failure}, "--##########----------------------------"},
		{[]Pattern{Downloading, File}, "--##--#####-----#####-----#####-----####"},
		{[]Pattern{Connected, File}, "--##--##################################"},
		{[]Pattern{File}, "--##------------------------------------"},
		{[]Pattern{Downloading, File, File, File}, "--##----##--#####-----#####-----#####---"},
		{[]Pattern{Downloading, File, Downloading}, "--##--#####-----#####-----#####-----####"},
		{[]Pattern{Downloading, File, Connected}, "########################################"},
		{[]Pattern{Downloading, Success}, "--##--##--##----------------------------"},
		{[]Pattern{Success, Off}, "--##--##--##----------------------------"},
		{[]Pattern{Success, Failure}, "--##########----------------------------"},
		{[]Pattern{Trial, Off}, "----------------------------------------"},
		{[]Pattern{Connected, patterns, 255}, "########################################"},
	} {
		var name []string
		for _, p := range c.show {
			name = append(name, p.String())
		}
		t.Run(strings.Join(name, ","), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := withLED(t)
				b := d.open(Config{LED: "ACT"})
				for _, p := range c.show {
					b.LED().Show(p)
				}
				if got := d.film(2 * time.Second); got != c.want {
					t.Errorf("shows\n%s, want\n%s", got, c.want)
				}
				b.Close()
				if len(d.reports()) > 0 {
					t.Error(d.reports())
				}
			})
		})
	}
}

// The latest wins, in the middle of whatever is being shown.
func TestPatternIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := withLED(t)
		b := d.open(Config{LED: "ACT"})
		defer b.Close()
		b.LED().Show(Trial)
		time.Sleep(300 * time.Millisecond)
		b.LED().Show(Failure)
		if got := d.film(time.Second); got != "--##########--------" {
			t.Error(got)
		}
	})
}

func TestLEDIsTakenAtTheFirstPatternAndGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := withLED(t)
		b := d.open(Config{LED: "ACT"})
		trigger := d.get(led + "trigger")
		if s := b.String(); !strings.Contains(s, "ACT, driven by mmc0\n") {
			t.Error(s)
		}
		synctest.Wait()
		if d.get(led+"trigger") != trigger {
			t.Error("taken before anything was shown")
		}
		b.LED().Show(Connected)
		synctest.Wait()
		if got := d.get(led + "trigger"); got != "none" {
			t.Errorf("trigger %q", got)
		}
		b.Close()
		if got := d.get(led + "trigger"); got != "mmc0" {
			t.Errorf("trigger %q", got)
		}
		b.LED().Show(Trial)
		b.Close()
		synctest.Wait()
		if got := d.get(led + "trigger"); got != "mmc0" {
			t.Errorf("taken after Close: %q", got)
		}
	})
}

func TestLEDWithoutTriggerGetsItsBrightnessBack(t *testing.T) {
	d := withLED(t)
	d.put(led+"trigger", "[none] timer\n")
	d.put(led+"brightness", "17\n")
	b := d.open(Config{LED: "ACT"})
	b.LED().Show(Off)
	b.Close()
	if got := d.get(led + "brightness"); got != "17" {
		t.Errorf("brightness %q", got)
	}
}

func TestWaitForAPattern(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := withLED(t).open(Config{LED: "ACT"})
		l := b.LED()
		took := func(ctx context.Context, p Pattern) time.Duration {
			start := time.Now()
			l.Show(p)
			l.Wait(ctx)
			return time.Since(start)
		}
		soon, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		for _, c := range []struct {
			ctx  context.Context
			p    Pattern
			want time.Duration
		}{{soon, Success, 50 * time.Millisecond}, {t.Context(), Success, 700 * time.Millisecond}, {t.Context(), Failure, 700 * time.Millisecond}, {t.Context(), File, 300 * time.Millisecond},
			{t.Context(), Trial, 0}} {
			if got := took(c.ctx, c.p); got != c.want {
				t.Errorf("%v took %v, want %v", c.p, got, c.want)
			}
		}
		go func() {
			time.Sleep(100 * time.Millisecond)
			b.Close()
		}()
		if got := took(t.Context(), Failure); got != 100*time.Millisecond {
			t.Errorf("Close came after %v", got)
		}
	})
}

func TestLEDThatCannotBeUsedIsReportedOnce(t *testing.T) {
	for _, c := range []struct {
		name   string
		damage func(d *tree) error
		want   string
	}{
		{"missing", func(d *tree) error { return os.RemoveAll(d.path(led)) }, "no such file"},
		{"no brightness", func(d *tree) error { return os.Remove(d.path(led + "brightness")) }, "no such file"},
		{"a folder for brightness", func(d *tree) error {
			os.Remove(d.path(led + "brightness"))
			return os.Mkdir(d.path(led+"brightness"), 0o755)
		}, "is a directory"},
		{"full", func(d *tree) error {
			os.Remove(d.path(led + "brightness"))
			return os.Symlink("/dev/full", d.path(led+"brightness"))
		}, "no space"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := withLED(t)
				if err := c.damage(d); err != nil {
					t.Fatal(err)
				}
				b := d.open(Config{LED: "ACT"})
				for _, p := range []Pattern{Connecting, Downloading, File, Success} {
					b.LED().Show(p)
					time.Sleep(3 * time.Second)
				}
				_ = b.String()
				b.Close()
				if r := d.reports(); len(r) != 1 || !strings.Contains(r[0], `the LED "ACT" cannot be used`) || !strings.Contains(r[0], c.want) {
					t.Errorf("%q", r)
				}
			})
		})
	}
}

// Rubbish in what the LED says of itself costs at most its brightness.
func TestLEDOfRubbish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := withLED(t)
		for _, f := range []string{"max_brightness", "trigger", "brightness"} {
			d.put(led+f, "[\x00\xff-99999999999999999999")
		}
		b := d.open(Config{LED: "ACT"})
		b.LED().Show(Connected)
		synctest.Wait()
		if got := d.get(led + "brightness"); got != "1" {
			t.Errorf("%q", got)
		}
		b.Close()
		if got := d.get(led + "brightness"); got != "0" {
			t.Errorf("%q", got)
		}
	})
}

func TestNoLED(t *testing.T) {
	b := fake(t, nil).open(Config{})
	b.LED().Show(Success)
	b.LED().Wait(t.Context())
	if err := b.LED().Close(); err != nil {
		t.Error(err)
	}
}
