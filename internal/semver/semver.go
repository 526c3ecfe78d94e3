// Package semver orders the names of releases by semantic versioning 2.0.0
// (semver.org). Which versions to offer or to take is its users' business.
//
// Invariant: Compare is a total order over what Parse accepts, but for build
// metadata, which it ignores as the specification demands.
package semver

import "strings"

// A Version is a parsed version. The zero Version is lower than all others.
type Version struct {
	numbers [3]string // without leading zeros
	pre     string    // "" for a release
}

// Parse reads a version with or without "v" in front: "v1.4.0", "1.4.0-rc.1",
// "1.4.0+build". Two numbers ("v1.4") are taken as "1.4.0".
func Parse(s string) (v Version, ok bool) {
	s = strings.TrimPrefix(s, "v")
	s, build, hasBuild := strings.Cut(s, "+")
	s, pre, hasPre := strings.Cut(s, "-")
	if hasPre && !identifiers(pre, true) || hasBuild && !identifiers(build, false) {
		return v, false
	}
	parts := strings.Split(s, ".")
	if len(parts) < 2 || len(parts) > 3 {
		return v, false
	}
	for i, p := range parts {
		if len(p) > 18 || !number(p) {
			return v, false
		}
		v.numbers[i] = p
	}
	if len(parts) == 2 {
		v.numbers[2] = "0"
	}
	v.pre = pre
	return v, true
}

// Prerelease reports whether v has a pre-release part, such as "rc.1".
func (v Version) Prerelease() bool { return v.pre != "" }

// Compare is negative if a comes before b, positive if it comes after it, and 0
// if neither does.
func Compare(a, b Version) int {
	for i := range a.numbers {
		if c := compareNumbers(a.numbers[i], b.numbers[i]); c != 0 {
			return c
		}
	}
	switch {
	case a.pre == b.pre:
		return 0
	case a.pre == "":
		return 1
	case b.pre == "":
		return -1
	}
	x, y := a.pre, b.pre
	for x != "" && y != "" {
		var p, q string
		p, x, _ = strings.Cut(x, ".")
		q, y, _ = strings.Cut(y, ".")
		if c := compareIdentifiers(p, q); c != 0 {
			return c
		}
	}
	return len(x) - len(y) // the longer list is the higher one
}

func compareNumbers(a, b string) int {
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	return strings.Compare(a, b)
}

// compareIdentifiers orders two parts of a pre-release: numbers below words.
func compareIdentifiers(a, b string) int {
	an, bn := digits(a), digits(b)
	switch {
	case an && bn:
		return compareNumbers(a, b)
	case an:
		return -1
	case bn:
		return 1
	}
	return strings.Compare(a, b)
}

func digits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

func number(s string) bool { return digits(s) && (len(s) == 1 || s[0] != '0') }

// identifiers reports whether s is dot-separated words of letters, digits and
// hyphens. In a pre-release numbers have no leading zeros.
func identifiers(s string, pre bool) bool {
	for word := range strings.SplitSeq(s, ".") {
		if word == "" || pre && digits(word) && !number(word) {
			return false
		}
		for i := range len(word) {
			c := word[i]
			if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '-') {
				return false
			}
		}
	}
	return true
}
