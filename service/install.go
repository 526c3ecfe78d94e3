package service

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/godwit-ota/godwit"
)

// Detect tells what starts services on the device whose file system begins at
// root: "/" for this one, else the folder of an image.
func Detect(root string) Init {
	there := func(name string) bool {
		_, err := os.Stat(filepath.Join(root, name))
		return err == nil
	}
	// What runs counts more than what is installed.
	switch {
	case there("run/systemd/system"):
		return Systemd
	case there("run/openrc"):
		return OpenRC
	}
	program, _ := os.Readlink(filepath.Join(root, "sbin/init"))
	switch filepath.Base(program) {
	case "systemd":
		return Systemd
	case "openrc-init":
		return OpenRC
	}
	if there("sbin/openrc-run") || there("usr/sbin/openrc-run") {
		return OpenRC
	}
	return BusyBox
}

// Start gives the commands that begin what Install has written.
func Start(init Init, self bool) []string {
	switch init {
	case Systemd:
		enable := "systemctl enable godwit-recover.service"
		if self {
			enable += " godwit-self.timer"
		}
		return []string{"systemctl daemon-reload", enable, "systemctl enable --now godwit-agent.service"}
	case OpenRC:
		return []string{"rc-update add godwit-recover boot", "rc-update add godwit-agent default", "rc-service godwit-agent start"}
	}
	return []string{"/etc/init.d/godwit-recover enable", "/etc/init.d/godwit-agent enable", "/etc/init.d/godwit-agent start"}
}

// Stop gives the commands to run before Remove.
func Stop(init Init, self bool) []string {
	switch init {
	case Systemd:
		disable := "systemctl disable --now godwit-agent.service godwit-recover.service"
		if self {
			disable += " godwit-self.timer"
		}
		return []string{disable}
	case OpenRC:
		return []string{"rc-service godwit-agent stop", "rc-update del godwit-agent default", "rc-update del godwit-recover boot"}
	}
	return []string{"/etc/init.d/godwit-agent stop", "/etc/init.d/godwit-agent disable", "/etc/init.d/godwit-recover disable"}
}

// kind is the init that files are for, and whether Godwit updates itself.
func kind(files []File) (init Init, self bool) {
	init = BusyBox
	for _, f := range files {
		switch {
		case strings.HasSuffix(f.Path, ".service"):
			init = Systemd
		case bytes.HasPrefix(f.Content, []byte("#!/sbin/openrc-run")):
			init = OpenRC
		case f.Path == Launcher:
			self = true
		}
	}
	return init, self
}

// Install writes files below root, each of them whole or not at all, and gives
// the commands that begin them. A file in the way that Godwit did not write is
// an error, and then nothing is written.
func Install(root string, files []File) (next []string, err error) {
	for _, f := range files {
		if _, err := ours(root, f); err != nil {
			return nil, err
		}
	}
	for _, f := range files {
		if err := write(filepath.Join(root, f.Path), f.Content, os.FileMode(f.Mode)); err != nil {
			return nil, godwit.Fail(godwit.CodeFailed, err, "cannot write "+f.Path, "this wants root's rights, and a file system that can be written")
		}
	}
	return Start(kind(files)), nil
}

// Remove removes files below root and gives the commands that tell the init so.
// Only their paths count: it does not matter which options they were made with.
// What Stop gives is to be run before. A file that Godwit did not write is an
// error, and then nothing is removed.
func Remove(root string, files []File) (next []string, err error) {
	var mine []string
	for _, f := range files {
		there, err := ours(root, f)
		if err != nil {
			return nil, err
		}
		if there {
			mine = append(mine, filepath.Join(root, f.Path))
		}
	}
	for _, name := range mine {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, godwit.Fail(godwit.CodeFailed, err, "cannot remove "+name, "this wants root's rights")
		}
	}
	if init, _ := kind(files); init == Systemd {
		next = []string{"systemctl daemon-reload"}
	}
	return next, nil
}

// ours tells whether there is a file where f goes, and is an error if Godwit did
// not write it.
func ours(root string, f File) (there bool, err error) {
	b, err := os.ReadFile(filepath.Join(root, f.Path))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, godwit.Fail(godwit.CodeFailed, err, "cannot read "+f.Path, "")
	case !bytes.Contains(b, []byte(mark)):
		return false, godwit.Fail(godwit.CodeForeignFile, nil, "there is a file "+f.Path+" that Godwit did not write", "move it away, or take what you need from `godwit install-service --print`")
	}
	return true, nil
}

// write replaces a file at once: what reads it sees the old one or the new one,
// and so does a device whose power fails.
func write(name string, content []byte, mode os.FileMode) error {
	dir := filepath.Dir(name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".godwit-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone, where all went well
	_, err = f.Write(content)
	for _, then := range []func() error{func() error { return f.Chmod(mode) }, f.Sync} {
		if err == nil {
			err = then()
		}
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
