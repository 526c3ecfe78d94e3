//go:build linux

package board

import (
	"errors"
	"strconv"
	"strings"

	"github.com/godwit-ota/godwit"
)

// BatteryConfig says where the battery is. Its zero value is the first battery
// that the kernel knows of, and none where it knows of none.
type BatteryConfig struct {
	// Supply is a name in /sys/class/power_supply, such as "BAT0".
	Supply string
	// ADC is a channel of an analogue-to-digital converter on the battery: its
	// number ("3", the first converter that has it), or with the converter
	// before it, by name or place ("ads1015/3", "iio:device0/3"). Supply goes
	// before it.
	ADC string
	// Ratio is the battery's voltage divided by that at the converter; 0 means 1.
	Ratio float64
	// Full and Empty are the volts of 100 and 0 percent; 0 means 4.2 and 3.0, one
	// lithium cell. A supply that tells percents by itself does not need them.
	Full, Empty float64
}

func (c BatteryConfig) check() (BatteryConfig, channel, error) {
	bad := func(text string) (BatteryConfig, channel, error) {
		return c, channel{}, godwit.Fail(godwit.CodeConfig, nil, text, "measure the battery when it is full and when it is empty")
	}
	if c.Supply != "" && !plainName(c.Supply) {
		return c, channel{}, badName("the battery", c.Supply)
	}
	full, empty := c.Full, c.Empty
	if full == 0 {
		full = 4.2
	}
	if empty == 0 {
		empty = 3.0
	}
	switch {
	case !(c.Ratio >= 0 && c.Ratio < 1e6):
		return bad("the ratio of the battery's divider makes no sense")
	case !(full < 1e6 && empty > 0 && empty < full):
		return bad("a full battery must have more volts than an empty one")
	}
	var ch channel
	if c.ADC != "" {
		var ok bool
		if ch, ok = parseChannel(c.ADC); !ok {
			return c, ch, badName("the battery's channel", c.ADC)
		}
	}
	if c.Ratio == 0 {
		c.Ratio = 1
	}
	return c, ch, nil
}

// percent of a battery that has so many volts.
func (c BatteryConfig) percent(volts float64) float64 {
	full, empty := c.Full, c.Empty
	if full == 0 {
		full = 4.2
	}
	if empty == 0 {
		empty = 3.0
	}
	return clamp((volts-empty)/(full-empty)*100, 0, 100)
}

func clamp(v, low, high float64) float64 { return max(low, min(high, v)) }

// A Battery is one reading.
type Battery struct {
	Known    bool    // Percent means something
	Percent  float64 // 0 to 100
	Volts    float64 // 0 if not known
	Charging bool
	External bool   // power comes from outside: mains, USB or, where the kernel shows it as such, solar
	Source   string // where this was read: "power_supply BAT0", "iio:device0 voltage3"; "" without a battery
}

// Battery reads the battery. A device without one is no error: the reading is
// not Known and has no Source. An error says that there is one, or should be, and
// that it cannot be read; the reading then holds what could be.
func (b *Board) Battery() (Battery, error) {
	external := b.external()
	c := b.cfg.Battery
	var r Battery
	var err error
	switch name := c.Supply; {
	case name != "":
		r, err = b.supply(name)
	case c.ADC != "":
		r, err = b.adcBattery()
	default:
		if name = b.findSupply(); name != "" {
			r, err = b.supply(name)
		}
	}
	r.External = external
	return r, err
}

// findSupply returns the first battery that feeds the device itself. Those of
// mice and keyboards say that they do not, by their scope.
// Source: Documentation/ABI/testing/sysfs-class-power and
// Documentation/power/power_supply_class.rst.
func (b *Board) findSupply() string {
	for _, name := range list(b.sys("class", "power_supply")) {
		if !plainName(name) {
			continue
		}
		at := func(attr string) string {
			s, _ := read(b.sys("class", "power_supply", name, attr))
			return s
		}
		if t := at("type"); t != "Battery" && t != "UPS" {
			continue
		}
		if at("scope") != "Device" && at("present") != "0" {
			return name
		}
	}
	return ""
}

// external reports whether something else than a battery supplies power.
func (b *Board) external() bool {
	for _, name := range list(b.sys("class", "power_supply")) {
		at := func(attr string) string {
			s, _ := read(b.sys("class", "power_supply", name, attr))
			return s
		}
		// USB supplies have had types such as USB_PD too. online is 1, or 2 where
		// the voltage can be programmed.
		if t := at("type"); t != "Mains" && t != "Wireless" && !strings.HasPrefix(t, "USB") {
			continue
		}
		if o := at("online"); (o == "1" || o == "2") && at("scope") != "Device" {
			return true
		}
	}
	return false
}

