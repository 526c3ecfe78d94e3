//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"

	"github.com/godwit-ota/godwit/internal/githost"
	"github.com/godwit-ota/godwit/internal/githost/nethttp"
)

// A host serves a shop's releases, as they were first or after an update.
type host struct {
	root string // with "now", a link to the folder of one update
	git  *githost.Host
	web  net.Listener
}

const (
	deviceIP = "10.9.0.1"
	hostIP   = "10.9.0.2"
)

// serve starts a host in the network that it is called in.
func serve(root string) (*host, error) {
	h := &host{root: root}
	var err error
	now := filepath.Join(root, "now")
	// As many hosts do it has pages, which give single files.
	pages := nethttp.Wrap(nethttp.Pages(now, "/raw/commit/"))
	if h.git, err = githost.Start(githost.Config{Root: now, Addr: hostIP + ":80", Wrap: pages}); err != nil {
		return nil, err
	}
	if h.web, err = net.Listen("tcp", hostIP+":8080"); err != nil {
		h.git.Close()
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /", h.file)
	mux.HandleFunc("POST /lfs/objects/batch", batch)
	go http.Serve(h.web, mux)
	return h, nil
}

// offer makes the release of an update the newest.
func (h *host) offer(s *shop, update string) error {
	next := filepath.Join(h.root, "next")
	if err := os.Symlink(s.at(update), next); err != nil {
		return err
	}
	return os.Rename(next, filepath.Join(h.root, "now"))
}

// file gives a file of the published folder, with an ETag of its time and size
// as other servers make them.
func (h *host) file(w http.ResponseWriter, r *http.Request) {
	f, err := http.Dir(filepath.Join(h.root, "now")).Open(r.URL.Path)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	defer f.Close()
	i, err := f.Stat()
	if err != nil || i.IsDir() {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("ETag", `"`+strconv.FormatInt(i.ModTime().UnixNano(), 36)+"-"+strconv.FormatInt(i.Size(), 36)+`"`)
	http.ServeContent(w, r, "", i.ModTime(), f)
}

// batch says where LFS objects are (git-lfs, docs/api/batch.md): files as well.
func batch(w http.ResponseWriter, r *http.Request) {
	type object struct {
		OID     string         `json:"oid"`
		Size    int64          `json:"size"`
		Actions map[string]any `json:"actions"`
	}
	var b struct {
		Objects []object `json:"objects"`
	}
	if err := json.NewDecoder(r.Body).Decode(&b); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	for i := range b.Objects {
		b.Objects[i].Actions = map[string]any{"download": map[string]any{"href": "http://" + r.Host + "/lfs/" + b.Objects[i].OID}}
	}
	w.Header().Set("Content-Type", "application/vnd.git-lfs+json")
	json.NewEncoder(w).Encode(b)
}

func (h *host) close() error { return errors.Join(h.git.Close(), h.web.Close()) }

// url is where the device finds a source.
func (s source) url() string {
	if s.git {
		return "http://" + hostIP + "/station.git"
	}
	return "http://" + hostIP + ":8080/station"
}
