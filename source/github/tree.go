package github

import (
	"bufio"
	"context"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/internal/jsontext"
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
	out    *listingWriter
	last   string // path of the last file in out
	files  int
	bytes  int64 // of answers
	hash   []*object.Hasher
}

// listTree makes the listing of a tree, or finds it made, and gives it. root is
// the id of the tree, or of the commit where the host knows of no trees.
func (s *Source) listTree(ctx context.Context, root string) (godwit.Listing, error) {
	id, err := object.ParseID(root)
	if err != nil {
		return nil, err
	}
	fsys, folder := s.cfg.State, s.cfg.Folder
	if err := vfs.MkdirAll(fsys, folder); err != nil {
		return nil, diskError(err)
	}
	s.answers.save() // there was no folder for them before the first release
	name, title := folder+"/"+treePrefix+root, listingTitle+id.Format().String()+"\n"
	if !sound(fsys, name, title) {
		s.dropFiles(treePrefix, levelPrefix)
		w := &treeWalk{s: s, format: id.Format()}
		if w.out, err = newListing(fsys, folder+"/tree.new", title, w.format); err != nil {
			return nil, err
		}
		if s.host.tag("") != "" {
			err = w.tree(ctx, id, "", 0)
		} else {
			err = w.unsorted(ctx, id)
		}
		if e := w.out.finish(); err == nil {
			err = e
		}
		s.dropFiles(levelPrefix)
		if err == nil {
			err = diskError(fsys.Rename(folder+"/tree.new", name))
		}
		if err != nil {
			return nil, err
		}
	}
	return s.stored(name, title, id.Format()), nil
}

const (
	treePrefix  = "tree-"
	levelPrefix = "level-"
)

// dropFiles removes files of the state folder whose names begin so.
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
		s.cfg.State.Remove(s.cfg.Folder + "/" + n) // what stays is looked at again
	}
}

// tree adds the files below a tree, whose path ends with a slash or is "". A
// host that cannot list all of it at once is asked for one folder at a time.
func (w *treeWalk) tree(ctx context.Context, id object.ID, path string, depth int) error {
	if depth > w.s.cfg.Limits.Depth {
		return tooDeep(path)
	}
	level := w.s.cfg.Folder + "/" + levelPrefix + strconv.Itoa(depth)
	files := w.files
	whole, err := w.bring(ctx, id, true, level)
	if err == nil && !whole {
		w.files = files // they come again
		w.s.cfg.Events.Say(godwit.StageDescribe, godwit.Debug, "the host does not list all of "+quote(path)+" at once")
		if whole, err = w.bring(ctx, id, false, level); err == nil && !whole {
			err = godwit.Fail(godwit.CodeLimit, nil, "the host does not list the folder "+quote(path)+", which has too many files", "set source.type = \"git\", or attach a manifest to the release")
		}
		if err == nil {
			err = w.verify(id, level, path, false)
		}
		if err != nil {
			return err
		}
		return each(w.s.cfg.State, level, w.format, 0, func(r *record) error {
			if r.kind == kindDir {
				return w.tree(ctx, r.id, path+r.path+"/", depth+1)
			}
			return w.emit(r, path)
		})
	}
	if err == nil {
		err = w.verify(id, level, path, true)
	}
	if err != nil {
		return err
	}
	return each(w.s.cfg.State, level, w.format, 0, func(r *record) error { return w.emit(r, path) })
}

// emit adds a file to the listing.
func (w *treeWalk) emit(r *record, path string) error {
	if r.kind == kindDir {
		return nil
	}
	r.path = path + r.path
	switch {
	case len(r.path) > maxPath:
		return godwit.Fail(godwit.CodeLimit, nil, "a path is longer than "+strconv.Itoa(maxPath)+" bytes", "shorten it: "+webclient.Printable(r.path))
	case r.path <= w.last:
		return godwit.Fail(godwit.CodeBadObject, nil, "the files of a tree are not in order: "+webclient.Printable(r.path)+" comes too late", "the repository is damaged: run git fsck on it")
	}
	w.last = r.path
	return w.out.add(r)
}

func tooDeep(path string) error {
	return godwit.Fail(godwit.CodeLimit, nil, "folders are nested too deep: "+webclient.Printable(path), "flatten the repository")
}

// A frame is a folder that is being listed.
type frame struct {
	path   int   // length of its path, with the slash
	size   int64 // of its tree object so far
	offset int64 // of its record
	id     object.ID
}

