package store

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/vfs"
)

func sampleRecord() Record {
	at := time.Unix(1700000000, 0).UTC()
	v := func(n string) Version {
		return Version{ID: strings.Repeat(n, 40), Dir: n + "-dir", Ref: "refs/tags/" + n, Name: "v \"" + n + "\"\n", Tag: "t" + n, Time: at, Policy: "signed", Signers: "a@b, \"c\"", Hook: "post.py", Undo: "undo.py", Rules: "r", Listing: strings.Repeat("f", 64), At: at}
	}
	return Record{Seq: 41, Layout: Slots, Running: v("1"), Previous: v("2"), Leaving: v("3"), Older: []Version{v("4"), v("5")},
		Restart:  "boot",
		Trial:    Trial{Open: true, BootsLeft: 2, Boot: "boot", Since: time.Second},
		Rejected: []Rejection{{ID: "x", Name: "bad", Reason: "it was bad", At: at}},
		Memory:   godwit.Memory{Product: "p", Version: "v9", Time: at, Channel: "stable", Sequence: 1<<63 + 1, Orders: "o", Clock: at.Add(time.Hour), Signers: "git-sha1:1", Revoked: "git-sha1:2", Base: "b"}}
}

func TestRecordRoundTrip(t *testing.T) {
	for _, r := range []Record{{}, sampleRecord()} {
		b, err := r.encode()
		if err != nil || len(b) != recordSize {
			t.Fatal(len(b), err)
		}
		got, err := decodeRecord(b)
		if err != nil || !reflect.DeepEqual(got, r) {
			t.Errorf("got %+v %v\nwant %+v", got, err, r)
		}
	}
}

// Every torn mixture of two records, sector by sector, is one of the two or
// invalid.
func TestTornRecord(t *testing.T) {
	a := sampleRecord()
	b := sampleRecord()
	b.Seq, b.Rejected, b.Older = 43, nil, nil
	ba, _ := a.encode()
	bb, _ := b.encode()
	valid := 0
	for mask := range 1 << (recordSize / 512) {
		torn := append([]byte(nil), ba...)
		for s := range recordSize / 512 {
			if mask>>s&1 == 1 {
				copy(torn[s*512:(s+1)*512], bb[s*512:])
			}
		}
		got, err := decodeRecord(torn)
		if err != nil {
			continue
		}
		valid++
		if !reflect.DeepEqual(got, a) && !reflect.DeepEqual(got, b) {
			t.Fatalf("mask %b: %+v", mask, got)
		}
	}
	if valid < 2 {
		t.Error("not even the whole records were read")
	}
}

func TestRecordDropsOldRejectionsFirst(t *testing.T) {
	r := sampleRecord()
	for range maxRejected {
		r.Rejected = append(r.Rejected, Rejection{ID: "y", Reason: strings.Repeat("z", 400)})
	}
	b, err := r.encode()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := decodeRecord(b); err != nil || len(got.Rejected) == 0 || got.Rejected[0].ID != "x" {
		t.Errorf("%+v %v", got.Rejected, err)
	}
	r.Running.Name = strings.Repeat("n", recordSize)
	if _, err := r.encode(); godwit.CodeOf(err) != godwit.CodeLimit {
		t.Error(err)
	}
}

func TestNewerState(t *testing.T) {
	fsys, err := vfs.OS(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer fsys.Close()
	text := strings.Replace(string(sampleRecord().text()), "godwit-record 2", "godwit-record 3", 1) + "future \"field\"\n"
	d := digestOf([]byte(text), godwit.SHA256)
	fsys.Mkdir(".godwit")
	if err := vfs.WriteFile(fsys, ".godwit/record.1", []byte(text+"sum "+d.Hex()+"\n")); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(fsys, Options{}); godwit.CodeOf(err) != godwit.CodeNewerState {
		t.Error(err)
	}
}

func FuzzRecord(f *testing.F) {
	b, _ := sampleRecord().encode()
	f.Add(b)
	f.Add([]byte("godwit-record 2\nsum \n"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		// A checksum keeps the fuzzer out; give it one.
		if i := strings.LastIndex(string(b), "\nsum "); i >= 0 && len(b) >= i+5+64 {
			copy(b[i+5:], digestOf(b[:i+1], godwit.SHA256).Hex())
		}
		r, err := decodeRecord(b)
		if err != nil {
			return
		}
		again, err := r.encode()
		if err != nil {
			return
		}
		// What only an odd record says, such as the time of a trial that is not open,
		// goes when it is written; nothing else does, and nothing comes.
		got, err := decodeRecord(again)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := got.encode(); err != nil || !bytes.Equal(b, again) {
			t.Errorf("%+v became %+v (%v)", r, got, err)
		}
	})
}

func FuzzListing(f *testing.F) {
	fsys, err := vfs.OS(f.TempDir())
	if err != nil {
		f.Fatal(err)
	}
	s, err := Open(fsys, Options{})
	if err != nil {
		f.Fatal(err)
	}
	unlock, err := s.Lock()
	if err != nil {
		f.Fatal(err)
	}
	defer unlock()
	name, err := s.saveListing("seed", func(yield func(godwit.Entry, error) bool) {
		_ = yield(godwit.Entry{Path: "a", Mode: godwit.File, Digest: digestOf(nil, godwit.GitSHA1), Size: -1}, nil) &&
			yield(godwit.Entry{Path: "b/c", Mode: godwit.Symlink, Digest: digestOf(nil, godwit.SHA256), Size: 7}, nil)
	})
	if err != nil {
		f.Fatal(err)
	}
	seed, err := vfs.ReadFile(fsys, s.state("list/"+name), 1<<20)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add(seed[:40])
	f.Fuzz(func(t *testing.T, b []byte) {
		d := digestOf(b, godwit.SHA256)
		if err := vfs.WriteFile(fsys, s.state("list/"+d.Hex()), append(b, d.Sum()...)); err != nil {
			t.Fatal(err)
		}
		n := 0
		for e, err := range s.listing(d.Hex()) {
			if err != nil && godwit.CodeOf(err) != godwit.CodeDamaged {
				t.Fatal(err)
			}
			if n++; err == nil && (e.Path == "" || n > len(b)) {
				t.Fatalf("entry %d: %+v", n, e)
			}
		}
		if x, err := s.index(d.Hex()); err == nil {
			x.find(digestOf(nil, godwit.SHA256), func(godwit.Entry) bool { return true })
		}
		vfs.RemoveAll(fsys, s.state("list/"+d.Hex()))
	})
}
