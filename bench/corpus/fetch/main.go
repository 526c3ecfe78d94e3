// Command fetch brings the corpus that patches are measured on; what is there
// already is left alone. It needs npm, go, apt-get and dpkg-deb, and the
// registries that they are set up with.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/godwit-ota/godwit/bench/corpus"
)

func main() {
	var (
		dir   = flag.String("out", "../out/corpus", "folder for it")
		only  = flag.String("only", "", "only pairs whose `set/class/name` contains this")
		learn = flag.String("learn", "", "write the digests of what is there into this `file` instead of checking them")
	)
	flag.Parse()
	if err := run(*dir, *only, *learn); err != nil {
		fmt.Fprintln(os.Stderr, "fetch:", err)
		os.Exit(1)
	}
}

func run(dir, only, learn string) error {
	pairs, err := corpus.Table()
	if err != nil {
		return err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	lock := corpus.Locked()
	lock.Learn = learn != ""
	s := &corpus.Store{Dir: dir, Log: os.Stderr}
	wanted := func(p corpus.Pair) bool { return strings.Contains(p.Set+"/"+p.Class+"/"+p.Name, only) }
	err = s.Fetch(pairs, wanted, lock)
	fmt.Printf("%d of %d pairs are in %s\n", len(s.There(pairs)), len(pairs), dir)
	if learn != "" {
		if err := os.WriteFile(learn, []byte(lock.String()), 0o644); err != nil {
			return err
		}
	}
	return err
}
