package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/author"
	"github.com/godwit-ota/godwit/config"
	"github.com/godwit-ota/godwit/gate"
	"github.com/godwit-ota/godwit/internal/device"
	"github.com/godwit-ota/godwit/internal/jsontext"
	"github.com/godwit-ota/godwit/internal/status"
	"github.com/godwit-ota/godwit/source/dir"
	"github.com/godwit-ota/godwit/source/web"
	"github.com/godwit-ota/godwit/source/web/mirror"
	"github.com/godwit-ota/godwit/trust"
	"github.com/godwit-ota/godwit/vfs"
)

// judge says who may sign, where it is not the configuration that does.
type judge struct {
	allowed, revoked, product string
	threshold                 int
}

// judge holds a release or a channel against the checks of a device that
// remembers nothing.
func (c *command) judge(ctx context.Context, target string, j judge) error {
	t := trust.Config{Mode: trust.Signed, Allowed: device.KeyList(config.Path(j.allowed)), Revoked: device.KeyList(config.Path(j.revoked))}
	if j.allowed == "" {
		if j.revoked != "" {
			return usageText("--revoked-keys goes with --allowed-signers", "verify")
		}
		if _, err := config.Find(c.configFile, ".", c.getenv); err != nil {
			return godwit.Fail(godwit.CodeUsage, nil, "it is not known who may sign "+target+": there is no configuration here", "give --allowed-signers FILE and --product NAME, or --config")
		}
		cfg, err := c.loadConfig()
		if err != nil {
			return err
		}
		if t, err = device.Trust(cfg, c.getenv); err != nil {
			return err
		}
	} else if j.product == "" {
		return usageText("--allowed-signers needs --product, which may be \"*\"", "verify")
	}
	for _, list := range []string{j.allowed, j.revoked} {
		if _, err := os.Stat(list); list != "" && err != nil {
			return godwit.Fail(godwit.CodeUsage, err, "a list of keys cannot be read", "name a file that is there with --allowed-signers and --revoked-keys")
		}
	}
	if j.product != "" {
		t.Product = j.product
	}
	if j.threshold > 0 {
		t.Threshold = j.threshold
	}
	t.Channel = ""
	t.Explain = c.explain
	g, err := trust.New(t)
	if err != nil {
		return err
	}
	info, err := os.Stat(target)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return c.judgeTag(ctx, g, target)
	case err != nil:
		return godwit.Fail(godwit.CodeUsage, err, target+" cannot be read", "name a tag of the repository here, a manifest or a published folder")
	case info.IsDir():
		return c.judgeFolder(ctx, g, target)
	}
	return c.judgeFile(ctx, g, target)
}

// explain shows one check.
func (c *command) explain(s trust.Step) {
	p := c.printer()
	f := jsontext.Fields{{Name: "type", Value: "checked"}, {Name: "check", Value: s.Check}, {Name: "good", Value: s.Err == nil}}
	if s.Err != nil {
		p.Emit(f.With("code", string(godwit.CodeOf(s.Err))).With("text", s.Err.Error()))
		p.Printf("BAD   %s: %s\n", s.Check, s.Err)
		return
	}
	p.Emit(f.With("text", s.Text))
	p.Printf("good  %s: %s\n", s.Check, s.Text)
}

// step shows a check that is made here, and passes its error on.
func (c *command) step(check, text string, err error) error {
	c.explain(trust.Step{Check: check, Text: text, Err: err})
	return err
}

// accepted says the verdict on a release.
func (c *command) accepted(v godwit.Verified) {
	c.printer().Emit(jsontext.Fields{{Name: "type", Value: "verdict"}, {Name: "release", Value: v.Version}, {Name: "commit", Value: v.Commit},
		{Name: "policy", Value: v.Policy}, {Name: "signers", Value: v.Signers}})
	c.printer().Printf("a device takes %s, unless it has a newer one\n", status.Named(v.Version, v.Commit))
}

// ordered says the verdict on a channel, whoever the device is.
func (c *command) ordered(o godwit.Orders) error {
	late := gate.Decide(godwit.Orders{Channel: o.Channel, Rollout: 100, NotAfter: o.NotAfter}, gate.Device{}, time.Now(), false)
	if err := c.step("fresh", "it has not expired", late); err != nil {
		return err
	}
	p := c.printer()
	p.Emit(jsontext.Fields{{Name: "type", Value: "verdict"}, {Name: "channel", Value: o.Channel}, {Name: "sequence", Value: int64(o.Sequence)},
		{Name: "release", Value: o.Release}, {Name: "commit", Value: o.Commit}}.With("halt", o.Halt))
	p.Printf("a device follows the channel %s to %s\n", o.Channel, status.Named(o.Release, o.Commit))
	if o.Halt != "" {
		p.Printf("but not now: it was halted: %s\n", o.Halt)
	}
	return nil
}

