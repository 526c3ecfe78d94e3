package delta_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/godwit-ota/godwit/delta"
	"github.com/godwit-ota/godwit/delta/address"
	"github.com/godwit-ota/godwit/delta/diff"
)

// code32 is code of an instruction set with 32-bit instructions, and a later
// version in which half of it has moved by 64 bytes.
func code32(isa address.ISA, form address.Form, call uint32) (old, new []byte) {
	put := func(b []byte, v uint32) []byte {
		if isa == address.MIPS || isa == address.PowerPC {
			return append(b, byte(v>>24), byte(v>>16), byte(v>>8), byte(v))
		}
		return append(b, byte(v), byte(v>>8), byte(v>>16), byte(v>>24))
	}
	const from, size = 8000, 16000
	moved := func(x uint32) uint32 {
		if x >= from {
			x += 64
		}
		return x
	}
	n := uint32(1)
	for pc := uint32(0); pc < size; pc += 4 {
		n = n*1664525 + 1013904223
		if pc == from {
			new = append(new, make([]byte, 64)...)
		}
		if n>>28 < 5 {
			to := n >> 8 % 60 * 256
			old = put(old, address.Put(form, call, pc, to))
			new = put(new, address.Put(form, call, moved(pc), moved(to)))
			continue
		}
		v := n >> 20 * 0x00010204
		old, new = put(old, v), put(new, v)
	}
	return old, new
}

// Patches give the same bytes, and decoders the same checkpoints, on 32 bits and
// 64, little endian and big.
func TestMachines(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute the first time")
	}
	dir := t.TempDir()
	var args []string
	add := func(name string, old, patch []byte) {
		for what, b := range map[string][]byte{".old": old, ".patch": patch} {
			if err := os.WriteFile(filepath.Join(dir, name+what), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		args = append(args, name+".old", name+".patch")
	}
	var want []string
	list := slices.DeleteFunc(pairs(t), func(c pair) bool { return c.tier != delta.Tiny && !strings.HasPrefix(c.name, "changed") })
	for _, c := range []struct {
		isa  address.ISA
		form address.Form
		call uint32
	}{{address.ARM64, address.A64Branch, 0x94000000}, {address.ARM, address.ARMBranch, 0xeb000000}, {address.MIPS, address.MIPSJump, 0x0c000000}, {address.RISCV, address.RISCVJump, 0xef}} {
		old, new := code32(c.isa, c.form, c.call)
		for tier := delta.Tiny; tier <= delta.Small || tier == delta.Large && c.isa == address.MIPS; tier++ {
			o := diff.Options{Tier: tier, Budget: 1}
			if tier == delta.Small {
				o.Slack, o.Block = 4096, 8192
			}
			patch, r, err := diff.Make(t.Context(), old, new, o)
			if err != nil {
				t.Fatal(err)
			}
			if r.Header.Method != delta.Modelled || !r.Header.Code {
				t.Errorf("instruction set %d: %v, code %v", c.isa, r.Header.Method, r.Header.Code)
			}
			list = append(list, pair{old: old, new: new, patch: patch})
		}
	}
	for i, c := range list {
		add(fmt.Sprint(i), c.old, c.patch)
		s := sha256.Sum256(c.new)
		want = append(want, hex.EncodeToString(s[:]))
	}
	native := ""
	for _, m := range []struct{ name, arch, variant, emulator string }{
		{"this machine", "", "", ""},
		{"arm", "arm", "GOARM=6", "qemu-arm-static"},
		{"arm64", "arm64", "GOARM64=v8.0", "qemu-aarch64-static"},
		{"mips, big endian", "mips", "GOMIPS=softfloat", "qemu-mips-static"},
		{"mipsle", "mipsle", "GOMIPS=softfloat", "qemu-mipsel-static"},
	} {
		t.Run(m.name, func(t *testing.T) {
			program := filepath.Join(dir, "decode-"+m.arch)
			command := []string{program}
			env := append(os.Environ(), "CGO_ENABLED=0")
			if m.arch != "" {
				emulator, err := exec.LookPath(m.emulator)
				if err != nil {
					t.Skip("no " + m.emulator + ": install qemu-user-static")
				}
				command, env = []string{emulator, program}, append(env, "GOOS=linux", "GOARCH="+m.arch, m.variant)
			}
			build := exec.Command("go", "build", "-o", program, "./testdata/decode")
			build.Env = env
			if out, err := build.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			run := exec.Command(command[0], append(command[1:], args...)...)
			run.Dir = dir
			out, err := run.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			got := string(out)
			if m.arch == "" {
				native = got
			}
			lines := strings.Split(strings.TrimSpace(got), "\n")
			if len(lines) != len(want) {
				t.Fatalf("%d contents of %d:\n%s", len(lines), len(want), out)
			}
			for i, line := range lines {
				if first, _, _ := strings.Cut(line, " "); first != want[i] {
					t.Errorf("content %d (%s): %s, not %s", i, list[i].name, line, want[i])
				}
			}
			if got != native {
				t.Error("checkpoints are others than on this machine")
			}
		})
	}
}
