package fake

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// serveGitea is the API of Gitea and Forgejo.
func (h *Host) serveGitea(w http.ResponseWriter, r *http.Request) {
	if name, ok := strings.CutPrefix(r.URL.Path, "/"+h.name()+"/releases/download/"); ok {
		id, _, _ := strings.Cut(name, "/")
		if a := h.asset(id); a != nil {
			content(w, r, a.content)
			return
		}
	}
	path, ok := strings.CutPrefix(r.URL.Path, "/api/v1/repos/"+h.name())
	if !ok {
		path, ok = strings.CutPrefix(r.URL.Path, "/api/v1/repositories/4711")
	}
	path = strings.TrimPrefix(path, "/")
	is := func(prefix string) (string, bool) { return strings.CutPrefix(path, prefix) }
	var v any
	if !ok {
		fail(w, 404, "The target couldn't be found.")
		return
	}
	release := func(rel *Release) any {
		if rel == nil {
			return nil
		}
		o := h.release(rel)
		assets := []object{}
		for _, a := range rel.assets {
			assets = append(assets, object{"id": a.id, "name": a.name, "size": len(a.content), "uuid": "u", "browser_download_url": h.URL() + "/releases/download/" + strconv.Itoa(a.id) + "/" + a.name})
		}
		o["assets"] = assets
		return o
	}
	if path == "" {
		v = object{"id": 4711, "full_name": h.name()}
	} else if path == "releases/latest" {
		v = release(h.latest())
	} else if tag, ok := is("releases/tags/"); ok {
		v = release(h.named(tag))
	} else if prefix, ok := is("git/refs/"); ok {
		if list := h.refs(prefix); len(list) == 1 && list[0]["ref"] == "refs/"+prefix {
			v = list[0]
		} else if len(list) > 0 {
			v = list
		}
	} else if id, ok := is("git/tags/"); ok {
		if o, ok := h.read("tag", id); ok {
			t := h.tag(id, o)
			// The verification is the commit's; the message is all of it.
			t["verification"], t["message"], t["tagger"] = verification(stored{}), o.message, person(o.first("tagger"), true)
			v = t
		}
	} else if id, ok := is("git/commits/"); ok {
		if o, ok := h.read("commit", id); ok {
			c := h.commit(id, o)
			c["author"], c["committer"] = person(o.first("author"), true), person(o.first("committer"), true)
			parents := c["parents"]
			delete(c, "parents")
			someone := object{"id": 1, "login": "somebody", "email": "somebody@noreply.example.org"}
			v = object{"sha": id, "parents": parents, "commit": c, "author": someone, "committer": someone, "created": sometime}
		}
	} else if name, ok := is("branches/"); ok {
		if id := h.id("refs/heads/" + name); id != "" {
			v = object{"name": name, "commit": object{"id": id}}
		}
	} else if id, ok := is("git/trees/"); ok {
		if list, ok := h.tree(id, r.URL.Query().Get("recursive") == "true"); ok {
			per, _ := strconv.Atoi(r.URL.Query().Get("per_page"))
			page, _ := strconv.Atoi(r.URL.Query().Get("page"))
			if h.PerPage > 0 {
				per = h.PerPage
			}
			from := min(max(page-1, 0)*per, len(list))
			to := min(from+per, len(list))
			entries := []object{}
			for _, e := range list[from:to] {
				entries = append(entries, object{"path": e.path, "mode": e.mode, "type": e.kind, "sha": e.id, "size": max(e.size, 0), "url": h.api.URL})
			}
			v = object{"sha": id, "url": h.api.URL, "tree": entries, "truncated": to < len(list), "page": page, "total_count": len(list)}
		}
	} else if name, ok := is("raw/"); ok {
		if b, ok := h.blob(r.URL.Query().Get("ref") + ":" + name); ok {
			content(w, r, b)
			return
		}
	}
	if v == nil {
		fail(w, 404, "The target couldn't be found.")
		return
	}
	w.Header().Set("Content-Type", "application/json;charset=utf-8")
	json.NewEncoder(w).Encode(v) // without an ETag
}

