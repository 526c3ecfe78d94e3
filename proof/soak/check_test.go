package soak

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/godwit-ota/godwit/report"
	"github.com/godwit-ota/godwit/store"
	"github.com/godwit-ota/godwit/vfs"
	"github.com/godwit-ota/godwit/vfs/crashfs"
)

// What a device may take, at most.
const (
	behindMost = 2*every + 45*time.Minute // until the newest release is confirmed; without a clock a start can be followed by 2.5 times every
	gapLeast   = 40 * time.Second         // between two requests of one run of the agent
	dayMost    = 2*24 + 12                // requests on one day, whatever happens on it
	diskMost   = 240 << 10                // bytes
	quietMost  = 40                       // changes of the disk on a day on which nothing happens
)

// A day is what happened on one.
type day struct {
	n, requests, writes int
	busy                bool
}

// asked is told of each request that leaves the device.
func (w *world) asked() {
	now := time.Now()
	w.day.requests++
	w.t.requests++
	w.mu.Lock()
	gap, paused, same := now.Sub(w.lastAsked), now.Before(w.pausedUntil.Add(-time.Second)), (w.skew-w.pauseSkew).Abs() < 10*time.Minute
	first, woken, told := w.lastAsked.IsZero(), w.woken, w.pauseNoted || w.pauseRun == w.run
	w.lastAsked, w.woken = now, false
	w.mu.Unlock()
	switch {
	case !first && gap < gapLeast && !woken:
		w.bad("a request %v after the one before", gap)
	case paused && same && told && (w.pauseNoted || !woken):
		w.bad("a request %v before the pause is over that the host asked for", time.Until(w.pausedUntil))
	}
}

// record is what the disk says.
func (w *world) record() (*store.Store, store.Record, *crashfs.FS) {
	disk := w.fs.Clone()
	s, err := store.Open(disk, store.Options{Layout: w.layout, Now: w.wall})
	if err != nil {
		w.bad("the store cannot be opened: %v", err)
		return nil, store.Record{}, disk
	}
	return s, s.Record(), disk
}

func (w *world) runs() store.Version {
	_, r, _ := w.record()
	return r.Running
}

// inspect compares the tree on the disk with what the record says is there.
func (w *world) inspect(where string, starts bool) {
	if w.off() {
		return
	}
	w.t.mostDisk = max(w.t.mostDisk, w.fs.Used())
	if w.fs.Used() > diskMost {
		w.bad("%s: %d bytes of disk are used", where, w.fs.Used())
	}
	s, r, disk := w.record()
	switch {
	case s == nil:
		return
	case s.Damaged():
		w.bad("%s: the record is lost", where)
		return
	case !r.Settled && !r.Running.IsZero() && !starts:
		return // it is finished before anybody starts anything
	}
	w.t.looks++
	rel := w.byID[r.Running.ID]
	if rel == nil && !r.Running.IsZero() && r.Running.ID != store.BeforeGodwit {
		w.bad("%s: nobody published %q", where, r.Running.ID)
		return
	}
	want := crashfs.Tree{}
	if rel != nil {
		want = rel.found(w.disk.NoExec)
	}
	if diff := w.compare(disk, s.Tree(r.Running), want); diff != "" {
		w.bad("%s: the record says %s, settled %v, and the tree is another:\n%s", where, r.Running.Name, r.Settled, diff)
	}
	if target, err := disk.Readlink(store.Current); w.layout == store.Slots && rel != nil && (err != nil || target != s.Tree(r.Running)) {
		w.bad("%s: current leads to %q %v, want %q", where, target, err, s.Tree(r.Running))
	}
	if rel != nil && !r.Trial.Open && !w.healthy[rel.id] {
		w.bad("%s: %s is confirmed, which is %s and never proved itself", where, rel.name, rel.kind)
	}
	if rel != nil && !r.Trial.Open && !w.confirmed[rel.id] { // a cut came before it could be told
		w.confirmed[rel.id] = true
		w.t.confirmed++
	}
}

