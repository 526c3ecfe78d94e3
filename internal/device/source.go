package device

import (
	"context"
	"encoding/base64"
	"errors"
	"io/fs"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/config"
	"github.com/godwit-ota/godwit/internal/webclient"
	"github.com/godwit-ota/godwit/manifest"
	"github.com/godwit-ota/godwit/plan"
	"github.com/godwit-ota/godwit/source/dir"
	"github.com/godwit-ota/godwit/source/git"
	"github.com/godwit-ota/godwit/source/git/wire"
	"github.com/godwit-ota/godwit/source/github"
	"github.com/godwit-ota/godwit/source/web"
	"github.com/godwit-ota/godwit/source/web/mirror"
	"github.com/godwit-ota/godwit/source/web/server"
	"github.com/godwit-ota/godwit/vfs"
)

// secrets are what the host is shown.
type secrets struct{ token, password, bearer string }

func (o Options) secrets(s config.Source) (v secrets, err error) {
	for _, secret := range []struct {
		from config.Secret
		to   *string
	}{{s.Token, &v.token}, {s.Password, &v.password}, {s.Bearer, &v.bearer}} {
		if secret.from.IsZero() {
			continue
		}
		if *secret.to, err = secret.from.Value(o.Getenv); err != nil {
			return v, err
		}
	}
	return v, nil
}

// An opener makes the source that a configuration describes.
type opener struct {
	cfg    *config.Config
	agent  string
	fs     vfs.FS
	folder string // of fs, for the source's own use
	rules  plan.Rules
	clock  *clock
	events godwit.Events
	secrets
}

// source makes the source whose cache lies in folder of fsys. Nothing is
// asked of the network yet.
func (o Options) source(cfg *config.Config, fsys vfs.FS, folder string, rules plan.Rules, clk *clock, events godwit.Events) (source, error) {
	p := opener{cfg: cfg, agent: cfg.Source.UserAgent, fs: fsys, folder: folder, rules: rules, clock: clk, events: events}
	if p.agent == "" {
		p.agent = o.UserAgent
	}
	var err error
	if p.secrets, err = o.secrets(cfg.Source); err != nil {
		return nil, err
	}
	switch cfg.Source.Type {
	case "git":
		return noNil(p.git())
	case "web":
		return noNil(p.web())
	}
	return noNil(p.forge())
}

// noNil keeps a nil pointer from becoming an interface that is not nil.
func noNil[S source](s S, err error) (source, error) {
	if err != nil {
		return nil, err
	}
	return s, nil
}

// filter says which paths of a release may be wanted, nil for all.
func (o opener) filter() func(path string) bool {
	if len(o.rules.Allow)+len(o.rules.Ignore)+len(o.rules.Shared) == 0 {
		return nil
	}
	return func(path string) bool { return o.rules.Permits(path) && !plan.Covers(o.rules.Shared, path) }
}

func (o opener) git() (*git.Source, error) {
	s := o.cfg.Source
	return git.New(git.Config{
		Remote: wire.Config{
			URL: s.URL, Username: s.Username, Header: s.Headers, Token: o.token, Password: o.password, Bearer: o.bearer,
			SSHKey: string(s.SSHKey), KnownHosts: string(s.KnownHosts), HostKey: s.HostKey,
			CAFile: string(s.CAFile), Proxy: s.Proxy, UserAgent: o.agent,
			ConnectTimeout: s.ConnectTimeout, IdleTimeout: s.Timeout, Chunk: int(s.Chunk), Attempts: s.Retries, Backoff: s.Backoff,
			OnDate: o.clock.saw, Events: o.events,
		},
		Branch: s.Branch, Tag: s.Tag, Channel: s.Channel,
		State: o.fs, Folder: o.folder, Filter: o.filter(), Signed: o.cfg.Trust.Mode == "signed",
		SkipSubmodules: o.cfg.Tree.Submodules == "skip", LFS: s.LFS, LFSEndpoint: s.LFSURL,
		Reserve: int64(o.cfg.Limits.MinFree),
		Events:  o.events,
	})
}

// client says how web servers are asked.
func (o opener) client() webclient.Config {
	s := o.cfg.Source
	return webclient.Config{
		Network:   webclient.Network{CAFile: string(s.CAFile), Proxy: s.Proxy, ConnectTimeout: s.ConnectTimeout, IdleTimeout: s.Timeout, Chunk: int(s.Chunk)},
		UserAgent: o.agent, Attempts: s.Retries, Backoff: s.Backoff, MaxBackoff: s.MaxBackoff,
		OnDate: o.clock.saw, Events: o.events,
	}
}

