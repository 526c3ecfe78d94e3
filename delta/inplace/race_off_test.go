//go:build !race

package inplace_test

const raceEnabled = false
