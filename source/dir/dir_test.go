package dir_test

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/source/dir"
	"github.com/godwit-ota/godwit/source/web/mirror"
	"github.com/godwit-ota/godwit/vfs"
)

func TestGet(t *testing.T) {
	root := t.TempDir()
	folder := filepath.Join(root, "stick")
	for name, text := range map[string]string{"secret": "key", "stick/a.json": "{}", "stick/files/x": "0123456789"} {
		os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o755)
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("../secret", filepath.Join(folder, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("..", filepath.Join(folder, "up")); err != nil {
		t.Fatal(err)
	}
	fsys, err := vfs.OS(folder)
	if err != nil {
		t.Fatal(err)
	}
	defer fsys.Close()
	d := dir.New(fsys)
	get := func(r mirror.Request) (*mirror.Answer, string) {
		t.Helper()
		a, err := d.Get(context.Background(), r)
		if err != nil {
			t.Fatal(r, err)
		}
		defer a.Body.Close()
		b, err := io.ReadAll(a.Body)
		if err != nil {
			t.Fatal(err)
		}
		return a, string(b)
	}
	if a, text := get(mirror.Request{Path: "files/x"}); a.Status != mirror.OK || a.Size != 10 || a.ETag != "" || text != "0123456789" {
		t.Errorf("%+v %q", a, text)
	}
	if a, text := get(mirror.Request{Path: "files/x", Offset: 7}); a.Offset != 7 || a.Size != 10 || text != "789" {
		t.Errorf("%+v %q", a, text)
	}
	if a, _ := get(mirror.Request{Path: "files/x", Offset: 11}); a.Status != mirror.NotSatisfiable {
		t.Errorf("%+v", a)
	}
	for _, name := range []string{"none", "none/x", "", "/etc/passwd", "../secret"} {
		if a, _ := get(mirror.Request{Path: name}); a.Status != mirror.NotFound {
			t.Errorf("%s: %+v", name, a)
		}
	}
	a, text := get(mirror.Request{Path: "a.json"})
	if text != "{}" || a.ETag == "" {
		t.Errorf("%+v %q", a, text)
	}
	if a, _ := get(mirror.Request{Path: "a.json", IfNoneMatch: a.ETag}); a.Status != mirror.NotModified {
		t.Errorf("%+v", a)
	}
	os.WriteFile(filepath.Join(folder, "a.json"), []byte("[]"), 0o644)
	if a, text := get(mirror.Request{Path: "a.json", IfNoneMatch: a.ETag}); a.Status != mirror.OK || text != "[]" {
		t.Errorf("%+v %q", a, text)
	}
	for _, name := range []string{"link", "up/secret", "files"} {
		if a, err := d.Get(context.Background(), mirror.Request{Path: name}); err == nil || godwit.CodeOf(err) != godwit.CodeNetwork {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
	}
}
