// Package server reads a published folder from a web server: any that serves
// static files, a bucket, a CDN. How requests are made is webclient's business,
// what the files mean source/web's.
//
// Invariant: credentials are sent to the folder's own origin only.
package server

import (
	"context"
	"net/url"
	"strings"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/internal/webclient"
	"github.com/godwit-ota/godwit/source/web/mirror"
)

// New returns the folder at base, an http or https URL. A query in it goes with
// every request. secret is header fields that only base's origin may see.
func New(client *webclient.Client, base string, secret map[string]string) (mirror.Mirror, error) {
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, godwit.Fail(godwit.CodeConfig, nil, "this is not the URL of a published folder: "+webclient.Printable(base), "give source.url as https://HOST/FOLDER")
	}
	u.Fragment = ""
	return server{client, u, secret}, nil
}

type server struct {
	client *webclient.Client
	base   *url.URL
	secret map[string]string
}

// Get implements mirror.Mirror.
func (s server) Get(ctx context.Context, r mirror.Request) (*mirror.Answer, error) {
	u := *s.base
	u.Path = strings.TrimSuffix(u.Path, "/") + "/" + r.Path
	if u.RawPath != "" {
		u.RawPath = strings.TrimSuffix(u.RawPath, "/") + "/" + (&url.URL{Path: r.Path}).EscapedPath()
	}
	a, err := s.client.Get(ctx, webclient.Request{
		URL: u.String(), Secret: s.secret, IfNoneMatch: r.IfNoneMatch, Offset: r.Offset, ETag: r.ETag,
	})
	if err != nil {
		return nil, err
	}
	switch a.Status {
	case mirror.OK, mirror.Partial, mirror.NotModified, mirror.Forbidden, mirror.NotFound, mirror.Gone, mirror.NotSatisfiable:
		return &mirror.Answer{Status: a.Status, Offset: a.Offset, Size: a.Size, ETag: a.ETag, Body: a.Body}, nil
	}
	a.Body.Close()
	return nil, a.Refused("the file "+webclient.Printable(r.Path), "", nil)
}
