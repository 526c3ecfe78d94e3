package github

import (
	"context"
	"errors"
	"io"
	"net/url"
	"strconv"
	"strings"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/internal/jsontext"
	"github.com/godwit-ota/godwit/internal/webclient"
)

// A question is one thing to ask the API.
type question struct {
	url    string
	accept string // "" is JSON
	what   string // for messages: "the latest release"
	// key names what the answer is remembered by, so that asking again costs next
	// to nothing while it stays the same. "" remembers nothing.
	key string
	// fixed is set where the answer is always the same: once known it is not
	// asked for again.
	fixed bool
	read  func(a *webclient.Answer) (string, error)
}

// attempts is how often an answer is asked for that breaks off.
const attempts = 3

// ask asks, and gives what read made of the answer, now or at an earlier time.
// ok is false if there is no such thing.
func (s *Source) ask(ctx context.Context, q question) (text string, ok bool, err error) {
	for n := 1; ; n++ {
		text, ok, err = s.askOnce(ctx, q)
		// An answer may break off; the requests themselves are tried again below.
		var cut *cutError
		if !errors.As(err, &cut) {
			return text, ok, err
		}
		if err = cut.err; n == attempts || ctx.Err() != nil || godwit.CodeOf(err) != godwit.CodeNetwork {
			return text, ok, err
		}
	}
}

// A cutError is an error in the middle of an answer.
type cutError struct{ err error }

func (e *cutError) Error() string { return e.err.Error() }
func (e *cutError) Unwrap() error { return e.err }

func (s *Source) askOnce(ctx context.Context, q question) (text string, ok bool, err error) {
	r := webclient.Request{URL: q.url, Header: map[string]string{"Accept": q.accept}}
	if q.accept == "" {
		r.Header["Accept"] = acceptJSON
	}
	old, known := s.answers.get(q.key, q.url)
	if known && q.fixed {
		return old.text, true, nil
	}
	if known {
		r.IfNoneMatch = old.etag
	}
	a, err := s.get(ctx, r)
	if err != nil {
		return "", false, err
	}
	defer a.Body.Close()
	switch a.Status {
	case 200:
	case 304:
		if known {
			return old.text, true, nil
		}
		return "", false, s.odd(q, errors.New("it says that nothing has changed"))
	case 404, 409, 410, 422: // 409: the repository is empty; 422: no such commit
		return "", false, nil
	default:
		return "", false, s.refused(a, q.what)
	}
	if text, err = q.read(a); err != nil {
		var known *godwit.Error
		if !errors.As(err, &known) {
			return "", false, s.odd(q, err)
		}
		return "", false, &cutError{err}
	}
	etag := a.ETag
	if q.fixed {
		etag = "fixed"
	}
	s.answers.put(q.key, answer{q.url, etag, text})
	return text, true, nil
}

// odd is the error of an answer that is not what the API promises.
func (s *Source) odd(q question, cause error) error {
	return godwit.Fail(godwit.CodeProtocol, cause, "the answer about "+q.what+" of "+s.name+" is not one of the API", "check source.url, source.type and source.api_url; a proxy may be in the way")
}

// get sends a request, with the token where that belongs, and takes note of what
// the answer says beside its content.
func (s *Source) get(ctx context.Context, r webclient.Request) (*webclient.Answer, error) {
	u, err := url.Parse(r.URL)
	if err != nil {
		return nil, godwit.Fail(godwit.CodeProtocol, nil, "the host gives an address that is none", "check source.url")
	}
	origin := webclient.OriginOf(u)
	if strings.HasPrefix(s.origin, "https:") && u.Scheme != "https" {
		return nil, godwit.Fail(godwit.CodeRedirect, nil, "the host sends us from https to plain http at "+u.Hostname(), "godwit does not leave an encrypted connection for one that is not")
	}
	if s.cfg.Token != "" {
		g, _ := s.host.(*gitHub)
		switch {
		case origin == s.origin:
			r.Secret = s.host.secret(s.cfg.Token)
		case g != nil && g.raw != "" && strings.HasPrefix(r.URL, g.raw+"/"):
			r.Secret = map[string]string{"Authorization": "token " + s.cfg.Token}
		}
	}
	a, err := s.web.Get(ctx, r)
	if err != nil {
		if godwit.CodeOf(err) == godwit.CodeRetryAfter && origin == s.origin {
			s.rate.usedUp()
		}
		return nil, err
	}
	if webclient.OriginOf(a.URL) == s.origin {
		s.rate.see(a.Header)
	}
	if a.Moved != "" && !s.told && origin == s.origin {
		s.told = true
		s.cfg.Events.Say(godwit.StageCheck, godwit.Warning, u.Hostname()+" says that "+s.name+" has another name now: set source.url to it")
	}
	return a, nil
}

