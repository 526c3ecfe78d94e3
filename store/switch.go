package store

import (
	"errors"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/vfs"
)

// BeforeGodwit is the ID of the version that stands for the files which lay in
// the tree before the first update in place.
const BeforeGodwit = "before-godwit"

// Switch makes the pending version the running one and opens its trial. The
// record that it writes first is the point of no return: from then on the tree
// is the new version, and if it cannot be finished now, the next Reconcile
// finishes it.
func (s *Store) Switch(b *Pending, trial Trial) error {
	s.mustHold()
	if err := s.refresh(); err != nil {
		return err
	}
	r := s.rec
	old := r.Running
	if s.opt.Layout == InPlace {
		if old.IsZero() && b.survey.Installed != nil {
			old = Version{ID: BeforeGodwit, Name: "the tree from before Godwit"}
		}
		old.Listing = b.survey.name
		r.Older = nil
	} else {
		if old.Same(b.Version) && !r.Previous.IsZero() {
			old = r.Previous // the same anew: what a rollback leads to stays
		}
		var older []Version
		for _, v := range append([]Version{r.Previous}, r.Older...) {
			if !v.IsZero() && v.Dir != b.Version.Dir && v.Dir != old.Dir {
				older = append(older, v)
			}
		}
		r.Older = older
	}
	old.Hook = "" // has run
	previous := old
	if s.opt.Layout == InPlace && old.Same(b.Version) && !r.Previous.IsZero() {
		// The same anew. By other rules it is not: it may take the place of files
		// that it left alone before.
		previous = r.Previous
	}
	r.Running, r.Previous, r.Leaving = b.Version, previous, old
	r.Running.At = s.opt.Now()
	r.Settled, r.Trial, r.Restart, r.Memory = false, trial, s.boot, b.memory
	if err := s.writeRecord(r); err != nil {
		return err
	}
	return s.reconcile(b)
}

// Rollback makes the previous version the running one, without a download, and
// remembers why the one it leaves is not to be tried again. The error is
// CodeNoPrevious when there is none.
func (s *Store) Rollback(why Rejection) error {
	s.mustHold()
	if err := s.refresh(); err != nil {
		return err
	}
	r := s.rec
	if r.Previous.IsZero() {
		return godwit.Fail(godwit.CodeNoPrevious, nil, "there is no previous version to go back to", "update to a version that works")
	}
	r = r.reject(why)
	r.Leaving, r.Running, r.Previous = r.Running, r.Previous, Version{}
	r.Running.At = s.opt.Now()
	if len(r.Older) > 0 {
		r.Previous, r.Older = r.Older[0], r.Older[1:]
	}
	r.Settled, r.Trial, r.Restart = false, Trial{}, s.boot
	if err := s.writeRecord(r); err != nil {
		return err
	}
	return s.reconcile(nil)
}

// Reject remembers, without going back, that a version is not to be tried
// again, and closes its trial.
func (s *Store) Reject(why Rejection) error {
	s.mustHold()
	if err := s.refresh(); err != nil {
		return err
	}
	r := s.rec.reject(why)
	r.Trial = Trial{}
	return s.writeRecord(r)
}

func (r Record) reject(why Rejection) Record {
	list := []Rejection{why}
	for _, x := range r.Rejected {
		if x.ID != why.ID && len(list) < maxRejected {
			list = append(list, x)
		}
	}
	if why.ID == "" {
		list = r.Rejected
	}
	r.Rejected = list
	return r
}

// Rejection returns why the release with this id is not to be tried.
func (r Record) Rejection(id string) (Rejection, bool) {
	for _, x := range r.Rejected {
		if x.ID == id {
			return x, true
		}
	}
	return Rejection{}, false
}

// Confirm closes the trial of the running version and forgets the versions
// beyond Options.Keep. Their files go with the next Prune.
func (s *Store) Confirm() error {
	s.mustHold()
	if err := s.refresh(); err != nil {
		return err
	}
	r := s.rec
	if n := s.opt.Keep - 2; len(r.Older) > n {
		r.Older = r.Older[:n]
	}
	if !r.Trial.Open && len(r.Older) == len(s.rec.Older) {
		return nil // nothing new: no write
	}
	r.Trial, r.Restart = Trial{}, ""
	var list []Rejection
	for _, x := range r.Rejected {
		if x.ID != r.Running.ID {
			list = append(list, x)
		}
	}
	r.Rejected = list
	return s.writeRecord(r)
}

