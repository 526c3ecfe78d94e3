package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// made makes all packages of two small programs, from a folder of its own.
func made(t *testing.T, version string) string {
	t.Helper()
	dir := t.TempDir()
	for name := range devices {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\necho "+name+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	o := order{version: version, time: time.Unix(1_700_000_000, 0).UTC(), binaries: dir, top: "..", out: filepath.Join(dir, "out")}
	if err := o.run(io.Discard); err != nil {
		t.Fatal(err)
	}
	return o.out
}

func TestTheSameBytesAgain(t *testing.T) {
	one, two := made(t, "v1.2.3"), made(t, "v1.2.3")
	files, err := os.ReadDir(one)
	if err != nil || len(files) != 6*len(kinds)-1+1 { // Alpine has no MIPS; the sums
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, f := range files {
		a, _ := os.ReadFile(filepath.Join(one, f.Name()))
		b, _ := os.ReadFile(filepath.Join(two, f.Name()))
		if !bytes.Equal(a, b) || len(a) == 0 {
			t.Errorf("%s has %d bytes, and then %d others", f.Name(), len(a), len(b))
		}
	}
	other := made(t, "v1.2.4")
	a, _ := os.ReadFile(filepath.Join(one, "godwit_1.2.3_linux-amd64.deb"))
	b, _ := os.ReadFile(filepath.Join(other, "godwit_1.2.4_linux-amd64.deb"))
	if bytes.Equal(a, b) {
		t.Error("another version has the same bytes: nothing was compared")
	}
	check := exec.Command("sha256sum", "-c", "--quiet", "SHA256SUMS")
	check.Dir = one
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// names reads a tar within gzip; more than one gzip stream is one file.
func names(t *testing.T, b []byte) (list []string, content map[string]string) {
	t.Helper()
	content = map[string]string{}
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	r := tar.NewReader(z)
	for {
		h, err := r.Next()
		if err == io.EOF {
			return list, content
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.ModTime.Unix() != 1_700_000_000 && !h.ModTime.IsZero() && h.ModTime.Unix() != 0 {
			t.Errorf("%s is of %v", h.Name, h.ModTime)
		}
		if h.Uid != 0 || h.Gid != 0 {
			t.Errorf("%s belongs to %d", h.Name, h.Uid)
		}
		name := "/" + strings.Trim(strings.TrimPrefix(h.Name, "./"), "/")
		list = append(list, name)
		c, _ := io.ReadAll(r)
		content[name] = string(c)
		if strings.HasPrefix(content[name], "#!") && h.Mode&0o111 == 0 && !strings.HasPrefix(name, "/etc/godwit") {
			t.Errorf("%s has the mode %o", name, h.Mode)
		}
	}
}

// Alpine's packages are three tars within gzip in a row: signature (not here),
// control, data. OpenWrt's are one with two of them in it.
func TestContents(t *testing.T) {
	out := made(t, "v1.2.3")
	read := func(end string) []byte {
		b, err := os.ReadFile(filepath.Join(out, "godwit_1.2.3_linux-"+end))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	has := func(kind string, list []string, want ...string) {
		t.Helper()
		for _, w := range want {
			if !slices.Contains(list, w) {
				t.Errorf("%s holds no %s, but %q", kind, w, list)
			}
		}
	}
	ipk, parts := names(t, read("mipsle.ipk"))
	has("ipk", ipk, "/debian-binary", "/control.tar.gz", "/data.tar.gz")
	control, texts := names(t, []byte(parts["/control.tar.gz"]))
	has("control of ipk", control, "/control", "/conffiles", "/postinst", "/prerm")
	for _, line := range []string{"Package: godwit", "Architecture: mipsel_24kc", "Version: 1.2.3"} {
		if !strings.Contains(texts["/control"], line) {
			t.Errorf("ipk: no %q in %s", line, texts["/control"])
		}
	}
	data, texts := names(t, []byte(parts["/data.tar.gz"]))
	has("ipk", data, "/usr/bin/godwit", "/etc/init.d/godwit-agent", "/etc/init.d/godwit-recover", "/usr/lib/godwit/launch", "/etc/godwit/godwit.toml.example")
	if slices.Contains(data, "/usr/share/man/man1/godwit.1.gz") {
		t.Error("a manual page on a router")
	}
	if !strings.Contains(texts["/etc/godwit/self.toml.example"], `"/etc/init.d/godwit-agent restart"`) {
		t.Errorf("OpenWrt has no systemd: %s", texts["/etc/godwit/self.toml.example"])
	}

	apk, texts := names(t, read("arm64.apk"))
	has("apk", apk, "/.PKGINFO", "/.post-install", "/.post-upgrade", "/.pre-deinstall", "/usr/bin/godwit", "/etc/init.d/godwit-agent",
		"/etc/init.d/godwit-recover", "/usr/share/man/man1/godwit.1.gz", "/etc/godwit/godwit.toml.example")
	for line := range strings.Lines(texts["/.PKGINFO"]) {
		if !strings.HasPrefix(line, "#") && !strings.Contains(line, " = ") {
			t.Errorf("apk: %q in .PKGINFO is no line of it", line)
		}
	}

	tgz, _ := names(t, read("riscv64.tar.gz"))
	has("tar.gz", tgz, "/godwit-1.2.3/godwit", "/godwit-1.2.3/LICENSE", "/godwit-1.2.3/man/godwit.1.gz", "/godwit-1.2.3/completions/godwit.bash",
		"/godwit-1.2.3/examples/self.toml.example", "/godwit-1.2.3/init/busybox/etc/init.d/godwit-agent", "/godwit-1.2.3/init/systemd/etc/systemd/system/godwit-agent.service")

	if _, err := exec.LookPath("dpkg-deb"); err != nil {
		t.Log("NOT CHECKED by dpkg-deb, which is not here")
	} else {
		deb := filepath.Join(out, "godwit_1.2.3_linux-armv7.deb")
		info, err := exec.Command("dpkg-deb", "-f", deb, "Architecture", "Version").CombinedOutput()
		if err != nil || string(info) != "Architecture: armhf\nVersion: 1.2.3-1\n" {
			t.Errorf("deb: %v: %s", err, info)
		}
		list, err := exec.Command("dpkg-deb", "-c", deb).CombinedOutput()
		if err != nil || !bytes.Contains(list, []byte("-rwxr-xr-x root/root")) || !bytes.Contains(list, []byte("./usr/lib/systemd/system/godwit-agent.service")) {
			t.Errorf("deb: %v: %s", err, list)
		}
	}
	if _, err := exec.LookPath("rpm"); err != nil {
		t.Log("NOT CHECKED by rpm, which is not here")
	} else {
		info, err := exec.Command("rpm", "-qp", "--qf", "%{NAME} %{VERSION} %{ARCH} %{BUILDHOST}\n", "-c", filepath.Join(out, "godwit_1.2.3_linux-arm64.rpm")).CombinedOutput()
		if err != nil || !strings.Contains(string(info), "godwit 1.2.3 aarch64 localhost") || !strings.Contains(string(info), "/etc/godwit/godwit.toml.example") {
			t.Errorf("rpm: %v: %s", err, info)
		}
	}
}

func TestScriptsOfPackages(t *testing.T) {
	list, _ := scripts.ReadDir("scripts")
	checker, err := exec.LookPath("shellcheck")
	if err != nil {
		t.Log("NOT CHECKED by shellcheck, which is not here")
	}
	for _, f := range list {
		if out, err := exec.Command("sh", "-n", "scripts/"+f.Name()).CombinedOutput(); err != nil {
			t.Errorf("%s: %s", f.Name(), out)
		}
		if checker == "" {
			continue
		}
		if out, err := exec.Command(checker, "--shell=dash", "--exclude=SC2015", "scripts/"+f.Name()).CombinedOutput(); err != nil {
			t.Errorf("%s: %s", f.Name(), out)
		}
	}
}

func TestVersions(t *testing.T) {
	for _, c := range []struct{ described, deb, apk string }{
		{"v1.4.0", "1.4.0", "1.4.0"},
		{"v1.4.0-rc.1", "1.4.0~rc.1", "1.4.0_rc1"},
		{"v1.4.0-14-gabcdef0", "1.4.0+14.gabcdef0", "1.4.0_p14"},
		{"v1.4.0-rc.1-3-gabcdef0-dirty", "1.4.0~rc.1+3.gabcdef0+dirty", "1.4.0_rc1_p3"},
		{"v1.4.0-strange", "1.4.0~strange", "1.4.0_pre"},
		{"7a2e623", "0.0.0+0.g7a2e623", "0.0.0_p0"},
		{"1234567", "0.0.0+0.g1234567", "0.0.0_p0"},
		{"7a2e623-dirty", "0.0.0+0.g7a2e623+dirty", "0.0.0_p0"},
		{"unknown", "0.0.0+0.gunknown", "0.0.0_p0"},
	} {
		if got := versionFor("deb", c.described); got != c.deb {
			t.Errorf("%s: %s, want %s", c.described, got, c.deb)
		}
		if got := versionFor("apk", c.described); got != c.apk {
			t.Errorf("%s: %s, want %s", c.described, got, c.apk)
		}
	}
	dpkg, err := exec.LookPath("dpkg")
	if err != nil {
		t.Skip("the order needs dpkg")
	}
	order := []string{"v1.4.0-rc.1", "v1.4.0-rc.1-3-gfff", "v1.4.0-rc.2", "v1.4.0", "v1.4.0-2-gfff", "v1.4.0-14-g000", "v1.4.1"}
	for i := range order[1:] {
		a, b := versionFor("deb", order[i])+"-1", versionFor("deb", order[i+1])+"-1"
		if err := exec.Command(dpkg, "--compare-versions", a, "lt", b).Run(); err != nil {
			t.Errorf("%s is not before %s", a, b)
		}
	}
}
