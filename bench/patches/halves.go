package patches

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/godwit-ota/godwit/bench/corpus"
)

// split deals pairs into two halves, class by class and package by package, so
// that nothing in one half has a relative in the other. The package goes to the
// half that has fewer bytes of the class so far, which is the same every time.
func split(pairs []corpus.Have, weigh func(corpus.Have) int64) [2][]corpus.Have {
	var halves [2][]corpus.Have
	home := map[string]int{}
	weight := map[string]*[2]int64{}
	for _, h := range pairs {
		w := weight[h.Class]
		if w == nil {
			w = new([2]int64)
			weight[h.Class] = w
		}
		family := h.New.Family()
		half, ok := home[family]
		if !ok {
			if w[1] < w[0] {
				half = 1
			}
			home[family] = half
		}
		w[half] += weigh(h)
		halves[half] = append(halves[half], h)
	}
	return halves
}

// halves measures each half with a program that was trained on the other one.
func (b *run) halves(pairs []corpus.Have) error {
	halves := split(pairs, func(h corpus.Have) int64 {
		n, err := size(h.NewPath)
		if err != nil {
			return 0
		}
		return n
	})
	var rows []row
	for i, half := range halves {
		var text strings.Builder
		list(&text, half)
		file := filepath.Join(b.tmp, fmt.Sprintf("half-%d.txt", i))
		if err := os.WriteFile(file, []byte(text.String()), 0o644); err != nil {
			return err
		}
		trained := filepath.Join(b.tmp, fmt.Sprintf("godwit-%d", i))
		train := exec.Command("sh", "-c", b.Trainer+` "$@"`, "sh", file, trained)
		train.Stdout, train.Stderr = b.Log, b.Log
		if err := train.Run(); err != nil {
			return fmt.Errorf("%s: %w", b.Trainer, err)
		}
		b.Godwit = trained
		more, err := b.rows(halves[1-i])
		if err != nil {
			return err
		}
		rows = append(rows, more...)
	}
	fmt.Fprintln(b.w, "\nEvery pair was measured with priors that were trained on the half of the pairs that it is not in.")
	b.classes(rows)
	if b.Each {
		b.each(rows)
	}
	return nil
}
