package git

import (
	"bytes"
	"compress/zlib"
	"context"
	"crypto/sha1"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/source/git/object"
	"github.com/godwit-ota/godwit/source/git/wire"
	"github.com/godwit-ota/godwit/vfs"
)

// evil is a host made by hand that answers every fetch with the objects it was
// given, whatever was asked.
type evil struct {
	objects []evilObject
	tip     string // commit
	tag     string // tag object of it, or ""
	damage  func(pack []byte) []byte
	fetches int
}

type evilObject struct {
	kind object.Type
	data []byte
}

func (e *evil) add(kind object.Type, data []byte) string {
	e.objects = append(e.objects, evilObject{kind, data})
	h := object.NewHasher(object.SHA1)
	h.Reset(kind, int64(len(data)))
	h.Write(data)
	id, err := h.ID()
	if err != nil {
		panic(err)
	}
	return id.String()
}

func (e *evil) tree(lines ...string) string {
	var b []byte
	for _, l := range lines {
		entry, id, _ := strings.Cut(l, "\t")
		sum, err := object.ParseID(id)
		if err != nil {
			panic(err)
		}
		b = append(append(append(b, entry...), 0), sum.Sum()...)
	}
	return e.add(object.Tree, b)
}

func (e *evil) commit(tree string) string {
	e.tip = e.add(object.Commit, []byte("tree "+tree+"\nauthor A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n\nevil\n"))
	return e.tip
}

func (e *evil) pack() []byte {
	deflater := zlib.NewWriter(nil)
	b := binary.BigEndian.AppendUint32([]byte("PACK\x00\x00\x00\x02"), uint32(len(e.objects)))
	for _, o := range e.objects {
		n := uint64(len(o.data))
		c := byte(o.kind<<4) | byte(n&15)
		for n >>= 4; n > 0; n >>= 7 {
			b = append(b, c|0x80)
			c = byte(n & 0x7f)
		}
		b = append(b, c)
		var z bytes.Buffer
		deflater.Reset(&z)
		deflater.Write(o.data)
		deflater.Close()
		b = append(b, z.Bytes()...)
	}
	sum := sha1.Sum(b)
	b = append(b, sum[:]...)
	if e.damage != nil {
		b = e.damage(b)
	}
	return b
}

func pkt(w io.Writer, s string) { fmt.Fprintf(w, "%04x%s", len(s)+4, s) }

func (e *evil) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
		pkt(w, "version 2\n")
		pkt(w, "ls-refs\n")
		pkt(w, "fetch=shallow filter\n")
		io.WriteString(w, "0000")
		return
	}
	w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
	body, _ := io.ReadAll(r.Body)
	if bytes.Contains(body, []byte("command=ls-refs")) {
		if e.tag != "" {
			pkt(w, e.tag+" refs/tags/v1.0.0 peeled:"+e.tip+"\n")
		}
		pkt(w, e.tip+" refs/heads/main\n")
		io.WriteString(w, "0000")
		return
	}
	e.fetches++
	pkt(w, "packfile\n")
	for pack := e.pack(); len(pack) > 0; {
		n := min(len(pack), 60000)
		pkt(w, "\x01"+string(pack[:n]))
		pack = pack[n:]
	}
	io.WriteString(w, "0000")
}

const someBlob = "\te69de29bb2d1d6434b8b29ae775ad8c2e48c5391"

