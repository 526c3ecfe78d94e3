package inplace

import (
	"bytes"
	"io"

	"github.com/godwit-ota/godwit/delta"
)

// Rehearse does in memory what Run does to a file, and gives what the file
// becomes. It is for those who make patches: one that does not give the new
// content here ruins a file. What Run writes over is not there to be read here
// either. The errors are those of Run.
func Rehearse(patch, content []byte) ([]byte, error) {
	h, err := delta.ReadHeader(bytes.NewReader(patch))
	if err != nil {
		return nil, err
	}
	if !fit(h) {
		return nil, ErrUnfit
	}
	if int64(len(content)) != h.OldSize {
		return nil, delta.ErrWrongOld
	}
	sheet := make(sheet, max(h.OldSize+h.Slack, h.NewSize))
	copy(sheet[h.Slack:], content)
	mem, buf := make([]byte, h.Tier.Memory()), make([]byte, Grain)
	d, err := delta.NewDecoder(mem, bytes.NewReader(patch), &old{f: sheet, size: h.OldSize, shift: h.Slack}, h.OldSize, &output{})
	if err != nil {
		return nil, err
	}
	for at := int64(-1); at < h.NewSize; {
		if d, at, err = block(mem, buf, d.Checkpoint(nil), bytes.NewReader(patch), int64(len(patch)), h, sheet); err != nil {
			return nil, err
		}
	}
	return sheet[:h.NewSize], nil
}

// A sheet is a file in memory.
type sheet []byte

func (s sheet) ReadAt(p []byte, off int64) (int, error) {
	if off > int64(len(s)) {
		return 0, io.EOF
	}
	n := copy(p, s[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (s sheet) WriteAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > int64(len(s)) {
		return 0, io.ErrShortWrite
	}
	return copy(s[off:], p), nil
}