// compare says how a tree differs from what it should be.
func (w *world) compare(disk *crashfs.FS, dir string, want crashfs.Tree) string {
	if w.layout == store.Slots && len(want) == 0 {
		return ""
	}
	skip := func(name string) bool { return false }
	if w.layout == store.InPlace {
		want = maps.Clone(want)
		for p, what := range foreign {
			if w.disk.NoExec && what[0] == 'f' {
				what = "x" + what[1:]
			}
			want[p] = what
		}
		skip = func(name string) bool { return strings.HasPrefix(name, state) || name == store.VersionFile }
	}
	got, err := crashfs.Dump(disk, dir, skip)
	if err != nil {
		return err.Error()
	}
	return crashfs.Diff(got, want)
}

// checkLink looks at the disk as a cut has left it, before any recovery: where
// there is a link to the running version, it leads to a whole release.
func (w *world) checkLink() {
	target, err := w.fs.Readlink(store.Current)
	if w.layout != store.Slots || err != nil {
		return
	}
	b, err := vfs.ReadFile(w.fs, path.Join(target, "main.py"), 1<<20)
	_, text, _ := strings.Cut(strings.SplitN(string(b), "\n", 2)[0], "of release ")
	n, _ := strconv.Atoi(text)
	if err != nil || n < 1 || n > len(w.releases) {
		w.bad("after a cut (%s) current leads to no release: %q %v", w.place, b, err)
		return
	}
	if diff := w.compare(w.fs, target, w.releases[n-1].found(w.disk.NoExec)); diff != "" {
		w.bad("after a cut (%s) current leads to a mixture, mostly of release %d:\n%s", w.place, n, diff)
	}
}

// confirms is told that the device confirmed a release.
func (w *world) confirms(name string) {
	for _, r := range slices.Backward(w.releases) {
		if r.name != name {
			continue
		}
		if r.kind != good || !w.healthy[r.id] || w.app != r.id {
			w.bad("%s is confirmed, which is %s, proved itself: %v, and what runs is %q", name, r.kind, w.healthy[r.id], w.app)
		}
		w.confirmed[r.id] = true
		w.t.confirmed++
		w.day.busy = true
		return
	}
	w.bad("%s is confirmed, which nobody published", name)
}

// target is the release that the device should come to, nil where nobody can say.
func (w *world) target(r store.Record) *release {
	rel := w.tip()
	for i := 0; i < 4 && w.passes && rel != nil && rel.kind == unsigned; i++ {
		rel = w.below(rel)
	}
	if rel == nil || rel.kind != good {
		return nil
	}
	if _, rejected := r.Rejection(rel.id); rejected {
		w.t.unlucky[rel.id] = true
		return nil
	}
	return rel
}

// watch looks now and then whether the device is where it should be.
func (w *world) watch() {
	now := time.Now()
	if n := int(now.Sub(w.began) / (24 * time.Hour)); n != w.day.n {
		w.dayIsOver(n)
	}
	if w.off() {
		return
	}
	_, r, _ := w.record()
	tip := w.tip()
	if _, rejected := r.Rejection(tip.id); !rejected && (r.Running.ID != tip.id || r.Trial.Open) {
		w.day.busy = true // something waits to be installed
	}
	rel := w.target(r)
	if rel == nil || w.down || w.after > 0 || w.slow || w.fullDisk.on || !w.started || now.Before(w.pausedUntil) || !w.allowed(rel) {
		w.clear = now
		return
	}
	if rel.id != w.wanted {
		w.wanted, w.since = rel.id, now
	}
	if r.Running.ID == rel.id && !r.Trial.Open {
		w.clear = now
		return
	}
	behind := now.Sub(w.clear)
	if w.since.After(w.clear) {
		behind = now.Sub(w.since)
	}
	w.t.longest = max(w.t.longest, behind)
	if behind > behindMost {
		w.bad("%s has been out for %v, nothing is in its way, and the device runs %s, trial %v", rel.name, behind, r.Running.Name, r.Trial.Open)
	}
}

