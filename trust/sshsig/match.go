package sshsig

import "strings"

// matchList reports whether s matches a list of patterns, separated by commas:
// one of them, and none that begins with '!' (ssh_config(5), PATTERNS).
func matchList(s, patterns string) bool {
	found := false
	for p := range strings.SplitSeq(patterns, ",") {
		p, not := strings.CutPrefix(p, "!")
		if match(s, p) {
			if not {
				return false
			}
			found = true
		}
	}
	return found
}

// match reports whether all of s matches pattern, where '*' stands for any
// bytes and '?' for one.
func match(s, pattern string) bool {
	star, retry := -1, 0
	i, j := 0, 0
	for i < len(s) {
		switch {
		case j < len(pattern) && pattern[j] == '*':
			star, retry = j, i
			j++
		case j < len(pattern) && (pattern[j] == '?' || pattern[j] == s[i]):
			i++
			j++
		case star >= 0:
			retry++
			i, j = retry, star+1
		default:
			return false
		}
	}
	return strings.Trim(pattern[j:], "*") == ""
}
