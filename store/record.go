package store

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/vfs"
)

// A Version is a release as the device remembers it.
type Version struct {
	ID      string    // the commit's id; "" means that there is no version
	Dir     string    // slots: its folder below versions/
	Ref     string    // where it came from, such as "refs/tags/v1.4.0"
	Name    string    // for people, such as "v1.4.0"
	Tag     string    // id of the annotated tag object, "" without one
	Time    time.Time // the release's own time
	Policy  string    // the trust policy that admitted it
	Signers string    // who signed it, separated by commas, "" where nobody was asked for
	Hook    string    // program of the release to run after the switch to it
	Undo    string    // program of the release to run when it is taken back
	Rules   string    // fingerprint of the rules it was installed under
	Listing string    // its listing's file below list/, which is the SHA-256 of its content
	At      time.Time // when it was switched to, by this device's clock
}

// Same reports whether v and o are one release under the same rules.
func (v Version) Same(o Version) bool { return v.ID == o.ID && v.Rules == o.Rules }

// IsZero reports whether v stands for "no version".
func (v Version) IsZero() bool { return v.ID == "" }

// A Trial is the time in which a version must prove itself.
type Trial struct {
	Open      bool
	BootsLeft int           // boots that may still begin before the device goes back
	Boot      string        // id of the boot that was counted last
	Since     time.Duration // uptime at which the trial's clock started in that boot
}

// A Rejection remembers a version that failed here, so that it is not tried
// again.
type Rejection struct {
	ID, Name string
	Reason   string
	At       time.Time
}

// A Record is the truth about a device: what runs, what ran before, and whether
// the tree on disk is known to agree.
type Record struct {
	Seq      uint64 // counts up with every write
	Layout   Layout
	Running  Version
	Previous Version   // what rollback returns to
	Older    []Version // slots: kept beyond Previous, newest first
	Settled  bool      // the tree on disk was made equal to Running, durably
	Leaving  Version   // until it is settled: the version whose files may still lie in the tree
	Trial    Trial
	Restart  string      // boot in which the application must still be restarted, "" if it need not
	Rejected []Rejection // newest first
	Memory   godwit.Memory
}

// recordSize is the size of a copy on disk. It never changes, so that writing a
// copy allocates nothing and cannot fail on a full disk. It is eight of the
// 512-byte sectors that a power cut may tear apart.
const recordSize = 4096

const (
	recordMagic  = "godwit-record "
	recordFormat = 2 // 2 brought Memory, and signers and hooks of versions
	maxRejected  = 8
)

var recordNames = [2]string{"record.0", "record.1"}

// encode writes the text form: lines of "key value", values in Go's quoted form
// where they are strings, closed by a line "sum" with the SHA-256 of all that
// came before.
func (r Record) encode() ([]byte, error) {
	for {
		b := r.text()
		sum := sha256.Sum256(b)
		b = append(b, "sum "+hex.EncodeToString(sum[:])+"\n"...)
		if len(b) <= recordSize {
			for len(b) < recordSize {
				b = append(b, '\n')
			}
			return b, nil
		}
		if len(r.Rejected) == 0 {
			return nil, godwit.Fail(godwit.CodeLimit, nil, "the record of this device does not fit in "+strconv.Itoa(recordSize)+" bytes",
				"use shorter tag and branch names, or a smaller tree.keep")
		}
		r.Rejected = r.Rejected[:len(r.Rejected)-1]
	}
}