func TestEvilHosts(t *testing.T) {
	tests := []struct {
		name string
		make func(e *evil)
		code godwit.Code
		text string
	}{
		{"good", func(e *evil) {
			e.commit(e.tree("100644 a" + someBlob))
			e.add(object.Blob, nil)
		}, "", ""},
		{"dot dot", func(e *evil) { e.commit(e.tree("40000 sub\t" + e.tree("40000 .."+someBlob))) }, godwit.CodeBadPath, `"sub"`},
		{"dot git", func(e *evil) { e.commit(e.tree("40000 .git" + someBlob)) }, godwit.CodeBadPath, `".git"`},
		{"slash in a name", func(e *evil) { e.commit(e.tree("100644 ../../etc/passwd" + someBlob)) }, godwit.CodeBadPath, "slash"},
		{"nested 10,000 deep", func(e *evil) {
			id := e.tree("100644 f" + someBlob)
			for range 10000 {
				id = e.tree("40000 d\t" + id)
			}
			e.commit(id)
		}, godwit.CodeLimit, "nested more than 128 deep"},
		{"a tree bomb", func(e *evil) {
			id := e.tree("100644 f" + someBlob)
			for range 12 {
				var lines []string
				for i := range 10 {
					lines = append(lines, fmt.Sprintf("40000 d%d\t%s", i, id))
				}
				id = e.tree(lines...)
			}
			e.commit(id)
		}, godwit.CodeLimit, "files and folders"},
		{"a long path", func(e *evil) {
			id := e.tree("100644 f" + someBlob)
			for range 20 {
				id = e.tree("40000 " + strings.Repeat("d", 250) + "\t" + id)
			}
			e.commit(id)
		}, godwit.CodeLimit, "bytes"},
		{"submodule", func(e *evil) { e.commit(e.tree("160000 lib/x"[:10] + someBlob)) }, godwit.CodeSubmodule, `"lib"`},
		{"no commit", func(e *evil) { e.commit(e.tree("100644 a" + someBlob)); e.objects = e.objects[:1] }, godwit.CodeMissingObject, "commit"},
		{"another commit", func(e *evil) {
			tree := e.tree("100644 a" + someBlob)
			e.commit(tree)
			e.objects[1].data = bytes.Replace(e.objects[1].data, []byte("evil"), []byte("EVIL"), 1)
		}, godwit.CodeMissingObject, "commit"},
		{"no tree", func(e *evil) { e.commit(e.tree("100644 a" + someBlob)); e.objects = e.objects[1:] }, godwit.CodeMissingObject, "tree"},
		{"no subtree", func(e *evil) {
			e.commit(e.tree("40000 a\t" + e.tree("100644 b"+someBlob)))
			e.objects = e.objects[1:]
		}, godwit.CodeMissingObject, "tree"},
		{"no blob", func(e *evil) { e.commit(e.tree("100644 a" + someBlob)) }, godwit.CodeMissingObject, `"a"`},
		{"a tree for a file", func(e *evil) {
			sub := e.tree("100644 b" + someBlob)
			e.commit(e.tree("100644 a\t" + sub))
		}, godwit.CodeMissingObject, `"a"`},
		{"a blob for a folder", func(e *evil) {
			e.commit(e.tree("40000 a" + someBlob))
			e.add(object.Blob, nil)
		}, godwit.CodeMissingObject, "tree"},
		{"a commit for a folder", func(e *evil) {
			inner := e.commit(e.tree("100644 b" + someBlob))
			e.commit(e.tree("40000 a\t" + inner))
		}, godwit.CodeBadObject, "should be a tree"},
		{"a commit without an end", func(e *evil) {
			e.tip = e.add(object.Commit, []byte("tree "+e.tree()+"\nauthor"))
		}, godwit.CodeBadObject, "ends in its header"},
		{"a huge commit", func(e *evil) {
			e.tip = e.add(object.Commit, make([]byte, 2<<20))
		}, godwit.CodeLimit, "1 MiB"},
		{"a malformed tree", func(e *evil) { e.commit(e.add(object.Tree, []byte("100644 a\x00short"))) }, godwit.CodeBadObject, "top folder"},
		{"a tag that lies", func(e *evil) {
			other := e.commit(e.tree())
			e.commit(e.tree("100644 a" + someBlob))
			e.tag = e.add(object.Tag, []byte("object "+other+"\ntype commit\ntag v1.0.0\n\n"))
		}, godwit.CodeBadObject, "the host says"},
		{"a tag chain", func(e *evil) {
			e.tag, _ = e.commit(e.tree()), 0
			kind := "commit"
			for range 20 {
				e.tag = e.add(object.Tag, []byte("object "+e.tag+"\ntype "+kind+"\ntag v1.0.0\n\n"))
				kind = "tag"
			}
		}, godwit.CodeBadObject, "and so on"},
		{"truncated", func(e *evil) {
			e.commit(e.tree())
			e.damage = func(b []byte) []byte { return b[:len(b)-25] }
		}, godwit.CodeBadObject, "ends early"},
		{"wrong trailer", func(e *evil) {
			e.commit(e.tree())
			e.damage = func(b []byte) []byte { b[len(b)-1]++; return b }
		}, godwit.CodeBadObject, "checksum"},
		{"no pack", func(e *evil) {
			e.commit(e.tree())
			e.damage = func(b []byte) []byte { return []byte("<html>Welcome to the hotel's network") }
		}, godwit.CodeBadObject, "not a Git pack"},
		{"two to the 60", func(e *evil) {
			e.commit(e.tree())
			e.damage = func(b []byte) []byte {
				return append(b[:12], 0xb0, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01)
			}
		}, godwit.CodeLimit, "allowed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := &evil{}
			tt.make(e)
			host := httptest.NewServer(e)
			defer host.Close()
			state, err := vfs.OS(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			defer state.Close()
			w := &world{t: t, cfg: Config{Remote: wire.Config{URL: host.URL + "/r.git", Attempts: 1}, State: state, Folder: "git"}}
			w.cfg.Branch, w.cfg.Limits.Files = "main", 100_000
			if e.tag != "" {
				w.cfg.Branch, w.cfg.Tag = "", "v1.0.0"
			}
			w.contents = make(map[godwit.Digest][]byte)
			rel, err := w.tryUpdate()
			if godwit.CodeOf(err) != tt.code {
				t.Fatalf("%v (%s), want %s", err, godwit.CodeOf(err), tt.code)
			}
			if err == nil {
				if rel.Commit != e.tip || len(w.tree) != 1 {
					t.Errorf("%+v", rel)
				}
				return
			}
			if !strings.Contains(err.Error(), tt.text) || len(err.Error()) > 400 {
				t.Errorf("%v: want %q", err, tt.text)
			}
			if len(w.tree) > 0 || e.fetches > 4 {
				t.Errorf("%d files installed, %d fetches", len(w.tree), e.fetches)
			}
		})
	}
}

// A host that changes its mind between poll and description.
func TestTipThatIsGone(t *testing.T) {
	w := newWorld(t, worldOptions{})
	w.commit(bigTree(3, 1))
	s := w.source()
	defer s.Close()
	tip, err := s.Tip(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	tip.Commit = strings.Repeat("12", 20)
	if _, err := s.Describe(context.Background(), godwit.Verified{Release: godwit.Release{Tip: tip}}, nil); err == nil || godwit.CodeOf(err) == godwit.CodeFailed {
		t.Errorf("%v (%s)", err, godwit.CodeOf(err))
	}
}
