// Package plan turns what is installed, what a release holds, the device's
// rules and its limits into the steps of an update, with their cost. It decides
// and does nothing: no I/O but reading the listings it is given, no clock.
//
// Invariant: every path of every step was checked against the rules for names,
// lies inside the tree and is permitted by the rules; a listing that fails a
// check makes no plan at all.
package plan

import (
	"iter"
	"strconv"

	"github.com/godwit-ota/godwit"
)

// An Op is what a step does to one path.
type Op string

// The operations.
const (
	Add     Op = "add"     // a new path
	Replace Op = "replace" // a path whose content changes
	Mode    Op = "mode"    // same content, other exec bit
	Delete  Op = "delete"  // a path that the release no longer has
	Keep    Op = "keep"    // nothing to do
	Skip    Op = "skip"    // the release has it, the device does not take it; see Reason
)

// A Step is what happens to one path.
type Step struct {
	Op     Op
	Path   string
	Old    godwit.Entry // what is installed; zero for Add
	New    godwit.Entry // what the release has; zero for Delete
	Fetch  bool         // the content is not on the device yet
	Patch  godwit.Patch // what is fetched in the place of the content; zero for none
	Reason string       // Skip: why
}

// Limits bound what a device takes. A zero field does not limit.
type Limits struct {
	MaxFiles     int   // files that a release may install
	MaxBytes     int64 // bytes of all of them, where the source tells sizes
	MaxFileBytes int64 // bytes of one of them, where the source tells sizes
	MaxDepth     int   // parts in a path; 0 means 128
	MinFree      int64 // bytes that must stay free on the disk
	Metered      bool  // the link is slow, or costs by the byte
	// CostPerMB is what a megabyte (10^6 bytes) costs on a metered link, in US dollars;
	// 0 if that is not known.
	CostPerMB float64
}

// Input is all that a plan depends on.
type Input struct {
	From, To  string         // ids of the installed release ("" if none) and of the new one
	Installed godwit.Listing // what is on the disk, as it is now
	Release   godwit.Listing
	Rules     Rules
	Limits    Limits
	Names     Names
	InPlace   bool                     // layout in-place, else slots
	Copies    bool                     // the file system cannot share content: what is kept is copied
	Reserved  func(path string) string // why a path is Godwit's own, "" if it is not; may be nil
	Has       func(godwit.Digest) bool // whether content is on the device; nil means no
	Free      int64                    // bytes free on the disk; negative means unknown
	Patching  Patching
	Offers    godwit.Offers  // patches for files of Release
	Trees     []godwit.Patch // patches for the whole tree, from other releases
}

// A Plan is what an update will do. Its totals are computed; its steps are
// worked out again each time they are asked for, so that a plan takes the same
// memory whatever the size of the tree.
type Plan struct {
	From, To string

	Added, Replaced, Modes, Deleted, Kept, Skipped int // steps by operation

	FetchFiles int          // contents that must come over the network
	FetchBytes int64        // their bytes, or those of their patches; an estimate unless Exact
	PatchFiles int          // contents of these that come as patches
	SavedBytes int64        // what those save
	Tree       godwit.Patch // that brings all at once; zero for none
	WriteBytes int64        // bytes that will be written to the disk; an estimate unless Exact
	Exact      bool         // the source told all sizes
	Free       int64        // bytes free on the disk when the plan was made; negative if unknown

	in Input
}

// Changes is the number of paths that will change.
func (p *Plan) Changes() int { return p.Added + p.Replaced + p.Modes + p.Deleted }

