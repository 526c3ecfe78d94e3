package author

import (
	"bytes"
	"context"
	"strings"

	"github.com/godwit-ota/godwit"
)

// Statement gives a tag of this repository, of a release or of a channel, as a
// source would give it to a gate. It judges nothing: the tag may be anything.
func (r *Repository) Statement(ctx context.Context, name string) (godwit.Release, error) {
	name = strings.TrimPrefix(name, "refs/tags/")
	rel := godwit.Release{Tip: godwit.Tip{Ref: "refs/tags/" + name}, Version: name}
	id, err := r.ref(ctx, rel.Ref)
	if err == nil && id == "" {
		err = godwit.Fail(godwit.CodeNoRef, nil, "there is no file and no tag "+name+" here", "name a tag of the repository here, a manifest or a published folder")
	}
	if err != nil {
		return rel, err
	}
	if rel.Commit, err = r.git(ctx, nil, "rev-parse", rel.Ref+"^{}"); err != nil {
		return rel, err
	}
	channel := strings.HasPrefix(name, "channel/")
	if channel {
		rel.Channel = id
	}
	if rel.Commit == id {
		return rel, nil // names the commit itself: nobody signed it
	}
	object, err := r.raw(ctx, nil, "cat-file", "tag", id)
	if err != nil {
		return rel, err
	}
	if !channel {
		rel.Tag = id
	}
	rel.Statement = godwit.Statement{Form: godwit.TagStatement, Body: bytes.NewReader(object), Size: int64(len(object))}
	return rel, nil
}

// Tree gives the id of a commit's tree.
func (r *Repository) Tree(ctx context.Context, commit string) (string, error) {
	return r.git(ctx, nil, "rev-parse", "--verify", commit+"^{tree}")
}
