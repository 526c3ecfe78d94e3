package github

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/internal/jsontext"
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

// follow finds the commit that an annotated tag names.
func (s *Source) follow(ctx context.Context, id string) (string, error) {
	what := "the tag object " + id
	for range maxTagChain {
		q := question{url: s.host.tag(id), what: what, key: "target", fixed: true, read: func(a *webclient.Answer) (string, error) {
			v, err := small(a)
			s.tagID, s.tag = id, v
			o := v.Get("object")
			return o.Get("type").Text + " " + o.Get("sha").Text, err
		}}
		text, ok, err := s.ask(ctx, q)
		if err != nil {
			return "", err
		}
		kind, target, _ := strings.Cut(text, " ")
		switch {
		case !ok:
			return "", godwit.Fail(godwit.CodeMissingObject, nil, "the host does not have "+what+", which it named itself", "the tag may just have moved; try again")
		case kind != "commit" && kind != "tag":
			return "", godwit.Fail(godwit.CodeNoRef, nil, "the tag names a "+webclient.Printable(kind)+" and not a commit", "tag a commit")
		}
		if err := s.checkID(target, what); err != nil || kind == "commit" {
			return target, err
		}
		id = target
	}
	return "", godwit.Fail(godwit.CodeBadObject, nil, "a tag names a tag that names a tag, and so on", "tag the commit itself")
}

// statement brings the tag object called id as it was signed.
func (s *Source) statement(ctx context.Context, id, name string) (godwit.Statement, error) {
	want, err := object.ParseID(id)
	if err != nil {
		return godwit.Statement{}, err
	}
	if s.tagID != id {
		q := question{url: s.host.tag(id), what: "the tag " + quote(name), read: func(a *webclient.Answer) (string, error) {
			v, err := small(a)
			s.tagID, s.tag = id, v
			return "", err
		}}
		if _, ok, err := s.ask(ctx, q); err != nil || !ok {
			if err == nil {
				err = godwit.Fail(godwit.CodeMissingObject, nil, "the host does not have the tag object "+id+", which it named itself", "the tag may just have moved; try again")
			}
			s.tagID = ""
			return godwit.Statement{}, err
		}
	}
	raw, err := match(want, object.Tag, tagForms(s.tag))
	if err != nil {
		return godwit.Statement{}, err
	}
	if raw == nil {
		for plain := range tagForms(s.tag) {
			raw = plain // as good as any: without a signature it is refused
		}
		if bytes.Contains(raw, []byte("-----BEGIN ")) || s.tag.Get("verification").Get("signature").Text != "" {
			return godwit.Statement{}, godwit.Fail(godwit.CodeProtocol, nil, hostOf(s.origin)+" does not show the tag "+quote(name)+" as it was signed",
				"set source.type = \"git\", or attach a signed manifest to the release")
		}
	}
	if len(raw) > maxStatement {
		return godwit.Statement{}, godwit.Fail(godwit.CodeLimit, nil, "the tag "+quote(name)+" is larger than 64 KiB", "sign a tag with a shorter message")
	}
	return godwit.Statement{Form: godwit.TagStatement, Body: bytes.NewReader(raw), Size: int64(len(raw))}, nil
}

// match gives the form that has the id, nil if none has.
func match(want object.ID, kind object.Type, forms iter.Seq[[]byte]) ([]byte, error) {
	h := object.NewHasher(want.Format())
	for raw := range forms {
		h.Reset(kind, int64(len(raw)))
		h.Write(raw)
		id, err := h.ID()
		if err != nil {
			return nil, err
		}
		if id == want {
			return raw, nil
		}
	}
	return nil, nil
}

// tagForms gives what the answer v may have been made of: GitHub's "git-tag",
// whose verification has the text that was signed, or Gitea's "AnnotatedTag",
// whose message may end with the signature.
func tagForms(v jsontext.Value) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		check := v.Get("verification")
		payload, signature := check.Get("payload").Text, check.Get("signature").Text
		if payload != "" {
			for _, end := range ends(signature) {
				if !yield([]byte(payload + end)) {
					return
				}
			}
		}
		o := v.Get("object")
		head := "object " + o.Get("sha").Text + "\ntype " + o.Get("type").Text + "\ntag " + v.Get("tag").Text + "\ntagger "
		message := v.Get("message").Text
		texts := []string{message, message + "\n"}
		if signature != "" && !strings.Contains(message, "-----BEGIN ") {
			for _, end := range ends(signature) {
				texts = append(texts, message+end, message+"\n"+end)
			}
		}
		for who := range person(v.Get("tagger")) {
			for _, text := range texts {
				if !yield([]byte(head + who + "\n\n" + text)) {
					return
				}
			}
		}
	}
}

// ends gives the ways in which a signature may have ended: hosts take the last
// line end off.
func ends(signature string) []string {
	trimmed := strings.TrimRight(signature, "\n")
	if signature == trimmed {
		return []string{signature + "\n", signature}
	}
	return []string{signature, trimmed + "\n", trimmed}
}

