package lfs

import (
	"bytes"
	"context"
	"errors"
	"net/url"
	"strconv"
	"strings"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/internal/http1"
	"github.com/godwit-ota/godwit/internal/jsontext"
)

// A Remote is the host of a repository, as source/git/wire reaches it.
type Remote interface {
	// LFSEndpoint gives the URL of the LFS server, or a file:// URL of a folder
	// with its objects, and headers for requests to that server.
	LFSEndpoint(ctx context.Context) (endpoint string, header map[string]string, err error)
	// RoundTrip sends a request. It adds the credentials of the Git host if the
	// request goes there, unless it has an Authorization already, and words
	// errors as godwit.Errors.
	RoundTrip(*http1.Request) (*http1.Response, error)
}

// BatchLimit is the most pointers that Prepare takes at once.
const BatchLimit = 100

const mediaType = "application/vnd.git-lfs+json"

const maxBatchAnswer = 512 << 10

// A Client fetches LFS objects of one repository. It is not safe for
// concurrent use.
type Client struct {
	remote   Remote
	override string
	endpoint string
	header   map[string]string
	actions  map[string]*action // by OID; what the last Prepare learned
}

// New returns a Client. endpoint is the URL of the LFS server; "" takes the one
// that belongs to the repository.
func New(remote Remote, endpoint string) *Client {
	return &Client{remote: remote, override: strings.TrimRight(endpoint, "/")}
}

// An action says how to get one object.
type action struct {
	href   string
	header map[string]string
}

// find learns the endpoint.
func (c *Client) find(ctx context.Context) error {
	if c.endpoint != "" {
		return nil
	}
	if c.override != "" {
		c.endpoint = c.override
		return nil
	}
	endpoint, header, err := c.remote.LFSEndpoint(ctx)
	if err != nil {
		return err
	}
	c.endpoint, c.header = endpoint, header
	return nil
}

// folder is where objects are on this machine, if they are.
func (c *Client) folder() (string, bool) {
	return strings.CutPrefix(c.endpoint, "file://")
}

// Prepare asks where the objects are, at most BatchLimit of them, and forgets
// what an earlier Prepare learned. Download does that by itself for objects
// that were not prepared, with a request for each. An object that the server
// does not have is reported by Download.
func (c *Client) Prepare(ctx context.Context, pointers []Pointer) error {
	if len(pointers) > BatchLimit {
		return godwit.Fail(godwit.CodeFailed, nil, "too many LFS objects are asked for at once", "")
	}
	if err := c.find(ctx); err != nil {
		return err
	}
	c.actions = make(map[string]*action, len(pointers))
	if _, local := c.folder(); local || len(pointers) == 0 {
		return nil
	}
	_, err := c.batch(ctx, pointers)
	return err
}

// batch speaks the batch API. It returns the first error about an object.
func (c *Client) batch(ctx context.Context, pointers []Pointer) (refused error, err error) {
	objects := make([]jsontext.Fields, 0, len(pointers))
	for _, p := range pointers {
		objects = append(objects, jsontext.Fields{{Name: "oid", Value: p.OID}, {Name: "size", Value: p.Size}})
	}
	body := jsontext.Append(nil, jsontext.Fields{
		{Name: "operation", Value: "download"},
		{Name: "transfers", Value: []string{"basic"}},
		{Name: "objects", Value: objects},
		{Name: "hash_algo", Value: "sha256"},
	})
	r, err := http1.NewRequestWithContext(ctx, http1.MethodPost, c.endpoint+"/objects/batch", bytes.NewReader(body))
	if err != nil {
		return nil, godwit.Fail(godwit.CodeConfig, err, "the LFS server's URL is not one", "check source.url")
	}
	r.Header.Set("Accept", mediaType)
	r.Header.Set("Content-Type", mediaType)
	for k, v := range c.header {
		setHeader(r, k, v)
	}
	resp, err := c.remote.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http1.StatusOK {
		return nil, statusError(resp, "the LFS server "+r.URL.Hostname())
	}
	var (
		found  answered
		format string // what is not as it was asked for
	)
	asked := make(map[string]int64, len(pointers))
	for _, p := range pointers {
		asked[p.OID] = p.Size
	}
	err = jsontext.Scan(resp.Body, jsontext.Limits{Bytes: maxBatchAnswer}, func(path, text []byte) error {
		name, value := string(path), string(text)
		rest, in := strings.CutPrefix(name, "objects")
		switch {
		case name == "transfer" && value != "" && value != "basic", name == "hash_algo" && value != "" && value != "sha256":
			format = strconv.QuoteToASCII(cut(value))
		case rest == "/":
			if size, ok := asked[found.oid]; ok {
				if problem := c.learn(&found, size); refused == nil {
					refused = problem
				}
			}
			found = answered{}
		case in:
			found.see(rest, value)
		}
		return nil
	})
	var syntax *jsontext.SyntaxError
	var limit *jsontext.LimitError
	switch {
	case errors.As(err, &syntax), errors.As(err, &limit):
		return nil, godwit.Fail(godwit.CodeProtocol, err, "the answer of "+r.URL.Hostname()+" is not one of an LFS server", "does this host have LFS? Otherwise set source.lfs = false")
	case err != nil:
		return nil, brokenOff(err, r.URL.Hostname())
	case format != "":
		return nil, godwit.Fail(godwit.CodeProtocol, nil, "the LFS server offers only "+format, "godwit downloads with the transfer basic, and knows sha256")
	}
	return refused, nil
}