// Restarted remembers that the application was restarted after a switch. An open
// trial's clock begins at the uptime since.
func (s *Store) Restarted(since time.Duration) error {
	s.mustHold()
	if err := s.refresh(); err != nil {
		return err
	}
	r := s.rec
	if r.Restart == "" {
		return nil
	}
	if r.Restart = ""; r.Trial.Open {
		r.Trial.Since = since
	}
	return s.writeRecord(r)
}

// SetTrial replaces the trial of the running version.
func (s *Store) SetTrial(t Trial) error {
	s.mustHold()
	if err := s.refresh(); err != nil {
		return err
	}
	r := s.rec
	r.Trial = t
	return s.writeRecord(r)
}

// Reconcile makes the tree equal to the record, if that is not known to be so.
// It can be cut short at any point, any number of times, and be run again. It
// reports whether there was anything to do.
//
// If contents are missing, it does everything else and returns CodeDamaged.
func (s *Store) Reconcile() (worked bool, err error) {
	s.mustHold()
	if err := s.refresh(); err != nil {
		return false, err
	}
	if s.rec.Running.IsZero() {
		return false, nil
	}
	if s.rec.Settled {
		return s.relink()
	}
	return true, s.reconcile(nil)
}

// relink puts the link "current" right that somebody has removed or changed.
func (s *Store) relink() (worked bool, err error) {
	dir := s.Tree(s.rec.Running)
	have, err := s.fs.Readlink(Current)
	if s.opt.Layout == InPlace || err == nil && have == dir {
		return false, nil
	}
	if i, err := s.fs.Lstat(Current); err == nil && i.Type != vfs.Link {
		return false, godwit.Fail(godwit.CodeForeignFile, nil, strconv.Quote(Current)+" in the root of the tree is not Godwit's link to the running version", "move it away")
	}
	if i, err := s.fs.Lstat(dir); err != nil || i.Type != vfs.Dir {
		return false, godwit.Fail(godwit.CodeDamaged, err, "the running version's folder "+strconv.Quote(dir)+" is gone", "run godwit verify --repair")
	}
	if err := s.nextCurrent(dir); err != nil {
		return false, err
	}
	if err := s.fs.Rename(s.state("put/current"), Current); err != nil {
		return false, diskError(err, "the link "+strconv.Quote(Current)+" cannot be switched")
	}
	return true, diskError(s.fs.Sync(), "the link "+strconv.Quote(Current)+" cannot be made durable")
}

// Repair puts right every file of the running version that is not as it should
// be, from contents that are on this device or were staged for it.
func (s *Store) Repair() error {
	s.mustHold()
	if err := s.refresh(); err != nil {
		return err
	}
	if s.rec.Running.IsZero() {
		return nil
	}
	if err := s.fs.Sync(); err != nil {
		return diskError(err, "the repair cannot be made durable")
	}
	r := s.rec
	r.Settled = false
	if err := s.writeRecord(r); err != nil {
		return err
	}
	return s.reconcile(nil)
}

