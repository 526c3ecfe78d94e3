package store

import (
	"path"
	"strconv"
	"strings"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/plan"
	"github.com/godwit-ota/godwit/vfs"
)

// A Pending version is complete and durable beside the running one. Switch
// makes it the running one.
type Pending struct {
	Version Version
	memory  godwit.Memory // what the device remembers from the switch on
	survey  Survey
	steps   int // in place: files that wait in put/
}

// Build makes version v ready: with slots its whole tree, in place the files
// that will change and copies of those that go. v needs ID and what is known of
// the release; Build fills in Dir and Listing. All contents that p fetches must
// be here. m is what the device has to remember once it runs v. When Build returns nil, a switch needs no more space and no network.
//
// What an earlier Build of the same version left is used.
func (s *Store) Build(o *Objects, v Version, m godwit.Memory, p *plan.Plan, sv Survey) (*Pending, error) {
	s.mustHold()
	if err := s.refresh(); err != nil {
		return nil, err
	}
	var err error
	if v.Listing, err = s.saveListing("target", p.Target()); err != nil {
		return nil, err
	}
	if s.opt.Layout == Slots {
		v.Dir = s.slotFor(v)
	}
	b := &Pending{Version: v, memory: m, survey: sv}
	if err := s.prune(*b); err != nil {
		return nil, err
	}
	if s.opt.Layout == InPlace {
		err = s.buildInPlace(o, b)
	} else {
		err = s.buildSlot(o, b)
	}
	if err == nil {
		err = diskError(s.fs.Sync(), "the new version cannot be made durable")
	}
	if err != nil {
		return nil, err
	}
	return b, nil
}

// slotFor names the folder of a version. The listing's sum is part of it, so
// what an interrupted build left there can only be files of the same tree.
func (s *Store) slotFor(v Version) string {
	base := v.ID[:min(12, len(v.ID))] + "-" + v.Listing[:6]
	live, _ := s.fs.Readlink(Current) // the record may have been lost
	dir := base
	for n := 2; dir == s.rec.Running.Dir || "versions/"+dir == live; n++ {
		dir = base + "." + strconv.Itoa(n)
	}
	return dir
}

func (s *Store) buildSlot(o *Objects, b *Pending) error {
	v := b.Version
	dir := s.Tree(v)
	if err := vfs.MkdirAll(s.fs, "versions"); err != nil {
		return diskError(err, "the folder for versions cannot be made")
	}
	_, err := s.fs.Lstat(dir)
	fresh := isAbsent(err)
	if err := vfs.MkdirAll(s.fs, dir); err != nil {
		return diskError(err, "the folder for the new version cannot be made")
	}
	o.trees = append(o.trees, indexedTree{dir: dir, listing: v.Listing}) // for content at several paths
	old := s.Tree(s.rec.Running)
	made := dir
	for p, err := range godwit.Merge(b.survey.Installed, s.listing(v.Listing)) {
		if err != nil {
			return err
		}
		if p.B == nil {
			continue
		}
		dst := dir + "/" + p.B.Path
		if d := path.Dir(dst); d != made {
			if err := vfs.MkdirAll(s.fs, d); err != nil {
				return diskError(err, "a folder of the new version cannot be made")
			}
			made = d
		}
		if !fresh {
			right, err := s.isRight(dst, *p.B)
			if err != nil {
				return err
			}
			if right {
				continue
			}
			if err := vfs.RemoveAll(s.fs, dst); err != nil {
				return diskError(err, "what an earlier try left cannot be removed")
			}
		}
		if p.A != nil && p.A.Digest == p.B.Digest && p.A.Mode != godwit.Symlink {
			info := vfs.Info{Type: vfs.Regular, Exec: p.A.Mode == godwit.Executable, Size: p.A.Size}
			err = o.placeFrom(old+"/"+p.A.Path, info, *p.B, dst, false)
		} else {
			err = o.place(*p.B, dst, true)
		}
		if err != nil {
			return err
		}
	}
	if err := s.linkShared(dir); err != nil {
		return err
	}
	return s.nextCurrent(dir)
}

