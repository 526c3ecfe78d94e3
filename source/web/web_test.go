package web_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/internal/webclient"
	"github.com/godwit-ota/godwit/manifest"
	"github.com/godwit-ota/godwit/source/web"
	"github.com/godwit-ota/godwit/source/web/mirror"
	"github.com/godwit-ota/godwit/source/web/server"
	"github.com/godwit-ota/godwit/vfs"
)

func digestOf(b []byte) godwit.Digest {
	sum := sha256.Sum256(b)
	return godwit.MakeDigest(godwit.SHA256, sum[:])
}

func hexOf(b []byte) string { return digestOf(b).Hex() }

// content is n bytes that differ from those of another seed.
func content(seed, n int) []byte {
	b := make([]byte, n)
	x := uint32(seed)*2654435761 + 1
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}

// A shelf is a real static server for a published folder, with faults.
type shelf struct {
	*httptest.Server
	mu    sync.Mutex
	files map[string][]byte
	log   []string // requests, as "PATH", "PATH from N", "PATH 304"
	// fault answers a request instead of the shelf if it returns true.
	fault func(w http.ResponseWriter, r *http.Request, path string) bool
}

func newShelf(t *testing.T, files map[string][]byte) *shelf {
	s := &shelf{files: maps.Clone(files)}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *shelf) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	path := strings.TrimPrefix(r.URL.Path, "/pub/")
	entry := path
	if from := r.Header.Get("Range"); from != "" {
		entry += " from " + strings.TrimSuffix(strings.TrimPrefix(from, "bytes="), "-")
	}
	s.log = append(s.log, entry)
	if s.fault != nil && s.fault(w, r, path) {
		return
	}
	b, ok := s.files[path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	etag := `"` + hexOf(b)[:16] + `"`
	if r.Header.Get("If-None-Match") == etag {
		s.log[len(s.log)-1] += " 304"
	}
	w.Header().Set("ETag", etag)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
}

// seen gives the requests since the last call.
func (s *shelf) seen() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.log
	s.log = nil
	return l
}

// A device takes what a source brings.
type device map[godwit.Digest][]byte

func (d device) Has(id godwit.Digest) bool { _, ok := d[id]; return ok }

func (d device) Open(id godwit.Digest) (godwit.Object, error) {
	b, ok := d[id]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return oldContent{bytes.NewReader(b)}, nil
}

type oldContent struct{ *bytes.Reader }

func (o oldContent) Close() error { return nil }
func (o oldContent) Size() int64  { return o.Reader.Size() }

func (d device) Create(size int64) (godwit.NewObject, error) {
	return &newContent{d: d, size: size}, nil
}

type newContent struct {
	d    device
	size int64
	b    []byte
}

func (n *newContent) Write(p []byte) (int, error) {
	n.b = append(n.b, p...)
	if int64(len(n.b)) > n.size {
		panic("more is written than was announced")
	}
	return len(p), nil
}
func (n *newContent) ReadAt(p []byte, off int64) (int, error) {
	return bytes.NewReader(n.b).ReadAt(p, off)
}
func (n *newContent) Abort() {}
func (n *newContent) Commit(id godwit.Digest) error {
	h := id.Algorithm.New(n.size)
	h.Write(n.b)
	if int64(len(n.b)) != n.size || godwit.MakeDigest(id.Algorithm, h.Sum(nil)) != id {
		return fmt.Errorf("a content of %d bytes, announced with %d, is not %s", len(n.b), n.size, id)
	}
	n.d[id] = n.b
	return nil
}

