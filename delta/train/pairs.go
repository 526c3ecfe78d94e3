package main

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/godwit-ota/godwit/delta/diff"
	"github.com/godwit-ota/godwit/delta/model"
)

// A pair is an old content and a new one, and how to get from one to the other.
type pair struct {
	class, name string
	old, new    []byte
	jumps       []model.Jump
	guess       diff.Guess
}

// load reads the pairs of a set.
func load(list, set string, most int64) ([]pair, error) {
	b, err := os.ReadFile(list)
	if err != nil {
		return nil, err
	}
	var ps []pair
	for line := range strings.Lines(string(b)) {
		f := strings.Split(strings.TrimSpace(line), "\t")
		if len(f) < 5 || f[0] != set {
			continue
		}
		p := pair{class: f[1], name: f[2]}
		if p.old, err = content(f[3]); err != nil {
			return nil, err
		}
		if p.new, err = content(f[4]); err != nil {
			return nil, err
		}
		if int64(len(p.new)) <= most && !bytes.Equal(p.old, p.new) {
			ps = append(ps, p)
		}
	}
	var wait sync.WaitGroup
	next := make(chan *pair)
	for range 2 {
		wait.Go(func() {
			for p := range next {
				p.jumps, p.guess = diff.Way(context.Background(), p.old, p.new)
			}
		})
	}
	for i := range ps {
		next <- &ps[i]
	}
	close(next)
	wait.Wait()
	return ps, nil
}

// content is a file, or the files of a folder one behind the other.
func content(path string) (all []byte, err error) {
	err = filepath.WalkDir(path, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(name)
		all = append(all, b...)
		return err
	})
	return all, err
}

// walk codes a pair.
func (p *pair) walk(tier int, priors string, watch model.Watcher) *model.Walk {
	w := &model.Walk{}
	w.Init(make([]byte, model.Memory(tier)), model.Task{
		Tier: tier, Old: bytes.NewReader(p.old), OldSize: int64(len(p.old)),
		Back: bytes.NewReader(p.new), NewSize: int64(len(p.new)), Code: p.guess.Code, Recipe: &p.guess.Recipe,
	})
	w.Learned(priors)
	w.Encode(p.new, p.jumps, watch)
	return w
}

// measure is how many bytes the codes of pairs have, by class.
func measure(ps []pair, tier int, priors string) map[string]int {
	sizes := map[string]int{}
	for i := range ps {
		w := ps[i].walk(tier, priors, nil)
		w.EncodeTo(int64(len(ps[i].new)))
		n := len(w.Finish())
		sizes[ps[i].class] += n
		sizes["~all"] += n
	}
	return sizes
}
