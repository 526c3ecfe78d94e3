package patches

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/godwit-ota/godwit/bench/corpus"
)

// HDiffPatch is in no package of its own; this one of npm carries its source,
// and that of the LZMA library that it wants.
var hdiffSource = corpus.Item{Kind: "npm", Package: "react-native-update", Version: "10.40.2"}

const hdiffFolder = "android/jni/"

// hdiff builds HDiffPatch, once.
func hdiff(store *corpus.Store) (peer, error) {
	dir := filepath.Join(store.Dir, "hdiffpatch")
	src := filepath.Join(dir, "HDiffPatch")
	diff, patch := filepath.Join(src, "hdiffz"), filepath.Join(src, "hpatchz")
	if _, err := os.Stat(patch); err != nil {
		files, err := store.Files(hdiffSource)
		if err != nil {
			return peer{}, err
		}
		for name, data := range files {
			rest, ok := strings.CutPrefix(name, hdiffFolder)
			if !ok || !filepath.IsLocal(rest) {
				continue
			}
			to := filepath.Join(dir, rest)
			if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
				return peer{}, err
			}
			if err := os.WriteFile(to, data, 0o644); err != nil {
				return peer{}, err
			}
		}
		// Its Makefile does not say that the programs need the libraries.
		for _, target := range []string{"lzmaLib", "libhdiffpatch.a", "hdiffz", "hpatchz"} {
			make := exec.Command("make", "-s", target)
			make.Dir = src
			if out, err := make.CombinedOutput(); err != nil {
				return peer{}, fmt.Errorf("make %s: %w\n%s", target, err, out)
			}
		}
	}
	return peer{"HDiffPatch", "3.1.1 -c-lzma-9-32m, the smallest of -m-1, -m-3 and -m-9",
		func(old, new, file string) [][]string {
			var all [][]string
			for _, match := range []string{"-m-1", "-m-3", "-m-9"} {
				all = append(all, []string{diff, "-f", "-d", "-p-1", match, "-c-lzma-9-32m", old, new, file})
			}
			return all
		},
		func(old, file, new string) []string { return []string{patch, "-f", "-s-64k", old, file, new} },
	}, nil
}
