package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/godwit-ota/godwit/proof/powercut/wire"
)

// A machine is a QEMU guest that is woken, again and again, from one snapshot
// taken while it waited for its task.
type machine struct {
	guest    *guest
	accel    string // QEMU's -accel
	memory   int    // MiB
	snapshot string // file
}

// patience is how long a guest may take for anything before the proof itself
// is taken for broken. It never decides whether a tree is right.
const patience = 3 * time.Minute

// command is a QEMU with the disk behind the drive specification disk and the
// task in the file task.
func (m *machine) command(disk, task string, extra ...string) *exec.Cmd {
	cmd := exec.Command("qemu-system-x86_64", append([]string{
		"-M", "pc,vmport=off,hpet=off", "-accel", m.accel, "-cpu", "max,-la57", "-m", fmt.Sprint(m.memory),
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-serial", "null", "-debugcon", "stdio",
		"-kernel", m.guest.kernel, "-initrd", m.guest.initrd,
		"-append", "console=ttyS0 quiet panic=-1 nokaslr mitigations=off no_timer_check tsc=reliable random.trust_cpu=on",
		"-drive", disk + ",if=none,id=disk,format=raw,cache=writeback",
		"-device", "virtio-blk-pci,drive=disk,write-cache=on",
		"-drive", "file=" + task + ",if=none,id=task,format=raw,readonly=on",
		"-device", "virtio-blk-pci,drive=task",
	}, extra...)...)
	// When this program is interrupted no guest is to go on by itself.
	tie(cmd)
	return cmd
}

const taskSize = 4096

// boot starts the machine once and keeps a snapshot of it, waiting. A snapshot
// from an earlier run of the same guest is used again.
func (m *machine) boot(dir string, diskSize int64) error {
	m.snapshot = filepath.Join(dir, fmt.Sprintf("snapshot-%s-%d-%d", m.guest.id, m.memory, diskSize>>20))
	if _, err := os.Stat(m.snapshot); err == nil {
		return nil
	}
	if old, _ := filepath.Glob(filepath.Join(dir, "snapshot-*")); len(old) > 0 {
		for _, f := range old { // of other guests: 100 MB each
			os.Remove(f)
		}
	}
	scratch, err := os.MkdirTemp("", "powercut")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	disk, task, control := filepath.Join(scratch, "disk"), filepath.Join(scratch, "task"), filepath.Join(scratch, "control")
	for file, size := range map[string]int64{disk: diskSize, task: taskSize} {
		if err := os.WriteFile(file, nil, 0o644); err != nil {
			return err
		}
		if err := os.Truncate(file, size); err != nil {
			return err
		}
	}
	cmd := m.command("file="+disk, task, "-qmp", "unix:"+control+",server=on,wait=off")
	lines, stop, err := start(cmd)
	if err != nil {
		return err
	}
	defer stop()
	if word, text := next(lines); word != wire.Waiting {
		return fmt.Errorf("the guest did not come up: %s %s", word, text)
	}
	if err := save(control, m.snapshot+".new"); err != nil {
		return fmt.Errorf("taking the snapshot: %w", err)
	}
	return os.Rename(m.snapshot+".new", m.snapshot)
}

// save asks the QEMU at the socket control to write itself to a file.
// https://www.qemu.org/docs/master/interop/qemu-qmp-ref.html
func save(control, file string) error {
	c, err := net.Dial("unix", control)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	in := json.NewDecoder(c)
	ask := func(command string, arguments map[string]any) (status string, err error) {
		if err := json.NewEncoder(c).Encode(map[string]any{"execute": command, "arguments": arguments}); err != nil {
			return "", err
		}
		for {
			var answer struct {
				Return *struct{ Status string }
				Error  *struct{ Desc string }
			}
			switch err := in.Decode(&answer); {
			case err != nil:
				return "", err
			case answer.Error != nil:
				return "", errors.New(answer.Error.Desc)
			case answer.Return != nil:
				return answer.Return.Status, nil
			}
		}
	}
	if _, err := ask("qmp_capabilities", map[string]any{}); err != nil {
		return err
	}
	if _, err := ask("migrate-set-parameters", map[string]any{"max-bandwidth": int64(4e9)}); err != nil {
		return err
	}
	quoted := "'" + strings.ReplaceAll(file, "'", `'\''`) + "'"
	if _, err := ask("migrate", map[string]any{"uri": "exec:cat > " + quoted}); err != nil {
		return err
	}
	for {
		status, err := ask("query-migrate", map[string]any{})
		if err != nil || status == "completed" {
			return err
		}
		if status == "failed" || status == "cancelled" {
			return errors.New("QEMU says " + status)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// wake lets the machine go on with the disk served at socket and a task. The
// lines channel is closed when the machine is gone.
func (m *machine) wake(scratch, socket string, task wire.Task) (lines <-chan string, stop func(), err error) {
	text, err := json.Marshal(task)
	if err != nil {
		return nil, nil, err
	}
	if len(text) >= taskSize {
		return nil, nil, errors.New("the task is too long")
	}
	file := filepath.Join(scratch, "task")
	if err := os.WriteFile(file, append(text, make([]byte, taskSize-len(text))...), 0o644); err != nil {
		return nil, nil, err
	}
	image, err := os.Open(m.snapshot)
	if err != nil {
		return nil, nil, err
	}
	defer image.Close()
	cmd := m.command("file=nbd+unix:///?socket="+socket, file, "-incoming", "fd:3")
	cmd.ExtraFiles = []*os.File{image}
	return start(cmd)
}

// start runs a QEMU and hands out the lines of its debug port; stop ends it
// the way a power cut would, and may be called twice.
func start(cmd *exec.Cmd) (lines <-chan string, stop func(), err error) {
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	var complaint strings.Builder
	cmd.Stderr = &complaint
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	c := make(chan string, 1024)
	go func() {
		defer close(c)
		for in := bufio.NewReader(out); ; {
			line, err := in.ReadString('\n')
			if err != nil {
				break
			}
			c <- strings.TrimSpace(line)
		}
		io.Copy(io.Discard, out)
		if err := cmd.Wait(); err != nil && complaint.Len() > 0 {
			c <- "@" + wire.Fatal + " QEMU: " + strings.TrimSpace(complaint.String())
		}
	}()
	return c, func() { cmd.Process.Kill() }, nil
}

// next waits for the guest's next word.
func next(lines <-chan string) (word, text string) {
	select {
	case line, ok := <-lines:
		if !ok {
			return "", ""
		}
		word, text, _ = strings.Cut(strings.TrimPrefix(line, "@"), " ")
		return word, text
	case <-time.After(patience):
		return wire.Fatal, "the guest said nothing for too long"
	}
}
