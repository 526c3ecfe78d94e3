//go:build race

package store_test

// raceEnabled makes the long tests take fewer samples.
const raceEnabled = true
