package diff_test

import (
	"context"
	"os"
	"testing"

	"github.com/godwit-ota/godwit/delta"
	"github.com/godwit-ota/godwit/delta/diff"
)

func TestMake(t *testing.T) {
	old, err := os.ReadFile("align.go")
	if err != nil {
		t.Fatal(err)
	}
	new, err := os.ReadFile("seeds.go")
	if err != nil {
		t.Fatal(err)
	}
	new = append(append(append([]byte{}, old[:2000]...), new[300:700]...), old[1500:]...)
	for tier := delta.Tiny; tier <= delta.Large; tier++ {
		_, r, err := diff.Make(context.Background(), old, new, diff.Options{Tier: tier})
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %d bytes, %s %v", tier, r.Size, r.Header.Method, r.Parts)
		if r.Size > 700 {
			t.Errorf("%d bytes", r.Size)
		}
	}
}
