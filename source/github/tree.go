package github

import (
	"context"
	"errors"
	"io"
	"strconv"
	"strings"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/internal/webclient"
	"github.com/godwit-ota/godwit/source/git/object"
	"github.com/godwit-ota/godwit/vfs"
)

// A treeWalk brings the listing of one tree. Answers go to disk as they come,
// so that memory does not grow with them; then the ids of all trees are computed
// from what came, and compared.
type treeWalk struct {
	s      *Source
	format object.Format
	files  int
	bytes  int64 // of answers
}

// Names in the folder.
const (
	treePrefix    = "tree-"    // listings
	levelPrefix   = "level-"   // listings that are being made
	partPrefix    = "part-"    // beginnings of files
	channelPrefix = "channel-" // tag objects of channels
)

// listTree makes the listing of a tree, or finds it made, and gives it. root is
// the id of the tree, or of the commit where the host knows of no trees.
func (s *Source) listTree(ctx context.Context, root string) (godwit.Listing, error) {
	id, err := object.ParseID(root)
	if err != nil {
		return nil, err
	}
	if err := s.makeFolder(); err != nil {
		return nil, err
	}
	w := &treeWalk{s: s, format: id.Format()}
	name, made := s.inFolder(treePrefix+root), s.inFolder(levelPrefix+"whole")
	if !s.knowsTrees() || w.verify(id, name) != nil {
		s.dropFiles(treePrefix, levelPrefix)
		if err = w.make(ctx, id, made); err == nil && s.knowsTrees() {
			err = w.verify(id, made)
		}
		if err == nil {
			err = vfs.StateError(s.cfg.State.Rename(made, name))
		}
		s.dropFiles(levelPrefix)
	}
	return s.stored(name, id.Format()), err
}

func (s *Source) inFolder(name string) string { return s.cfg.Folder + "/" + name }

func (s *Source) makeFolder() error {
	err := vfs.MkdirAll(s.cfg.State, s.cfg.Folder)
	s.answers.save() // there was no folder for them before the first release
	return vfs.StateError(err)
}

// dropFiles removes files of the folder whose names begin so.
func (s *Source) dropFiles(prefixes ...string) {
	var names []string
	s.cfg.State.ReadDir(s.cfg.Folder, func(i vfs.Info) error {
		for _, p := range prefixes {
			if strings.HasPrefix(i.Name, p) && len(names) < 1000 {
				names = append(names, i.Name)
			}
		}
		return nil
	})
	for _, n := range names {
		s.cfg.State.Remove(s.inFolder(n)) // what stays is looked at again
	}
}

// make brings all below a tree into a file.
func (w *treeWalk) make(ctx context.Context, root object.ID, name string) error {
	b, err := w.builder(name, w.s.knowsTrees())
	if err != nil {
		return err
	}
	if w.s.knowsTrees() {
		err = w.tree(ctx, b, root, "", 0)
	} else {
		err = w.sorted(ctx, b, root)
	}
	if e := b.close(); err == nil {
		err = e
	}
	return err
}

// tree adds what is below a tree, whose path ends with a slash or is "". A host
// that cannot list all of it at once is asked for one folder at a time.
func (w *treeWalk) tree(ctx context.Context, b *builder, id object.ID, path string, depth int) error {
	before, files := b.mark(), w.files
	whole, err := w.bring(ctx, b, allTrees, id, path)
	if whole || err != nil {
		return err
	}
	b.back(before)
	w.files = files
	name := w.s.inFolder(levelPrefix + strconv.Itoa(depth))
	level, err := w.builder(name, false)
	if err == nil {
		whole, err = w.bring(ctx, level, oneTree, id, path)
		if e := level.close(); err == nil {
			err = e
		}
	}
	if err == nil && !whole {
		err = fail(godwit.CodeLimit, "set source.type = \"git\", or attach a manifest to the release", "the host does not list the folder ", quote(path), ", which has too many files")
	}
	if err != nil {
		return err
	}
	return each(w.s.cfg.State, name, w.format, func(r *record) error {
		err := b.add(r)
		if err == nil && r.kind == kindDir {
			err = w.tree(ctx, b, r.id, r.path+"/", depth+1)
		}
		return err
	})
}

