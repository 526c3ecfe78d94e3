package object

import (
	"bytes"
	"fmt"
	"math/rand"
	"path/filepath"
	"strings"
	"testing"

	"github.com/godwit-ota/godwit/internal/githost"
)

// makeVersions fills a repository with three versions of a tree that have
// everything in them that packs are made of.
func makeVersions(t *testing.T, format string) (*githost.Repo, []string) {
	t.Helper()
	repo, err := githost.InitRepo(filepath.Join(t.TempDir(), "r.git"), format)
	if err != nil {
		t.Fatal(err)
	}
	rnd := rand.New(rand.NewSource(1))
	large := make([]byte, 300<<10)
	rnd.Read(large)
	var lines strings.Builder
	for i := range 4000 {
		fmt.Fprintf(&lines, "line %d of %x\n", i, rnd.Int63())
	}
	var commits []string
	for version := range 3 {
		changes := map[string]githost.Change{
			"large.bin": {Content: bytes.Clone(large)},
			"empty":     githost.Text(""),
			"text":      githost.Text(strings.ReplaceAll(lines.String(), "line 7", fmt.Sprint("version ", version))),
			"run":       githost.Exec("#!/bin/sh\n"),
		}
		for i := range 200 {
			name := fmt.Sprintf("dir%d/file%d", i%7, i)
			changes[name] = githost.Text(strings.Repeat(fmt.Sprintln(name, i*(version+1)/7), 20))
		}
		for range 20 {
			large[rnd.Intn(len(large))]++
		}
		c, err := repo.Commit("main", fmt.Sprint("version ", version), changes)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := repo.Tag(fmt.Sprint("v", version), c, "a tag"); err != nil {
			t.Fatal(err)
		}
		commits = append(commits, c)
	}
	return repo, commits
}

// Packs that git made, whole and thin, with and without OFS_DELTA, hold just
// what git says is in them.
func TestGitPacks(t *testing.T) {
	for _, format := range []Format{SHA1, SHA256} {
		for _, ofs := range []bool{true, false} {
			t.Run(fmt.Sprint(format, " ofs ", ofs), func(t *testing.T) {
				repo, _ := makeVersions(t, format.String())
				sink := newMemory()
				u := NewUnpacker(format, Limits{})
				for version := range 3 {
					revs := fmt.Sprintf("v%d\n", version)
					if version > 0 {
						revs += fmt.Sprintf("^v%d\n", version-1)
					}
					args := []string{"pack-objects", "--quiet", "--revs", "--thin", "--stdout", "--window=20"}
					if ofs {
						args = append(args, "--delta-base-offset")
					}
					pack, err := repo.GitInput(strings.NewReader(revs), args...)
					if err != nil {
						t.Fatal(err)
					}
					// Git (the method) cuts a line end; a pack may end with one.
					for len(pack) > 0 {
						stats, err := u.Unpack(strings.NewReader(pack), sink)
						if err == nil {
							if stats.Skipped > 0 {
								t.Errorf("%d skipped", stats.Skipped)
							}
							break
						}
						if strings.HasSuffix(pack, "\n") {
							t.Fatal(err)
						}
						pack += "\n"
					}
				}
				list, err := repo.Git("cat-file", "--batch-all-objects", "--batch-check=%(objectname) %(objecttype) %(objectsize)")
				if err != nil {
					t.Fatal(err)
				}
				lines := strings.Split(list, "\n")
				if len(lines) != len(sink.objects) {
					t.Errorf("%d objects, git has %d", len(sink.objects), len(lines))
				}
				for _, line := range lines {
					var name, kind string
					var size int
					fmt.Sscan(line, &name, &kind, &size)
					id, err := ParseID(name)
					if err != nil {
						t.Fatal(err)
					}
					o := sink.objects[id]
					if o.kind.String() != kind || len(o.data) != size || naiveID(format, o.kind, o.data) != id {
						t.Errorf("%s: got a %s of %d bytes", line, o.kind, len(o.data))
					}
				}
			})
		}
	}
}

// Memory for unpacking does not grow with the size of objects, and only by the
// table with their number.
func TestUnpackAllocations(t *testing.T) {
	p := new(packer)
	at := p.blob(strings.Repeat("0123456789abcdef", 1<<14))
	for i := range 2000 {
		if i%2 == 0 {
			p.blob(fmt.Sprint("blob ", i))
			continue
		}
		d := join(varint(1<<18), varint(8), []byte{0xb3, 1, 2, 8, 0})
		p.add(ofsDelta, uint64(len(d)), distance(p.Len()+12-at), d)
	}
	pack := p.pack()
	base := memoryObject{Blob, []byte(strings.Repeat("0123456789abcdef", 1<<14))}
	sink := &dropSink{base: base}
	u := NewUnpacker(SHA1, Limits{})
	allocs := testing.AllocsPerRun(5, func() {
		if _, err := u.Unpack(bytes.NewReader(pack), sink); err != nil {
			t.Fatal(err)
		}
	})
	// About five for each delta come from dropSink.Base; none for each object.
	if allocs > 5000 {
		t.Errorf("%.0f allocations for 2001 objects", allocs)
	}
	if size := u.table.entrySize(); size > 40 {
		t.Errorf("%d bytes an object", size)
	}
}

type dropSink struct{ base memoryObject }

func (s *dropSink) Base(ID) (Base, Type, error) {
	return memoryBase{bytes.NewReader(s.base.data)}, s.base.kind, nil
}
func (s *dropSink) Create(Type, int64) (Writer, error) { return s, nil }
func (s *dropSink) Write(p []byte) (int, error)        { return len(p), nil }
func (s *dropSink) Commit(ID) error                    { return nil }
func (s *dropSink) Abort()                             {}
