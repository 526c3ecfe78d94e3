package lfs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/internal/http1"
	"github.com/godwit-ota/godwit/internal/webclient"
)

// A Partial is the file into which an object is downloaded. What is in it when
// Download begins is taken for the object's beginning; it may be empty, and it
// may be wrong. vfs.File is one.
type Partial interface {
	io.ReaderAt
	io.WriterAt
	Size() (int64, error)
	Truncate(size int64) error
}

const (
	// maxCuts is how often a download goes on after it was cut without having
	// come further than before.
	maxCuts  = 3
	copySize = 16 << 10
)

// Download makes part the content that p names. progress, if not nil, is
// called with the bytes that are there so far, now and then.
//
// After an error part holds what came, and Download can be called again, also
// by another process, to go on from there. When Download has returned nil the
// content is right but has not been synced.
func (c *Client) Download(ctx context.Context, p Pointer, part Partial, progress func(int64)) error {
	if !isSHA256(p.OID) || p.Size < 0 {
		return godwit.Fail(godwit.CodeBadObject, ErrNotPointer, "this is no LFS pointer", "")
	}
	if err := c.find(ctx); err != nil {
		return err
	}
	d := &download{c: c, p: p, part: part, progress: progress, buf: make([]byte, copySize)}
	if err := d.resume(ctx); err != nil {
		return err
	}
	if dir, local := c.folder(); local {
		return d.local(ctx, dir)
	}
	return d.remote(ctx)
}

// A download is one object under way.
type download struct {
	c        *Client
	p        Pointer
	part     Partial
	progress func(int64)
	buf      []byte

	sum hash.Hash
	at  int64 // bytes in part, all of them in sum
	// mixed is set while part may hold bytes of another content: of an earlier
	// run, or from before a cut.
	mixed bool
	high  int64 // the most that at has been
}

// resume hashes what is there already.
func (d *download) resume(ctx context.Context) error {
	d.sum = sha256.New()
	size, err := d.part.Size()
	if err != nil {
		return diskError(err)
	}
	if size > d.p.Size {
		return d.restart()
	}
	for d.at < size {
		if err := ctx.Err(); err != nil {
			return stopped(err)
		}
		n, err := d.part.ReadAt(d.buf[:min(int64(len(d.buf)), size-d.at)], d.at)
		if n == 0 {
			return diskError(err)
		}
		d.sum.Write(d.buf[:n])
		d.at += int64(n)
	}
	d.mixed, d.high = size > 0, size
	return nil
}

func (d *download) restart() error {
	if err := d.part.Truncate(0); err != nil {
		return diskError(err)
	}
	d.sum.Reset()
	d.at, d.mixed = 0, false
	return nil
}

// whole reports whether the content is complete and right. A wrong one is
// thrown away; only if it came in one piece that is an error.
func (d *download) whole() (bool, error) {
	if d.at < d.p.Size {
		return false, nil
	}
	if hex.EncodeToString(d.sum.Sum(nil)) == d.p.OID {
		return true, nil
	}
	mixed := d.mixed
	if err := d.restart(); err != nil {
		return false, err
	}
	if mixed {
		return false, nil
	}
	return false, godwit.Fail(godwit.CodeBadObject, nil, "the LFS object "+short(d.p.OID)+" came with a content that is not the one its pointer names",
		"the repository's LFS server must be repaired; it may help to push the object again")
}

// add takes in what came.
func (d *download) add(b []byte) error {
	if int64(len(b)) > d.p.Size-d.at {
		mixed := d.mixed
		if err := d.restart(); err != nil {
			return err
		}
		if mixed {
			return errAnew
		}
		return godwit.Fail(godwit.CodeBadObject, nil, "the LFS object "+short(d.p.OID)+" is longer than its pointer says", "the repository's LFS server must be repaired")
	}
	if _, err := d.part.WriteAt(b, d.at); err != nil {
		return diskError(err)
	}
	d.sum.Write(b)
	d.at += int64(len(b))
	if d.progress != nil {
		d.progress(d.at)
	}
	return nil
}

// errAnew says that the download has to begin again, and can.
var errAnew = errors.New("begin again")

func (d *download) remote(ctx context.Context) error {
	cuts, fresh, anew := 0, false, 0
	for {
		if ok, err := d.whole(); ok || err != nil {
			return err
		}
		a, err := d.c.action(ctx, d.p, fresh)
		if err != nil {
			return err
		}
		known := !fresh // the address may have been learned long ago
		fresh = false
		err = d.get(ctx, a)
		if d.at > d.high {
			d.high, cuts = d.at, 0
		}
		var status *badStatus
		switch {
		case err == nil:
			if d.at < d.p.Size {
				// The body ended where it said, too early.
				if cuts++; cuts > maxCuts {
					return godwit.Fail(godwit.CodeBadObject, nil, "the LFS object "+short(d.p.OID)+" is shorter than its pointer says", "the repository's LFS server must be repaired")
				}
				d.mixed = true
			}
		case errors.Is(err, errAnew):
			if anew++; anew > maxCuts {
				return godwit.Fail(godwit.CodeProtocol, nil, "the storage of LFS object "+short(d.p.OID)+" does not give the ranges that it is asked for", "try again later")
			}
		case errors.As(err, &status):
			// Addresses of storage expire: ask for a new one, once.
			if !known || !status.expired() {
				return status.err
			}
			fresh = true
		case godwit.CodeOf(err) == godwit.CodeNetwork && ctx.Err() == nil:
			if cuts++; cuts > maxCuts {
				return err
			}
			d.mixed = true
		default:
			return err
		}
	}
}

// A badStatus ends a download unless a new address helps. Its code is 0 where
// there was no answer at all.
type badStatus struct {
	code int
	err  error
}

