package wire

import (
	"context"
	"errors"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/internal/http1"
	"github.com/godwit-ota/godwit/internal/webclient"
)

// explain puts any error of an exchange into a godwit.Error.
func (c *Client) explain(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	var caller *callerError
	if errors.As(err, &caller) {
		return caller.err
	}
	if ctx.Err() != nil {
		return webclient.Stopped(ctx)
	}
	var known *godwit.Error
	if errors.As(err, &known) {
		if r := (*redirected)(nil); errors.As(err, &r) {
			return r.err
		}
		return err
	}
	var remote *remoteError
	switch {
	case errors.As(err, &remote):
		return c.explainRemote(remote)
	case errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.ErrClosedPipe) || errors.Is(err, syscall.EPIPE) || errors.Is(err, os.ErrClosed):
		return c.t.broke(err)
	}
	return godwit.Fail(godwit.CodeProtocol, err, "the answer of "+c.name()+" is not Git's protocol",
		"check that source.url is the URL that git clone takes")
}

// name is how messages call the other side.
func (c *Client) name() string {
	if c.at.scheme == "file" {
		return c.at.path
	}
	return c.at.host
}

// explainRemote finds the meaning of what a server says before it gives up.
func (c *Client) explainRemote(e *remoteError) error {
	low := strings.ToLower(e.text)
	has := func(words ...string) bool {
		for _, w := range words {
			if strings.Contains(low, w) {
				return true
			}
		}
		return false
	}
	switch {
	case has("dubious ownership"):
		return godwit.Fail(godwit.CodeUnauthorized, e, "git does not read "+c.at.path+", which belongs to another user",
			"allow it: git config --system --add safe.directory "+c.at.path)
	case has("not our ref", "unadvertised object"):
		return godwit.Fail(godwit.CodeMissingObject, e, "the Git host no longer has what was asked for",
			"the branch or tag may just have moved; try again")
	case has("not found", "be found", "not exist", "not exported", "does not appear to be a git repository", "no such"):
		return godwit.Fail(godwit.CodeNotFound, e, "there is no repository at "+c.at.String()+", or not for these credentials",
			"check source.url and the credentials")
	case has("denied", "authenti", "authoriz", "permission", "forbidden"):
		return godwit.Fail(godwit.CodeUnauthorized, e, "the Git host refused these credentials for "+c.at.String(), "check the credentials in section source")
	}
	return godwit.Fail(godwit.CodeProtocol, e, "the Git host gave up", "its words may tell more; try again later")
}

// accept looks at the head of an answer: is it one that Git gives?
func (t *httpTransport) accept(resp *http1.Response, want string) error {
	host := resp.Request.URL.Hostname()
	fail := func(code godwit.Code, text, hint string) error { return godwit.Fail(code, nil, text, hint) }
	status := "HTTP " + strconv.Itoa(resp.StatusCode)
	if err := t.pauses.Obey(t.c.at.address(), resp); err != nil {
		return err
	}
	switch s := resp.StatusCode; {
	case s == http1.StatusOK:
		kind, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";")
		if strings.EqualFold(strings.TrimSpace(kind), want) {
			return nil
		}
		return t.notGit(resp, kind)
	case s == http1.StatusUnauthorized || s == http1.StatusForbidden:
		switch {
		case webclient.OriginOf(resp.Request.URL) != t.home && t.c.cfg.hasCredentials():
			return fail(godwit.CodeUnauthorized, host+", where "+t.c.at.host+" sends us, asks for credentials ("+status+")",
				"credentials are only sent to the host in source.url; set it to "+printable([]byte(t.shownBase(resp))))
		case t.c.cfg.hasCredentials():
			return fail(godwit.CodeUnauthorized, host+" refuses these credentials ("+status+")",
				"check source.token, or source.username and source.password: may they read this repository, and are they still valid?")
		case s == http1.StatusForbidden:
			return fail(godwit.CodeUnauthorized, host+" refuses access to "+t.c.at.String()+" ("+status+")", "set source.token, or source.username and source.password")
		}
		return fail(godwit.CodeUnauthorized, host+" asks for credentials ("+status+")", "set source.token, or source.username and source.password")
	case s == http1.StatusProxyAuthRequired:
		return webclient.AskedByProxy(nil)
	case s == http1.StatusNotFound || s == http1.StatusGone:
		hint := "check source.url"
		if !t.c.cfg.hasCredentials() {
			hint += "; for a private repository set source.token: many hosts hide what they do not want to show"
		} else {
			hint += " and that the credentials may read it"
		}
		return fail(godwit.CodeNotFound, "there is no Git repository at "+t.c.at.String()+" ("+status+")", hint)
	case s == http1.StatusNetworkAuthenticationRequired:
		return fail(godwit.CodeNetwork, "the network wants a log-in first ("+status+")", "log in to the network with a browser")
	case s == http1.StatusRequestTimeout || s >= 500:
		return fail(godwit.CodeNetwork, host+" has a fault ("+status+")", "nothing to do here: try again later")
	}
	return fail(godwit.CodeProtocol, host+" does not take Git's request ("+status+")", "check that source.url is the URL that git clone takes")
}