// sorted adds what a host lists in an order of its own.
func (w *treeWalk) sorted(ctx context.Context, b *builder, commit object.ID) error {
	name := w.s.inFolder(levelPrefix + "0")
	raw, err := w.builder(name, false)
	if err == nil {
		_, err = w.bring(ctx, raw, allTrees, commit, "")
		if e := raw.close(); err == nil {
			err = e
		}
	}
	if err != nil {
		return err
	}
	last := ""
	return sortListing(w.s.cfg.State, name, w.s.inFolder(levelPrefix+"1"), w.format, func(r *record) error {
		if r.path == last {
			return w.s.odd("the tree", errors.New("it lists "+quote(r.path)+" twice"))
		}
		last = r.path
		return b.to.add(r)
	})
}

// bring asks for a tree, or all trees below it, and adds what the host lists.
// whole is false if that left something out.
func (w *treeWalk) bring(ctx context.Context, b *builder, what thing, id object.ID, path string) (whole bool, err error) {
	s := w.s
	var seen, total, entries int
	var truncated bool
	var e entry
	var following string
	q := question{at: s.at(what, id.String()), what: "the tree", tooLarge: s.tooLarge}
	q.see = func(name, text []byte) error {
		n := string(name)
		if s.kind != gitLab && strings.HasPrefix(n, "tree.") {
			e.see(n[len("tree."):], text)
			return nil
		}
		switch {
		case n == "tree/" || n == "/" && s.kind == gitLab:
			entries++
			r, err := e.record(w.format)
			e = entry{}
			if err != nil || r.kind == kindDir && !s.knowsTrees() {
				return err
			}
			if r.path = path + r.path; len(r.path) > maxPath {
				err = fail(godwit.CodeLimit, "shorten it", "a path is longer than 4096 bytes: ", quote(r.path))
			} else if r.kind != kindDir {
				err = w.count()
			}
			if err == nil {
				err = b.add(&r)
			}
			return err
		case n == "truncated":
			truncated = string(text) == "true"
		case n == "total_count":
			total, _ = strconv.Atoi(string(text))
		case s.kind == gitLab:
			e.see(n, text)
		}
		return nil
	}
	q.result = func(a *webclient.Answer) string {
		following = next(a)
		return ""
	}
	for page := 1; ; page++ {
		before, files := b.mark(), w.files
		q.begin = func() error {
			b.back(before)
			w.files, entries, truncated, e = files, 0, false, entry{}
			return b.to.err
		}
		q.most = s.cfg.Limits.TreeBytes - w.bytes
		_, ok, err := s.ask(ctx, &q)
		if err == nil && !ok {
			err = gone("the tree ", id.String())
		}
		if err != nil {
			return false, err
		}
		w.bytes += q.used
		seen += entries
		switch {
		case s.kind == gitHub:
			return !truncated, nil
		case s.kind == gitLab:
			q.at = following
		case entries == 0 || seen >= total && !truncated:
			return true, nil
		default:
			q.at = strings.TrimRight(q.at, "0123456789") + strconv.Itoa(page+1)
		}
		if q.at == "" {
			return true, nil
		}
	}
}

// count holds the files against the limit.
func (w *treeWalk) count() error {
	if w.files++; w.files > w.s.cfg.Limits.TreeFiles {
		return fail(godwit.CodeLimit, tooMuchHint, w.s.name, " has more than ", strconv.Itoa(w.s.cfg.Limits.TreeFiles), " files, which max_tree_files (in section limits) allows")
	}
	return nil
}

