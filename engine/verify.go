package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"strconv"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/store"
)

// A Verification is what hashing the installed tree has shown.
type Verification struct {
	Version  store.Version
	Files    int    // looked at
	Problems int    // not as the release has them
	First    string // path of the first problem
	Repaired int    // problems that Verify put right
}

// Verify hashes the installed tree against its release. Each difference is an
// event. With repair, what drifted is replaced, from this device where it can,
// else from the source. The error has CodeModified when differences remain.
func (e *Engine) Verify(ctx context.Context, repair bool) (Verification, error) {
	if !repair {
		if err := e.Store.Reload(); err != nil {
			return Verification{}, err
		}
		v, err := e.verify(nil)
		if err == nil && v.Problems > 0 {
			err = modified(v)
		}
		return v, err
	}
	h, err := e.lock()
	if err != nil {
		return Verification{}, err
	}
	defer h.release()
	v, err := e.repair(ctx)
	return v, e.failed(godwit.StageVerify, err)
}

func modified(v Verification) error {
	what := strconv.Itoa(v.Problems) + " files are"
	if v.Problems == 1 {
		what = "1 file is"
	}
	return godwit.Fail(godwit.CodeModified, nil, what+" not as the release has them, first "+strconv.Quote(v.First), "run godwit verify --repair")
}

func (e *Engine) verify(each func(store.Problem) error) (Verification, error) {
	v := Verification{Version: e.Store.Record().Running}
	files, err := e.Store.Verify(func(p store.Problem) error {
		if v.Problems++; v.Problems == 1 {
			v.First = p.Entry.Path
		}
		e.Events.Say(godwit.StageVerify, godwit.Warning, p.Entry.Path+": "+p.What)
		if each != nil {
			return each(p)
		}
		return nil
	})
	v.Files = files
	return v, err
}

func (e *Engine) repair(ctx context.Context) (Verification, error) {
	s := e.Store
	objects, err := s.Objects()
	if err != nil {
		return Verification{}, err
	}
	var v Verification
	// The listing of what must be fetched is made while the tree is hashed.
	var verifyErr error
	want, err := s.SaveListing(func(yield func(godwit.Entry, error) bool) {
		v, verifyErr = e.verify(func(p store.Problem) error {
			if p.Entry.Path == store.Current || p.What == "wrong mode" || objects.Has(p.Entry.Digest) {
				return nil
			}
			if !yield(p.Entry, nil) {
				return errStop
			}
			return nil
		})
		if verifyErr != nil && verifyErr != errStop {
			yield(godwit.Entry{}, verifyErr)
		}
	})
	if err != nil || v.Problems == 0 {
		return v, err
	}
	missing := false
	for _, err := range want {
		if err != nil {
			return v, err
		}
		missing = true
		break
	}
	if missing {
		r := v.Version
		if r.ID == store.BeforeGodwit {
			return v, godwit.Fail(godwit.CodeDamaged, nil, "the files from before Godwit cannot be fetched again", "run godwit update")
		}
		// It was admitted when it was installed, and its contents are named by the
		// listing of that time.
		rel, err := e.Source.Describe(ctx, release(r), have(s.Record()))
		if err != nil {
			return v, err
		}
		rel.Offers, rel.Trees = nil, nil // what they are for is in doubt
		if err := e.fetch(ctx, rel, want, objects); err != nil {
			return v, err
		}
	}
	if err := s.Repair(); err != nil {
		return v, err
	}
	before := v.Problems
	if v, err = e.verify(nil); err != nil {
		return v, err
	}
	v.Repaired = before - v.Problems
	if v.Problems > 0 {
		return v, modified(v)
	}
	return v, s.Prune()
}

var errStop = godwit.Fail(godwit.CodeFailed, nil, "stopped", "")

// Fingerprint names what the running version consists of, by its listing: the
// SHA-256, in hexadecimal, of a line "MODE DIGEST PATH" for each entry, in ascending
// order of the path, with the names of godwit.Mode and godwit.Digest. Confirm and
// Verify hold the files against the same listing. It is "" where nothing is installed.
func (e *Engine) Fingerprint() (string, error) {
	v := e.Store.Record().Running
	if v.IsZero() {
		return "", nil
	}
	h := sha256.New()
	for entry, err := range e.Store.Listing(v) {
		if err != nil {
			return "", err
		}
		io.WriteString(h, entry.Mode.String()+" "+entry.Digest.String()+" "+entry.Path+"\n")
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
