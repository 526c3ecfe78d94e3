package agent

import (
	"os"
	"runtime/debug"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// rest gives memory back before a long sleep: what the heap has free, and the pages of the
// program itself, which come back from the file, or from the kernel's cache of it, when they are
// needed: madvise(2), MADV_DONTNEED. An agent sleeps nearly all its life, and nobody
// else can use what it holds meanwhile.
func rest() {
	debug.FreeOSMemory()
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return
	}
	maps, err := os.ReadFile("/proc/self/maps") // proc_pid_maps(5)
	if err != nil {
		return
	}
	for line := range strings.Lines(string(maps)) {
		f := strings.Fields(line)
		// Only what can be read from the file again: never a page that may be written.
		if len(f) < 6 || strings.Join(f[5:], " ") != exe || // "NAME (deleted)" once it was replaced
			len(f[1]) != 4 || f[1][0] != 'r' || f[1][1] == 'w' {
			continue
		}
		from, to, ok := strings.Cut(f[0], "-")
		a, err := strconv.ParseUint(from, 16, 64)
		b, err2 := strconv.ParseUint(to, 16, 64)
		if ok && err == nil && err2 == nil && b > a {
			unix.Syscall(unix.SYS_MADVISE, uintptr(a), uintptr(b-a), unix.MADV_DONTNEED)
		}
	}
}
