// Command gogit does what Godwit is compared with: it installs and updates a
// tree with the go-git library, as a small updater would be written with it.
//
//	gogit install URL BRANCH DIR
//	gogit update  BRANCH DIR
package main

import (
	"fmt"
	"os"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/config"
	"github.com/go-git/go-git/v5/plumbing"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "gogit:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	// SSL_CERT_FILE names the authority of the https host.
	if args[0] == "install" {
		_, err := git.PlainClone(args[3], false, &git.CloneOptions{
			URL: args[1], ReferenceName: plumbing.NewBranchReferenceName(args[2]), SingleBranch: true, Depth: 1, Tags: git.NoTags})
		return err
	}
	branch, dir := args[1], args[2]
	r, err := git.PlainOpen(dir)
	if err != nil {
		return err
	}
	remote := plumbing.NewRemoteReferenceName("origin", branch)
	err = r.Fetch(&git.FetchOptions{
		RefSpecs: []config.RefSpec{config.RefSpec("+refs/heads/" + branch + ":" + remote.String())}, Depth: 1, Tags: git.NoTags, Force: true})
	if err == git.NoErrAlreadyUpToDate {
		return nil
	}
	if err != nil {
		return err
	}
	tip, err := r.Reference(remote, true)
	if err != nil {
		return err
	}
	tree, err := r.Worktree()
	if err != nil {
		return err
	}
	return tree.Reset(&git.ResetOptions{Commit: tip.Hash(), Mode: git.HardReset})
}
