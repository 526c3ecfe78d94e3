package main

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func page(b byte) []byte { return bytes.Repeat([]byte{b}, 2*sector) }

// on gives a disk of eight pages with power.
func on() *Disk {
	d := NewDisk(make([]byte, 8*2*sector))
	d.PowerOn()
	return d
}

func TestCutKeepsWhatWasFlushed(t *testing.T) {
	for fate := range fates {
		d := on()
		d.Write(page(1), 0, false)
		d.Flush()
		d.Write(page(2), 2*sector, true)
		if lost := d.Lose(fate, rand.New(rand.NewPCG(1, 2))); lost > 1 {
			t.Errorf("%v: %d writes open after a flush and a forced write", fate, lost)
		}
		d.PowerOn()
		p := make([]byte, 4*sector)
		d.Read(p, 0)
		if !bytes.Equal(p, append(page(1), page(2)...)) {
			t.Errorf("%v: a flushed or forced write is gone", fate)
		}
	}
}

func TestForcedWriteWinsOverAnOlderOpenOne(t *testing.T) {
	for seed := range uint64(50) {
		d := on()
		d.Write(page(1), 0, false)
		d.Write(page(2), 0, true)
		d.Lose(Scattered, rand.New(rand.NewPCG(seed, 0)))
		if !bytes.Equal(d.media[:2*sector], page(2)) {
			t.Fatalf("seed %d: the older write came back", seed)
		}
	}
}

// TestFates sees every outcome that a fate allows, and none that it does not.
func TestFates(t *testing.T) {
	for fate, want := range map[Fate]string{
		Forgotten: "0000",
		InOrder:   "0000 1100 1122",
		Scattered: "0000 0002 0020 0022 0100 0102 0120 0122 1000 1002 1020 1022 1100 1102 1120 1122",
	} {
		seen := map[string]bool{}
		for seed := range uint64(2000) {
			d := on()
			d.Write(page(1), 0, false)
			d.Write(page(2), 2*sector, false)
			d.Lose(fate, rand.New(rand.NewPCG(seed, 0)))
			var s strings.Builder
			for i := range 4 {
				s.WriteByte('0' + d.media[i*sector])
			}
			seen[s.String()] = true
		}
		for _, w := range strings.Fields(want) {
			if !seen[w] {
				t.Errorf("%v: never saw %s", fate, w)
			}
			delete(seen, w)
		}
		for s := range seen {
			t.Errorf("%v: saw %s, which cannot be", fate, s)
		}
	}
}

func TestArmedDiskDiesInsteadOfTheRequest(t *testing.T) {
	d := on()
	d.Arm(3)
	if !d.Write(page(1), 0, true) || !d.Flush() {
		t.Fatal("died too early")
	}
	select {
	case <-d.Dead():
		t.Fatal("died too early")
	default:
	}
	if d.Write(page(9), 0, true) || d.Flush() || d.Write(page(9), 0, true) {
		t.Error("answered without power")
	}
	<-d.Dead()
	d.Lose(Scattered, rand.New(rand.NewPCG(0, 0)))
	if d.media[0] != 1 {
		t.Error("wrote without power")
	}
}

// TestServedToQEMU uses the disk the way machines do, through the real client.
func TestServedToQEMU(t *testing.T) {
	tool, err := exec.LookPath("qemu-io")
	if err != nil {
		t.Skip("SKIPPED: no qemu-io here (apt: qemu-utils)")
	}
	d := on()
	socket := filepath.Join(t.TempDir(), "disk")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go d.Serve(l)
	out, err := exec.Command(tool, "-f", "raw", "nbd+unix:///?socket="+socket,
		"-c", "write -P 7 1024 1024", "-c", "flush", "-c", "write -P 8 4096 512", "-c", "read -P 8 4096 512", "-c", "read -P 7 1024 1024").CombinedOutput()
	if err != nil || bytes.Contains(out, []byte("failed")) || bytes.Contains(out, []byte("rror")) {
		t.Fatalf("qemu-io: %v\n%s", err, out)
	}
	if d.media[1024] != 7 || d.media[2047] != 7 || d.media[1023] != 0 || d.media[2048] != 0 {
		t.Error("what was flushed is not on the media")
	}
	if d.Flushes == 0 || d.Writes != 2 {
		t.Errorf("saw %d writes and %d flushes", d.Writes, d.Flushes)
	}
}

func TestJudge(t *testing.T) {
	for _, c := range []struct{ name, said, wrong string }{
		{"nothing yet", "CHECK 0", ""},
		{"from nowhere", "CHECK 1", "found version 1 where only [0] may be"},
		{"begun and done", "MAY 1|CHECK 1", ""},
		{"begun and not done", "MAY 1|CHECK 0", ""},
		{"promised and lost", "MAY 1|ACK 1|CHECK 0", "found version 0 where only [1] may be"},
		{"a check decides", "MAY 1|CHECK 0|CHECK 1", "found version 1 where only [0] may be"},
		{"back again", "MAY 1|ACK 1|MAY 0|CHECK 0", ""},
		{"one of two", "MAY 2|CHECK 2 0|CHECK 0", ""},
		{"no third", "MAY 2|ACK 2 1|CHECK 0", "found version 0 where only [1 2] may be"},
		{"broken", "BROKEN a b", "a b"},
		{"nonsense", "ACK x", `the guest says ACK "x"`},
		{"nothing said", "ACK", "the guest says ACK and no version"},
	} {
		t.Run(c.name, func(t *testing.T) {
			j, wrong := newJudge(), ""
			for line := range strings.SplitSeq(c.said, "|") {
				word, text, _ := strings.Cut(line, " ")
				wrong = j.hear(word, text)
			}
			if wrong != c.wrong {
				t.Errorf("says %q, want %q", wrong, c.wrong)
			}
		})
	}
}

func TestReportFailsWhenItShould(t *testing.T) {
	damaged := setting{fs: "ext4", layout: "slots", damage: "nosync"}
	for _, c := range []struct {
		name string
		t    *tally
		ok   bool
	}{
		{"right", &tally{checks: 1}, true},
		{"wrong", &tally{checks: 1, wrongs: []string{"x"}}, false},
		{"nothing checked", &tally{cuts: 3}, false},
		{"planted and seen", &tally{setting: damaged, checks: 1, wrongs: []string{"x"}}, true},
		{"planted and not seen", &tally{setting: damaged, checks: 1}, false},
		{"rig failed", &tally{checks: 1, errs: []error{io.EOF}}, false},
	} {
		if got := report(io.Discard, []*tally{c.t, {checks: 1}}); got != c.ok {
			t.Errorf("%s: verdict %v", c.name, got)
		}
	}
}

// TestArchive unpacks with the real program.
func TestArchive(t *testing.T) {
	tool, err := exec.LookPath("cpio")
	if err != nil {
		t.Skip("SKIPPED: no cpio here")
	}
	var b bytes.Buffer
	a := archive{w: &b}
	a.add("d", modeDir, nil)
	a.add("d/f", modeFile, []byte("hello"))
	a.add("x", modeExec, nil)
	if err := a.close(); err != nil {
		t.Fatal(err)
	}
	list := exec.Command(tool, "-tv", "--quiet")
	list.Stdin = &b
	out, err := list.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"drwxr-xr-x", "-rw-r--r--   1 root     root            5 ", "d/f", "-rwxr-xr-x"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("cpio does not list %q:\n%s", want, out)
		}
	}
}
