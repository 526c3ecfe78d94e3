package cli

import "testing"

func TestSizes(t *testing.T) {
	for text, want := range map[string]int64{"0": 0, "17": 17, "64k": 65536, "6K": 6144, "2m": 2 << 20, "1G": 1 << 30, "": -1, "k": -1, "1kk": -1, "-1": -1, "1.5k": -1, "9223372036854775807k": -1, "x": -1, "4 k": -1} {
		got, err := parseSize(text, "memory")
		if err != nil {
			got = -1
		}
		if got != want {
			t.Errorf("%q is %d, not %d", text, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0 B", 100: "100 B", 6144: "6 KiB", 65536: "64 KiB", 1 << 20: "1 MiB", 1<<20 + 1: "1048577 B"} {
		if got := binarySize(n); got != want {
			t.Errorf("%d is %q, not %q", n, got, want)
		}
	}
}

func TestTable(t *testing.T) {
	got := table([][]string{{"new", "of new"}, {"überlang.py", "1%"}, {"x"}})
	if want := "new          of new\nüberlang.py      1%\nx\n"; got != want {
		t.Errorf("%q", got)
	}
}
