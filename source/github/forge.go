package github

import (
	"net/url"
	"strconv"
	"strings"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/internal/jsontext"
)

// A forge knows the addresses of one kind of host, and what is different in its
// answers. Methods give "" for what a host does not have.
type forge interface {
	// secret is the header fields that carry the token.
	secret(token string) map[string]string
	home() string // says whether there is such a repository
	latest() string
	release(tag string) string
	refs(prefix string) string // references that begin with prefix, such as "tags/v1"
	tag(id string) string      // a tag object
	// plainTag says what a tag names, for hosts without refs.
	plainTag(name string) string
	branch(name string) (address, accept string)
	commit(id string) string
	// tree lists a tree, or all below it, from a page on. id is a commit's where
	// the host does not know of trees.
	tree(id string, recursive bool, page int) string
	// file gives the address of a content: by its blob's id, if that is known,
	// or else by its path in a commit.
	file(commit string, e *godwit.Entry) (address, accept string)
	// asset gives the address of an attached file.
	asset(v jsontext.Value) string
}

const (
	acceptJSON = "application/json"
	acceptRaw  = "application/octet-stream"
)

// escape escapes the parts of a path.
func escape(path string) string {
	parts := strings.Split(path, "/")
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	return strings.Join(parts, "/")
}

func quote(s string) string { return strconv.Quote(s) }

// isBlob reports whether a digest is the id of a blob in the repository.
func isBlob(d godwit.Digest) bool {
	return d.Algorithm == godwit.GitSHA1 || d.Algorithm == godwit.GitSHA256
}

// gitHub: docs.github.com/rest.
type gitHub struct{ repo, raw string }

func (g *gitHub) secret(token string) map[string]string {
	return map[string]string{"Authorization": "Bearer " + token}
}
func (g *gitHub) home() string              { return g.repo }
func (g *gitHub) latest() string            { return g.repo + "/releases/latest" }
func (g *gitHub) release(tag string) string { return g.repo + "/releases/tags/" + escape(tag) }
func (g *gitHub) refs(prefix string) string { return g.repo + "/git/matching-refs/" + escape(prefix) }
func (g *gitHub) tag(id string) string      { return g.repo + "/git/tags/" + id }
func (g *gitHub) plainTag(string) string    { return "" }
func (g *gitHub) commit(id string) string   { return g.repo + "/git/commits/" + id }

func (g *gitHub) branch(name string) (string, string) {
	return g.repo + "/commits/heads/" + escape(name), "application/vnd.github.sha"
}

func (g *gitHub) tree(id string, recursive bool, page int) string {
	if page > 1 {
		return ""
	}
	if recursive {
		return g.repo + "/git/trees/" + id + "?recursive=1"
	}
	return g.repo + "/git/trees/" + id
}

func (g *gitHub) file(commit string, e *godwit.Entry) (string, string) {
	const raw = "application/vnd.github.raw+json"
	switch {
	case g.raw != "" && e.Mode != godwit.Symlink:
		return g.raw + "/" + commit + "/" + escape(e.Path), ""
	case isBlob(e.Digest):
		return g.repo + "/git/blobs/" + e.Digest.Hex(), raw
	}
	return g.repo + "/contents/" + escape(e.Path) + "?ref=" + commit, raw
}

// asset does not take the address that the host gives: that one needs another
// way of showing the token.
func (g *gitHub) asset(v jsontext.Value) string {
	if id, ok := v.Get("id").Int(); ok && id > 0 {
		return g.repo + "/releases/assets/" + strconv.FormatInt(id, 10)
	}
	return ""
}

// gitea is the API's address of the repository: docs.gitea.com/api.
type gitea string

func (g gitea) secret(token string) map[string]string {
	return map[string]string{"Authorization": "token " + token}
}
func (g gitea) home() string              { return string(g) }
func (g gitea) latest() string            { return string(g) + "/releases/latest" }
func (g gitea) release(tag string) string { return string(g) + "/releases/tags/" + escape(tag) }
func (g gitea) refs(prefix string) string { return string(g) + "/git/refs/" + escape(prefix) }
func (g gitea) tag(id string) string      { return string(g) + "/git/tags/" + id }
func (g gitea) plainTag(string) string    { return "" }
func (g gitea) branch(name string) (string, string) {
	return string(g) + "/branches/" + escape(name), acceptJSON
}
func (g gitea) commit(id string) string {
	return string(g) + "/git/commits/" + id + "?stat=false&files=false"
}

func (g gitea) tree(id string, recursive bool, page int) string {
	address := string(g) + "/git/trees/" + id + "?per_page=1000&page=" + strconv.Itoa(page)
	if recursive {
		address += "&recursive=true"
	}
	return address
}

func (g gitea) file(commit string, e *godwit.Entry) (string, string) {
	return string(g) + "/raw/" + escape(e.Path) + "?ref=" + commit, ""
}

func (g gitea) asset(v jsontext.Value) string { return v.Get("browser_download_url").Text }

// gitLab is the API's address of the project: docs.gitlab.com/api. It gives
// neither tag objects nor the ids of trees.
type gitLab string

func (g gitLab) secret(token string) map[string]string {
	return map[string]string{"PRIVATE-TOKEN": token}
}
func (g gitLab) home() string   { return string(g) }
func (g gitLab) latest() string { return string(g) + "/releases/permalink/latest" }
func (g gitLab) release(tag string) string {
	return string(g) + "/releases/" + url.PathEscape(tag)
}
func (g gitLab) refs(string) string { return "" }
func (g gitLab) tag(string) string  { return "" }
func (g gitLab) plainTag(name string) string {
	return string(g) + "/repository/tags/" + url.PathEscape(name)
}
func (g gitLab) branch(name string) (string, string) {
	return string(g) + "/repository/branches/" + url.PathEscape(name), acceptJSON
}
func (g gitLab) commit(id string) string { return string(g) + "/repository/commits/" + id }

func (g gitLab) tree(id string, recursive bool, page int) string {
	return string(g) + "/repository/tree?ref=" + id + "&recursive=" + strconv.FormatBool(recursive) + "&pagination=keyset&per_page=100"
}

func (g gitLab) file(commit string, e *godwit.Entry) (string, string) {
	if isBlob(e.Digest) {
		return string(g) + "/repository/blobs/" + e.Digest.Hex() + "/raw", ""
	}
	return string(g) + "/repository/files/" + url.PathEscape(e.Path) + "/raw?ref=" + commit, ""
}

func (g gitLab) asset(v jsontext.Value) string {
	if u := v.Get("direct_asset_url").Text; u != "" {
		return u
	}
	return v.Get("url").Text
}
