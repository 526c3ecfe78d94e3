package gate_test

import (
	"fmt"
	"time"

	"github.com/godwit-ota/godwit/gate"
)

func ExampleJudge() {
	night, _ := gate.ParseHours("22:00-04:00")
	rules := gate.Rules{SwitchHours: []gate.Hours{night}, SwitchBattery: 50}
	facts := gate.Facts{
		Now:      time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC),
		ClockSet: true,
		Battery:  gate.Battery{Known: true, Percent: 80},
	}
	verdicts := gate.Judge(gate.Switch, rules, facts, gate.Override{})
	if v, ok := gate.Held(verdicts); ok {
		fmt.Printf("%s (%s): %s\n", v.Gate, v.Code, v.Reason)
		fmt.Println("again at", gate.Next(verdicts, facts.Now).Format("15:04"))
	}

	over, _ := gate.Overriding("window")
	_, held := gate.Held(gate.Judge(gate.Switch, rules, facts, over))
	fmt.Println("held when overridden:", held)
	// Output:
	// window (window): releases are installed at 22:00-04:00, and it is Tue 12:00
	// again at 22:00
	// held when overridden: false
}
