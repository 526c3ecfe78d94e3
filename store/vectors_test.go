package store

import (
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/vfs"
)

var write = flag.Bool("write-vectors", false, "write docs/vectors/store.json anew")

const vectorFile = "../docs/vectors/store.json"

type vectors struct {
	About  string `json:"about"`
	Record struct {
		Text    string            `json:"text"` // up to and with the sum line; line feeds up to 4096 bytes follow
		Meaning map[string]string `json:"meaning"`
	} `json:"record"`
	Listing struct {
		Hex     string `json:"hex"`
		Name    string `json:"name"`
		Entries []struct {
			Path   string `json:"path"`
			Mode   string `json:"mode"`
			Digest string `json:"digest"`
			Size   int64  `json:"size"`
		} `json:"entries"`
	} `json:"listing"`
}

func vectorRecord() Record {
	return Record{Seq: 7, Layout: Slots, Settled: true,
		Running:  Version{ID: strings.Repeat("3f", 20), Dir: "3f3f3f3f3f3f-0a1b2c", Ref: "refs/tags/v1.4.0", Name: "v1.4.0", Time: time.Unix(1700000000, 0).UTC(), Policy: "signed", Signers: "release@example.org", Listing: strings.Repeat("0a", 32)},
		Previous: Version{ID: strings.Repeat("2e", 20), Dir: "2e2e2e2e2e2e-ffffff", Ref: "refs/heads/main", Name: "main \"quoted\""},
		Trial:    Trial{Open: true, BootsLeft: 3, Boot: "b1", Since: 1500 * time.Millisecond},
		Rejected: []Rejection{{ID: strings.Repeat("1d", 20), Name: "v1.3.0", Reason: "the health check ended with exit code 1", At: time.Unix(1690000000, 0).UTC()}},
		Memory: godwit.Memory{Product: "station", Version: "v1.4.0", Time: time.Unix(1700000000, 0).UTC(), Channel: "stable", Sequence: 42, Orders: strings.Repeat("4a", 20),
			Clock: time.Unix(1700000000, 0).UTC(), Signers: "git-sha1:" + strings.Repeat("5b", 20), Base: strings.Repeat("6c", 32)}}
}

// The files in docs/vectors are what formats.md promises to others.
func TestVectors(t *testing.T) {
	fsys, err := vfs.OS(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer fsys.Close()
	s, err := Open(fsys, Options{})
	if err != nil {
		t.Fatal(err)
	}
	unlock, err := s.Lock()
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	entries := []godwit.Entry{
		{Path: "bin/run", Mode: godwit.Executable, Digest: digestOf([]byte("#!/bin/sh\n"), godwit.GitSHA1), Size: 10},
		{Path: "lib/__init__.py", Mode: godwit.File, Digest: digestOf(nil, godwit.SHA256), Size: 0},
		{Path: "link", Mode: godwit.Symlink, Digest: digestOf([]byte("bin/run"), godwit.GitSHA256), Size: godwit.UnknownSize},
	}
	name, err := s.saveListing("v", func(yield func(godwit.Entry, error) bool) {
		for _, e := range entries {
			if !yield(e, nil) {
				return
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	listing, err := vfs.ReadFile(fsys, s.state("list/"+name), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	record, err := vectorRecord().encode()
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	v.About = "Test vectors for docs/formats.md. The record's text is followed by line feeds up to 4096 bytes. Size -1 is unknown."
	v.Record.Text = strings.TrimRight(string(record), "\n") + "\n"
	v.Record.Meaning = map[string]string{"seq": "7", "running.name": "v1.4.0", "previous.name": `main "quoted"`, "trial.boots": "3", "rejected[0].name": "v1.3.0"}
	v.Listing.Hex, v.Listing.Name = hex.EncodeToString(listing), name
	for _, e := range entries {
		v.Listing.Entries = append(v.Listing.Entries, struct {
			Path   string `json:"path"`
			Mode   string `json:"mode"`
			Digest string `json:"digest"`
			Size   int64  `json:"size"`
		}{e.Path, e.Mode.String(), e.Digest.String(), e.Size})
	}
	if *write {
		b, _ := json.MarshalIndent(v, "", "  ")
		if err := os.WriteFile(vectorFile, append(b, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(vectorFile)
	if err != nil {
		t.Fatal(err)
	}
	var kept vectors
	if err := json.Unmarshal(b, &kept); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(kept, v) {
		t.Errorf("the code writes %+v\nthe vectors say %+v", v, kept)
	}
	if r, err := decodeRecord([]byte(kept.Record.Text)); err != nil || !reflect.DeepEqual(r, vectorRecord()) {
		t.Errorf("the record reads as %+v %v", r, err)
	}
	n := 0
	for e, err := range s.listing(name) {
		if err != nil || e != entries[n] {
			t.Errorf("entry %d: %+v %v", n, e, err)
		}
		n++
	}
	if n != len(entries) {
		t.Errorf("%d entries", n)
	}
}
