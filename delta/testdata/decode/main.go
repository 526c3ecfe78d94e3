// Command decode applies patches, for the test that they give the same on every
// machine. Its arguments are pairs of files, an old content and a patch; it prints
// the SHA-256 of each new content and of a checkpoint halfway.
package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"

	"github.com/godwit-ota/godwit/delta"
)

func main() {
	for args := os.Args[1:]; len(args) >= 2; args = args[2:] {
		line, err := decode(args[0], args[1])
		if err != nil {
			line = err.Error()
		}
		os.Stdout.WriteString(line + "\n")
	}
}

func decode(oldName, patchName string) (string, error) {
	old, err := os.ReadFile(oldName)
	if err != nil {
		return "", err
	}
	patch, err := os.ReadFile(patchName)
	if err != nil {
		return "", err
	}
	h, err := delta.ReadHeader(bytes.NewReader(patch))
	if err != nil {
		return "", err
	}
	var out page
	mem := make([]byte, h.Tier.Buffer())
	d, err := delta.NewDecoder(mem, bytes.NewReader(patch), bytes.NewReader(old), int64(len(old)), &out)
	if err != nil {
		return "", err
	}
	if _, err := d.Decode(h.NewSize / 2); err != nil {
		return "", err
	}
	point := d.Checkpoint(nil)
	_, consumed, err := delta.CheckpointPosition(point)
	if err != nil {
		return "", err
	}
	clear(mem)
	d, err = delta.Resume(mem, point, bytes.NewReader(patch[consumed:]), bytes.NewReader(old), int64(len(old)), &out)
	if err != nil {
		return "", err
	}
	if _, err := d.Decode(-1); err != nil {
		return "", err
	}
	return sum(out.b) + " " + sum(point), nil
}

func sum(b []byte) string { s := sha256.Sum256(b); return hex.EncodeToString(s[:]) }

// page is a content in memory.
type page struct{ b []byte }

func (p *page) Write(b []byte) (int, error) { p.b = append(p.b, b...); return len(b), nil }

func (p *page) ReadAt(b []byte, off int64) (int, error) { return bytes.NewReader(p.b).ReadAt(b, off) }
