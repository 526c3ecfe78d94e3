package wire

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/godwit-ota/godwit"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// A hostTrust decides whether a host's SSH key is the right one: the key that
// was configured, or one in a known_hosts file (sshd(8), "SSH_KNOWN_HOSTS FILE
// FORMAT").
type hostTrust struct {
	pinned      ssh.PublicKey
	fingerprint string
	known       ssh.HostKeyCallback
	file        string   // where a line is to be added
	algorithms  []string // kinds of host keys to ask for; nil for any
	failed      error    // the last check's
}

func newHostTrust(cfg *Config, address string) (*hostTrust, error) {
	h := &hostTrust{}
	if cfg.HostKey != "" {
		return h, h.pin(cfg.HostKey)
	}
	files := []string{cfg.KnownHosts}
	if cfg.KnownHosts == "" {
		files = []string{"/etc/ssh/ssh_known_hosts"}
		if home, err := os.UserHomeDir(); err == nil {
			files = append([]string{filepath.Join(home, ".ssh", "known_hosts")}, files...)
		}
	}
	h.file = files[0]
	var there []string
	for _, f := range files {
		_, err := os.Stat(f)
		if err == nil {
			there = append(there, f)
		} else if cfg.KnownHosts != "" && !errors.Is(err, os.ErrNotExist) {
			return nil, godwit.Fail(godwit.CodeConfig, err, "the file of known hosts cannot be read", "check source.known_hosts")
		}
	}
	known, err := knownhosts.New(there...)
	if err != nil {
		return nil, godwit.Fail(godwit.CodeConfig, err, "the file of known hosts is not right", "each line is: HOST KIND KEY; repair or remove the line")
	}
	h.known = known
	h.algorithms = knownAlgorithms(known, address)
	return h, nil
}

// pin reads a host key or its fingerprint.
func (h *hostTrust) pin(s string) error {
	if s = strings.TrimSpace(s); strings.HasPrefix(s, "SHA256:") {
		h.fingerprint = strings.TrimRight(s, "=")
		return nil
	}
	fields := strings.Fields(s)
	for i, f := range fields {
		if i > 1 || !strings.HasPrefix(f, "ssh-") && !strings.HasPrefix(f, "ecdsa-") && !strings.HasPrefix(f, "sk-") {
			continue
		}
		key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(strings.Join(fields[i:], " ")))
		if err == nil {
			h.pinned, h.algorithms = key, algorithmsOf(key)
			return nil
		}
		break
	}
	return godwit.Fail(godwit.CodeConfig, nil, "source.host_key is not the public key of a host",
		"write \"ssh-ed25519 AAAA…\" (ssh-keyscan HOST prints it) or its fingerprint \"SHA256:…\"")
}

// knownAlgorithms asks for the kinds of keys that are known for the host:
// otherwise it may prove itself with another of its keys, which is not known.
func knownAlgorithms(known ssh.HostKeyCallback, address string) []string {
	nobody, err := ssh.NewPublicKey(ed25519.PublicKey(make([]byte, ed25519.PublicKeySize)))
	if err != nil {
		return nil
	}
	var unknown *knownhosts.KeyError
	if !errors.As(known(address, &net.TCPAddr{IP: net.IPv4zero}, nobody), &unknown) {
		return nil
	}
	var list []string
	for _, k := range unknown.Want {
		list = append(list, algorithmsOf(k.Key)...)
	}
	return list
}

func algorithmsOf(key ssh.PublicKey) []string {
	if key.Type() == ssh.KeyAlgoRSA {
		return []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
	}
	return []string{key.Type()}
}

// check implements ssh.HostKeyCallback. The SSH package wraps its error beyond
// recognition, so it is also kept.
func (h *hostTrust) check(address string, remote net.Addr, key ssh.PublicKey) error {
	h.failed = h.verdict(address, remote, key)
	return h.failed
}

func (h *hostTrust) verdict(address string, remote net.Addr, key ssh.PublicKey) error {
	host, _, _ := net.SplitHostPort(address)
	print := ssh.FingerprintSHA256(key)
	const danger = "if nobody changed the host's key, someone may be in the way: do not go on. Otherwise "
	switch {
	case h.pinned != nil:
		if bytes.Equal(h.pinned.Marshal(), key.Marshal()) {
			return nil
		}
		return godwit.Fail(godwit.CodeTLS, nil, "the SSH key of "+host+" is "+print+", not the one in source.host_key", danger+"change source.host_key")
	case h.fingerprint != "":
		if h.fingerprint == print {
			return nil
		}
		return godwit.Fail(godwit.CodeTLS, nil, "the SSH key of "+host+" is "+print+", not "+printable([]byte(h.fingerprint))+" as in source.host_key",
			danger+"change source.host_key; a host has several keys, so the whole public key is a safer choice than a fingerprint")
	}
	err := h.known(address, remote, key)
	var unknown *knownhosts.KeyError
	var revoked *knownhosts.RevokedError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &revoked):
		return godwit.Fail(godwit.CodeTLS, nil, "the SSH key of "+host+" is marked as revoked in "+revoked.Revoked.Filename, "do not go on; ask whoever runs the host")
	case errors.As(err, &unknown) && len(unknown.Want) > 0:
		w := unknown.Want[0]
		return godwit.Fail(godwit.CodeTLS, nil, "the SSH key of "+host+" is "+print+", not the one that is known",
			danger+"replace line "+strconv.Itoa(w.Line)+" of "+w.Filename)
	case errors.As(err, &unknown):
		return godwit.Fail(godwit.CodeTLS, nil, "the SSH host "+host+" is not known; its key is "+print,
			"compare that with what the host's pages say; if it is right, add to "+h.file+" the line: "+knownhosts.Line([]string{knownhosts.Normalize(address)}, key))
	}
	return godwit.Fail(godwit.CodeTLS, err, "the SSH key of "+host+" cannot be checked", "")
}
