package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/config"
	"github.com/godwit-ota/godwit/engine"
	"github.com/godwit-ota/godwit/internal/jsontext"
	"github.com/godwit-ota/godwit/store"
)

// fullStatus has something to say in every line.
func fullStatus(now time.Time) report {
	return report{root: "/srv/x", boots: 3, Status: engine.Status{
		Layout: store.Slots, Policy: "none", Damaged: true,
		Running:   store.Version{ID: "1111111111111111", Name: "v2", Ref: "refs/tags/v2", Time: now.Add(-72 * time.Hour), At: now.Add(-90 * time.Second), Policy: "none"},
		Previous:  store.Version{ID: "2222222222222222", Name: "v1", Ref: "refs/tags/v1"},
		Older:     []store.Version{{ID: store.BeforeGodwit}},
		Trial:     store.Trial{Open: true, BootsLeft: 1},
		TrialLeft: 61 * time.Second,
		Rejected: []store.Rejection{{ID: "3333333333333333", Name: "v3", Reason: "bad\x1b[31m", At: now.Add(-26 * time.Hour)},
			{ID: "4444444444444444", Reason: "worse", At: now.Add(-100 * time.Hour)}},
		LastCheck: engine.Remark{At: now.Add(-30 * time.Second), Key: "1111111111111111", Text: "up to date"},
		LastError: engine.Remark{At: now.Add(time.Hour), Key: "network", Text: "no answer"},
		Health:    engine.Remark{At: now.Add(-time.Minute), Text: "ok", Output: "1\n2\n3\n4\n5\n6\n"},
		Hooks:     []engine.Remark{{At: now.Add(-time.Minute), Key: "pre_switch", Text: "ok", Output: "stopped"}},
	}}
}

