package config

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"time"
)

var units = []struct {
	name  string
	bytes float64
}{
	{"kib", 1 << 10}, {"mib", 1 << 20}, {"gib", 1 << 30}, {"tib", 1 << 40},
	{"kb", 1e3}, {"mb", 1e6}, {"gb", 1e9}, {"tb", 1e12}, {"b", 1},
}

// ParseSize reads a number of bytes: "64KiB" (1024), "10 MB" (1000), "1.5GB" or
// "4096". Letters may be large or small.
func ParseSize(s string) (Size, error) {
	t := strings.ToLower(strings.TrimSpace(s))
	by := 1.0
	for _, u := range units {
		if rest, ok := strings.CutSuffix(t, u.name); ok {
			t, by = strings.TrimSpace(rest), u.bytes
			break
		}
	}
	if t == "" || strings.Trim(t, "0123456789.") != "" {
		return 0, errors.New("not a size")
	}
	f, err := strconv.ParseFloat(t, 64)
	if err != nil || f*by >= math.MaxInt64 {
		return 0, errors.New("not a size")
	}
	return Size(f * by), nil
}

// String writes the size in the unit that leaves the shortest exact number.
func (s Size) String() string {
	for _, u := range []struct {
		name  string
		bytes Size
	}{{"GiB", 1 << 30}, {"GB", 1e9}, {"MiB", 1 << 20}, {"MB", 1e6}, {"KiB", 1 << 10}, {"kB", 1e3}} {
		if s >= u.bytes && s%u.bytes == 0 {
			return strconv.FormatInt(int64(s/u.bytes), 10) + " " + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// ParseDuration reads "90s", "2m", "1h30m" or "7d". It is never negative.
func ParseDuration(s string) (time.Duration, error) {
	s = strings.TrimSpace(s)
	var days time.Duration
	if n, rest, ok := strings.Cut(s, "d"); ok {
		v, err := strconv.ParseUint(n, 10, 16)
		if err != nil {
			return 0, errors.New("not a duration")
		}
		days = time.Duration(v) * 24 * time.Hour
		if rest == "" {
			return days, nil
		}
		s = rest
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 || strings.HasPrefix(s, "-") || days > math.MaxInt64-d {
		return 0, errors.New("not a duration")
	}
	return days + d, nil
}

// shortDuration is d as people write it: "2m", not "2m0s".
func shortDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}
