package object

import (
	"errors"
	"hash"
	"io"

	"github.com/godwit-ota/godwit"
)

// inflated is the inflated content of one entry: exactly as long as declared,
// or an error.
type inflated struct {
	z    io.Reader
	left int64 // of the declared size, not yet in buf
	buf  []byte
	r, w int
	err  error
}

func (s *inflated) reset(z io.Reader, size int64) {
	s.z, s.left, s.r, s.w, s.err = z, size, 0, 0, nil
}

// fill makes at least one byte ready, or returns io.EOF at the declared end,
// after it saw that the compressed stream ends there too.
func (s *inflated) fill() error {
	if s.r < s.w || s.err != nil {
		return s.err
	}
	for s.left > 0 {
		n, err := s.z.Read(s.buf[:min(s.left, int64(len(s.buf)))])
		s.left -= int64(n)
		s.r, s.w = 0, n
		if n > 0 {
			return nil // the error comes again
		}
		if err == io.EOF {
			err = bad("an object is shorter than it says")
		}
		if err != nil {
			s.err = deflateError(err)
			return s.err
		}
	}
	for {
		n, err := s.z.Read(s.buf[:1])
		switch {
		case n > 0:
			s.err = bad("an object is longer than it says")
		case err == io.EOF:
			s.err = io.EOF
		case err != nil:
			s.err = deflateError(err)
		default:
			continue
		}
		return s.err
	}
}

func (s *inflated) peek(most int) ([]byte, error) {
	if s.r == s.w {
		if err := s.fill(); err != nil {
			return nil, err
		}
	}
	return s.buf[s.r:min(s.w, s.r+most)], nil
}

func (s *inflated) advance(n int) { s.r += n }

func (s *inflated) ReadByte() (byte, error) {
	if s.r == s.w {
		if err := s.fill(); err != nil {
			return 0, err
		}
	}
	c := s.buf[s.r]
	s.r++
	return c, nil
}

// discard reads to the end.
func (s *inflated) discard() error {
	for {
		s.r = s.w
		if err := s.fill(); err != nil {
			if err == io.EOF {
				err = nil
			}
			return err
		}
	}
}

func deflateError(err error) error {
	var e *godwit.Error
	switch {
	case err == nil || errors.As(err, &e):
		return err
	case err == io.EOF || err == io.ErrUnexpectedEOF:
		return bad("the pack ends early")
	}
	return godwit.Fail(godwit.CodeBadObject, err, "an object in the pack cannot be decompressed",
		"try again; if it stays, the repository or the host is damaged: run git fsck on it")
}

// output hashes an object and hands it to its Writer in large pieces.
type output struct {
	w    Writer // nil between objects
	hash *Hasher
	buf  []byte
}

func (o *output) reset(w Writer, h *Hasher, t Type, size int64) {
	o.w, o.hash, o.buf = w, h, o.buf[:0]
	h.Reset(t, size)
}

func (o *output) Write(p []byte) (int, error) {
	if len(o.buf)+len(p) <= cap(o.buf) {
		o.buf = append(o.buf, p...)
		return len(p), nil
	}
	if err := o.flush(); err != nil {
		return 0, err
	}
	if len(p) < cap(o.buf) {
		o.buf = append(o.buf, p...)
		return len(p), nil
	}
	return len(p), o.pass(p)
}

func (o *output) pass(p []byte) error {
	o.hash.Write(p)
	_, err := o.w.Write(p)
	return err
}

func (o *output) flush() error {
	if len(o.buf) == 0 {
		return nil
	}
	err := o.pass(o.buf)
	o.buf = o.buf[:0]
	return err
}

func (o *output) abort() {
	if o.w != nil {
		o.w.Abort()
		o.w = nil
	}
}

func (o *output) commit() (ID, error) {
	err := o.flush()
	var id ID
	if err == nil {
		id, err = o.hash.ID()
	}
	if err != nil {
		o.abort()
		return ID{}, err
	}
	err = o.w.Commit(id)
	o.w = nil
	return id, err
}

// tailReader hashes what passes, except the last keep bytes: the trailer of a
// pack, which nobody can know to be one before the end.
type tailReader struct {
	r    io.Reader
	sum  hash.Hash
	keep int
	held []byte // the last bytes, not hashed yet; at most keep
	read int64
	err  error // other than io.EOF
}

func (t *tailReader) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	t.read += int64(n)
	if n >= t.keep {
		t.sum.Write(t.held)
		t.sum.Write(p[:n-t.keep])
		t.held = append(t.held[:0], p[n-t.keep:n]...)
	} else if n > 0 {
		t.held = append(t.held, p[:n]...)
		if over := len(t.held) - t.keep; over > 0 {
			t.sum.Write(t.held[:over])
			t.held = t.held[:copy(t.held, t.held[over:])]
		}
	}
	if err != nil && err != io.EOF && t.err == nil {
		t.err = err
	}
	return n, err
}
