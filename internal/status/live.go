package status

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/gate"
	"github.com/godwit-ota/godwit/internal/jsontext"
)

// A Live is what an agent is doing right now. The agent writes it to a folder in
// memory, where it costs no flash, for others to read.
type Live struct {
	PID       int
	Started   time.Time
	Doing     string    // "waiting", "checking", …
	LastCheck time.Time // when the source was asked last; zero if it never was
	NextCheck time.Time // by the device's clock
	Why       string    // why then
	Failures  int       // checks that failed in a row
	Pending   int       // reports that wait to be sent
	Retries   int       // tries of a request, adapted to the link
	Chunk     int       // bytes of a transfer that are read at once, adapted to the memory
	Waiting   *Waiting  // a release that a gate holds back
}

// A Waiting release is there, and a gate says not now.
type Waiting struct {
	Release  string
	Action   gate.Action
	Verdicts []gate.Verdict // of all gates
}

// Held is the gate that the release waits for.
func (w *Waiting) Held() gate.Verdict {
	v, _ := gate.Held(w.Verdicts)
	return v
}

// Folder is where Lives lie: $RUNTIME_DIRECTORY, which systemd sets, else
// /run/godwit where that can be made, else a folder of the user's.
func Folder(getenv func(string) string) string {
	if dir := getenv("RUNTIME_DIRECTORY"); dir != "" {
		return dir
	}
	if os.Geteuid() == 0 {
		return "/run/godwit"
	}
	if dir := getenv("XDG_RUNTIME_DIR"); dir != "" {
		return filepath.Join(dir, "godwit")
	}
	return filepath.Join(os.TempDir(), "godwit-"+strconv.Itoa(os.Geteuid()))
}

// LiveFile is the file for the tree in root, which is absolute.
func LiveFile(folder, root string) string {
	sum := sha256.Sum256([]byte(root))
	return filepath.Join(folder, hex.EncodeToString(sum[:6])+".json")
}

// maxLive bounds what is read, in bytes.
const maxLive = 64 << 10

// Write puts l into a file, whole or not at all. Its folder may be one that anybody can
// make, in /tmp: nothing is written to one of somebody else's, nor where a link leads.
func (l Live) Write(file string) error {
	dir := filepath.Dir(file)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := own(dir); err != nil {
		return err
	}
	tmp := file + ".new"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(append(jsontext.Append(nil, l.fields()), '\n'))
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	return os.Rename(tmp, file)
}

// own tells whether a folder in one that all may write to belongs to this user.
func own(dir string) error {
	above, err := os.Stat(filepath.Dir(dir))
	if err != nil || above.Mode()&0o002 == 0 {
		return err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); !ok || !info.IsDir() || int(st.Uid) != os.Geteuid() {
		return &os.PathError{Op: "write to", Path: dir, Err: errors.New("it belongs to somebody else")}
	}
	return nil
}

func at(t time.Time) string {
	if t.Unix() <= 0 { // the zero time, and what was noted without a clock
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

func (l Live) fields() jsontext.Fields {
	f := jsontext.Fields{{Name: "pid", Value: l.PID}}.
		With("started", at(l.Started)).With("doing", l.Doing).With("last_check", at(l.LastCheck)).With("next_check", at(l.NextCheck)).With("why", l.Why).
		With("failures", int64(l.Failures)).With("pending", int64(l.Pending)).With("retries", int64(l.Retries)).With("chunk", int64(l.Chunk))
	if w := l.Waiting; w != nil {
		f = append(f, jsontext.Field{Name: "waiting", Value: jsontext.Fields{
			{Name: "release", Value: w.Release}, {Name: "action", Value: w.Action.String()}, {Name: "gates", Value: verdictFields(w.Verdicts)}}})
	}
	return f
}

// ReadLive reads what the agent that runs last wrote. ok is false if there is
// nothing to read, or the process is gone.
func ReadLive(file string) (l Live, ok bool) {
	f, err := os.Open(file)
	if err != nil {
		return l, false
	}
	defer f.Close()
	b := make([]byte, maxLive)
	n, _ := f.Read(b)
	v, err := jsontext.Parse(b[:n])
	if err != nil {
		return l, false
	}
	l = Live{
		PID: number(&v, "pid"), Started: date(&v, "started"), Doing: text(&v, "doing"),
		LastCheck: date(&v, "last_check"), NextCheck: date(&v, "next_check"), Why: text(&v, "why"),
		Failures: number(&v, "failures"), Pending: number(&v, "pending"), Retries: number(&v, "retries"), Chunk: number(&v, "chunk"),
	}
	if w := v.Get("waiting"); w.Kind == jsontext.Object {
		l.Waiting = &Waiting{Release: text(&w, "release")}
		for _, a := range actions {
			if a.String() == text(&w, "action") {
				l.Waiting.Action = a
			}
		}
		list := w.Get("gates").List
		for i := range list {
			g := &list[i]
			l.Waiting.Verdicts = append(l.Waiting.Verdicts, gate.Verdict{
				Gate: text(g, "gate"), Holds: text(g, "holds") == "true", Reason: text(g, "reason"), Code: godwit.Code(text(g, "code")), Hint: text(g, "hint"),
				Until: date(g, "until"), Overridden: text(g, "overridden") == "true", Unknown: text(g, "unknown") == "true",
			})
		}
	}
	_, err = os.Stat("/proc/" + strconv.Itoa(l.PID))
	return l, l.PID > 0 && err == nil
}

func text(v *jsontext.Value, name string) string { return v.Get(name).Text }

func number(v *jsontext.Value, name string) int {
	n, _ := v.Get(name).Int()
	return int(n)
}

func date(v *jsontext.Value, name string) time.Time {
	t, _ := time.Parse(time.RFC3339, text(v, name))
	return t
}

// Line says in one line what the agent does.
func (l Live) Line() string {
	switch {
	case l.Doing != "waiting":
		return l.Doing
	case l.Waiting != nil:
		return l.Waiting.Release + " waits: " + l.Waiting.Held().Reason
	case l.NextCheck.IsZero():
		return l.Doing
	}
	return "next check at " + l.NextCheck.Local().Format("2006-01-02 15:04") + ": " + l.Why
}
