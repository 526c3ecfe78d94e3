package fake

import (
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
)

// serveGitHub is GitHub's API below /api/v3, as GitHub Enterprise has it.
func (h *Host) serveGitHub(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	rest, ok := strings.CutPrefix(path, "/api/v3/repos/"+h.name())
	if !ok {
		rest, ok = strings.CutPrefix(path, "/api/v3/repositories/4711")
	}
	if !ok || rest != "" && rest[0] != '/' {
		fail(w, 404, "Not Found")
		return
	}
	status, v := h.answerGitHub(w, r, strings.TrimPrefix(rest, "/"))
	switch v := v.(type) {
	case nil:
		return // sent
	case error:
		fail(w, status, v.Error())
	case []byte:
		w.Header().Set("Content-Type", "application/vnd.github.sha; charset=utf-8")
		if !send(w, r, status, v) {
			h.uncount(r)
		}
	default:
		if !reply(w, r, status, v) {
			h.uncount(r)
		}
	}
}

type failure string

func (f failure) Error() string { return string(f) }

func (h *Host) answerGitHub(w http.ResponseWriter, r *http.Request, path string) (int, any) {
	const notFound = failure("Not Found")
	accept := r.Header.Get("Accept")
	is := func(prefix string) (string, bool) { return strings.CutPrefix(path, prefix) }
	if path == "" {
		return 200, object{"id": 4711, "node_id": "R_4711", "name": h.cfg.Repo, "full_name": h.name(), "private": h.cfg.Token != "", "url": h.api.URL + "/api/v3/repos/" + h.name()}
	}
	if path == "releases/latest" {
		if rel := h.latest(); rel != nil {
			return 200, h.release(rel)
		}
		return 404, notFound
	}
	if tag, ok := is("releases/tags/"); ok {
		if rel := h.named(tag); rel != nil {
			return 200, h.release(rel)
		}
		return 404, notFound
	}
	if id, ok := is("releases/assets/"); ok {
		a := h.asset(id)
		switch {
		case a == nil:
			return 404, notFound
		case accept != "application/octet-stream":
			return 200, h.assetInfo(a)
		case h.Direct:
			content(w, r, a.content)
		default:
			http.Redirect(w, r, h.storage.URL+"/files/"+id+"?sig=secret", http.StatusFound)
		}
		return 0, nil
	}
	if prefix, ok := is("git/matching-refs/"); ok {
		return 200, h.refs(prefix)
	}
	if name, ok := is("git/ref/"); ok {
		for _, ref := range h.refs(name) {
			if ref["ref"] == "refs/"+name {
				return 200, ref
			}
		}
		return 404, notFound
	}
	if id, ok := is("git/tags/"); ok {
		if o, ok := h.read("tag", id); ok {
			return 200, h.tag(id, o)
		}
		return 404, notFound
	}
	if id, ok := is("git/commits/"); ok {
		if o, ok := h.read("commit", id); ok {
			return 200, h.commit(id, o)
		}
		return 404, notFound
	}
	if ref, ok := is("commits/"); ok {
		id := h.id("refs/" + ref + "^{commit}")
		switch {
		case id == "":
			return 422, failure("No commit found for SHA: " + ref)
		case accept == "application/vnd.github.sha":
			return 200, []byte(id)
		}
		return 200, object{"sha": id}
	}
	if id, ok := is("git/trees/"); ok {
		list, ok := h.tree(id, r.URL.Query().Has("recursive"))
		if !ok {
			return 404, notFound
		}
		truncated := h.MostListed > 0 && len(list) > h.MostListed
		if truncated {
			list = list[:h.MostListed]
		}
		entries := []object{}
		for _, e := range list {
			o := object{"path": e.path, "mode": e.mode, "type": e.kind, "sha": e.id}
			if e.kind != "commit" {
				o["url"] = h.api.URL + "/git/" + e.kind + "s/" + e.id
			}
			if e.size >= 0 {
				o["size"] = e.size
			}
			entries = append(entries, o)
		}
		return 200, object{"sha": id, "url": h.api.URL + "/git/trees/" + id, "tree": entries, "truncated": truncated}
	}
	blob := func(name string) (int, any) {
		b, ok := h.blob(name)
		switch {
		case !ok:
			return 404, notFound
		case strings.HasPrefix(accept, "application/vnd.github.raw"):
			content(w, r, b)
			return 0, nil
		}
		return 200, object{"sha": name, "node_id": "B_1", "size": len(b), "url": h.api.URL, "encoding": "base64", "content": base64.StdEncoding.EncodeToString(b)}
	}
	if id, ok := is("git/blobs/"); ok {
		return blob(id)
	}
	if name, ok := is("contents/"); ok {
		return blob(r.URL.Query().Get("ref") + ":" + name)
	}
	return 404, notFound
}