// Make checks every entry of the release and adds up what has to be done.
//
// Its errors carry CodeBadPath, CodeCaseCollision, CodeSymlink, CodeLimit or
// CodeDiskFull; errors of the listings pass through.
func Make(in Input) (*Plan, error) {
	p := &Plan{From: in.From, To: in.To, Exact: true, Free: in.Free, in: in}
	if err := in.Rules.Check(); err != nil {
		return nil, err
	}
	if in.Names.FoldCase {
		if err := checkCase(in); err != nil {
			return nil, err
		}
	}
	var files int
	var total, known, knownBytes, unknown, unknownWrite int64
	for s, err := range p.Steps() {
		if err != nil {
			return nil, err
		}
		switch s.Op {
		case Add:
			p.Added++
		case Replace:
			p.Replaced++
		case Mode:
			p.Modes++
		case Delete:
			p.Deleted++
		case Keep:
			p.Kept++
		case Skip:
			p.Skipped++
		}
		if old := s.Old.Size; s.Old.Path != "" && old >= 0 {
			known, knownBytes = known+1, knownBytes+old
			if in.InPlace && in.Copies && (s.Op == Replace || s.Op == Delete) {
				p.WriteBytes += old // the copy that is kept
			}
		}
		if s.Op == Skip || s.Op == Delete {
			continue
		}
		if files++; in.Limits.MaxFiles > 0 && files > in.Limits.MaxFiles {
			return nil, TooMuch("more than "+strconv.Itoa(in.Limits.MaxFiles)+" files", "limits.max_files")
		}
		size := s.New.Size
		if size >= 0 {
			if m := in.Limits.MaxFileBytes; m > 0 && size > m {
				return nil, TooMuch("the file "+strconv.Quote(s.Path)+" of "+strconv.FormatInt(size, 10)+" bytes", "limits.max_file_bytes")
			}
			if total += size; in.Limits.MaxBytes > 0 && total > in.Limits.MaxBytes {
				return nil, TooMuch("more than "+strconv.FormatInt(in.Limits.MaxBytes, 10)+" bytes", "limits.max_bytes")
			}
		} else if s.Op == Replace && s.Old.Size >= 0 {
			size, p.Exact = s.Old.Size, false // versions of a file are about as long as each other
		}
		copies := int64(0)
		switch {
		case s.Op == Keep || s.Op == Mode:
			if !in.InPlace && in.Copies {
				copies = 1
			}
		case in.InPlace && in.Copies:
			copies = 1 // put in place
			if s.Fetch {
				copies = 2 // and staged
			}
		case s.Fetch:
			copies = 1
		}
		if s.Fetch {
			p.FetchFiles++
			switch {
			case size < 0:
				unknown++
			case !s.Patch.IsZero():
				p.PatchFiles++
				p.FetchBytes += s.Patch.Size
				p.SavedBytes += size - s.Patch.Size
				p.WriteBytes += s.Patch.Size // it is kept until it was applied
			default:
				p.FetchBytes += size
			}
		}
		if size < 0 {
			unknownWrite += copies
		} else {
			p.WriteBytes += copies * size
		}
	}
	if unknown+unknownWrite > 0 {
		p.Exact = false
		if known > 0 {
			mean := knownBytes / known
			p.FetchBytes += unknown * mean
			p.WriteBytes += unknownWrite * mean
		}
	}
	p.choose()
	if need := p.WriteBytes + in.Limits.MinFree; in.Free >= 0 && p.Changes() > 0 && need > in.Free {
		return nil, godwit.Fail(godwit.CodeDiskFull, nil,
			"the update needs "+Bytes(need)+" of free disk space and there are "+Bytes(in.Free),
			"free some space, or lower limits.min_free or tree.keep")
	}
	return p, nil
}

// Steps yields a step for every path of the installed tree and the release, in
// ascending order of path. It ends after an error.
func (p *Plan) Steps() iter.Seq2[Step, error] {
	return func(yield func(Step, error) bool) {
		var offers godwit.Offers
		if p.in.Patching.Use != Never && p.in.Patching.Memory > 0 {
			offers = p.in.Offers
		}
		offered, stop := offers.At()
		defer stop()
		for pair, err := range godwit.Merge(p.in.Installed, p.in.Release) {
			var s Step
			if err == nil {
				s, err = p.step(pair)
			}
			if err == nil && s.Fetch {
				var patches []godwit.Patch
				if patches, err = offered(s.Path); err == nil {
					s.Patch = p.in.patch(s, patches)
				}
			}
			if err != nil {
				yield(Step{}, err)
				return
			}
			if s.Op != "" && !yield(s, nil) {
				return
			}
		}
	}
}

