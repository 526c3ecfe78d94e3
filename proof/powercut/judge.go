package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/godwit-ota/godwit/proof/powercut/wire"
)

// A judge remembers, from what a guest said before its power went, which
// versions may be found after it.
type judge struct {
	may  map[int]bool
	hurt bool // the tree may be damaged, because the guest did it
}

func newJudge() *judge { return &judge{may: map[int]bool{0: true}} } // 0: nothing installed

// hear takes a word of the guest. It returns what is wrong, or "".
func (j *judge) hear(word, text string) string {
	switch word {
	case wire.Broken:
		return text
	case wire.Hurt, wire.Mended:
		j.hurt = word == wire.Hurt
	case wire.May, wire.Ack, wire.Check:
		var said []int
		for f := range strings.FieldsSeq(text) {
			n, err := strconv.Atoi(f)
			if err != nil {
				return fmt.Sprintf("the guest says %s %q", word, text)
			}
			said = append(said, n)
		}
		if len(said) == 0 {
			return fmt.Sprintf("the guest says %s and no version", word)
		}
		if word == wire.Check && !j.may[said[0]] {
			return fmt.Sprintf("found version %d where only %v may be", said[0], slices.Sorted(maps.Keys(j.may)))
		}
		if word != wire.May {
			j.may, j.hurt = map[int]bool{}, false
		}
		for _, n := range said {
			j.may[n] = true
		}
	}
	return ""
}
