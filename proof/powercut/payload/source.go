//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/godwit-ota/godwit"
)

// source is where the guest's releases come from: they are worked out. It
// implements engine.Source.
type source struct {
	next  int // the version that the tip names
	links bool
}

func (s *source) Tip(context.Context) (godwit.Tip, error) { return tip(s.next), nil }

func tip(n int) godwit.Tip { return godwit.Tip{Ref: "refs/heads/main", Commit: id(n)} }

func (s *source) Release(_ context.Context, t godwit.Tip) (godwit.Release, error) {
	n, err := number(t.Commit)
	return godwit.Release{Tip: t, Version: fmt.Sprintf("v%d", n)}, err
}

func (s *source) Describe(_ context.Context, v godwit.Verified, _ []string) (godwit.Described, error) {
	n, err := number(v.Commit)
	if err != nil {
		return godwit.Described{}, err
	}
	v.Time = time.Unix(int64(n), 0).UTC()
	var entries []godwit.Entry
	for _, f := range tree(n, s.links) {
		entries = append(entries, f.entry())
	}
	return godwit.Described{Verified: v,
		Listing: func(yield func(godwit.Entry, error) bool) {
			for _, e := range entries {
				if !yield(e, nil) {
					return
				}
			}
		}}, nil
}

func (s *source) Fetch(_ context.Context, r godwit.Described, want godwit.Listing, into godwit.Objects) error {
	n, err := number(r.Commit)
	if err != nil {
		return err
	}
	files := map[string]file{}
	for _, f := range tree(n, s.links) {
		files[f.path] = f
	}
	for e, err := range want {
		if err != nil {
			return err
		}
		f, ok := files[e.Path]
		if !ok || f.entry().Digest != e.Digest {
			return errors.New("asked for " + e.Path + ", which the release does not have so")
		}
		o, err := into.Create(int64(len(f.content)))
		if err != nil {
			return err
		}
		if _, err := o.Write(f.content); err != nil {
			return err
		}
		if err := o.Commit(e.Digest); err != nil {
			return err
		}
	}
	return nil
}

// app is the application of the guest: its health follows from the version. It
// implements engine.App.
type app struct {
	store  func() int // the running version
	reboot bool       // a restart was asked for
}

func (*app) Hook(context.Context, string, godwit.Verified, godwit.Verified) (string, error) {
	return "", nil
}

func (a *app) Restart(context.Context) (bool, error) {
	a.reboot = reboots(a.store())
	return a.reboot, nil
}

func (a *app) Health(context.Context) (string, error) {
	if n := a.store(); sick(n) {
		return "coughing", fmt.Errorf("version %d is sick", n)
	}
	return "", nil
}
