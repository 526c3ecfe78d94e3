//go:build !race

package diff

// raceEnabled makes the long tests take less.
const raceEnabled = false
