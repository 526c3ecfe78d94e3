package report

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/vfs"
	"github.com/godwit-ota/godwit/vfs/crashfs"
)

func FuzzQueue(f *testing.F) {
	q := &queue{turn: 12, next: 8, dropped: 2, cursors: []cursor{{"0a1b2c3d4e5f6071", 5, 1800000000, 1800000600}, {"ffffffffffffffff", 0, 0, 0}},
		items: []item{{6, "a.b-c_d", []byte(`{"report":{}}`)}, {7, "x", []byte("y")}}}
	whole := q.append(nil)
	f.Add(whole, false)
	f.Add(newQueue().append(nil), false)
	for _, s := range []string{
		"turn 1\nnext 1\ndropped 0\n",
		"turn 1\nnext 3\ndropped 0\nreport 1 a b\nreport 2 c d\n",
		"turn 1\nnext 3\ndropped 0\nreport 2 a b\nreport 1 c d\n",
		"turn 1\nnext 2\ndropped 0\nreport 2 a b\n",
		"turn 01\nnext 2\ndropped 0\n",
		"turn 1\nnext 2\ndropped -1\n",
		"turn 1\nnext 99999999999999999999\ndropped 0\n",
		"turn 1\nnext 2\ndropped 0\nplace 0a1b2c3d4e5f6071 2 0 0\n",
		"turn 1\nnext 2\ndropped 0\nplace short 1 0 0\n",
		"turn 1\nnext 2\ndropped 0\nreport 1 a b",
	} {
		f.Add([]byte(queueTitle+s), true)
	}
	f.Fuzz(func(t *testing.T, b []byte, seal bool) {
		if seal { // a right sum, so that what is behind it is reached
			sum := sha256.Sum256(b)
			b = append(b[:len(b):len(b)], "sum "+hex.EncodeToString(sum[:])+"\n"...)
		}
		q := parseQueue(b)
		if q == nil {
			return
		}
		if again := q.append(nil); !bytes.Equal(again, b) {
			t.Fatalf("%q became %q", b, again)
		}
		q.settle([]string{"0a1b2c3d4e5f6071"})
		if parseQueue(q.append(nil)) == nil {
			t.Fatal("what was settled cannot be read")
		}
	})
}

// TestQueueDamage: whatever happens to one copy, the other one counts.
func TestQueueDamage(t *testing.T) {
	v := receive(t)
	for i := range 2 {
		cfg, _ := config(t, Place{URL: v.URL})
		r := New(cfg)
		add(t, r, "v1") // turn 1, slot 0
		add(t, r, "v2") // turn 2, slot 1
		name := fmt.Sprint("state/report/reports.", i)
		b, err := vfs.ReadFile(cfg.FS, name, maxQueue)
		if err != nil {
			t.Fatal(err)
		}
		b[len(b)/2] ^= 1
		if err := vfs.WriteFile(cfg.FS, name, b); err != nil {
			t.Fatal(err)
		}
		if n := New(cfg).Pending(); n != 2-i {
			t.Errorf("slot %d damaged: %d reports are left", i, n)
		}
	}
}

// TestDiskErrors: when the disk does not take a report it is sent from memory,
// and whatever fails, nothing is lost that was there before.
func TestDiskErrors(t *testing.T) {
	for _, c := range []struct {
		err  error
		code godwit.Code
	}{
		{syscall.ENOSPC, godwit.CodeDiskFull},
		{syscall.EROFS, godwit.CodeReadOnly},
		{syscall.EIO, godwit.CodeIO},
	} {
		for at := range 40 {
			v := receive(t)
			cfg, _ := config(t, Place{URL: v.URL})
			disk := cfg.FS.(*crashfs.FS)
			add(t, New(cfg), "v1")
			if kind := kindOf(disk.Clone(), cfg, at); kind == crashfs.Unlock {
				continue // no disk can fail there
			}
			disk.Inject(crashfs.Fault{At: disk.Ops() + at, Err: c.err, Sticky: true, Short: true})
			r := New(cfg)
			err := r.Add(Report{Release: "v2", Verdict: Confirmed})
			if err != nil {
				wantCode(t, err, c.code)
			}
			n, next, err := r.Send(t.Context())
			if err != nil {
				wantCode(t, err, c.code)
			}
			if n < 1 || !next.IsZero() || !strings.HasSuffix(v.releases(), "v2") {
				t.Fatalf("%v at %d: %d, %v, %s", c.err, at, n, err, v.releases())
			}
			if n, _, _ := r.Send(t.Context()); n != 0 {
				t.Fatalf("%v at %d: sent again by the same process", c.err, at)
			}
			// The disk works again.
			disk.Inject(crashfs.Fault{})
			add(t, r, "v3")
			if n, _, err := r.Send(t.Context()); n != 1 || err != nil || New(cfg).Pending() != 0 {
				t.Fatalf("%v at %d: %d, %v", c.err, at, n, err)
			}
		}
	}
}

