package author

import (
	"bytes"
	"context"
	"io"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/internal/semver"
	"github.com/godwit-ota/godwit/trust/sshsig"
)

// A NewTag is a release to be tagged.
type NewTag struct {
	Version    string    // the name of the tag: "v1.4.0"
	Product    string    // what it is for; "" is found out
	Message    string    // "" is "Release VERSION"
	NotAfter   time.Time // not installed any more after it; zero for ever
	AllowLower bool      // also if there is a higher or a later one
	Push       bool
}

// A Tagged is what became of it.
type Tagged struct {
	*Tag
	Product string
	Before  string // the product of the newest signed release before it, "" if there is none
	Pushed  bool
}

// Tag signs the release of the commit that is checked out. CodeUsage is for what
// can be given otherwise, CodeRefused for what would be a mistake: changes that
// are not committed, a version that is not higher than all others, a tag that
// exists.
func (r *Repository) Tag(ctx context.Context, n NewTag) (*Tagged, error) {
	done := new(Tagged)
	version, ok := semver.Parse(n.Version)
	if !ok {
		return nil, misuse("\""+n.Version+"\" is not a version", "use semantic versions, such as v1.4.0 or v2.0.0-rc.1 (semver.org)")
	}
	if err := r.clean(ctx); err != nil {
		return nil, err
	}
	commit, err := r.git(ctx, nil, "rev-parse", "--verify", "--quiet", "HEAD^{commit}")
	if err != nil {
		return nil, misuse("there is no commit to release", "commit first")
	}
	tree, err := r.git(ctx, nil, "rev-parse", commit+"^{tree}")
	if err != nil {
		return nil, err
	}
	tags, err := r.tags(ctx, n.Push)
	if err != nil {
		return nil, err
	}
	if err := r.follows(ctx, n, version, tags); err != nil {
		return nil, err
	}
	if done.Product, done.Before, err = r.product(ctx, n.Product, tags); err != nil {
		return nil, err
	}
	if err := r.lists(ctx, commit); err != nil {
		return nil, err
	}
	message := n.Message
	if message == "" {
		message = "Release " + n.Version
	}
	trailers := []Trailer{{"Product", done.Product}, {"Tree", tree}}
	if !n.NotAfter.IsZero() {
		if !n.NotAfter.After(r.now()) {
			return nil, misuse("--not-after is over already", "give a time in the future")
		}
		trailers = append(trailers, Trailer{"Not-After", n.NotAfter.UTC().Format(time.RFC3339)})
	}
	object, err := r.compose(ctx, n.Version, commit, message, trailers)
	if err != nil {
		return nil, err
	}
	id, err := r.write(ctx, object)
	if err != nil {
		return nil, err
	}
	ref := "refs/tags/" + n.Version
	if _, err := r.git(ctx, nil, "update-ref", ref, id, ""); err != nil { // only if there is none
		return nil, err
	}
	if done.Tag, err = r.tag(ctx, id); err != nil {
		return nil, err
	}
	if n.Push {
		if _, err := r.git(ctx, nil, "push", "--quiet", "--force-with-lease="+ref+":", r.remote, ref); err != nil {
			return nil, pushError(err, "the tag "+n.Version+" is made and not pushed", "push it when the remote can be reached: git push "+r.remote+" "+ref)
		}
		done.Pushed = true
	}
	return done, nil
}

func pushError(err error, text, hint string) error {
	return godwit.Fail(godwit.CodeNetwork, err, text, hint)
}

// lists checks the lists of keys that the release brings, if it does: devices
// refuse a release with lists under which nobody could sign.
func (r *Repository) lists(ctx context.Context, commit string) error {
	list := func(path string) sshsig.List {
		text, err := r.raw(ctx, nil, "cat-file", "blob", commit+":"+path)
		if err != nil {
			return nil // it brings none
		}
		return func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(text)), nil }
	}
	allowed, revoked := list(godwit.SignersPath), list(godwit.RevokedPath)
	err := sshsig.Revoked(revoked, sshsig.PublicKey{})
	if err == nil && allowed != nil {
		err = sshsig.CheckSigners(allowed, revoked, namespace, 1, r.now())
	}
	if err != nil {
		err = godwit.Fail(godwit.CodeRefused, err, "devices would refuse this release for the lists of keys that it brings", "mend "+godwit.SignersPath+" and "+godwit.RevokedPath+" and commit")
	}
	return err
}

