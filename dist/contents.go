package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"embed"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/goreleaser/nfpm/v2"
	_ "github.com/goreleaser/nfpm/v2/apk" // the kinds of packages
	_ "github.com/goreleaser/nfpm/v2/deb"
	"github.com/goreleaser/nfpm/v2/files"
	_ "github.com/goreleaser/nfpm/v2/ipk"
	_ "github.com/goreleaser/nfpm/v2/rpm"

	"github.com/godwit-ota/godwit/config"
	"github.com/godwit-ota/godwit/internal/cli"
	"github.com/godwit-ota/godwit/service"
)

// An entry is a file of a package.
type entry struct {
	name    string // on the device
	mode    os.FileMode
	content []byte
	config  bool // somebody may change it, and an upgrade leaves that alone
}

// The folders that the packaged agent may write below; `godwit install-service`
// makes it exactly tree.root.
var writable = []string{"/srv", "/opt", "/var/lib/godwit"}

// common are the files that all packages have, but for the program.
func (o *order) common() ([]entry, error) {
	cli.Version = o.version
	var all []entry
	for _, f := range []struct{ name, args string }{
		{"/usr/share/man/man1/godwit.1.gz", "man"},
		{"/usr/share/bash-completion/completions/godwit", "completion bash"},
		{"/usr/share/zsh/site-functions/_godwit", "completion zsh"},
		{"/usr/share/fish/vendor_completions.d/godwit.fish", "completion fish"},
	} {
		var out, complaint bytes.Buffer
		if code := cli.Main(context.Background(), strings.Fields(f.args), strings.NewReader(""), &out, &complaint, func(string) string { return "" }, nil); code != 0 {
			return nil, fmt.Errorf("godwit %s ended with %d: %s", f.args, code, &complaint)
		}
		b := out.Bytes()
		if strings.HasSuffix(f.name, ".gz") {
			b = compressed(b)
		}
		all = append(all, entry{name: f.name, mode: 0o644, content: b})
	}
	licence, err := os.ReadFile(filepath.Join(o.top, "LICENSE"))
	if err != nil {
		return nil, err
	}
	readme, err := os.ReadFile(filepath.Join(o.top, "README.md"))
	if err != nil {
		return nil, err
	}
	return append(all, entry{name: "/usr/share/doc/godwit/copyright", mode: 0o644, content: licence},
		entry{name: "/usr/share/doc/godwit/README.md", mode: 0o644, content: readme}), nil
}

// withExamples adds configurations to begin with: of the device, and of Godwit
// itself.
func withExamples(kind string, entries []entry) ([]entry, error) {
	device, self := config.Values{
		"source.url": "https://git.example.org/acme/station.git", "source.channel": "stable",
		"trust.mode": "signed", "trust.allowed_signers": "/etc/godwit/allowed_signers", "trust.product": "station",
		"tree.root": "/srv/station",
	}, config.Values{
		"source.url": "https://git.example.org/acme/godwit-builds.git", "source.channel": "stable",
		"trust.mode": "signed", "trust.allowed_signers": "/etc/godwit/allowed_signers", "trust.product": "godwit",
		"tree.root": selfTree, "tree.allow": []string{"godwit-linux-ARCHITECTURE"},
		"confirm.within": "10m", "confirm.interval": "5s",
		"confirm.command": []string{service.Launcher, "healthy", selfTree, "/etc/godwit/godwit.toml"},
	}
	if kind == "apk" || kind == "ipk" {
		device["restart.command"], self["restart.command"] = "/etc/init.d/station restart", "/etc/init.d/godwit-agent restart"
		device["confirm.command"] = "/srv/station/current/selftest"
	} else {
		device["restart.unit"], self["restart.unit"] = "station.service", "godwit-agent.service"
		device["confirm.unit"] = "station.service"
	}
	for name, v := range map[string]config.Values{"godwit.toml": device, "self.toml": self} {
		var b bytes.Buffer
		if err := config.Write(&b, name, v); err != nil {
			return nil, err
		}
		entries = append(entries, entry{name: "/etc/godwit/" + name + ".example", mode: 0o644, content: b.Bytes(), config: true})
	}
	return entries, nil
}

const selfTree = "/var/lib/godwit/self"

// withInit adds what the distributions of a kind of package start services
// with; a tar ball, for all others, has everything.
func withInit(kind string, entries []entry) ([]entry, error) {
	o := service.Options{WritePaths: writable, Self: selfTree, SelfConfig: "/etc/godwit/self.toml", Vendor: true}
	add := func(init service.Init, below string) error {
		list, err := service.Files(init, o)
		for _, f := range list {
			entries = append(entries, entry{name: below + f.Path, mode: os.FileMode(f.Mode), content: f.Content,
				config: below == "" && strings.HasPrefix(f.Path, "/etc/")})
		}
		return err
	}
	switch kind {
	case "apk":
		return entries, add(service.OpenRC, "")
	case "ipk":
		return entries, add(service.BusyBox, "")
	case "tar.gz":
		o.Vendor = false
		for _, init := range []service.Init{service.Systemd, service.OpenRC, service.BusyBox} {
			if err := add(init, "/init/"+string(init)); err != nil {
				return nil, err
			}
		}
		return entries, nil
	}
	return entries, add(service.Systemd, "")
}

