package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/godwit-ota/godwit/bench/patches"
)

// patchOptions are the flags for measuring patches.
type patchOptions struct {
	corpus, set, pairs, tiers, budget, trainer *string
	each, peers                                *bool
}

func patchFlags() patchOptions {
	return patchOptions{
		corpus:  flag.String("corpus", "../out/corpus", "patches: folder for the files, which are fetched if they are not there"),
		set:     flag.String("set", "bench", "patches: `bench|train`, the set of pairs"),
		pairs:   flag.String("pairs", "", "patches: only pairs whose class/name matches this `pattern`"),
		tiers:   flag.String("tiers", strings.Join(patches.AllTiers, ","), "patches: budgets of memory"),
		budget:  flag.String("budget", "", "patches: how long to look for one patch: 30s (default: godwit's own choice)"),
		trainer: flag.String("trainer", "", "patches: `command` that is given a list of pairs and a file, and makes a godwit that was trained on them; each half of the pairs is then measured with priors from the other"),
		each:    flag.Bool("v", false, "patches: a row for each pair as well"),
		peers:   flag.Bool("peers", false, "patches: only the other tools"),
	}
}

func (o patchOptions) run(w io.Writer, godwit string) error {
	p := patches.Options{Dir: *o.corpus, Set: *o.set, Tiers: strings.Split(*o.tiers, ","), Budget: *o.budget, Each: *o.each,
		Trainer: *o.trainer, Log: os.Stderr, Measure: measurePatch}
	var err error
	if !*o.peers {
		if p.Godwit, err = filepath.Abs(godwit); err != nil {
			return err
		}
	}
	if *o.pairs != "" {
		if p.Pairs, err = regexp.Compile(*o.pairs); err != nil {
			return fmt.Errorf("-pairs: %w", err)
		}
	}
	return patches.Run(w, p)
}

func measurePatch(args ...string) (patches.Cost, error) {
	s, err := measureCommand("", os.Environ(), args)
	return patches.Cost{RSS: s.RSS, Wall: s.Wall}, err
}
