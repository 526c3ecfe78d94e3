package publish

import (
	"os"
	"path/filepath"
	"testing"
)

// TestSignatureOfEither: while a signed file is replaced, whoever reads finds a
// signature that fits it.
func TestSignatureOfEither(t *testing.T) {
	name := filepath.Join(t.TempDir(), "channel.json")
	signature := func() string {
		b, _ := os.ReadFile(name + ".sig")
		return string(b)
	}
	put := func(body, sig string) error { return putSigned(name, []byte(body), []byte(sig)) }
	if err := put("1", "over 1\n"); err != nil || signature() != "over 1\n" {
		t.Fatal(signature(), err)
	}
	// It ends between the signature and the file.
	if err := os.Rename(name, name+".old"); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(name, "in the way"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := put("2", "over 2\n"); err == nil || signature() != "over 2\nover 1\n" {
		t.Fatal(signature(), err)
	}
	os.RemoveAll(name)
	if err := put("3", "over 3\n"); err != nil || signature() != "over 3\n" {
		t.Fatal(signature(), err)
	}
	// A signature of something else does not stay.
	if err := put("4", ""); err != nil || signature() != "" {
		t.Fatal(signature(), err)
	}
}
