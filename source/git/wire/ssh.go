package wire

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/internal/webclient"
	"golang.org/x/crypto/ssh"
)

// An sshHost is a connection to a host on which programs are run, one session
// each.
type sshHost struct {
	c      *Client
	auth   []ssh.AuthMethod
	agent  *agent
	trust  *hostTrust
	client *ssh.Client
}

func newSSH(c *Client) (transport, error) {
	h := &sshHost{c: c}
	var err error
	if h.trust, err = newHostTrust(&c.cfg, c.at.address()); err != nil {
		return nil, err
	}
	if err := h.credentials(); err != nil {
		return nil, err
	}
	return &streamTransport{c: c, Patience: c.patience(), open: h.uploadPack, hangUp: h.close, host: h}, nil
}

// credentials collects what there is: a key, or the agent's; then a password.
func (h *sshHost) credentials() error {
	cfg := &h.c.cfg
	if cfg.SSHKey != "" {
		pem, err := os.ReadFile(cfg.SSHKey)
		if err != nil {
			return godwit.Fail(godwit.CodeConfig, err, "the SSH key cannot be read", "check source.ssh_key")
		}
		signer, err := ssh.ParsePrivateKey(pem)
		var locked *ssh.PassphraseMissingError
		switch {
		case errors.As(err, &locked):
			return godwit.Fail(godwit.CodeConfig, nil, "the SSH key in "+cfg.SSHKey+" is locked with a passphrase",
				"a device cannot type: make a deploy key without one (ssh-keygen -t ed25519 -N '' -f FILE)")
		case err != nil:
			return godwit.Fail(godwit.CodeConfig, err, "there is no SSH private key in "+cfg.SSHKey, "source.ssh_key takes the file without .pub")
		}
		h.auth = append(h.auth, ssh.PublicKeys(signer))
	} else if socket := os.Getenv("SSH_AUTH_SOCK"); socket != "" {
		h.agent = &agent{socket: socket}
		h.auth = append(h.auth, ssh.PublicKeysCallback(h.agent.signers))
	}
	if password := cfg.Password; password != "" {
		h.auth = append(h.auth, ssh.Password(password))
	}
	if len(h.auth) == 0 {
		return godwit.Fail(godwit.CodeConfig, nil, "there is no SSH key for "+h.c.at.host, "set source.ssh_key to the file of a deploy key")
	}
	return nil
}

func (h *sshHost) close() {
	if h.client != nil {
		h.client.Close()
		h.client = nil
	}
}

// session opens a session, on the connection that stands or on a new one.
func (h *sshHost) session(ctx context.Context) (*ssh.Session, error) {
	if h.client != nil {
		if s, err := h.client.NewSession(); err == nil {
			return s, nil
		}
		h.close()
	}
	err := h.c.attempts(ctx, func() error { return h.connect(ctx) })
	if err != nil {
		return nil, err
	}
	s, err := h.client.NewSession()
	if err != nil {
		h.close()
		return nil, webclient.Explain(ctx, h.c.at.host, h.c.cfg.Now(), err)
	}
	return s, nil
}

func (h *sshHost) connect(ctx context.Context) error {
	cfg, at := &h.c.cfg, h.c.at
	d := net.Dialer{Timeout: cfg.ConnectTimeout, KeepAlive: 30 * time.Second}
	conn, err := d.DialContext(ctx, "tcp", at.address())
	if err != nil {
		return webclient.Explain(ctx, at.host, cfg.Now(), err)
	}
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	conn.SetDeadline(time.Now().Add(cfg.ConnectTimeout))
	user := cfg.Username
	if user == "" {
		user = "git"
	}
	h.trust.failed = nil
	link, channels, requests, err := ssh.NewClientConn(conn, at.address(), &ssh.ClientConfig{
		User: user, Auth: h.auth, ClientVersion: "SSH-2.0-godwit",
		HostKeyCallback: h.trust.check, HostKeyAlgorithms: h.trust.algorithms,
	})
	if h.agent != nil {
		h.agent.close()
	}
	if err != nil {
		conn.Close()
		return h.explainHandshake(ctx, err)
	}
	conn.SetDeadline(time.Time{})
	h.client = ssh.NewClient(link, channels, requests)
	return nil
}

