package cli

import (
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/godwit-ota/godwit/agent"
	"github.com/godwit-ota/godwit/config"
)

// What an agent shows of a device that nothing was installed on.
func TestShowing(t *testing.T) {
	dir := t.TempDir()
	socket, metrics := filepath.Join(dir, "http"), filepath.Join(dir, "godwit.prom")
	text := "[source]\nurl = \"" + dir + "/none.git\"\ntag = \"v1\"\n[trust]\nmode = \"none\"\n[tree]\nroot = \"" + dir + "/tree\"\n[device]\nid = \"seven\"\n" +
		"[agent]\nlisten = \"unix:" + socket + "\"\nmetrics_file = \"" + metrics + "\"\n"
	cfg, err := config.Parse(filepath.Join(dir, "godwit.toml"), []byte(text), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c := &command{stdout: io.Discard, stderr: io.Discard, getenv: func(string) string { return "" }}
	var log strings.Builder
	o := agent.Options{Log: &agent.Log{W: &log}}
	c.showing(cfg, &o)
	o.Metrics()
	if b, err := os.ReadFile(metrics); err != nil || !strings.Contains(string(b), `device="seven"`) || log.Len() > 0 {
		t.Errorf("%v %s %s", err, b, &log)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- o.Page(ctx) }()
	var conn net.Conn
	for range 500 {
		if conn, err = net.Dial("unix", socket); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(conn, "GET /status.json HTTP/1.0\r\n\r\n")
	b, err := io.ReadAll(conn)
	if err != nil || !strings.Contains(string(b), `"device":"seven","state":"nothing installed"`) {
		t.Errorf("%v %s", err, b)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir + "/tree"); err == nil {
		t.Error("to show the device its root was made")
	}

	// An agent is told what it cannot write, and goes on.
	cfg.Agent.MetricsFile = config.Path(dir + "/missing/godwit.prom")
	c.showing(cfg, &o)
	o.Metrics()
	if !strings.Contains(log.String(), "the metrics cannot be written") {
		t.Error(log.String())
	}
	// Where nothing is asked for nothing is shown.
	cfg.Agent = config.Agent{}
	o = agent.Options{}
	if c.showing(cfg, &o); o.Metrics != nil || o.Page != nil {
		t.Error("shown without being asked")
	}
}