// clean checks that what is here is what is committed.
func (r *Repository) clean(ctx context.Context) error {
	if bare, err := r.git(ctx, nil, "rev-parse", "--is-bare-repository"); err != nil || bare == "true" {
		return err
	}
	changed, err := r.git(ctx, nil, "status", "--porcelain")
	if err != nil || changed == "" {
		return err
	}
	// "XY PATH", where "??" is for what is not in Git (git-status(1), Short Format).
	first, _, _ := strings.Cut(changed, "\n")
	what := first[3:] + " is changed"
	if first[:2] == "??" {
		what = first[3:] + " is not in Git"
	}
	if n := strings.Count(changed, "\n"); n > 0 {
		what += ", and " + strconv.Itoa(n) + " more"
	}
	return refuse("there are changes that are not committed: "+what,
		"a release is what is committed: commit them, or put them aside with `git stash -u`, or into .gitignore")
}

// tags gives the names of all version tags, here and, if asked for, at the
// remote, from the lowest to the highest.
func (r *Repository) tags(ctx context.Context, remote bool) ([]string, error) {
	out, err := r.git(ctx, nil, "for-each-ref", "--format=%(refname)", "refs/tags")
	if err != nil {
		return nil, err
	}
	names := strings.Fields(out)
	if remote {
		refs, err := r.remoteRefs(ctx, "refs/tags/*")
		if err != nil {
			return nil, err
		}
		for ref := range refs {
			names = append(names, ref)
		}
	}
	versions := names[:0]
	for _, name := range names {
		name = strings.TrimPrefix(name, "refs/tags/")
		if _, ok := semver.Parse(name); ok {
			versions = append(versions, name)
		}
	}
	sort.Sort(byVersion(versions))
	return slices.Compact(versions), nil
}

// byVersion sorts names of releases. (Package sort costs less here than another
// instance of package slices.)
type byVersion []string

func (b byVersion) Len() int      { return len(b) }
func (b byVersion) Swap(i, j int) { b[i], b[j] = b[j], b[i] }
func (b byVersion) Less(i, j int) bool {
	v, _ := semver.Parse(b[i])
	w, _ := semver.Parse(b[j])
	c := semver.Compare(v, w)
	return c < 0 || c == 0 && b[i] < b[j]
}

// follows checks that the version comes after all others.
func (r *Repository) follows(ctx context.Context, n NewTag, version semver.Version, tags []string) error {
	if slices.Contains(tags, n.Version) {
		return refuse("the tag "+n.Version+" exists already", "a release never changes: use the next version. To add a signature to it: godwit tag --cosign")
	}
	if len(tags) == 0 || n.AllowLower {
		return nil
	}
	highest := tags[len(tags)-1]
	if h, _ := semver.Parse(highest); semver.Compare(version, h) <= 0 {
		return refuse(n.Version+" is not higher than "+highest+", which exists",
			"devices that have "+highest+" would refuse it; for a fix of an older line, --allow-lower")
	}
	if newest, err := r.release(ctx, highest); err == nil && newest.Time.Unix() > r.now().Unix()+1 {
		return refuse(highest+" was made at "+newest.Time.Format(time.RFC3339)+", which is still to come",
			"set the clock of this machine: devices refuse a release that is made before one that they have; --allow-lower goes on all the same")
	}
	return nil
}

// product finds what the repository is for.
func (r *Repository) product(ctx context.Context, given string, tags []string) (product, before string, err error) {
	for i := len(tags) - 1; i >= 0 && before == ""; i-- {
		if t, err := r.release(ctx, tags[i]); err == nil && len(t.Keys) > 0 {
			before = t.Get("Product")
		}
	}
	for _, p := range []string{given, r.config(ctx, "godwit.product"), before} {
		if p != "" {
			return p, before, nil
		}
	}
	return "", "", misuse("it is not known which product the release is for", "give --product NAME once; later releases take it from the newest tag. Or: git config godwit.product NAME")
}

