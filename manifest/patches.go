package manifest

import (
	"strconv"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/internal/jsontext"
)

// maxPatches is how many patches a file, or a manifest, may offer.
const maxPatches = 64

// The members of a patch, a bit for each.
const (
	hasFrom = 1 << iota
	hasPatchSize
	hasPatchSum
	hasMemory
	hasFormat
)

// patchList reads the patches of a file, or those of the whole tree, into
// d.patches.
func (d *document) patchList(k jsontext.Kind) error {
	n := 0
	return d.list("patches", k, func(k jsontext.Kind) error {
		if n++; n > maxPatches {
			return tooMany("patches for one file", maxPatches)
		}
		p, known, err := d.patch(k)
		if err == nil && known {
			d.patches = append(d.patches, p)
		}
		return err
	})
}

// patch reads one patch. known is false for one of another format, of which
// nothing more is to be understood.
func (d *document) patch(k jsontext.Kind) (p godwit.Patch, known bool, err error) {
	if k != jsontext.Object {
		return p, false, d.wrong("patches", "an object for each patch")
	}
	seen := 0
	for {
		if k, err = d.Next(); err != nil {
			return p, false, err
		}
		if k == jsontext.End {
			break
		}
		bit := 0
		switch string(d.Text()) {
		case "from":
			bit = hasFrom
		case "size":
			bit = hasPatchSize
		case "sha256":
			bit = hasPatchSum
		case "memory":
			bit = hasMemory
		case "format":
			bit = hasFormat
		}
		if bit == 0 {
			if err = d.Skip(); err != nil {
				return p, false, err
			}
			continue
		}
		if seen&bit != 0 {
			return p, false, d.words.fail(nil, "line "+strconv.Itoa(d.Line())+": "+strconv.Quote(string(d.Text()))+" appears twice in a patch")
		}
		seen |= bit
		if k, err = d.Next(); err != nil {
			return p, false, err
		}
		if k == jsontext.Null {
			seen &^= bit
			continue
		}
		switch bit {
		case hasFrom:
			p.From, err = d.digest("from", k)
		case hasPatchSize:
			p.Size, err = d.amount("size", k)
		case hasPatchSum:
			p.Sum, err = d.digest("sha256", k)
		case hasMemory:
			p.Memory, err = d.amount("memory", k)
		case hasFormat:
			_, err = d.word("format", k)
		}
		if err != nil {
			return p, false, err
		}
	}
	if seen&hasFormat != 0 {
		return p, false, nil
	}
	if seen != hasFrom|hasPatchSize|hasPatchSum|hasMemory {
		return p, false, d.words.fail(nil, "line "+strconv.Itoa(d.Line())+": a patch has no from, size, sha256 or memory")
	}
	return p, true, nil
}

// amount reads a number of bytes, at least one.
func (d *document) amount(name string, k jsontext.Kind) (int64, error) {
	n, err := d.number(name, k)
	if err == nil && (n == 0 || n > 1<<40) {
		err = d.wrong(name, "a number of bytes")
	}
	return int64(n), err
}

// appendPatches writes a list of patches, each on a line of its own behind
// indent.
func appendPatches(b []byte, patches []godwit.Patch, indent string) []byte {
	b = append(b, '[')
	for i, p := range patches {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(b, '\n'), indent...)
		b = append(append(append(b, `{"from": "`...), p.From.Hex()...), `", "size": `...)
		b = append(strconv.AppendInt(b, p.Size, 10), `, "sha256": "`...)
		b = append(append(b, p.Sum.Hex()...), `", "memory": `...)
		b = append(strconv.AppendInt(b, p.Memory, 10), '}')
	}
	return append(b, ']')
}
