//go:build linux

package board

import (
	"encoding/binary"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/godwit-ota/godwit"
	"golang.org/x/sys/unix"
)

// Facts is everything that can be read at one moment. What is not known is 0, ""
// or false.
type Facts struct {
	Model    string // of the board, as its firmware calls it
	MemFree  int64  // bytes that programs can still use, in the limits of this service
	MemTotal int64  // bytes that there are, likewise
	CPUMHz   int    // the highest clock of any processor

	// Temperature is that of the hottest sensor, in °C, where TemperatureKnown.
	Temperature      float64
	TemperatureKnown bool

	Uptime time.Duration // since the kernel started, sleep included
	BootID string        // a new one each time

	// ClockSynced says that the kernel's clock is held by NTP, GPS or the like.
	ClockSynced bool
	// ClockFromRTC says that it was set from a battery-backed clock at boot.
	ClockFromRTC bool

	StorageFree  int64 // bytes that can be written below Config.Storage without being root
	StorageTotal int64

	Battery      Battery
	BatteryError error // as Board.Battery returns it
	LastReset    LastReset
}

// Facts reads everything there is. It may take some hundred milliseconds, where
// a sensor sits on a slow bus.
func (b *Board) Facts() Facts {
	var f Facts
	f.Model = b.model()
	f.MemFree, f.MemTotal = b.memory()
	f.CPUMHz = b.cpuMHz()
	f.Temperature, f.TemperatureKnown = b.temperature()
	f.Uptime = b.uptime()
	f.BootID, _ = read(b.proc("sys", "kernel", "random", "boot_id"))
	f.BootID = clean(f.BootID)
	f.ClockSynced, f.ClockFromRTC = b.clock()
	f.StorageFree, f.StorageTotal, _ = Storage(b.cfg.Storage)
	f.Battery, f.BatteryError = b.Battery()
	f.LastReset = b.LastReset()
	return f
}

// model is what the device tree or, on PCs, the firmware says.
// Source: Devicetree Specification, "model"; Documentation/ABI/testing/sysfs-firmware-dmi-entries.
func (b *Board) model() string {
	for _, path := range []string{b.proc("device-tree", "model"), b.sys("class", "dmi", "id", "product_name")} {
		if s, err := read(path); err == nil && clean(s) != "" {
			return clean(s)
		}
	}
	return ""
}

// memory reads /proc/meminfo and lowers it to what the control group allows.
// Source: proc_meminfo(5).
func (b *Board) memory() (free, total int64) {
	s, _ := read(b.proc("meminfo"))
	v := map[string]int64{}
	for line := range strings.Lines(s) {
		key, value, _ := strings.Cut(line, ":")
		switch key {
		case "MemTotal", "MemAvailable", "MemFree", "Buffers", "Cached":
			if n, err := parseBytes(value); err == nil {
				v[key] = n
			}
		}
	}
	free, ok := v["MemAvailable"]
	if !ok { // before Linux 3.14
		for _, n := range []int64{v["MemFree"], v["Buffers"], v["Cached"]} {
			if free <= math.MaxInt64-n {
				free += n
			}
		}
	}
	total = v["MemTotal"]
	b.groupMemory(func(limit, used int64) {
		if total == 0 || limit < total {
			total = limit
		}
		free = min(free, max(limit-used, 0))
	})
	return free, total
}

// groupMemory calls fn with the memory limits of the control group of this
// process and of those above it, and what is in use and cannot be had back.
// Source: Documentation/admin-guide/cgroup-v2.rst.
func (b *Board) groupMemory(fn func(limit, used int64)) {
	s, _ := read(b.proc("self", "cgroup"))
	group := ""
	for line := range strings.Lines(s) {
		if g, ok := strings.CutPrefix(strings.TrimSpace(line), "0::/"); ok {
			group = g
		}
	}
	parts := strings.Split(group, "/")
	for n := len(parts); n >= 1; n-- {
		dir := b.sys(append([]string{"fs", "cgroup"}, parts[:n]...)...)
		if strings.Contains(group, "..") || len(parts) > 64 {
			return // outside of what this process can see
		}
		limit, err := readInt(dir + "/memory.max") // the word "max" for none
		used, err2 := readInt(dir + "/memory.current")
		if err != nil || err2 != nil || limit <= 0 || used < 0 {
			continue
		}
		// Pages of files that nobody has read twice are given back first.
		stat, _ := read(dir + "/memory.stat")
		for line := range strings.Lines(stat) {
			if v, ok := strings.CutPrefix(line, "inactive_file "); ok {
				if n, err := parseBytes(v); err == nil {
					used -= min(n, used)
				}
			}
		}
		fn(limit, used)
	}
}

// cpuMHz asks cpufreq, then /proc/cpuinfo (x86), then the device tree.
// Source: Documentation/admin-guide/pm/cpufreq.rst (kHz), proc_cpuinfo(5), Devicetree
// Specification, "clock-frequency" (Hz, 4 or 8 bytes, the highest first).
func (b *Board) cpuMHz() int {
	best := 0.0
	see := func(mhz float64) {
		if mhz > best && mhz < 1e6 {
			best = mhz
		}
	}
	for _, cpu := range list(b.sys("devices", "system", "cpu")) {
		if khz, err := readInt(b.sys("devices", "system", "cpu", cpu, "cpufreq", "cpuinfo_max_freq")); err == nil {
			see(float64(khz) / 1e3)
		}
	}
	if best == 0 {
		s, _ := read(b.proc("cpuinfo"))
		for line := range strings.Lines(s) {
			key, value, _ := strings.Cut(line, ":")
			if strings.TrimSpace(key) != "cpu MHz" {
				continue
			}
			if mhz, err := parseFloat(strings.TrimSpace(value)); err == nil {
				see(mhz)
			}
		}
	}
	if best == 0 {
		for _, cpu := range list(b.proc("device-tree", "cpus")) {
			hz, err := readBytes(b.proc("device-tree", "cpus", cpu, "clock-frequency"))
			switch {
			case err == nil && len(hz) == 4:
				see(float64(binary.BigEndian.Uint32(hz)) / 1e6)
			case err == nil && len(hz) == 8:
				see(float64(binary.BigEndian.Uint64(hz)) / 1e6)
			}
		}
	}
	return int(math.Round(best))
}