// kindOf is what the operation at is when nothing fails.
func kindOf(disk *crashfs.FS, cfg Config, at int) crashfs.Kind {
	cfg.FS = disk
	disk.Record()
	r := New(cfg)
	r.Add(Report{Verdict: Confirmed})
	for _, p := range r.places {
		p.opener = func(context.Context) (way, error) { return fine{}, nil }
	}
	r.Send(context.Background())
	if ops := disk.Trace(); at < len(ops) {
		return ops[at].Kind
	}
	return 0
}

// A fine way takes everything.
type fine struct{}

func (fine) close()                             {}
func (fine) send(context.Context, []byte) error { return nil }

// TestProcesses: several at one queue lose nothing and double nothing, when only
// one sends.
func TestProcesses(t *testing.T) {
	v := receive(t)
	dir := t.TempDir()
	process := func() *Reporter {
		cfg, _ := config(t, Place{URL: v.URL})
		o, err := vfs.OS(dir)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { o.Close() })
		cfg.FS = o
		cfg.Folder, cfg.MaxReports = "report", 1000
		return New(cfg)
	}
	var work sync.WaitGroup
	for i := range 4 {
		r := process()
		work.Go(func() {
			for j := range 10 {
				err := error(nil)
				for range 5 { // the one that sends is at the queue all the time
					if err = r.Add(Report{Release: fmt.Sprint(i, "-", j), Verdict: Confirmed}); godwit.CodeOf(err) != godwit.CodeBusy {
						break
					}
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	r, n, busy := process(), 0, 0
	for began := time.Now(); n < 40 && time.Since(began) < 30*time.Second; {
		k, _, err := r.Send(t.Context())
		switch n += k; {
		case godwit.CodeOf(err) == godwit.CodeBusy:
			busy++ // what was confirmed just now may come again
		case err != nil:
			t.Error(err)
		}
		time.Sleep(time.Millisecond)
	}
	work.Wait()
	seen := map[int64]string{}
	for _, c := range v.taken() {
		if was, ok := seen[c.Seq]; ok && (was != c.ID || busy == 0) || !ok && c.Seq != int64(len(seen)+1) {
			t.Fatalf("%+v after %d others", c, len(seen))
		}
		seen[c.Seq] = c.ID
	}
	if len(seen) != 40 {
		t.Error(n, len(seen))
	}
	// One that never lets go.
	o, err := vfs.OS(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	unlock, err := o.Lock("report/reports.lock")
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	wantCode(t, r.Add(Report{Verdict: Confirmed}), godwit.CodeBusy)
}

// TestFile: lines, rotation, and what a cut leaves of a line.
func TestFile(t *testing.T) {
	disk := crashfs.New(crashfs.Options{})
	cfg, _ := config(t, Place{URL: "file:///log/reports.jsonl", FS: disk, MaxBytes: 1})
	r := New(cfg)
	read := func(name string) string {
		b, err := vfs.ReadFile(disk, name, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	lines := func(text string) (names []string) {
		for line := range strings.Lines(text) {
			names = append(names, open(t, []byte(line)).Release)
		}
		return names
	}
	for i := range 60 {
		add(t, r, fmt.Sprint("v", i))
		if n, _, err := r.Send(t.Context()); n != 1 || err != nil {
			t.Fatal(n, err)
		}
	}
	now, before := read("reports.jsonl"), read("reports.jsonl.1")
	all := append(lines(before), lines(now)...)
	if len(now) > 16<<10 || len(before) > 16<<10 || len(before) < 15<<10 || all[len(all)-1] != "v59" || all[0] != fmt.Sprint("v", 60-len(all)) {
		t.Error(len(now), len(before), all)
	}
	for _, torn := range []string{now + `{"report":{"dev`, now + "\x00\x00\x00", now[:len(now)-1], "x", strings.Repeat("y", 1<<13+1)} {
		if err := vfs.WriteFile(disk, "reports.jsonl", []byte(torn)); err != nil {
			t.Fatal(err)
		}
		add(t, r, "v99")
		if n, _, err := r.Send(t.Context()); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		text := read("reports.jsonl")
		if torn[0] == 'y' { // not ours: left alone
			text = strings.TrimPrefix(text, torn)
		}
		if got := lines(text); got[len(got)-1] != "v99" {
			t.Error(got)
		}
	}
	cfg.Places[0].FS = nil
	cfg.Places[0].URL = "file:///nonexistent/reports"
	r = New(cfg)
	add(t, r, "v1")
	_, _, err := r.Send(t.Context())
	wantCode(t, err, godwit.CodeIO)
}

// TestFileCrash: after a cut at any operation a line that was confirmed is
// there. A line here has the length of a sector: the model of a disk tears
// sectors, and one that holds the end of the line before can take that with it.
func TestFileCrash(t *testing.T) {
	for _, m := range models {
		disk := crashfs.New(crashfs.Options{Model: m.model})
		done := 0
		disk.OnOp(func(op crashfs.Op) {
			if !op.Changes() {
				return
			}
			for _, k := range crashKinds(5, uint64(op.N)) {
				after := k.of(disk)
				var all []string
				for _, name := range []string{"r.1", "r"} { // as long as they are there
					b, _ := vfs.ReadFile(after, name, 1<<20)
					for line := range strings.Lines(string(b)) {
						all = append(all, line)
					}
				}
				for i := max(0, done-10); i < done; i++ {
					if n := strings.Count(strings.Join(all, ""), fmt.Sprintf("line %02d %0503d\n", i, i)); n < 1 {
						t.Errorf("%s, cut after %v (%s): line %d is there %d times", m.name, op, k.name, i, n)
					}
				}
			}
		})
		p := (&Reporter{}).newPlace(Place{URL: "file:///r", FS: disk, MaxBytes: 16 << 10})
		for i := range 80 {
			w, err := p.openFile()
			if err == nil {
				err = w.send(t.Context(), fmt.Appendf(nil, "line %02d %0503d", i, i))
				w.close()
			}
			if err != nil {
				t.Fatal(err)
			}
			if done++; t.Failed() {
				break
			}
		}
	}
}

func TestKey(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "key")
	public, made, err := NewKey(file, "station-7")
	if err != nil || !made || !strings.HasPrefix(public, "ssh-ed25519 AAAA") {
		t.Fatal(public, made, err)
	}
	again, made, err := NewKey(file, "other")
	if err != nil || made || again != public {
		t.Fatal(again, made, err)
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Error(info.Mode(), err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Error("something is left behind")
	}
	_, _, err = NewKey(filepath.Join(dir, "none", "key"), "")
	wantCode(t, err, godwit.CodeIO)
	wantCode(t, os.WriteFile(filepath.Join(dir, "text"), []byte("no key"), 0o600), "")
	_, made, err = NewKey(filepath.Join(dir, "text"), "")
	wantCode(t, err, godwit.CodeConfig)
	if made {
		t.Error("a file was overwritten")
	}
	if _, err := exec.LookPath("ssh-keygen"); err != nil {
		t.Skip("ssh-keygen is not installed")
	}
	out, err := exec.Command("ssh-keygen", "-y", "-f", file).CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != public+" station-7" {
		t.Errorf("%v: %s", err, out)
	}
	for i := range 9 { // padding of each length
		name := filepath.Join(dir, fmt.Sprint("padded", i))
		if _, _, err := NewKey(name, strings.Repeat("c", i)); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("ssh-keygen", "-y", "-f", name).CombinedOutput(); err != nil {
			t.Errorf("comment of %d: %s", i, out)
		}
	}
	for _, c := range []struct {
		args  string
		words string
	}{{"-t ecdsa -N ", "of the type ecdsa-sha2-nistp256"}, {"-t ed25519 -N secret", "passphrase"}, {"-t ed25519 -N ", ""}} {
		name := filepath.Join(dir, fmt.Sprint(len(c.words)))
		args := append(strings.Split(c.args, " "), "-q", "-f", name)
		if out, err := exec.Command("ssh-keygen", args...).CombinedOutput(); err != nil {
			t.Fatalf("%s", out)
		}
		_, err := loadKey(name)
		if c.words == "" && err != nil || c.words != "" && (err == nil || !strings.Contains(err.Error(), c.words) || godwit.CodeOf(err) != godwit.CodeConfig) {
			t.Errorf("%s: %v", c.args, err)
		}
	}
	// Its signatures are those of ssh-keygen, byte for byte.
	k, err := loadKey(file)
	if err != nil {
		t.Fatal(err)
	}
	ours, err := k.sign([]byte("message"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("ssh-keygen", "-Y", "sign", "-n", Namespace, "-f", file)
	cmd.Stdin = strings.NewReader("message")
	if theirs, err := cmd.Output(); err != nil || string(theirs) != ours {
		t.Errorf("%v\n%s\n%s", err, theirs, ours)
	}
}
