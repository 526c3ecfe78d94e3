package webclient

import (
	"context"
	"errors"
	"io"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/internal/http1"
)

// A Body is the content of an answer. Its errors are worded; one that ends
// before its size is an error.
type Body struct {
	c    *Client
	ctx  context.Context
	from Request
	r    io.ReadCloser
	host string
	err  error // sticky

	resume bool
	etag   string
	at     int64 // where in the content the next byte stands
	end    int64 // size of the content, -1 if unknown
	high   int64 // where the last cut was
	cuts   int   // since the transfer came any further
}

// Read gives the next bytes of the content.
func (b *Body) Read(p []byte) (int, error) {
	for b.err == nil && len(p) > 0 {
		n, err := b.r.Read(p)
		b.at += int64(n)
		if err == io.EOF && b.end >= 0 && b.at < b.end {
			err = io.ErrUnexpectedEOF
		}
		if err != nil && err != io.EOF {
			err = Explain(b.ctx, b.host, b.c.cfg.Now(), err)
			if e := b.again(err); e == nil {
				err = nil
			} else {
				err = e
			}
		}
		b.err = err
		if n > 0 {
			return n, nil // the error is for the next call
		}
	}
	if len(p) == 0 {
		return 0, nil
	}
	return 0, b.err
}

// again asks for the rest after a cut. It gives the cut's error where there is
// no way to go on.
func (b *Body) again(cut error) error {
	code := godwit.CodeOf(cut)
	if !b.resume || b.ctx.Err() != nil || code != godwit.CodeNetwork && code != godwit.CodeTimeout {
		return cut
	}
	if b.at > b.high {
		b.high, b.cuts = b.at, 0
	}
	if b.cuts++; b.cuts > b.c.cfg.Attempts {
		return cut
	}
	b.c.cfg.Events.Say(godwit.StageFetch, godwit.Debug, "going on after: "+cut.Error())
	b.r.Close()
	r := b.from
	r.Offset, r.ETag, r.IfNoneMatch = b.at, b.etag, ""
	a, err := b.c.Get(b.ctx, r)
	if err != nil {
		return err
	}
	whole := a.Status == http1.StatusOK || a.Status == http1.StatusPartialContent
	if !whole || a.Offset != b.at || a.Size >= 0 && b.end >= 0 && a.Size != b.end {
		a.Body.Close()
		return godwit.Fail(godwit.CodeNetwork, errCannotResume, b.host+" cannot go on with a transfer that broke", "try again")
	}
	b.r, b.host = a.Body.r, a.Body.host
	return nil
}

var errCannotResume = errors.New("the content changed, or the server knows no ranges")

// Close ends the transfer.
func (b *Body) Close() error {
	if b.err == nil {
		b.err = errClosed
	}
	b.r.Close() // errors of reading were given by Read
	return nil
}

var errClosed = errors.New("the body was closed")
