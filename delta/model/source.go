package model

// src is the byte at a source, 0 where there is none.
func (w *Walk) src(q int64) byte {
	if q < w.lo || q >= w.hi {
		w.fill(q)
		if q < w.lo || q >= w.hi {
			return 0
		}
	}
	return w.win[q-w.lo]
}

// ahead is src for bytes behind the expected one: 0 in the new content, where
// they may not be there yet.
func (w *Walk) ahead(q int64) byte {
	if q >= w.OldSize {
		return 0
	}
	return w.src(q)
}

// behind is how many bytes before a source the window keeps.
const behind = 16

// fill makes the window hold what is around q.
func (w *Walk) fill(q int64) {
	w.lo, w.hi = 0, 0
	if q < 0 {
		return
	}
	lo := max(q-behind, 0)
	if q < w.OldSize {
		hi := min(lo+int64(len(w.win)), w.OldSize)
		w.read(w.win[:hi-lo], lo)
		w.lo, w.hi = lo, hi
		return
	}
	lo = max(lo, w.OldSize)
	hi := min(lo+int64(len(w.win)), w.OldSize+w.at)
	if hi <= q || w.Back == nil {
		return
	}
	w.flushBefore(hi - w.OldSize)
	if w.err == nil {
		_, w.err = readFull(w.Back, w.win[:hi-lo], lo-w.OldSize)
	}
	w.lo, w.hi = lo, hi
}

// flushBefore makes sure that the new content is written up to end.
func (w *Walk) flushBefore(end int64) {
	if !w.encoding && w.at-int64(w.outLen) < end {
		w.flush()
	}
}

// read reads the old content. In place what lies below the end of the block that
// is being written counts as zeros.
func (w *Walk) read(p []byte, off int64) {
	if w.Block > 0 {
		gone := (w.at/w.Block+1)*w.Block - w.Slack - off
		if gone > 0 {
			n := min(gone, int64(len(p)))
			clear(p[:n])
			p, off = p[n:], off+n
		}
	}
	if w.err == nil && len(p) > 0 {
		_, w.err = readFull(w.Old, p, off)
	}
}