func (r Record) text() []byte {
	b := []byte(recordMagic + strconv.Itoa(recordFormat) + "\n")
	line := func(key, value string) { b = append(b, key+" "+value+"\n"...) }
	text := func(key, value string) {
		if value != "" {
			line(key, strconv.Quote(value))
		}
	}
	when := func(key string, t time.Time) {
		if !t.IsZero() {
			line(key, strconv.FormatInt(t.Unix(), 10))
		}
	}
	version := func(p string, v Version) {
		if v.IsZero() {
			return
		}
		text(p+".id", v.ID)
		text(p+".dir", v.Dir)
		text(p+".ref", v.Ref)
		text(p+".name", v.Name)
		text(p+".tag", v.Tag)
		when(p+".time", v.Time)
		text(p+".policy", v.Policy)
		text(p+".signers", v.Signers)
		text(p+".hook", v.Hook)
		text(p+".undo", v.Undo)
		text(p+".rules", v.Rules)
		text(p+".listing", v.Listing)
		when(p+".at", v.At)
	}
	line("seq", strconv.FormatUint(r.Seq, 10))
	text("layout", string(r.Layout))
	line("settled", strconv.FormatBool(r.Settled))
	version("running", r.Running)
	version("previous", r.Previous)
	version("leaving", r.Leaving)
	for _, v := range r.Older {
		version("older", v)
	}
	if r.Trial.Open {
		line("trial.boots", strconv.Itoa(r.Trial.BootsLeft))
		text("trial.boot", r.Trial.Boot)
		line("trial.since", strconv.FormatInt(int64(r.Trial.Since), 10))
	}
	text("restart", r.Restart)
	m := r.Memory
	text("memory.product", m.Product)
	text("memory.version", m.Version)
	when("memory.time", m.Time)
	text("memory.channel", m.Channel)
	if m.Sequence > 0 {
		line("memory.sequence", strconv.FormatUint(m.Sequence, 10))
	}
	text("memory.orders", m.Orders)
	when("memory.clock", m.Clock)
	text("memory.signers", m.Signers)
	text("memory.revoked", m.Revoked)
	text("memory.base", m.Base)
	for _, x := range r.Rejected {
		text("rejected.id", x.ID)
		text("rejected.name", x.Name)
		text("rejected.reason", x.Reason)
		when("rejected.at", x.At)
	}
	return b
}

// errNewer is returned by decodeRecord for a record whose checksum is right and
// whose format is of the future.
var errNewer = errors.New("record of a newer format")

// decodeRecord reads one copy. What follows the sum line is of no account.
func decodeRecord(b []byte) (Record, error) {
	var r Record
	text := string(b)
	i := strings.Index(text, "\nsum ")
	if i < 0 || len(text) < i+5+64 {
		return r, errors.New("no checksum")
	}
	body, sum := text[:i+1], text[i+5:i+5+64]
	if s := sha256.Sum256([]byte(body)); hex.EncodeToString(s[:]) != sum {
		return r, errors.New("wrong checksum")
	}
	head, body, _ := strings.Cut(body, "\n")
	format, ok := strings.CutPrefix(head, recordMagic)
	if !ok {
		return r, errors.New("not a record")
	}
	if n, err := strconv.Atoi(format); err != nil || n < 1 {
		return r, errors.New("not a record")
	} else if n > recordFormat {
		return r, errNewer
	}
	for l := range strings.Lines(body) {
		key, value, _ := strings.Cut(strings.TrimSuffix(l, "\n"), " ")
		if err := r.set(key, value); err != nil {
			return Record{}, errors.New("line " + strconv.Quote(key) + " of the record: " + err.Error())
		}
	}
	return r, nil
}

func (r *Record) set(key, value string) (err error) {
	text := func(p *string) { *p, err = strconv.Unquote(value) }
	when := func(p *time.Time) {
		var n int64
		if n, err = strconv.ParseInt(value, 10, 64); err == nil {
			*p = time.Unix(n, 0).UTC()
		}
	}
	head, field, _ := strings.Cut(key, ".")
	if field == "id" && value == `""` {
		return errors.New("empty")
	}
	switch key {
	case "seq":
		r.Seq, err = strconv.ParseUint(value, 10, 64)
	case "layout":
		var s string
		text(&s)
		r.Layout = Layout(s)
	case "settled":
		r.Settled, err = strconv.ParseBool(value)
	case "restart":
		text(&r.Restart)
	case "trial.boots":
		r.Trial.Open = true
		r.Trial.BootsLeft, err = strconv.Atoi(value)
	case "trial.boot":
		text(&r.Trial.Boot)
	case "trial.since":
		var n int64
		n, err = strconv.ParseInt(value, 10, 64)
		r.Trial.Since = time.Duration(n)
	default:
		var v *Version
		switch head {
		case "running":
			v = &r.Running
		case "previous":
			v = &r.Previous
		case "leaving":
			v = &r.Leaving
		case "older":
			if field == "id" {
				r.Older = append(r.Older, Version{})
			}
			if len(r.Older) == 0 {
				return errors.New("no id before it")
			}
			v = &r.Older[len(r.Older)-1]
		case "memory":
			m := &r.Memory
			switch field {
			case "product":
				text(&m.Product)
			case "version":
				text(&m.Version)
			case "time":
				when(&m.Time)
			case "channel":
				text(&m.Channel)
			case "sequence":
				m.Sequence, err = strconv.ParseUint(value, 10, 64)
			case "orders":
				text(&m.Orders)
			case "clock":
				when(&m.Clock)
			case "signers":
				text(&m.Signers)
			case "revoked":
				text(&m.Revoked)
			case "base":
				text(&m.Base)
			default:
				return errors.New("unknown")
			}
			return err
		case "rejected":
			if field == "id" {
				r.Rejected = append(r.Rejected, Rejection{})
			}
			if len(r.Rejected) == 0 {
				return errors.New("no id before it")
			}
			x := &r.Rejected[len(r.Rejected)-1]
			switch field {
			case "id":
				text(&x.ID)
			case "name":
				text(&x.Name)
			case "reason":
				text(&x.Reason)
			case "at":
				when(&x.At)
			default:
				return errors.New("unknown")
			}
			return err
		default:
			return errors.New("unknown")
		}
		switch field {
		case "id":
			text(&v.ID)
		case "dir":
			text(&v.Dir)
		case "ref":
			text(&v.Ref)
		case "name":
			text(&v.Name)
		case "tag":
			text(&v.Tag)
		case "time":
			when(&v.Time)
		case "policy":
			text(&v.Policy)
		case "signers":
			text(&v.Signers)
		case "hook":
			text(&v.Hook)
		case "undo":
			text(&v.Undo)
		case "rules":
			text(&v.Rules)
		case "listing":
			text(&v.Listing)
		case "at":
			when(&v.At)
		default:
			return errors.New("unknown")
		}
	}
	return err
}

