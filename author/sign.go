package author

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/trust/sshsig"
)

// DefaultKey is the key that git signs with, if it signs with SSH keys, or what
// the environment variable GODWIT_KEY names. It fails with CodeUsage if there
// is neither. dir is where to ask git, "" for here.
func DefaultKey(ctx context.Context, dir string, getenv func(string) string) (string, error) {
	r := &Repository{dir: dir}
	if r.config(ctx, "gpg.format") == "ssh" {
		if key, err := r.git(ctx, nil, "config", "--type=path", "--get", "user.signingkey"); err == nil && key != "" {
			return key, nil
		}
	}
	if key := getenv("GODWIT_KEY"); key != "" {
		return key, nil
	}
	return "", misuse("there is no key to sign with",
		"give --key FILE, or set GODWIT_KEY, or tell git: git config gpg.format ssh; git config user.signingkey FILE. `godwit keygen` makes a key")
}

// Sign returns the armored signature of message for namespace, verified. It
// fails with CodeFailed if ssh-keygen cannot sign.
func (s Signer) Sign(ctx context.Context, namespace string, message []byte) ([]byte, error) {
	args := []string{"-q", "-Y", "sign", "-n", namespace}
	key := strings.TrimPrefix(s.Key, "key::")
	if key != s.Key || isPublicKey(key) {
		// As git does it: ssh-keygen wants a file, and only an agent has the key.
		dir, err := os.MkdirTemp("", "godwit-key-")
		if err != nil {
			return nil, err
		}
		defer os.RemoveAll(dir)
		file := filepath.Join(dir, "key")
		if err := os.WriteFile(file, []byte(key+"\n"), 0o600); err != nil {
			return nil, err
		}
		args, key = append(args, "-U"), file
	} else if f, err := os.Open(key); err != nil {
		return nil, keyError(s.Key, err)
	} else {
		f.Close()
	}
	cmd := exec.CommandContext(ctx, "ssh-keygen", append(args, "-f", key)...)
	notes := &notes{to: s.Notes}
	var out bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(message), &out, notes
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if i, e := os.Stat(s.Key); e == nil && i.Mode().Perm()&0o077 != 0 && isPrivateKey(s.Key) {
			return nil, godwit.Fail(godwit.CodeFailed, nil, "ssh-keygen does not use the key "+s.Key+", which others may read", "chmod 600 "+s.Key)
		}
		return nil, sshKeygenError(err, "ssh-keygen cannot sign with "+s.Key, notes.text())
	}
	sig, rest, err := sshsig.Parse(out.Bytes())
	if err == nil && len(rest) > 0 {
		err = errors.New("ssh-keygen printed more than a signature")
	}
	if err == nil {
		err = sig.Verify(bytes.NewReader(message), namespace)
	}
	if err != nil {
		return nil, godwit.Fail(godwit.CodeFailed, err, "devices would not take the signature", "use an Ed25519, ECDSA, RSA or security key")
	}
	return out.Bytes(), nil
}

func isPublicKey(s string) bool {
	kind, _, ok := strings.Cut(s, " ")
	return ok && (strings.HasPrefix(kind, "ssh-") || strings.HasPrefix(kind, "ecdsa-") || strings.HasPrefix(kind, "sk-"))
}

func keyError(name string, err error) error {
	hint := "`godwit keygen` makes a key"
	if !errors.Is(err, fs.ErrNotExist) {
		hint = "look whether you may read and write there"
	}
	return godwit.Fail(godwit.CodeUsage, err, "the key "+name+" cannot be read or made", hint)
}

// sshKeygenError words a failure of ssh-keygen.
func sshKeygenError(err error, text, said string) error {
	if errors.Is(err, exec.ErrNotFound) {
		return godwit.Fail(godwit.CodeFailed, err, "ssh-keygen is not installed", "install OpenSSH: it makes keys and signatures")
	}
	if said != "" {
		err = errors.New(said)
	}
	return godwit.Fail(godwit.CodeFailed, err, text, "a key with a passphrase needs a terminal or an agent; a public key, an agent that has the private one")
}

