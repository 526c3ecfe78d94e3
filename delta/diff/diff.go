// Package diff makes patches, on the machines of those who make releases. What a
// patch is and how it is applied is package delta's business.
//
// Invariant: every patch was applied before it is handed out, and gave the new
// content.
package diff

import (
	"bytes"
	"context"
	"crypto/sha256"
	"time"

	"github.com/godwit-ota/godwit/delta"
)

// Options say what kind of patch to make. The zero value is good for devices
// with Linux.
type Options struct {
	Tier delta.Tier // 0 means delta.Small
	// Budget is how long to look for a small patch; 0 means as long as the sizes
	// of the contents justify. What is found by then is taken.
	Budget time.Duration
	// NoReadBack makes a patch that never reads what was written.
	NoReadBack bool
	// Slack and Block make a patch that a file can be turned by in place: see
	// delta.Header. Both are multiples of inplace.Grain, or else the error is
	// inplace.ErrUnfit. Block 0 makes none.
	Slack, Block int64
	// Progress is told, often, how much of the work is done.
	Progress func(done, total int64)
}

// A Part is what one kind of thing cost in a patch.
type Part struct {
	Name  string  `json:"name"`
	Count int64   `json:"count"`
	Bytes float64 `json:"bytes"`
}

// A Report is what a patch consists of.
type Report struct {
	Header delta.Header
	Size   int64  // bytes of the patch
	Parts  []Part // what its parts cost; they add up to Size
}

// Make gives a patch that turns old into new. It is never much larger than new.
func Make(ctx context.Context, old, new []byte, o Options) ([]byte, Report, error) {
	if o.Tier == 0 {
		o.Tier = delta.Small
	}
	h := delta.Header{
		Tier: o.Tier, OldSize: int64(len(old)), NewSize: int64(len(new)),
		OldSum: delta.SumOf(sha256.Sum256(old)), NewSum: delta.SumOf(sha256.Sum256(new)),
		Slack: o.Slack, Block: o.Block,
	}
	if bytes.Equal(old, new) && o.Block == 0 {
		h.Method = delta.Same
		b := h.Append(nil)
		return b, Report{Header: h, Size: int64(len(b)), Parts: []Part{{"header", 1, float64(len(b))}}}, nil
	}
	best, err := newSearch(ctx, h, old, new, o).run()
	if err != nil {
		return nil, Report{}, err
	}
	r, err := Explain(best, old)
	return best, r, err
}

// stored is a patch that holds new itself.
func stored(h delta.Header, new []byte) []byte {
	h.Method = delta.Stored
	return append(h.Append(nil), new...)
}