// readRecord returns the higher valid copy, its bytes and number, and whether a copy
// exists that is not valid. Without any copy the record is zero and which is -1.
func readRecord(fsys vfs.FS, state string) (r Record, raw []byte, which int, damaged bool, err error) {
	which = -1
	exist := 0
	var failed error
	for i, name := range recordNames {
		b, err := readCopy(fsys, state+"/"+name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		exist++
		if err != nil {
			failed = err // a sector that cannot be read; writing it anew mends it
			damaged = true
			continue
		}
		c, err := decodeRecord(b)
		if err == errNewer {
			return r, nil, -1, false, godwit.Fail(godwit.CodeNewerState, nil, "the state folder was written by a newer Godwit",
				"install that Godwit again, or at least the version that wrote it")
		}
		if err != nil {
			damaged = true
			continue
		}
		if which < 0 || c.Seq > r.Seq {
			r, raw, which = c, b, i
		}
	}
	if which < 0 && failed != nil {
		return r, nil, -1, false, diskError(failed, "the record cannot be read")
	}
	// One copy alone that is not valid is the first that was ever begun: nothing
	// was installed yet.
	return r, raw, which, damaged && exist == len(recordNames), nil
}

func readCopy(fsys vfs.FS, name string) ([]byte, error) {
	f, err := fsys.Open(name, vfs.Read)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, recordSize)
	n, err := io.ReadFull(f, b)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		err = nil
	}
	return b[:n], err
}

// writeRecord makes r the record, durably, in the copy that is not the valid
// one. When it returns nil there is no way back; when it fails either the old
// or the new record counts.
func (s *Store) writeRecord(r Record) error {
	r.Seq, r.Layout = s.rec.Seq+1, s.opt.Layout
	b, err := r.encode()
	if err != nil {
		return err
	}
	if err := s.anchor(); err != nil {
		return err
	}
	which := 0
	if s.copy == 0 {
		which = 1
	}
	_, err = s.fs.Lstat(s.state(recordNames[which]))
	created := errors.Is(err, fs.ErrNotExist)
	err = s.putCopy(which, b)
	if err == nil && created {
		err = s.fs.SyncDir(s.opt.State)
	}
	if err != nil {
		s.stale = true // which copy counts is known only after reading them again
		return diskError(err, "the record cannot be written")
	}
	s.rec, s.raw, s.copy, s.anchored = r, b, which, true
	return nil
}

// anchor writes the copy that counts once more, with the same bytes, and makes
// it durable. A process that was killed, or one whose fsync failed, may have
// left it in memory only; then a power cut while the other copy is overwritten
// would leave no valid copy at all.
func (s *Store) anchor() error {
	if s.copy < 0 || s.anchored {
		return nil
	}
	err := s.putCopy(s.copy, s.raw)
	if err == nil {
		err = s.fs.SyncDir(s.opt.State)
	}
	s.anchored = err == nil
	return diskError(err, "the record cannot be made durable")
}

// refresh reads the record again after a write of it failed.
func (s *Store) refresh() error {
	if !s.stale {
		return nil
	}
	if err := s.Reload(); err != nil {
		return err
	}
	s.anchored = false
	return s.anchor()
}

func (s *Store) putCopy(which int, b []byte) error {
	f, err := s.fs.Open(s.state(recordNames[which]), vfs.Write)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(b, 0)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	return err
}
