package config

import (
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/godwit-ota/godwit"
)

// A Secret is a value that must not be shown. The file may hold it itself, or
// say where it is: "env:NAME" or "file:PATH".
type Secret struct {
	key string // "source.token", for messages
	raw string
	dir string // what a relative PATH starts from
}

// IsZero reports whether no secret was configured.
func (s Secret) IsZero() bool { return s.raw == "" }

// String never shows the secret.
func (s Secret) String() string {
	if s.raw == "" {
		return ""
	}
	if s.literal() {
		return "(secret)"
	}
	return s.raw
}

func (s Secret) literal() bool {
	return s.raw != "" && !strings.HasPrefix(s.raw, "env:") && !strings.HasPrefix(s.raw, "file:")
}

// Value looks the secret up. Line ends after it are removed.
func (s Secret) Value(getenv func(string) string) (string, error) {
	if name, ok := strings.CutPrefix(s.raw, "env:"); ok {
		v := strings.TrimRight(getenv(name), "\r\n")
		if v == "" {
			return "", godwit.Fail(godwit.CodeConfig, nil,
				s.key+" is taken from the environment variable "+name+", which is empty or not set",
				"set it where godwit is started, for example in its systemd unit")
		}
		return v, nil
	}
	if name, ok := strings.CutPrefix(s.raw, "file:"); ok {
		if !filepath.IsAbs(name) {
			name = filepath.Join(s.dir, name)
		}
		f, err := os.Open(name)
		if err != nil {
			return "", godwit.Fail(godwit.CodeConfig, err, s.key+" is taken from a file that cannot be read", "")
		}
		defer f.Close()
		b, err := io.ReadAll(io.LimitReader(f, 64<<10))
		if err != nil {
			return "", godwit.Fail(godwit.CodeConfig, err, s.key+" is taken from a file that cannot be read", "")
		}
		v := strings.TrimRight(string(b), "\r\n")
		if v == "" {
			return "", godwit.Fail(godwit.CodeConfig, nil, s.key+" is taken from the file "+name+", which is empty", "")
		}
		return v, nil
	}
	return s.raw, nil
}

// NewSecret makes a Secret of what was given on a command line as name.
func NewSecret(name, raw string) Secret { return Secret{key: name, raw: raw} }
