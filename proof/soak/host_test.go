package soak

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/internal/http1"
	"github.com/godwit-ota/godwit/internal/webclient"
	"github.com/godwit-ota/godwit/trust"
	"github.com/godwit-ota/godwit/vfs"
	"github.com/godwit-ota/godwit/vfs/crashfs"
)

// A kind says what becomes of a release on a device.
type kind string

const (
	good     kind = "good"
	sick     kind = "sick"     // its health check fails
	crasher  kind = "crasher"  // it takes the device down soon after each start
	unsigned kind = "unsigned" // the gate refuses it
	lost     kind = "lost"     // the host has lost one of its contents
)

// A release is one that the host has published.
type release struct {
	n         int
	id, name  string
	kind      kind
	files     map[string]string // path to content; "x:" before that of a program
	made      time.Time
	withdrawn bool
}

// paths are what releases consist of. Some come and go, one is a file in some
// releases and a folder in others.
var paths = []string{"bin/run", "main.py", "lib/a.py", "lib/b.py", "lib/deep/er/c.py", "etc/app.cfg", "sometimes/one", "sometimes/two", "empty", "swap"}

// publish makes the next release.
func (w *world) publish(k kind) *release {
	n := len(w.releases) + 1
	sum := sha256.Sum256([]byte(fmt.Sprint("release ", w.seed, " ", n)))
	r := &release{n: n, id: hex.EncodeToString(sum[:20]), name: fmt.Sprintf("v1.%d.0", n), kind: k, made: w.truth(), files: map[string]string{}}
	var before map[string]string
	if n > 1 {
		before = w.releases[n-2].files
	}
	for _, p := range paths {
		size, prefix := 40+w.chance.IntN(1400), ""
		if p == "bin/run" {
			prefix = "x:"
		}
		if p == "swap" && n/5%2 == 1 {
			p = "swap/in"
		}
		old, was := before[p]
		switch {
		case strings.HasPrefix(p, "sometimes/") && w.chance.IntN(3) == 0: // left out
		case p == "empty":
			r.files[p] = ""
		case was && p != "main.py" && w.chance.IntN(3) > 0:
			r.files[p] = old
		default:
			text := p + " of release " + strconv.Itoa(n) + "\n"
			r.files[p] = prefix + strings.Repeat(text, 1+size/len(text))
		}
	}
	w.releases = append(w.releases, r)
	w.byID[r.id] = r
	w.t.releases[k]++
	return r
}

// tip is what the host names: the newest release that was not withdrawn.
func (w *world) tip() *release {
	for _, r := range slices.Backward(w.releases) {
		if !r.withdrawn {
			return r
		}
	}
	return w.releases[0]
}

// below is the newest release below r, nil if there is none.
func (w *world) below(r *release) *release {
	for i := r.n - 2; i >= 0; i-- {
		if b := w.releases[i]; !b.withdrawn {
			return b
		}
	}
	return nil
}

func body(content string) string { return strings.TrimPrefix(content, "x:") }

func digest(s string) godwit.Digest {
	h := godwit.GitSHA1.New(int64(len(s)))
	h.Write([]byte(s))
	return godwit.MakeDigest(godwit.GitSHA1, h.Sum(nil))
}

// found is the release in the form in which it is read back from a disk.
func (r *release) found(noExec bool) crashfs.Tree {
	t := crashfs.Tree{}
	for p, c := range r.files {
		for at := strings.LastIndexByte(p, '/'); at > 0; at = strings.LastIndexByte(p[:at], '/') {
			t[p[:at]] = "d"
		}
		mode := "f"
		if noExec || strings.HasPrefix(c, "x:") {
			mode = "x"
		}
		t[p] = mode + body(c)
	}
	return t
}

// host is the name under which pauses are remembered.
const host = "host.example:443"

// A source is the way to the host, opened anew for each piece of work.
type source struct {
	w              *world
	pauses         webclient.Pauses
	sent, received int64
}

func (s *source) Transferred() (int64, int64) { return s.sent, s.received }

// travel spends time on the way to the host, and says whether it was reached.
func (s *source) travel(ctx context.Context, d time.Duration) error {
	if s.w.slow {
		d *= 20
	}
	if err := pause(ctx, d); err != nil {
		return err
	}
	switch {
	case s.w.off():
		return errGone
	case s.w.down:
		return godwit.Fail(godwit.CodeNetwork, nil, "no route to the host", "")
	}
	return nil
}

var errGone = godwit.Fail(godwit.CodeNetwork, nil, "the power is gone", "")

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