// supply reads a battery of the class power_supply. Voltages there are in µV.
func (b *Board) supply(name string) (Battery, error) {
	dir := b.sys("class", "power_supply", name)
	r := Battery{Source: "power_supply " + name}
	if s, err := read(dir + "/status"); err == nil {
		r.Charging = s == "Charging"
	}
	if v, err := microvolts(dir + "/voltage_now"); err == nil {
		r.Volts = v
	}
	percent, err := readInt(dir + "/capacity")
	if err == nil && (percent < 0 || percent > 100) {
		err = errNonsense
	}
	if err == nil {
		r.Known, r.Percent = true, float64(percent)
		return r, nil
	}
	// Without capacity there are other ways to know, each better than the next.
	for _, what := range []string{"charge", "energy"} {
		now, e1 := readInt(dir + "/" + what + "_now")
		full, e2 := readInt(dir + "/" + what + "_full")
		if e1 == nil && e2 == nil && full > 0 && now >= 0 {
			r.Known, r.Percent = true, clamp(float64(now)/float64(full)*100, 0, 100)
			return r, nil
		}
	}
	c := b.cfg.Battery
	if c.Full == 0 || c.Empty == 0 {
		full, e1 := microvolts(dir + "/voltage_max_design")
		empty, e2 := microvolts(dir + "/voltage_min_design")
		if e1 != nil || e2 != nil || full <= empty {
			return r, unreadable(r, err)
		}
		c.Full, c.Empty = full, empty
	}
	if r.Volts == 0 {
		return r, unreadable(r, err)
	}
	r.Known, r.Percent = true, c.percent(r.Volts)
	return r, nil
}

// microvolts reads a voltage that a battery can have, in volts.
func microvolts(path string) (float64, error) {
	uv, err := readInt(path)
	if err == nil && (uv <= 0 || uv > 1e9) {
		err = errNonsense
	}
	return float64(uv) / 1e6, err
}

func unreadable(r Battery, err error) error {
	return godwit.Fail(godwit.CodeFailed, err, "the battery ("+r.Source+") does not say how full it is", "`ls /sys/class/power_supply /sys/bus/iio/devices` shows what there is")
}

// A channel is one input of a converter.
type channel struct{ device, input string }

// parseChannel reads BatteryConfig.ADC.
func parseChannel(s string) (channel, bool) {
	device, input, ok := strings.Cut(s, "/")
	if !ok {
		device, input = "", s
	}
	input = strings.TrimPrefix(strings.TrimPrefix(input, "in_"), "voltage")
	c := channel{device, input}
	return c, plainName(input) && len(input) < 64 && (!ok || plainName(device)) && input[0] >= '0' && input[0] <= '9'
}

var errNoChannel = errors.New("no converter has this channel")

// find returns the folder of the converter.
func (b *Board) findADC(c channel) (name string, err error) {
	for _, dev := range list(b.sys("bus", "iio", "devices")) {
		if !plainName(dev) {
			continue
		}
		dir := b.sys("bus", "iio", "devices", dev)
		called, _ := read(dir + "/name")
		if c.device != "" && c.device != dev && c.device != called {
			continue
		}
		for _, attr := range []string{"_raw", "_input"} {
			if _, err := read(dir + "/in_voltage" + c.input + attr); err == nil || !missing(err) {
				return dev, nil
			}
		}
	}
	return "", errNoChannel
}

// adcBattery reads the configured channel: its value in mV where the kernel
// works it out (in_voltageY_input, or (raw + offset)·scale); else raw·3.3/65535,
// which is 16 bits of 3.3 V.
// Source: Documentation/ABI/testing/sysfs-bus-iio.
func (b *Board) adcBattery() (Battery, error) {
	c := b.cfg.Battery
	r := Battery{Source: "ADC channel " + c.ADC}
	dev, err := b.findADC(b.adc)
	if err != nil {
		return r, unreadable(r, err)
	}
	r.Source = dev + " voltage" + b.adc.input
	dir := b.sys("bus", "iio", "devices", dev)
	volts, err := adcVolts(dir, b.adc.input)
	if err != nil {
		return r, unreadable(r, err)
	}
	volts *= c.Ratio
	if volts < 0 {
		volts = 0
	}
	r.Known, r.Volts, r.Percent = true, volts, c.percent(volts)
	return r, nil
}

// adcVolts is the voltage at the input.
func adcVolts(dir, input string) (float64, error) {
	one := dir + "/in_voltage" + input
	if mv, err := readFloat(one + "_input"); err == nil {
		return sensible(mv / 1000)
	}
	raw, err := readInt(one + "_raw")
	if err != nil {
		return 0, err
	}
	// Scale and offset belong to one channel, or to all of its kind.
	all := dir + "/in_voltage"
	if strings.Contains(input, "-") {
		all += "-voltage"
	}
	shared := func(attr string) (float64, error) {
		v, err := readFloat(one + attr)
		if missing(err) {
			v, err = readFloat(all + attr)
		}
		return v, err
	}
	scale, err := shared("_scale")
	switch {
	case missing(err):
		if raw < 0 || raw > 65535 {
			return 0, errNonsense
		}
		return float64(raw) * 3.3 / 65535, nil
	case err != nil:
		return 0, err
	}
	offset, err := shared("_offset")
	if err != nil && !missing(err) {
		return 0, err
	}
	return sensible((float64(raw) + offset) * scale / 1000)
}

func sensible(volts float64) (float64, error) {
	if !(volts > -1e6 && volts < 1e6) {
		return 0, errNonsense
	}
	return volts, nil
}

func (b *Board) describeBattery(f Facts) string {
	r, err := f.Battery, f.BatteryError
	s := "none"
	switch {
	case err != nil:
		s = err.Error()
	case r.Known:
		s = r.Source + ": " + strconv.FormatFloat(r.Percent, 'f', 0, 64) + "%"
	}
	if r.Volts != 0 {
		s += ", " + strconv.FormatFloat(r.Volts, 'f', 2, 64) + " V"
	}
	if r.Charging {
		s += ", charging"
	}
	if r.External {
		s += ", power from outside"
	}
	return s
}
