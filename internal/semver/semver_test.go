package semver

import (
	"slices"
	"testing"
)

func TestOrder(t *testing.T) {
	// Ascending: the example of semver.org §11, and its surroundings.
	order := []string{"0.0.0-0", "0.1", "v1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "v1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1",
		"1.0.0", "1.0.1", "v1.2.0", "1.10.0", "2.0.0", "10.0.0", "999999999999999999.0.0"}
	for i, a := range order {
		for j, b := range order {
			v, ok := Parse(a)
			w, ok2 := Parse(b)
			if !ok || !ok2 {
				t.Fatalf("%q or %q is no version", a, b)
			}
			if c := Compare(v, w); (c < 0) != (i < j) || (c > 0) != (i > j) {
				t.Errorf("Compare(%s, %s) = %d", a, b, c)
			}
		}
	}
	if !slices.IsSortedFunc([]string{"1.0.0", "1.0.0+a", "v1.0.0+b.7", "1.0"}, func(a, b string) int {
		v, _ := Parse(a)
		w, _ := Parse(b)
		return Compare(w, v)
	}) {
		t.Error("build metadata, the v and a missing third number make a difference")
	}
	if v, _ := Parse("0.0.0-0"); Compare(Version{}, v) >= 0 {
		t.Error("the zero Version is not the lowest")
	}
}

func TestParse(t *testing.T) {
	for _, s := range []string{"", "v", "1", "v1", "1.2.3.4", "01.2.3", "1.2.x", "1..2", "1.2.3-", "1.2.3-a..b", "1.2.3-01", "1.2.3+", "v1.2.3+ü", "vv1.2.3", "1.2.3_4", "channel/stable", "9999999999999999999.0.0"} {
		if v, ok := Parse(s); ok {
			t.Errorf("%q is a version: %+v", s, v)
		}
	}
	for s, pre := range map[string]bool{"1.2.3-rc.1": true, "1.2.3-rc.1+b.2": true, "1.2.3+b-2": false, "1.2.3-0a": true, "1.2.3+01": false} {
		if v, ok := Parse(s); !ok || v.Prerelease() != pre {
			t.Errorf("%q: %+v, %v", s, v, ok)
		}
	}
}
