package web

import (
	"context"
	"errors"
	"io"
	"strconv"
	"strings"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/source/web/mirror"
)

// notes is what is remembered of the mirrors between runs. It lies in the state
// folder and is worth nothing when lost.
type notes struct {
	shunned int    // the mirror whose answer was refused last, -1 if none was
	refused string // digest of the channel's file that was, with the signatures beside it; "" if none was
	docs    []asked
	patches badPatches
}

// badPatches are those of one release that are of no use.
type badPatches struct {
	release string
	broken  []string // sums
	late    string   // of one that could not be had in one run, "" for none
}

// asked is a document as a mirror gave it.
type asked struct {
	path   string
	mirror int
	etag   string
	sum    string // it lies in the spool under this name
}

const (
	notesName = "notes"
	maxNotes  = 64 << 10
	maxAsked  = 32
	maxETag   = 256
)

func (s *Source) load() {
	if s.loaded {
		return
	}
	s.loaded = true
	s.asked.shunned = -1
	b, err := s.spool.read(notesName, maxNotes)
	if err != nil {
		return
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		switch {
		case len(f) == 2 && f[0] == "shunned":
			if n, err := strconv.Atoi(f[1]); err == nil && n >= 0 && n < len(s.cfg.Mirrors) {
				s.shun(n)
			}
		case len(f) == 2 && f[0] == "refused" && isSum(f[1]):
			s.asked.refused = f[1]
		case len(f) == 2 && f[0] == "patches" && isSum(f[1]):
			s.asked.patches.release = f[1]
		case len(f) == 2 && f[0] == "late" && isSum(f[1]):
			s.asked.patches.late = f[1]
		case len(f) == 2 && f[0] == "broken" && isSum(f[1]) && len(s.asked.patches.broken) < maxBroken:
			s.asked.patches.broken = append(s.asked.patches.broken, f[1])
		case len(f) == 4 && len(s.asked.docs) < maxAsked:
			n, err1 := strconv.Atoi(f[0])
			path, err2 := strconv.Unquote(f[2])
			etag, err3 := strconv.Unquote(f[3])
			if err1 == nil && err2 == nil && err3 == nil && isSum(f[1]) {
				s.asked.docs = append(s.asked.docs, asked{path, n, etag, f[1]})
			}
		}
	}
}

func isSum(s string) bool { return len(s) == 64 && strings.Trim(s, "0123456789abcdef") == "" }

// save keeps the notes. That it cannot is no reason to stop.
func (s *Source) save() {
	var b []byte
	if s.asked.shunned >= 0 {
		b = append(strconv.AppendInt(append(b, "shunned "...), int64(s.asked.shunned), 10), '\n')
	}
	if s.asked.refused != "" {
		b = append(append(append(b, "refused "...), s.asked.refused...), '\n')
	}
	if p := &s.asked.patches; p.release != "" {
		line := func(name, sum string) { b = append(append(append(b, name...), sum...), '\n') }
		line("patches ", p.release)
		if p.late != "" {
			line("late ", p.late)
		}
		for _, sum := range p.broken {
			line("broken ", sum)
		}
	}
	for _, d := range s.asked.docs {
		b = append(append(strconv.AppendInt(b, int64(d.mirror), 10), ' '), d.sum...)
		b = append(strconv.AppendQuoteToASCII(append(b, ' '), d.path), ' ')
		b = append(strconv.AppendQuoteToASCII(b, d.etag), '\n')
	}
	if old, err := s.spool.read(notesName, maxNotes); err == nil && string(old) == string(b) {
		return
	}
	if err := s.spool.write(notesName, b); err != nil {
		s.cfg.Events.Say(godwit.StageCheck, godwit.Debug, err.Error())
	}
}

// note remembers a document. What was under its name before goes: if that is what
// runs here, its files can be had by their digests.
func (s *Source) note(d asked) {
	if len(d.etag) > maxETag || strings.Contains(d.etag, " ") {
		d.etag = ""
	}
	if old := s.doc(d.path); old != nil {
		if old.sum != d.sum {
			s.spool.drop(old.sum)
		}
		*old = d
	} else {
		if len(s.asked.docs) >= maxAsked {
			s.asked.docs = s.asked.docs[1:]
		}
		s.asked.docs = append(s.asked.docs, d)
	}
	s.save()
}

// demote puts a mirror at the end.
func (s *Source) demote(m int) {
	order := make([]int, 0, len(s.order))
	for _, o := range s.order {
		if o != m {
			order = append(order, o)
		}
	}
	s.order = append(order, m)
}

// shun begins with the mirrors behind m, so that each has its turn however many
// of them give what is refused.
func (s *Source) shun(m int) {
	s.asked.shunned = m
	n := len(s.cfg.Mirrors)
	s.order = make([]int, n)
	for i := range s.order {
		s.order[i] = (m + 1 + i) % n
	}
}

// doc finds what is remembered of a document, nil if nothing is.
func (s *Source) doc(path string) *asked {
	for i := range s.asked.docs {
		if d := &s.asked.docs[i]; d.path == path {
			return d
		}
	}
	return nil
}

