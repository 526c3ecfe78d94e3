package wire

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"time"

	"golang.org/x/crypto/ssh"
)

// An agent asks ssh-agent for signatures (draft-ietf-sshm-ssh-agent). Only the
// two requests that a login needs are here; the whole protocol of
// golang.org/x/crypto/ssh/agent would cost more than all of this package.
type agent struct {
	socket string
	conn   net.Conn
	failed error
}

const (
	agentRequestIdentities = 11
	agentIdentities        = 12
	agentSign              = 13
	agentSigned            = 14

	maxAgentMessage = 256 << 10
	maxAgentKeys    = 64
)

var errAgent = errors.New("the SSH agent's answer is malformed")

// signers gives a signer for each key that the agent holds.
func (a *agent) signers() ([]ssh.Signer, error) {
	list, err := a.identities()
	if a.failed = err; err != nil {
		return nil, nil // perhaps another method does it
	}
	return list, nil
}

func (a *agent) identities() ([]ssh.Signer, error) {
	b, err := a.call([]byte{agentRequestIdentities}, agentIdentities)
	if err != nil {
		return nil, err
	}
	if len(b) < 4 {
		return nil, errAgent
	}
	n := binary.BigEndian.Uint32(b)
	b = b[4:]
	var list []ssh.Signer
	for range min(n, maxAgentKeys) {
		blob, rest, ok := sshString(b)
		if !ok {
			return nil, errAgent
		}
		if _, b, ok = sshString(rest); !ok { // the comment
			return nil, errAgent
		}
		if key, err := ssh.ParsePublicKey(blob); err == nil {
			list = append(list, &agentSigner{a, key})
		}
	}
	return list, nil
}

// call sends one request and gives the answer's content after its type.
func (a *agent) call(request []byte, want byte) ([]byte, error) {
	if a.conn == nil {
		c, err := net.DialTimeout("unix", a.socket, 5*time.Second)
		if err != nil {
			return nil, err
		}
		a.conn = c
	}
	// A person may have to allow the use of a key.
	a.conn.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := a.conn.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(request))), request...)); err != nil {
		return nil, err
	}
	var head [5]byte
	if _, err := io.ReadFull(a.conn, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n < 1 || n > maxAgentMessage {
		return nil, errAgent
	}
	b := make([]byte, n-1)
	if _, err := io.ReadFull(a.conn, b); err != nil {
		return nil, err
	}
	if head[4] != want {
		return nil, errors.New("the SSH agent refused")
	}
	return b, nil
}

func (a *agent) close() {
	if a.conn != nil {
		a.conn.Close()
		a.conn = nil
	}
}

// sshString takes a string with its length in front off b (RFC 4251, 5).
func sshString(b []byte) (s, rest []byte, ok bool) {
	if len(b) < 4 {
		return nil, nil, false
	}
	n := binary.BigEndian.Uint32(b)
	if uint64(n) > uint64(len(b)-4) {
		return nil, nil, false
	}
	return b[4 : 4+n], b[4+n:], true
}

func appendSSHString(b, s []byte) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
}

// An agentSigner is one key of the agent.
type agentSigner struct {
	a   *agent
	key ssh.PublicKey
}

func (s *agentSigner) PublicKey() ssh.PublicKey { return s.key }

func (s *agentSigner) Sign(rand io.Reader, data []byte) (*ssh.Signature, error) {
	return s.SignWithAlgorithm(rand, data, "")
}

// SignWithAlgorithm lets an RSA key sign with SHA-2 (RFC 8332).
func (s *agentSigner) SignWithAlgorithm(_ io.Reader, data []byte, algorithm string) (*ssh.Signature, error) {
	var flags uint32
	switch algorithm {
	case ssh.KeyAlgoRSASHA256:
		flags = 2
	case ssh.KeyAlgoRSASHA512:
		flags = 4
	}
	b := appendSSHString(appendSSHString([]byte{agentSign}, s.key.Marshal()), data)
	answer, err := s.a.call(binary.BigEndian.AppendUint32(b, flags), agentSigned)
	if err != nil {
		return nil, err
	}
	blob, _, ok := sshString(answer)
	if !ok {
		return nil, errAgent
	}
	format, blob, ok := sshString(blob)
	if !ok {
		return nil, errAgent
	}
	signature, rest, ok := sshString(blob)
	if !ok {
		return nil, errAgent
	}
	return &ssh.Signature{Format: string(format), Blob: signature, Rest: rest}, nil
}
