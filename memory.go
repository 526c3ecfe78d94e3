package godwit

import "time"

// Memory is what a device remembers of what it accepted, so that nobody can
// send it back. It is part of the record and changes with it.
type Memory struct {
	Product  string    // that the rest is about; another product begins anew
	Version  string    // the highest version ever accepted, or what a signed Rollback-To lowered it to
	Time     time.Time // of the newest release ever accepted, likewise
	Channel  string    // the channel that was followed last
	Sequence uint64    // the highest of that channel
	Orders   string    // SHA-256 of what the channel said with it, signatures left out
	Clock    time.Time // it is not earlier than this
	// Signers and Revoked are digests, in text, of the lists that a release
	// brought, "" for those of the configuration. Base is the SHA-256 of the
	// configured lists that they took the place of: once the configuration has
	// others, it counts.
	Signers, Revoked, Base string
}

// Equal compares as the record keeps it, in seconds.
func (m Memory) Equal(o Memory) bool {
	if m.Time.Unix() != o.Time.Unix() || m.Clock.Unix() != o.Clock.Unix() {
		return false
	}
	m.Time, m.Clock = o.Time, o.Clock
	return m == o
}

// Where a release carries the lists that take the place of the device's, as
// OpenSSH writes them. They are never installed.
const (
	SignersPath = ".godwit/allowed_signers"
	RevokedPath = ".godwit/revoked_keys"
)

// Epoch is when this version of Godwit was made: it is not earlier than this.
var Epoch = time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)

// How much later than now something may claim to be and still be remembered as
// a time that has come: where the clock may be believed, and where it may not.
const (
	aheadOfClock = 48 * time.Hour
	aheadOfGuess = 400 * 24 * time.Hour
)

// HasCome reports whether t is a time that may be remembered at the time now,
// which Memory.Now gave. One mistake in a date would otherwise keep all that
// follows out.
func HasCome(t, now time.Time, set bool) bool {
	if set {
		return t.Before(now.Add(aheadOfClock))
	}
	return t.Before(now.Add(aheadOfGuess))
}

// Now is the best guess of the time on a device that boots with a wrong clock:
// no earlier than Epoch and m.Clock. set reports whether the clock itself is
// later than both, so that its hours may be believed.
func (m Memory) Now(clock time.Time) (now time.Time, set bool) {
	now = clock
	if m.Clock.After(now) {
		now = m.Clock
	}
	if Epoch.After(now) {
		now = Epoch
	}
	return now, now.Equal(clock)
}

// Tick returns m with a clock that t has moved on, if t HasCome.
func (m Memory) Tick(t, now time.Time, set bool) Memory {
	if t.After(m.Clock) && HasCome(t, now, set) {
		m.Clock = t
	}
	return m
}

// Orders are what a verified channel says.
type Orders struct {
	Channel    string // its name, such as "stable"
	ID         string // of its statement
	Sequence   uint64 // strictly increasing
	Release    string // name of the release, such as "v1.4.0"
	Commit     string // the release's id
	Product    string
	Rollout    int       // percent of devices, 0 to 100
	Waves      []Label   // devices with one of these labels do not wait for Rollout
	Window     Window    // when to install, by the device's local time
	Floor      string    // devices below this version go there first; "" for none
	FloorID    string    // what Commit is to Release, to Floor; "" if the channel does not say
	NotAfter   time.Time // no new installs past it; zero for ever
	RollbackTo string    // the version that devices may go back to; "" for none
	Halt       string    // why nobody is to take the release; "" when it goes on
	Time       time.Time // when the channel was set
	Memory     Memory    // what a device that saw these orders has to remember
}

// A Label is something an operator says of a device, such as site=lab.
type Label struct{ Key, Value string }

// String returns "KEY=VALUE".
func (l Label) String() string { return l.Key + "=" + l.Value }

// A Window is a time of day, in minutes since midnight. It may cross midnight.
// From == To is the whole day.
type Window struct{ From, To int }