func (t *httpTransport) shownBase(resp *http1.Response) string {
	u := *resp.Request.URL
	u.User, u.RawQuery = nil, ""
	u.Path = strings.TrimSuffix(strings.TrimSuffix(u.Path, "/info/refs"), servicePath)
	u.RawPath = ""
	return u.String()
}

// notGit names what answered with 200 and something else than Git.
func (t *httpTransport) notGit(resp *http1.Response, kind string) error {
	host := resp.Request.URL.Hostname()
	start := make([]byte, 512)
	n, _ := io.ReadFull(resp.Body, start)
	start = start[:n]
	low := strings.ToLower(string(start))
	switch {
	case strings.Contains(strings.ToLower(kind), "html") || strings.Contains(low, "<html") || strings.Contains(low, "<!doctype"):
		if resp.Request.URL.Scheme == "https" {
			// Whoever answered has the host's certificate, so it is the host.
			return godwit.Fail(godwit.CodeProtocol, nil, host+" answers with a web page instead of a Git repository",
				"source.url must be the URL that git clone takes, often ending in .git")
		}
		return godwit.Fail(godwit.CodeNetwork, nil, "a web page answers instead of the Git repository at "+host,
			"the network may want a log-in first (a captive portal); otherwise check source.url. With https:// no network could answer in the host's place")
	case isDumb(start):
		return godwit.Fail(godwit.CodeProtocol, nil, host+" only serves the repository's files (\"dumb\" HTTP)",
			"godwit needs a host that runs git http-backend, or any Git service; ask whoever runs it to set that up")
	}
	if kind == "" {
		kind = "no content type"
	}
	return godwit.Fail(godwit.CodeProtocol, nil, host+" does not answer as a Git host does ("+printable([]byte(kind))+")",
		"check that source.url is the URL that git clone takes")
}

// isDumb recognizes the file info/refs: "OID TAB NAME" lines.
func isDumb(b []byte) bool {
	id, _, ok := strings.Cut(string(b), "\t")
	return ok && (isID(id, 40) || isID(id, 64))
}

// staleness reports whether err may come from remembered capabilities that are
// no longer true, rather than from the network or the credentials.
func staleness(err error, moved bool) bool {
	var r *redirected
	if errors.Is(err, ErrNotReady) {
		return false
	}
	if errors.As(err, &r) || errors.Is(err, ErrNoFilter) {
		return true
	}
	var known *godwit.Error
	if !errors.As(err, &known) {
		var caller *callerError
		return !errors.As(err, &caller) && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded)
	}
	switch known.Code {
	case godwit.CodeProtocol, godwit.CodeNotFound, godwit.CodeRedirect:
		return true
	case godwit.CodeUnauthorized, godwit.CodeTLS, godwit.CodeNetwork:
		return moved
	}
	return false
}
