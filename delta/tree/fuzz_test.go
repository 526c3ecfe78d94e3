package tree_test

import (
	"bytes"
	"testing"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/delta"
	"github.com/godwit-ota/godwit/delta/diff"
	"github.com/godwit-ota/godwit/delta/tree"
)

// Whatever the bytes: a table that is read is written the same way, takes no more
// than was read, and what is applied commits nothing wrong.
func FuzzRead(f *testing.F) {
	for _, n := range []files{after, {}, {"a": ""}, before} {
		patch, _, err := diff.MakeTree(f.Context(), before.list(godwit.SHA256), n.list(godwit.SHA256), diff.Options{Tier: delta.Tiny, Budget: 1})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(patch)
		f.Add(patch[:min(len(patch), 60)])
	}
	f.Add([]byte("\xd9T\x11\x11\x04\xff\xff\x7f"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		table, err := tree.Read(r, 1000)
		if err != nil {
			return
		}
		if n := len(b) - r.Len(); len(table.Append(nil)) > n || (len(table.Old.Contents)+len(table.New.Contents))*(table.Prefix+1) > n {
			t.Fatal("a table of", n, "bytes is written in", len(table.Append(nil)))
		}
		d := newDevice(godwit.SHA256, before)
		if err := apply(d, godwit.SHA256, before, after, b, tree.Options{}); err == nil {
			for _, c := range table.New.Contents {
				if !c.Digest.IsZero() && !d.Has(c.Digest) {
					t.Fatal("a wanted content is missing")
				}
			}
		}
		if d.torn != 0 {
			t.Fatal("left half written")
		}
		for x, c := range d.has {
			if digest(x.Algorithm, c) != x {
				t.Fatal("a wrong content was committed")
			}
		}
	})
}