// dayIsOver counts it.
func (w *world) dayIsOver(n int) {
	d := w.day
	w.t.mostRequests = max(w.t.mostRequests, d.requests)
	if d.requests > dayMost {
		w.bad("%d requests on day %d", d.requests, d.n)
	}
	if !d.busy {
		w.t.quietDays++
		w.t.mostWrites = max(w.t.mostWrites, d.writes)
		if d.writes > quietMost {
			w.bad("%d writes on day %d, on which nothing happened", d.writes, d.n)
		}
	}
	w.day = day{n: n}
}

// checkReport looks at a report that is queued.
func (w *world) checkReport(rep report.Report) {
	_, r, _ := w.record()
	rel := w.byID[rep.Commit]
	switch {
	case rep.Verdict == report.Confirmed && (r.Running.ID != rep.Commit || r.Trial.Open || rel == nil || !w.healthy[rel.id]):
		w.bad("%s is reported as confirmed; what runs is %s, on trial: %v", rep.Release, r.Running.Name, r.Trial.Open)
	case rep.Verdict == report.Confirmed && rep.Tree != rel.fingerprint():
		w.bad("the report about %s has the fingerprint of another tree", rep.Release)
	case rep.Verdict == report.RolledBack && (r.Running.ID == rep.Commit || rel == nil):
		w.bad("%s is reported as rolled back, and runs", rep.Release)
	}
}

// fingerprint is what docs/reports.md says a tree is called.
func (r *release) fingerprint() string {
	h := sha256.New()
	for _, p := range slices.Sorted(maps.Keys(r.files)) {
		mode := "file"
		if strings.HasPrefix(r.files[p], "x:") {
			mode = "exec"
		}
		io.WriteString(h, mode+" "+digest(body(r.files[p])).String()+" "+p+"\n")
	}
	return hex.EncodeToString(h.Sum(nil))
}

// readMail takes the reports that have arrived.
func (w *world) readMail() {
	b, err := vfs.ReadFile(w.mail, "reports", 8<<20)
	if err != nil {
		return
	}
	w.mail.Remove("reports")
	for line := range bytes.Lines(b) {
		var m struct {
			Report struct {
				Verdict, Commit string
				Dropped         int64
			}
		}
		if err := json.Unmarshal(line, &m); err != nil {
			w.bad("a report arrives that cannot be read: %q", line)
			return
		}
		w.t.reports[report.Verdict(m.Report.Verdict)]++
		w.dropped = max(w.dropped, m.Report.Dropped)
		if m.Report.Verdict == string(report.Confirmed) {
			w.told[m.Report.Commit] = true
			if !w.confirmed[m.Report.Commit] {
				w.bad("a report arrives that %s was confirmed, which it was not", m.Report.Commit)
			}
		}
	}
}

// end is the time after the last trouble: the newest release arrives, and all
// reports do.
func (w *world) end() {
	for _, e := range w.episodes() {
		e.on = false
		w.change(e, false)
	}
	w.lull = time.Now()
	newest := w.publish(good)
	for why, end := "", time.Now().Add(50*time.Hour); why != "the end"; {
		w.start()
		if why = w.serve(end); !w.halt(why) {
			return
		}
	}
	w.t.days = int(time.Since(w.began) / (24 * time.Hour))
	if _, r, _ := w.record(); r.Running.ID != newest.id || r.Trial.Open {
		w.bad("two days after the last trouble %s runs, trial %v, not %s", r.Running.Name, r.Trial.Open, newest.name)
	}
	missing := 0
	for id := range w.confirmed {
		if !w.told[id] {
			missing++
			if int64(missing) > w.dropped {
				w.bad("%s was confirmed, and no report of that arrived; %d were dropped", w.byID[id].name, w.dropped)
			}
		}
	}
	w.t.dropped, w.t.missing = w.dropped, missing
	if w.t.quietDays == 0 && w.days > 30 {
		w.bad("there was no quiet day in %d", w.days)
	}
}
