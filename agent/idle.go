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
	maps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		return
	}
	for _, m := range fromFile(string(maps), exe) {
		unix.Syscall(unix.SYS_MADVISE, m.from, m.to-m.from, unix.MADV_DONTNEED)
	}
}

// A span of addresses.
type span struct{ from, to uintptr }

// fromFile gives the mappings of the program exe, of all in maps, that can be read from
// its file again: proc_pid_smaps(5). Those that may be written are not among them, nor are
// those that hold a page of their own although they may only be read: what a program that lies
// anywhere in memory (-buildmode=pie) has had relocated, or where a debugger stops it.
func fromFile(maps, exe string) (list []span) {
	var last span
	for line := range strings.Lines(maps) {
		f := strings.Fields(line)
		switch {
		case len(f) == 3 && f[0] == "Anonymous:":
			if f[1] == "0" && last.to > last.from {
				list = append(list, last)
			}
			last = span{}
		case len(f) >= 5 && !strings.HasSuffix(f[0], ":"):
			last = span{}
			// "NAME (deleted)" once it was replaced.
			if strings.Join(f[5:], " ") != exe || len(f[1]) != 4 || f[1][0] != 'r' || f[1][1] == 'w' {
				continue
			}
			from, to, _ := strings.Cut(f[0], "-")
			a, err := strconv.ParseUint(from, 16, strconv.IntSize)
			b, err2 := strconv.ParseUint(to, 16, strconv.IntSize)
			if err == nil && err2 == nil {
				last = span{uintptr(a), uintptr(b)}
			}
		}
	}
	return list
}
