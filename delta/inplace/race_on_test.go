//go:build race

package inplace_test

// raceEnabled makes the long tests take fewer samples.
const raceEnabled = true
