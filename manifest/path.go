package manifest

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/godwit-ota/godwit"
)

// CheckPath returns an error with CodeBadPath when a manifest must not name
// path: one that is absolute, or has a part that is empty, ".", "..", or begins
// with a dot. The two lists in which a release brings its signers are allowed.
// What else a device's file system cannot hold is for the plan to say.
func CheckPath(path string) error {
	why := ""
	switch {
	case path == ".godwit/allowed_signers", path == ".godwit/revoked_keys":
		return nil
	case path == "":
		why = "it is empty"
	case path[0] == '/':
		why = "it is absolute"
	case len(path) > maxPath:
		why = "it is longer than " + strconv.Itoa(maxPath) + " bytes"
	case strings.IndexByte(path, 0) >= 0:
		why = "it holds a NUL byte"
	case !utf8.ValidString(path):
		why = "it is not Unicode"
	default:
		for part := range strings.SplitSeq(path, "/") {
			switch {
			case part == "":
				why = "it has an empty part"
			case part == "." || part == "..":
				why = "it has a part " + strconv.Quote(part)
			case part[0] == '.':
				why = "it has a hidden part, " + strconv.Quote(part)
			}
			if why != "" {
				break
			}
		}
	}
	if why == "" {
		return nil
	}
	shown := path
	if len(shown) > 120 {
		shown = shown[:100] + "…"
	}
	return godwit.Fail(godwit.CodeBadPath, nil, "the manifest names a path that is not allowed, "+strconv.Quote(shown)+": "+why,
		"name files by relative paths without hidden parts")
}