// person gives the forms "NAME <EMAIL> SECONDS ZONE" of an author. GitHub tells
// times in UTC, so that the zone has to be guessed.
func person(v jsontext.Value) iter.Seq[string] {
	return func(yield func(string) bool) {
		at, err := time.Parse(time.RFC3339, v.Get("date").Text)
		if err != nil {
			return
		}
		head := v.Get("name").Text + " <" + v.Get("email").Text + "> " + strconv.FormatInt(at.Unix(), 10) + " "
		for _, zone := range zones(at) {
			if !yield(head + zone) {
				return
			}
		}
	}
}

// zones is the offsets from UTC that clocks have, at's own first.
func zones(at time.Time) []string {
	list := []string{at.Format("-0700")}
	for h := -12; h <= 14; h++ {
		sign, n := "+", h
		if h < 0 {
			sign, n = "-", -h
		}
		list = append(list, sign+string([]byte{byte('0' + n/10), byte('0' + n%10)})+"00")
	}
	return append(list, "-0930", "-0330", "-0230", "+0330", "+0430", "+0530", "+0545", "+0630", "+0845", "+0930", "+1030", "+1245", "+1345")
}

// A commit is what the API says of one.
type commit struct {
	tree string // "" where the host does not say
	when time.Time
	v    jsontext.Value
}

// askCommit asks for a commit.
func (s *Source) askCommit(ctx context.Context, id string) (c commit, err error) {
	q := question{url: s.host.commit(id), what: "the commit " + id, read: func(a *webclient.Answer) (string, error) {
		c.v, err = small(a)
		return "", err
	}}
	_, ok, err := s.ask(ctx, q)
	if err == nil && !ok {
		err = godwit.Fail(godwit.CodeMissingObject, nil, "the host does not have the commit "+id, "the branch or tag may just have moved; try again")
	}
	if err != nil {
		return c, err
	}
	inner := c.v // GitHub's "git-commit"
	if g := c.v.Get("commit"); g.Kind == jsontext.Object {
		inner = g // Gitea's "Commit"
	}
	c.tree = inner.Get("tree").Get("sha").Text
	date := inner.Get("committer").Get("date").Text
	if d := c.v.Get("committed_date").Text; d != "" {
		date = d // GitLab's
	}
	c.when, _ = time.Parse(time.RFC3339, date) // for people only
	if c.tree != "" {
		err = s.checkID(c.tree, q.what)
	} else if s.host.tag("") != "" {
		err = s.odd(q, errors.New("it names no tree"))
	}
	return c, err
}

// prove finds out whether the commit called id really has the tree that the host
// says, and gives that.
func (c *commit) prove(id string) (tree string, err error) {
	want, err := object.ParseID(id)
	if err != nil {
		return "", err
	}
	raw, err := match(want, object.Commit, commitForms(c.v))
	if err != nil {
		return "", err
	}
	if raw == nil {
		return "", godwit.Fail(godwit.CodeBadSignature, nil, "it cannot be shown that the signed commit "+id+" has the files that the host says",
			"sign releases with godwit tag, which writes the tree into the tag, or set source.type = \"git\"")
	}
	info, err := object.ReadCommit(bytes.NewReader(raw), want.Format())
	return info.Tree.String(), err
}

// commitForms gives what the answer v may have been made of. A signature stands
// in the header gpgsig, behind the others.
func commitForms(v jsontext.Value) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		inner := v
		if g := v.Get("commit"); g.Kind == jsontext.Object {
			inner = g
		}
		check := inner.Get("verification")
		if payload, signature := check.Get("payload").Text, check.Get("signature").Text; payload != "" && signature != "" {
			if head, text, ok := strings.Cut(payload, "\n\n"); ok {
				trimmed := strings.ReplaceAll(strings.TrimRight(signature, "\n"), "\n", "\n ")
				for _, end := range []string{"", "\n "} {
					for _, key := range []string{"gpgsig ", "gpgsig-sha256 "} {
						if !yield([]byte(head + "\n" + key + trimmed + end + "\n\n" + text)) {
							return
						}
					}
				}
			}
		}
		head := "tree " + inner.Get("tree").Get("sha").Text + "\n"
		for _, p := range v.Get("parents").List {
			head += "parent " + p.Get("sha").Text + "\n"
		}
		message := inner.Get("message").Text
		const most = 16 << 10
		if len(head)+len(message) > most {
			return // too much to try all
		}
		form := func(author, committer string) bool {
			for _, text := range []string{message + "\n", message} {
				if !yield([]byte(head + "author " + author + "\ncommitter " + committer + "\n\n" + text)) {
					return false
				}
			}
			return true
		}
		// Mostly both were written in one place.
		for pass := range 2 {
			i := 0
			for author := range person(inner.Get("author")) {
				k := 0
				for committer := range person(inner.Get("committer")) {
					if (i == k) == (pass == 0) && !form(author, committer) {
						return
					}
					k++
				}
				i++
			}
		}
	}
}

func readFull(r io.Reader, b []byte) (int, error) {
	n, err := io.ReadFull(r, b)
	if err == io.ErrUnexpectedEOF || err == io.EOF {
		err = nil
	}
	return n, err
}
