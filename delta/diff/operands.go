package diff

import (
	"encoding/binary"
	"math/bits"

	"github.com/godwit-ota/godwit/delta/address"
	"github.com/godwit-ota/godwit/delta/model"
)

// operands marks the bytes of old that belong to references, by which code that
// has moved differs without being other code: the model predicts most of them, so
// to the aligner they are cheap.
func operands(old []byte, r *model.Recipe) []bool {
	if r.N == 0 {
		return nil
	}
	marks := make([]bool, len(old))
	from := 0
	for _, g := range r.Ranges[:r.N] {
		end := min(int(g.End), len(old))
		for p := from; p+4 <= end; p++ {
			v := binary.LittleEndian.Uint32(old[p:])
			if g.Big {
				v = bits.ReverseBytes32(v)
			}
			if n := operandAt(&g, old, p, v); n > 0 {
				for k := p; k < min(p+n, end); k++ {
					marks[k] = true
				}
			}
		}
		from = end
	}
	return marks
}

// operandAt is how many bytes at p, where the word v is, belong to a reference.
func operandAt(g *model.Range, old []byte, p int, v uint32) int {
	pc := uint32(p) + g.Old
	switch g.ISA {
	case address.None:
	case address.X86, address.AMD64:
		if p >= 3 {
			if ok, _ := address.X86At(g.ISA == address.AMD64, old[p-1], old[p-2], old[p-3]); ok && int32(v) < 1<<26 && int32(v) > -1<<26 {
				return 4
			}
		}
		return 0
	case address.Wasm:
		if p >= 2 {
			_, n := address.WasmAt(old[p-1], old[p-2], v)
			return n
		}
		return 0
	default:
		if pc&(g.ISA.Step()-1) == 0 {
			if f := address.Classify(g.ISA, v); f != address.NoForm {
				return f.Size()
			}
		}
	}
	if g.Words && pc&3 == 0 && g.ISA == address.None && v-g.Old < g.End {
		return 4
	}
	return 0
}
