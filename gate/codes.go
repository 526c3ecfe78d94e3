package gate

import "github.com/godwit-ota/godwit"

// The codes of gates that the root does not list yet. All are of the group
// "deferred": the same question has another answer later.
const (
	CodeInterval    godwit.Code = "interval"    // the last check is not long enough ago
	CodeCrashes     godwit.Code = "crashes"     // this device crashed too often lately
	CodeBattery     godwit.Code = "battery"     // the battery is too low
	CodeSolar       godwit.Code = "solar"       // the sun does not shine on the panel now
	CodeBudget      godwit.Code = "budget"      // the link costs money and there is none left for this
	CodeBusy        godwit.Code = "app-busy"    // the application must not be disturbed now; "busy" is the root's, for another godwit at work
	CodeResources   godwit.Code = "resources"   // too little free memory, or too slow a processor
	CodeTemperature godwit.Code = "temperature" // the device is too hot
)
