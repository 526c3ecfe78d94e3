package engine_test

import (
	"context"
	"errors"
	"testing"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/engine"
	"github.com/godwit-ota/godwit/plan"
	"github.com/godwit-ota/godwit/store"
)

// Who asks for an update is asked back before bytes are spent, and before the
// switch; what was fetched by then is not fetched again.
func TestPermit(t *testing.T) {
	eachLayout(t, func(t *testing.T, layout store.Layout) {
		d := newDevice(t, layout, nil)
		if _, err := d.Update(context.Background(), engine.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		before := d.src.fetched
		d.src.tip = "v2"
		var asked []string
		hold := godwit.StageFetch
		opt := engine.UpdateOptions{Permit: func(stage godwit.Stage, to store.Version, p *plan.Plan) error {
			asked = append(asked, string(stage)+" "+to.Name)
			if p.FetchFiles != 2 && stage == godwit.StageFetch {
				t.Errorf("%d files", p.FetchFiles)
			}
			if stage == hold {
				return godwit.Fail(godwit.CodeBattery, nil, "the battery is low", "")
			}
			return nil
		}}
		try := func(want godwit.Code, running string, fetched int, asks ...string) {
			t.Helper()
			asked = nil
			_, err := d.Update(context.Background(), opt)
			code(t, err, want)
			d.runs(t, running)
			if d.src.fetched-before != fetched {
				t.Errorf("fetched %d, want %d", d.src.fetched-before, fetched)
			}
			if len(asked) != len(asks) {
				t.Errorf("asked %q, want %q", asked, asks)
				return
			}
			for i := range asks {
				if asked[i] != asks[i] {
					t.Errorf("asked %q, want %q", asked, asks)
				}
			}
			if s, err := d.Status(); err != nil || want != "" && s.LastError.Key != "" {
				t.Errorf("to wait is no error: %+v %v", s.LastError, err)
			}
		}
		try(godwit.CodeBattery, "v1", 0, "fetch v2")
		hold = godwit.StageSwitch
		try(godwit.CodeBattery, "v1", 2, "fetch v2", "switch v2")
		try(godwit.CodeBattery, "v1", 2, "switch v2")
		hold = ""
		try("", "v2", 2, "switch v2")
	})
}

// Two devices with the same files have the same fingerprint, whatever their layout,
// and with others another.
func TestFingerprint(t *testing.T) {
	seen := map[string]string{}
	eachLayout(t, func(t *testing.T, layout store.Layout) {
		d := newDevice(t, layout, nil)
		if f, err := d.Fingerprint(); f != "" || err != nil {
			t.Errorf("nothing is %q, %v", f, err)
		}
		for _, v := range []string{"v1", "v2"} {
			d.src.tip = v
			if _, err := d.Update(context.Background(), engine.UpdateOptions{}); err != nil {
				t.Fatal(err)
			}
			f, err := d.Fingerprint()
			if err != nil || len(f) != 64 {
				t.Fatal(f, err)
			}
			if before, ok := seen[v]; ok && before != f {
				t.Errorf("%s is %s and %s", v, before, f)
			}
			seen[v] = f
		}
		if seen["v1"] == seen["v2"] {
			t.Error("both versions are", seen["v1"])
		}
	})
}

func TestUntil(t *testing.T) {
	d := newDevice(t, store.Slots, nil)
	at := d.Now().Add(1)
	_, err := d.Update(context.Background(), engine.UpdateOptions{Permit: func(godwit.Stage, store.Version, *plan.Plan) error {
		return errors.Join(&godwit.Error{Code: godwit.CodeWindow, Text: "later", Until: at})
	}})
	code(t, err, godwit.CodeWindow)
	if !godwit.UntilOf(err).Equal(at) {
		t.Error(godwit.UntilOf(err))
	}
}
