//go:build linux

// Command guest is the first process of the machine whose power is cut: it
// loads the kernel's modules, waits for the host to say what to do, mounts the
// disk and runs the payload on it. Checking what the last cut left is the
// payload's business.
//
// It speaks to the host through the debug port of QEMU, whose bytes are with
// the host the moment they are written, and is spoken to through the first
// sector of a second disk, so that the host can keep a snapshot of the waiting
// machine and wake it with other disks.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/godwit-ota/godwit/proof/powercut/wire"
)

func main() {
	if err := live(); err != nil {
		wire.Say(wire.Fatal, err.Error())
	}
	for {
		time.Sleep(time.Hour) // the first process must not end
	}
}

func live() error {
	for _, m := range [][3]string{{"proc", "/proc", "proc"}, {"sys", "/sys", "sysfs"}, {"dev", "/dev", "devtmpfs"}} {
		os.MkdirAll(m[1], 0o755)
		if err := unix.Mount(m[0], m[1], m[2], 0, ""); err != nil && err != unix.EBUSY {
			return fmt.Errorf("mounting %s: %w", m[1], err)
		}
	}
	os.Setenv(wire.InGuest, "1") // for the payload, too
	if err := loadModules(); err != nil {
		return err
	}
	// The kernel writes dirty pages back at once, so that a cut finds all kinds
	// of half-written states and not only what was synced.
	for name, hundredths := range map[string]string{"dirty_writeback_centisecs": "5", "dirty_expire_centisecs": "5"} {
		if err := os.WriteFile("/proc/sys/vm/"+name, []byte(hundredths), 0); err != nil {
			return err
		}
	}
	task, err := waitForTask()
	if err != nil {
		return err
	}
	if err := forgetBlocks("/dev/vda"); err != nil {
		return err
	}
	os.MkdirAll("/data", 0o755)
	if err := unix.Mount("/dev/vda", "/data", task.FileSystem, 0, task.Options); err != nil {
		wire.Say(wire.Unmountable, err.Error())
		return nil
	}
	wire.Say(wire.Mounted, task.FileSystem)
	cmd := exec.Command("/payload", task.Args...)
	out, err := cmd.CombinedOutput()
	return fmt.Errorf("the payload ended: %v: %s", err, strings.Join(strings.Fields(string(out)), " "))
}

func loadModules() error {
	list, err := os.ReadFile("/modules/list")
	if err != nil {
		return err
	}
	for _, name := range strings.Fields(string(list)) {
		b, err := os.ReadFile("/modules/" + name)
		if err != nil {
			return err
		}
		if err := unix.InitModule(b, ""); err != nil && err != unix.EEXIST {
			return fmt.Errorf("module %s: %w", name, err)
		}
	}
	return nil
}

// waitForTask reads the second disk, past the kernel's cache, until the host
// has put a task there.
func waitForTask() (task wire.Task, err error) {
	var fd int
	for range 1000 {
		if fd, err = unix.Open("/dev/vdb", unix.O_RDONLY|unix.O_DIRECT, 0); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err != nil {
		return task, fmt.Errorf("/dev/vdb: %w", err)
	}
	defer unix.Close(fd)
	page, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return task, err
	}
	for waiting := false; ; {
		if _, err := unix.Pread(fd, page, 0); err != nil {
			return task, fmt.Errorf("/dev/vdb: %w", err)
		}
		if text, _, ok := strings.Cut(string(page), "\x00"); ok && text != "" {
			return task, json.Unmarshal([]byte(text), &task)
		}
		if !waiting {
			waiting = true
			wire.Say(wire.Waiting, "")
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// forgetBlocks drops what the kernel remembers of a disk: the host has put
// another one in its place.
func forgetBlocks(dev string) error {
	fd, err := unix.Open(dev, unix.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.BLKFLSBUF, uintptr(unsafe.Pointer(nil))); e != 0 {
		return fmt.Errorf("BLKFLSBUF %s: %w", dev, e)
	}
	return nil
}
