// Command dist makes what people install Godwit from: a .deb, .rpm, .apk, .ipk
// and .tar.gz for each kind of device, and SHA256SUMS. It is a module of its
// own, so that Godwit itself does not depend on what only packages need.
// `make dist` runs it.
//
// Invariant: the same binaries, version and time make the same bytes, whoever
// makes them, and wherever.
package main

import (
	"bytes"
	"crypto/sha256"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goreleaser/nfpm/v2"
)

func main() {
	var o order
	var epoch int64
	flag.StringVar(&o.version, "version", "", "as `git describe` gives it")
	flag.Int64Var(&epoch, "epoch", 0, "the time that everything bears, in seconds since 1970")
	flag.StringVar(&o.binaries, "binaries", "", "the folder with godwit-linux-*")
	flag.StringVar(&o.top, "top", "..", "the repository: where LICENSE and README.md are")
	flag.StringVar(&o.out, "out", "", "the folder to write to")
	flag.Parse()
	o.time = time.Unix(epoch, 0).UTC()
	if o.version == "" || epoch == 0 || o.binaries == "" || o.out == "" || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	if err := o.run(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "dist:", err)
		os.Exit(1)
	}
}

// An order is what to make.
type order struct {
	version            string
	time               time.Time
	binaries, top, out string
}

// run makes all packages of all binaries that there are.
func (o *order) run(says io.Writer) error {
	found, err := filepath.Glob(filepath.Join(o.binaries, "godwit-linux-*"))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return err
	}
	// What an earlier run left is not what the sums are of.
	for _, kind := range kinds {
		old, _ := filepath.Glob(filepath.Join(o.out, "godwit_*."+kind))
		for _, name := range old {
			os.Remove(name)
		}
	}
	common, err := o.common()
	if err != nil {
		return err
	}
	var sums []string
	for _, binary := range found {
		d, known := devices[filepath.Base(binary)]
		if !known {
			continue
		}
		program, err := os.ReadFile(binary)
		if err != nil {
			return err
		}
		for _, kind := range kinds {
			name := "godwit_" + strings.TrimPrefix(o.version, "v") + "_" + strings.TrimPrefix(filepath.Base(binary), "godwit-") + "." + kind
			b, err := o.one(kind, d, append(slices.Clone(common), entry{name: "/usr/bin/godwit", mode: 0o755, content: program}))
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			if b == nil {
				continue
			}
			if err := os.WriteFile(filepath.Join(o.out, name), b, 0o644); err != nil {
				return err
			}
			sums = append(sums, fmt.Sprintf("%x  %s\n", sha256.Sum256(b), name))
			fmt.Fprintf(says, "%9d  %s\n", len(b), name)
		}
	}
	if len(sums) == 0 {
		return fmt.Errorf("there are no binaries in %s", o.binaries)
	}
	slices.SortFunc(sums, func(a, b string) int { return strings.Compare(a[66:], b[66:]) })
	return os.WriteFile(filepath.Join(o.out, "SHA256SUMS"), []byte(strings.Join(sums, "")), 0o644)
}

var kinds = []string{"deb", "rpm", "apk", "ipk", "tar.gz"}

// A device is what the kinds of packages call one architecture. "" is one that
// the distribution does not have.
type device struct{ deb, rpm, apk, ipk string }

// OpenWrt has a name for each processor; these are the widest.
var devices = map[string]device{
	"godwit-linux-amd64":   {"amd64", "x86_64", "x86_64", "x86_64"},
	"godwit-linux-arm64":   {"arm64", "aarch64", "aarch64", "aarch64_generic"},
	"godwit-linux-armv7":   {"armhf", "armv7hl", "armv7", "arm_cortex-a7"},
	"godwit-linux-armv6":   {"armhf", "armv6hl", "armhf", "arm_arm1176jzf-s_vfp"},
	"godwit-linux-mipsle":  {"mipsel", "mipsel", "", "mipsel_24kc"},
	"godwit-linux-riscv64": {"riscv64", "riscv64", "riscv64", "riscv64_generic"},
}

