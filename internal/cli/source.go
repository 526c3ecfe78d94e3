package cli

import (
	"os"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/config"
	"github.com/godwit-ota/godwit/plan"
	"github.com/godwit-ota/godwit/source/git"
	"github.com/godwit-ota/godwit/source/git/wire"
	"github.com/godwit-ota/godwit/vfs"
)

// remote is the repository of the configuration, secrets included.
func (c *command) remote(cfg *config.Config, events godwit.Events) (wire.Config, error) {
	s := cfg.Source
	agent := s.UserAgent
	if agent == "" {
		agent = "godwit/" + Version
	}
	w := wire.Config{
		URL: s.URL, Username: s.Username, Header: s.Headers,
		SSHKey: string(s.SSHKey), KnownHosts: string(s.KnownHosts), HostKey: s.HostKey,
		CAFile: string(s.CAFile), Proxy: s.Proxy, UserAgent: agent,
		ConnectTimeout: s.ConnectTimeout, IdleTimeout: s.Timeout, Attempts: s.Retries,
		Events: events,
	}
	for _, secret := range []struct {
		from config.Secret
		to   *string
	}{{s.Token, &w.Token}, {s.Password, &w.Password}, {s.Bearer, &w.Bearer}} {
		if secret.from.IsZero() {
			continue
		}
		v, err := secret.from.Value(c.getenv)
		if err != nil {
			return w, err
		}
		*secret.to = v
	}
	return w, nil
}

// openSource makes the source whose cache lies in folder of fsys.
func (c *command) openSource(cfg *config.Config, fsys vfs.FS, folder string, rules plan.Rules, events godwit.Events) (openSource, error) {
	remote, err := c.remote(cfg, events)
	if err != nil {
		return nil, err
	}
	g := git.Config{
		Remote: remote, Branch: cfg.Source.Branch, Tag: cfg.Source.Tag, Channel: cfg.Source.Channel,
		State: fsys, Folder: folder, Signed: cfg.Trust.Mode == "signed",
		SkipSubmodules: cfg.Tree.Submodules == "skip", LFS: cfg.Source.LFS,
		Limits: git.Limits{Files: cfg.Limits.MaxTreeFiles},
		Events: events,
	}
	if len(rules.Allow)+len(rules.Ignore)+len(rules.Shared) > 0 {
		g.Filter = func(path string) bool { return rules.Permits(path) && !plan.Covers(rules.Shared, path) }
	}
	s, err := git.New(g)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// probe makes a source that leaves nothing behind, to see whether it answers.
func (c *command) probe(cfg *config.Config) (openSource, error) {
	dir, err := os.MkdirTemp("", "godwit-*")
	if err != nil {
		return nil, err
	}
	fsys, err := vfs.OS(dir)
	if err != nil {
		os.Remove(dir)
		return nil, err
	}
	s, err := c.openSource(cfg, fsys, "git", plan.Rules{}, c.printer().Event)
	if err != nil {
		s = nil
	}
	return probed{s, fsys, dir}, err
}

type probed struct {
	openSource
	fs  *vfs.OSFS
	dir string
}

func (p probed) Close() error {
	if p.openSource != nil {
		p.openSource.Close()
	}
	p.fs.Close()
	return os.RemoveAll(p.dir)
}