// bring asks for a tree and writes the answer to a file. whole is false if the
// host left something out.
func (w *treeWalk) bring(ctx context.Context, id object.ID, recursive bool, level string) (whole bool, err error) {
	files, size := w.files, w.bytes
	for n := 1; ; n++ {
		w.files, w.bytes = files, size
		whole, err = w.bringOnce(ctx, id, recursive, level)
		var cut *cutError
		if !errors.As(err, &cut) {
			return whole, err
		}
		if err = cut.err; n == attempts || godwit.CodeOf(err) != godwit.CodeNetwork || ctx.Err() != nil {
			return whole, err
		}
	}
}

func (w *treeWalk) bringOnce(ctx context.Context, id object.ID, recursive bool, level string) (whole bool, err error) {
	s := w.s
	to, err := newListing(s.cfg.State, level, "", w.format)
	if err != nil {
		return false, err
	}
	b := builder{to: to, frames: make([]frame, 1, 8), limit: s.cfg.Limits.Depth}
	defer func() {
		b.pop(0)
		if e := to.finish(); err == nil {
			err = e
		}
	}()
	next, seen := s.host.tree(id.String(), recursive, 1), 0
	for page := 1; next != ""; page++ {
		var last pageInfo
		q := question{url: next, what: "the tree", read: func(a *webclient.Answer) (string, error) {
			in := &meter{r: a.Body, left: s.cfg.Limits.TreeBytes - w.bytes, what: s.tooLarge}
			var err error
			last, err = readTree(in, w.format, func(r *record) error {
				if w.s.host.tag("") == "" {
					return w.take(to, r)
				}
				if err := b.add(r); err != nil {
					return err
				}
				return w.count(r)
			})
			w.bytes += in.n
			last.link = link(a, "next")
			return "", err
		}}
		_, ok, err := s.askOnce(ctx, q)
		if err == nil && !ok {
			err = godwit.Fail(godwit.CodeMissingObject, nil, "the host does not have the tree "+id.String(), "the branch or tag may just have moved; try again")
		}
		if err != nil {
			return false, err
		}
		seen += last.entries
		next = last.link
		if s.host.tag("") != "" {
			next = s.host.tree(id.String(), recursive, page+1)
			if next == "" {
				return !last.truncated, nil
			}
			if last.entries == 0 || seen >= last.total && !last.truncated {
				break
			}
		}
	}
	return true, nil
}

// count holds the files against the limit.
func (w *treeWalk) count(r *record) error {
	if r.kind == kindDir {
		return nil
	}
	if w.files++; w.files > w.s.cfg.Limits.TreeFiles {
		return godwit.Fail(godwit.CodeLimit, nil, w.s.name+" has more than "+strconv.Itoa(w.s.cfg.Limits.TreeFiles)+" files, which max_tree_files (in section limits) allows",
			"raise the limit, attach a manifest of the files that the device needs to the release, or set source.type = \"git\"")
	}
	return nil
}

func (s *Source) tooLarge() error {
	return godwit.Fail(godwit.CodeLimit, nil, "the list of files of "+s.name+" is larger than "+strconv.FormatInt(s.cfg.Limits.TreeBytes>>10, 10)+" kB, which max_tree_size_kb (limits.max_tree_bytes) allows",
		"raise the limit, attach a manifest of the files that the device needs to the release, or set source.type = \"git\"")
}

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

// A builder writes down the entries of a recursive listing, folders before what
// is in them, and finds out how large the trees are.
type builder struct {
	to     *listingWriter
	frames []frame // the root, and the folders that are open
	path   string  // of the last folder
	limit  int
}

// pop closes folders until n are left, besides the root.
func (b *builder) pop(n int) {
	for len(b.frames) > n+1 {
		f := b.frames[len(b.frames)-1]
		b.to.setSize(f.offset, f.size)
		b.frames = b.frames[:len(b.frames)-1]
	}
}

func (b *builder) add(r *record) error {
	n, name, err := place(b.path, b.frames, r.path)
	if err != nil {
		return err
	}
	b.pop(n)
	top := &b.frames[len(b.frames)-1]
	top.size += int64(len(strconv.FormatUint(uint64(r.mode), 8)) + 1 + len(name) + 1 + r.id.Format().Size())
	if r.kind == kindDir {
		if len(b.frames) > b.limit {
			return tooDeep(r.path)
		}
		b.frames = append(b.frames, frame{path: len(r.path) + 1, offset: b.to.offset()})
		b.path = r.path + "/"
		r.size = 0
	}
	return b.to.add(r)
}