// release reads the tag of a release here.
func (r *Repository) release(ctx context.Context, version string) (*Tag, error) {
	id, err := r.ref(ctx, "refs/tags/"+version)
	if err != nil {
		return nil, err
	}
	if id == "" {
		return nil, godwit.Fail(godwit.CodeNoRef, nil, "there is no tag "+version+" here", "make it with godwit tag, or fetch it: git fetch --tags")
	}
	if kind, err := r.git(ctx, nil, "cat-file", "-t", id); err == nil && kind != "tag" {
		return nil, godwit.Fail(godwit.CodeUnsigned, nil, "the tag "+version+" is a plain name of a "+kind+" and not signed", "devices would refuse it: sign a higher version with godwit tag")
	}
	t, err := r.tag(ctx, id)
	if err != nil {
		return nil, godwit.Fail(godwit.CodeOf(err), err, "the tag "+version+" is not that of a release", "make releases with godwit tag")
	}
	if t.Name != version {
		return nil, godwit.Fail(godwit.CodeWrongName, nil, "the tag "+version+" says that it is "+t.Name, "it was moved; fetch it again")
	}
	return t, nil
}

// Cosign adds a signature to a release that is tagged. What is there stays as it
// is, to the byte; it is checked first, as far as it can be without knowing who
// may sign.
func (r *Repository) Cosign(ctx context.Context, version string, push bool) (*Tagged, error) {
	done := new(Tagged)
	t, err := r.release(ctx, version)
	if err != nil {
		return nil, err
	}
	if len(t.Keys) == 0 {
		return nil, godwit.Fail(godwit.CodeUnsigned, nil, "the tag "+version+" is not signed", "somebody has to sign it first, with godwit tag")
	}
	tree, err := r.git(ctx, nil, "rev-parse", t.Commit+"^{tree}")
	if err != nil {
		return nil, err
	}
	if said := t.Get("Tree"); said != "" && said != tree {
		return nil, godwit.Fail(godwit.CodeTampered, nil, "the tag "+version+" names the tree "+said+", and its commit has "+tree, "do not sign it: somebody made a mistake, or worse")
	}
	ref := "refs/tags/" + version
	signed, err := r.cosign(ctx, t)
	if err != nil && (signed == nil || !push) {
		return nil, err
	}
	if push && err != nil {
		// This key signed it before: what the remote lacks can still be pushed.
		there, failed := r.remoteRefs(ctx, ref)
		if failed != nil || there[ref] == t.ID {
			return nil, err
		}
	}
	if _, err := r.git(ctx, nil, "update-ref", ref, signed.ID, t.ID); err != nil {
		return nil, err
	}
	done.Tag, done.Product = signed, signed.Get("Product")
	if push {
		there, err := r.remoteRefs(ctx, ref)
		if err != nil {
			return nil, err
		}
		expected := there[ref] // the remote may not have it yet
		if expected != "" && !r.begins(ctx, ref, expected, signed.object) {
			expected = t.ID
		}
		if _, err := r.git(ctx, nil, "push", "--quiet", "--force-with-lease="+ref+":"+expected, r.remote, ref); err != nil {
			return nil, pushError(err, "the tag "+version+" is signed here and not pushed", "if somebody else signed it meanwhile, fetch that: git fetch --force "+r.remote+" "+ref+":"+ref+"; and sign again")
		}
		done.Pushed = true
	}
	return done, nil
}

// begins reports whether object begins with all that the tag id at the remote
// says, so that to put it there takes no signature away.
func (r *Repository) begins(ctx context.Context, ref, id string, object []byte) bool {
	if _, err := r.git(ctx, nil, "fetch", "--quiet", "--no-tags", r.remote, ref); err != nil {
		return false
	}
	there, err := r.raw(ctx, nil, "cat-file", "tag", id)
	return err == nil && bytes.HasPrefix(object, there)
}

// cosign writes t with one more signature below it. If this key has signed it
// before, it gives t and CodeRefused.
func (r *Repository) cosign(ctx context.Context, t *Tag) (*Tag, error) {
	sig, err := r.signer.Sign(ctx, namespace, t.object)
	if err != nil {
		return nil, err
	}
	signed, err := parseTag(append(slices.Clone(t.object), sig...))
	if err != nil {
		return nil, err
	}
	last := len(signed.Keys) - 1
	if slices.Contains(signed.Keys[:last], signed.Keys[last]) {
		return t, refuse("the key "+signed.Keys[last]+" has signed "+t.Name+" before", "somebody else has to, with another key")
	}
	signed.ID, err = r.write(ctx, signed.object)
	return signed, err
}
