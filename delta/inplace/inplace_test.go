package inplace_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"testing"

	"pgregory.net/rapid"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/delta"
	"github.com/godwit-ota/godwit/delta/diff"
	"github.com/godwit-ota/godwit/delta/inplace"
	"github.com/godwit-ota/godwit/vfs"
	"github.com/godwit-ota/godwit/vfs/crashfs"
)

// modelled is an in-place patch that draws from the old content.
func modelled(old, new []byte, slack, block int64) []byte {
	patch, report, err := diff.Make(context.Background(), old, new, diff.Options{Tier: delta.Tiny, Budget: 1, Slack: slack, Block: block})
	if err != nil {
		panic(err)
	}
	if report.Header.Block == 0 || report.Header.Method != delta.Modelled {
		panic("the patch is not modelled")
	}
	return patch
}

func TestRealDisk(t *testing.T) {
	for _, w := range turns(t) {
		o, err := vfs.OS(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		defer o.Close()
		if err := crashfs.Load(o, ".", crashfs.Tree{file: "x" + string(w.old), "state": "d"}); err != nil {
			t.Fatal(err)
		}
		var last, total int64
		j := w.job(o)
		j.Progress = func(d, n int64) {
			if d < last {
				t.Error(w.name, "went back from", last, "to", d)
			}
			last, total = d, n
		}
		if err := j.Run(t.Context(), make([]byte, inplace.Memory(delta.Tiny))); err != nil {
			t.Fatal(w.name, err)
		}
		got, err := crashfs.Dump(o, ".", nil)
		if err != nil {
			t.Fatal(err)
		}
		if diff := crashfs.Diff(got, crashfs.Tree{"app": "d", "state": "d", file: "x" + string(w.new)}); diff != "" || last != total {
			t.Error(w.name, last, "of", total, diff)
		}
		if err := w.run(o); err != nil {
			t.Error(w.name, "the second time:", err)
		}
	}
}

// Nothing is changed before all is known to be right.
func TestRefuses(t *testing.T) {
	w := turns(t)[0]
	flip := func(b []byte, at int) []byte { b = bytes.Clone(b); b[at] ^= 1; return b }
	mem := inplace.Memory(delta.Tiny)
	for _, c := range []struct {
		name string
		old  []byte
		mem  int
		job  func(j *inplace.Job)
		want error
	}{
		{"a damaged patch", w.old, mem, func(j *inplace.Job) { j.Patch = bytes.NewReader(flip(w.patch, 5000)) }, delta.ErrDamaged},
		{"a short patch", w.old, mem, func(j *inplace.Job) { j.PatchSize-- }, delta.ErrDamaged},
		{"no patch", w.old, mem, func(j *inplace.Job) { j.Patch = bytes.NewReader(flip(w.patch, 0)) }, delta.ErrNoPatch},
		{"too little memory", w.old, mem - 1, nil, delta.ErrMemory},
		{"another old version", flip(w.old, 29999), mem, nil, delta.ErrWrongOld},
		{"a longer old version", append(bytes.Clone(w.old), 0), mem, nil, delta.ErrWrongOld},
		{"not for this", w.old, mem, func(j *inplace.Job) {
			p := stored(w.old, w.new, 0, 0)
			*j = *turn{patch: p, new: w.new}.job(j.FS)
		}, inplace.ErrUnfit},
		{"blocks that share sectors", w.old, mem, func(j *inplace.Job) {
			p := stored(w.old, w.new, 8192, 1000)
			*j = *turn{patch: p, new: w.new}.job(j.FS)
		}, inplace.ErrUnfit},
		{"no file", w.old, mem, func(j *inplace.Job) { j.File = "app/none" }, fs.ErrNotExist},
	} {
		raw, err := turn{old: c.old}.disk(crashfs.Options{})
		if err != nil {
			t.Fatal(err)
		}
		j := w.job(raw)
		if c.job != nil {
			c.job(j)
		}
		if c.want == inplace.ErrUnfit || c.want == delta.ErrWrongOld {
			p := make([]byte, j.PatchSize)
			j.Patch.ReadAt(p, 0)
			if _, err := inplace.Rehearse(p, c.old); err != c.want {
				t.Errorf("%s, rehearsed: %v", c.name, err)
			}
		}
		if err := j.Run(t.Context(), make([]byte, c.mem)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
		if what := is(raw, c.old); what != "" {
			t.Errorf("%s: %s", c.name, what)
		}
	}
}

// A disk that is too small by any number of bytes is found out while the old
// version is there; with a little more room it goes on.
func TestRoom(t *testing.T) {
	for _, w := range turns(t) {
		raw, err := w.disk(crashfs.Options{})
		if err != nil {
			t.Fatal(err)
		}
		used := raw.Used()
		var most int64
		raw.OnOp(func(crashfs.Op) { most = max(most, raw.Used()) })
		if err := w.run(raw); err != nil {
			t.Fatal(err)
		}
		for lack := int64(1); lack < most-used; lack = lack*2 + 1 {
			small, err := w.disk(crashfs.Options{Capacity: most - lack})
			if err != nil {
				t.Fatal(err)
			}
			if err := w.run(small); !vfs.Full(err) {
				t.Errorf("%s: %d bytes too few: %v", w.name, lack, err)
			}
			if err := inplace.Abandon(small, file, journal); err != nil {
				t.Errorf("%s: %d bytes too few: %v", w.name, lack, err)
			}
			if what := is(small, w.old); what != "" {
				t.Errorf("%s: %d bytes too few: %s", w.name, lack, what)
			}
			small.Resize(most)
			if err := w.run(small); err != nil || is(small, w.new) != "" {
				t.Errorf("%s: with room again: %v %s", w.name, err, is(small, w.new))
			}
		}
	}
}

// Another job: the one before is given up while that can be, and else has to be
// finished first.
func TestAnotherJob(t *testing.T) {
	all := turns(t)
	w, other := all[0], all[1]
	trial, err := w.disk(crashfs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	first := trial.Ops()
	if err := w.run(trial); err != nil {
		t.Fatal(err)
	}
	for stop := first; stop <= trial.Ops(); stop++ {
		raw, err := w.disk(crashfs.Options{})
		if err != nil {
			t.Fatal(err)
		}
		raw.StopAt(stop)
		w.run(raw)
		raw.StopAt(-1)
		s, err := inplace.Look(raw, journal)
		if err != nil {
			t.Fatal(err)
		}
		err = other.run(raw)
		switch {
		case is(raw, w.new) == "": // which is no old version of the other
			if !errors.Is(err, delta.ErrWrongOld) {
				t.Fatalf("after %d: %v", stop, err)
			}
		case s.OldGone:
			if err != inplace.ErrOther {
				t.Fatalf("after %d: %v", stop, err)
			}
			if err := w.run(raw); err != nil || is(raw, w.new) != "" {
				t.Fatalf("after %d: %v %s", stop, err, is(raw, w.new))
			}
		default:
			if err != nil || is(raw, other.new) != "" {
				t.Fatalf("after %d: %v %s", stop, err, is(raw, other.new))
			}
		}
	}
}

func TestContext(t *testing.T) {
	w := turns(t)[0]
	raw, err := w.disk(crashfs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; ; n++ {
		ctx, cancel := context.WithCancel(context.Background())
		j := w.job(raw)
		j.Progress = func(done, _ int64) { cancel() }
		err := j.Run(ctx, make([]byte, inplace.Memory(delta.Tiny)))
		cancel()
		if err == nil {
			if n < 5 || is(raw, w.new) != "" {
				t.Error(n, is(raw, w.new))
			}
			return
		}
		if err != context.Canceled || n > 100 {
			t.Fatal(n, err)
		}
	}
}

// A disk that does not keep what it was given is found out at the end at last.
func TestLost(t *testing.T) {
	for _, w := range turns(t) {
		if len(w.new) == 0 {
			continue
		}
		raw, err := w.disk(crashfs.Options{})
		if err != nil {
			t.Fatal(err)
		}
		damaged := false
		j := w.job(raw)
		j.Progress = func(done, total int64) {
			if done >= int64(len(w.old)+len(w.new)) && !damaged {
				damaged = true
				f, err := raw.Open(file, vfs.Write)
				if err != nil {
					t.Fatal(err)
				}
				f.WriteAt([]byte{w.new[0] ^ 1}, 0)
				f.Close()
			}
		}
		if err := j.Run(t.Context(), make([]byte, inplace.Memory(delta.Tiny))); err != inplace.ErrLost {
			t.Error(w.name, err)
		}
		if s, err := inplace.Look(raw, journal); err != nil || !s.OldGone {
			t.Error(w.name, s, err)
		}
	}
}

func TestRandom(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		old := random(rapid.Uint64().Draw(t, "seed"), rapid.IntRange(1, 60000).Draw(t, "old"))
		new := edited(rapid.Uint64().Draw(t, "edits"), append(bytes.Clone(old), 1), rapid.IntRange(0, 30000).Draw(t, "grow"))
		new = new[:rapid.IntRange(0, len(new)).Draw(t, "new")]
		slack := inplace.Grain * int64(rapid.IntRange(0, 9).Draw(t, "slack"))
		block := inplace.Grain * int64(rapid.IntRange(1, 9).Draw(t, "block"))
		w := turn{old: old, new: new, patch: stored(old, new, slack, block)}
		if rapid.Bool().Draw(t, "modelled") {
			p, report, err := diff.Make(context.Background(), old, new, diff.Options{Tier: delta.Tiny, Budget: 1, Slack: slack, Block: block})
			if err != nil {
				t.Fatal(err)
			}
			if report.Header.Block > 0 {
				w.patch = p
			}
		}
		if got, err := inplace.Rehearse(w.patch, old); err != nil || !bytes.Equal(got, new) {
			t.Fatal("rehearsed:", err)
		}
		raw, err := w.disk(crashfs.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for left := 100; ; left-- {
			n := rapid.IntRange(1, 60).Draw(t, "operations")
			raw.StopAt(raw.Ops() + n)
			err := w.run(raw)
			raw.StopAt(-1)
			if err == nil {
				break
			}
			if !errors.Is(err, crashfs.ErrStopped) {
				t.Fatal(err)
			}
			if left == 0 {
				if err := w.run(raw); err != nil {
					t.Fatal(err)
				}
				break
			}
			raw = raw.Crash(crashfs.Seeded(rapid.Uint64().Draw(t, "tears")))
		}
		if what := is(raw, new); what != "" {
			t.Fatal(what)
		}
	})
}

// Git blob ids will do as well.
func TestGitDigest(t *testing.T) {
	w := turns(t)[0]
	raw, err := w.disk(crashfs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	j := w.job(raw)
	h := godwit.GitSHA1.New(int64(len(w.new)))
	h.Write(w.new)
	j.New = godwit.MakeDigest(godwit.GitSHA1, h.Sum(nil))
	if err := j.Run(t.Context(), make([]byte, inplace.Memory(delta.Tiny))); err != nil || is(raw, w.new) != "" {
		t.Error(err, is(raw, w.new))
	}
}
