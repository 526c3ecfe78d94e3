package wire

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/internal/http1"
)

func TestLFSEndpoint(t *testing.T) {
	for u, want := range map[string]string{
		"https://h/team/repo":            "https://h/team/repo.git/info/lfs",
		"https://u:p@h:8443/repo.git/":   "https://h:8443/repo.git/info/lfs",
		"http://[::1]/a%20b.git":         "http://[::1]/a%20b.git/info/lfs",
		"https://H.example/Repo.git.git": "https://h.example/Repo.git.git/info/lfs",
	} {
		got, header, err := dial(t, Config{URL: u}).LFSEndpoint(context.Background())
		if got != want || len(header) > 0 || err != nil {
			t.Errorf("%s: %q %v %v", u, got, header, err)
		}
	}
	_, _, err := dial(t, Config{URL: t.TempDir()}).LFSEndpoint(context.Background())
	codeIs(t, err, godwit.CodeNotFound)
}

// TestLFSOverSSH: the host's own command says where the objects are, and what to
// show there.
func TestLFSOverSSH(t *testing.T) {
	r := makeRepo(t, "sha1")
	bin := t.TempDir()
	var seen http.Header
	store := serve(t, func(w http.ResponseWriter, r *http.Request) { seen = r.Header.Clone() })
	script := func(s string) {
		if err := os.WriteFile(filepath.Join(bin, "git-lfs-authenticate"), []byte("#!/bin/sh\n"+s), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s := startSSH(t, &sshServer{path: bin + ":"})
	cfg := s.config(r)
	cfg.Username, cfg.Password = "deploy", "for ssh"
	script(`[ "$1" = "` + r.dir + `" ] && [ "$2" = download ] && echo '{"href":"` + store.URL + `/lfs/","header":{"Authorization":"RemoteAuth x"},"expires_in":60}'`)
	c := dial(t, cfg)
	endpoint, header, err := c.LFSEndpoint(context.Background())
	if err != nil || endpoint != store.URL+"/lfs" || header["Authorization"] != "RemoteAuth x" {
		t.Fatal(endpoint, header, err)
	}
	list(t, c) // Git goes on over the same connection
	if n := s.conns.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
	q, err := http1.NewRequestWithContext(context.Background(), http1.MethodGet, endpoint, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.RoundTrip(q)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if seen.Get("Authorization") != "" || q.Header.Get("User-Agent") != "" {
		t.Errorf("SSH's password went over HTTP, or the request was changed: %v %v", seen, q.Header)
	}
	for _, bad := range []string{"exit 1", "echo no >&2; exit 127", "echo '{}'", "echo rubbish", "echo '{\"href\":\"file:///x\"}'"} {
		script(bad)
		_, _, err := c.LFSEndpoint(context.Background())
		codeIs(t, err, godwit.CodeProtocol)
	}
	script("yes")
	if _, _, err := c.LFSEndpoint(context.Background()); err == nil || strings.Contains(err.Error(), "y y") {
		t.Fatal(err)
	}
}