// manifestOf lists files.
func manifestOf(t *testing.T, version string, files map[string][]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := manifest.NewWriter(&b, manifest.Head{Version: version, Generated: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)})
	for _, p := range slices.Sorted(maps.Keys(files)) {
		if err := w.Add(manifest.File{Entry: godwit.Entry{Path: p, Mode: godwit.File, Size: int64(len(files[p])), Digest: digestOf(files[p])}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// published lays a release out as in a published folder.
func published(t *testing.T, version string, files map[string][]byte) map[string][]byte {
	m := manifestOf(t, version, files)
	out := map[string][]byte{
		web.ManifestName:                                             m,
		web.ManifestName + web.Suffix:                                []byte("signature of " + version),
		web.Releases + version + "/" + web.ManifestName:              m,
		web.Releases + version + "/" + web.ManifestName + web.Suffix: []byte("signature of " + version),
	}
	for _, b := range files {
		out[web.FileName(digestOf(b))] = b
	}
	return out
}

// A world is a device and the servers that it asks.
type world struct {
	t       *testing.T
	cfg     web.Config
	shelves []*shelf
	client  *webclient.Client
	device  device
	src     *web.Source
}

func newWorld(t *testing.T, cfg web.Config, shelves ...*shelf) *world {
	fsys, err := vfs.OS(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { fsys.Close() })
	w := &world{t: t, cfg: cfg, shelves: shelves, device: device{}}
	if w.cfg.State == nil {
		w.cfg.State = fsys
	}
	w.cfg.Folder = "state/web"
	w.client, err = webclient.New(webclient.Config{Backoff: time.Millisecond, MaxBackoff: time.Millisecond, Attempts: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.client.Close() })
	for _, s := range shelves {
		m, err := server.New(w.client, s.URL+"/pub", nil)
		if err != nil {
			t.Fatal(err)
		}
		w.cfg.Mirrors = append(w.cfg.Mirrors, m)
	}
	w.restart()
	return w
}

// restart is another process of the device.
func (w *world) restart() {
	w.t.Helper()
	if w.src != nil {
		w.src.Close()
	}
	var err error
	if w.src, err = web.New(w.cfg); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { w.src.Close() })
}

func (w *world) tip() godwit.Tip {
	w.t.Helper()
	tip, err := w.src.Tip(context.Background())
	if err != nil {
		w.t.Fatal(err)
	}
	return tip
}

// describe goes as far as the listing.
func (w *world) describe(tip godwit.Tip) godwit.Described {
	w.t.Helper()
	rel, err := w.src.Release(context.Background(), tip)
	if err != nil {
		w.t.Fatal(err)
	}
	d, err := w.src.Describe(context.Background(), godwit.Verified{Release: rel, Policy: "none"}, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return d
}

func (w *world) fetch(d godwit.Described) error {
	want := func(yield func(godwit.Entry, error) bool) {
		for e, err := range d.Listing {
			if (err != nil || !w.device.Has(e.Digest)) && !yield(e, err) {
				return
			}
		}
	}
	return w.src.Fetch(context.Background(), d, want, w.device)
}

// update brings all, and demands that all is right.
func (w *world) update(files map[string][]byte) {
	w.t.Helper()
	if err := w.fetch(w.describe(w.tip())); err != nil {
		w.t.Fatal(err)
	}
	for p, b := range files {
		if !bytes.Equal(w.device[digestOf(b)], b) {
			w.t.Errorf("%s did not come", p)
		}
	}
}

// left names what lies in the state folder.
func (w *world) left() (names []string) {
	w.cfg.State.ReadDir("state/web", func(i vfs.Info) error { names = append(names, i.Name); return nil })
	slices.Sort(names)
	return names
}

func wantCode(t *testing.T, err error, code godwit.Code) {
	t.Helper()
	if godwit.CodeOf(err) != code {
		t.Errorf("%s (%v), want %s", godwit.CodeOf(err), err, code)
	}
}

var tree = map[string][]byte{
	"app/main.py": content(1, 5000), "app/__init__.py": {}, "lib/__init__.py": {}, "lib/copy.py": content(1, 5000),
	"data/größe #1?.bin": content(2, 300), "big.bin": content(3, 700<<10),
}

func TestUpdateFromAFolder(t *testing.T) {
	s := newShelf(t, published(t, "v1.0.0", tree))
	w := newWorld(t, web.Config{}, s)
	tip := w.tip()
	if want := (godwit.Tip{Ref: "manifest.json", Commit: hexOf(s.files["manifest.json"])}); tip != want {
		t.Errorf("%+v", tip)
	}
	rel, err := w.src.Release(context.Background(), tip)
	if err != nil {
		t.Fatal(err)
	}
	body := make([]byte, rel.Statement.Size)
	if _, err := rel.Statement.Body.ReadAt(body, 0); err != nil || !bytes.Equal(body, s.files["manifest.json"]) {
		t.Error("another manifest is to be judged", err)
	}
	if rel.Version != "" || rel.Statement.Form != godwit.FileStatement || string(rel.Statement.Signatures) != "signature of v1.0.0" {
		t.Errorf("%+v", rel)
	}
	d, err := w.src.Describe(context.Background(), godwit.Verified{Release: rel}, nil)
	if err != nil || d.Time.Year() != 2026 {
		t.Fatal(d, err)
	}
	s.seen()
	if err := w.fetch(d); err != nil {
		t.Fatal(err)
	}
	if got := s.seen(); len(got) != 3 { // one for two that are the same, none for the empty ones
		t.Errorf("requests: %q", got)
	}
	for p, b := range tree {
		if !bytes.Equal(w.device[digestOf(b)], b) {
			t.Errorf("%s did not come", p)
		}
	}
	for _, n := range w.left() {
		if n != "notes" && n != tip.Commit {
			t.Errorf("%s is left", n)
		}
	}
	if sent, received := w.src.Transferred(); sent != 0 || received != 0 {
		t.Error("without a counter", sent, received)
	}
}

func TestFilesByPath(t *testing.T) {
	files := maps.Clone(tree)
	files["manifest.json"] = manifestOf(t, "v1.0.0", tree)
	s := newShelf(t, files)
	w := newWorld(t, web.Config{}, s)
	w.update(tree)
	missed := 0
	for _, r := range s.seen() {
		if strings.HasPrefix(r, web.Files) {
			missed++
		}
	}
	if missed != 1 {
		t.Errorf("%d files were asked for by digest", missed)
	}
	// What has only a CRC-32 can come no other way.
	crc := `{"version": "v2", "files": [{"path": "a", "size": 9, "crc32": 3421780262}]}`
	s.files["manifest.json"], s.files["a"] = []byte(crc), []byte("123456789")
	if err := w.fetch(w.describe(w.tip())); err != nil {
		t.Error(err)
	}
	s.files["a"] = []byte("123456780")
	w.device = device{}
	wantCode(t, w.fetch(w.describe(w.tip())), godwit.CodeBadObject)
}

func TestConditionalRequests(t *testing.T) {
	s := newShelf(t, published(t, "v1.0.0", tree))
	s.files["channel.json"], s.files["channel.json.sig"] = []byte(`{"channel": "stable"}`), []byte("signature")
	w := newWorld(t, web.Config{Channel: "stable"}, s)
	tip := w.tip()
	if tip.Ref != "channel/stable" || tip.Channel != hexOf(s.files["channel.json"]) || tip.Commit != "" {
		t.Errorf("%+v", tip)
	}
	statement := func(want string) {
		t.Helper()
		st, err := w.src.Channel(context.Background(), w.tip())
		if err != nil || string(st.Signatures) != want || st.Size != int64(len(s.files["channel.json"])) {
			t.Errorf("%+v, %v", st, err)
		}
	}
	statement("signature")
	s.seen()
	w.restart()
	statement("signature")
	if got := s.seen(); !slices.Equal(got, []string{"channel.json 304"}) {
		t.Errorf("a poll where nothing is new: %q", got)
	}
	// A new channel has new signatures, and the old ones go.
	s.files["channel.json"], s.files["channel.json.sig"] = []byte(`{"channel": "stable", "sequence": 2}`), []byte("signature 2")
	statement("signature 2")
	statement("signature 2")
	if got := w.left(); len(got) != 3 {
		t.Errorf("%q", got)
	}
	// A file that was torn by a power cut is fetched again.
	if err := vfs.WriteFile(w.cfg.State, "state/web/"+w.tip().Channel, []byte(`{"chan`)); err != nil {
		t.Fatal(err)
	}
	w.restart()
	s.seen()
	statement("signature 2")
	if got := s.seen(); got[0] != "channel.json" {
		t.Errorf("%q", got)
	}
	// After a refusal it is not sent again, nor written. Signatures may have come.
	w.src.Discard()
	if got := w.left(); len(got) != 3 {
		t.Errorf("%q", got)
	}
	for _, signature := range []string{"signature 2", "signature 3"} {
		s.files["channel.json.sig"] = []byte(signature)
		w.restart()
		s.seen()
		statement(signature)
		w.src.Discard()
		if got := s.seen(); !slices.Equal(got, []string{"channel.json 304", "channel.json.sig"}) {
			t.Errorf("%q", got)
		}
	}
	// Once it was believed they are not asked for any more.
	w.restart()
	statement("signature 3")
	s.files["manifest.json"] = published(t, "v1.0.0", tree)["manifest.json"]
	if _, err := w.src.Describe(context.Background(), godwit.Verified{Release: godwit.Release{Tip: godwit.Tip{Commit: hexOf(s.files["manifest.json"])}}, Time: time.Unix(1, 0)}, nil); err != nil {
		t.Fatal(err)
	}
	w.restart()
	s.seen()
	statement("signature 3")
	if got := s.seen(); !slices.Equal(got, []string{"channel.json 304"}) {
		t.Errorf("%q", got)
	}
	// What is large does not stay.
	delete(s.files, "channel.json")
	s.files["manifest.json"] = bytes.Repeat([]byte(" "), 1<<20+1)
	w.tip()
	w.src.Discard()
	if got := w.left(); slices.Contains(got, hexOf(s.files["manifest.json"])) {
		t.Errorf("%q", got)
	}
}

func TestWhichRelease(t *testing.T) {
	all := published(t, "v1.0.0", tree)
	maps.Copy(all, published(t, "v2.0.0", map[string][]byte{"a": []byte("2")}))
	s := newShelf(t, all)
	w := newWorld(t, web.Config{Channel: "stable"}, s)
	if tip := w.tip(); tip.Ref != "manifest.json" || tip.Commit != hexOf(all["manifest.json"]) || tip.Channel != "" {
		t.Errorf("%+v", tip)
	}
	tip, err := w.src.Named(context.Background(), "v1.0.0", "")
	if err != nil || tip.Ref != "releases/v1.0.0" || tip.Commit != hexOf(all["releases/v1.0.0/manifest.json"]) {
		t.Errorf("%+v, %v", tip, err)
	}
	if d := w.describe(tip); d.Version != "v1.0.0" || string(d.Statement.Signatures) != "signature of v1.0.0" {
		t.Errorf("%+v", d)
	}
	for _, name := range []string{"v3.0.0", "../x", "", "a/../b", "v1?x"} {
		_, err := w.src.Named(context.Background(), name, "")
		wantCode(t, err, godwit.CodeNoRef)
	}
	w = newWorld(t, web.Config{Tag: "v1.0.0"}, s)
	if tip := w.tip(); tip.Ref != "releases/v1.0.0" {
		t.Errorf("%+v", tip)
	}
	w.update(tree)
	w = newWorld(t, web.Config{Channel: "beta"}, s)
	_, err = w.src.Tip(context.Background())
	wantCode(t, err, godwit.CodeNoRef)
	s.files["channel-beta.json"] = []byte("{}")
	if tip := w.tip(); tip.Ref != "channel/beta" {
		t.Errorf("%+v", tip)
	}
	w = newWorld(t, web.Config{}, newShelf(t, nil))
	_, err = w.src.Tip(context.Background())
	wantCode(t, err, godwit.CodeNoRef)
	for _, cfg := range []web.Config{{Channel: "a", Tag: "b"}, {Channel: "../x"}, {Tag: "a b"}} {
		_, err := web.New(cfg)
		wantCode(t, err, godwit.CodeConfig)
	}
}

// TestRepair: an installed tree is repaired from a folder that has its files and
// no longer its manifest.
func TestRepair(t *testing.T) {
	s := newShelf(t, published(t, "v1.0.0", tree))
	w := newWorld(t, web.Config{}, s)
	d, err := w.src.Describe(context.Background(), godwit.Verified{Release: godwit.Release{Tip: godwit.Tip{Commit: hexOf([]byte("an old one"))}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for e := range d.Listing {
		t.Error(e)
	}
	want := func(yield func(godwit.Entry, error) bool) {
		yield(godwit.Entry{Path: "x", Digest: digestOf(tree["big.bin"]), Size: int64(len(tree["big.bin"]))}, nil)
	}
	if err := w.src.Fetch(context.Background(), d, want, w.device); err != nil || !w.device.Has(digestOf(tree["big.bin"])) {
		t.Error(err)
	}
}

func TestDocumentsTooLong(t *testing.T) {
	s := newShelf(t, published(t, "v1.0.0", tree))
	s.fault = func(w http.ResponseWriter, _ *http.Request, _ string) bool {
		for range 100 { // without a length
			w.Write(make([]byte, 4096))
			w.(http.Flusher).Flush()
		}
		return true
	}
	w := newWorld(t, web.Config{Limits: manifest.Limits{Bytes: 100 << 10}}, s)
	_, err := w.src.Tip(context.Background())
	wantCode(t, err, godwit.CodeLimit)
	w = newWorld(t, web.Config{Channel: "stable"}, s)
	_, err = w.src.Tip(context.Background())
	wantCode(t, err, godwit.CodeLimit)
	if got := w.left(); len(got) > 1 {
		t.Errorf("%q is left", got)
	}
}

func TestMirrorOfNothing(t *testing.T) {
	var m mirror.Mirror
	client, err := webclient.New(webclient.Config{})
	if err != nil {
		t.Fatal(err)
	}
	for _, base := range []string{"", "ftp://x/y", "https://", "/srv", "http://a b/"} {
		if m, err = server.New(client, base, nil); godwit.CodeOf(err) != godwit.CodeConfig {
			t.Error(base, m, err)
		}
	}
}
