package main

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// kernel is Debian's kernel package, unpacked.
type kernel struct {
	image   string            // boot/vmlinuz-…
	modules map[string]string // name with underscores → file
}

// fetchKernel brings the running distribution's amd64 kernel with apt-get and
// unpacks it below dir, once.
func fetchKernel(dir string) (*kernel, error) {
	root := filepath.Join(dir, "kernel")
	if _, err := os.Stat(root); err != nil {
		tmp, err := os.MkdirTemp(dir, "fetch")
		if err != nil {
			return nil, err
		}
		defer os.RemoveAll(tmp)
		// apt-get would rather write as a user of its own.
		if err := os.Chmod(tmp, 0o777); err != nil {
			return nil, err
		}
		depends, err := run(tmp, "apt-cache", "depends", "linux-image-amd64")
		if err != nil {
			return nil, fmt.Errorf("asking for the kernel's package (is there a package list? apt-get update): %w", err)
		}
		_, after, ok := strings.Cut(depends, "Depends: ")
		fields := strings.Fields(after)
		if !ok || len(fields) == 0 {
			return nil, fmt.Errorf("linux-image-amd64 depends on nothing: %s", depends)
		}
		if _, err := run(tmp, "apt-get", "download", fields[0]); err != nil {
			return nil, err
		}
		deb, err := filepath.Glob(filepath.Join(tmp, "*.deb"))
		if err != nil || len(deb) != 1 {
			return nil, fmt.Errorf("apt-get download left %q", deb)
		}
		if _, err := run(tmp, "dpkg-deb", "-x", deb[0], filepath.Join(tmp, "x")); err != nil {
			return nil, err
		}
		if err := os.Rename(filepath.Join(tmp, "x"), root); err != nil {
			return nil, err
		}
	}
	images, _ := filepath.Glob(filepath.Join(root, "boot/vmlinuz-*"))
	if len(images) != 1 {
		return nil, fmt.Errorf("%s holds the kernels %q, want one", root, images)
	}
	k := &kernel{image: images[0], modules: map[string]string{}}
	return k, filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name, kind, ok := strings.Cut(d.Name(), ".ko"); ok && (kind == "" || kind == ".xz" || kind == ".zst") {
			k.modules[strings.ReplaceAll(name, "-", "_")] = path
		}
		return nil
	})
}

// module is one kernel module, unpacked.
type module struct {
	name    string
	content []byte
}

// load returns the named modules and all that they depend on, in an order in
// which they can be loaded. Names that are no module are taken for built in.
func (k *kernel) load(names ...string) (list []module, err error) {
	seen := map[string]bool{}
	var visit func(name string) error
	visit = func(name string) error {
		file, ok := k.modules[name]
		if seen[name] || !ok {
			return nil
		}
		seen[name] = true
		content, err := os.ReadFile(file)
		switch filepath.Ext(file) {
		case ".xz":
			content, err = exec.Command("xz", "-dc", file).Output()
		case ".zst":
			content, err = exec.Command("zstd", "-dcq", file).Output()
		}
		if err != nil {
			return fmt.Errorf("reading %s: %w", file, err)
		}
		needs, err := dependencies(content)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		for _, n := range needs {
			if err := visit(n); err != nil {
				return err
			}
		}
		list = append(list, module{name, content})
		return nil
	}
	for _, n := range names {
		if err := visit(n); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// dependencies reads a module's own word on which others it needs.
func dependencies(content []byte) ([]string, error) {
	f, err := elf.NewFile(bytes.NewReader(content))
	if err != nil {
		return nil, err
	}
	s := f.Section(".modinfo")
	if s == nil {
		return nil, errors.New("not a kernel module")
	}
	b, err := s.Data()
	if err != nil {
		return nil, err
	}
	for line := range strings.SplitSeq(string(b), "\x00") {
		if d, ok := strings.CutPrefix(line, "depends="); ok {
			return strings.FieldsFunc(strings.ReplaceAll(d, "-", "_"), func(r rune) bool { return r == ',' }), nil
		}
	}
	return nil, nil
}

// run gives the standard output of a command, or an error with what it said.
func run(dir, name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s%s", cmd, err, &out, &complaint)
	}
	return out.String(), nil
}
