package config

import (
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/gate"
	"github.com/godwit-ota/godwit/report"
)

// shortest is the least time between two checks that may be asked for.
const shortest = 10 * time.Second

// agent finds what is wrong with the sections that only the agent reads.
func (d *decoder) agent() {
	c := d.c
	if c.Agent.Every < shortest {
		d.at("agent.every", "agent.every must be at least "+shortest.String(), "every check costs the host a request and the device energy")
	}
	good := true
	for key, list := range map[string][]string{"when.install_hours": c.When.InstallHours, "when.download_hours": c.When.DownloadHours, "when.solar_hours": {c.When.SolarHours}} {
		for _, text := range list {
			if text == "" {
				continue
			}
			if _, err := gate.ParseHours(text); err != nil {
				d.at(key, key+": "+err.Error(), godwit.HintOf(err))
				good = false
			}
		}
	}
	if _, err := c.When.Rules(); err != nil && good {
		d.at("when.min_battery", "the section [when] makes no sense: "+err.Error(), godwit.HintOf(err))
	}
	if c.When.BusyCommand != nil && c.When.BusyFile != "" {
		d.at("when.busy_file", "give either when.busy_command or when.busy_file, not both", "")
	}
	if l := c.Agent.Listen; l != "" && !local(l) {
		d.at("agent.listen", "agent.listen must be an address of this device only, not "+strconv.Quote(l), "127.0.0.1:9180, [::1]:9180 or unix:/run/godwit/http")
	}
	for _, p := range c.Report.Places() {
		if err := p.Check(); err != nil {
			d.at("report.to", "report.to: "+err.Error(), godwit.HintOf(err))
		}
	}
}

// local reports whether an address is one that only programs of this device
// reach.
func local(listen string) bool {
	if path, ok := strings.CutPrefix(listen, "unix:"); ok {
		return strings.HasPrefix(path, "/") && len(path) < 100
	}
	a, err := netip.ParseAddrPort(listen)
	return err == nil && a.Addr().IsLoopback()
}

// Rules are the gates' rules, in the time zone of the device: see Zone. An error
// is about hours that ParseHours does not read, or what gate.Rules.Validate says.
func (w When) Rules() (gate.Rules, error) {
	r := gate.Rules{
		MinInterval: w.MinInterval, MaxCrashes: w.MaxCrashes,
		FetchBattery: w.MinBatteryDownload, SwitchBattery: w.MinBattery, ChargingPasses: w.ChargingPasses,
		HoldBack: 100 - w.Rollout, Solar: w.Solar, Budget: int64(w.MonthlyBytes), BusyFetch: w.BusyDownload,
		MinFreeMemory: int64(w.MinMemory), MinCPUMHz: w.MinCPUMHz, MaxTemperature: float64(w.MaxTemperature), Strict: w.Strict,
		Metered: map[string]gate.Metering{"checks": gate.MeteredChecks, "none": gate.MeteredNone}[w.Metered],
	}
	if r.FetchBattery == 0 {
		r.FetchBattery = r.SwitchBattery
	}
	if r.MaxCrashes == 0 {
		r.MaxCrashes = gate.NoCrash
	}
	for _, l := range []struct {
		text []string
		to   *[]gate.Hours
	}{{w.InstallHours, &r.SwitchHours}, {w.DownloadHours, &r.FetchHours}} {
		for _, text := range l.text {
			h, err := gate.ParseHours(text)
			if err != nil {
				return r, err
			}
			*l.to = append(*l.to, h)
		}
	}
	if w.SolarHours != "" {
		h, err := gate.ParseHours(w.SolarHours)
		if err != nil {
			return r, err
		}
		r.SolarHours = h
	}
	return r, r.Validate()
}

// Places are where reports go. Their secrets are not in them yet.
func (r Report) Places() (list []report.Place) {
	for _, to := range r.To {
		list = append(list, report.Place{URL: to, User: r.User})
	}
	return list
}
