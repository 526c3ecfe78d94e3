//go:build linux

package board

import (
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// maxFile is how much of a file below /sys or /proc is read, in bytes. An
// attribute in sysfs is at most a page; /proc/cpuinfo of a large machine is longer.
const maxFile = 256 << 10

var errNonsense = errors.New("it holds no sensible value")

// read returns the text of a file without the white space around it. It never
// waits for a pipe that somebody put there, and does without the runtime's
// poller, which takes files in sysfs for something to wait on.
func read(path string) (string, error) {
	b, err := readBytes(path)
	return strings.TrimSpace(string(b)), err
}

func readBytes(path string) ([]byte, error) {
	fd, err := again(func() (int, error) {
		return unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	})
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	var b []byte
	buf := make([]byte, 4<<10)
	for len(b) < maxFile {
		n, err := again(func() (int, error) { return unix.Read(fd, buf) })
		if err != nil {
			return nil, &os.PathError{Op: "read", Path: path, Err: err}
		}
		if n == 0 {
			break
		}
		b = append(b, buf[:n]...)
	}
	return b, nil
}

// write replaces the value of a file that exists.
func write(path, value string) error {
	fd, err := again(func() (int, error) {
		return unix.Open(path, unix.O_WRONLY|unix.O_TRUNC|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	})
	if err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	n, err := again(func() (int, error) { return unix.Write(fd, []byte(value)) })
	if err == nil && n < len(value) {
		err = io.ErrShortWrite
	}
	if err != nil {
		return &os.PathError{Op: "write", Path: path, Err: err}
	}
	return nil
}

// again calls a system call until no signal interrupts it.
func again(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if err != unix.EINTR {
			return n, err
		}
	}
}

// readInt reads a decimal number.
func readInt(path string) (int64, error) {
	s, err := read(path)
	if err != nil {
		return 0, err
	}
	n, err := parseInt(s)
	if err != nil {
		return 0, &os.PathError{Op: "read", Path: path, Err: err}
	}
	return n, nil
}

// readFloat reads a decimal number that may have a fraction.
func readFloat(path string) (float64, error) {
	s, err := read(path)
	if err != nil {
		return 0, err
	}
	v, err := parseFloat(s)
	if err != nil {
		return 0, &os.PathError{Op: "read", Path: path, Err: err}
	}
	return v, nil
}

// parseInt parses a decimal number and nothing else around it.
func parseInt(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, errNonsense
	}
	return n, nil
}

// parseFloat parses a finite decimal number as the kernel writes it.
func parseFloat(s string) (float64, error) {
	if strings.Trim(s, "+-.0123456789eE") != "" || strings.ContainsAny(s, "xXpPnN_") {
		return 0, errNonsense
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsInf(v, 0) || math.IsNaN(v) {
		return 0, errNonsense
	}
	return v, nil
}

// parseBytes parses a number of bytes as /proc/meminfo gives it: "1024 kB".
func parseBytes(s string) (int64, error) {
	number, unit, _ := strings.Cut(strings.TrimSpace(s), " ")
	n, err := parseInt(number)
	scale := int64(1)
	switch strings.TrimSpace(unit) {
	case "":
	case "kB":
		scale = 1 << 10
	default:
		return 0, errNonsense
	}
	if err != nil || n < 0 || n > math.MaxInt64/scale {
		return 0, errNonsense
	}
	return n * scale, nil
}

// list returns the names in a folder, those with lower numbers first. A folder
// that cannot be read has none.
func list(dir string) []string {
	f, err := os.Open(dir)
	if err != nil {
		return nil
	}
	defer f.Close()
	names, _ := f.Readdirnames(4096)
	slices.SortFunc(names, natural)
	return names
}

// natural compares names so that "device2" comes before "device10".
func natural(a, b string) int {
	base := func(s string) string { return strings.TrimRight(s, "0123456789") }
	if base(a) == base(b) && len(a) != len(b) {
		return len(a) - len(b)
	}
	return strings.Compare(a, b)
}

// plainName reports whether name is one part of a path and stays below its
// folder.
func plainName(name string) bool {
	return name != "" && name != "." && name != ".." && filepath.Base(name) == name && !strings.ContainsRune(name, 0)
}

// clean makes text from hardware fit to print on one line.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\uFFFD' {
			return -1
		}
		return r
	}, s)
	if len(s) > 100 {
		s = strings.ToValidUTF8(s[:100], "") + "…"
	}
	return strings.TrimSpace(s)
}

// missing reports whether err says that there is no such file.
func missing(err error) bool { return errors.Is(err, os.ErrNotExist) }
