// Package race tells whether the program was built with the race detector, which
// makes it ten times slower: the long tests take fewer samples then, and patches are
// searched for with less effort.
package race
