package wire

import (
	"net/url"
	"strings"
)

// Pages gives the addresses at which hosts that have pages of repositories give
// out the file at path in a commit: that of GitHub; for any other host, of which
// nobody knows what it runs, those of Gitea and Forgejo, of GitLab, and of Gogs
// and Bitbucket. There are none for repositories that are not reached by HTTP.
func (c *Client) Pages(commit, path string) []string {
	t, ok := c.t.(*httpTransport)
	if !ok {
		return nil
	}
	parts := strings.Split(path, "/")
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	at := "/" + commit + "/" + strings.Join(parts, "/")
	base := strings.TrimSuffix(strings.TrimRight(t.base, "/"), ".git")
	if repo, ok := strings.CutPrefix(base, "https://github.com/"); ok {
		// Another host, which gets no credentials.
		return []string{"https://raw.githubusercontent.com/" + repo + at}
	}
	return []string{base + "/raw/commit" + at, base + "/-/raw" + at, base + "/raw" + at}
}
