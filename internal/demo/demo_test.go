package demo_test

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/godwit-ota/godwit/internal/cli"
	"github.com/godwit-ota/godwit/internal/demo"
	"github.com/godwit-ota/godwit/internal/race"
)

// childEnv makes the test binary the program that the demo runs. Its value
// names the command after which it damages the device, if any.
const childEnv = "GODWIT_DEMO_CHILD"

func TestMain(m *testing.M) {
	// With the race detector a process waits a second before it ends; this test
	// starts hundreds.
	os.Setenv("GORACE", "atexit_sleep_ms=0")
	spoil, child := os.LookupEnv(childEnv)
	if !child {
		os.Exit(m.Run())
	}
	if spoil == unguarded {
		if i := slices.Index(os.Args, "--trust"); i > 0 {
			os.Args = append(os.Args[:i], "--trust", "none") // they are the last
		}
	}
	code := cli.Main(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Getenv, nil)
	if spoil != "" && slices.Contains(os.Args, spoil) {
		// The tree is the demo's, which runs its children in its folder.
		device := "device"
		if i := slices.Index(os.Args, "--root"); i >= 0 {
			device = os.Args[i+1]
		}
		f, err := os.OpenFile(filepath.Join(device, "current", "lib", "module003.py"), os.O_WRONLY, 0)
		if err == nil {
			f.WriteString("spoilt")
			f.Close()
		}
	}
	if spoil == untidy && code == 4 {
		os.WriteFile(filepath.Join("device", ".godwit", "stage", "left"), nil, 0o644)
	}
	os.Exit(code)
}

// Faults of a device that the chapters on signatures must find.
const (
	unguarded = "trusts everybody"
	untidy    = "leaves something of what it refuses"
)

func program(t *testing.T) string {
	t.Helper()
	p, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// tempDir is in memory where it can be: what is waited for in a demo is mostly
// the disk, and what a disk may lose is not what these tests are about.
func tempDir(t *testing.T) string {
	t.Helper()
	if dir, err := os.MkdirTemp("/dev/shm", "godwit-demo-test-*"); err == nil {
		t.Cleanup(func() { os.RemoveAll(dir) })
		return dir
	}
	return t.TempDir()
}

func TestDemo(t *testing.T) {
	for _, layout := range []string{"slots", "in-place"} {
		t.Run(layout, func(t *testing.T) {
			t.Setenv(childEnv, "")
			t.Setenv("TMPDIR", tempDir(t))
			var out bytes.Buffer
			if err := demo.Run(t.Context(), &out, program(t), layout, 7, false); err != nil {
				t.Fatalf("%v\n%s", err, &out)
			}
			if n := strings.Count(out.String(), "✓"); n != 10 {
				t.Errorf("%d things are proved:\n%s", n, &out)
			}
			if left, _ := filepath.Glob(filepath.Join(os.Getenv("TMPDIR"), "*")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// A demo that cannot fail would prove nothing.
// With the race detector it is one of them, another one each time.
func TestDemoFindsDamage(t *testing.T) {
	const spoilt = "lib/module003.py has another content"
	one := rand.N(5)
	for i, c := range []struct{ fault, chapter, want string }{
		{"update", "2. A new device", spoilt},
		{"recover", "5. The power fails", spoilt},
		{"rollback", "7. A person goes back", spoilt},
		{unguarded, "9. Signed releases", `status says that "" signed the release`},
		{untidy, "10. The host is not what it was", "1 things are staged beside v1.1.0"},
	} {
		if race.Enabled && i != one {
			continue
		}
		t.Run(c.fault, func(t *testing.T) {
			t.Setenv(childEnv, c.fault)
			t.Setenv("TMPDIR", tempDir(t))
			var out bytes.Buffer
			err := demo.Run(t.Context(), &out, program(t), "slots", 7, false)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("%s was not found: %v", c.fault, err)
			}
			told := out.String()
			if last := told[strings.LastIndex(told, "\n\n")+2:]; !strings.HasPrefix(last, c.chapter) || strings.Contains(told, "✓") {
				t.Errorf("found in the wrong chapter, or claims were made:\n%s", told)
			}
		})
	}
}
