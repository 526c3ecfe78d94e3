package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// grace is how long output is still read after a program has ended, when
// something that it started keeps the pipe open.
const grace = 200 * time.Millisecond

// run runs a program in the tree, in a process group of its own, and returns
// the end of what it printed. At the limit, or when ctx ends, the whole group
// is killed. The error is a sentence about what.
func (a *App) run(ctx context.Context, what string, argv []string, limit time.Duration, env []string) (string, error) {
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := exec.CommandContext(limited, argv[0], argv[1:]...)
	cmd.Dir = a.dir()
	cmd.Env = a.environ(env)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = grace
	var out tail
	cmd.Stdout, cmd.Stderr = &out, &out

	err := cmd.Run()
	switch {
	case err == nil:
		return out.String(), nil
	case limited.Err() != nil && ctx.Err() == nil:
		return out.String(), fmt.Errorf("%s took longer than %s and was ended", what, limit)
	case ctx.Err() != nil:
		return out.String(), fmt.Errorf("%s was ended: %w", what, context.Cause(ctx))
	case errors.Is(err, exec.ErrWaitDelay):
		return out.String(), nil // it ended well, and left something running
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return out.String(), &startError{what, argv[0], err}
	}
	if s, ok := exit.Sys().(syscall.WaitStatus); ok && s.Signaled() {
		return out.String(), fmt.Errorf("%s was ended by the signal %s", what, s.Signal())
	}
	return out.String(), fmt.Errorf("%s ended with exit code %d", what, exit.ExitCode())
}

// A startError is a program that could not be started at all, which trying
// again does not change.
type startError struct {
	what, program string
	err           error
}

func (e *startError) Error() string {
	why := e.err.Error()
	var pe *fs.PathError
	var ee *exec.Error
	if errors.As(e.err, &pe) {
		why = pe.Err.Error()
	} else if errors.As(e.err, &ee) {
		why = ee.Err.Error()
	}
	return e.what + " could not be started: " + e.program + ": " + why
}

func (e *startError) Unwrap() error { return e.err }

// tail keeps the last MaxOutput bytes that are written to it.
type tail struct {
	mu  sync.Mutex
	b   []byte
	cut bool
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p[max(0, len(p)-MaxOutput):]...)
	if over := len(t.b) - MaxOutput; over > 0 || len(p) > MaxOutput {
		t.b = append(t.b[:0], t.b[max(over, 0):]...)
		t.cut = true
	}
	return len(p), nil
}

// line writes text as a line of its own, unless it is empty.
func (t *tail) line(text string) {
	if text == "" {
		return
	}
	if len(t.b) > 0 {
		text = "\n" + text
	}
	t.Write([]byte(text))
}

// String returns valid UTF-8 of at most MaxOutput bytes, marked with "…" where
// the beginning is missing.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := strings.ToValidUTF8(string(t.b), "?")
	if t.cut || len(s) > MaxOutput {
		s = s[max(0, len(s)-MaxOutput+len("…")):]
		for len(s) > 0 && s[0]&0xc0 == 0x80 { // not in the middle of a character
			s = s[1:]
		}
		s = "…" + s
	}
	return strings.TrimRight(s, "\n")
}
