package plan

import (
	"errors"
	"strconv"
	"strings"

	"github.com/godwit-ota/godwit"
)

// Names are the rules for names of the file system that a tree goes to.
type Names struct {
	FoldCase bool // "A" and "a" are one name
	Windows  bool // backslash, device names, trailing dots and the like cannot stand in a name (FAT, exFAT, NTFS)
	Max      int  // bytes in one part of a path; 0 means 255
	MaxPath  int  // bytes in a whole path; 0 means 4000
}

func checkParts(path string) error {
	switch {
	case path == "":
		return errors.New("it is empty")
	case path[0] == '/':
		return errors.New("it is absolute")
	case strings.IndexByte(path, 0) >= 0:
		return errors.New("it holds a NUL byte")
	}
	for part := range strings.SplitSeq(path, "/") {
		switch {
		case part == "":
			return errors.New("it has an empty part")
		case part == "." || part == "..":
			return errors.New("it has a part " + strconv.Quote(part))
		case isDotGit(part):
			return errors.New("it has a part " + strconv.Quote(part) + ", which belongs to Git")
		}
	}
	return nil
}

// isDotGit reports whether a file system might take part for ".git": in any
// case, by its short FAT name, with NTFS's ignored trailing dots and spaces or
// a stream name, or with code points that HFS+ ignores (the list of Git's
// fsck, "hasDotgit").
func isDotGit(part string) bool {
	if len(part) < 4 {
		return false
	}
	s := strings.Map(func(r rune) rune {
		switch {
		case r >= 0x200c && r <= 0x200f, r >= 0x202a && r <= 0x202e, r >= 0x206a && r <= 0x206f, r == 0xfeff:
			return -1
		}
		return r
	}, part)
	if i := strings.IndexAny(s, ":\\"); i >= 0 {
		s = s[:i]
	}
	s = strings.TrimRight(s, ". ")
	return strings.EqualFold(s, ".git") || strings.EqualFold(s, "git~1")
}

// windowsDevices are the names that DOS and its heirs keep for devices, with
// any extension.
// Source: Microsoft, "Naming Files, Paths, and Namespaces".
func isWindowsDevice(part string) bool {
	base, _, _ := strings.Cut(part, ".")
	base = strings.ToUpper(strings.TrimRight(base, " "))
	switch base {
	case "CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$":
		return true
	}
	return len(base) == 4 && (base[:3] == "COM" || base[:3] == "LPT") && base[3] >= '1' && base[3] <= '9'
}

// CheckPath returns an error with CodeBadPath when path, as a release names it,
// must not or cannot be installed on a file system with these names.
func (n Names) CheckPath(path string) error {
	err := checkParts(path)
	limit, limitPath := n.Max, n.MaxPath
	if limit == 0 {
		limit = 255
	}
	if limitPath == 0 {
		limitPath = 4000
	}
	if err == nil && len(path) > limitPath {
		err = errors.New("it is " + strconv.Itoa(len(path)) + " bytes long and this device takes at most " + strconv.Itoa(limitPath))
	}
	if err == nil {
		for part := range strings.SplitSeq(path, "/") {
			if err = n.checkPart(part, limit); err != nil {
				break
			}
		}
	}
	if err == nil {
		return nil
	}
	shown := path
	if len(shown) > 120 {
		shown = shown[:100] + "…"
	}
	return godwit.Fail(godwit.CodeBadPath, err, "the release has a path that cannot be installed, "+strconv.Quote(shown),
		"rename it in the repository, or name it in tree.ignore")
}

func (n Names) checkPart(part string, limit int) error {
	if len(part) > limit {
		return errors.New("a part of it is " + strconv.Itoa(len(part)) + " bytes long and this file system takes at most " + strconv.Itoa(limit))
	}
	if !n.Windows {
		return nil
	}
	for i := range len(part) {
		if c := part[i]; c < 0x20 || strings.IndexByte(`\:*?"<>|`, c) >= 0 {
			return errors.New("this file system has no names with " + strconv.QuoteRune(rune(c)))
		}
	}
	if last := part[len(part)-1]; last == '.' || last == ' ' {
		return errors.New("this file system drops the " + strconv.QuoteRune(rune(last)) + " at the end of a name")
	}
	if i := strings.LastIndexByte(part, '~'); i >= 0 && len(part) <= 12 && strings.Trim(strings.SplitN(part[i+1:], ".", 2)[0], "0123456789") == "" && len(part) > i+1 {
		return errors.New("it may be the short name of another file on this file system")
	}
	if isWindowsDevice(part) {
		return errors.New(strconv.Quote(part) + " is the name of a device on this file system")
	}
	return nil
}

// CheckLink returns an error with CodeSymlink unless a symbolic link at path
// with this target stays inside the tree whatever its other links are.
//
// A target may climb with leading ".." parts, not beyond the top of the tree,
// and then only descend. A ".." after a name could leave the tree, because that
// name may itself be a link.
func CheckLink(path, target string) error {
	bad := func(why string) error {
		return godwit.Fail(godwit.CodeSymlink, errors.New(why), "the symbolic link "+strconv.Quote(path)+" must not point to "+strconv.Quote(target),
			"make it point to a place inside the repository, or name it in tree.ignore")
	}
	switch {
	case target == "":
		return bad("its target is empty")
	case target[0] == '/':
		return bad("its target is absolute")
	case strings.IndexByte(target, 0) >= 0:
		return bad("its target holds a NUL byte")
	}
	depth, descended := strings.Count(path, "/"), false
	for part := range strings.SplitSeq(target, "/") {
		switch {
		case part == "" || part == ".":
		case part == "..":
			if descended {
				return bad("its target has a \"..\" after a name")
			}
			if depth--; depth < 0 {
				return bad("its target is outside the tree")
			}
		case isDotGit(part):
			return bad("its target belongs to Git")
		default:
			descended = true
		}
	}
	return nil
}

// A caseFold finds paths that are one name where case does not count. It keeps
// 16 bytes for every name and folder.
type caseFold map[uint64]uint64

// clash reports whether path, or a folder it lies in, was seen before in
// another spelling.
func (c caseFold) clash(path string) bool {
	for i := 0; i <= len(path); i++ {
		if i < len(path) && path[i] != '/' {
			continue
		}
		folded, exact := hash64(Fold(path[:i])), hash64(path[:i])
		if seen, ok := c[folded]; ok && seen != exact {
			return true
		}
		c[folded] = exact
	}
	return false
}

// Fold returns s as a file system that ignores case sees it.
func Fold(s string) string { return strings.ToUpper(strings.ToLower(s)) }

// hash64 is FNV-1a.
// Source: draft-eastlake-fnv, "The FNV Non-Cryptographic Hash Algorithm".
func hash64(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}