// place finds the folder that a path is in, as the number of open folders, and
// its name there.
func place(open string, frames []frame, path string) (n int, name string, err error) {
	n = len(frames) - 1
	for n > 0 && (len(path) < frames[n].path || path[:frames[n].path] != open[:frames[n].path]) {
		n--
	}
	name = path[frames[n].path:]
	if name == "" || strings.ContainsAny(name, "/\x00") {
		return 0, "", godwit.Fail(godwit.CodeBadObject, nil, "the host lists "+quote(webclient.Printable(path))+" outside of its folder", "try again; if it stays, set source.type = \"git\"")
	}
	return n, name, nil
}

// verify computes the ids of a tree and of all trees below it.
func (w *treeWalk) verify(root object.ID, level, path string, recursive bool) error {
	var size int64 // of the root
	err := each(w.s.cfg.State, level, w.format, 0, func(r *record) error {
		if !strings.Contains(r.path, "/") {
			size += int64(len(strconv.FormatUint(uint64(r.mode), 8)) + 1 + len(r.path) + 1 + w.format.Size())
		}
		return nil
	})
	if err != nil {
		return err
	}
	frames := make([]frame, 0, 8)
	open, line := "", []byte(nil)
	push := func(f frame) {
		if len(w.hash) == len(frames) {
			w.hash = append(w.hash, object.NewHasher(w.format))
		}
		w.hash[len(frames)].Reset(object.Tree, f.size)
		frames = append(frames, f)
	}
	pop := func(n int) error {
		for len(frames) > n {
			f := frames[len(frames)-1]
			frames = frames[:len(frames)-1]
			id, err := w.hash[len(frames)].ID()
			if err != nil {
				return err
			}
			if id != f.id {
				return godwit.Fail(godwit.CodeBadObject, nil, "the host's list of files in "+quote(path+open[:f.path])+" is not the one of the tree "+f.id.String(),
					"try again; if it stays, the host or somebody between lies, or a file name is not UTF-8: set source.type = \"git\"")
			}
		}
		return nil
	}
	push(frame{size: size, id: root})
	err = each(w.s.cfg.State, level, w.format, 0, func(r *record) error {
		n, name, err := place(open, frames, r.path)
		if err != nil {
			return err
		}
		if err := pop(n + 1); err != nil {
			return err
		}
		line = strconv.AppendUint(line[:0], uint64(r.mode), 8)
		line = append(append(append(line, ' '), name...), 0)
		line = append(line, r.id.Sum()...)
		w.hash[n].Write(line)
		if r.kind == kindDir && recursive {
			open = r.path + "/"
			push(frame{path: len(open), size: r.size, id: r.id})
		}
		return nil
	})
	if err != nil {
		return err
	}
	return pop(0)
}

// A pageInfo is what an answer says beside its entries.
type pageInfo struct {
	entries   int
	total     int // of all pages, 0 if it does not say
	truncated bool
	link      string
}

// readTree reads the list of a tree: GitHub's "git-tree", Gitea's
// "GitTreeResponse", or GitLab's array.
func readTree(in io.Reader, f object.Format, fn func(r *record) error) (p pageInfo, err error) {
	j := jsontext.NewReader(in, jsontext.Limits{Text: 32 << 10})
	entry := func(k jsontext.Kind) error {
		if k != jsontext.Object {
			return errors.New("an entry is not an object")
		}
		p.entries++
		r, err := readEntry(j, f)
		if err == nil {
			err = fn(&r)
		}
		return err
	}
	k, err := j.Next()
	switch {
	case err != nil:
	case k == jsontext.Array:
		err = elements(j, entry)
	case k != jsontext.Object:
		err = errors.New("it is of another form")
	default:
		found := false
		err = members(j, func(name string) error {
			switch name {
			case "tree":
				if found {
					return errors.New("it has two trees")
				}
				found = true
				k, err := j.Next()
				switch {
				case err != nil:
					return err
				case k == jsontext.Null: // Gitea's empty page
					return nil
				case k != jsontext.Array:
					return errors.New("its tree is not a list")
				}
				return elements(j, entry)
			case "truncated", "total_count":
				v, err := j.Value(1 << 10)
				if name == "truncated" {
					p.truncated = v.Text == "true"
				} else if n, ok := v.Int(); ok && n < 1<<31 {
					p.total = int(n)
				}
				return err
			}
			return j.Skip()
		})
		if err == nil && !found {
			err = errors.New("it has no tree")
		}
	}
	return p, err
}