func (h *sshHost) explainHandshake(ctx context.Context, err error) error {
	host := h.c.at.host
	switch {
	case ctx.Err() != nil:
		return webclient.Stopped(ctx)
	case h.trust.failed != nil:
		return h.trust.failed
	case strings.Contains(err.Error(), "unable to authenticate"):
		hint := "is the public key registered as a deploy key of the repository?"
		if h.agent != nil && h.agent.failed != nil {
			err, hint = h.agent.failed, "the agent at SSH_AUTH_SOCK does not answer: set source.ssh_key to a key's file"
		}
		return godwit.Fail(godwit.CodeUnauthorized, err, host+" does not accept this SSH key", hint)
	case strings.Contains(err.Error(), "no common algorithm"):
		return godwit.Fail(godwit.CodeTLS, err, host+" offers no SSH algorithm, or no kind of host key, that can be accepted",
			"the host's SSH server may be too old, or its known key of another kind")
	case errors.Is(err, io.EOF):
		err = io.ErrUnexpectedEOF
	case strings.Contains(err.Error(), "overflow reading version") || strings.Contains(err.Error(), "invalid version"):
		return godwit.Fail(godwit.CodeProtocol, err, host+" does not speak SSH on this port", "check the port in source.url")
	}
	return webclient.Explain(ctx, host, h.c.cfg.Now(), err)
}

// uploadPack runs git-upload-pack on the host.
func (h *sshHost) uploadPack(ctx context.Context) (program, error) {
	s, err := h.session(ctx)
	if err != nil {
		return program{}, err
	}
	p := program{errors: &tail{}}
	s.Stderr = p.errors
	if p.in, err = s.StdinPipe(); err == nil {
		p.out, err = s.StdoutPipe()
	}
	if err == nil {
		// Servers that do not take this variable speak version 0.
		s.Setenv("GIT_PROTOCOL", "version=2")
		err = s.Start("git-upload-pack " + quoted(h.c.at.path))
	}
	if err != nil {
		s.Close()
		h.close()
		return program{}, webclient.Explain(ctx, h.c.at.host, h.c.cfg.Now(), err)
	}
	client := h.client
	p.kill = func() { client.Close() }
	p.wait = func() {
		s.Wait()
		s.Close()
	}
	return p, nil
}

// run runs a command on the host and gives what it prints, at most max bytes.
func (h *sshHost) run(ctx context.Context, command string, max int) ([]byte, error) {
	s, err := h.session(ctx)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	client := h.client
	defer context.AfterFunc(ctx, func() { client.Close() })()
	defer time.AfterFunc(h.c.cfg.IdleTimeout, func() { client.Close() }).Stop()
	out := &bounded{max: max, full: func() { client.Close() }}
	var last tail
	s.Stdout, s.Stderr = out, &last
	if err := s.Run(command); err != nil {
		if ctx.Err() != nil {
			return nil, webclient.Stopped(ctx)
		}
		var exit *ssh.ExitError
		if errors.As(err, &exit) {
			return nil, h.c.explainRemote(&remoteError{printable([]byte(last.String()))})
		}
		return nil, webclient.Explain(ctx, h.c.at.host, h.c.cfg.Now(), err)
	}
	return out.b, nil
}

// bounded keeps what is written to it, and calls full beyond max bytes.
type bounded struct {
	b    []byte
	max  int
	full func()
}

func (b *bounded) Write(p []byte) (int, error) {
	if len(b.b)+len(p) > b.max {
		b.full()
		return 0, errors.New("the answer is too long")
	}
	b.b = append(b.b, p...)
	return len(p), nil
}

// quoted makes s one word for the shell at the other end, as git does.
func quoted(s string) string {
	return "'" + strings.NewReplacer("'", `'\''`, "!", `'\!'`).Replace(s) + "'"
}
