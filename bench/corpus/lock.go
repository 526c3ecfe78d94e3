package corpus

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

//go:embed corpus.lock
var locked string

// A Lock is the digest of each side of each pair: set/name/old or new.
type Lock struct {
	want map[string]string
	got  map[string]string
	// Learn takes what is there for right.
	Learn bool
}

// Locked is the lock that is kept with the table.
func Locked() Lock {
	l := Lock{want: map[string]string{}, got: map[string]string{}}
	for line := range strings.Lines(locked) {
		if sum, name, ok := strings.Cut(strings.TrimSpace(line), "  "); ok {
			l.want[name] = sum
		}
	}
	return l
}

// check holds what lies at path to the lock.
func (l Lock) check(name, path string) error {
	sum, err := Sum(path)
	if err != nil {
		return err
	}
	l.got[name] = sum
	want, ok := l.want[name]
	switch {
	case l.Learn || want == sum:
		return nil
	case !ok:
		return fmt.Errorf("%s is not in corpus.lock", name)
	}
	return fmt.Errorf("%s is not what corpus.lock says: figures would be about other bytes", name)
}

// same says whether both sides of a pair, which were checked, have one content:
// such a pair measures nothing.
func (l Lock) same(p Pair) bool {
	return l.got[p.Set+"/"+p.Name+"/old"] == l.got[p.Set+"/"+p.Name+"/new"]
}

// String is the text of a lock of all that was checked.
func (l Lock) String() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(l.got)) {
		fmt.Fprintf(&b, "%s  %s\n", l.got[name], name)
	}
	return b.String()
}

// Sum is the digest of a file, or of a tree: of the names and digests of its
// files, in order.
func Sum(path string) (string, error) {
	i, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	all := sha256.New()
	if !i.IsDir() {
		data, err := os.ReadFile(path)
		all.Write(data)
		return hex.EncodeToString(all.Sum(nil)), err
	}
	err = filepath.WalkDir(path, func(file string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(path, file)
		fmt.Fprintf(all, "%x  %s\n", sha256.Sum256(data), filepath.ToSlash(name))
		return err
	})
	return hex.EncodeToString(all.Sum(nil)), err
}
