package nethttp

import (
	"bytes"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Pages is a front that gives out files of the repositories below root, in ranges,
// as the pages of hosts do: REPOSITORY/raw/commit/COMMIT/PATH, where form is
// "/raw/commit/".
func Pages(root, form string) func(next http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			repo, at, ok := strings.Cut(r.URL.Path, form)
			commit, path, _ := strings.Cut(at, "/")
			if !ok || strings.Contains(repo, "..") || strings.HasPrefix(commit, "-") {
				next.ServeHTTP(w, r)
				return
			}
			b, err := exec.Command("git", "--git-dir", filepath.Join(root, filepath.FromSlash(repo))+".git", "cat-file", "blob", commit+":"+path).Output()
			if err != nil {
				http.NotFound(w, r)
				return
			}
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
		})
	}
}
