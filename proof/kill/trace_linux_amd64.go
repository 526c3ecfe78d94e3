package kill

import (
	"errors"
	"os"
	"os/exec"
	"path"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A call is one system call by which a process changes or syncs files, holds a
// lock or lets go of it.
type call struct {
	name string
	path string
}

func (c call) String() string { return c.name + " " + c.path }

var callNames = map[uint64]string{
	unix.SYS_OPENAT: "openat", unix.SYS_OPEN: "open", unix.SYS_CREAT: "creat",
	unix.SYS_WRITE: "write", unix.SYS_PWRITE64: "pwrite64", unix.SYS_WRITEV: "writev", unix.SYS_PWRITEV: "pwritev",
	unix.SYS_COPY_FILE_RANGE: "copy_file_range", unix.SYS_SENDFILE: "sendfile", unix.SYS_SPLICE: "splice",
	unix.SYS_TRUNCATE: "truncate", unix.SYS_FTRUNCATE: "ftruncate", unix.SYS_FALLOCATE: "fallocate",
	unix.SYS_FSYNC: "fsync", unix.SYS_FDATASYNC: "fdatasync", unix.SYS_SYNCFS: "syncfs", unix.SYS_SYNC: "sync",
	unix.SYS_MKDIR: "mkdir", unix.SYS_MKDIRAT: "mkdirat", unix.SYS_RMDIR: "rmdir",
	unix.SYS_UNLINK: "unlink", unix.SYS_UNLINKAT: "unlinkat",
	unix.SYS_RENAME: "rename", unix.SYS_RENAMEAT: "renameat", unix.SYS_RENAMEAT2: "renameat2",
	unix.SYS_LINK: "link", unix.SYS_LINKAT: "linkat", unix.SYS_SYMLINK: "symlink", unix.SYS_SYMLINKAT: "symlinkat",
	unix.SYS_CHMOD: "chmod", unix.SYS_FCHMOD: "fchmod", unix.SYS_FCHMODAT: "fchmodat",
	unix.SYS_IOCTL: "ioctl", unix.SYS_FLOCK: "flock",
}

const ficlone = 0x40049409 // FICLONE, linux/fs.h

// counts returns the call that a process is about to make, if it is one that
// counts.
func counts(pid int, r *unix.PtraceRegs) (call, bool) {
	name, ok := callNames[r.Orig_rax]
	if !ok {
		return call{}, false
	}
	c := call{name: name}
	switch r.Orig_rax {
	case unix.SYS_OPENAT:
		c.path = peek(pid, uintptr(r.Rsi))
		return c, r.Rdx&(unix.O_CREAT|unix.O_TRUNC) != 0
	case unix.SYS_OPEN:
		c.path = peek(pid, uintptr(r.Rdi))
		return c, r.Rsi&(unix.O_CREAT|unix.O_TRUNC) != 0
	case unix.SYS_IOCTL:
		return c, r.Rsi == ficlone
	case unix.SYS_WRITE, unix.SYS_PWRITE64, unix.SYS_WRITEV, unix.SYS_PWRITEV, unix.SYS_FTRUNCATE, unix.SYS_FALLOCATE,
		unix.SYS_FSYNC, unix.SYS_FDATASYNC, unix.SYS_SYNCFS, unix.SYS_FCHMOD, unix.SYS_FLOCK:
		to, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/fd/" + strconv.Itoa(int(r.Rdi)))
		c.path = path.Base(to)
		// Pipes, sockets and the log do not matter.
		return c, err == nil && strings.HasPrefix(to, "/") && !strings.HasPrefix(to, "/dev/") && c.path != logName
	case unix.SYS_MKDIRAT, unix.SYS_UNLINKAT, unix.SYS_FCHMODAT:
		c.path = peek(pid, uintptr(r.Rsi))
	case unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2, unix.SYS_LINKAT:
		c.path = peek(pid, uintptr(r.Rsi)) + " -> " + peek(pid, uintptr(r.R10))
	case unix.SYS_SYMLINKAT:
		c.path = peek(pid, uintptr(r.Rdx))
	}
	return c, true
}

// peek reads a string of a process.
func peek(pid int, at uintptr) string {
	var b [256]byte
	n, _ := unix.PtracePeekData(pid, at, b[:])
	s, _, _ := strings.Cut(string(b[:max(n, 0)]), "\x00")
	return s
}

// A tracer runs a command and counts its calls over all of its threads.
// Programs that the command starts run free.
type tracer struct {
	killAt int             // the call, from 1, before which the process is killed; 0: none
	skip   func(call) bool // calls that are not carried out and yet succeed; may be nil
	calls  []call
	killed bool
	status int // exit status, when it was not killed
}

var errNoPtrace = errors.New("ptrace is not allowed here")

// logName is the name of the file that takes the command's output.
const logName = "godwit.log"

// run runs the command to its end.
func (t *tracer) run(cmd *exec.Cmd) error {
	runtime.LockOSThread() // ptrace knows its tracer by thread
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &unix.SysProcAttr{Ptrace: true}
	if err := cmd.Start(); err != nil {
		if errors.Is(err, unix.EPERM) {
			return errNoPtrace
		}
		return err
	}
	defer cmd.Process.Release()
	leader := cmd.Process.Pid
	const wall = unix.WALL | 0x20000000 // __WNOTHREAD: children of this thread only
	var ws unix.WaitStatus
	if _, err := unix.Wait4(leader, &ws, wall, nil); err != nil {
		return err
	}
	if err := unix.PtraceSetOptions(leader, unix.PTRACE_O_TRACESYSGOOD|unix.PTRACE_O_TRACECLONE|unix.PTRACE_O_EXITKILL); err != nil {
		return errNoPtrace
	}
	inside := map[int]bool{}    // threads between entry and exit of a call
	pretend := map[int]uint64{} // results of calls that were skipped
	if err := unix.PtraceSyscall(leader, 0); err != nil {
		return err
	}
	for {
		pid, err := unix.Wait4(-1, &ws, wall, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		if ws.Exited() || ws.Signaled() {
			delete(inside, pid)
			if pid == leader {
				t.status = ws.ExitStatus()
				return nil
			}
			continue
		}
		signal := 0
		switch stop := ws.StopSignal(); {
		case stop == unix.SIGTRAP|0x80:
			if inside[pid] = !inside[pid]; inside[pid] {
				t.enter(leader, pid, pretend)
			} else if result, ok := pretend[pid]; ok {
				var r unix.PtraceRegs
				if unix.PtraceGetRegs(pid, &r) == nil {
					r.Rax = result
					unix.PtraceSetRegs(pid, &r)
				}
				delete(pretend, pid)
			}
		case stop == unix.SIGTRAP, stop == unix.SIGSTOP: // a new thread, or one's first stop
		default:
			signal = int(stop)
		}
		unix.PtraceSyscall(pid, signal) // fails for one that was just killed
	}
}

func (t *tracer) enter(leader, pid int, pretend map[int]uint64) {
	var r unix.PtraceRegs
	if t.killed || unix.PtraceGetRegs(pid, &r) != nil {
		return
	}
	c, ok := counts(pid, &r)
	if !ok {
		return
	}
	t.calls = append(t.calls, c)
	if len(t.calls) == t.killAt {
		t.killed = true
		unix.Kill(leader, unix.SIGKILL)
		return
	}
	if t.skip != nil && t.skip(c) {
		pretend[pid] = 0
		if strings.Contains(c.name, "write") {
			pretend[pid] = r.Rdx
		}
		r.Orig_rax = ^uint64(0)
		unix.PtraceSetRegs(pid, &r)
	}
}
