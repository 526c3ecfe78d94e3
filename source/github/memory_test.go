package github

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/source/github/fake"
)

// TestMemory: a tree of 100,000 files takes no more memory than a small one.
func TestMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("short: a tree of 100,000 files")
	}
	w := newWorld(t, GitHub)
	const files, folders = 100_000, 1_000
	list := filepath.Join(t.TempDir(), "list")
	f, err := os.Create(list)
	if err != nil {
		t.Fatal(err)
	}
	b := bufio.NewWriter(f)
	fmt.Fprint(b, "commit refs/heads/main\ncommitter A <a@example.org> 1800000000 +0000\ndata 0\ndeleteall\n")
	for i := range files {
		fmt.Fprintf(b, "M 100644 inline folder-%d/a-file-with-a-name-%d.py\ndata 1\n%d\n", i%folders, i, i%10)
	}
	b.Flush()
	f.Seek(0, 0)
	cmd := exec.Command("git", "-C", w.dir, "fast-import", "--quiet", "--force")
	cmd.Stdin = f
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("git fast-import: %v\n%s", err, out)
	}
	f.Close()
	w.git("tag", "v1.0.0")
	w.host.Publish(fake.Release{Tag: "v1.0.0"})

	// The answer is written down first, so that the host needs no memory either.
	out, err := exec.Command("git", "-C", w.dir, "ls-tree", "-r", "-t", "-l", "main").Output()
	if err != nil {
		t.Fatal(err)
	}
	answer := filepath.Join(t.TempDir(), "answer")
	if f, err = os.Create(answer); err != nil {
		t.Fatal(err)
	}
	b = bufio.NewWriter(f)
	fmt.Fprint(b, `{"sha":"x","url":"x","tree":[`)
	sep := ""
	for line := range strings.Lines(string(out)) {
		head, path, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		v := strings.Fields(head)
		fmt.Fprintf(b, `%s{"path":%q,"mode":%q,"type":%q,"sha":%q,"url":"https://api.github.com/repos/acme/station/git/blobs/%s"}`, sep, path, v[0], v[1], v[2], v[2])
		sep = ","
	}
	fmt.Fprint(b, `],"truncated":false}`)
	b.Flush()
	size, _ := f.Seek(0, 1)
	f.Close()
	out = nil
	w.before("git/trees/", func(rw http.ResponseWriter, r *http.Request) { http.ServeFile(rw, r, answer) })

	defer debug.SetGCPercent(debug.SetGCPercent(20))
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	before := m.HeapAlloc
	var peak atomic.Uint64
	stop, done := make(chan bool), make(chan bool)
	go func() {
		defer close(done)
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			if m.HeapAlloc > peak.Load() {
				peak.Store(m.HeapAlloc)
			}
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
			}
		}
	}()
	s := w.open()
	d, err := w.describe(s)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for e, err := range d.Listing {
		if err != nil {
			t.Fatal(err)
		}
		if e.Mode == godwit.File {
			n++
		}
	}
	close(stop)
	<-done
	if n != files {
		t.Errorf("%d files", n)
	}
	growth := int64(peak.Load()) - int64(before)
	t.Logf("an answer of %d bytes: %d bytes of heap", size, growth)
	if growth > 4<<20 {
		t.Errorf("the heap grew by %d bytes", growth)
	}
}
