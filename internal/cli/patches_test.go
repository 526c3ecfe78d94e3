package cli_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/godwit-ota/godwit/delta/diff"
)

// folder serves a folder as any static web server does, and sets $WEB to its
// URL: folder DIR.
func folder(ts *testscript.TestScript, neg bool, args []string) {
	s := httptest.NewServer(http.FileServer(http.Dir(ts.MkAbs(args[0]))))
	ts.Defer(s.Close)
	ts.Setenv("WEB", s.URL)
}

// condition knows "patches": that they are smaller than what they make.
func condition(name string) (bool, error) {
	if name != "patches" {
		return false, fmt.Errorf("there is no condition %q", name)
	}
	old := []byte(strings.Repeat("nearly the same ", 100))
	b, _, err := diff.Make(context.Background(), old, append(old, '!'), diff.Options{})
	return len(b) < 500, err
}
