package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/godwit-ota/godwit/proof/powercut/wire"
)

// A judge remembers, from what a guest said before its power went, which
// versions may be found after it.
type judge struct{ may map[int]bool }

func newJudge() *judge { return &judge{map[int]bool{0: true}} } // 0: nothing installed

// hear takes a word of the guest. It returns what is wrong, or "".
func (j *judge) hear(word, text string) string {
	switch word {
	case wire.Broken:
		return text
	case wire.May, wire.Ack, wire.Check:
		n, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Sprintf("the guest says %s %q", word, text)
		}
		switch word {
		case wire.May:
			j.may[n] = true
			return ""
		case wire.Check:
			if !j.may[n] {
				return fmt.Sprintf("found version %d where only %v may be", n, slices.Sorted(maps.Keys(j.may)))
			}
		}
		j.may = map[int]bool{n: true}
	}
	return ""
}