// one makes one package, nil where that distribution is on no such device.
func (o *order) one(kind string, d device, entries []entry) ([]byte, error) {
	entries, err := withInit(kind, entries)
	if err == nil {
		entries, err = withExamples(kind, entries)
	}
	if err != nil {
		return nil, err
	}
	if kind == "tar.gz" {
		return o.tarball(entries)
	}
	arch := map[string]string{"deb": d.deb, "rpm": d.rpm, "apk": d.apk, "ipk": d.ipk}[kind]
	if arch == "" {
		return nil, nil
	}
	return o.pack(kind, arch, entries)
}

// pack has nfpm make a package.
func (o *order) pack(kind, arch string, entries []entry) ([]byte, error) {
	dir, err := os.MkdirTemp("", "dist-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	contents, err := o.contents(kind, dir, entries)
	if err != nil {
		return nil, err
	}
	scripts, err := o.writeScripts(dir)
	if err != nil {
		return nil, err
	}
	info := nfpm.WithDefaults(&nfpm.Info{
		Name: "godwit", Arch: arch, Platform: "linux", Version: versionFor(kind, o.version), VersionSchema: "none", Release: "1",
		Section: "admin", Priority: "optional", Maintainer: "The Godwit authors <godwit@example.org>", License: "MIT",
		Homepage:    "https://github.com/godwit-ota/godwit",
		Description: description(kind),
		MTime:       o.time, DisableGlobbing: true,
		Overridables: nfpm.Overridables{
			Contents: contents, Umask: 0o022,
			Recommends: map[string][]string{"deb": {"ca-certificates"}}[kind],
			Scripts:    scripts[kind],
			Deb:        nfpm.Deb{Compression: "xz"},
			RPM:        nfpm.RPM{Compression: "xz", BuildHost: "localhost", Summary: summary, Group: "System Environment/Daemons"},
			APK:        nfpm.APK{Scripts: nfpm.APKScripts{PostUpgrade: filepath.Join(dir, "apk.post-upgrade")}},
		},
	})
	packager, err := nfpm.Get(kind)
	if err != nil {
		return nil, err
	}
	if err := nfpm.PrepareForPackager(info, kind); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = packager.Package(info, &b)
	return b.Bytes(), err
}

const summary = "over-the-air updates from any Git host"

func description(kind string) string {
	if kind == "apk" { // which has one line for it
		return summary
	}
	return summary + "\nGodwit updates the files of a device over the air, from any Git host, and the\ndevice is always either the old version or the new one."
}

// versionFor writes what `git describe` says as each kind of package orders it:
// v1.4.0-rc.1 before v1.4.0, and v1.4.0-14-gabcdef, which is 14 commits after
// it, behind.
func versionFor(kind, described string) string {
	v, dirty := strings.CutSuffix(strings.TrimPrefix(described, "v"), "-dirty")
	var after, commit string
	if parts := strings.Split(v, "-"); len(parts) >= 3 && strings.HasPrefix(parts[len(parts)-1], "g") && isNumber(parts[len(parts)-2]) {
		after, commit = parts[len(parts)-2], parts[len(parts)-1]
		v = strings.Join(parts[:len(parts)-2], "-")
	}
	if first, _, _ := strings.Cut(v, "."); !isNumber(first) || !strings.Contains(v, ".") {
		v, after, commit = "0.0.0", "0", "g"+v // there was no tag
	}
	v, before, _ := strings.Cut(v, "-")
	if kind == "apk" { // apk-tools knows digits, and a few words with a number
		if word, n, _ := strings.Cut(before, "."); slices.Contains([]string{"alpha", "beta", "rc"}, word) {
			v += "_" + word + n
		} else if before != "" {
			v += "_pre"
		}
		if after != "" {
			v += "_p" + after
		}
		return v
	}
	if before != "" {
		v += "~" + strings.ReplaceAll(before, "-", ".")
	}
	if after != "" {
		v += "+" + after + "." + commit
	}
	if dirty {
		v += "+dirty"
	}
	return v
}

func isNumber(s string) bool {
	_, err := strconv.ParseUint(s, 10, 32)
	return err == nil
}
