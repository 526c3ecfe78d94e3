package github

import (
	"net/url"
	"strings"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/internal/webclient"
)

// A thing is something that the API can be asked for.
type thing int

const (
	latestRelease thing = iota
	namedRelease        // by its tag
	references          // that begin so: "tags/v1"
	plainTag            // what a tag names, where there are no references
	tagObject           // by its id
	branchTip
	commitObject // by its id
	oneTree      // by its id, or a commit's where the host does not know of trees
	allTrees     // that one and all below it
	blob         // by its id
	file         // by its path; the commit goes to the end
	asset        // by its number
	things
)

// addresses says where things are, below the repository, on each kind of host.
// Instead of * stands what is asked for. "" is what a host does not have, or what
// it names the address of itself.
var addresses = [3][things]string{
	gitHub: { // docs.github.com/rest
		"/releases/latest", "/releases/tags/*", "/git/matching-refs/*", "", "/git/tags/*", "/commits/heads/*", "/git/commits/*",
		"/git/trees/*", "/git/trees/*?recursive=1", "/git/blobs/*", "/contents/*?ref=", "/releases/assets/*",
	},
	gitea: { // docs.gitea.com/api
		"/releases/latest", "/releases/tags/*", "/git/refs/*", "", "/git/tags/*", "/branches/*", "/git/commits/*?stat=false&files=false",
		"/git/trees/*?per_page=1000&page=1", "/git/trees/*?recursive=true&per_page=1000&page=1", "", "/raw/*?ref=", "",
	},
	gitLab: { // docs.gitlab.com/api
		"/releases/permalink/latest", "/releases/*", "", "/repository/tags/*", "", "/repository/branches/*", "/repository/commits/*",
		"", "/repository/tree?ref=*&recursive=true&pagination=keyset&per_page=100", "/repository/blobs/*/raw", "/repository/files/*/raw?ref=", "",
	},
}

// The kinds of hosts, as indexes.
const (
	gitHub = iota
	gitea
	gitLab
)

// at gives the address of a thing, "" if the host does not have such.
func (s *Source) at(t thing, name string) string {
	before, after, ok := strings.Cut(addresses[s.kind][t], "*")
	switch {
	case before == "":
		return ""
	case !ok:
		name = ""
	case s.kind == gitLab:
		name = url.PathEscape(name)
	default:
		name = escape(name)
	}
	return s.api + before + name + after
}

// knowsTrees reports whether the host shows tag objects and the ids of trees, so
// that what it lists can be checked.
func (s *Source) knowsTrees() bool { return s.kind != gitLab }

// escape escapes the parts of a path.
func escape(path string) string {
	parts := strings.Split(path, "/")
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	return strings.Join(parts, "/")
}

// fileAt gives the address of a content: on the host of files, by its blob's id,
// or by its path in a commit.
func (s *Source) fileAt(commit string, e *godwit.Entry, raw string) string {
	if raw != "" && e.Mode != godwit.Symlink {
		return raw + "/" + commit + "/" + escape(e.Path)
	}
	if at := s.at(blob, e.Digest.Hex()); at != "" && isBlob(e.Digest) {
		return at
	}
	return s.at(file, e.Path) + commit
}

// isBlob reports whether a digest is the id of a blob in the repository.
func isBlob(d godwit.Digest) bool {
	return d.Algorithm == godwit.GitSHA1 || d.Algorithm == godwit.GitSHA256
}

// secret is the header that carries the token to an address, nil if that must
// not have it.
func (s *Source) secret(address, origin string) map[string]string {
	raw := s.raw != "" && strings.HasPrefix(address, s.raw+"/")
	switch {
	case s.cfg.Token == "" || origin != s.origin && !raw:
		return nil
	case s.kind == gitLab:
		return map[string]string{"PRIVATE-TOKEN": s.cfg.Token}
	case s.kind == gitea || raw:
		return map[string]string{"Authorization": "token " + s.cfg.Token}
	}
	return map[string]string{"Authorization": "Bearer " + s.cfg.Token}
}

// locate finds out where the API is.
func (s *Source) locate() error {
	cfg := &s.cfg
	switch cfg.Kind {
	case "", GitHub:
	case Gitea:
		s.kind = gitea
	case GitLab:
		s.kind = gitLab
	default:
		return fail(godwit.CodeConfig, `write "github", "gitea" or "gitlab"`, "there is no source.type ", quote(cfg.Kind))
	}
	u := webAddress(cfg.URL)
	if u == nil {
		return fail(godwit.CodeConfig, addressHint, "the address of the repository is not one of a web page")
	}
	parts := strings.Split(strings.TrimSuffix(strings.Trim(u.Path, "/"), ".git"), "/")
	for _, p := range parts {
		if len(parts) < 2 || p == "" || p == "." || p == ".." {
			return fail(godwit.CodeConfig, addressHint, "the address of the repository does not name its owner and itself")
		}
	}
	root := u.Scheme + "://" + u.Host
	if n := len(parts) - 2; n > 0 && s.kind != gitLab { // a host below a path
		root += "/" + escape(strings.Join(parts[:n], "/"))
		parts = parts[n:]
	}
	s.name = strings.Join(parts, "/")
	api := strings.TrimRight(cfg.API, "/")
	s.raw = strings.TrimRight(cfg.Raw, "/")
	switch {
	case api == "" && s.kind == gitHub && (u.Host == "github.com" || u.Host == "www.github.com"):
		api = publicAPI
	case api == "":
		api = root + [...]string{"/api/v3", "/api/v1", "/api/v4"}[s.kind]
	}
	if u = webAddress(api); u == nil {
		return fail(godwit.CodeConfig, "write it like https://github.example.org/api/v3", "source.api_url is not a web address")
	}
	if api == publicAPI && s.raw == "" {
		s.raw = "https://raw.githubusercontent.com"
	}
	if s.raw != "" {
		s.raw += "/" + escape(s.name)
	}
	s.origin = webclient.OriginOf(u)
	s.api = api + "/repos/" + escape(s.name)
	if s.kind == gitLab {
		s.api = api + "/projects/" + url.PathEscape(s.name)
	}
	return nil
}

const (
	publicAPI   = "https://api.github.com"
	addressHint = "write source.url like https://github.com/acme/station; credentials belong into source.token"
)

// webAddress reads one without credentials and query, nil if it is none.
func webAddress(s string) *url.URL {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil
	}
	return u
}
