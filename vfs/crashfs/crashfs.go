// Package crashfs is a file system in memory, for tests, that knows which of
// its changes would survive a power cut. It can be cut at any operation, as
// often as wanted, and found again the way a disk is found: what was not synced
// is lost, kept or torn. Operations can also fail, or be the last one that is
// carried out.
//
// What the survivors of a cut should look like is the business of the test.
//
// Invariant: Crash never loses a change that a sync call covered, and the file
// system it is called on goes on as if nothing had happened, so one run can be
// cut at each of its operations.
//
// # What is remembered
//
// File content, file sizes and directory entries are tracked apart. A File.Sync
// covers the content and size of one file, SyncDir the entries of one
// directory, Sync everything. How uncovered changes survive depends on the
// Model.
package crashfs

import (
	"errors"
	"strconv"
	"sync"

	"github.com/godwit-ota/godwit/vfs"
)

// A Model says in which order changes of directories reach the disk.
type Model uint8

const (
	// Journal models ext4, btrfs, f2fs and XFS: changes of names reach the disk
	// in the order in which they were made, a rename both ends at once. Syncing
	// one directory brings forward its own changes and those they depend on,
	// and no others. Content is written whenever the kernel likes: a name that
	// was kept can have empty, short, torn or zero-filled content.
	Journal Model = iota
	// FAT models a file system without a journal: every entry of a directory
	// reaches the disk on its own, so a rename can leave both names or none.
	// An entry holds where the file begins and how long it is, and the kernel
	// writes that part only with the file itself: until File.Sync was called
	// under the new name, a renamed or new file may be found empty, and a
	// replaced one still old. A new folder is an entry and the space it points
	// to: until one of the two syncs that cover its parent, the entry may be
	// found without it, and answers every call with EIO. The space of a file that was removed is free for
	// reuse at once: if its name comes back, its content may not.
	FAT
)

// Links says what FS.Share does.
type Links uint8

// The kinds of links.
const (
	HardLinks Links = iota // a second name for the same file
	NoLinks                // ErrUnsupported
	Clones                 // a new file with the same content, not synced yet
)

// Options describe a file system. The zero value is like ext4.
type Options struct {
	Model      Model
	Links      Links
	NoSymlinks bool
	FoldCase   bool  // "A" and "a" are one name; as on Linux, renaming one to the other does nothing
	NoExec     bool  // no exec bits: every file is executable, and SetExec fails
	PlainNames bool  // control bytes and \ : * ? " < > | are refused in names, and a final '.' or ' '
	MaxName    int   // bytes in a name; 0 means 255
	Capacity   int64 // bytes; 0 means no limit
	EntryCost  int64 // bytes that each name takes from Capacity; 0 means 64
	CrossLinks bool  // FAT: both names that a cut left of one file share its space; removing one ruins the other
}

// VFAT is like FAT as Linux mounts it.
func VFAT() Options {
	return Options{Model: FAT, Links: NoLinks, NoSymlinks: true, FoldCase: true, NoExec: true, PlainNames: true}
}

// ErrStopped is what every operation returns after the last one that StopAt
// allowed: for the caller the power is gone.
var ErrStopped = errors.New("crashfs: the power is gone")

// A Kind names an operation.
type Kind uint8

// The operations. Those from Create on change something, or make a change
// durable; a cut between two others finds nothing new.
const (
	Open Kind = iota
	Read
	Lstat
	ReadDir
	Readlink
	Free
	Create // Open that made the file
	Write
	Truncate
	FileSync
	Mkdir
	Remove
	Rename
	Share
	SetExec
	Symlink
	SyncDir
	Sync
	Lock
	Unlock
)

var kindNames = [...]string{"open", "read", "lstat", "readdir", "readlink", "free", "create", "write", "truncate",
	"fsync", "mkdir", "remove", "rename", "share", "setexec", "symlink", "syncdir", "sync", "lock", "unlock"}

func (k Kind) String() string { return kindNames[k] }

// An Op is one operation that a caller asked for.
type Op struct {
	N    int // the first is 0
	Kind Kind
	Path string
	To   string // second name, for Rename and Share
	Err  error
}

// Changes reports whether a power cut after the operation can find something
// else than one before it.
func (o Op) Changes() bool { return o.Kind >= Create && o.Kind < Lock && o.Err == nil }

func (o Op) String() string {
	s := strconv.Itoa(o.N) + " " + o.Kind.String() + " " + o.Path
	if o.To != "" {
		s += " -> " + o.To
	}
	if o.Err != nil {
		s += ": " + o.Err.Error()
	}
	return s
}

// A Fault makes an operation fail.
type Fault struct {
	At     int   // the operation's number
	Err    error // what it returns
	Sticky bool  // every later operation that changes something fails too
	Short  bool  // a Write that fails has written its first half
}

