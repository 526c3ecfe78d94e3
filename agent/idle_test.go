package agent

import (
	"os"
	"slices"
	"testing"
)

// Only pages that are still as in the file are given back: what was relocated when the program
// began can only be read, and would come back as it was before.
func TestFromFile(t *testing.T) {
	const exe = "/usr/bin/godwit"
	const maps = `400000-960000 r-xp 00000000 08:01 42                         /usr/bin/godwit
Size:               5504 kB
Rss:                2000 kB
Anonymous:             0 kB
VmFlags: rd ex mr mw me
960000-ea3000 r--p 00561000 08:01 42                         /usr/bin/godwit
Anonymous:             4 kB
VmFlags: rd mr mw me ac
ea3000-faa000 r--p 00aa3000 08:01 42                         /usr/bin/godwit
Rss:                1052 kB
Anonymous:          1052 kB
faa000-fe4000 rw-p 00baa000 08:01 42                         /usr/bin/godwit
Anonymous:             0 kB
7f0000000000-7f0000001000 r--p 00000000 08:01 43             /usr/lib/libc.so.6
Anonymous:             0 kB
7f0000001000-7f0000002000 rw-p 00000000 00:00 0
Anonymous:             0 kB
7f0000002000-7f0000003000 r--p 00000000 08:01 42             /usr/bin/godwit
`
	if got, want := fromFile(maps, exe), []span{{0x400000, 0x960000}}; !slices.Equal(got, want) {
		t.Errorf("%x, want %x", got, want)
	}
	self, err := os.Readlink("/proc/self/exe")
	if err != nil {
		t.Skip(err)
	}
	b, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Skip(err)
	}
	if len(fromFile(string(b), self)) == 0 {
		t.Error("nothing of this program can be given back")
	}
	rest()
}
