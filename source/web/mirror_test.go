package web_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/manifest"
	"github.com/godwit-ota/godwit/source/web"
	"github.com/godwit-ota/godwit/source/web/mirror"
)

// answers is a mirror that says what a function says.
type answers func(r mirror.Request) (*mirror.Answer, error)

func (f answers) Get(_ context.Context, r mirror.Request) (*mirror.Answer, error) { return f(r) }

func answer(status int, size int64, offset int64, body string) *mirror.Answer {
	return &mirror.Answer{Status: status, Size: size, Offset: offset, Body: io.NopCloser(strings.NewReader(body))}
}

// TestTransfersAskNoMoreThanNeeded counts requests where a transfer is resumed.
func TestTransfersAskNoMoreThanNeeded(t *testing.T) {
	big := tree["big.bin"]
	name := web.FileName(digestOf(big))
	other := content(9, len(big))
	for _, c := range []struct {
		title string
		first func(w http.ResponseWriter)
		want  []string
	}{
		{"it goes on where it broke", func(w http.ResponseWriter) {
			w.Header().Set("ETag", `"`+hexOf(big)[:16]+`"`)
			serve(w, big[:400_000], "716800")
		}, []string{name, name + " from 400000"}},
		{"a changed content comes whole, and not as the rest of another", func(w http.ResponseWriter) {
			w.Header().Set("ETag", `"old"`)
			serve(w, other[:400_000], "716800")
		}, []string{name, name + " from 400000"}},
	} {
		s := newShelf(t, published(t, "v1.0.0", tree))
		n := 0
		s.fault = func(w http.ResponseWriter, _ *http.Request, path string) bool {
			if path == name {
				if n++; n == 1 {
					c.first(w)
					return true
				}
			}
			return false
		}
		w := newWorld(t, web.Config{}, s)
		w.update(tree)
		got := slices.DeleteFunc(s.seen(), func(r string) bool { return !strings.HasPrefix(r, name) })
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q", c.title, got)
		}
	}
	// A server that ignores ranges sends it all, once.
	s := newShelf(t, published(t, "v1.0.0", tree))
	n := 0
	s.fault = func(w http.ResponseWriter, _ *http.Request, path string) bool {
		if path != name {
			return false
		}
		if n++; n == 1 {
			return serve(w, big[:400_000], "716800")
		}
		return serve(w, big, "716800")
	}
	w := newWorld(t, web.Config{}, s)
	w.update(tree)
	if n != 2 {
		t.Errorf("a server without ranges was asked %d times", n)
	}
}

// TestMirrorThatShrank: what is here is longer than what the mirror has now.
func TestMirrorThatShrank(t *testing.T) {
	big := tree["big.bin"]
	m := manifestOf(t, "v1.0.0", map[string][]byte{"big": big})
	shrunk, n := true, 0
	w := newWorld(t, web.Config{Mirrors: []mirror.Mirror{answers(func(r mirror.Request) (*mirror.Answer, error) {
		switch {
		case r.Path == web.ManifestName:
			return answer(mirror.OK, int64(len(m)), 0, string(m)), nil
		case r.Path != web.FileName(digestOf(big)):
			return answer(mirror.NotFound, -1, 0, ""), nil
		}
		switch n++; {
		case n == 1: // cut without an error
			return answer(mirror.OK, -1, 0, string(big[:500_000])), nil
		case r.Offset > 0 && shrunk:
			return answer(mirror.NotSatisfiable, -1, 0, ""), nil
		}
		return answer(mirror.OK, int64(len(big)), 0, string(big)), nil
	})}})
	w.update(map[string][]byte{"big": big})
	if n != 3 {
		t.Errorf("asked %d times", n)
	}
}

// TestDocumentCutShort: half a manifest is none.
func TestDocumentCutShort(t *testing.T) {
	m := manifestOf(t, "v1.0.0", tree)
	for size, want := range map[int64]godwit.Code{int64(len(m)): "", int64(len(m)) + 1: godwit.CodeNetwork, int64(len(m)) - 1: godwit.CodeNetwork, -1: ""} {
		w := newWorld(t, web.Config{Mirrors: []mirror.Mirror{answers(func(r mirror.Request) (*mirror.Answer, error) {
			return answer(mirror.OK, size, 0, string(m)), nil
		})}})
		_, err := w.src.Tip(context.Background())
		wantCode(t, err, want)
	}
}

