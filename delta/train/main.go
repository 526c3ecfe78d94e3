// Command train makes the priors of delta/model from pairs of contents: what
// slots, weights and fixed probabilities are after much has been seen. With -split
// it reports how well priors of one half of the pairs do on the other.
//
//	go run ./delta/train -pairs out/corpus/pairs.txt -out delta/model
//
// The list has a line for each pair: set, class, name, old path, new path,
// separated by tabs. Pairs of the set "train" are learned from.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/godwit-ota/godwit/delta/model"
)

func main() {
	list := flag.String("pairs", "out/corpus/pairs.txt", "list of pairs")
	out := flag.String("out", "", "folder that the files of priors are written to")
	measured := flag.String("measure", "bench", "set that the priors are measured on")
	split := flag.Bool("split", false, "learn from each half of the train set and measure on the other")
	rounds := flag.Int("rounds", 3, "how often all pairs are gone over")
	most := flag.Int64("most", 1500<<10, "leave out contents of more bytes")
	flag.Parse()
	fail := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, "train:", err)
			os.Exit(1)
		}
	}
	fail(writeTables(*out))
	train, err := load(*list, "train", *most)
	fail(err)
	if *split {
		halves(train, *rounds)
		return
	}
	test, err := load(*list, *measured, *most)
	fail(err)
	for tier := 1; tier <= 2; tier++ {
		for _, code := range []bool{false, true} {
			some := of(test, code)
			priors := learn(of(train, code), tier, *rounds)
			if *out != "" {
				fail(os.WriteFile(filepath.Join(*out, model.PriorFile(tier, code)), []byte(priors), 0o644))
			}
			show(fmt.Sprint("tier ", tier, ", nothing learned"), measure(some, tier, "none"))
			show(fmt.Sprint("tier ", tier), measure(some, tier, priors))
			if tier == 2 {
				show("tier 3", measure(some, 3, priors))
			}
		}
	}
}

// of is those of the pairs that are texts, or those that are programs.
func of(all []pair, code bool) (some []pair) {
	for _, p := range all {
		if p.guess.Code == code {
			some = append(some, p)
		}
	}
	return some
}

// halves learns from every other pair and measures on the rest, both ways.
func halves(all []pair, rounds int) {
	var half [2][]pair
	for i, p := range all {
		half[i%2] = append(half[i%2], p)
	}
	for tier := 1; tier <= 2; tier++ {
		for k := range half {
			for _, code := range []bool{false, true} {
				compare(of(half[k], code), of(half[1-k], code), tier, rounds)
			}
		}
	}
}

// compare measures b without priors, with those of its own and with those of a.
func compare(a, b []pair, tier, rounds int) {
	show(fmt.Sprintf("tier %d, nothing learned", tier), measure(b, tier, "none"))
	show(fmt.Sprintf("tier %d, learned from itself", tier), measure(b, tier, learn(slices.Clone(b), tier, rounds)))
	show(fmt.Sprintf("tier %d, learned from the other half", tier), measure(b, tier, learn(a, tier, rounds)))
}

func show(title string, sizes map[string]int) {
	fmt.Printf("%-40s", title)
	var names []string
	for n := range sizes {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		fmt.Printf(" %s %d", n, sizes[n])
	}
	fmt.Println()
}
