package author

import (
	"bytes"
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/godwit-ota/godwit/trust/sshsig"
	"github.com/godwit-ota/godwit/trust/tagtext"
)

// namespace is that of Git's signatures.
const namespace = "git"

// A Trailer is one line of the last paragraph of a message, as git
// interpret-trailers has it.
type Trailer struct{ Key, Value string }

// A Tag is a tag object whose signatures are good, whoever made them.
type Tag struct {
	*tagtext.Tag
	ID     string
	Commit string   // what it names
	Keys   []string // fingerprints of those who signed

	object []byte
}

// tag reads a tag object. Signatures that do not fit are an error, none is not:
// then Keys is empty.
func (r *Repository) tag(ctx context.Context, id string) (*Tag, error) {
	object, err := r.raw(ctx, nil, "cat-file", "tag", id)
	if err != nil {
		return nil, err
	}
	t, err := parseTag(object)
	if err != nil {
		return nil, err
	}
	t.ID = id
	return t, nil
}

func parseTag(object []byte) (*Tag, error) {
	text, signatures := tagtext.Split(object)
	read, err := tagtext.Parse(text)
	if err != nil {
		return nil, err
	}
	if read.Kind != "commit" {
		return nil, tagtext.Bad(strconv.Quote(read.Name) + " names a " + read.Kind + " and not a commit")
	}
	t := &Tag{Tag: read, Commit: read.Object, object: object}
	for len(signatures) > 0 {
		covered := object[:len(object)-len(signatures)]
		sig, rest, err := sshsig.Parse(signatures)
		if err == nil {
			err = sig.Verify(bytes.NewReader(covered), namespace)
		}
		if err != nil {
			return nil, err
		}
		t.Keys, signatures = append(t.Keys, sig.Key.Fingerprint()), rest
	}
	return t, nil
}

// compose writes a tag object and signs it.
func (r *Repository) compose(ctx context.Context, name, commit, message string, trailers []Trailer) ([]byte, error) {
	tagger, err := r.tagger(ctx)
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	b.WriteString("object " + commit + "\ntype commit\ntag " + name + "\ntagger " + tagger + "\n\n" + strings.TrimSpace(message) + "\n\n")
	for _, t := range trailers {
		if t.Value == "" || strings.ContainsAny(t.Value, "\r\n\x00") || t.Value != strings.TrimSpace(t.Value) {
			return nil, misuse("\""+t.Value+"\" cannot be the value of "+t.Key, "it has to be one line, without space around it")
		}
		b.WriteString(t.Key + ": " + t.Value + "\n")
	}
	text := b.String()
	if strings.Contains(message, "-----BEGIN ") || strings.ContainsAny(message, "\x00\r") {
		return nil, misuse("the message cannot be that of a signed tag: it has something like a signature in it, or control characters", "change --message")
	}
	sig, err := r.signer.Sign(ctx, namespace, []byte(text))
	if err != nil {
		return nil, err
	}
	object := append([]byte(text), sig...)
	if _, err := parseTag(object); err != nil {
		return nil, errors.Join(errors.New("what was made cannot be read again"), err)
	}
	return object, nil
}