// isPrivateKey reports whether a file begins like one.
func isPrivateKey(file string) bool {
	f, err := os.Open(file)
	if err != nil {
		return false
	}
	defer f.Close()
	b := make([]byte, 64)
	n, _ := io.ReadFull(f, b)
	return bytes.HasPrefix(b[:n], []byte("-----BEGIN ")) && bytes.Contains(b[:n], []byte("PRIVATE KEY"))
}

// notes passes on what a person has to do and keeps the rest for an error.
type notes struct {
	to   io.Writer
	all  []byte
	line []byte
}

func (n *notes) Write(b []byte) (int, error) {
	for _, c := range b {
		n.line = append(n.line, c)
		if c != '\n' {
			continue
		}
		if strings.Contains(string(n.line), "user presence") && n.to != nil {
			n.to.Write(n.line)
		} else if len(n.all) < 4096 {
			n.all = append(n.all, n.line...)
		}
		n.line = n.line[:0]
	}
	return len(b), nil
}

func (n *notes) text() string {
	lines := strings.Split(strings.TrimSpace(string(n.all)+string(n.line)), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}

// Self is a name for whoever runs this program: git's user.email, else that of
// the account.
func Self(ctx context.Context, getenv func(string) string) string {
	if email := new(Repository).config(ctx, "user.email"); email != "" {
		return email
	}
	name, host := getenv("USER"), "localhost"
	if name == "" {
		name = "signer"
	}
	if h, err := os.Hostname(); err == nil {
		host = h
	}
	return name + "@" + host
}

// A Keypair is a new key.
type Keypair struct {
	File        string // the private half; the public one is beside it, in File.pub
	Fingerprint string
	// Line is the line of allowed_signers that allows the key.
	Line string
}

// NewKey makes an Ed25519 key in file, which must not exist, and its folder if
// need be. ssh-keygen asks for a passphrase on the terminal, unless it is told
// that there is none.
func NewKey(ctx context.Context, file, principal string, passphrase bool, stdin io.Reader, stderr io.Writer) (Keypair, error) {
	k := Keypair{File: file}
	if principal == "" || strings.ContainsAny(principal, " \t\r\n\",*?!#") {
		return k, misuse("\""+principal+"\" is no name for a signer", "--principal takes a name or an address, such as release@example.org")
	}
	for _, name := range []string{file, file + ".pub"} {
		if _, err := os.Lstat(name); err == nil {
			return k, misuse(name+" exists already", "use that key, or another name")
		}
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return k, keyError(file, err)
	}
	if passphrase && os.Getenv("SSH_ASKPASS") == "" {
		// Without a terminal ssh-keygen makes a key without a passphrase.
		tty, err := os.Open("/dev/tty")
		if err != nil {
			return k, misuse("there is no terminal on which to ask for a passphrase", "run it on one, or say --no-passphrase")
		}
		tty.Close()
	}
	args := []string{"-q", "-t", "ed25519", "-C", principal, "-f", file}
	if !passphrase {
		args = append(args, "-N", "")
	}
	cmd := exec.CommandContext(ctx, "ssh-keygen", args...)
	notes := &notes{}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stderr, notes
	if err := cmd.Run(); err != nil {
		return k, sshKeygenError(err, "the key "+file+" cannot be made", notes.text())
	}
	public, err := os.ReadFile(file + ".pub")
	if err != nil {
		return k, keyError(file+".pub", err)
	}
	f := strings.Fields(string(public))
	if len(f) < 2 {
		return k, keyError(file+".pub", errors.New("it is no public key"))
	}
	k.Line = principal + " namespaces=\"git,godwit\" " + f[0] + " " + f[1]
	k.Fingerprint, err = sshsig.Fingerprint(f[0] + " " + f[1])
	return k, err
}