func user() object {
	o := object{"login": "octocat", "id": 1, "node_id": "U_1", "gravatar_id": "", "type": "User", "site_admin": false}
	for _, k := range []string{"avatar_url", "url", "html_url", "followers_url", "following_url", "gists_url", "starred_url", "subscriptions_url", "organizations_url", "repos_url", "events_url", "received_events_url"} {
		o[k] = "https://api.github.com/users/octocat"
	}
	return o
}

const sometime = "2026-01-02T03:04:05Z"

func (h *Host) release(r *Release) object {
	at := h.api.URL + "/api/v3/repos/" + h.name() + "/releases/" + strconv.Itoa(r.id)
	assets := []object{}
	for _, a := range r.assets {
		assets = append(assets, h.assetInfo(a))
	}
	return object{"url": at, "html_url": at, "assets_url": at + "/assets", "upload_url": at + "/assets{?name,label}", "tarball_url": at, "zipball_url": at,
		"id": r.id, "node_id": "RE_1", "tag_name": r.Tag, "target_commitish": "main", "name": r.Tag, "body": "Notes.\n", "draft": r.Draft, "prerelease": r.Prerelease,
		"created_at": sometime, "published_at": sometime, "author": user(), "assets": assets}
}

func (h *Host) assetInfo(a *asset) object {
	at := h.api.URL + "/api/v3/repos/" + h.name() + "/releases/assets/" + strconv.Itoa(a.id)
	return object{"url": at, "browser_download_url": h.api.URL + "/" + h.name() + "/releases/download/x/" + a.name, "id": a.id, "node_id": "RA_1",
		"name": a.name, "label": nil, "state": "uploaded", "content_type": "application/json", "size": len(a.content), "digest": nil, "download_count": 3,
		"created_at": sometime, "updated_at": sometime, "uploader": user()}
}

func (h *Host) tag(id string, o stored) object {
	return object{"node_id": "T_1", "tag": o.first("tag"), "sha": id, "url": h.api.URL + "/git/tags/" + id, "message": strings.TrimSuffix(o.message, "\n"),
		"tagger": person(o.first("tagger"), false), "verification": verification(o),
		"object": object{"sha": o.first("object"), "type": o.first("type"), "url": h.api.URL + "/git/" + o.first("type") + "s/" + o.first("object")}}
}

func (h *Host) commit(id string, o stored) object {
	parents := []object{}
	for _, p := range o.header["parent"] {
		parents = append(parents, object{"sha": p, "url": h.api.URL + "/git/commits/" + p, "html_url": h.api.URL})
	}
	return object{"sha": id, "node_id": "C_1", "url": h.api.URL + "/git/commits/" + id, "html_url": h.api.URL, "message": strings.TrimSuffix(o.message, "\n"),
		"author": person(o.first("author"), false), "committer": person(o.first("committer"), false), "verification": verification(o), "parents": parents,
		"tree": object{"sha": o.first("tree"), "url": h.api.URL + "/git/trees/" + o.first("tree")}}
}

// serveRaw is the host of files: /OWNER/REPO/COMMIT/PATH.
func (h *Host) serveRaw(w http.ResponseWriter, r *http.Request) {
	rest, ok := strings.CutPrefix(r.URL.Path, "/"+h.name()+"/")
	commit, path, _ := strings.Cut(rest, "/")
	b, found := h.blob(commit + ":" + path)
	if !ok || !found || !h.may(r) {
		http.Error(w, "404: Not Found", 404)
		return
	}
	content(w, r, b)
}
