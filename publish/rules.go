package publish

import (
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/manifest"
	"github.com/godwit-ota/godwit/source/web"
)

// DefaultExclude is what is left out unless it is asked for otherwise.
var DefaultExclude = []string{".git*", ".ota_*", "__pycache__", "*.pyc", "*.pyo"}

// Rules say which files of a tree belong to a release.
//
// A pattern without a slash is for the name of a file or of a folder anywhere.
// One with a slash is for a path from the root, where "**" stands for any number
// of folders. A pattern that fits a folder goes for everything in it.
type Rules struct {
	Include []string // nil takes all
	Exclude []string // wins over Include
	Only    []string // the files, by their paths; nil takes all
	Without []string // files and folders on this disk that are never part of a release
	// Manifests also takes manifest.json and its signature at the root, which most
	// likely are those of an earlier release. Naming them in Only does as well.
	Manifests bool
}

// check finds patterns that are malformed.
func (r Rules) check() error {
	for _, p := range slices.Concat(r.Include, r.Exclude) {
		if _, err := path.Match(strings.ReplaceAll(p, "**", "*"), ""); err != nil || strings.Trim(p, "/") == "" {
			return usage(strconv.Quote(p)+" is not a pattern", "patterns are made of *, ?, [a-z] and **, as in lib/**/*.py")
		}
	}
	return nil
}

// apply gives the files that belong to a release. skipped are those that nobody
// asked to leave out: hidden ones, where a part of the path begins with a dot,
// which cannot belong to one, and manifests.
func (r Rules) apply(files []File) (taken []File, skipped []string, err error) {
	if err := r.check(); err != nil {
		return nil, nil, err
	}
	missing := map[string]bool{}
	for _, p := range r.Only {
		missing[path.Clean(filepath.ToSlash(p))] = true
	}
	for _, f := range files {
		if r.Only != nil {
			if !missing[f.Path] {
				continue
			}
			delete(missing, f.Path)
		}
		if r.Include != nil && !matchAny(r.Include, f.Path) {
			continue
		}
		isList := f.Path == godwit.SignersPath || f.Path == godwit.RevokedPath
		if matchAny(r.Exclude, f.Path) && !isList {
			continue
		}
		if r.Only == nil && (isManifest(f.Path) && !r.Manifests || manifest.CheckPath(f.Path) != nil && (f.Path[0] == '.' || strings.Contains(f.Path, "/."))) {
			skipped = append(skipped, f.Path)
			continue
		}
		if err := manifest.CheckPath(f.Path); err != nil {
			return nil, nil, err
		}
		taken = append(taken, f)
	}
	for _, p := range r.Only {
		if missing[path.Clean(filepath.ToSlash(p))] {
			return nil, nil, usage("there is no file "+strconv.Quote(p), "check the list of files")
		}
	}
	if len(taken) == 0 {
		return nil, skipped, usage("no file is left to publish", "check the folder and the patterns")
	}
	return taken, skipped, nil
}

func isManifest(path string) bool {
	return path == web.ManifestName || path == web.ManifestName+web.Suffix
}

func matchAny(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return match(p, name) })
}

// match reports whether a pattern fits a path, or a folder that it lies in.
func match(pattern, name string) bool {
	pattern = strings.TrimSuffix(strings.TrimPrefix(pattern, "./"), "/")
	parts := strings.Split(name, "/")
	if !strings.Contains(pattern, "/") && pattern != "**" {
		return slices.ContainsFunc(parts, func(part string) bool { return matchPart(pattern, part) })
	}
	want := strings.Split(strings.TrimPrefix(pattern, "/"), "/")
	for n := 1; n <= len(parts); n++ {
		if matchParts(want, parts[:n]) {
			return true
		}
	}
	return false
}

func matchParts(want, parts []string) bool {
	if len(want) == 0 {
		return len(parts) == 0
	}
	if want[0] == "**" {
		return matchParts(want[1:], parts) || len(parts) > 0 && matchParts(want, parts[1:])
	}
	return len(parts) > 0 && matchPart(want[0], parts[0]) && matchParts(want[1:], parts[1:])
}

func matchPart(pattern, part string) bool {
	ok, err := path.Match(pattern, part)
	return ok && err == nil
}
