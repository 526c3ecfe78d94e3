package github

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/godwit-ota/godwit/source/github/fake"
)

// TestFakeIsLikeGitHub holds the answers of the fake against GitHub's own
// description of its API: what every test here rests on.
func TestFakeIsLikeGitHub(t *testing.T) {
	if testing.Short() {
		t.Skip("short: the description is 29 MB")
	}
	api := describedAPI(t)
	w := newWorldAt(t, fake.Config{Token: "T"})
	w.sign()
	w.commit(map[string]string{"run": "#!/bin/sh\n", "link": "-> main.py"})
	w.git("tag", "-s", "-m", "one", "v1.0.0")
	w.git("tag", "-am", "two", "v1.1.0")
	w.git("tag", "v1.2.0")
	w.git("config", "commit.gpgSign", "true")
	w.commit(map[string]string{"main.py": "2"})
	w.git("update-index", "--add", "--cacheinfo", "160000,"+w.git("rev-parse", "HEAD")+",sub")
	w.git("commit", "-qm", "submodule")
	w.host.Publish(fake.Release{Tag: "v1.0.0", Assets: map[string][]byte{manifestName: []byte("{}")}})
	base := strings.TrimSuffix(w.cfg.URL, "/acme/station") + "/api/v3/repos/acme/station"
	var asset string
	for _, c := range []struct {
		path, operation string
		status          int
	}{
		{"/releases/latest", "/repos/{owner}/{repo}/releases/latest", 200},
		{"/releases/tags/v1.0.0", "/repos/{owner}/{repo}/releases/tags/{tag}", 200},
		{"/releases/tags/v9", "/repos/{owner}/{repo}/releases/tags/{tag}", 404},
		{"/releases/assets/", "/repos/{owner}/{repo}/releases/assets/{asset_id}", 200},
		{"/git/matching-refs/tags/v1", "/repos/{owner}/{repo}/git/matching-refs/{ref}", 200},
		{"/git/matching-refs/tags/none", "/repos/{owner}/{repo}/git/matching-refs/{ref}", 200},
		{"/git/ref/tags/v1.0.0", "/repos/{owner}/{repo}/git/ref/{ref}", 200},
		{"/git/tags/" + w.git("rev-parse", "v1.0.0"), "/repos/{owner}/{repo}/git/tags/{tag_sha}", 200},
		{"/git/tags/" + w.git("rev-parse", "v1.1.0"), "/repos/{owner}/{repo}/git/tags/{tag_sha}", 200},
		{"/git/tags/" + strings.Repeat("0", 40), "/repos/{owner}/{repo}/git/tags/{tag_sha}", 404},
		{"/git/commits/" + w.git("rev-parse", "HEAD"), "/repos/{owner}/{repo}/git/commits/{commit_sha}", 200},
		{"/git/commits/" + w.git("rev-parse", "v1.2.0"), "/repos/{owner}/{repo}/git/commits/{commit_sha}", 200},
		{"/git/trees/" + w.git("rev-parse", "HEAD^{tree}") + "?recursive=1", "/repos/{owner}/{repo}/git/trees/{tree_sha}", 200},
		{"/git/trees/" + w.git("rev-parse", "HEAD^{tree}"), "/repos/{owner}/{repo}/git/trees/{tree_sha}", 200},
		{"/git/blobs/" + w.git("rev-parse", "HEAD:main.py"), "/repos/{owner}/{repo}/git/blobs/{file_sha}", 200},
		{"/commits/heads/none", "/repos/{owner}/{repo}/commits/{ref}", 422},
	} {
		if strings.HasSuffix(c.path, "assets/") {
			c.path += asset
		}
		r, _ := http.NewRequest("GET", base+c.path, nil)
		r.Header.Set("Authorization", "Bearer T")
		r.Header.Set("Accept", "application/json")
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != c.status {
			t.Errorf("%s: %d, %v", c.path, resp.StatusCode, err)
			continue
		}
		var v any
		if err := json.Unmarshal(b, &v); err != nil {
			t.Errorf("%s: %v", c.path, err)
			continue
		}
		if strings.HasSuffix(c.path, "latest") {
			asset = fmt.Sprint(v.(map[string]any)["assets"].([]any)[0].(map[string]any)["id"])
		}
		schema, err := api.answer(c.operation, c.status)
		if err != nil {
			t.Errorf("%s: %v", c.path, err)
			continue
		}
		for _, complaint := range api.check(schema, v, "answer", 0) {
			t.Errorf("%s: %s", c.path, complaint)
		}
		// The check itself sees what is missing.
		if o, ok := v.(map[string]any); ok && c.status == 200 {
			for _, name := range []string{"sha", "url", "tree", "object", "tag_name"} {
				if _, ok := o[name]; ok && slices.Contains(required(api.follow(schema)), name) {
					delete(o, name)
					if len(api.check(schema, v, "answer", 0)) == 0 {
						t.Errorf("%s: without %s it is still right", c.path, name)
					}
					break
				}
			}
		}
	}
}