// serveGitLab is GitLab's API.
func (h *Host) serveGitLab(w http.ResponseWriter, r *http.Request) {
	path, ok := strings.CutPrefix(r.URL.EscapedPath(), "/api/v4/projects/"+url.PathEscape(h.name()))
	path = strings.TrimPrefix(path, "/")
	is := func(prefix string) (string, bool) {
		s, ok := strings.CutPrefix(path, prefix)
		s, err := url.PathUnescape(s)
		return s, ok && err == nil
	}
	if !ok {
		fail(w, 404, "404 Project Not Found")
		return
	}
	query := r.URL.Query()
	var v any
	if path == "" {
		v = object{"id": 4711, "path_with_namespace": h.name()}
	} else if path == "releases/permalink/latest" {
		if rel := h.latest(); rel != nil {
			http.Redirect(w, r, "/api/v4/projects/"+url.PathEscape(h.name())+"/releases/"+url.PathEscape(rel.Tag), http.StatusFound)
			return
		}
	} else if id, ok := is("assets/"); ok {
		if a := h.asset(id); a != nil {
			content(w, r, a.content)
			return
		}
	} else if tag, ok := is("releases/"); ok {
		if rel := h.named(tag); rel != nil {
			links := []object{}
			for _, a := range rel.assets {
				at := h.api.URL + "/api/v4/projects/" + url.PathEscape(h.name()) + "/assets/" + strconv.Itoa(a.id)
				links = append(links, object{"id": a.id, "name": a.name, "url": at, "direct_asset_url": at, "link_type": "other"})
			}
			v = object{"tag_name": rel.Tag, "name": rel.Tag, "description": "", "created_at": sometime, "released_at": sometime, "upcoming_release": false,
				"commit": object{"id": h.id(rel.Tag + "^{commit}")}, "assets": object{"count": len(links), "sources": []object{}, "links": links}}
		}
	} else if name, ok := is("repository/tags/"); ok {
		if id := h.id("refs/tags/" + name); id != "" {
			v = object{"name": name, "message": "", "target": id, "commit": object{"id": h.id("refs/tags/" + name + "^{commit}")}, "protected": false}
		}
	} else if name, ok := is("repository/branches/"); ok {
		if id := h.id("refs/heads/" + name); id != "" {
			v = object{"name": name, "commit": object{"id": id}}
		}
	} else if id, ok := is("repository/commits/"); ok {
		if o, ok := h.read("commit", id); ok {
			c := person(o.first("committer"), true)
			v = object{"id": id, "committed_date": c["date"], "created_at": c["date"]}
		}
	} else if path == "repository/tree" {
		if list, ok := h.tree(query.Get("ref"), query.Get("recursive") == "true"); ok {
			if h.Disorder {
				slices.Reverse(list)
			}
			per, from := 100, 0
			if h.PerPage > 0 {
				per = h.PerPage
			}
			if token := query.Get("page_token"); token != "" {
				from = slices.IndexFunc(list, func(e entry) bool { return e.id+"-"+e.path == token }) + 1
			}
			to := min(from+per, len(list))
			if to < len(list) {
				query.Set("page_token", list[to-1].id+"-"+list[to-1].path)
				w.Header().Set("Link", "<"+h.api.URL+r.URL.EscapedPath()+"?"+query.Encode()+`>; rel="next"`)
			}
			entries := []object{}
			for _, e := range list[from:to] {
				entries = append(entries, object{"id": e.id, "name": e.path[strings.LastIndexByte(e.path, '/')+1:], "type": e.kind, "path": e.path, "mode": e.mode})
			}
			v = entries
		}
	} else if rest, ok := is("repository/blobs/"); ok && strings.HasSuffix(rest, "/raw") {
		if b, ok := h.blob(strings.TrimSuffix(rest, "/raw")); ok {
			content(w, r, b)
			return
		}
	} else if rest, ok := is("repository/files/"); ok && strings.HasSuffix(rest, "/raw") {
		if b, ok := h.blob(query.Get("ref") + ":" + strings.TrimSuffix(rest, "/raw")); ok {
			content(w, r, b)
			return
		}
	}
	if v == nil {
		fail(w, 404, "404 Not Found")
		return
	}
	reply(w, r, 200, v)
}