func (s *Source) tooLarge() error {
	return fail(godwit.CodeLimit, tooMuchHint, "the list of files of ", s.name, " is larger than ", strconv.FormatInt(s.cfg.Limits.TreeBytes>>10, 10), " kB, which max_tree_size_kb (limits.max_tree_bytes) allows")
}

const tooMuchHint = "raise the limit, attach a manifest of the files that the device needs to the release, or set source.type = \"git\""

// A meter ends a stream that is longer than it may be.
type meter struct {
	r       io.Reader
	n, left int64
	what    func() error
}

func (m *meter) Read(p []byte) (int, error) {
	n, err := m.r.Read(p)
	if m.n += int64(n); m.n > m.left {
		return 0, m.what()
	}
	return n, err
}

// A frame is a folder that is being listed.
type frame struct {
	path   int   // length of its path, with the slash
	size   int64 // of its tree object so far
	offset int64 // of its record
	id     object.ID
}

// A builder writes down the entries of a listing, folders before what is in
// them, and finds out how large the trees are.
type builder struct {
	to     *listingWriter
	frames []frame // the root, and the folders that are open
	path   string  // of the folder that was opened last
	limit  int     // of frames; 0 is a list of whatever comes, where none are opened
}

// builder begins a file. ordered is set if it will be a whole listing.
func (w *treeWalk) builder(name string, ordered bool) (*builder, error) {
	to, err := newListing(w.s.cfg.State, name)
	if err != nil {
		return nil, err
	}
	b := &builder{to: to}
	if ordered {
		b.limit, b.frames = w.s.cfg.Limits.Depth, make([]frame, 1, 8)
		err = to.add(&record{kind: kindDir, id: object.MakeID(w.format, make([]byte, w.format.Size()))})
	}
	return b, err
}

// A mark is a state of a builder to go back to.
type mark struct {
	offset, size int64
	frames       int
	path         string
}

func (b *builder) mark() mark {
	m := mark{offset: b.to.offset(), frames: len(b.frames), path: b.path}
	if m.frames > 0 {
		m.size = b.frames[m.frames-1].size
	}
	return m
}

// back takes away what was added since m, if folders that were open then still
// are.
func (b *builder) back(m mark) {
	if b.to.offset() == m.offset {
		return
	}
	b.to.back(m.offset)
	b.frames, b.path = b.frames[:m.frames], m.path
	if m.frames > 0 {
		b.frames[m.frames-1].size = m.size
	}
}

// pop closes folders until n are left.
func (b *builder) pop(n int) {
	for len(b.frames) > n {
		f := b.frames[len(b.frames)-1]
		b.to.setSize(f.offset, f.size)
		b.frames = b.frames[:len(b.frames)-1]
	}
}

func (b *builder) close() error {
	b.pop(0)
	b.to.end()
	return b.to.close()
}

func (b *builder) add(r *record) error {
	if b.limit == 0 {
		return b.to.add(r)
	}
	n, name, err := place(b.path, b.frames, r.path)
	if err != nil {
		return err
	}
	b.pop(n + 1)
	var line [64]byte
	b.frames[n].size += int64(len(r.line(line[:0], "")) + len(name))
	if r.kind == kindDir {
		if len(b.frames) > b.limit {
			return fail(godwit.CodeLimit, "flatten the repository", "folders are nested too deep: ", quote(r.path))
		}
		b.frames = append(b.frames, frame{path: len(r.path) + 1, offset: b.to.offset()})
		b.path = r.path + "/"
	}
	return b.to.add(r)
}

// place finds the folder that a path is in, as an index of the open ones, and its
// name there.
func place(open string, frames []frame, path string) (n int, name string, err error) {
	for n = len(frames) - 1; n > 0 && !strings.HasPrefix(path, open[:frames[n].path]); {
		n--
	}
	if name = path[frames[n].path:]; name == "" || strings.ContainsAny(name, "/\x00") {
		err = fail(godwit.CodeBadObject, lieHint, "the host lists ", quote(path), " outside of its folder")
	}
	return n, name, err
}