// each tries the mirrors in order until one is done. try is called with the
// number of a mirror and returns nil when it is, errMissing when the mirror
// lacks what is asked for, and another error when it is of no use. each returns
// the first of those, or errMissing if all lack it, or all that can be reached
// where it is optional. That a mirror gave something wrong is said although
// another one has it: somebody may have got at its files.
func (s *Source) each(ctx context.Context, optional bool, try func(i int, m mirror.Mirror) error) error {
	s.load()
	var first error
	missing, wrong := false, ""
	for _, i := range s.order { // those of now: demote makes a new list
		err := try(i, s.cfg.Mirrors[i])
		if err == nil {
			if wrong != "" {
				s.cfg.Events.Say(godwit.StageFetch, godwit.Warning, wrong+"; it is taken from "+s.name(i))
			}
			return nil
		}
		if ctx.Err() != nil || isDisk(err) {
			return err
		}
		if err == errMissing {
			missing = true
		} else {
			if !temporary(err) && wrong == "" {
				wrong = s.name(i) + ": " + err.Error()
			}
			if s.demote(i); first == nil || temporary(err) && !temporary(first) {
				first = err
			}
		}
		if len(s.order) > 1 {
			s.cfg.Events.Say(godwit.StageFetch, godwit.Debug, s.name(i)+": "+err.Error())
		}
	}
	if first == nil || optional && missing && temporary(first) {
		return errMissing
	}
	return first
}

// name is what a mirror is called.
func (s *Source) name(i int) string {
	if i < len(s.cfg.Names) {
		return s.cfg.Names[i]
	}
	return "mirror " + strconv.Itoa(i+1) + " of " + strconv.Itoa(len(s.order))
}

// temporary reports whether trying again later may help.
func temporary(err error) bool {
	switch godwit.CodeOf(err) {
	case godwit.CodeNetwork, godwit.CodeTimeout, godwit.CodeRetryAfter:
		return true
	}
	return false
}

// isDisk reports whether the fault is on this device, so that another mirror
// would not help.
func isDisk(err error) bool {
	switch godwit.CodeOf(err) {
	case godwit.CodeDiskFull, godwit.CodeReadOnly, godwit.CodeIO:
		return true
	}
	return false
}

// absent reports whether a status says that the mirror lacks the file.
func absent(status int) bool {
	return status == mirror.NotFound || status == mirror.Gone || status == mirror.Forbidden
}

func odd(path string, a *mirror.Answer) error {
	return godwit.Fail(godwit.CodeProtocol, nil, "a mirror answers with the status "+strconv.Itoa(a.Status)+" where "+path+" was asked for", "check the web server, and what lies between")
}

// broken is the error of a transfer that did not come to its end.
func broken(path string, err error) error {
	if known := (*godwit.Error)(nil); errors.As(err, &known) {
		return err
	}
	return godwit.Fail(godwit.CodeNetwork, err, "the transfer of "+path+" broke off", "nothing to do here: the next run goes on from there")
}

// document brings a file into the spool, if it is not there already, and
// returns its SHA-256. optional is for what a folder need not have.
func (s *Source) document(ctx context.Context, path string, limit int64, optional bool) (sum string, err error) {
	err = s.each(ctx, optional, func(i int, m mirror.Mirror) error {
		r := mirror.Request{Path: path}
		known := s.doc(path)
		if known != nil && known.mirror == i && known.etag != "" {
			if _, err := s.spool.open(known.sum); err == nil {
				r.IfNoneMatch = known.etag
			}
		}
		a, err := m.Get(ctx, r)
		if err != nil {
			return err
		}
		defer a.Body.Close()
		switch {
		case a.Status == mirror.NotModified && r.IfNoneMatch != "":
			sum, s.from = known.sum, i
			return nil
		case absent(a.Status):
			return errMissing
		case a.Status != mirror.OK || a.Offset != 0:
			return odd(path, a)
		}
		if sum, err = s.spool.fill(limit, func(d *draft) error { return d.copy(a.Body, a.Size, s.buf) }); err != nil {
			if err == errTooLong {
				return tooLong(path, limit)
			}
			if err == errShort {
				err = io.ErrUnexpectedEOF
			}
			return broken(path, err)
		}
		s.fresh[sum], s.from = true, i
		s.note(asked{path, i, a.ETag, sum})
		return nil
	})
	return sum, err
}

// signatures brings those of a document, into memory. Whether there are any says
// the mirror that gave the document: what another one has may belong to something
// else. Others are asked if that one cannot be reached any more, or if there is none.
func (s *Source) signatures(ctx context.Context, path string, from int) (b []byte, err error) {
	get := func(i int, m mirror.Mirror) error {
		if b, err = s.small(ctx, path, m); err == nil {
			s.from = i
		}
		return err
	}
	if from >= 0 {
		err = get(from, s.cfg.Mirrors[from])
		if err == nil || err == errMissing || ctx.Err() != nil {
			return b, err
		}
	}
	err = s.each(ctx, true, get)
	return b, err
}

func (s *Source) small(ctx context.Context, path string, m mirror.Mirror) ([]byte, error) {
	a, err := m.Get(ctx, mirror.Request{Path: path})
	if err != nil {
		return nil, err
	}
	defer a.Body.Close()
	switch {
	case absent(a.Status):
		return nil, errMissing
	case a.Status != mirror.OK || a.Offset != 0:
		return nil, odd(path, a)
	}
	b, err := io.ReadAll(io.LimitReader(a.Body, maxSignature+1))
	switch {
	case err != nil:
		return nil, broken(path, err)
	case len(b) > maxSignature:
		return nil, tooLong(path, maxSignature)
	case a.Size >= 0 && a.Size != int64(len(b)):
		return nil, broken(path, io.ErrUnexpectedEOF)
	}
	return b, nil
}

func tooLong(path string, limit int64) error {
	return godwit.Fail(godwit.CodeLimit, nil, path+" is longer than "+strconv.FormatInt(limit, 10)+" bytes", "is this the right folder?")
}
