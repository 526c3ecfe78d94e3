package term

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// IsTerminal reports whether w is a terminal.
func IsTerminal(w any) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// Detect fills in what the environment and the file descriptors say about the
// terminal: NO_COLOR (no-color.org), TERM=dumb, COLUMNS, and the window's size.
func (cfg *Config) Detect(getenv func(string) string) {
	cfg.Terminal = IsTerminal(cfg.Err) && getenv("TERM") != "dumb" && getenv("TERM") != ""
	cfg.Color = cfg.Terminal && getenv("NO_COLOR") == ""
	cfg.Width = func() int {
		if f, ok := cfg.Err.(*os.File); ok {
			if size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ); err == nil && size.Col > 0 {
				return int(size.Col)
			}
		}
		if n, err := strconv.Atoi(getenv("COLUMNS")); err == nil && n > 0 {
			return n
		}
		return 80
	}
}
