package wire

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godwit-ota/godwit"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

func newKey(t testing.TB) (ssh.Signer, []byte) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return signer, pem.EncodeToMemory(block)
}

func writeFile(t testing.TB, name string, b []byte) string {
	t.Helper()
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// An sshServer runs the commands it is asked for, as sshd does, for one key.
type sshServer struct {
	address  string
	host     ssh.Signer
	key      string // file of the client's private key
	noEnv    bool   // does not take GIT_PROTOCOL
	mute     bool   // starts nothing and says nothing
	asked    func() // called when it is mute to a command
	conns    atomic.Int32
	lastUser atomic.Value
	path     string // extra for PATH
}

func startSSH(t *testing.T, s *sshServer) *sshServer {
	t.Helper()
	t.Setenv("SSH_AUTH_SOCK", "")
	var client ssh.Signer
	var pem []byte
	s.host, _ = newKey(t)
	client, pem = newKey(t)
	s.key = writeFile(t, filepath.Join(t.TempDir(), "id"), pem)
	cfg := &ssh.ServerConfig{PublicKeyCallback: func(c ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		s.lastUser.Store(c.User())
		if !bytes.Equal(key.Marshal(), client.PublicKey().Marshal()) {
			return nil, errors.New("unknown key")
		}
		return nil, nil
	}}
	cfg.AddHostKey(s.host)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	s.address = l.Addr().String()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go s.serve(c, cfg)
		}
	}()
	return s
}

func (s *sshServer) serve(c net.Conn, cfg *ssh.ServerConfig) {
	defer c.Close()
	conn, channels, requests, err := ssh.NewServerConn(c, cfg)
	if err != nil {
		return
	}
	s.conns.Add(1)
	defer conn.Close()
	go ssh.DiscardRequests(requests)
	for nc := range channels {
		ch, requests, err := nc.Accept()
		if err != nil {
			return
		}
		go s.session(ch, requests)
	}
}

func (s *sshServer) session(ch ssh.Channel, requests <-chan *ssh.Request) {
	env := append(os.Environ(), "PATH="+s.path+os.Getenv("PATH"), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null",
		"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=uploadpack.allowFilter", "GIT_CONFIG_VALUE_0=true")
	for r := range requests {
		switch r.Type {
		case "env":
			var kv struct{ Name, Value string }
			ssh.Unmarshal(r.Payload, &kv)
			if !s.noEnv {
				env = append(env, kv.Name+"="+kv.Value)
			}
			r.Reply(!s.noEnv, nil)
		case "exec":
			var c struct{ Command string }
			ssh.Unmarshal(r.Payload, &c)
			r.Reply(true, nil)
			if s.mute {
				if s.asked != nil {
					s.asked()
				}
				continue
			}
			go func() {
				cmd := exec.Command("sh", "-c", c.Command)
				cmd.Env, cmd.Stdout, cmd.Stderr = env, ch, ch.Stderr()
				in, _ := cmd.StdinPipe()
				go func() {
					io.Copy(in, ch)
					in.Close()
				}()
				status := struct{ Status uint32 }{}
				if err := cmd.Run(); err != nil {
					status.Status = 128
				}
				ch.SendRequest("exit-status", false, ssh.Marshal(status))
				ch.Close()
			}()
		default:
			r.Reply(false, nil)
		}
	}
}

func (s *sshServer) config(r *testRepo) Config {
	return Config{URL: "ssh://deploy@" + s.address + r.dir, SSHKey: s.key,
		HostKey: string(ssh.MarshalAuthorizedKey(s.host.PublicKey()))}
}

// syncOver does what an update does on the wire: look, fetch trees, fetch all.
func syncOver(t *testing.T, r *testRepo, cfg Config) {
	t.Helper()
	c := dial(t, cfg)
	if refs := list(t, c, "refs/heads/main"); len(refs) != 1 || refs[0].ID != r.new {
		t.Fatalf("%+v", refs)
	}
	dir := t.TempDir()
	git(t, dir, "init", "-q", "--bare")
	fetchInto(t, c, dir, FetchRequest{Want: []string{r.tag}, Depth: 1})
	writeFile(t, filepath.Join(dir, "shallow"), []byte(r.old+"\n"))
	n1, _ := fetchInto(t, c, dir, FetchRequest{Want: []string{r.new}, Have: seq(r.old), Shallow: []string{r.old}, Depth: 1, ThinPack: true, Filter: "blob:none"})
	n2, _ := fetchInto(t, c, dir, FetchRequest{Want: []string{r.new}, Have: seq(r.old), Shallow: []string{r.old}, Depth: 1, ThinPack: true})
	if n1 >= n2 {
		t.Fatalf("%d bytes with a filter, %d without", n1, n2)
	}
}

