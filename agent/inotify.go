package agent

import (
	"bytes"
	"context"
	"encoding/binary"
	"os"

	"golang.org/x/sys/unix"
)

// readChanges tells c of what inotify(7) says of the trigger, until ctx ends.
func readChanges(ctx context.Context, fd int, c chan<- struct{}) {
	f := os.NewFile(uintptr(fd), "inotify") // the runtime waits for it without a thread
	stop := context.AfterFunc(ctx, func() { f.Close() })
	defer close(c)
	defer stop()
	defer f.Close()
	b := make([]byte, 4096)
	for {
		n, err := f.Read(b)
		if err != nil {
			return
		}
		if mentions(b[:n], Trigger) {
			select {
			case c <- struct{}{}:
			default:
			}
		}
		if ended(b[:n]) {
			return
		}
	}
}

// ended reports whether one of the events says that the folder is gone: nothing more comes
// of it then, also where another one has its name by now.
func ended(events []byte) bool {
	for len(events) >= unix.SizeofInotifyEvent {
		mask, n := binary.NativeEndian.Uint32(events[4:8]), int(binary.NativeEndian.Uint32(events[12:16]))
		if mask&(unix.IN_IGNORED|unix.IN_MOVE_SELF|unix.IN_UNMOUNT) != 0 {
			return true
		}
		events = events[min(unix.SizeofInotifyEvent+n, len(events)):]
	}
	return false
}

// mentions reports whether one of the events is about a file called name, or was lost.
func mentions(events []byte, name string) bool {
	for len(events) >= unix.SizeofInotifyEvent {
		if binary.NativeEndian.Uint32(events[4:8])&unix.IN_Q_OVERFLOW != 0 {
			return true
		}
		n := int(binary.NativeEndian.Uint32(events[12:16]))
		if n > len(events)-unix.SizeofInotifyEvent {
			return true
		}
		file := events[unix.SizeofInotifyEvent : unix.SizeofInotifyEvent+n]
		if string(bytes.TrimRight(file, "\x00")) == name {
			return true
		}
		events = events[unix.SizeofInotifyEvent+n:]
	}
	return false
}
