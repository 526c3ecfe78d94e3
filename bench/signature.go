package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// current is the tag that signed devices follow.
const current = "current"

// sign makes version v of the repository what the signed tag names, with a key
// that is made once.
func (b *run) sign(r repo, v int) error {
	key := filepath.Join(b.out, "key")
	if _, err := os.Stat(key); err != nil {
		if err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "bench", "-f", key).Run(); err != nil {
			return fmt.Errorf("ssh-keygen: %w", err)
		}
		public, err := os.ReadFile(key + ".pub")
		if err != nil {
			return err
		}
		if err := os.WriteFile(b.allowed(), append([]byte("bench "), public...), 0o644); err != nil {
			return err
		}
	}
	return git(filepath.Join(b.root, r.serves()), "-c", "user.name=Bench", "-c", "user.email=bench@example.org", "-c", "gpg.format=ssh", "-c", "user.signingkey="+key,
		"tag", "--force", "--sign", "--message", "Release\n\nProduct: bench", current, fmt.Sprintf("refs/tags/%d^{commit}", v))
}

// allowed is the list of those who may sign.
func (b *run) allowed() string { return filepath.Join(b.out, "allowed_signers") }

// signature sets a device that checks signatures beside one that does not.
func (b *run) signature() error {
	fmt.Fprintf(b.w, "\n## What checking signatures costs\n\nThe same tag, followed with `trust.mode = \"none\"` and `\"signed\"`. Medians.\n\n"+
		"| update | none | signed | signed : none |\n|---|--:|--:|--:|\n")
	r := repos["6k"]
	var devices []*device
	defer func() {
		for _, d := range devices {
			os.RemoveAll(d.dir)
		}
		git(filepath.Join(b.root, r.serves()), "update-ref", "-d", "refs/tags/"+current)
	}()
	if err := r.make(b.root); err != nil {
		return err
	}
	if err := b.sign(r, 1); err != nil {
		return err
	}
	for _, trust := range []string{"mode = \"none\"", fmt.Sprintf("mode = \"signed\"\nproduct = \"bench\"\nallowed_signers = %q", b.allowed())} {
		c := b.clients[0]
		c.trust = trust
		d, _, err := b.device(c, r, 1, "", false)
		if d != nil {
			devices = append(devices, d)
		}
		if err != nil {
			return err
		}
	}
	samples := make([][]sample, len(devices))
	for v := 2; v <= r.versions; v++ {
		if err := b.sign(r, v); err != nil {
			return err
		}
		for i, d := range devices {
			settle()
			s, err := d.measure(d.update(d))
			if err != nil {
				return err
			}
			if err := d.check(b.root, v); err != nil {
				return err
			}
			samples[i] = append(samples[i], s)
		}
	}
	none, signed := samples[0], samples[1]
	fmt.Fprintf(b.w, "| peak memory | %s | %s | %.2f |\n", mb(median(none, rss)), mb(median(signed, rss)), float64(median(signed, rss))/float64(median(none, rss)))
	fmt.Fprintf(b.w, "| bytes on the wire | %s | %s | %.2f |\n", kB(median(none, wire)), kB(median(signed, wire)), float64(median(signed, wire))/float64(median(none, wire)))
	requests := func(s sample) int64 { return s.Requests }
	fmt.Fprintf(b.w, "| requests | %d | %d | |\n", median(none, requests), median(signed, requests))
	return nil
}