// A Lie is a set of sync calls that return nil and do nothing. Tests use it to
// show that they would notice.
type Lie uint8

// The lies.
const (
	LieFileSync Lie = 1 << iota
	LieSyncDir
	LieSync
)

// FS is the file system. Its methods may be called by several goroutines.
type FS struct {
	opt Options

	mu    sync.Mutex
	nodes []*node // by inode number; 0 is unused, 1 is the root
	log   []change
	used  int64
	locks map[int]bool
	ops   int
	stop  int // operations from here on return ErrStopped; -1: none
	fault *Fault
	lie   Lie
	tron  bool
	trace []Op
	hook  func(Op)
}

var _ vfs.FS = (*FS)(nil)

// New returns an empty file system.
func New(o Options) *FS {
	if o.MaxName == 0 {
		o.MaxName = 255
	}
	if o.EntryCost == 0 {
		o.EntryCost = 64
	}
	return &FS{opt: o, stop: -1, nodes: []*node{nil, {kind: vfs.Dir, nlink: 1, ents: map[string]ent{}}}}
}

// StopAt lets n operations be carried out, and answers all later ones with
// ErrStopped. A negative n takes the limit away.
func (f *FS) StopAt(n int) { f.mu.Lock(); f.stop = n; f.mu.Unlock() }

// Inject makes one operation fail. The zero Err takes the fault away.
func (f *FS) Inject(x Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault = &x
	if x.Err == nil {
		f.fault = nil
	}
}

// Tell makes sync calls lie.
func (f *FS) Tell(l Lie) { f.mu.Lock(); f.lie = l; f.mu.Unlock() }

// Resize changes Options.Capacity.
func (f *FS) Resize(capacity int64) { f.mu.Lock(); f.opt.Capacity = capacity; f.mu.Unlock() }

// Used is the number of bytes that content and names take.
func (f *FS) Used() int64 { f.mu.Lock(); defer f.mu.Unlock(); return f.used }

// OnOp calls fn after every operation. It may call Crash and Clone on this file
// system, and nothing else. A nil fn ends it.
func (f *FS) OnOp(fn func(Op)) { f.mu.Lock(); f.hook = fn; f.mu.Unlock() }

// Ops is the number of operations so far, which is the number of the next.
func (f *FS) Ops() int { f.mu.Lock(); defer f.mu.Unlock(); return f.ops }

// Record starts a new trace of operations.
func (f *FS) Record() { f.mu.Lock(); f.tron, f.trace = true, nil; f.mu.Unlock() }

// Trace is what was done since Record.
func (f *FS) Trace() []Op { f.mu.Lock(); defer f.mu.Unlock(); return append([]Op(nil), f.trace...) }

// do carries out one operation: fn says what kind it turned out to be.
func (f *FS) do(kind Kind, name, to string, fn func(*Op) error) error {
	f.mu.Lock()
	op := Op{N: f.ops, Kind: kind, Path: name, To: to}
	switch {
	case f.stop >= 0 && f.ops >= f.stop:
		f.mu.Unlock()
		return ErrStopped
	case f.fault != nil && (f.ops == f.fault.At || f.fault.Sticky && f.ops > f.fault.At && kind >= Create && kind != Unlock):
		if kind == Write && f.fault.Short {
			op.Err = shortWrite{f.fault.Err} // tells the Write what to do
			fn(&op)
		}
		op.Err = pathError(kind.String(), name, f.fault.Err)
	default:
		op.Err = fn(&op)
	}
	f.ops++
	if f.tron {
		f.trace = append(f.trace, op)
	}
	hook := f.hook
	f.mu.Unlock()
	if hook != nil {
		hook(op)
	}
	return op.Err
}

// shortWrite tells a Write that it is to write half and fail.
type shortWrite struct{ error }

// Clone returns a copy as it is now, with everything that is not synced still
// not synced: what the next process finds when this one was killed. Locks,
// open files, faults, hooks and the trace stay behind.
func (f *FS) Clone() *FS {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := &FS{opt: f.opt, stop: -1, used: f.used, lie: f.lie, nodes: make([]*node, len(f.nodes))}
	c.log = f.log[:len(f.log):len(f.log)]
	for i, n := range f.nodes {
		if n == nil {
			continue
		}
		c.nodes[i] = n.clone()
		if n.nlink == 0 && n.open > 0 {
			c.used -= int64(len(n.data))
		}
	}
	return c
}

// Free implements vfs.FS.
func (f *FS) Free() (free int64, err error) {
	err = f.do(Free, ".", "", func(*Op) error {
		free = 1 << 50
		if f.opt.Capacity > 0 {
			free = max(f.opt.Capacity-f.used, 0)
		}
		return nil
	})
	return free, err
}