// refused words an answer that is an error, with the host's own words.
func (s *Source) refused(a *webclient.Answer, what string) error {
	const most = 16 << 10
	var said error
	if v, err := jsontext.NewReader(io.LimitReader(a.Body, most), jsontext.Limits{Text: 4 << 10}).Value(most); err == nil && v.Get("message").Text != "" {
		said = errors.New("it says: " + webclient.Printable(v.Get("message").Text))
	}
	host, status := a.URL.Hostname(), "HTTP "+strconv.Itoa(a.Status)
	switch {
	case a.Status == 401:
		return godwit.Fail(godwit.CodeUnauthorized, said, host+" does not take source.token ("+status+")", "it may have ended, or been revoked: make a new one that may read "+s.name)
	case a.Status == 403 && s.cfg.Token == "":
		return godwit.Fail(godwit.CodeUnauthorized, said, host+" does not let us have "+what+" of "+s.name+" ("+status+")", "set source.token")
	case a.Status == 403:
		return godwit.Fail(godwit.CodeUnauthorized, said, host+" does not let us have "+what+" of "+s.name+" ("+status+")", "give the token of source.token the right to read the contents of "+s.name)
	}
	return godwit.Fail(godwit.CodeProtocol, said, host+" does not take the request for "+what+" of "+s.name+" ("+status+")", "check source.url, source.type and source.api_url")
}

// missing finds out why there is not what is followed. It costs one more request.
func (s *Source) missing(ctx context.Context, what, hint string) error {
	_, ok, err := s.ask(ctx, question{url: s.host.home(), what: "the repository", read: func(*webclient.Answer) (string, error) { return "", nil }})
	if err != nil {
		return err
	}
	if ok {
		return godwit.Fail(godwit.CodeNoRef, nil, s.name+" has no "+what, hint)
	}
	if s.cfg.Token == "" {
		hint = "check source.url; for a private repository set source.token: hosts hide what they do not want to show"
	} else {
		hint = "check source.url, and that the token of source.token may read it"
	}
	return godwit.Fail(godwit.CodeNotFound, nil, "there is no repository "+s.name+" at "+hostOf(s.origin), hint)
}

func hostOf(origin string) string {
	_, host, _ := strings.Cut(origin, "://")
	host = strings.TrimSuffix(strings.TrimSuffix(host, ":443"), ":80")
	return host
}

// small reads an answer that is a small document. Strings in it, such as a
// release's notes, may be long.
func small(a *webclient.Answer) (jsontext.Value, error) {
	const most = 1 << 20
	return jsontext.NewReader(a.Body, jsontext.Limits{Bytes: most, Text: most}).Value(0)
}

// members calls fn for each member of the object that j has just begun. fn must
// read, or skip, the value.
func members(j *jsontext.Reader, fn func(name string) error) error {
	for {
		k, err := j.Next()
		if err != nil || k == jsontext.End {
			return err
		}
		if k != jsontext.Name {
			return errors.New("it is not an object")
		}
		if err := fn(string(j.Text())); err != nil {
			return err
		}
	}
}

// elements calls fn for each element of the array that j has just begun, after
// its first token.
func elements(j *jsontext.Reader, fn func(k jsontext.Kind) error) error {
	for {
		k, err := j.Next()
		if err != nil || k == jsontext.End {
			return err
		}
		if err := fn(k); err != nil {
			return err
		}
	}
}

// begin reads the first token, which must be of a kind.
func begin(j *jsontext.Reader, want jsontext.Kind) error {
	k, err := j.Next()
	if err == nil && k != want {
		err = errors.New("it is of another form")
	}
	return err
}
