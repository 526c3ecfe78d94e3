package wire

import (
	"bytes"
	"context"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/internal/http1"
	"github.com/godwit-ota/godwit/internal/jsontext"
	"github.com/godwit-ota/godwit/internal/webclient"
)

// LFSEndpoint gives the URL of the LFS server that belongs to the repository,
// and headers to send with requests to it, as git-lfs finds them: below the
// repository's URL for HTTP; from the command git-lfs-authenticate over SSH;
// for a repository on this machine a file:// URL of the folder with its objects.
func (c *Client) LFSEndpoint(ctx context.Context) (string, map[string]string, error) {
	switch t := c.t.(type) {
	case *httpTransport:
		base := strings.TrimSuffix(t.base, ".git")
		return base + ".git/info/lfs", nil, nil
	case *streamTransport:
		if t.host != nil {
			return t.host.lfs(ctx)
		}
	}
	for _, dir := range []string{c.at.path, filepath.Join(c.at.path, ".git"), c.at.path + ".git"} {
		dir = filepath.Join(dir, "lfs", "objects")
		if _, err := os.Stat(dir); err == nil {
			if dir, err = filepath.Abs(dir); err == nil {
				return "file://" + dir, nil, nil
			}
		}
	}
	return "", nil, godwit.Fail(godwit.CodeNotFound, nil, "the repository at "+c.at.path+" has no LFS objects", "push them there: git lfs push --all")
}

// lfs asks the host where its LFS server is (git-lfs, docs/api/server-discovery.md).
func (h *sshHost) lfs(ctx context.Context) (string, map[string]string, error) {
	out, err := h.run(ctx, "git-lfs-authenticate "+quoted(h.c.at.path)+" download", 64<<10)
	if err != nil {
		if c := godwit.CodeOf(err); c != godwit.CodeNotFound && c != godwit.CodeProtocol {
			return "", nil, err
		}
		return "", nil, godwit.Fail(godwit.CodeProtocol, err, h.c.at.host+" does not say over SSH where its LFS objects are",
			"use the repository's https:// URL; SSH hosts need the command git-lfs-authenticate")
	}
	href, header := "", make(map[string]string)
	err = jsontext.Scan(bytes.NewReader(out), jsontext.Limits{}, func(path, text []byte) error {
		if name := string(path); name == "href" {
			href = string(text)
		} else if field, ok := strings.CutPrefix(name, "header."); ok {
			header[field] = string(text)
		}
		return nil
	})
	u, e := url.Parse(href)
	if err != nil || e != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return "", nil, godwit.Fail(godwit.CodeProtocol, err, h.c.at.host+" does not say in the right form where its LFS objects are", "use the repository's https:// URL")
	}
	return strings.TrimRight(href, "/"), header, nil
}

// RoundTrip implements http1.RoundTripper for requests that belong to the
// repository but not to Git's protocol. The rules are the same: the configured
// credentials and headers go to the host in Config.URL alone, connections are
// tried again and give up on silence, pauses are obeyed, bytes are counted, and
// errors are godwit.Errors. A request with a body needs GetBody. Redirects are
// answers like others.
func (c *Client) RoundTrip(r *http1.Request) (*http1.Response, error) {
	t, err := c.web()
	if err != nil {
		return nil, err
	}
	ctx := r.Context()
	r = r.Clone(ctx)
	again := false
	var resp *http1.Response
	err = c.attempts(ctx, func() error {
		if err := t.pauses.Check(address(r.URL)); err != nil {
			return err
		}
		if again && r.GetBody != nil {
			b, err := r.GetBody()
			if err != nil {
				return err
			}
			r.Body = b
		}
		again = true
		t.authorize(r)
		var err error
		if resp, err = t.rt.RoundTrip(r); err != nil {
			return webclient.Explain(ctx, r.URL.Hostname(), c.cfg.Now(), err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if err := t.pauses.Obey(address(r.URL), resp); err != nil {
		resp.Body.Close()
		return nil, err
	}
	resp.Body = &httpBody{ctx: ctx, t: t, r: resp.Body, c: resp.Body, host: r.URL.Hostname()}
	return resp, nil
}

// web is the HTTP side of the client, which a client of another kind gets when
// it first needs one. That one has no credentials: they are for SSH.
func (c *Client) web() (*httpTransport, error) {
	if t, ok := c.t.(*httpTransport); ok {
		return t, nil
	}
	if c.side == nil {
		rt, err := c.cfg.network().Transport(&c.count)
		if err != nil {
			return nil, err
		}
		c.side = &httpTransport{c: c, rt: rt, pauses: c.pauses()}
	}
	return c.side, nil
}

var _ http1.RoundTripper = (*Client)(nil)
