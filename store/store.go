// Package store keeps the versions of a tree on a device: it stages contents,
// builds a version beside the running one, switches, and goes back. What to
// install, who may say so and whether it works are the business of others.
//
// The truth is one small record in two checksummed copies. Activating a
// version, rolling back, finishing after a power cut and repairing damage are
// the same operation, reconcile: make the tree on disk equal to what the record
// says.
//
// Invariant: before a record is written, everything that reconcile needs to
// make it true is durable on this disk; and until the tree is durably equal to
// the record, nothing that it is made from is removed.
package store

import (
	"errors"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/plan"
	"github.com/godwit-ota/godwit/vfs"
)

// A Layout is the way in which versions lie on the disk.
type Layout string

// The layouts.
const (
	// Slots keeps each version as a tree of its own, versions/DIR, and switches
	// the symbolic link "current". Who has current open never sees a mixture.
	Slots Layout = "slots"
	// InPlace replaces the files of the one tree by rename. It works without
	// links and beside files that are not Godwit's. Readers may see the switch;
	// a power cut cannot leave it.
	InPlace Layout = "in-place"
)

// Options configure a Store. The zero value is a slots store in ".godwit".
type Options struct {
	State   string // folder for Godwit's own files, relative to the tree's root; "" means ".godwit"
	Layout  Layout // "" means Slots
	Keep    int    // slots: versions to keep, the running one included; 0 means 2, more than MaxKeep MaxKeep
	Shared  []string
	Reserve int64 // bytes of disk that staging leaves free
	Events  godwit.Events
	Now     func() time.Time // nil means time.Now
}

// MaxKeep bounds Options.Keep: all versions must fit in the record.
const MaxKeep = 4

// VersionFile is the file for applications in the root of the tree: a JSON
// object with the keys "ref" and "commit" of the settled version.
const VersionFile = "version.json"

// Current is the name of the slots layout's link to the running version.
const Current = "current"

// A Store is a tree and its versions. It is not safe for concurrent use; other
// processes are kept out by Lock.
type Store struct {
	fs       vfs.FS
	opt      Options
	rec      Record
	raw      []byte // the bytes of that copy
	copy     int    // which copy on disk is rec; -1 for none
	stale    bool   // a write failed: rec may not be what the disk says
	damaged  bool   // a copy of the record is not valid
	locked   bool
	boot     string
	anchored bool // rec is known to be durable
	traits   *vfs.Traits
	checked  map[string]bool // listings whose sum was compared
	buf      []byte
}

// Open reads the state of the tree that fsys is rooted at. It changes nothing.
// Errors carry CodeNewerState, CodeConfig, or a code of the disk.
func Open(fsys vfs.FS, opt Options) (*Store, error) {
	if opt.State == "" {
		opt.State = ".godwit"
	}
	if opt.Layout == "" {
		opt.Layout = Slots
	}
	opt.Keep = min(max(opt.Keep, 2), MaxKeep)
	if opt.Now == nil {
		opt.Now = time.Now
	}
	opt.State = strings.TrimRight(opt.State, "/")
	if !fs.ValidPath(opt.State) || opt.State == "." {
		return nil, godwit.Fail(godwit.CodeConfig, nil, "tree.state must be a folder inside tree.root, not "+strconv.Quote(opt.State), "use a relative path such as \".godwit\"")
	}
	switch first, _, _ := strings.Cut(opt.State, "/"); first {
	case "versions", "shared", Current, VersionFile, VersionFile + ".new":
		return nil, godwit.Fail(godwit.CodeConfig, nil, "tree.state must not be "+strconv.Quote(opt.State)+", which Godwit uses for something else", "use a name such as \".godwit\"")
	}
	s := &Store{fs: fsys, opt: opt, checked: map[string]bool{}}
	return s, s.Reload()
}

// Reload reads the record again, after another process may have written it.
func (s *Store) Reload() error {
	rec, raw, which, damaged, err := readRecord(s.fs, s.opt.State)
	if err != nil {
		return err
	}
	if which >= 0 && rec.Layout != s.opt.Layout && rec.Layout != "" && !rec.Running.IsZero() {
		return godwit.Fail(godwit.CodeConfig, nil, "this tree was installed with the layout "+strconv.Quote(string(rec.Layout))+", and the configuration says "+strconv.Quote(string(s.opt.Layout)),
			"set tree.layout back, or install into another tree.root")
	}
	s.rec, s.raw, s.copy, s.damaged, s.stale = rec, raw, which, damaged, false
	return nil
}

// Record returns what the device knows of itself.
func (s *Store) Record() Record { return s.rec }

// Damaged reports that no copy of the record is valid although there was one:
// the store has forgotten what is installed. An update makes it good again.
func (s *Store) Damaged() bool { return s.damaged && s.copy < 0 }

// Layout returns the layout in force.
func (s *Store) Layout() Layout { return s.opt.Layout }

// StateFolder returns the folder of Godwit's own files, relative to the root.
func (s *Store) StateFolder() string { return s.opt.State }

