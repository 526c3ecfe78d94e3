package manifest

import (
	"encoding/hex"
	"strconv"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/internal/jsontext"
)

// The members of a file, a bit for each.
const (
	hasPath = 1 << iota
	hasSize
	hasSHA256
	hasCRC32
	hasMode
	hasPatches
)

// entry reads one file, whose description begins with the last token. Its
// patches are in d.patches.
func (d *document) entry(k jsontext.Kind) (godwit.Entry, error) {
	e := godwit.Entry{Mode: godwit.File}
	if k != jsontext.Object {
		return e, d.wrong("files", "an object for each file")
	}
	seen := 0
	var crc uint64
	d.patches = d.patches[:0]
	for {
		k, err := d.Next()
		if err != nil {
			return e, err
		}
		if k == jsontext.End {
			break
		}
		bit := 0
		switch string(d.Text()) {
		case "path":
			bit = hasPath
		case "size":
			bit = hasSize
		case "sha256":
			bit = hasSHA256
		case "crc32":
			bit = hasCRC32
		case "mode":
			bit = hasMode
		case "patches":
			bit = hasPatches
		}
		if bit == 0 {
			if err := d.Skip(); err != nil {
				return e, err
			}
			continue
		}
		if seen&bit != 0 {
			return e, d.words.fail(nil, "line "+strconv.Itoa(d.Line())+": "+strconv.Quote(string(d.Text()))+" appears twice in a file")
		}
		seen |= bit
		if k, err = d.Next(); err != nil {
			return e, err
		}
		if k == jsontext.Null {
			seen &^= bit
			continue
		}
		switch bit {
		case hasPath:
			if e.Path, err = d.path("path", k); err == nil {
				err = CheckPath(e.Path)
			}
		case hasSize:
			var n uint64
			if n, err = d.number("size", k); err == nil && n > 1<<62 {
				err = d.wrong("size", "the file's size in bytes")
			}
			e.Size = int64(n)
		case hasSHA256:
			if k == jsontext.String && len(d.Text()) == 0 {
				seen &^= bit
				break
			}
			e.Digest, err = d.digest("sha256", k)
		case hasCRC32:
			if crc, err = d.number("crc32", k); err == nil && crc > 1<<32-1 {
				err = d.wrong("crc32", "a decimal number of 32 bits")
			}
		case hasMode:
			switch s := string(d.Text()); {
			case k == jsontext.String && s == "exec":
				e.Mode = godwit.Executable
			case k == jsontext.String && s == "link":
				e.Mode = godwit.Symlink
			case k != jsontext.String || s != "file" && s != "":
				err = d.wrong("mode", `"exec" or "link"`)
			}
		case hasPatches:
			err = d.patchList(k)
		}
		if err != nil {
			return e, err
		}
	}
	switch {
	case seen&hasPath == 0:
		return e, d.words.fail(nil, "line "+strconv.Itoa(d.Line())+": a file has no path")
	case seen&hasSize == 0:
		return e, d.words.fail(nil, strconv.QuoteToGraphic(e.Path)+" has no size")
	case seen&(hasSHA256|hasCRC32) == 0:
		return e, d.words.fail(nil, strconv.QuoteToGraphic(e.Path)+" has neither sha256 nor crc32")
	case seen&hasSHA256 == 0:
		var sum [12]byte
		for i := range 4 {
			sum[i] = byte(crc >> (24 - 8*i))
		}
		for i := range 8 {
			sum[4+i] = byte(e.Size >> (56 - 8*i))
		}
		e.Digest = godwit.MakeDigest(godwit.CRC32, sum[:])
	}
	return e, nil
}

// digest reads a SHA-256.
func (d *document) digest(name string, k jsontext.Kind) (godwit.Digest, error) {
	var sum [32]byte
	text := d.Text()
	if k != jsontext.String || len(text) != 2*len(sum) {
		return godwit.Digest{}, d.wrong(name, "64 hexadecimal digits")
	}
	if _, err := hex.Decode(sum[:], text); err != nil {
		return godwit.Digest{}, d.wrong(name, "64 hexadecimal digits")
	}
	return godwit.MakeDigest(godwit.SHA256, sum[:]), nil
}
