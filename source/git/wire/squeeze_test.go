package wire

import (
	"bytes"
	"compress/gzip"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"strconv"
	"testing"
)

// expand reads gzip with the standard library.
func expand(t *testing.T, b []byte) []byte {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestSqueeze(t *testing.T) {
	for _, format := range []string{"sha1", "sha256"} {
		caps := newCapabilities2()
		caps.ObjectFormat, caps.agents, caps.object = format, true, true
		haves := func(yield func(string) bool) {
			for i := range 5000 {
				sum := sha1.Sum([]byte(strconv.Itoa(i)))
				id := sum[:]
				if format == "sha256" {
					long := sha256.Sum256(id)
					id = long[:]
				}
				if !yield(hex.EncodeToString(id)) {
					return
				}
			}
		}
		r := FetchRequest{Want: []string{one40}, Have: haves, ThinPack: true, Depth: 1}
		write := func(w io.Writer) error { return r.write2(w, &caps, "godwit/größer") }
		var plain, small bytes.Buffer
		if err := write(&plain); err != nil {
			t.Fatal(err)
		}
		if err := squeezed(&small, caps.hexLen(), write); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(expand(t, small.Bytes()), plain.Bytes()) {
			t.Fatal(format, ": it is not the same")
		}
		t.Logf("%s: %d bytes become %d", format, plain.Len(), small.Len())
		if small.Len() > plain.Len()*47/100 {
			t.Errorf("%s: %d bytes become only %d", format, plain.Len(), small.Len())
		}
	}
}

func FuzzSqueeze(f *testing.F) {
	f.Add([]byte("0032have 0123456789abcdef0123456789abcdef01234567\n0032have 0123456789abcdef0123456789abcdef01234567\n0000"), false)
	f.Add([]byte("\xff\x00\n\n\n0000"), true)
	f.Add([]byte{}, true)
	f.Fuzz(func(t *testing.T, b []byte, long bool) {
		idLen := 40
		if long {
			idLen = 64
		}
		var out bytes.Buffer
		err := squeezed(&out, idLen, func(w io.Writer) error {
			for line := range bytes.Lines(b) {
				if _, err := w.Write(line); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := expand(t, out.Bytes()); !bytes.Equal(got, b) {
			t.Fatalf("%q became %q", b, got)
		}
	})
}
