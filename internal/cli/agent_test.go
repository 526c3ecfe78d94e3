package cli

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/godwit-ota/godwit/agent"
)

// A lockedBuffer is written by an agent and read by a test.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// A configuration that no agent can be made of does not end the one that runs, whatever is
// wrong with it.
func TestHangUp(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "godwit.toml")
	write := func(more string) {
		text := "[source]\nurl = \"file://" + dir + "/none.git\"\nbranch = \"main\"\n[trust]\nmode = \"none\"\n[tree]\nroot = \"" + dir + "/tree\"\n" + more
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("")
	log := &lockedBuffer{}
	c := &command{configFile: file, stdout: io.Discard, stderr: log, getenv: func(name string) string {
		return map[string]string{"RUNTIME_DIRECTORY": dir, "GOMEMLIMIT": "off"}[name]
	}}
	cfg, err := c.loadConfig()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	hup := make(chan os.Signal, 1)
	ended := make(chan error, 1)
	go func() {
		next, err := c.runAgent(ctx, cfg, &agent.Log{W: log}, hup, false)
		if next != nil {
			t.Error("it goes on with what it cannot go on with")
		}
		ended <- err
	}()
	for _, more := range []string{"[when]\ntimezone = \"Mars/Olympus\"\n", "[when]\nnonsense = 1\n"} {
		write(more)
		hup <- syscall.SIGHUP
		for end := time.Now().Add(10 * time.Second); strings.Count(log.String(), "the one before goes on") == 0; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal(log)
			}
		}
		log.mu.Lock()
		log.b.Reset()
		log.mu.Unlock()
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
