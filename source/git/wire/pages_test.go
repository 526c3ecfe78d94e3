package wire

import (
	"slices"
	"testing"
)

func TestPages(t *testing.T) {
	const commit = "0123456789012345678901234567890123456789"
	for url, want := range map[string][]string{
		"https://github.com/acme/station.git": {"https://raw.githubusercontent.com/acme/station/" + commit + "/a%20b/%C3%BC%3F"},
		"https://git.example.org:8443/x/acme/station/": {
			"https://git.example.org:8443/x/acme/station/raw/commit/" + commit + "/a%20b/%C3%BC%3F",
			"https://git.example.org:8443/x/acme/station/-/raw/" + commit + "/a%20b/%C3%BC%3F",
			"https://git.example.org:8443/x/acme/station/raw/" + commit + "/a%20b/%C3%BC%3F",
		},
		"/srv/git/station.git": nil,
	} {
		c, err := Dial(Config{URL: url})
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Pages(commit, "a b/ü?"); !slices.Equal(got, want) {
			t.Errorf("%s: %q", url, got)
		}
		c.Close()
	}
}