// TestMoreSignatures: another signer signs the same channel, on a server that
// knows no ETags.
func TestMoreSignatures(t *testing.T) {
	sig := "one"
	w := newWorld(t, web.Config{Channel: "stable", Mirrors: []mirror.Mirror{answers(func(r mirror.Request) (*mirror.Answer, error) {
		if r.Path == web.ChannelName+web.Suffix {
			return answer(mirror.OK, -1, 0, sig), nil
		}
		return answer(mirror.OK, -1, 0, "{}"), nil
	})}})
	for _, sig = range []string{"one", "one two"} {
		st, err := w.src.Channel(context.Background(), w.tip())
		if err != nil || string(st.Signatures) != sig {
			t.Errorf("%q, %v", st.Signatures, err)
		}
		w.restart()
	}
}

// TestHostileMirrors: whatever the other mirrors give, the good one has its turn,
// and is not blamed for what they do.
func TestHostileMirrors(t *testing.T) {
	shelf := func(version string, signed bool) mirror.Mirror {
		m := manifestOf(t, version, tree)
		return answers(func(r mirror.Request) (*mirror.Answer, error) {
			switch {
			case r.Path == web.ManifestName:
				return answer(mirror.OK, -1, 0, string(m)), nil
			case r.Path == web.ManifestName+web.Suffix && signed:
				return answer(mirror.OK, -1, 0, "by the one who made "+version), nil
			}
			return answer(mirror.NotFound, -1, 0, ""), nil
		})
	}
	down := answers(func(mirror.Request) (*mirror.Answer, error) {
		return nil, godwit.Fail(godwit.CodeNetwork, nil, "it is down", "")
	})
	good := "by the one who made v1.0.0"
	for _, c := range []struct {
		title   string
		mirrors []mirror.Mirror
		runs    int // until the good one was asked
	}{
		{"one changes the manifest and has no signature", []mirror.Mirror{shelf("v6.6.6", false), shelf("v1.0.0", true)}, 2},
		{"one is copied by half", []mirror.Mirror{shelf("v1.0.1", false), shelf("v1.0.0", true), shelf("v1.0.0", true)}, 2},
		{"two of three", []mirror.Mirror{shelf("v6.6.6", true), shelf("v7.7.7", true), shelf("v1.0.0", true)}, 3},
		{"three of four, and one is down", []mirror.Mirror{shelf("v6.6.6", true), down, shelf("v7.7.7", false), shelf("v8.8.8", true), shelf("v1.0.0", true)}, 4},
	} {
		w := newWorld(t, web.Config{Mirrors: c.mirrors})
		for run := 1; ; run++ {
			d := w.describe(w.tip())
			if string(d.Statement.Signatures) == good && d.Commit == hexOf(manifestOf(t, "v1.0.0", tree)) {
				if run != c.runs {
					t.Errorf("%s: %d runs", c.title, run)
				}
				break
			}
			if string(d.Statement.Signatures) == good || run > 10 {
				t.Fatalf("%s: run %d: %q for another manifest", c.title, run, d.Statement.Signatures)
			}
			w.src.Discard()
			w.restart()
		}
		// And it stays with it.
		w.restart()
		if d := w.describe(w.tip()); string(d.Statement.Signatures) != good {
			t.Errorf("%s: back at another mirror", c.title)
		}
	}
}

