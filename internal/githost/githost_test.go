package githost_test

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/godwit-ota/godwit/internal/githost"
)

func TestCloneFromHost(t *testing.T) {
	for _, format := range []string{"sha1", "sha256"} {
		t.Run(format, func(t *testing.T) {
			root := t.TempDir()
			repo, err := githost.InitRepo(filepath.Join(root, "r.git"), format)
			if err != nil {
				t.Fatal(err)
			}
			first, err := repo.Commit("main", "first", map[string]githost.Change{
				"a":           githost.Text("one\n"),
				"dir/b \"q\"": githost.Exec("#!/bin/sh\n"),
				"gone":        githost.Text("x"),
			})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := repo.Tag("v1", first, "version 1"); err != nil {
				t.Fatal(err)
			}
			if _, err := repo.Commit("main", "second", map[string]githost.Change{"gone": githost.Remove(), "a": githost.Text("two\n")}); err != nil {
				t.Fatal(err)
			}
			host, err := githost.Start(githost.Config{Root: root, User: "u", Password: "p"})
			if err != nil {
				t.Fatal(err)
			}
			defer host.Close()

			clone := filepath.Join(t.TempDir(), "clone")
			url := strings.Replace(host.URL("r.git"), "://", "://u:p@", 1)
			if out, err := exec.Command("git", "clone", "-q", "--filter=blob:none", url, clone).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			checkFile(t, filepath.Join(clone, "a"), "two\n")
			checkFile(t, filepath.Join(clone, "dir", "b \"q\""), "#!/bin/sh\n")
			export := filepath.Join(t.TempDir(), "tree")
			if err := repo.Export("v1", export); err != nil {
				t.Fatal(err)
			}
			checkFile(t, filepath.Join(export, "a"), "one\n")
			checkFile(t, filepath.Join(export, "gone"), "x")

			resp, err := http.Get(host.URL("r.git/info/refs?service=git-upload-pack"))
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != http.StatusUnauthorized {
				t.Errorf("without credentials: %s", resp.Status)
			}
			if to, from := host.Traffic(); to == 0 || from == 0 || host.Requests() < 3 {
				t.Errorf("counted %d and %d bytes, %d requests", to, from, host.Requests())
			}
		})
	}
}

func checkFile(t *testing.T, name, want string) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil || string(b) != want {
		t.Errorf("%s: %q, %v; want %q", name, b, err, want)
	}
}