// contents lays entries into dir, which nfpm takes them from.
func (o *order) contents(kind, dir string, entries []entry) (files.Contents, error) {
	var all files.Contents
	for i, e := range entries {
		if kind == "ipk" && strings.HasPrefix(e.name, "/usr/share/") && !strings.HasSuffix(e.name, "/copyright") {
			continue // a router has a few megabytes in all
		}
		source := filepath.Join(dir, fmt.Sprint("entry", i))
		if err := os.WriteFile(source, e.content, 0o644); err != nil {
			return nil, err
		}
		c := &files.Content{Source: source, Destination: e.name, FileInfo: &files.ContentFileInfo{Owner: "root", Group: "root", Mode: e.mode, MTime: o.time}}
		switch {
		case e.config:
			c.Type = files.TypeConfigNoReplace
		case kind == "rpm" && strings.HasSuffix(e.name, "/copyright"):
			c.Type = files.TypeRPMLicense
		}
		all = append(all, c)
	}
	// Godwit's own tree is no part of a package; the folder of its
	// configuration is, so that it is there.
	for _, d := range []string{"/etc/godwit"} {
		all = append(all, &files.Content{Destination: d, Type: files.TypeDir, FileInfo: &files.ContentFileInfo{Owner: "root", Group: "root", Mode: 0o755, MTime: o.time}})
	}
	slices.SortFunc(all, func(a, b *files.Content) int { return strings.Compare(a.Destination, b.Destination) })
	return all, nil
}

//go:embed scripts
var scripts embed.FS

// writeScripts lays the scripts of all kinds of packages into dir.
func (o *order) writeScripts(dir string) (map[string]nfpm.Scripts, error) {
	list, err := scripts.ReadDir("scripts")
	if err != nil {
		return nil, err
	}
	for _, f := range list {
		b, err := scripts.ReadFile("scripts/" + f.Name())
		if err != nil {
			return nil, err
		}
		name := filepath.Join(dir, f.Name())
		if err := os.WriteFile(name, b, 0o644); err != nil {
			return nil, err
		}
		// nfpm puts it into packages for Alpine.
		if err := os.Chtimes(name, o.time, o.time); err != nil {
			return nil, err
		}
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	return map[string]nfpm.Scripts{
		"deb": {PostInstall: at("deb.postinst"), PreRemove: at("deb.prerm"), PostRemove: at("deb.postrm")},
		"rpm": {PostInstall: at("rpm.post"), PreRemove: at("rpm.preun"), PostRemove: at("rpm.postun")},
		"apk": {PostInstall: at("apk.post-install"), PreRemove: at("apk.pre-deinstall")},
		"ipk": {PostInstall: at("ipk.postinst"), PreRemove: at("ipk.prerm")},
	}, nil
}

// tarball has the program on top and everything else in folders beside it, for
// devices without packages.
func (o *order) tarball(entries []entry) ([]byte, error) {
	top := "godwit-" + strings.TrimPrefix(o.version, "v") + "/"
	names := map[string]string{"/usr/bin/godwit": "godwit", "/usr/share/doc/godwit/copyright": "LICENSE", "/usr/share/doc/godwit/README.md": "README.md"}
	list := map[string]entry{}
	for _, e := range entries {
		name, short := names[e.name]
		switch {
		case short:
		case strings.HasPrefix(e.name, "/init/"):
			name = e.name[1:]
		case strings.HasPrefix(e.name, "/etc/godwit/"):
			name = "examples/" + path.Base(e.name)
		case strings.Contains(e.name, "/man/"):
			name = "man/" + path.Base(e.name)
		default:
			name = "completions/" + path.Base(e.name)
			if path.Base(e.name) == "godwit" {
				name += ".bash"
			}
		}
		list[top+name] = e
	}
	var raw bytes.Buffer
	w := tar.NewWriter(&raw)
	var sorted []string
	for name := range list {
		sorted = append(sorted, name)
	}
	slices.Sort(sorted)
	for _, name := range sorted {
		e := list[name]
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: int64(e.mode), Size: int64(len(e.content)), ModTime: o.time, Uname: "root", Gname: "root", Format: tar.FormatUSTAR}); err != nil {
			return nil, err
		}
		if _, err := w.Write(e.content); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return compressed(raw.Bytes()), nil
}

func compressed(b []byte) []byte {
	var out bytes.Buffer
	w, _ := gzip.NewWriterLevel(&out, gzip.BestCompression)
	io.Copy(w, bytes.NewReader(b)) // memory takes everything
	w.Close()
	return out.Bytes()
}
