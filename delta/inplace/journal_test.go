package inplace

import (
	"bytes"
	"crypto/sha256"
	"io"
	"reflect"
	"strings"
	"testing"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/delta"
	"github.com/godwit-ota/godwit/vfs"
	"github.com/godwit-ota/godwit/vfs/crashfs"
)

func records() []*record {
	sum := func(s string) [32]byte { return sha256.Sum256([]byte(s)) }
	d := sum("new")
	git := godwit.GitSHA1.New(3)
	io.WriteString(git, "new")
	return []*record{
		{seq: 1, phase: reserving, patch: sum("patch"), new: godwit.MakeDigest(godwit.SHA256, d[:]), oldSize: 30000, newSize: 41000, oldSum: [4]byte{1, 2, 3}, kept: []byte("end")},
		{seq: 7, phase: moving, patch: sum("patch"), new: godwit.MakeDigest(godwit.GitSHA1, git.Sum(nil)), oldSize: 30000, newSize: 41000, moved: 8192, kept: []byte{}},
		{seq: 1 << 40, phase: writing, patch: sum("patch"), new: godwit.MakeDigest(godwit.SHA256, d[:]), oldSize: 30000, newSize: 41000, moved: 0, kept: bytes.Repeat([]byte("model"), 500)},
		{seq: 9, phase: done, patch: sum("patch"), new: godwit.MakeDigest(godwit.SHA256, d[:]), kept: []byte{}},
	}
}

func TestRecords(t *testing.T) {
	for _, r := range records() {
		b := r.append(make([]byte, 0, 8192), 8192)
		if got := parseRecord(b, 8192); !reflect.DeepEqual(got, r) {
			t.Errorf("%+v is read as %+v", r, got)
		}
		if parseRecord(b, 4096) != nil {
			t.Error("a slot of another size is read")
		}
		for i := range b {
			if parseRecord(b[:i], 8192) != nil {
				t.Error("short records are read")
			}
			b[i] ^= 4
			if parseRecord(b, 8192) != nil {
				t.Error("damage at", i, "is not seen")
			}
			b[i] ^= 4
		}
		// What is kept may have been made where it belongs.
		b2 := make([]byte, recordHead, 8192)
		b2 = append(b2, r.kept...)
		x := *r
		x.kept = b2[recordHead:]
		if !bytes.Equal(x.append(b2[:0], 8192), b) {
			t.Error("in place it is written differently")
		}
	}
}

// Whatever lies where the journal should be: it is read or it is not, and no
// memory is taken beyond what is there.
func FuzzJournal(f *testing.F) {
	for _, r := range records() {
		b := r.append(nil, Grain)
		f.Add(b, b[:100], true)
		f.Add(append(b, make([]byte, Grain-len(b))...), b, false)
	}
	f.Fuzz(func(t *testing.T, first, second []byte, sum bool) {
		slot := func(b []byte) string {
			if sum && len(b) >= recordHead {
				all := sha256.Sum256(b)
				b = append(bytes.Clone(b), all[:]...)
			}
			s := string(b[:min(len(b), Grain)])
			return s + strings.Repeat("\x00", Grain-len(s))
		}
		raw := crashfs.New(crashfs.Options{})
		if err := crashfs.Load(raw, ".", crashfs.Tree{"j": "f" + slot(first) + slot(second), "file": "fcontent"}); err != nil {
			t.Fatal(err)
		}
		s, err := Look(raw, "j")
		if err != nil {
			t.Fatal(err)
		}
		if err := Abandon(raw, "file", "j"); (err == nil) == s.OldGone {
			t.Fatal(s, err)
		}
		if b, err := vfs.ReadFile(raw, "file", 100); err != nil || string(b) != "content" {
			t.Fatal("the file has become", string(b), err)
		}
	})
}

// While a block is written, what lies before its end cannot be read; all else can.
func TestHidden(t *testing.T) {
	raw := crashfs.New(crashfs.Options{})
	content := strings.Repeat("0123456789", 10)
	if err := crashfs.Load(raw, ".", crashfs.Tree{"f": "f......" + content + "beyond"}); err != nil {
		t.Fatal(err)
	}
	f, err := raw.Open("f", vfs.Read)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for hidden := range int64(120) {
		o := &old{f: f, size: 100, shift: 6, hidden: hidden}
		want := []byte(content)
		for off := range int64(101) {
			for n := range 110 {
				b := make([]byte, n)
				k, err := o.ReadAt(b, off)
				if n > 0 && off < 100 && off+6 < hidden {
					if k != 0 || err != delta.ErrDamaged {
						t.Fatalf("%d bytes at %d, of which the first is gone: %d read, %v", n, off, k, err)
					}
					continue
				}
				end := min(off+int64(n), 100)
				if int64(k) != end-off && off < 100 || !bytes.Equal(b[:k], want[off:off+int64(k)]) || (err == io.EOF) != (off+int64(n) > 100 || off == 100) {
					t.Fatalf("%d bytes at %d, hidden before %d: %q, %v", n, off, hidden, b[:k], err)
				}
			}
		}
	}
}
