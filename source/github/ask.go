package github

import (
	"context"
	"errors"
	"io"
	"net/url"
	"strings"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/internal/jsontext"
	"github.com/godwit-ota/godwit/internal/webclient"
)

// A question is one thing to ask the API.
type question struct {
	at   string // its address
	what string // for messages: "the latest release"
	// key names what the answer is remembered by, so that asking again costs next
	// to nothing while it stays the same. "" remembers nothing. fixed is set where
	// the answer is always the same: once known it is not asked for again.
	key   string
	fixed bool
	most  int64 // bytes of the answer; 0 is 1 MiB
	used  int64 // bytes of the answer that came
	// tooLarge words an answer that is larger; nil is a sentence for all.
	tooLarge func() error
	// begin forgets what an answer that broke off said; nil has nothing to forget.
	begin func() error
	// see gets the answer's values, as scan gives them.
	see func(path, text []byte) error
	// result gives what to remember.
	result func(a *webclient.Answer) string
}

// attempts is how often an answer is asked for that breaks off.
const attempts = 3

// ask asks, and gives the result of the answer, now or at an earlier time. ok is
// false if there is no such thing.
func (s *Source) ask(ctx context.Context, q *question) (text string, ok bool, err error) {
	for n := 1; ; n++ {
		cut := false
		text, ok, cut, err = s.askOnce(ctx, q)
		if !cut || n == attempts || ctx.Err() != nil || godwit.CodeOf(err) != godwit.CodeNetwork {
			return text, ok, err
		}
	}
}

// What is asked for.
const (
	acceptJSON = "application/json"
	acceptSHA  = "application/vnd.github.sha" // nothing but the id of a commit
)

// askOnce also reports whether an answer broke off.
func (s *Source) askOnce(ctx context.Context, q *question) (text string, ok, cut bool, err error) {
	accept := acceptJSON
	if s.kind == gitHub && q.key == branchKey {
		accept = acceptSHA
	}
	old := s.answers.get(q.key, q.at)
	if old != nil && q.fixed {
		return old.text, true, false, nil
	}
	r := webclient.Request{URL: q.at, Header: map[string]string{"Accept": accept, "X-GitHub-Api-Version": "2022-11-28"}} // which others pass over
	if old != nil {
		r.IfNoneMatch = old.etag
	}
	a, err := s.get(ctx, r)
	if err != nil {
		return "", false, false, err
	}
	defer a.Body.Close()
	switch {
	case a.Status == 200:
	case a.Status == 304 && old != nil:
		return old.text, true, false, nil
	case a.Status == 404, a.Status == 409, a.Status == 410, a.Status == 422: // 409: the repository is empty; 422: no such commit
		return "", false, false, nil
	default:
		return "", false, false, s.refused(a, q.what)
	}
	if q.begin != nil {
		err = q.begin()
	}
	most := q.most
	if most == 0 {
		most = 1 << 20
	}
	switch {
	case err != nil:
	case accept == acceptSHA:
		var b [65]byte
		n, e := io.ReadFull(a.Body, b[:])
		if err = e; err == io.ErrUnexpectedEOF || err == io.EOF {
			err = q.see(nil, []byte(strings.TrimSpace(string(b[:n]))))
		}
	default:
		in := &meter{r: a.Body, left: most, what: q.tooLarge}
		if in.what == nil {
			in.what = func() error { return errors.New("it is too large") }
		}
		err = scan(in, q.see)
		q.used = in.n
	}
	if err != nil {
		var known *godwit.Error
		if !errors.As(err, &known) {
			err = s.odd(q.what, err)
		}
		return "", false, true, err
	}
	if q.result != nil {
		text = q.result(a)
	}
	etag := a.ETag
	if q.fixed {
		etag = "fixed"
	}
	s.answers.put(q.key, answer{q.at, etag, text})
	return text, true, false, nil
}

// odd is the error of an answer that is not what the API promises.
func (s *Source) odd(what string, cause error) error {
	return godwit.Fail(godwit.CodeProtocol, cause, "the answer about "+what+" of "+s.name+" is not one of the API", apiHint)
}

const apiHint = "check source.url, source.type and source.api_url; a proxy may be in the way"

// get sends a request, with the token where that belongs, and takes note of what
// the answer says beside its content.
func (s *Source) get(ctx context.Context, r webclient.Request) (*webclient.Answer, error) {
	u, err := url.Parse(r.URL)
	if err != nil || strings.HasPrefix(s.origin, "https:") && u.Scheme != "https" {
		return nil, fail(godwit.CodeRedirect, "godwit does not leave an encrypted connection for one that is not", s.name, " has a file that is not at an https address")
	}
	origin := webclient.OriginOf(u)
	r.Secret = s.secret(r.URL, origin)
	a, err := s.web.Get(ctx, r)
	if err != nil {
		if godwit.CodeOf(err) == godwit.CodeRetryAfter && origin == s.origin {
			r := s.answers.rate()
			r.remaining = 0
			s.answers.setRate(r)
		}
		return nil, err
	}
	if webclient.OriginOf(a.URL) == s.origin {
		s.answers.see(a.Header)
	}
	if a.Moved != "" && !s.told && origin == s.origin {
		s.told = true
		s.cfg.Events.Say(godwit.StageCheck, godwit.Warning, u.Hostname()+" says that "+s.name+" has another name now: set source.url to it")
	}
	return a, nil
}

// refused words an answer that is an error, with the host's own words.
func (s *Source) refused(a *webclient.Answer, what string) error {
	var said error
	scan(io.LimitReader(a.Body, 16<<10), func(path, text []byte) error {
		if string(path) == "message" {
			said = errors.New("it says: " + webclient.Printable(string(text)))
		}
		return nil
	}) // whatever else it is
	return a.Refused(what+" of "+s.name, "", said)
}

// missing finds out why there is not what is followed. It costs one more request.
func (s *Source) missing(ctx context.Context, hint string, what ...string) error {
	_, ok, err := s.ask(ctx, &question{at: s.api, what: "the repository", see: func(_, _ []byte) error { return nil }})
	switch {
	case err != nil:
		return err
	case ok:
		return fail(godwit.CodeNoRef, hint, s.name, " has no ", strings.Join(what, ""))
	}
	hint = "check source.url; for a private repository set source.token: hosts hide what they do not want to show"
	if s.cfg.Token != "" {
		hint = "check source.url, and that the token of source.token may read it"
	}
	return fail(godwit.CodeNotFound, hint, "there is no repository ", s.name, " at ", s.origin)
}

// gone is the error of something that the host named itself.
func gone(what ...string) error {
	return fail(godwit.CodeMissingObject, "the branch or tag may just have moved: try again", "the host does not have ", strings.Join(what, ""), ", which it named itself")
}

// scan calls see for the values of an answer, as jsontext.Scan does. Texts, such
// as a release's notes, may be long.
func scan(r io.Reader, see func(path, text []byte) error) error {
	return jsontext.Scan(r, jsontext.Limits{Text: 1 << 20}, see)
}

// fields are values of an answer by name.
type fields map[string]string

// take keeps the values of one object that are in want, a list between spaces.
// Of parents there may be many.
func (f fields) take(want string, path, text []byte) {
	name := string(path)
	if !strings.Contains(want, " "+name+" ") {
		return
	}
	if old, ok := f[name]; ok && name == "parents.sha" {
		f[name] = old + " " + string(text)
	} else {
		f[name] = string(text)
	}
}
