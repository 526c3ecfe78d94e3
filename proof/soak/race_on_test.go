//go:build race

package soak

// raceEnabled makes the samples smaller.
const raceEnabled = true
