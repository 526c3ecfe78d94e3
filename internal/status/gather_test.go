package status

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/board"
	"github.com/godwit-ota/godwit/config"
	"github.com/godwit-ota/godwit/gate"
	"github.com/godwit-ota/godwit/history"
	"github.com/godwit-ota/godwit/internal/device"
	"github.com/godwit-ota/godwit/vfs"
)

// listed is every file below dir with its size and time.
func listed(t *testing.T, dir string) string {
	t.Helper()
	var s strings.Builder
	if err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		s.WriteString(p + " " + info.ModTime().String() + " " + info.Mode().String() + "\n")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return s.String()
}

func TestGather(t *testing.T) {
	inUTC(t)
	dir := t.TempDir()
	cfg, err := config.Parse(filepath.Join(dir, "godwit.toml"), []byte("[source]\nurl = \""+dir+"/none.git\"\ntag = \"v1\"\n[trust]\nmode = \"none\"\n[tree]\nroot = \""+dir+"/tree\"\n[device]\nid = \"seven\"\n"+
		"[when]\ninstall_hours = [\"02:00-04:00\"]\ntimezone = \"Asia/Tokyo\"\nmin_battery = 40\nmonthly_bytes = \"5MB\"\nmin_interval = \"1h\"\n"), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 12, 24, 12, 0, 0, 0, time.UTC)
	clock := func() time.Time { return now }
	run := filepath.Join(dir, "run")
	brd, err := board.Open(board.Config{Sys: dir + "/sys", Proc: dir + "/proc"})
	if err != nil {
		t.Fatal(err)
	}
	defer brd.Close()
	o := Options{
		Device:  device.Options{Getenv: func(name string) string { return map[string]string{"RUNTIME_DIRECTORY": run}[name] }},
		Version: "1.2.0", Board: brd, HistoryOptions: history.Options{Now: clock}, Now: clock,
		Facts: func(tree string, now time.Time, set bool) gate.Facts {
			if tree != dir+"/tree/current" || !set {
				t.Error(tree, set)
			}
			return gate.Facts{Now: now, ClockSet: set, Battery: gate.Battery{Known: true, Percent: 30}, Metered: true}
		},
	}

	// Nothing is there, and nothing is made.
	s, err := Gather(cfg, o)
	if err != nil || s.Agent != nil || s.State() != "nothing installed" || !s.Asked.IsZero() || len(s.Hardware) == 0 || s.Device != "seven" {
		t.Errorf("%v %+v", err, s)
	}
	if _, err := os.Stat(dir + "/tree"); err == nil {
		t.Error("tree.root was made")
	}

	// A device with a past, and an agent.
	if err := os.Mkdir(dir+"/tree", 0o755); err != nil {
		t.Fatal(err)
	}
	fsys, err := vfs.OS(dir + "/tree")
	if err != nil {
		t.Fatal(err)
	}
	defer fsys.Close()
	past := now.Add(-30 * time.Minute)
	h, err := history.Open(fsys, cfg.Tree.State, history.Options{Now: func() time.Time { return past }})
	if err == nil {
		err = h.SetLastCheck(past, time.Hour)
	}
	if err == nil {
		err = h.AddBytes(true, 1000, 70_000)
	}
	if err == nil {
		err = h.Crash("watchdog", "it hung")
	}
	if err == nil {
		err = h.Error(godwit.CodeNetwork, "check", "the host does not answer")
	}
	if err == nil {
		err = h.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	live := Live{PID: os.Getpid(), Started: past, Doing: "waiting", NextCheck: now.Add(time.Hour), Why: "as planned"}
	if err := live.Write(LiveFile(run, dir+"/tree")); err != nil {
		t.Fatal(err)
	}
	before := listed(t, dir)
	if s, err = Gather(cfg, o); err != nil {
		t.Fatal(err)
	}
	if after := listed(t, dir); after != before {
		t.Errorf("to look has changed\n%s\nto\n%s", before, after)
	}
	if !s.Asked.Equal(past) || s.Crashes != 1 || s.Month.Metered() != 71_000 || !s.Metered || s.Battery.Percent != 30 || s.Agent == nil || s.Lost != nil {
		t.Errorf("%+v", s)
	}
	held := map[string]bool{}
	for a, list := range s.Gates {
		for _, v := range list {
			if v.Holds {
				held[a.String()+" "+v.Gate] = true
			}
			if v.Gate == "window" && v.Holds && !v.Until.Equal(time.Date(2026, 12, 24, 17, 0, 0, 0, time.UTC)) { // 02:00 in Tokyo
				t.Error(v)
			}
		}
	}
	if len(held) != 4 || !held["check interval"] || !held["fetch battery"] || !held["switch battery"] || !held["switch window"] {
		t.Error(held)
	}
	text := s.Text(now, false)
	for _, want := range []string{
		"\nlast check   2026-12-24 11:30 (30 min ago)\n", "\nnext check   2026-12-24 13:00 (in 1 h): as planned\n", "\nnot now      downloading and installing: the battery is at 30%",
		"\n             installing: releases are installed at 02:00-04:00", "\ncrashes      1 in the last 24 hours; the last 2026-12-24 11:30 (30 min ago): watchdog, it hung\n",
		"\nthis month   received 70 kB, sent 1.0 kB; over metered links 71 kB of 5.0 MB\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("got\n%s\nwithout%s", text, want)
		}
	}

	// What the agent knows and has not written counts.
	live.LastCheck = now.Add(-time.Minute)
	if err := live.Write(LiveFile(run, dir+"/tree")); err != nil {
		t.Fatal(err)
	}
	if s, err = Gather(cfg, o); err != nil || !s.Asked.Equal(live.LastCheck) {
		t.Error(err, s.Asked)
	}
	// Without what only its caller knows there is less.
	if s, err = Gather(cfg, Options{}); err != nil || s.Gates != nil || s.Hardware != nil {
		t.Error(err, s)
	}
}