func (c *command) judgeTag(ctx context.Context, g *trust.Gate, name string) error {
	r, err := author.Open(ctx, author.Options{})
	if err != nil {
		return godwit.Fail(godwit.CodeUsage, err, "there is no file "+name, "name a tag of the repository here, a manifest or a published folder")
	}
	rel, err := r.Statement(ctx, name)
	if err != nil {
		return err
	}
	if rel.Channel != "" || strings.HasPrefix(rel.Ref, "refs/tags/channel/") {
		o, err := g.Orders(ctx, rel.Statement, rel.Tip, godwit.Memory{})
		if err != nil {
			return err
		}
		if err := c.step("commit", "it is set for the commit of "+o.Release, sameCommit(ctx, r, o)); err != nil {
			return err
		}
		return c.ordered(o)
	}
	v, err := g.Admit(ctx, rel, godwit.Memory{})
	if err != nil {
		return err
	}
	tree, err := r.Tree(ctx, v.Commit)
	if err == nil && v.Tree != "" && v.Tree != tree {
		err = godwit.Fail(godwit.CodeTampered, nil, "the tag is signed for the tree "+v.Tree+", and its commit has "+tree, "make the release again")
	}
	if err := c.step("tree", "it is the commit's", err); err != nil {
		return err
	}
	c.accepted(v)
	return nil
}

// sameCommit checks that a channel and its release mean the same commit.
func sameCommit(ctx context.Context, r *author.Repository, o godwit.Orders) error {
	rel, err := r.Statement(ctx, o.Release)
	if err == nil && rel.Commit != o.Commit {
		err = godwit.Fail(godwit.CodeWrongName, nil, "the channel is set for the commit "+short(o.Commit)+", and "+o.Release+" is "+short(rel.Commit), "set the channel again")
	}
	return err
}

// judgeFile judges a manifest, or a channel's file, by itself.
func (c *command) judgeFile(ctx context.Context, g *trust.Gate, name string) error {
	if file, is := strings.CutSuffix(name, web.Suffix); is {
		return godwit.Fail(godwit.CodeUsage, nil, name+" is the signature of "+file, "name the file itself: godwit verify "+file)
	}
	f, err := os.Open(name)
	if err != nil {
		return godwit.Fail(godwit.CodeUsage, err, name+" cannot be read", "")
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	sig, err := os.ReadFile(name + web.Suffix)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return godwit.Fail(godwit.CodeUsage, err, name+web.Suffix+" cannot be read", "")
	}
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return godwit.Fail(godwit.CodeIO, err, name+" cannot be read", "")
	}
	id := hex.EncodeToString(h.Sum(nil))
	st := godwit.Statement{Form: godwit.FileStatement, Body: f, Size: info.Size(), Signatures: sig}
	base := filepath.Base(name)
	for _, pattern := range []string{web.ChannelName, web.ChannelFile("*")} {
		if ok, _ := filepath.Match(pattern, base); ok {
			channel := web.Stable
			if base != web.ChannelName {
				channel = strings.TrimSuffix(strings.TrimPrefix(base, "channel-"), ".json")
			}
			o, err := g.Orders(ctx, st, godwit.Tip{Ref: "channel/" + channel, Channel: id}, godwit.Memory{})
			if err != nil {
				return err
			}
			return c.ordered(o)
		}
	}
	v, err := g.Admit(ctx, godwit.Release{Tip: godwit.Tip{Ref: web.ManifestName, Commit: id}, Statement: st}, godwit.Memory{})
	if err == nil {
		c.accepted(v)
	}
	return err
}

// judgeFolder takes a published folder as a device would: the channel if there
// is one, the release, every file.
func (c *command) judgeFolder(ctx context.Context, g *trust.Gate, name string) error {
	work, err := os.MkdirTemp("", "godwit-verify-")
	if err != nil {
		return err
	}
	var folder, state *vfs.OSFS
	var src *web.Source
	if folder, err = vfs.OS(name); err == nil {
		if state, err = vfs.OS(work); err == nil {
			cfg := web.Config{Mirrors: []mirror.Mirror{dir.New(folder)}, State: state, Folder: "state"}
			if _, err := os.Stat(filepath.Join(name, web.ChannelName)); err == nil {
				cfg.Channel = web.Stable
			}
			if src, err = web.New(cfg); err == nil {
				err = c.judgeSource(ctx, g, src, work)
				src.Close()
			}
			state.Close()
		}
		folder.Close()
	}
	os.RemoveAll(work)
	return err
}

