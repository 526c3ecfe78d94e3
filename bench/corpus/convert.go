package corpus

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
)

// convert does one step on the way to the bytes that lie on a device.
func convert(step string, data []byte) ([]byte, error) {
	kind, arg, _ := strings.Cut(step, ":")
	switch kind {
	case "hex":
		return fromHex(data)
	case "uf2":
		return fromUF2(data)
	case "base64":
		var fields map[string]any
		if err := json.Unmarshal(data, &fields); err != nil {
			return nil, err
		}
		text, _ := fields[arg].(string)
		return base64.StdEncoding.DecodeString(text)
	case "xz", "gzip", "zstd":
		cmd := exec.Command(kind, "-dc")
		cmd.Stdin = bytes.NewReader(data)
		return cmd.Output()
	case "zip":
		z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return nil, err
		}
		f, err := z.Open(arg)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return io.ReadAll(f)
	}
	return nil, fmt.Errorf("%s: no such step", step)
}

// A picture is memory that is written piece by piece.
type picture struct {
	base uint32
	data []byte
}

// largest is far above any flash; what lies beyond is another memory, as the
// configuration words of a chip do.
const largest = 4 << 20

func (p *picture) put(at uint32, b []byte) {
	if p.data == nil {
		p.base = at
	}
	if at < p.base || at-p.base > largest {
		return
	}
	end := int(at-p.base) + len(b)
	for len(p.data) < end {
		p.data = append(p.data, 0xff) // as erased flash
	}
	copy(p.data[at-p.base:], b)
}

// fromHex gives the memory that an Intel HEX file describes, from its lowest
// address on.
func fromHex(data []byte) ([]byte, error) {
	var p picture
	var high uint32
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, ":") {
			continue
		}
		b, err := hex.DecodeString(line[1:])
		if err != nil || len(b) < 5 || len(b) != int(b[0])+5 {
			return nil, fmt.Errorf("not a line of Intel HEX: %q", line)
		}
		body := b[4 : len(b)-1]
		switch b[3] {
		case 0:
			p.put(high+uint32(binary.BigEndian.Uint16(b[1:])), body)
		case 2:
			high = uint32(binary.BigEndian.Uint16(body)) << 4
		case 4:
			high = uint32(binary.BigEndian.Uint16(body)) << 16
		case 1:
			return p.data, nil
		}
	}
	return nil, errors.New("an Intel HEX file without an end")
}

// fromUF2 gives the memory that a UF2 file describes.
func fromUF2(data []byte) ([]byte, error) {
	var p picture
	for ; len(data) >= 512; data = data[512:] {
		if binary.LittleEndian.Uint32(data) != 0x0A324655 {
			return nil, errors.New("not a block of UF2")
		}
		n := binary.LittleEndian.Uint32(data[16:])
		if n > 476 {
			return nil, errors.New("a block of UF2 with too many bytes")
		}
		p.put(binary.LittleEndian.Uint32(data[12:]), data[32:32+n])
	}
	return p.data, nil
}
