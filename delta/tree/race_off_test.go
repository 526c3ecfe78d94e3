//go:build !race

package tree_test

// raceEnabled makes the long tests take fewer samples.
const raceEnabled = false