func (b *badStatus) Error() string { return b.err.Error() }

func (b *badStatus) expired() bool {
	switch b.code {
	case http1.StatusBadRequest, http1.StatusUnauthorized, http1.StatusForbidden, http1.StatusNotFound, http1.StatusGone:
		return true
	}
	return false
}

// get asks for the rest of the object, and takes in what comes.
func (d *download) get(ctx context.Context, a *action) error {
	resp, err := d.request(ctx, a)
	if err != nil {
		// The Remote has tried as often as it should.
		return &badStatus{0, err}
	}
	defer resp.Body.Close()
	host := resp.Request.URL.Hostname()
	switch resp.StatusCode {
	case http1.StatusOK:
		// All of it, asked for or not.
		if n := resp.ContentLength; n >= 0 && n != d.p.Size {
			return godwit.Fail(godwit.CodeBadObject, nil, "the LFS object "+short(d.p.OID)+" has "+strconv.FormatInt(n, 10)+" bytes at "+host+", and "+strconv.FormatInt(d.p.Size, 10)+" by its pointer",
				"the repository's LFS server must be repaired")
		}
		if d.at > 0 {
			if err := d.restart(); err != nil {
				return err
			}
		}
	case http1.StatusPartialContent:
		if !d.continues(resp.Header.Get("Content-Range")) {
			if err := d.restart(); err != nil {
				return err
			}
			return errAnew
		}
	case http1.StatusRequestedRangeNotSatisfiable:
		if d.at == 0 {
			return &badStatus{resp.StatusCode, statusError(resp, "the storage "+host)}
		}
		if err := d.restart(); err != nil {
			return err
		}
		return errAnew
	default:
		return &badStatus{resp.StatusCode, statusError(resp, "the storage "+host)}
	}
	if e := resp.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return godwit.Fail(godwit.CodeProtocol, nil, "the storage "+host+" sends the LFS object "+short(d.p.OID)+" in another encoding than asked for", "the storage must be set up to leave contents as they are")
	}
	for {
		n, err := resp.Body.Read(d.buf)
		if n > 0 {
			if e := d.add(d.buf[:n]); e != nil {
				return e
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return brokenOff(err, host)
		}
	}
}

// continues checks a Content-Range: does the answer begin where the download
// stands, and is it of a content of the right length?
func (d *download) continues(s string) bool {
	from, size, ok := webclient.ContentRange(s)
	return ok && from == d.at && (size < 0 || size == d.p.Size)
}

// request sends a GET, and follows redirects. What the LFS server said to send
// along goes to the host that it named, and no further.
func (d *download) request(ctx context.Context, a *action) (*http1.Response, error) {
	at := a.href
	origin := ""
	for hops := 0; ; hops++ {
		r, err := http1.NewRequestWithContext(ctx, http1.MethodGet, at, nil)
		if err != nil {
			return nil, godwit.Fail(godwit.CodeProtocol, nil, "the address of the LFS object "+short(d.p.OID)+" is not one", "the LFS server must be repaired")
		}
		if hops == 0 {
			origin = webclient.OriginOf(r.URL)
		}
		if webclient.OriginOf(r.URL) == origin {
			for k, v := range a.header {
				setHeader(r, k, v)
			}
		}
		r.Header.Set("Accept-Encoding", "identity")
		if d.at > 0 {
			r.Header.Set("Range", "bytes="+strconv.FormatInt(d.at, 10)+"-")
		}
		resp, err := d.c.remote.RoundTrip(r)
		if err != nil {
			return nil, err
		}
		resp.Request = r
		if !webclient.IsRedirect(resp.StatusCode) {
			return resp, nil
		}
		resp.Body.Close()
		where, err := webclient.Redirect(r.URL, resp)
		if err == nil && hops == webclient.MaxRedirects {
			err = webclient.RedirectError(r.URL, "from place to place without end")
		}
		if err != nil {
			return nil, godwit.Fail(godwit.CodeRedirect, err, "the LFS object "+short(d.p.OID)+" cannot be downloaded", "the LFS server or its storage must be set up again")
		}
		at = where.String()
	}
}

// local takes the object from a folder, as git-lfs keeps it.
func (d *download) local(ctx context.Context, dir string) error {
	if ok, err := d.whole(); ok || err != nil {
		return err
	}
	oid := d.p.OID
	f, err := os.Open(filepath.Join(dir, oid[:2], oid[2:4], oid))
	if errors.Is(err, fs.ErrNotExist) {
		return godwit.Fail(godwit.CodeMissingObject, nil, "there is no LFS object "+short(oid)+" in "+dir, "push it: git lfs push --all")
	}
	if err != nil {
		return diskError(err)
	}
	defer f.Close()
	for {
		if err := ctx.Err(); err != nil {
			return stopped(err)
		}
		n, err := f.ReadAt(d.buf, d.at)
		if n > 0 {
			if e := d.add(d.buf[:n]); e == errAnew {
				continue
			} else if e != nil {
				return e
			}
		}
		if err == nil {
			continue
		}
		if err != io.EOF {
			return diskError(err)
		}
		if d.at < d.p.Size {
			return godwit.Fail(godwit.CodeBadObject, nil, "the LFS object "+short(oid)+" is shorter than its pointer says", "the repository must be repaired: git lfs fsck")
		}
		if ok, err := d.whole(); ok || err != nil {
			return err
		}
	}
}

func stopped(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return godwit.Fail(godwit.CodeTimeout, err, "the time for downloading is over", "try again later")
	}
	return godwit.Fail(godwit.CodeFailed, err, "stopped", "")
}

// diskError leaves it to whoever knows the file system to tell a full disk from
// a broken one.
func diskError(err error) error { return fmt.Errorf("keep an LFS object: %w", err) }
