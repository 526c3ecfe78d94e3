// Package wire is what the host of the power-cut proof and the programs in its
// guest say to each other.
//
// The host gives a Task. The guest answers in lines "@WORD TEXT" on QEMU's
// debug port (I/O port 0xe9), each of which is with the host when Say returns:
// what was said before a cut was said.
package wire

import (
	"os"
	"strings"
	"sync"
)

// A Task tells the guest what to do with its disk.
type Task struct {
	FileSystem string   // as mount(2) calls it
	Options    string   // of the mount
	Args       []string // of the payload
}

// The words of the guest.
const (
	Waiting     = "WAITING"     // for a task; the host may take its snapshot
	Mounted     = "MOUNTED"     // the disk
	Unmountable = "UNMOUNTABLE" // the file system itself did not survive
	Check       = "CHECK"       // N [M]: the tree is whole, and exactly version N; from now on only N, or M, may be found
	Broken      = "BROKEN"      // TEXT: the tree, or the record, is wrong
	May         = "MAY"         // N: from now on version N may be found too
	Ack         = "ACK"         // N [M]: from now on only version N, or M, may be found
	Hurt        = "HURT"        // from now on the tree may be found damaged, and is to be repaired
	Mended      = "MENDED"      // from now on it may not
	Did         = "DID"         // WORD: something was done, for the tally
	Fatal       = "FATAL"       // TEXT: the proof itself does not work
)

// InGuest is the environment variable that lets Say use the debug port. The
// guest sets it; anywhere else Say writes to standard output.
const InGuest = "POWERCUT_GUEST"

var port = sync.OnceValues(func() (*os.File, error) { return os.OpenFile("/dev/port", os.O_WRONLY, 0) })

// Say tells the host.
func Say(word, text string) {
	line := "@" + word + " " + strings.ReplaceAll(text, "\n", " ") + "\n"
	if os.Getenv(InGuest) == "" {
		os.Stdout.WriteString(line)
		return
	}
	p, err := port()
	if err != nil {
		os.Stderr.WriteString(err.Error() + "\n")
		return
	}
	for i := range len(line) {
		p.WriteAt([]byte{line[i]}, 0xe9)
	}
}