func TestSSH(t *testing.T) {
	r := makeRepo(t, "sha1")
	t.Run("version 2", func(t *testing.T) {
		s := startSSH(t, &sshServer{})
		syncOver(t, r, s.config(r))
		if n := s.conns.Load(); n != 1 {
			t.Errorf("%d connections", n)
		}
		if u := s.lastUser.Load(); u != "deploy" {
			t.Errorf("user %v", u)
		}
	})
	t.Run("version 0", func(t *testing.T) {
		s := startSSH(t, &sshServer{noEnv: true})
		syncOver(t, r, s.config(r))
		c := dial(t, s.config(r))
		if caps, err := c.Capabilities(context.Background()); err != nil || caps.Version != 0 {
			t.Fatalf("%+v, %v", caps, err)
		}
	})
	t.Run("known hosts", func(t *testing.T) {
		s := startSSH(t, &sshServer{})
		cfg := s.config(r)
		cfg.HostKey, cfg.KnownHosts = "", filepath.Join(t.TempDir(), "known_hosts")
		try := func() error { return dial(t, cfg).ListRefs(context.Background(), nil, func(Ref) error { return nil }) }
		err := try()
		codeIs(t, err, godwit.CodeTLS)
		var e *godwit.Error
		errors.As(err, &e)
		_, line, ok := strings.Cut(e.Hint, "the line: ")
		if !ok || !strings.Contains(e.Hint, cfg.KnownHosts) {
			t.Fatalf("hint %q", e.Hint)
		}
		// The line of the hint is the right one.
		writeFile(t, cfg.KnownHosts, []byte("# mine\n"+line+"\n"))
		if err := try(); err != nil {
			t.Fatal(err)
		}
		other, _ := newKey(t)
		writeFile(t, cfg.KnownHosts, []byte(knownhosts.Line([]string{s.address}, other.PublicKey())+"\n"))
		codeIs(t, try(), godwit.CodeTLS)
		writeFile(t, cfg.KnownHosts, []byte("@revoked * "+strings.SplitN(line, " ", 2)[1]+"\n"))
		codeIs(t, try(), godwit.CodeTLS)
		writeFile(t, cfg.KnownHosts, []byte("nonsense\n"))
		_, err = Dial(cfg)
		codeIs(t, err, godwit.CodeConfig)
		// Hashed names, as ssh-keygen -H writes them.
		writeFile(t, cfg.KnownHosts, []byte(knownhosts.Line([]string{knownhosts.HashHostname(knownhosts.Normalize(s.address))}, s.host.PublicKey())+"\n"))
		if err := try(); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("pinned", func(t *testing.T) {
		s := startSSH(t, &sshServer{})
		cfg := s.config(r)
		cfg.HostKey = ssh.FingerprintSHA256(s.host.PublicKey())
		list(t, dial(t, cfg))
		other, _ := newKey(t)
		for _, wrong := range []string{ssh.FingerprintSHA256(other.PublicKey()), string(ssh.MarshalAuthorizedKey(other.PublicKey()))} {
			cfg.HostKey = wrong
			codeIs(t, dial(t, cfg).ListRefs(context.Background(), nil, func(Ref) error { return nil }), godwit.CodeTLS)
		}
		cfg.HostKey = "ssh-ed25519 rubbish"
		_, err := Dial(cfg)
		codeIs(t, err, godwit.CodeConfig)
	})
	t.Run("wrong key", func(t *testing.T) {
		s := startSSH(t, &sshServer{})
		cfg := s.config(r)
		_, pem := newKey(t)
		cfg.SSHKey = writeFile(t, filepath.Join(t.TempDir(), "other"), pem)
		codeIs(t, dial(t, cfg).ListRefs(context.Background(), nil, func(Ref) error { return nil }), godwit.CodeUnauthorized)
		cfg.SSHKey = writeFile(t, filepath.Join(t.TempDir(), "public"), ssh.MarshalAuthorizedKey(s.host.PublicKey()))
		_, err := Dial(cfg)
		codeIs(t, err, godwit.CodeConfig)
		cfg.SSHKey = filepath.Join(t.TempDir(), "none")
		_, err = Dial(cfg)
		codeIs(t, err, godwit.CodeConfig)
		cfg.SSHKey = ""
		_, err = Dial(cfg)
		codeIs(t, err, godwit.CodeConfig)
	})
	t.Run("locked key", func(t *testing.T) {
		_, private, _ := ed25519.GenerateKey(rand.Reader)
		block, err := ssh.MarshalPrivateKeyWithPassphrase(private, "", []byte("secret"))
		if err != nil {
			t.Fatal(err)
		}
		cfg := Config{URL: "git@127.0.0.1:x", HostKey: "SHA256:x", SSHKey: writeFile(t, filepath.Join(t.TempDir(), "id"), pem.EncodeToMemory(block))}
		_, err = Dial(cfg)
		codeIs(t, err, godwit.CodeConfig)
	})
	t.Run("no repository", func(t *testing.T) {
		s := startSSH(t, &sshServer{})
		cfg := s.config(r)
		cfg.URL = "ssh://" + s.address + r.root + "/it's!none.git"
		codeIs(t, dial(t, cfg).ListRefs(context.Background(), nil, func(Ref) error { return nil }), godwit.CodeNotFound)
	})
	t.Run("odd path", func(t *testing.T) {
		s := startSSH(t, &sshServer{})
		cfg := s.config(r)
		odd := filepath.Join(t.TempDir(), "it's an odd!$(echo) name.git")
		if err := os.Symlink(r.dir, odd); err != nil {
			t.Fatal(err)
		}
		_, port, _ := net.SplitHostPort(s.address)
		cfg.URL = "ssh://127.0.0.1:" + port + strings.NewReplacer(" ", "%20", "(", "%28", ")", "%29").Replace(odd)
		list(t, dial(t, cfg))
	})
	t.Run("mute", func(t *testing.T) {
		s := startSSH(t, &sshServer{mute: true})
		cfg := s.config(r)
		cfg.IdleTimeout = 50 * time.Millisecond
		codeIs(t, dial(t, cfg).ListRefs(context.Background(), nil, func(Ref) error { return nil }), godwit.CodeTimeout)
	})
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		s := startSSH(t, &sshServer{mute: true, asked: func() { time.AfterFunc(20*time.Millisecond, cancel) }})
		if err := dial(t, s.config(r)).ListRefs(ctx, nil, func(Ref) error { return nil }); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	})
	t.Run("no server", func(t *testing.T) {
		s := startSSH(t, &sshServer{})
		cfg := s.config(r)
		l, _ := net.Listen("tcp", "127.0.0.1:0")
		cfg.URL = "ssh://" + l.Addr().String() + "/x"
		l.Close()
		codeIs(t, dial(t, cfg).ListRefs(context.Background(), nil, func(Ref) error { return nil }), godwit.CodeNetwork)
	})
	t.Run("no ssh", func(t *testing.T) {
		s := startSSH(t, &sshServer{})
		cfg := s.config(r)
		cfg.URL = "ssh://" + rawServer(t, "HTTP/1.1 400 Bad Request\r\n\r\n") + "/x"
		cfg.ConnectTimeout = 200 * time.Millisecond
		err := dial(t, cfg).ListRefs(context.Background(), nil, func(Ref) error { return nil })
		if c := godwit.CodeOf(err); c != godwit.CodeNetwork && c != godwit.CodeProtocol && c != godwit.CodeTimeout {
			t.Fatal(err)
		}
	})
}

