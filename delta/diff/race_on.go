//go:build race

package diff

// raceEnabled says that the program is ten times slower than it is, and that nobody
// makes releases with it: less is tried.
const raceEnabled = true