// answered is what the server says of one object.
type answered struct {
	oid, size     string
	failed        bool
	code, message string
	action
}

func (a *answered) see(name, value string) {
	if field, ok := strings.CutPrefix(name, ".actions.download.header."); ok {
		if a.header == nil {
			a.header = make(map[string]string)
		}
		a.header[field] = value
		return
	}
	a.failed = a.failed || strings.HasPrefix(name, ".error.")
	switch name {
	case ".oid":
		a.oid = value
	case ".size":
		a.size = value
	case ".error.code":
		a.code = value
	case ".error.message":
		a.message = value
	case ".actions.download.href":
		a.href = value
	}
}

// learn takes in what the server says of an object that was asked for.
func (c *Client) learn(a *answered, size int64) error {
	if a.failed {
		code, _ := strconv.Atoi(a.code)
		return objectError(a.oid, code, a.message)
	}
	if a.size != strconv.FormatInt(size, 10) {
		return godwit.Fail(godwit.CodeBadObject, nil, "the LFS object "+short(a.oid)+" has "+strconv.QuoteToASCII(cut(a.size))+" bytes at the server, and "+strconv.FormatInt(size, 10)+" by its pointer",
			"the repository's LFS server must be repaired")
	}
	if a.href != "" {
		action := a.action
		c.actions[a.oid] = &action
	}
	return nil
}

// action gives how to download p, asking if fresh is set or nothing is known.
func (c *Client) action(ctx context.Context, p Pointer, fresh bool) (*action, error) {
	if a := c.actions[p.OID]; a != nil && !fresh {
		return a, nil
	}
	if c.actions == nil {
		c.actions = make(map[string]*action)
	}
	delete(c.actions, p.OID)
	refused, err := c.batch(ctx, []Pointer{p})
	if err == nil {
		err = refused
	}
	if err != nil {
		return nil, err
	}
	a := c.actions[p.OID]
	if a == nil {
		return nil, godwit.Fail(godwit.CodeMissingObject, nil, "the LFS server does not have the object "+short(p.OID), "push it: git lfs push --all")
	}
	u, err := url.Parse(a.href)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		delete(c.actions, p.OID)
		return nil, godwit.Fail(godwit.CodeProtocol, nil, "the LFS server gives no web address for the object "+short(p.OID), "the LFS server must be repaired")
	}
	if u.Scheme == "http" && strings.HasPrefix(c.endpoint, "https:") {
		delete(c.actions, p.OID)
		return nil, godwit.Fail(godwit.CodeRedirect, nil, "the LFS server sends us from https to plain http at "+u.Hostname(), "godwit does not leave an encrypted connection for one that is not")
	}
	return a, nil
}

// setHeader adds a header that the server asked for, except those that say how
// the request itself is made.
func setHeader(r *http1.Request, key, value string) {
	switch http1.CanonicalHeaderKey(key) {
	case "Host", "Range", "If-Range", "Accept-Encoding", "Content-Length", "Content-Type", "Transfer-Encoding", "Connection", "Te", "Trailer", "Upgrade":
		return
	}
	r.Header.Set(key, value)
}

func objectError(oid string, code int, message string) error {
	cause := errors.New("the server says: " + strconv.QuoteToASCII(cut(message)))
	switch code {
	case http1.StatusNotFound, http1.StatusGone:
		return godwit.Fail(godwit.CodeMissingObject, cause, "the LFS server does not have the object "+short(oid), "push it: git lfs push --all")
	case http1.StatusUnauthorized, http1.StatusForbidden:
		return godwit.Fail(godwit.CodeUnauthorized, cause, "the LFS server does not let us have the object "+short(oid), "check the credentials in section source")
	}
	return godwit.Fail(godwit.CodeNetwork, cause, "the LFS server cannot give the object "+short(oid), "try again later")
}

// statusError words an answer that is no success.
func statusError(resp *http1.Response, who string) error {
	status := "HTTP " + strconv.Itoa(resp.StatusCode)
	switch s := resp.StatusCode; {
	case s == http1.StatusUnauthorized || s == http1.StatusForbidden:
		return godwit.Fail(godwit.CodeUnauthorized, nil, who+" refuses access ("+status+")", "check the credentials in section source")
	case s == http1.StatusNotFound || s == http1.StatusGone:
		return godwit.Fail(godwit.CodeNotFound, nil, who+" has nothing there ("+status+")", "does this host have LFS for the repository, and do the credentials allow it?")
	case s == http1.StatusTooManyRequests || s == http1.StatusInsufficientStorage || s == 509:
		return godwit.Fail(godwit.CodeNetwork, nil, who+" wants us to come back later ("+status+")", "its quota may be used up; try again later")
	case s >= 500 || s == http1.StatusRequestTimeout:
		return godwit.Fail(godwit.CodeNetwork, nil, who+" has a fault ("+status+")", "try again later")
	case s >= 300 && s < 400:
		return godwit.Fail(godwit.CodeRedirect, nil, who+" sends us elsewhere ("+status+")", "set source.url to where the repository is now")
	}
	return godwit.Fail(godwit.CodeProtocol, nil, who+" does not take the request ("+status+")", "does this host have LFS?")
}

// brokenOff words the error of a body that could not be read.
func brokenOff(err error, host string) error {
	var known *godwit.Error
	if errors.As(err, &known) {
		return err
	}
	return godwit.Fail(godwit.CodeNetwork, err, "the connection to "+host+" broke", "try again")
}

func cut(s string) string { return s[:min(len(s), 100)] }

func short(oid string) string { return oid[:min(len(oid), 12)] }
