package github

import (
	"bytes"
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/internal/webclient"
	"github.com/godwit-ota/godwit/source/git/object"
)

// APIs show tags and commits taken apart. What is signed, or what an id stands
// for, is Git's own form of them (gitformat-signature; git-mktag), so that is put
// together again, in the few ways in which it may have been, until it has the id.

// maxStatement bounds a tag object that is a statement.
const maxStatement = 64 << 10

// maxTagChain is how many tags may name each other before a commit comes.
const maxTagChain = 5

// wanted are the values of GitHub's "git-tag" and "git-commit", and of Gitea's
// "AnnotatedTag" and "Commit", that make the object.
const wanted = " object.sha object.type tag tagger.name tagger.email tagger.date message verification.payload verification.signature" +
	" tree.sha parents.sha author.name author.email author.date committer.name committer.email committer.date committed_date "

// askTag brings a tag object as the API shows it, and gives what it names. With a
// key that is remembered, and nothing is brought where it is known.
func (s *Source) askTag(ctx context.Context, id, key string) (target string, err error) {
	q := question{at: s.at(tagObject, id), what: "the tag object " + id, key: key, fixed: true}
	q.begin = func() error {
		s.tag, s.tagID = fields{}, id
		return nil
	}
	q.see = func(path, text []byte) error {
		s.tag.take(wanted, path, text)
		return nil
	}
	q.result = func(a *webclient.Answer) string { return s.tag["object.type"] + " " + s.tag["object.sha"] }
	target, ok, err := s.ask(ctx, &q)
	if err == nil && !ok {
		err = gone(q.what)
	}
	if err != nil {
		s.tagID = ""
	}
	return target, err
}

// follow finds the commit that an annotated tag names.
func (s *Source) follow(ctx context.Context, id string) (string, error) {
	for range maxTagChain {
		text, err := s.askTag(ctx, id, "target")
		if err != nil {
			return "", err
		}
		kind, target, _ := strings.Cut(text, " ")
		if kind != "commit" && kind != "tag" {
			return "", notCommit(kind)
		}
		if err := s.checkID(target, "the tag object "+id); err != nil || kind == "commit" {
			return target, err
		}
		id = target
	}
	return "", fail(godwit.CodeBadObject, "tag the commit itself", "a tag names a tag that names a tag, and so on")
}

// statement brings the tag object called id as it was signed.
func (s *Source) statement(ctx context.Context, id, name string) (st godwit.Statement, err error) {
	if s.tagID != id {
		if _, err = s.askTag(ctx, id, ""); err != nil {
			return st, err
		}
	}
	m, err := newMaker(id, object.Tag)
	if err != nil {
		return st, err
	}
	// Gitea 1.22 leaves out a signature by SSH altogether: so nobody can tell a tag
	// that is shown without one from a tag that has none, unless the rest is all of it.
	found := m.tag(s.tag)
	const instead = "set source.type = \"git\", or attach a signed manifest to the release"
	switch {
	case m.err != nil:
		return st, m.err
	case !found && (bytes.Contains(m.raw, []byte("-----BEGIN ")) || s.tag["verification.signature"] != ""):
		return st, fail(godwit.CodeProtocol, instead, "the host does not show the tag ", quote(name), " as it was signed")
	case !found:
		return st, fail(godwit.CodeUnsigned, instead, "the host shows no signature of the tag ", quote(name), ", and not all of the tag")
	case len(m.raw) > maxStatement:
		return st, fail(godwit.CodeLimit, "sign a tag with a shorter message", "the tag ", quote(name), " is larger than 64 KiB")
	}
	return tagStatement(m.raw), nil
}

func tagStatement(raw []byte) godwit.Statement {
	return godwit.Statement{Form: godwit.TagStatement, Body: bytes.NewReader(raw), Size: int64(len(raw))}
}

// A maker puts objects together.
type maker struct {
	want object.ID
	kind object.Type
	hash *object.Hasher
	raw  []byte // the last try
	err  error
}

func newMaker(id string, kind object.Type) (*maker, error) {
	want, err := object.ParseID(id)
	return &maker{want: want, kind: kind, hash: object.NewHasher(want.Format())}, err
}

// try reports whether these parts, one behind the other, are the object.
func (m *maker) try(parts ...string) bool {
	m.raw = m.raw[:0]
	for _, p := range parts {
		m.raw = append(m.raw, p...)
	}
	m.hash.Reset(m.kind, int64(len(m.raw)))
	m.hash.Write(m.raw)
	id, err := m.hash.ID()
	if err != nil {
		m.err = err
	}
	return err == nil && id == m.want
}

