package engine_test

import (
	"context"
	"testing"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/engine"
	"github.com/godwit-ota/godwit/plan"
	"github.com/godwit-ota/godwit/store"
)

// A cutShelf is a source that is lost at some request.
type cutShelf struct {
	*shelf
	noTip, noRelease bool
}

var lost = godwit.Fail(godwit.CodeNetwork, nil, "no route", "")

func (c *cutShelf) Tip(ctx context.Context) (godwit.Tip, error) {
	if c.noTip {
		return godwit.Tip{}, lost
	}
	return c.shelf.Tip(ctx)
}

func (c *cutShelf) Release(ctx context.Context, t godwit.Tip) (godwit.Release, error) {
	if c.noRelease {
		return godwit.Release{}, lost
	}
	return c.shelf.Release(ctx, t)
}

// What is here already is switched to where the source cannot be reached, or is lost
// after it named the same; never where it named something else by then, which is what the
// release was withdrawn for, maybe.
func TestPrepared(t *testing.T) {
	for _, tt := range []struct {
		what, tip string
		cut       cutShelf
		runs      string
		code      godwit.Code
	}{
		{"no network", "v2", cutShelf{noTip: true}, "v2", ""},
		{"lost on the way", "v2", cutShelf{noRelease: true}, "v2", ""},
		{"back to what runs", "v1", cutShelf{noRelease: true}, "v1", ""},
		{"on to another", "v3", cutShelf{noRelease: true}, "v1", godwit.CodeNetwork},
	} {
		t.Run(tt.what, func(t *testing.T) {
			eachLayout(t, func(t *testing.T, layout store.Layout) {
				d := newDevice(t, layout, nil)
				if _, err := d.Update(context.Background(), engine.UpdateOptions{}); err != nil {
					t.Fatal(err)
				}
				d.src.tip = "v2"
				hold := godwit.Fail(godwit.CodeBattery, nil, "the battery is low", "")
				opt := engine.UpdateOptions{Permit: func(stage godwit.Stage, _ store.Version, _ *plan.Plan) error {
					if stage == godwit.StageSwitch && hold != nil {
						return hold
					}
					return nil
				}}
				r, err := d.Update(context.Background(), opt)
				code(t, err, godwit.CodeBattery)
				if r.Prepared == nil {
					t.Fatal("nothing is prepared")
				}
				hold, opt.Prepared = nil, r.Prepared
				tt.cut.shelf = d.src
				d.src.tip, d.Source = tt.tip, &tt.cut
				_, err = d.Update(context.Background(), opt)
				code(t, err, tt.code)
				d.runs(t, tt.runs)
			})
		})
	}
}