const lieHint = "try again; if it stays, the host or somebody between lies, or a file name is not UTF-8: set source.type = \"git\""

// verify computes the ids of a tree and of all trees below it, and compares them.
func (w *treeWalk) verify(root object.ID, name string) error {
	var (
		frames []frame
		hashes []*object.Hasher // of frames, and some to spare
		open   string
		last   string
		line   []byte
	)
	push := func(f frame) {
		if len(hashes) == len(frames) {
			hashes = append(hashes, object.NewHasher(w.format))
		}
		hashes[len(frames)].Reset(object.Tree, f.size)
		frames = append(frames, f)
	}
	pop := func(n int) error {
		for len(frames) > n {
			f := frames[len(frames)-1]
			frames = frames[:len(frames)-1]
			id, err := hashes[len(frames)].ID()
			if err == nil && id != f.id {
				err = fail(godwit.CodeBadObject, lieHint, "the host's list of files in ", quote(open[:f.path]), " is not the one of the tree ", f.id.String())
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	err := each(w.s.cfg.State, name, w.format, func(r *record) error {
		if len(frames) == 0 {
			push(frame{size: r.size, id: root})
			return nil
		}
		n, name, err := place(open, frames, r.path)
		if err == nil {
			err = pop(n + 1)
		}
		if err != nil {
			return err
		}
		line = r.line(line[:0], name)
		hashes[n].Write(line)
		if r.kind == kindDir {
			open = r.path + "/"
			push(frame{path: len(open), size: r.size, id: r.id})
			return nil
		}
		if r.path <= last {
			return fail(godwit.CodeBadObject, "the repository is damaged: run git fsck on it", "the files of a tree are not in order: ", quote(r.path), " comes too late")
		}
		last = r.path
		return nil
	})
	if err == nil && len(frames) == 0 {
		err = torn(nil)
	}
	if err == nil {
		err = pop(0)
	}
	return err
}

// An entry is one of a tree in the words of the API: GitHub's "git-tree", Gitea's
// "GitEntry", GitLab's "tree".
type entry struct{ path, mode, id, size string }

func (e *entry) see(name string, text []byte) {
	switch name {
	case "path":
		e.path = string(text)
	case "mode":
		e.mode = string(text)
	case "sha", "id":
		e.id = string(text)
	case "size":
		e.size = string(text)
	}
}

// kindOf gives the kind of a record, 0 for a mode that is none.
func kindOf(m object.Mode) byte {
	switch m.Normal() {
	case object.ModeFile:
		return byte(godwit.File)
	case object.ModeExecutable:
		return byte(godwit.Executable)
	case object.ModeSymlink:
		return byte(godwit.Symlink)
	case object.ModeDir:
		return kindDir
	case object.ModeSubmodule:
		return kindSubmodule
	}
	return 0
}

func (e *entry) record(f object.Format) (r record, err error) {
	mode, err1 := strconv.ParseUint(e.mode, 8, 32)
	id, err2 := object.ParseID(e.id)
	r = record{kind: kindOf(object.Mode(mode)), mode: uint32(mode), size: godwit.UnknownSize, id: id, path: e.path}
	if size, err := strconv.ParseInt(e.size, 10, 64); err == nil && size >= 0 && r.kind != kindDir {
		r.size = size
	}
	switch {
	case err1 != nil || r.kind == 0:
		err = errors.New("an entry has the mode " + quote(e.mode))
	case err2 != nil || id.Format() != f:
		err = errors.New("an entry has no id of this repository")
	case e.path == "" || len(e.path) > maxPath || strings.IndexByte(e.path, 0) >= 0:
		err = fail(godwit.CodeBadPath, "look at who wrote this commit", "a tree has a path that cannot be one: ", quote(e.path))
	}
	return r, err
}