func (o opener) forge() (*github.Source, error) {
	s, l, p := o.cfg.Source, o.cfg.Limits, o.cfg.Patches
	token := o.token
	if token == "" {
		token = o.bearer
	}
	return github.New(github.Config{
		Kind: s.Type, URL: s.URL, API: s.APIURL, Token: token,
		Branch: s.Branch, Tag: s.Tag, Channel: s.Channel,
		Signed: o.cfg.Trust.Mode != "none", HMAC: o.cfg.Trust.Mode == "hmac",
		State: o.fs, Folder: o.folder, Web: o.client(), Filter: o.filter(),
		SkipSubmodules: o.cfg.Tree.Submodules == "skip",
		// They often turn out to be for another version, so they have to be asked for.
		Patches: p.Use == "always" || p.Use == "auto" && p.Metered,
		Limits:  github.Limits{TreeBytes: int64(l.MaxTreeBytes), TreeFiles: l.MaxTreeFiles, FileBytes: int64(l.MaxFileBytes)},
		Events:  o.events,
	})
}

// web makes the source of a published folder and its mirrors, each on a web
// server or on a disk.
func (o opener) web() (*web.Source, error) {
	s, l := o.cfg.Source, o.cfg.Limits
	cfg := o.client()
	cfg.Notes = notes{o.fs, o.folder}
	client, err := webclient.New(cfg)
	if err != nil {
		return nil, err
	}
	secret := map[string]string{}
	for k, v := range s.Headers {
		secret[k] = v
	}
	switch user := s.Username; {
	case o.bearer != "":
		secret["Authorization"] = "Bearer " + o.bearer
	case o.token+o.password != "":
		if user == "" {
			user = "x-access-token"
		}
		secret["Authorization"] = "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+o.token+o.password))
	}
	var folders []*vfs.OSFS
	end := func() error {
		for _, f := range folders {
			f.Close()
		}
		return client.Close()
	}
	var mirrors []mirror.Mirror
	var names []string
	for _, at := range append([]string{s.URL}, s.Mirrors...) {
		var m mirror.Mirror
		scheme, path, isURL := strings.Cut(at, "://")
		switch {
		case !isURL || scheme == "file":
			if !isURL {
				path = at
			}
			fsys, err := vfs.OS(path)
			if err != nil {
				m = absent{path, err}
				break
			}
			folders = append(folders, fsys)
			m = dir.New(fsys)
		default:
			if m, err = server.New(client, at, secret); err != nil {
				end()
				return nil, err
			}
		}
		mirrors, names = append(mirrors, m), append(names, webclient.Printable(at))
	}
	src, err := web.New(web.Config{
		Mirrors: mirrors, Names: names, State: o.fs, Folder: o.folder, Channel: s.Channel, Tag: s.Tag,
		Patches:     o.cfg.Patches.Use != "never",
		Limits:      manifest.Limits{Bytes: int64(l.MaxTreeBytes)},
		Transferred: client.Transferred, Close: end, Events: o.events,
	})
	if err != nil {
		end()
	}
	return src, err
}

// absent is a folder that is not there: a stick that nobody has put in.
type absent struct {
	path string
	err  error
}

func (a absent) Get(context.Context, mirror.Request) (*mirror.Answer, error) {
	var pe *fs.PathError
	if errors.As(a.err, &pe) {
		a.err = pe.Err
	}
	return nil, godwit.Fail(godwit.CodeNetwork, a.err, "the folder "+a.path+" cannot be opened", "put in the stick, or mount the drive")
}

// notes are what webclient remembers, small files in a folder that is there.
type notes struct {
	fs     vfs.FS
	folder string
}

func (n notes) Load(name string) ([]byte, error) {
	return vfs.ReadFile(n.fs, n.folder+"/"+name, 64<<10)
}

func (n notes) Save(name string, b []byte) error {
	if _, err := n.fs.Lstat(n.folder); err != nil {
		return err
	}
	return vfs.WriteFile(n.fs, n.folder+"/"+name, b)
}

// A clock is the device's, moved on by hosts that have proved who they are: a
// small device boots with a wrong one.
type clock struct {
	mu   sync.Mutex
	seen time.Time
}

func (c *clock) saw(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.seen.Before(t) {
		c.seen = t
	}
}

// now is not before what a host said, unless that is far ahead of what is
// known otherwise.
func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	known := now
	if known.Before(godwit.Epoch) {
		known = godwit.Epoch
	}
	if now.After(godwit.Epoch) && c.seen.Before(now.Add(48*time.Hour)) {
		return now // as right as one can ask: a host is not to move the hours of a window
	}
	if c.seen.After(now) && godwit.HasCome(c.seen, known, false) {
		return c.seen.In(now.Location()) // its hours are asked for as well
	}
	return now
}

// Ask asks the source what the device should run, and leaves nothing behind.
func Ask(ctx context.Context, cfg *config.Config, o Options) (godwit.Tip, error) {
	dir, err := os.MkdirTemp("", "godwit-*")
	if err != nil {
		return godwit.Tip{}, err
	}
	defer os.RemoveAll(dir)
	fsys, err := vfs.OS(dir)
	if err != nil {
		return godwit.Tip{}, err
	}
	defer fsys.Close()
	s, err := o.source(cfg, fsys, "git", plan.Rules{}, &clock{}, o.Events)
	if err != nil {
		return godwit.Tip{}, err
	}
	defer s.Close()
	return s.Tip(ctx)
}
