package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/godwit-ota/godwit/internal/githost"
)

// A command is something to run.
type command struct {
	dir  string
	args []string
	env  []string
}

// A client is a way to keep a tree up to date.
type client struct {
	name    string
	install func(*device) command
	update  func(*device) command
	poll    func(*device) command // is there something new?
	trust   string                // Godwit: its section [trust], if it follows the signed tag
}

// A device is a folder with a tree that one client keeps up to date.
type device struct {
	client
	host   *githost.Host
	repo   repo
	dir    string
	filter string // the only folder wanted; "" for all
	ca     string // file with the host's certificate authority
}

func (d *device) url() string { return d.host.URL(d.repo.serves()) }

// serves is the name below which the host shows the repository.
func (r repo) serves() string { return fmt.Sprintf("%s-%d.git", r.name, generation) }

// clients are the three that are compared. godwit and gogit are programs.
func clients(godwit, gogit string) []client {
	return []client{
		{
			name:    "godwit",
			install: func(d *device) command { return d.godwit(godwit, "update") },
			update:  func(d *device) command { return d.godwit(godwit, "update") },
			poll:    func(d *device) command { return d.godwit(godwit, "update") },
		}, {
			name: "git",
			install: func(d *device) command {
				return command{args: []string{"git", "clone", "-q", "--depth=1", "--branch=main", d.url(), d.tree()}, env: d.gitEnv()}
			},
			update: func(d *device) command {
				return command{dir: d.tree(), env: d.gitEnv(), args: []string{"sh", "-c",
					"git fetch -q --depth=1 origin main && git checkout -q --force --detach FETCH_HEAD && sync -f ."}}
			},
			poll: func(d *device) command {
				return command{dir: d.tree(), env: d.gitEnv(), args: []string{"git", "ls-remote", "-q", "origin", "refs/heads/main"}}
			},
		}, {
			name: "go-git",
			install: func(d *device) command {
				return command{args: []string{gogit, "install", d.url(), "main", d.tree()}, env: d.gitEnv()}
			},
			update: func(d *device) command {
				return command{args: []string{gogit, "update", "main", d.tree()}, env: d.gitEnv()}
			},
			poll: func(d *device) command {
				return command{args: []string{gogit, "update", "main", d.tree()}, env: d.gitEnv()}
			},
		},
	}
}

func (d *device) tree() string { return filepath.Join(d.dir, "tree") }

func (d *device) gitEnv() []string {
	if d.ca == "" {
		return nil
	}
	return []string{"GIT_SSL_CAINFO=" + d.ca, "SSL_CERT_FILE=" + d.ca}
}

func (d *device) godwit(program string, args ...string) command {
	return command{args: append([]string{program, "--config", filepath.Join(d.dir, "godwit.toml"), "--quiet"}, args...)}
}

// configure writes the configuration that Godwit reads; the others have
// theirs in their commands.
func (d *device) configure() error {
	if err := os.MkdirAll(d.tree(), 0o755); err != nil {
		return err
	}
	if d.name != "godwit" {
		return nil
	}
	var b strings.Builder
	follow, trust := "branch = \"main\"", "mode = \"none\""
	if d.trust != "" {
		follow, trust = fmt.Sprintf("tag = %q", current), d.trust
	}
	fmt.Fprintf(&b, "[source]\nurl = %q\n%s\n", d.url(), follow)
	if d.ca != "" {
		fmt.Fprintf(&b, "ca_file = %q\n", d.ca)
	}
	fmt.Fprintf(&b, "[trust]\n%s\n[tree]\nroot = %q\nlayout = \"slots\"\n", trust, d.tree())
	if d.filter != "" {
		fmt.Fprintf(&b, "allow = [%q]\n", d.filter)
	}
	return os.WriteFile(filepath.Join(d.dir, "godwit.toml"), []byte(b.String()), 0o644)
}

// release makes version v the tip of the branch that devices follow.
func release(root string, r repo, v int) error {
	return git(filepath.Join(root, r.serves()), "update-ref", "refs/heads/main", fmt.Sprintf("refs/tags/%d", v))
}

// authority makes a certificate for the loopback address and gives what
// githost needs to serve https with it; the certificate is put into file.
func authority(file string) (func(net.Listener) net.Listener, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bench"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	return func(l net.Listener) net.Listener { return tls.NewListener(l, config) },
		os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644)
}
