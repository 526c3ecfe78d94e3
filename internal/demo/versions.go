package demo

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/godwit-ota/godwit/internal/githost"
)

const selftest = `#!/bin/sh
# The device runs this after an update, in the new version.
echo "station $(cat VERSION): %s"
exit %d
`

// firstVersion is an application of some 160 files and 2.5 MB.
func firstVersion() map[string]githost.Change {
	c := map[string]githost.Change{
		"README.md":       githost.Text("# Station\n"),
		"selftest":        githost.Exec(fmt.Sprintf(selftest, "sensors answer", 0)),
		"app/main.py":     githost.Text("from lib import module000\n\nmodule000.run()\n"),
		"app/__init__.py": githost.Text(""),
		"app/old.py":      githost.Text("# gone in the next version\n"),
		"data/model.bin":  {Content: noise(1, 1<<20)},
	}
	for i := range 140 {
		c[fmt.Sprintf("lib/module%03d.py", i)] = githost.Text(module(i, 0))
	}
	for i := range 16 {
		c[fmt.Sprintf("assets/icon%02d.png", i)] = githost.Change{Content: noise(uint64(100+i), 80<<10)}
	}
	return c
}

// module is a text file of a few kB.
func module(i, version int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# module %d, version %d\n", i, version)
	for line := range 60 {
		fmt.Fprintf(&b, "def step_%d_%d(x):\n    return x * %d + %d\n", i, line, line, i)
	}
	return b.String()
}

func noise(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 7))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func smallChange() map[string]githost.Change {
	model := noise(1, 1<<20)
	copy(model[1<<19:], "a small change in a large file")
	return map[string]githost.Change{
		"app/main.py":      githost.Text("from lib import module000, module001\n\nmodule000.run()\nmodule001.run()\n"),
		"app/old.py":       githost.Remove(),
		"app/new.py":       githost.Text("# new in this version\n"),
		"data/model.bin":   {Content: model},
		"lib/module001.py": githost.Text(module(1, 1)),
	}
}

// largeChange changes enough that an update takes a while.
func largeChange() map[string]githost.Change {
	c := map[string]githost.Change{}
	for i := range 100 {
		c[fmt.Sprintf("lib/module%03d.py", i)] = githost.Text(module(i, 2))
	}
	for i := range 12 {
		c[fmt.Sprintf("assets/icon%02d.png", i)] = githost.Change{Content: noise(uint64(200+i), 80<<10)}
	}
	for i := 130; i < 140; i++ {
		c[fmt.Sprintf("lib/module%03d.py", i)] = githost.Remove()
		c[fmt.Sprintf("lib/more/module%03d.py", i)] = githost.Text(module(i, 0))
	}
	return c
}

func badChange() map[string]githost.Change {
	return map[string]githost.Change{
		"selftest":    githost.Exec(fmt.Sprintf(selftest, "no answer from the sensors", 1)),
		"app/main.py": githost.Text("raise SystemExit('this version does not work')\n"),
	}
}

func goodChange() map[string]githost.Change {
	return map[string]githost.Change{
		"selftest":         githost.Exec(fmt.Sprintf(selftest, "sensors answer", 0)),
		"app/main.py":      githost.Text("from lib import module000\n\nmodule000.run()\n"),
		"lib/module002.py": githost.Text(module(2, 4)),
	}
}