// linkShared makes the links through which a version sees the shared data.
func (s *Store) linkShared(dir string) error {
	for _, p := range s.opt.Shared {
		p, isDir := strings.CutSuffix(p, "/")
		at := "shared/" + p
		if !isDir {
			at = path.Dir(at)
		}
		if err := vfs.MkdirAll(s.fs, at); err != nil {
			return diskError(err, "the folder for shared data cannot be made")
		}
		link := dir + "/" + p
		if err := vfs.MkdirAll(s.fs, path.Dir(link)); err != nil {
			return diskError(err, "a folder of the new version cannot be made")
		}
		target := strings.Repeat("../", strings.Count(link, "/")) + "shared/" + p
		if have, err := s.fs.Readlink(link); err == nil && have == target {
			continue
		}
		switch i, err := s.fs.Lstat(link); {
		case err == nil && i.Type == vfs.Dir, err == nil && i.Type == vfs.Link:
			err = s.fs.Remove(link)
			if err == nil {
				break
			}
			fallthrough
		case err == nil:
			// It was not shared when this version was built, so it holds data.
			s.opt.Events.Say(godwit.StageSwitch, godwit.Warning, link+" is not shared: there is something else in its place")
			continue
		case !isAbsent(err):
			return diskError(err, strconv.Quote(link)+" cannot be read")
		}
		if err := s.fs.Symlink(target, link); err != nil {
			return diskError(err, "the link to shared data cannot be made")
		}
	}
	return nil
}

// isRight reports whether name has the content and mode of e.
func (s *Store) isRight(name string, e godwit.Entry) (bool, error) {
	found, err := s.look(name, e.Digest.Algorithm)
	return found != nil && found.Digest == e.Digest && s.sameMode(found.Mode, e.Mode), err
}

// differs reports whether the two sides of a pair are not the same on disk.
func differs(p godwit.Pair) bool {
	return p.A == nil || p.B == nil || p.A.Digest != p.B.Digest || p.A.Mode != p.B.Mode
}

// buildInPlace copies what will be replaced or removed to keep/, and prepares
// every new file in put/, numbered in the order of the listing, so that the
// switch is nothing but renames.
func (s *Store) buildInPlace(o *Objects, b *Pending) error {
	if err := s.empty("put"); err != nil {
		return err
	}
	if err := s.makeSpares(b); err != nil {
		return err
	}
	for p, err := range godwit.Merge(b.survey.Installed, s.listing(b.Version.Listing)) {
		if err != nil {
			return err
		}
		if !differs(p) {
			continue
		}
		if p.A != nil {
			if err := s.keep(o, *p.A); err != nil {
				return err
			}
		}
		if p.B != nil {
			if err := o.place(*p.B, s.putName(b.steps), false); err != nil {
				return err
			}
			b.steps++
		}
	}
	return nil
}

// makeSpares makes a folder in put/ for each that the new version needs. On FAT
// what was removed is made durable first, and the folders at once: there a power
// cut can bring back a name whose clusters were given to something else, or leave
// a folder without its first cluster, and what fsck makes of either can cost a
// file that has nothing to do with it.
func (s *Store) makeSpares(b *Pending) error {
	t, err := s.Traits()
	if err != nil {
		return err
	}
	sync := func() error {
		if t.Links {
			return nil
		}
		return diskError(s.fs.Sync(), "the folders for the new version cannot be made durable")
	}
	if err := sync(); err != nil {
		return err
	}
	spares := folders{s: s}
	for p, err := range godwit.Merge(b.survey.Installed, s.listing(b.Version.Listing)) {
		if err == nil && p.B != nil && differs(p) {
			err = spares.prepare(path.Dir(p.B.Path))
		}
		if err != nil {
			return err
		}
	}
	if spares.spare == 0 {
		return nil
	}
	return sync()
}

func (s *Store) putName(n int) string { return s.state("put/" + strconv.Itoa(n)) }

// keep makes sure that keep/ holds the content of the installed entry e.
func (s *Store) keep(o *Objects, e godwit.Entry) error {
	t, err := s.Traits()
	if err != nil {
		return err
	}
	name := s.state("keep/" + objectName(e.Digest, e.Mode == godwit.Executable && t.ExecBits))
	found, err := s.look(name, e.Digest.Algorithm)
	if err != nil || found != nil && found.Digest == e.Digest {
		return err
	}
	if err := vfs.RemoveAll(s.fs, name); err != nil {
		return diskError(err, "an old copy cannot be removed")
	}
	info, err := s.fs.Lstat(e.Path)
	if err != nil {
		return diskError(err, strconv.Quote(e.Path)+" cannot be read")
	}
	as := e
	if as.Mode == godwit.Symlink {
		as.Mode = godwit.File
	}
	return o.placeFrom(e.Path, info, as, name, false)
}

// Discard gives back the space of all that an unfinished update has staged and
// built.
func (s *Store) Discard() error {
	s.mustHold()
	if err := s.refresh(); err != nil {
		return err
	}
	if !s.rec.Settled && !s.rec.Running.IsZero() {
		return nil // reconcile may still need it
	}
	for _, f := range []string{"stage", "put"} {
		if err := s.empty(f); err != nil {
			return err
		}
	}
	return s.Prune()
}