// An openAPI is a description of an API (OpenAPI 3), as far as it takes to check
// answers.
type openAPI map[string]any

// describedAPI reads the description out of the npm package @octokit/openapi.
func describedAPI(t *testing.T) openAPI {
	t.Helper()
	file := os.Getenv("GODWIT_OCTOKIT_OPENAPI") // of npm pack, to fetch it once
	if file == "" {
		dir := t.TempDir()
		if _, err := exec.LookPath("npm"); err != nil {
			t.Skip("npm is not installed: the fake was not held against GitHub's description")
		}
		cmd := exec.Command("npm", "pack", "--silent", "@octokit/openapi@23.0.2")
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Skipf("npm pack @octokit/openapi: %v: the fake was not held against GitHub's description\n%s", err, out)
		}
		found, _ := filepath.Glob(filepath.Join(dir, "*.tgz"))
		if len(found) != 1 {
			t.Fatalf("npm pack left %v", found)
		}
		file = found[0]
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err != nil {
			t.Fatal("no description in the package: ", err)
		}
		if h.Name == "package/generated/api.github.com.json" {
			var api openAPI
			if err := json.NewDecoder(r).Decode(&api); err != nil {
				t.Fatal(err)
			}
			return api
		}
	}
}

func get(v any, path ...string) any {
	for _, p := range path {
		m, _ := v.(map[string]any)
		v = m[p]
	}
	return v
}

// follow resolves a $ref.
func (a openAPI) follow(s any) map[string]any {
	m, _ := s.(map[string]any)
	for m != nil {
		ref, ok := m["$ref"].(string)
		if !ok {
			return m
		}
		m, _ = get(map[string]any(a), strings.Split(strings.TrimPrefix(ref, "#/"), "/")...).(map[string]any)
	}
	return nil
}

// answer gives the schema of an answer to GET.
func (a openAPI) answer(path string, status int) (any, error) {
	resp := a.follow(get(map[string]any(a), "paths", path, "get", "responses", fmt.Sprint(status)))
	s := get(resp, "content", "application/json", "schema")
	if s == nil {
		return nil, errors.New("the description has no such answer")
	}
	return s, nil
}

func required(s map[string]any) (names []string) {
	list, _ := s["required"].([]any)
	for _, n := range list {
		names = append(names, n.(string))
	}
	return names
}

// check gives what is wrong with v: types, required properties and enumerations.
func (a openAPI) check(schema, v any, at string, depth int) (wrong []string) {
	s := a.follow(schema)
	if s == nil || depth > 20 {
		return nil
	}
	for _, key := range []string{"anyOf", "oneOf"} {
		list, ok := s[key].([]any)
		if !ok {
			continue
		}
		var all []string
		for _, one := range list {
			w := a.check(one, v, at, depth+1)
			if len(w) == 0 {
				return nil
			}
			all = append(all, w...)
		}
		return append(all, at+": none of "+key)
	}
	if list, ok := s["allOf"].([]any); ok {
		for _, one := range list {
			wrong = append(wrong, a.check(one, v, at, depth+1)...)
		}
	}
	types := []string{}
	switch t := s["type"].(type) {
	case string:
		types = append(types, t)
	case []any:
		for _, n := range t {
			types = append(types, n.(string))
		}
	}
	if s["nullable"] == true {
		types = append(types, "null")
	}
	kind := map[bool]string{true: "null"}[v == nil]
	switch v := v.(type) {
	case bool:
		kind = "boolean"
	case float64:
		if kind = "number"; v == float64(int64(v)) {
			kind = "integer"
		}
	case string:
		kind = "string"
	case []any:
		kind = "array"
		for i, e := range v {
			wrong = append(wrong, a.check(s["items"], e, fmt.Sprintf("%s[%d]", at, i), depth+1)...)
		}
	case map[string]any:
		kind = "object"
		for _, n := range required(s) {
			if _, ok := v[n]; !ok {
				wrong = append(wrong, at+": no "+n)
			}
		}
		properties, _ := s["properties"].(map[string]any)
		for n, p := range properties {
			if e, ok := v[n]; ok {
				wrong = append(wrong, a.check(p, e, at+"."+n, depth+1)...)
			}
		}
	}
	fits := slices.Contains(types, kind) || kind == "integer" && slices.Contains(types, "number")
	if s["type"] != nil && !fits {
		wrong = append(wrong, fmt.Sprintf("%s: %s instead of %v", at, kind, types))
	}
	if list, ok := s["enum"].([]any); ok && v != nil && !slices.Contains(list, v) {
		wrong = append(wrong, fmt.Sprintf("%s: %v is none of %v", at, v, list))
	}
	return wrong
}
