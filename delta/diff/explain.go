package diff

import (
	"bytes"
	"math"

	"github.com/godwit-ota/godwit/delta"
	"github.com/godwit-ota/godwit/delta/model"
)

// Explain applies a patch to the old content that it was made for and says what
// its parts cost. Errors are those of delta.NewDecoder and Decoder.Decode.
func Explain(patch, old []byte) (Report, error) {
	in := bytes.NewReader(patch)
	var out page
	h, err := delta.ReadHeader(bytes.NewReader(patch))
	if err != nil {
		return Report{}, err
	}
	r := Report{Header: h, Size: int64(len(patch))}
	d, err := delta.NewDecoder(make([]byte, h.Tier.Memory()), in, bytes.NewReader(old), int64(len(old)), &out)
	if err != nil {
		return r, err
	}
	var m meter
	d.Watch(&m)
	if _, err := d.Decode(-1); err != nil {
		return r, err
	}
	head := len(h.Append(nil))
	r.Parts = append(r.Parts, Part{"header", 1, float64(head)})
	rest := float64(len(patch) - head)
	if h.Method == delta.Stored {
		r.Parts = append(r.Parts, Part{"content", h.NewSize, rest})
	}
	if h.Method != delta.Modelled {
		return r, nil
	}
	names := [model.Parts]string{
		model.Skips: "stretches as expected", model.Hits: "bytes as expected", model.Kinds: "literal or jump",
		model.Jumps: "jumps", model.Literals: "literals",
	}
	for k, name := range names {
		r.Parts = append(r.Parts, Part{name, m.count[k], m.bits[k] / 8})
		rest -= m.bits[k] / 8
	}
	r.Parts = append(r.Parts, Part{"end", 1, rest})
	return r, nil
}

// A meter adds up what bits cost.
type meter struct {
	bits  [model.Parts]float64
	count [model.Parts]int64
}

// Coded implements model.Watcher.
func (m *meter) Coded(bit int, p uint32, part model.Part, _, _ []uint32) {
	q := float64(p) / 65536
	if bit == 0 {
		q = 1 - q
	}
	m.bits[part] -= math.Log2(q)
	m.count[part]++
}
