// A battery at 75 %, on mains, and a thermal zone, for machines that have none:
// what Linux shows of it is in /sys/class/power_supply and /sys/class/thermal.
// `iasl battery.asl` makes battery.aml.
DefinitionBlock ("battery.aml", "SSDT", 2, "GODWIT", "BATTERY", 1)
{
    Scope (\_SB)
    {
        Device (ADP1)
        {
            Name (_HID, "ACPI0003")
            Name (_PCL, Package () { \_SB })
            Method (_STA, 0) { Return (0x0F) }
            Method (_PSR, 0) { Return (One) }
        }
        Device (BAT0)
        {
            Name (_HID, EisaId ("PNP0C0A"))
            Name (_PCL, Package () { \_SB })
            Method (_STA, 0) { Return (0x1F) }
            // mAh, design and last full capacity, rechargeable, mV, …
            Name (_BIF, Package () { 1, 5000, 4000, 1, 12000, 400, 200, 10, 10, "B1", "1", "LION", "Godwit" })
            // charging, mA, mAh left, mV
            Name (_BST, Package () { 2, 500, 3000, 12345 })
        }
        ThermalZone (TZ0)
        {
            Method (_TMP, 0) { Return (3214) } // 321.4 K
            Method (_CRT, 0) { Return (3800) }
        }
    }
}