func (p *Plan) step(pair godwit.Pair) (Step, error) {
	in := &p.in
	s := Step{Path: pair.Path()}
	if pair.A != nil {
		s.Old = *pair.A
	}
	if pair.B == nil {
		if in.InPlace && !in.Rules.Permits(s.Path) && !Covers(in.Rules.Delete, s.Path) {
			return Step{}, nil // no longer ours to touch
		}
		s.Op = Delete
		return s, nil
	}
	s.New = *pair.B
	if s.Reason = in.skip(s.Path); s.Reason != "" {
		s.Op = Skip
		return s, nil
	}
	if err := in.Names.CheckPath(s.Path); err != nil {
		return s, err
	}
	depth := 1
	for i := range len(s.Path) {
		if s.Path[i] == '/' {
			depth++
		}
	}
	max := in.Limits.MaxDepth
	if max == 0 {
		max = 128
	}
	if depth > max {
		return s, TooMuch("a path of "+strconv.Itoa(depth)+" parts, "+strconv.Quote(cut(s.Path)), "limits.max_depth")
	}
	if s.New.Mode == godwit.Symlink && !in.Rules.Symlinks {
		return s, godwit.Fail(godwit.CodeSymlink, nil, "the release has a symbolic link, "+strconv.Quote(cut(s.Path))+", and this device takes none",
			"set tree.symlinks = true to take links that stay inside the tree, or name it in tree.ignore")
	}
	switch {
	case pair.A == nil:
		s.Op = Add
	case s.Old.Digest != s.New.Digest || (s.Old.Mode == godwit.Symlink) != (s.New.Mode == godwit.Symlink):
		s.Op = Replace
	case s.Old.Mode != s.New.Mode:
		s.Op = Mode
	default:
		s.Op = Keep
	}
	if s.Op == Add || s.Op == Replace {
		s.Fetch = in.Has == nil || !in.Has(s.New.Digest)
	}
	return s, nil
}

func (in *Input) skip(path string) string {
	r := &in.Rules
	switch {
	case Covers(r.Ignore, path):
		return "ignored"
	case !r.Permits(path):
		return "not allowed"
	case Covers(r.Shared, path):
		return "shared between versions"
	case in.Reserved != nil:
		return in.Reserved(path)
	}
	return ""
}

// Target is the listing of the tree that the plan leads to: the entries of the
// release that this device takes.
func (p *Plan) Target() godwit.Listing { return Target(p.in) }

// Target is the listing of the entries of in.Release that the device takes, by
// in's rules and reserved paths. A path that cannot be installed under in.Names
// is an error.
func Target(in Input) godwit.Listing {
	return func(yield func(godwit.Entry, error) bool) {
		for e, err := range in.Release {
			if err == nil {
				if in.skip(e.Path) != "" {
					continue
				}
				err = in.Names.CheckPath(e.Path)
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// Wanted is the listing of the contents that must be fetched.
func (p *Plan) Wanted() godwit.Listing {
	return func(yield func(godwit.Entry, error) bool) {
		for s, err := range p.Steps() {
			if err == nil && !s.Fetch {
				continue
			}
			if !yield(s.New, err) || err != nil {
				return
			}
		}
	}
}

// checkCase refuses two paths that are one on the file system.
func checkCase(in Input) error {
	fold := caseFold{}
	for e, err := range Target(in) {
		if err != nil {
			return err
		}
		if !fold.clash(e.Path) {
			continue
		}
		other := "another path"
		for o, err := range Target(in) {
			if err != nil {
				return err
			}
			if sameFolded(o.Path, e.Path) {
				other = strconv.Quote(cut(o.Path))
				break
			}
		}
		return godwit.Fail(godwit.CodeCaseCollision, nil,
			"the release has both "+other+" and "+strconv.Quote(cut(e.Path))+", which are one name on this file system",
			"rename one of them in the repository, or name one in tree.ignore")
	}
	return nil
}

// sameFolded reports whether a and b, or folders they lie in, differ in case
// only.
func sameFolded(a, b string) bool {
	for i := 1; i <= len(a) && i <= len(b); i++ {
		end := (i == len(a) || a[i] == '/') && (i == len(b) || b[i] == '/')
		if end && a[:i] != b[:i] && Fold(a[:i]) == Fold(b[:i]) {
			return true
		}
	}
	return false
}

// TooMuch is the error, with CodeLimit, for a release that has what, more than the
// configuration's key allows.
func TooMuch(what, key string) error {
	return godwit.Fail(godwit.CodeLimit, nil, "the release has "+what+", more than this device takes",
		"raise "+key+", or leave files out with tree.allow and tree.ignore")
}

func cut(s string) string {
	if len(s) > 120 {
		return s[:100] + "…"
	}
	return s
}

// Bytes writes a number of bytes for people, in decimal units: "999 B",
// "1.5 kB", "20 MB".
func Bytes(n int64) string {
	if n < 1000 {
		return strconv.FormatInt(n, 10) + " B"
	}
	v, unit := float64(n), 0
	for v >= 999.5 && unit < 5 {
		v, unit = v/1000, unit+1
	}
	prec := 0
	if v < 9.95 {
		prec = 1
	}
	return strconv.FormatFloat(v, 'f', prec, 64) + " " + []string{"B", "kB", "MB", "GB", "TB", "PB"}[unit]
}
