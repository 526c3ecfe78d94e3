package wire

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/internal/webclient"
)

// newLocal runs git upload-pack on a repository of this machine, as git itself
// does for file:// and paths.
func newLocal(c *Client) transport {
	return &streamTransport{c: c, Patience: c.patience(), open: func(context.Context) (program, error) {
		path, err := c.localPath()
		if err != nil {
			return program{}, err
		}
		cmd := exec.Command("git", "upload-pack", path)
		cmd.Env = localEnv()
		cmd.WaitDelay = c.cfg.ConnectTimeout
		p := program{errors: &tail{}}
		cmd.Stderr = p.errors
		if p.in, err = cmd.StdinPipe(); err == nil {
			p.out, err = cmd.StdoutPipe()
		}
		if err == nil {
			err = cmd.Start()
		}
		if errors.Is(err, exec.ErrNotFound) {
			return program{}, godwit.Fail(godwit.CodeConfig, nil, "reading a repository on this machine needs the program git, which is not installed",
				"install git, or use an https:// or ssh:// URL")
		}
		if err != nil {
			return program{}, godwit.Fail(godwit.CodeFailed, err, "git upload-pack cannot be started", "is git installed as it should be?")
		}
		p.kill = func() { cmd.Process.Kill() }
		p.wait = func() { cmd.Wait() }
		return p, nil
	}}
}

// localPath checks that there is something at the path, because git's own
// words about that are long.
func (c *Client) localPath() (string, error) {
	path := c.at.path
	if _, err := os.Stat(path); err != nil {
		if _, e := os.Stat(path + ".git"); e != nil {
			return "", godwit.Fail(godwit.CodeNotFound, err, "there is no Git repository at "+path, "check source.url")
		}
	}
	return path, nil
}

// localEnv is this process's environment without what could point git
// elsewhere, and with the wish for protocol version 2.
func localEnv() []string {
	var env []string
	for _, kv := range os.Environ() {
		switch name, _, _ := strings.Cut(kv, "="); name {
		case "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES",
			"GIT_NAMESPACE", "GIT_COMMON_DIR", "GIT_PREFIX", "GIT_PROTOCOL", "GIT_SHALLOW_FILE", "LC_ALL":
		default:
			env = append(env, kv)
		}
	}
	return append(env, "GIT_PROTOCOL=version=2", "LC_ALL=C")
}

func (c *Client) patience() webclient.Patience {
	return webclient.Patience{Idle: c.cfg.IdleTimeout, MinRate: c.cfg.MinRate}
}
