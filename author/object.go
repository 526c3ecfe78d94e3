package author

import (
	"bytes"
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/trust/sshsig"
)

// namespace is that of Git's signatures.
const namespace = "git"

// A Trailer is one line of the last paragraph of a message, as git
// interpret-trailers has it.
type Trailer struct{ Key, Value string }

// A Tag is a tag object (git-mktag(1)) whose signatures are good, whoever made
// them.
type Tag struct {
	ID       string
	Name     string
	Commit   string // what it names
	Tagger   string // name and address
	Time     time.Time
	Subject  string // first line of the message
	Trailers []Trailer
	Keys     []string // fingerprints of those who signed

	object []byte
}

// Get gives the value of a trailer, "" if it is not there.
func (t *Tag) Get(key string) string {
	for _, tr := range t.Trailers {
		if strings.EqualFold(tr.Key, key) {
			return tr.Value
		}
	}
	return ""
}

// All gives the values of a trailer that may be there several times.
func (t *Tag) All(key string) (values []string) {
	for _, tr := range t.Trailers {
		if strings.EqualFold(tr.Key, key) {
			values = append(values, tr.Value)
		}
	}
	return values
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
	t := &Tag{object: object}
	text, signatures := object, []byte(nil)
	if i := bytes.Index(object, []byte("\n"+sshsig.Begin+"\n")); i >= 0 {
		text, signatures = object[:i+1], object[i+1:]
	}
	head, message, ok := strings.Cut(string(text), "\n\n")
	lines := strings.Split(head, "\n")
	if !ok || len(lines) < 4 {
		return nil, errTag
	}
	var kind, tagger string
	for i, field := range []struct {
		name string
		to   *string
	}{{"object ", &t.Commit}, {"type ", &kind}, {"tag ", &t.Name}, {"tagger ", &tagger}} {
		if *field.to, ok = strings.CutPrefix(lines[i], field.name); !ok {
			return nil, errTag
		}
	}
	who := strings.Fields(tagger)
	if kind != "commit" || len(who) < 3 {
		return nil, errTag
	}
	seconds, err := strconv.ParseInt(who[len(who)-2], 10, 64)
	if err != nil {
		return nil, errTag
	}
	t.Time, t.Tagger = time.Unix(seconds, 0).UTC(), strings.Join(who[:len(who)-2], " ")
	t.Subject, _, _ = strings.Cut(message, "\n")
	t.Trailers = trailers(message)
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

var errTag = godwit.Fail(godwit.CodeBadStatement, nil, "it is no annotated tag of a commit", "releases and channels are made with godwit tag and godwit channel")

// trailers reads the last paragraph of a message as devices do (package trust): a
// line that begins with a space goes on with the one before.
func trailers(message string) (all []Trailer) {
	message = strings.TrimRight(message, "\n")
	if i := strings.LastIndex(message, "\n\n"); i >= 0 {
		message = message[i+2:]
	}
	last := -1
	for _, line := range strings.Split(message, "\n") {
		if line != "" && (line[0] == ' ' || line[0] == '\t') {
			if last >= 0 {
				all[last].Value += " " + strings.TrimSpace(line)
			}
			continue
		}
		last = -1
		if key, value, ok := strings.Cut(line, ":"); ok {
			all = append(all, Trailer{strings.TrimSpace(key), strings.TrimSpace(value)})
			last = len(all) - 1
		}
	}
	return all
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