func (s *source) Tip(ctx context.Context) (godwit.Tip, error) {
	w := s.w
	if err := s.pauses.Check(host); err != nil && s.w.damage != "forget pauses" {
		return godwit.Tip{}, err
	}
	if w.off() {
		return godwit.Tip{}, errGone
	}
	w.asked()
	s.sent += 200
	if err := s.travel(ctx, time.Second); err != nil {
		return godwit.Tip{}, err
	}
	if w.after > 0 {
		resp := &http1.Response{StatusCode: w.answer, Header: http1.Header{}}
		wait := min(w.after, time.Hour*time.Duration(1+w.chance.IntN(4)))
		resp.Header.Set("Retry-After", strconv.Itoa(int(wait.Seconds())))
		err := s.pauses.Obey(host, resp)
		if !w.off() {
			w.mu.Lock()
			w.pausedUntil, w.pauseSkew, w.pauseNoted = time.Now().Add(wait.Truncate(time.Second)), w.skew, !w.fullDisk.on
			w.pauseRun = w.run
			w.mu.Unlock()
			w.t.pauses++
		}
		return godwit.Tip{}, err
	}
	s.received += 300
	w.mu.Lock()
	w.pausedUntil = time.Time{} // whoever answers does not mind
	w.mu.Unlock()
	r := w.tip()
	return godwit.Tip{Ref: "refs/tags/" + r.name, Commit: r.id}, nil
}

func (s *source) Release(ctx context.Context, t godwit.Tip) (godwit.Release, error) {
	s.received += 200
	return godwit.Release{Tip: t, Version: s.w.byID[t.Commit].name}, s.travel(ctx, time.Second)
}

// Below is how a device gets on whose newest release was refused.
func (s *source) Below(_ context.Context, t godwit.Tip) (godwit.Tip, error) {
	if r := s.w.below(s.w.byID[t.Commit]); r != nil && s.w.passes {
		return godwit.Tip{Ref: "refs/tags/" + r.name, Commit: r.id}, nil
	}
	return godwit.Tip{}, nil
}

func (s *source) Describe(ctx context.Context, v godwit.Verified, _ []string) (godwit.Described, error) {
	r := s.w.byID[v.Commit]
	s.received += 400
	listing := func(yield func(godwit.Entry, error) bool) {
		for _, p := range slices.Sorted(maps.Keys(r.files)) {
			e := godwit.Entry{Path: p, Mode: godwit.File, Digest: digest(body(r.files[p])), Size: int64(len(body(r.files[p])))}
			if strings.HasPrefix(r.files[p], "x:") {
				e.Mode = godwit.Executable
			}
			if !yield(e, nil) {
				return
			}
		}
	}
	return godwit.Described{Verified: v, Listing: listing}, s.travel(ctx, time.Second)
}

func (s *source) Fetch(ctx context.Context, d godwit.Described, want godwit.Listing, into godwit.Objects) error {
	r := s.w.byID[d.Commit]
	for e, err := range want {
		if err != nil {
			return err
		}
		if err := s.travel(ctx, 2*time.Second); err != nil {
			return err
		}
		if r.kind == lost && e.Path == "main.py" {
			continue
		}
		b := []byte(body(r.files[e.Path]))
		o, err := into.Create(int64(len(b)))
		if err != nil {
			return err
		}
		if s.w.slow && s.w.chance.IntN(6) == 0 {
			o.Write(b[:len(b)/2])
			o.Abort()
			s.received += int64(len(b) / 2)
			s.w.t.broken++
			return godwit.Fail(godwit.CodeNetwork, nil, "the connection broke", "")
		}
		if _, err := o.Write(b); err != nil {
			o.Abort()
			return err
		}
		if err := o.Commit(e.Digest); err != nil {
			return err
		}
		s.received += int64(len(b))
		s.w.t.fetched++
	}
	return nil
}

// A guard is the gate of a device that believes everything but what is unsigned,
// and that remembers the time as the real one does for signed releases.
type guard struct {
	*trust.Gate
	w *world
}

func (g guard) Admit(ctx context.Context, r godwit.Release, m godwit.Memory) (godwit.Verified, error) {
	rel := g.w.byID[r.Commit]
	if rel.kind == unsigned {
		g.w.t.refusals++
		return godwit.Verified{}, godwit.Fail(godwit.CodeUnsigned, nil, "nobody signed "+rel.name, "")
	}
	v, err := g.Gate.Admit(ctx, r, m)
	now, set := m.Now(g.w.wall())
	v.Time, v.Memory = rel.made, v.Memory.Tick(rel.made, now, set)
	return v, err
}

// notes keep what a host asked for, on the device's disk.
type notes struct{ fs vfs.FS }

func (n notes) Load(name string) ([]byte, error) {
	return vfs.ReadFile(n.fs, state+"/"+name, 8<<10)
}

func (n notes) Save(name string, b []byte) error {
	if len(b) == 0 {
		return n.fs.Remove(state + "/" + name)
	}
	return vfs.WriteFile(n.fs, state+"/"+name, b)
}