// rawServer says one thing to everybody and hangs up.
func rawServer(t testing.TB, says string) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				b := make([]byte, 4096)
				c.Read(b)
				io.WriteString(c, says)
				c.Close()
			}()
		}
	}()
	return l.Addr().String()
}

// TestRealSSHD does the same with OpenSSH's server, its agent and keys made by
// ssh-keygen.
func TestRealSSHD(t *testing.T) {
	sshd := "/usr/sbin/sshd"
	if _, err := os.Stat(sshd); err != nil {
		t.Skip("there is no sshd here (Debian: openssh-server)")
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	if os.Getuid() == 0 {
		os.MkdirAll("/run/sshd", 0o755)
	}
	r := makeRepo(t, "sha1")
	git(t, r.dir, "config", "uploadpack.allowFilter", "true")
	dir := t.TempDir()
	for _, kind := range []string{"rsa", "ed25519", "ecdsa"} {
		for _, name := range []string{"host_", "id_"} {
			out, err := exec.Command("ssh-keygen", "-q", "-t", kind, "-N", "", "-f", filepath.Join(dir, name+kind)).CombinedOutput()
			if err != nil {
				t.Skipf("ssh-keygen: %v %s", err, out)
			}
		}
	}
	var authorized []byte
	for _, kind := range []string{"rsa", "ed25519", "ecdsa"} {
		b, err := os.ReadFile(filepath.Join(dir, "id_"+kind+".pub"))
		if err != nil {
			t.Fatal(err)
		}
		authorized = append(authorized, b...)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	conf := "ListenAddress 127.0.0.1\nPort " + strconv.Itoa(port) + "\nAuthorizedKeysFile " + writeFile(t, filepath.Join(dir, "authorized"), authorized) +
		"\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nPidFile none\nAcceptEnv GIT_PROTOCOL\nPermitRootLogin yes\n"
	for _, kind := range []string{"rsa", "ed25519", "ecdsa"} {
		conf += "HostKey " + filepath.Join(dir, "host_"+kind) + "\n"
	}
	var log tail
	cmd := exec.Command(sshd, "-D", "-e", "-f", writeFile(t, filepath.Join(dir, "conf"), []byte(conf)))
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Skip("sshd does not start: ", err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	address := "127.0.0.1:" + strconv.Itoa(port)
	for i := 0; ; i++ {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
			break
		}
		if i == 100 {
			t.Skip("sshd does not listen: ", log.String())
		}
		time.Sleep(50 * time.Millisecond)
	}
	known := func(kind string) string {
		b, err := os.ReadFile(filepath.Join(dir, "host_"+kind+".pub"))
		if err != nil {
			t.Fatal(err)
		}
		return writeFile(t, filepath.Join(dir, "known_"+kind), append([]byte("[127.0.0.1]:"+strconv.Itoa(port)+" "), b...))
	}
	for _, kind := range []string{"rsa", "ed25519", "ecdsa"} {
		// The host has three keys; the one that is known must be asked for.
		t.Run(kind, func(t *testing.T) {
			t.Setenv("SSH_AUTH_SOCK", "")
			syncOver(t, r, Config{URL: "ssh://" + me.Username + "@" + address + r.dir, SSHKey: filepath.Join(dir, "id_"+kind), KnownHosts: known(kind)})
			if t.Failed() {
				t.Log(log.String())
			}
		})
	}
	t.Run("agent", func(t *testing.T) {
		socket := filepath.Join(t.TempDir(), "agent")
		a := exec.Command("ssh-agent", "-D", "-a", socket)
		if err := a.Start(); err != nil {
			t.Skip(err)
		}
		defer func() {
			a.Process.Kill()
			a.Wait()
		}()
		for i := 0; i < 100; i++ {
			if _, err := os.Stat(socket); err == nil {
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
		for _, kind := range []string{"rsa", "ecdsa", "ed25519"} {
			t.Setenv("SSH_AUTH_SOCK", socket)
			if out, err := exec.Command("ssh-add", "-q", "-D").CombinedOutput(); err != nil {
				t.Fatalf("%v %s", err, out)
			}
			add := exec.Command("ssh-add", "-q", filepath.Join(dir, "id_"+kind))
			if out, err := add.CombinedOutput(); err != nil {
				t.Fatalf("%v %s", err, out)
			}
			list(t, dial(t, Config{URL: "ssh://" + me.Username + "@" + address + r.dir, KnownHosts: known("ed25519")}))
		}
		if out, err := exec.Command("ssh-add", "-q", "-D").CombinedOutput(); err != nil {
			t.Fatalf("%v %s", err, out)
		}
		c := dial(t, Config{URL: "ssh://" + me.Username + "@" + address + r.dir, KnownHosts: known("ed25519")})
		codeIs(t, c.ListRefs(context.Background(), nil, func(Ref) error { return nil }), godwit.CodeUnauthorized)
		t.Setenv("SSH_AUTH_SOCK", filepath.Join(t.TempDir(), "none"))
		c = dial(t, Config{URL: "ssh://" + me.Username + "@" + address + r.dir, KnownHosts: known("ed25519")})
		codeIs(t, c.ListRefs(context.Background(), nil, func(Ref) error { return nil }), godwit.CodeUnauthorized)
	})
}
