package engine_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/engine"
	"github.com/godwit-ota/godwit/store"
	"github.com/godwit-ota/godwit/vfs/crashfs"
)

// As long as a release that failed here is the newest, each check ends with the same
// error. That costs no more writes than checks that find nothing, and status still
// tells of it.
func TestSameErrorAgain(t *testing.T) {
	disk := crashfs.New(crashfs.Options{})
	s, err := store.Open(disk, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	src := &shelf{tip: "v1", releases: map[string]map[string]string{"v1": {"main.py": "one"}, "v2": {"main.py": "two"}, "v3": {"main.py": "three"}}}
	app := &fakeApp{}
	now := time.Now()
	e := engine.New(engine.Config{Store: s, Source: src, Gate: anybody(t), App: app, Now: func() time.Time { return now }})
	update := func(tip string, want godwit.Code) {
		t.Helper()
		src.tip = tip
		now = now.Add(time.Hour)
		_, err := e.Update(context.Background(), engine.UpdateOptions{})
		code(t, err, want)
	}
	update("v1", "")
	app.health = func() error { return errors.New("sick") }
	update("v2", godwit.CodeRolledBack)
	update("v2", godwit.CodeRejected)
	writes := 0
	disk.OnOp(func(op crashfs.Op) {
		if op.Changes() {
			writes++
		}
	})
	for range 24 {
		update("v2", godwit.CodeRejected)
	}
	if writes > 30 {
		t.Errorf("%d changes of the disk on a day on which nothing happened", writes)
	}
	for range 3 { // got over, and there again
		update("v1", "")
		if st, _ := e.Status(); st.LastError.Key != "" {
			t.Errorf("what was got over: %+v", st.LastError)
		}
		update("v2", godwit.CodeRejected)
		if st, _ := e.Status(); st.LastError.Key != string(godwit.CodeRejected) || st.LastError.At.Unix() != now.Unix() {
			t.Errorf("the same again: %+v", st.LastError)
		}
	}
}
