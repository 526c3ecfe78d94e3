package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// The modules that the guest loads: disks, and every file system of the proof
// with the checksums and names it asks for by itself.
var guestModules = []string{
	"virtio_pci", "virtio_blk",
	"crc32c_generic", "crc32_generic", "xxhash_generic", "sha256_generic", "blake2b_generic",
	"ext4", "btrfs", "f2fs", "nls_ascii", "nls_cp437", "nls_iso8859_1", "nls_utf8", "vfat",
}

// A guest is what a machine boots.
type guest struct {
	kernel string // file
	initrd string // file
	id     string // names this kernel, guest and payload
}

// buildGuest makes the kernel's first file system below dir: the guest
// program, the payload and the modules.
func buildGuest(dir string) (*guest, error) {
	k, err := fetchKernel(dir)
	if err != nil {
		return nil, err
	}
	modules, err := k.load(guestModules...)
	if err != nil {
		return nil, err
	}
	var image bytes.Buffer
	a := archive{w: &image}
	for _, d := range []string{"dev", "proc", "sys", "data", "modules"} {
		a.add(d, modeDir, nil)
	}
	a.add("dev/console", modeChar, nil, 5, 1)
	var list bytes.Buffer
	for _, m := range modules {
		a.add("modules/"+m.name, modeFile, m.content)
		list.WriteString(m.name + "\n")
	}
	a.add("modules/list", modeFile, list.Bytes())
	for _, p := range [][2]string{{"init", "guest"}, {"payload", "payload"}} {
		b, err := buildStatic(dir, p[1])
		if err != nil {
			return nil, err
		}
		a.add(p[0], modeExec, b)
	}
	if err := a.close(); err != nil {
		return nil, err
	}
	g := &guest{kernel: k.image, initrd: filepath.Join(dir, "initrd")}
	sum := sha256.Sum256(append([]byte(k.image), image.Bytes()...))
	g.id = hex.EncodeToString(sum[:6])
	return g, os.WriteFile(g.initrd, image.Bytes(), 0o644)
}

// buildStatic builds one of the guest's programs and returns it.
func buildStatic(dir, name string) ([]byte, error) {
	file, err := filepath.Abs(filepath.Join(dir, name))
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", file,
		"github.com/godwit-ota/godwit/proof/powercut/"+name)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building the %s: %w\n%s", name, err, out)
	}
	return os.ReadFile(file)
}