func TestStatusForPeople(t *testing.T) {
	old := time.Local
	time.Local = time.UTC
	defer func() { time.Local = old }()
	now := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	want := `running      v2 (1111111111), since 2026-03-04 11:58 (1 min ago)
             refs/tags/v2, made 2026-03-01
DAMAGED      both copies of the record are damaged: Godwit no longer knows what is installed
             run ` + "`godwit update`" + ` to install the release again; what runs now goes on running
UNSETTLED    a switch was interrupted: run ` + "`godwit recover`" + ` to finish it
trial        not confirmed yet: 1m1s left, and 1 boot of 3
previous     v1 (2222222222)
             the files from before Godwit
trust        nothing checks who made a release: trust.mode is "none"
tree         /srv/x, layout slots
last check   2026-03-04 11:59 (just now): up to date
health       2026-03-04 11:59 (1 min ago): ok
             | 2
             | 3
             | 4
             | 5
             | 6
hook         pre_switch, 2026-03-04 11:59 (1 min ago): ok
             | stopped
last error   2026-03-04 13:00: no answer
rejected     v3 (3333333333), 2026-03-03 10:00 (26 h ago): bad\x1b[31m
             4444444444, 2026-02-28 08:00 (4 days ago): worse
`
	if got := statusText(fullStatus(now), now); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// What a device under signed trust has to say beside.
func TestStatusOfASignedDevice(t *testing.T) {
	old := time.Local
	time.Local = time.UTC
	defer func() { time.Local = old }()
	now := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	s := report{root: "/srv/x", Status: engine.Status{
		Layout: store.Slots, Policy: "signed", Settled: true,
		Running: store.Version{ID: "1111111111111111", Name: "v1.3.0", Ref: "refs/tags/v1.3.0", Signers: "alice@acme, bob@acme"},
		Memory:  godwit.Memory{Version: "v1.4.0", Channel: "stable", Sequence: 42},
		Channel: engine.Channel{Name: "stable", Release: "v1.5.0", NotAfter: time.Date(2026, 3, 5, 0, 0, 0, 0, time.UTC)},
	},
		trust: config.Trust{Mode: "signed", AllowedSigners: "/etc/godwit/allowed_signers", RevokedKeys: "/etc/godwit/revoked", Product: "station", Threshold: 1},
		quota: "12 of 60 requests left until 12:40",
	}
	want := `running      v1.3.0 (1111111111)
             refs/tags/v1.3.0
             signed by alice@acme, bob@acme
previous     nothing
trust        releases for the product "station", signed by one in /etc/godwit/allowed_signers
             and not in /etc/godwit/revoked
channel      stable, number 42: v1.5.0, good until 2026-03-05 00:00
newest       v1.4.0 was accepted before: nothing older is, unless a signed channel leads back
tree         /srv/x, layout slots
host         12 of 60 requests left until 12:40
last check   never
`
	if got := statusText(s, now); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	json := `"product":"station","channel":{"name":"stable","release":"v1.5.0","not_after":"2026-03-05T00:00:00Z"},` +
		`"memory":{"version":"v1.4.0","channel":"stable","sequence":42},"quota":"12 of 60 requests left until 12:40","settled":true`
	if got := string(jsontext.Append(nil, statusFields(s))); !strings.Contains(got, json) {
		t.Errorf("got\n%s\nwithout\n%s", got, json)
	}
	s.Memory.Version = "v1.2.0"
	if got := statusText(s, now); !strings.Contains(got, "\noldest       v1.2.0 may be gone back to: a signed channel leads there\n") {
		t.Error(got)
	}
	s.Memory.Signers, s.Memory.Revoked, s.trust.Threshold, s.Channel.Expired = "sha256:1", "sha256:2", 2, true
	want = `trust        releases for the product "station", signed by 2 of those in the allowed_signers that a release brought
             and not in the revoked_keys that a release brought
channel      stable, number 42: v1.5.0
             EXPIRED since 2026-03-05 00:00 (2 days ago): nothing new is installed until somebody sets it again
`
	if got := statusText(s, now.AddDate(0, 0, 3)); !strings.Contains(got, want) {
		t.Errorf("got\n%s\nwithout\n%s", got, want)
	}
}

func TestStatusAsJSON(t *testing.T) {
	now := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	want := `{"type":"status","root":"/srv/x","layout":"slots","policy":"none",` +
		`"running":{"commit":"1111111111111111","ref":"refs/tags/v2","name":"v2","time":"2026-03-01T12:00:00Z","since":"2026-03-04T11:58:30Z","policy":"none"},` +
		`"previous":{"commit":"2222222222222222","ref":"refs/tags/v1","name":"v1"},"older":[{"commit":"before-godwit"}],"channel":null,"memory":null,` +
		`"settled":false,"damaged":true,"trial":{"boots_left":1,"seconds_left":61},` +
		`"rejected":[{"commit":"3333333333333333","name":"v3","reason":"bad\u001b[31m","at":"2026-03-03T10:00:00Z"},{"commit":"4444444444444444","reason":"worse","at":"2026-02-28T08:00:00Z"}],` +
		`"last_check":{"at":"2026-03-04T11:59:30Z","commit":"1111111111111111","result":"up to date"},` +
		`"last_error":{"at":"2026-03-04T13:00:00Z","code":"network","result":"no answer"},` +
		`"health":{"at":"2026-03-04T11:59:00Z","result":"ok","output":"1\n2\n3\n4\n5\n6\n"},` +
		`"hooks":[{"at":"2026-03-04T11:59:00Z","name":"pre_switch","result":"ok","output":"stopped"}]}`
	if got := string(jsontext.Append(nil, statusFields(fullStatus(now)))); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	empty := `{"type":"status","root":"/","layout":"in-place","policy":"none","running":null,"previous":null,"channel":null,"memory":null,"settled":true,"damaged":false,"trial":null,"rejected":[],"last_check":null,"last_error":null,"health":null}`
	if got := string(jsontext.Append(nil, statusFields(report{root: "/", Status: engine.Status{Layout: store.InPlace, Policy: "none", Settled: true}}))); got != empty {
		t.Errorf("got\n%s\nwant\n%s", got, empty)
	}
}