// temperature is that of the hottest thermal zone. Sensors that are not
// connected report anything, so only what hardware survives counts.
// Source: Documentation/driver-api/thermal/sysfs-api.rst (m°C).
func (b *Board) temperature() (celsius float64, known bool) {
	for _, zone := range list(b.sys("class", "thermal")) {
		if !strings.HasPrefix(zone, "thermal_zone") {
			continue
		}
		milli, err := readInt(b.sys("class", "thermal", zone, "temp"))
		if err != nil || milli < -60_000 || milli > 200_000 || milli == 0 {
			continue
		}
		if t := float64(milli) / 1000; !known || t > celsius {
			celsius, known = t, true
		}
	}
	return celsius, known
}

// uptime is the first number of /proc/uptime, in seconds: proc_uptime(5).
func (b *Board) uptime() time.Duration {
	s, _ := read(b.proc("uptime"))
	s, _, _ = strings.Cut(s, " ")
	seconds, err := parseFloat(s)
	if err != nil || seconds < 0 || seconds > 1e9 {
		return 0
	}
	return time.Duration(seconds * float64(time.Second))
}

// clock asks the kernel whether the clock is kept right (STA_UNSYNC: adjtimex(2)),
// and whether it was set by an RTC at boot (hctosys:
// Documentation/ABI/testing/sysfs-class-rtc).
func (b *Board) clock() (synced, fromRTC bool) {
	status, err := b.adjtimex()
	synced = err == nil && status&unix.STA_UNSYNC == 0
	for _, rtc := range list(b.sys("class", "rtc")) {
		if n, err := readInt(b.sys("class", "rtc", rtc, "hctosys")); err == nil && n == 1 {
			fromRTC = true
		}
	}
	return synced, fromRTC
}

// Storage is the number of bytes that can still be written to the file system
// of path, without root's reserve, and of those it holds altogether.
func Storage(path string) (free, total int64, err error) {
	var s unix.Statfs_t
	_, err = again(func() (int, error) { return 0, unix.Statfs(path, &s) })
	if err != nil {
		return 0, 0, godwit.Fail(godwit.CodeIO, err, "the free space of "+path+" is not known", "")
	}
	size := int64(s.Frsize)
	if size <= 0 {
		size = int64(s.Bsize)
	}
	bytes := func(blocks uint64) int64 {
		if size <= 0 || blocks > uint64(math.MaxInt64/size) {
			return math.MaxInt64
		}
		return int64(blocks) * size
	}
	return bytes(s.Bavail), bytes(s.Blocks), nil
}

// Needs is what a device must have at least for an update to be tried. Zero
// fields ask for nothing.
type Needs struct {
	MemFree     int64 // bytes
	StorageFree int64 // bytes
	CPUMHz      int
}

// Check returns an error with godwit.CodeLimit, or godwit.CodeDiskFull for
// storage, that names the first need that f does not meet. What is not known
// stands in nobody's way.
func (n Needs) Check(f Facts) error {
	short := func(code godwit.Code, what, have, want, hint string) error {
		return godwit.Fail(code, nil, "this device has "+have+" of "+what+", and at least "+want+" are asked for", hint)
	}
	switch {
	case f.MemTotal > 0 && f.MemFree < n.MemFree:
		return short(godwit.CodeLimit, "free memory", kilo(f.MemFree), kilo(n.MemFree), "end what uses it, or ask for less in the configuration")
	case f.StorageTotal > 0 && f.StorageFree < n.StorageFree:
		return short(godwit.CodeDiskFull, "free storage", kilo(f.StorageFree), kilo(n.StorageFree), "remove something, or ask for less in the configuration")
	case f.CPUMHz > 0 && f.CPUMHz < n.CPUMHz:
		return short(godwit.CodeLimit, "clock rate", strconv.Itoa(f.CPUMHz)+" MHz", strconv.Itoa(n.CPUMHz)+" MHz", "ask for less in the configuration")
	}
	return nil
}

func kilo(n int64) string {
	switch {
	case n >= 10<<30:
		return strconv.FormatInt(n>>30, 10) + " GiB"
	case n >= 10<<20:
		return strconv.FormatInt(n>>20, 10) + " MiB"
	}
	return strconv.FormatInt(n>>10, 10) + " KiB"
}

func (f Facts) describeMemory() string {
	if f.MemTotal == 0 {
		return "unknown"
	}
	return kilo(f.MemFree) + " free of " + kilo(f.MemTotal)
}

func (f Facts) describeStorage() string {
	if f.StorageTotal == 0 {
		return "unknown"
	}
	return kilo(f.StorageFree) + " free of " + kilo(f.StorageTotal)
}

func (f Facts) describeCPU() string {
	s := "unknown clock"
	if f.CPUMHz > 0 {
		s = strconv.Itoa(f.CPUMHz) + " MHz"
	}
	if f.TemperatureKnown {
		s += ", " + strconv.FormatFloat(f.Temperature, 'f', 1, 64) + " °C"
	}
	return s
}

func (f Facts) describeClock() string {
	switch {
	case f.ClockSynced:
		return "synchronized"
	case f.ClockFromRTC:
		return "set by the device's own clock at boot, not synchronized"
	}
	return "not synchronized"
}