// Tree returns the folder in which version v lies, relative to the root.
func (s *Store) Tree(v Version) string {
	if s.opt.Layout == InPlace {
		return "."
	}
	return "versions/" + v.Dir
}

// Lock keeps other processes away, makes the folders of the state if they are
// missing, and reads the record. The error is CodeBusy when another process
// holds the lock, and CodeReadOnly on a disk that cannot be written.
func (s *Store) Lock() (unlock func(), err error) {
	if s.locked {
		return nil, errors.New("store: locked twice")
	}
	if err := s.makeState(); err != nil {
		return nil, diskError(err, "the state folder cannot be made")
	}
	release, err := s.fs.Lock(s.state("lock"))
	if errors.Is(err, vfs.ErrLocked) {
		return nil, godwit.Fail(godwit.CodeBusy, nil, "another godwit is working on this tree", "wait until it has finished")
	}
	if err != nil {
		return nil, diskError(err, "the lock cannot be taken")
	}
	if err := s.Reload(); err != nil {
		release()
		return nil, err
	}
	s.anchored = false
	if !s.rec.Settled {
		if err := s.anchor(); err != nil {
			release()
			return nil, err
		}
	}
	s.locked = true
	return func() { s.locked = false; release() }, nil
}

// Restarting keeps other processes from restarting the application while this one
// does, which it does without the lock. Call it with the lock held, so that nobody
// comes between. The error is CodeBusy when another process is at it.
func (s *Store) Restarting() (done func(), err error) {
	done, err = s.fs.Lock(s.state("restart.lock"))
	if errors.Is(err, vfs.ErrLocked) {
		return nil, godwit.Fail(godwit.CodeBusy, nil, "another godwit is restarting the application", "wait until it has finished")
	}
	if err != nil {
		return nil, diskError(err, "the lock for the restart cannot be taken")
	}
	return done, nil
}

// Held reports whether this Store holds the lock.
func (s *Store) Held() bool { return s.locked }

// SetBoot names this boot of the device. Switch and Rollback remember it as the
// one in which the application must be restarted; after another boot it was.
func (s *Store) SetBoot(id string) { s.boot = id }

// mustHold guards the calls that change things.
func (s *Store) mustHold() {
	if !s.locked {
		panic("store: used without its lock")
	}
}

// Traits tells what the file system can do.
func (s *Store) Traits() (vfs.Traits, error) {
	if s.traits == nil {
		t, err := vfs.Probe(s.fs, s.opt.State)
		if err != nil {
			return t, diskError(err, "the state folder cannot be written")
		}
		s.traits = &t
	}
	return *s.traits, nil
}

// hasExecBits is Traits().ExecBits found out without writing: where there are
// none, every file looks alike, the record too.
func (s *Store) hasExecBits() bool {
	if s.traits != nil {
		return s.traits.ExecBits
	}
	if s.copy < 0 {
		return true
	}
	i, err := s.fs.Lstat(s.state(recordNames[s.copy]))
	return err != nil || !i.Exec
}

// Free is the number of free bytes on the disk, -1 if that cannot be told.
func (s *Store) Free() int64 {
	n, err := s.fs.Free()
	if err != nil {
		return -1
	}
	return n
}

// Reserved says why path may not belong to a release: in place, the tree also
// holds Godwit's own files.
func (s *Store) Reserved(path string) string {
	if s.opt.Layout != InPlace {
		return ""
	}
	// The state folder holds files in lower case, so folding what is asked costs
	// nothing where case counts, and is needed where it does not.
	folded, state := plan.Fold(path), plan.Fold(s.opt.State)
	if folded == plan.Fold(VersionFile) || folded == plan.Fold(VersionFile+".new") {
		return "written by Godwit"
	}
	if folded == state || strings.HasPrefix(folded, state+"/") {
		return "Godwit's state folder"
	}
	return ""
}

func (s *Store) state(name string) string { return s.opt.State + "/" + name }

// buffer is the one buffer for copying and hashing.
func (s *Store) buffer() []byte {
	if s.buf == nil {
		s.buf = make([]byte, 64<<10)
	}
	return s.buf
}

// remove removes a file, a link or an empty folder that may not exist.
func (s *Store) remove(name string) error {
	err := s.fs.Remove(name)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return diskError(err, name+" cannot be removed")
}

// diskError gives an error of the file system its code and words. What already
// has a code is left as it is.
func diskError(err error, text string) error {
	var e *godwit.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &e):
		return err
	case vfs.Full(err):
		return godwit.Fail(godwit.CodeDiskFull, err, text, "free some space; the running version is untouched")
	case vfs.ReadOnly(err):
		return godwit.Fail(godwit.CodeReadOnly, err, text, "mount the file system writable")
	case vfs.NameTooLong(err):
		return godwit.Fail(godwit.CodeBadPath, err, text, "this file system has no names as long as that: rename the file in the repository, or name it in tree.ignore")
	case errors.Is(err, fs.ErrPermission):
		return godwit.Fail(godwit.CodeReadOnly, err, text, "run godwit as a user who may write there")
	}
	return godwit.Fail(godwit.CodeIO, err, text, "look at the disk: dmesg may say more")
}