// tag puts a tag together. GitHub's verification has the text that was signed;
// Gitea's message may end with the signature. Hosts take the last line end off.
func (m *maker) tag(f fields) bool {
	payload, signature := f["verification.payload"], strings.TrimRight(f["verification.signature"], "\n")
	if payload != "" && (m.try(payload, signature, "\n") || m.try(payload, signature)) {
		return true
	}
	head := "object " + f["object.sha"] + "\ntype " + f["object.type"] + "\ntag " + f["tag"] + "\ntagger "
	return eachZone(f["tagger.date"], func(when string) bool {
		who := f.person("tagger", when)
		return m.try(head, who, "\n\n", f["message"]) || m.try(head, who, "\n\n", f["message"], "\n")
	})
}

// person gives "NAME <EMAIL> SECONDS ZONE".
func (f fields) person(role, when string) string {
	return f[role+".name"] + " <" + f[role+".email"] + "> " + when
}

// zones is the offsets from UTC that clocks have. GitHub tells times in UTC, so
// that they have to be guessed.
const zones = "+0000 +0100 +0200 +0300 +0400 +0500 +0600 +0700 +0800 +0900 +1000 +1100 +1200 +1300 +1400 " +
	"-0100 -0200 -0300 -0400 -0500 -0600 -0700 -0800 -0900 -1000 -1100 -1200 " +
	"-0930 -0330 -0230 +0330 +0430 +0530 +0545 +0630 +0845 +0930 +1030 +1245 +1345"

// eachZone calls fn with "SECONDS ZONE" for all zones, the date's own first,
// until it returns true, and reports whether it did.
func eachZone(date string, fn func(when string) bool) bool {
	at, err := time.Parse(time.RFC3339, date)
	if err != nil {
		return false
	}
	seconds := strconv.FormatInt(at.Unix(), 10) + " "
	if fn(seconds + at.Format("-0700")) {
		return true
	}
	for _, z := range strings.Fields(zones) {
		if fn(seconds + z) {
			return true
		}
	}
	return false
}

// askCommit asks for a commit.
func (s *Source) askCommit(ctx context.Context, id string) (f fields, when time.Time, err error) {
	q := question{at: s.at(commitObject, id), what: "the commit " + id}
	q.begin = func() error {
		f = fields{}
		return nil
	}
	q.see = func(path, text []byte) error {
		if inner, ok := bytes.CutPrefix(path, []byte("commit.")); ok {
			path = inner
		} else if s.kind == gitea && string(path) != "parents.sha" {
			return nil // about people who have accounts
		}
		f.take(wanted, path, text)
		return nil
	}
	_, ok, err := s.ask(ctx, &q)
	if err == nil && !ok {
		err = gone(q.what)
	}
	if err == nil && s.knowsTrees() {
		err = s.checkID(f["tree.sha"], q.what)
	}
	date := f["committer.date"]
	if s.kind == gitLab {
		date = f["committed_date"]
	}
	when, _ = time.Parse(time.RFC3339, date) // for people only
	return f, when, err
}

// prove finds out whether the commit called id really has the tree that the host
// says, and gives that.
func prove(id string, f fields) (tree string, err error) {
	m, err := newMaker(id, object.Commit)
	if err != nil {
		return "", err
	}
	if !m.commit(f) {
		if m.err != nil {
			return "", m.err
		}
		return "", fail(godwit.CodeBadSignature, "sign releases with godwit tag, which writes the tree into the tag, or set source.type = \"git\"",
			"it cannot be shown that the signed commit ", id, " has the files that the host says")
	}
	info, err := object.ReadCommit(bytes.NewReader(m.raw), m.want.Format())
	return info.Tree.String(), err
}

// commit puts a commit together. A signature stands in the header gpgsig, behind
// the others.
func (m *maker) commit(f fields) bool {
	head, text, signed := strings.Cut(f["verification.payload"], "\n\n")
	if signed {
		signature := strings.ReplaceAll(strings.TrimRight(f["verification.signature"], "\n"), "\n", "\n ")
		if m.try(head, "\ngpgsig ", signature, "\n\n", text) || m.try(head, "\ngpgsig ", signature, "\n \n\n", text) {
			return true
		}
	}
	head = "tree " + f["tree.sha"] + "\n"
	for _, p := range strings.Fields(f["parents.sha"]) {
		head += "parent " + p + "\n"
	}
	head += "author "
	const most = 16 << 10
	if len(head)+len(f["message"]) > most {
		return false // too much to try all
	}
	form := func(author, committer string) bool {
		author, committer = f.person("author", author), f.person("committer", committer)
		return m.try(head, author, "\ncommitter ", committer, "\n\n", f["message"], "\n") || m.try(head, author, "\ncommitter ", committer, "\n\n", f["message"])
	}
	// Mostly both were written in one place.
	return eachZone(f["committer.date"], func(committer string) bool {
		zone := committer[strings.IndexByte(committer, ' '):]
		return eachZone(f["author.date"], func(author string) bool {
			return strings.HasSuffix(author, zone) && form(author, committer)
		})
	}) || eachZone(f["committer.date"], func(committer string) bool {
		return eachZone(f["author.date"], func(author string) bool { return form(author, committer) })
	})
}