// TestWhichErrorCounts: where trying again may help, the error says so, whatever
// the other mirrors say.
func TestWhichErrorCounts(t *testing.T) {
	m := manifestOf(t, "v1.0.0", map[string][]byte{"a": []byte("1")})
	with := func(then func() (*mirror.Answer, error)) mirror.Mirror {
		return answers(func(r mirror.Request) (*mirror.Answer, error) {
			if r.Path == web.ManifestName {
				return answer(mirror.OK, -1, 0, string(m)), nil
			}
			return then()
		})
	}
	wrong := with(func() (*mirror.Answer, error) { return answer(mirror.OK, 1, 0, "2"), nil })
	down := with(func() (*mirror.Answer, error) {
		return nil, godwit.Fail(godwit.CodeNetwork, errors.New("down"), "it is down", "")
	})
	lacks := with(func() (*mirror.Answer, error) { return answer(mirror.Gone, -1, 0, ""), nil })
	for _, c := range []struct {
		mirrors []mirror.Mirror
		want    godwit.Code
	}{
		{[]mirror.Mirror{wrong, down}, godwit.CodeNetwork}, {[]mirror.Mirror{down, wrong}, godwit.CodeNetwork}, {[]mirror.Mirror{lacks, down}, godwit.CodeNetwork},
		{[]mirror.Mirror{wrong, lacks}, godwit.CodeBadObject}, {[]mirror.Mirror{lacks, lacks}, godwit.CodeNetwork},
	} {
		w := newWorld(t, web.Config{Mirrors: c.mirrors})
		wantCode(t, w.fetch(w.describe(w.tip())), c.want)
	}
	// What went wrong on this device is no mirror's fault.
	w := newWorld(t, web.Config{Mirrors: []mirror.Mirror{wrong, wrong}})
	d := w.describe(w.tip())
	n := 0
	err := w.src.Fetch(context.Background(), d, d.Listing, full{w.device, &n})
	wantCode(t, err, godwit.CodeDiskFull)
	if n != 1 {
		t.Errorf("a full disk was tried %d times", n)
	}
}

// full is a device without space.
type full struct {
	device
	n *int
}

func (f full) Create(int64) (godwit.NewObject, error) {
	*f.n++
	return nil, godwit.Fail(godwit.CodeDiskFull, nil, "full", "")
}

// TestStopped: a fetch that was stopped keeps what came, and asks no other mirror.
func TestStopped(t *testing.T) {
	big := tree["big.bin"]
	m := manifestOf(t, "v1.0.0", map[string][]byte{"big": big})
	ctx, stop := context.WithCancel(context.Background())
	asked := 0
	one := answers(func(r mirror.Request) (*mirror.Answer, error) {
		if r.Path == web.ManifestName {
			return answer(mirror.OK, -1, 0, string(m)), nil
		}
		if !strings.HasPrefix(r.Path, web.Files) {
			return answer(mirror.NotFound, -1, 0, ""), nil
		}
		asked++
		a := answer(mirror.OK, int64(len(big)), 0, "")
		a.Body = io.NopCloser(io.MultiReader(bytes.NewReader(big[:300_000]), stopping{stop}))
		return a, nil
	})
	w := newWorld(t, web.Config{Mirrors: []mirror.Mirror{one, one}})
	d := w.describe(w.tip())
	if err := w.src.Fetch(ctx, d, d.Listing, w.device); err == nil || asked != 1 {
		t.Errorf("%v after %d requests", err, asked)
	}
	if info, err := w.cfg.State.Lstat("state/web/part-" + hexOf(big)); err != nil || info.Size != 300_000 {
		t.Error(info, err)
	}
}

type stopping struct{ stop func() }

func (s stopping) Read([]byte) (int, error) {
	s.stop()
	return 0, context.Canceled
}

// TestMemory: a manifest of 100,000 files is brought and listed in little memory.
func TestMemory(t *testing.T) {
	var b bytes.Buffer
	mw := manifest.NewWriter(&b, manifest.Head{Version: "v1.0.0"})
	const n = 100_000
	for i := range n {
		if err := mw.Add(manifest.File{Entry: godwit.Entry{Path: fmt.Sprintf("lib/part%03d/module%06d.py", i/1000, i), Mode: godwit.File, Size: 100, Digest: digestOf([]byte{byte(i), byte(i >> 8), byte(i >> 16)})}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := mw.Close(); err != nil {
		t.Fatal(err)
	}
	m := b.Bytes()
	w := newWorld(t, web.Config{Mirrors: []mirror.Mirror{answers(func(r mirror.Request) (*mirror.Answer, error) {
		if r.Path != web.ManifestName {
			return answer(mirror.NotFound, -1, 0, ""), nil
		}
		return &mirror.Answer{Status: mirror.OK, Size: int64(len(m)), Body: io.NopCloser(bytes.NewReader(m))}, nil
	})}})
	heap := func() int64 {
		var s runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&s)
		return int64(s.HeapAlloc)
	}
	before := heap()
	most := int64(0)
	count := 0
	for _, err := range w.describe(w.tip()).Listing {
		if err != nil {
			t.Fatal(err)
		}
		if count++; count%20_000 == 0 {
			most = max(most, heap()-before)
		}
	}
	if count != n || most > 1<<20 {
		t.Errorf("%d files; the heap grew by %d bytes", count, most)
	}
}