// reconcile settles the tree. With fresh, the version was built by this process
// a moment ago, so nothing needs to be hashed to know what is where.
func (s *Store) reconcile(fresh *Pending) error {
	var err error
	if s.opt.Layout == InPlace {
		err = s.settleInPlace(fresh)
	} else {
		err = s.settleSlot(fresh)
	}
	if err == nil {
		err = diskError(s.fs.Sync(), "the switch cannot be made durable")
	}
	if err == nil {
		err = s.writeVersionFile()
	}
	if err != nil {
		return err
	}
	r := s.rec
	r.Settled, r.Leaving = true, Version{}
	if err := s.writeRecord(r); err != nil {
		return err
	}
	for _, f := range []string{"stage", "put"} {
		if err := s.empty(f); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) settleSlot(fresh *Pending) error {
	v := s.rec.Running
	dir := s.Tree(v)
	var missing error
	if fresh == nil {
		var err error
		if missing, err = s.mend(dir, v); err != nil {
			return err
		}
		if err := s.linkShared(dir); err != nil {
			return err
		}
	}
	if have, err := s.fs.Readlink(Current); err != nil || have != dir {
		if err := s.nextCurrent(dir); err != nil {
			return err
		}
		if err := s.fs.Rename(s.state("put/current"), Current); err != nil {
			return diskError(err, "the link "+strconv.Quote(Current)+" cannot be switched")
		}
	}
	return missing
}

// nextCurrent makes the link that a rename will turn into "current". Build makes
// it too, so that a switch needs no space. It waits in the state folder, from
// where it leads nowhere.
func (s *Store) nextCurrent(dir string) error {
	next := s.state("put/current")
	if have, err := s.fs.Readlink(next); err == nil && have == dir {
		return nil
	}
	if err := s.remove(next); err != nil {
		return err
	}
	return diskError(s.fs.Symlink(dir, next), "the link "+strconv.Quote(Current)+" cannot be prepared")
}

// settleInPlace removes what only the version being left has, then puts the
// files of the running one in place. Until it is settled, keep/ has all that the
// one and stage/ or keep/ all that the other is made of, so it does not matter
// which of the removals and renames a power cut undoes.
func (s *Store) settleInPlace(fresh *Pending) error {
	v := s.rec.Running
	t, err := s.Traits()
	if err != nil {
		return err
	}
	err = s.eachLeft(func(name string) error {
		if i, err := s.fs.Lstat(name); err == nil && i.Type != vfs.Dir {
			if err := s.remove(name); err != nil {
				return err
			}
		} else if err != nil && !isAbsent(err) {
			return diskError(err, strconv.Quote(name)+" cannot be read")
		}
		if t.CaseSensitive {
			return nil
		}
		return s.removeEmpty(path.Dir(name)) // a folder may come back in another spelling
	})
	if err != nil {
		return err
	}
	var missing error
	if fresh == nil {
		// What Build prepared takes the space that mending needs.
		err = s.removeUnused(s.state("put"), func(i vfs.Info) bool { return strings.HasPrefix(i.Name, "d") })
		if err == nil {
			missing, err = s.mend(".", v)
		}
	} else {
		err = s.putAll(fresh)
	}
	if err == nil {
		err = s.eachLeft(func(name string) error { return s.removeEmpty(path.Dir(name)) })
	}
	if err != nil {
		return err
	}
	return missing
}

// eachLeft calls fn for every path that only the version being left has.
func (s *Store) eachLeft(fn func(name string) error) error {
	for p, err := range godwit.Merge(s.listing(s.rec.Leaving.Listing), s.listing(s.rec.Running.Listing)) {
		if err == nil && p.B == nil {
			err = fn(p.A.Path)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// putAll renames what Build prepared to where it belongs.
func (s *Store) putAll(fresh *Pending) error {
	n, dirs := 0, folders{s: s}
	for p, err := range godwit.Merge(fresh.survey.Installed, s.listing(s.rec.Running.Listing)) {
		if err != nil {
			return err
		}
		if p.B == nil || !differs(p) {
			continue
		}
		if err := s.makeWay(&dirs, p.B.Path); err != nil {
			return err
		}
		if err := s.fs.Rename(s.putName(n), p.B.Path); err != nil {
			return diskError(err, strconv.Quote(p.B.Path)+" cannot be put in place")
		}
		n++
	}
	return nil
}

// writeVersionFile tells applications what runs.
func (s *Store) writeVersionFile() error {
	v := s.rec.Running
	gone := []string{VersionFile + ".new"} // FAT may keep both names of an interrupted rename
	if v.ID == BeforeGodwit {
		gone = append(gone, VersionFile)
	}
	for _, name := range gone {
		if _, err := s.fs.Lstat(name); isAbsent(err) {
			continue
		}
		err := s.remove(name)
		if err == nil {
			err = diskError(s.fs.SyncDir("."), name+" cannot be removed")
		}
		if err != nil {
			return err
		}
	}
	if v.ID == BeforeGodwit {
		return nil
	}
	want := `{"ref": ` + quoteJSON(v.Ref) + `, "commit": ` + quoteJSON(v.ID) + "}\n"
	have, err := vfs.ReadFile(s.fs, VersionFile, 64<<10)
	if err == nil && string(have) == want {
		return nil
	}
	err = vfs.WriteFile(s.fs, VersionFile, []byte(want))
	if vfs.Full(err) {
		err = s.overwrite(VersionFile, []byte(want)) // going back must work on a full disk
	}
	return diskError(err, VersionFile+" cannot be written")
}

// quoteJSON writes a JSON string (RFC 8259, section 7).
func quoteJSON(s string) string {
	b := []byte{'"'}
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r < 0x20:
			const hex = "0123456789abcdef"
			b = append(b, `\u00`...)
			b = append(b, hex[r>>4], hex[r&15])
		default:
			b = append(b, string(r)...)
		}
	}
	return string(append(b, '"'))
}

// Prune removes what no version in the record needs: trees of other versions,
// kept copies, listings. It never removes the tree that the link "current"
// points to, and nothing while the tree is not settled.
func (s *Store) Prune() error {
	s.mustHold()
	if err := s.refresh(); err != nil {
		return err
	}
	return s.prune(Pending{})
}

// prune spares what the pending version is made of.
func (s *Store) prune(b Pending) error {
	if !s.rec.Settled && !s.rec.Running.IsZero() {
		return nil
	}
	used := map[string]bool{s.state("list/" + b.survey.name): true}
	for _, m := range []godwit.Memory{s.rec.Memory, b.memory} {
		for _, digest := range []string{m.Signers, m.Revoked} {
			names := s.listNames(digest)
			used[names[0]], used[names[1]] = true, true
		}
	}
	for _, v := range append([]Version{b.Version, s.rec.Running, s.rec.Previous}, s.rec.Older...) {
		used["versions/"+v.Dir], used[s.state("list/"+v.Listing)] = true, true
	}
	if s.opt.Layout == Slots {
		if target, err := s.fs.Readlink(Current); err == nil {
			used[target] = true
		}
		if err := s.removeUnused("versions", func(i vfs.Info) bool { return used["versions/"+i.Name] || !slotName(i.Name) }); err != nil {
			return err
		}
	}
	// What the pending version needs was counted as present when it was planned.
	var needed [2]*index
	for n, l := range []string{s.rec.Previous.Listing, b.Version.Listing} {
		x, err := s.index(l)
		if godwit.CodeOf(err) == godwit.CodeDamaged {
			return nil // keep what cannot be judged
		}
		if err != nil {
			return err
		}
		needed[n] = x
	}
	err := s.removeUnused(s.state("keep"), func(i vfs.Info) bool {
		d, _, err := parseObjectName(i.Name)
		found := false
		for _, x := range needed {
			if err == nil && !found {
				err = x.find(d, func(godwit.Entry) bool { found = true; return false })
			}
		}
		return found || err != nil && !errors.Is(err, errNotObject)
	})
	if err != nil {
		return err
	}
	clear(s.checked) // what is removed now must be checked again if it comes back
	return s.removeUnused(s.state("list"), func(i vfs.Info) bool { return used[s.state("list/"+i.Name)] })
}

// removeUnused removes everything in dir that used does not speak for.
func (s *Store) removeUnused(dir string, used func(vfs.Info) bool) error {
	for {
		var names []string
		err := s.fs.ReadDir(dir, func(i vfs.Info) error {
			if !used(i) {
				names = append(names, dir+"/"+i.Name)
			}
			if len(names) == 64 {
				return errEnough
			}
			return nil
		})
		if err != nil && err != errEnough && !isAbsent(err) {
			return diskError(err, strconv.Quote(dir)+" cannot be read")
		}
		for _, n := range names {
			if err := vfs.RemoveAll(s.fs, n); err != nil {
				return diskError(err, strconv.Quote(n)+" is no longer needed and cannot be removed")
			}
		}
		if err != errEnough {
			return nil
		}
	}
}

// overwrite changes the content of a file in the space it has. A power cut may
// tear it, so it is for what is written again until the tree is settled.
func (s *Store) overwrite(name string, b []byte) error {
	if err := s.remove(name + ".new"); err != nil {
		return err
	}
	f, err := s.fs.Open(name, vfs.Write)
	if err != nil {
		return err
	}
	if _, err = f.WriteAt(b, 0); err == nil {
		err = f.Truncate(int64(len(b)))
	}
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = s.fs.SyncDir(".") // the name may be that of an unfinished rename
	}
	return err
}