func (c *command) judgeSource(ctx context.Context, g *trust.Gate, src *web.Source, work string) error {
	tip, err := src.Tip(ctx)
	if err != nil {
		return err
	}
	if tip.Channel != "" {
		st, err := src.Channel(ctx, tip)
		if err != nil {
			return err
		}
		o, err := g.Orders(ctx, st, tip, godwit.Memory{})
		if err != nil {
			return err
		}
		if tip, err = src.Named(ctx, o.Release, o.Commit); err != nil {
			return err
		}
		if o.Commit != tip.Commit {
			return c.step("manifest", "", godwit.Fail(godwit.CodeWrongName, nil, "the channel is set for the manifest "+short(o.Commit)+", and that of "+o.Release+" is "+short(tip.Commit), "set the channel again"))
		}
		if err := c.ordered(o); err != nil {
			return err
		}
	}
	rel, err := src.Release(ctx, tip)
	if err != nil {
		return err
	}
	v, err := g.Admit(ctx, rel, godwit.Memory{})
	if err != nil {
		return err
	}
	n := 0
	d, err := src.Describe(ctx, v, nil)
	if err == nil {
		for _, e := range d.Listing {
			if n++; e != nil {
				err = e
			}
		}
	}
	offers, trees := d.Offers, d.Trees
	d.Offers, d.Trees = nil, nil // the files themselves are to be looked at
	if err == nil {
		err = src.Fetch(ctx, d, d.Listing, sink{work})
	}
	if code := godwit.CodeOf(err); code == godwit.CodeBadObject || code == godwit.CodeMissingObject {
		err = godwit.Fail(godwit.CodeTampered, err, "the folder does not hold what was signed", "publish the release again, or copy the folder anew")
	}
	if err := c.step("files", files(n)+", each as the manifest has it", err); err != nil {
		return err
	}
	if err := c.judgePatches(ctx, src, d, offers, trees, work); err != nil {
		return err
	}
	c.accepted(v)
	return nil
}

// judgePatches looks whether the patches of a release are in the folder, by the
// names that they have there.
func (c *command) judgePatches(ctx context.Context, src *web.Source, d godwit.Described, offers godwit.Offers, trees []godwit.Patch, work string) error {
	n := 0
	var list []godwit.Entry
	add := func(p godwit.Patch) {
		e := godwit.Entry{Path: web.PatchName(p.Sum), Mode: godwit.File, Digest: p.Sum, Size: p.Size}
		if n++; !slices.Contains(list, e) {
			list = append(list, e)
		}
	}
	for o, err := range offers {
		if err != nil {
			return err
		}
		add(o.Patch)
	}
	for _, p := range trees {
		add(p)
	}
	if n == 0 {
		return nil
	}
	err := src.Fetch(ctx, d, func(yield func(godwit.Entry, error) bool) {
		for _, e := range list {
			if !yield(e, nil) {
				return
			}
		}
	}, sink{work})
	if err != nil {
		err = godwit.Fail(godwit.CodeTampered, err, "the folder does not hold a patch that the manifest lists", "devices fetch the whole file in its place; copy the folder patches anew")
	}
	return c.step("patches", count(n, "patch", "patches")+", each as the manifest has it", err)
}

// A sink takes objects and keeps none: their source has hashed them.
type sink struct{ folder string }

func (s sink) Has(godwit.Digest) bool                      { return false }
func (s sink) Open(godwit.Digest) (godwit.Object, error)   { return nil, fs.ErrNotExist }
func (s sink) Create(size int64) (godwit.NewObject, error) { return newDrain(s.folder) }

// A drain is an object for as long as it is written.
type drain struct{ file *os.File }

func newDrain(folder string) (*drain, error) {
	f, err := os.CreateTemp(folder, "object-")
	return &drain{f}, err
}

func (d *drain) Write(b []byte) (int, error)            { return d.file.Write(b) }
func (d *drain) ReadAt(b []byte, at int64) (int, error) { return d.file.ReadAt(b, at) }
func (d *drain) Commit(godwit.Digest) error             { d.Abort(); return nil }

func (d *drain) Abort() {
	d.file.Close()
	os.Remove(d.file.Name())
}
