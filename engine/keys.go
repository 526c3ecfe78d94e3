package engine

import (
	"context"
	"strconv"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/store"
)

// keyLists finds the lists of keys that a release brings.
func keyLists(l godwit.Listing) (signers, revoked godwit.Entry, err error) {
	for f, err := range l {
		if err != nil {
			return signers, revoked, err
		}
		switch f.Path {
		case godwit.SignersPath:
			signers = f
		case godwit.RevokedPath:
			revoked = f
		}
		if f.Path > godwit.RevokedPath { // the later of the two
			break
		}
	}
	return signers, revoked, nil
}

// installable is the listing of an admitted release without the lists of keys,
// which are never installed. A checksum that anybody can forge is an error below
// a signature.
func installable(d godwit.Described) godwit.Listing {
	return func(yield func(godwit.Entry, error) bool) {
		for f, err := range d.Listing {
			if err == nil && d.Policy == "signed" && f.Digest.Algorithm == godwit.CRC32 {
				f, err = godwit.Entry{}, godwit.Fail(godwit.CodeBadStatement, nil, "the signed manifest vouches for "+strconv.Quote(f.Path)+" with a CRC-32 alone, which anybody can forge",
					"make it again with godwit manifest, which writes SHA-256")
			}
			if f.Path != godwit.SignersPath && f.Path != godwit.RevokedPath && !yield(f, err) {
				return
			}
		}
	}
}

// adopt fetches the lists of keys that the release brings, if they are not in
// force already, and gives the memory of a device that goes by them.
func (e *Engine) adopt(ctx context.Context, d godwit.Described, objects *store.Objects) (godwit.Memory, error) {
	m := d.Memory
	if d.Policy != "signed" {
		return m, nil
	}
	signers, revoked, err := keyLists(d.Listing)
	if err != nil {
		return m, err
	}
	for _, l := range []struct {
		godwit.Entry
		name *string
	}{{signers, &m.Signers}, {revoked, &m.Revoked}} {
		digest := l.Digest.String()
		if l.Path == "" || digest == *l.name {
			continue
		}
		if l.Mode != godwit.File {
			return m, godwit.Fail(godwit.CodeBadStatement, nil, l.Path+" of the release is no plain file", "make it one")
		}
		if !objects.Has(l.Digest) {
			want := godwit.Listing(func(yield func(godwit.Entry, error) bool) { yield(l.Entry, nil) })
			if err := e.Source.Fetch(ctx, d, want, sized{objects, store.MaxList}); err != nil {
				return m, err
			}
		}
		o, err := objects.Open(l.Digest)
		if err != nil {
			return m, err
		}
		err = e.Store.KeepList(l.Digest, o)
		o.Close()
		if err != nil {
			return m, err
		}
		*l.name = digest
	}
	if m.Signers == d.Memory.Signers && m.Revoked == d.Memory.Revoked {
		return m, nil
	}
	return e.Gate.Adopt(d.Verified, m)
}
