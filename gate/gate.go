// Package gate decides when a device asks for a release, downloads it and
// installs it: pure functions over the rules of its owner, what the channel
// says, who the device is, and what is the case. Whether to believe the channel
// was trust's business before; to find out what is the case, and what to do
// about an answer, is the business of callers.
//
// Invariant: no answer depends on anything but the arguments, and each "not now"
// says why and when it will be otherwise.
package gate

import (
	"crypto/sha256"
	"encoding/binary"
	"strconv"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/internal/semver"
)

// A Device is who asks.
type Device struct {
	ID     string // the same for its whole life, and no other device's
	Labels []godwit.Label
}

// Cohort is the place of a device in the roll-out of a release: 0 to 99, evenly
// spread, and another one for each release, so that not always the same devices
// go first. It is the first four bytes of the SHA-256 of "RELEASE:DEVICE" as a
// number, modulo 100.
func Cohort(release, device string) int {
	sum := sha256.Sum256([]byte(release + ":" + device))
	return int(binary.BigEndian.Uint32(sum[:4]) % 100)
}

// Decide says whether device d takes the release of o at the time now: nil, or
// why not, with CodeHalted, CodeExpired, CodeRollout or CodeWindow. clockSet
// says whether the hours of now may be believed; where they may not, a window
// keeps nobody waiting.
func Decide(o godwit.Orders, d Device, now time.Time, clockSet bool) error {
	err := expired(o, now)
	if err == nil {
		err = halted(o)
	}
	if err == nil {
		err = rollout(o, d)
	}
	if err == nil && clockSet && !inWindow(o.Window, now) {
		err = godwit.Fail(godwit.CodeWindow, nil, "releases are installed between "+clock(o.Window.From)+" and "+clock(o.Window.To)+", and it is "+now.Format("15:04"),
			"run it then, or insist with godwit update --force")
	}
	return err
}

func expired(o godwit.Orders, now time.Time) error {
	if !Expired(o, now) {
		return nil
	}
	return godwit.Fail(godwit.CodeExpired, nil, "the channel "+o.Channel+" was good until "+o.NotAfter.UTC().Format(time.RFC3339)+" and nobody has renewed it; it is "+now.UTC().Format("2006-01-02")+" now",
		"set the channel again with a later --not-after; if somebody did, the host holds it back")
}

func halted(o godwit.Orders) error {
	if o.Halt == "" {
		return nil
	}
	return godwit.Fail(godwit.CodeHalted, nil, "the channel "+o.Channel+" was halted: "+o.Halt, "it goes on when somebody resumes it")
}

func rollout(o godwit.Orders, d Device) error {
	switch {
	case inWave(o, d) || Cohort(o.Release, d.ID) < o.Rollout:
		return nil
	case o.Rollout == 0 && len(o.Waves) > 0:
		return godwit.Fail(godwit.CodeRollout, nil, o.Release+" is for "+waves(o)+" first", "this device takes it when the channel widens its roll-out")
	}
	return godwit.Fail(godwit.CodeRollout, nil, o.Release+" is out for "+strconv.Itoa(o.Rollout)+"% of the devices, and this one has place "+strconv.Itoa(Cohort(o.Release, d.ID))+" of 0 to 99",
		"it takes it when the channel widens its roll-out")
}

// Expired reports whether o is past its NotAfter.
func Expired(o godwit.Orders, now time.Time) bool {
	return !o.NotAfter.IsZero() && now.After(o.NotAfter)
}

func inWave(o godwit.Orders, d Device) bool {
	for _, w := range o.Waves {
		for _, l := range d.Labels {
			if l == w {
				return true
			}
		}
	}
	return false
}

func waves(o godwit.Orders) string {
	s := "devices with "
	for i, w := range o.Waves {
		if i > 0 {
			s += " or "
		}
		s += w.String()
	}
	return s
}

func inWindow(w godwit.Window, now time.Time) bool {
	t := now.Hour()*60 + now.Minute()
	switch {
	case w.From == w.To:
		return true
	case w.From < w.To:
		return w.From <= t && t < w.To
	}
	return t >= w.From || t < w.To
}

func clock(minutes int) string {
	two := func(n int) string { return strconv.Itoa(n/10) + strconv.Itoa(n%10) }
	return two(minutes/60) + ":" + two(minutes%60)
}

// BelowFloor reports whether a device that runs the version called running has
// to go to o.Floor first. A device that runs nothing, or something without a
// version, does not.
func BelowFloor(o godwit.Orders, running string) bool {
	floor, ok := semver.Parse(o.Floor)
	v, ok2 := semver.Parse(running)
	return ok && ok2 && semver.Compare(v, floor) < 0
}