// readEntry reads one entry, whose object has begun.
func readEntry(j *jsontext.Reader, f object.Format) (r record, err error) {
	r.size = godwit.UnknownSize
	var mode, id string
	err = members(j, func(name string) error {
		switch name {
		case "path", "mode", "sha", "id", "size":
		default:
			return j.Skip()
		}
		if _, err := j.Next(); err != nil {
			return err
		}
		switch text := j.Text(); name {
		case "path":
			r.path = string(text)
		case "mode":
			mode = string(text)
		case "size":
			if n, err := strconv.ParseInt(string(text), 10, 64); err == nil && n >= 0 {
				r.size = n
			}
		default:
			id = string(text)
		}
		return nil
	})
	if err != nil {
		return r, err
	}
	m, err := strconv.ParseUint(mode, 8, 32)
	if err != nil {
		return r, errors.New("an entry has no mode")
	}
	r.mode = uint32(m)
	switch object.Mode(m).Normal() {
	case object.ModeFile:
		r.kind = byte(godwit.File)
	case object.ModeExecutable:
		r.kind = byte(godwit.Executable)
	case object.ModeSymlink:
		r.kind = byte(godwit.Symlink)
	case object.ModeDir:
		r.kind = kindDir
	case object.ModeSubmodule:
		r.kind = kindSubmodule
	default:
		return r, errors.New("an entry has the mode " + mode)
	}
	if r.id, err = object.ParseID(id); err != nil || r.id.Format() != f {
		return r, errors.New("an entry has no id of this repository")
	}
	if r.path == "" || len(r.path) > maxPath || strings.IndexByte(r.path, 0) >= 0 {
		return r, godwit.Fail(godwit.CodeBadPath, nil, "a tree has a path that cannot be one: "+webclient.Printable(r.path), "look at who wrote this commit")
	}
	return r, nil
}

// take keeps an entry of a host whose trees cannot be checked.
func (w *treeWalk) take(to *listingWriter, r *record) error {
	if r.kind == kindDir {
		return nil
	}
	if err := w.count(r); err != nil {
		return err
	}
	return to.add(r)
}

// sortRoom is how many entries are sorted in memory at a time.
const sortRoom = 1024

// unsorted brings the listing of a host that lists in an order of its own: parts
// of it are sorted, and then merged.
func (w *treeWalk) unsorted(ctx context.Context, commit object.ID) error {
	fsys, level := w.s.cfg.State, w.s.cfg.Folder+"/"+levelPrefix
	if _, err := w.bring(ctx, commit, true, level+"0"); err != nil {
		return err
	}
	runs, err := newListing(fsys, level+"1", "", w.format)
	if err != nil {
		return err
	}
	var begins []int64
	batch := make([]record, 0, sortRoom)
	write := func() {
		slices.SortFunc(batch, func(a, b record) int { return strings.Compare(a.path, b.path) })
		begins = append(begins, runs.offset())
		for i := range batch {
			runs.add(&batch[i])
		}
		runs.buf = append(runs.buf, 0)
		batch = batch[:0]
	}
	err = each(fsys, level+"0", w.format, 0, func(r *record) error {
		if batch = append(batch, *r); len(batch) == sortRoom {
			write()
		}
		return runs.err
	})
	write()
	if e := runs.finish(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	f, err := fsys.Open(level+"1", vfs.Read)
	if err != nil {
		return diskError(err)
	}
	defer f.Close()
	type head struct {
		l *listingReader
		r record
	}
	var heads []head
	advance := func(h *head) (ok bool, err error) {
		h.r, err = h.l.next()
		if err == io.EOF {
			return false, nil
		}
		return err == nil, err
	}
	for _, at := range begins {
		h := head{l: &listingReader{r: bufio.NewReaderSize(io.NewSectionReader(f, at, 1<<62), 512), format: w.format}}
		if ok, err := advance(&h); err != nil {
			return err
		} else if ok {
			heads = append(heads, h)
		}
	}
	for len(heads) > 0 {
		least := 0
		for i := range heads {
			if heads[i].r.path < heads[least].r.path {
				least = i
			}
		}
		if err := w.emit(&heads[least].r, ""); err != nil {
			return err
		}
		if ok, err := advance(&heads[least]); err != nil {
			return err
		} else if !ok {
			heads = slices.Delete(heads, least, least+1)
		}
	}
	return nil
}
