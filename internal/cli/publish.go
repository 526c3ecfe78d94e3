package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/config"
	"github.com/godwit-ota/godwit/internal/jsontext"
	"github.com/godwit-ota/godwit/manifest"
	"github.com/godwit-ota/godwit/plan"
	"github.com/godwit-ota/godwit/publish"
	"github.com/godwit-ota/godwit/source/web"
	"github.com/godwit-ota/godwit/trust/sshsig"
)

// contents are the flags that say what a release consists of; manifest and
// publish share them.
type contents struct {
	from, rev, version, product string
	sequence                    uint64
	notAfter                    string
	include, exclude, deletes   []string
	list, deleteList            string
	postUpdate, undo, secret    string
	unfiltered, noCRC           bool
}

func (o *contents) flags(f *pflag.FlagSet) {
	f.StringVar(&o.rev, "rev", "", "`REVISION`; take the files of this tag, branch or commit of the Git repository here")
	f.StringVar(&o.version, "version", "", "`VERSION`; of the release (default: the tag that --rev names, else GITHUB_REF_NAME)")
	f.StringVar(&o.product, "product", "", "`NAME`; what the release is for (default: the tag's trailer Product, else godwit.product of git's configuration)")
	f.StringArrayVar(&o.include, "include", nil, "`PATTERN`; take only these files: *.py anywhere, lib/**/*.py from the root; may be repeated")
	f.StringArrayVar(&o.exclude, "exclude", nil, "`PATTERN`; leave these files or folders out as well as "+strings.Join(publish.DefaultExclude, " ")+"; may be repeated")
	f.BoolVar(&o.unfiltered, "no-default-exclude", false, "leave out nothing but what --exclude names")
	f.StringVar(&o.list, "file-list", "", "`FILE`; take only the files named in it, one a line; - is standard input")
	f.StringArrayVar(&o.deletes, "delete", nil, "`PATH`; devices remove it from a tree in place, whoever put it there; may be repeated")
	f.StringVar(&o.deleteList, "delete-list", "", "`FILE`; the same for the paths named in it, one a line")
	f.StringVar(&o.postUpdate, "post-update", "", "`PATH`; program of the release to run after the switch to it")
	f.StringVar(&o.undo, "rollback-hook", "", "`PATH`; program of the release to run when it is taken back")
	f.Uint64Var(&o.sequence, "sequence", 0, "`NUMBER`; of the manifest")
	f.StringVar(&o.notAfter, "not-after", "", "`TIME`; devices do not install it any more after that: 2027-01-31, or from now: 90d; with --channel it is the channel's")
}

// lines reads a file with one path a line.
func (c *command) lines(name string) (lines []string, err error) {
	if name == "" {
		return nil, nil
	}
	var b []byte
	if name == "-" {
		b, err = io.ReadAll(c.stdin)
	} else {
		b, err = os.ReadFile(name)
	}
	if err != nil {
		return nil, godwit.Fail(godwit.CodeUsage, err, "the list "+name+" cannot be read", "check the name; - is standard input")
	}
	lines = []string{}
	for l := range strings.Lines(string(b)) {
		if l = strings.TrimRight(l, "\r\n"); strings.TrimSpace(l) != "" {
			lines = append(lines, l)
		}
	}
	return lines, nil
}

// release turns the flags into a release. verb is the command, for messages.
func (c *command) release(ctx context.Context, o *contents, verb string) (r *publish.Release, err error) {
	r = new(publish.Release)
	h := &r.Head
	h.Version, h.Product, h.Sequence, h.PostUpdate, h.Rollback = o.version, o.product, o.sequence, o.postUpdate, o.undo
	if h.NotAfter, err = parseNotAfter(o.notAfter, verb); err != nil {
		return r, err
	}
	if c.root != "" {
		o.from = c.root
	}
	switch {
	case o.rev != "" && o.from != "":
		return r, usageText("the files are those of --rev or those of --from, not of both", verb)
	case o.rev != "":
		rev, err := publish.Resolve(ctx, ".", o.rev)
		if err != nil {
			return r, err
		}
		r.Tree, h.Commit, h.Tree = rev, rev.Commit, rev.Tree
		if h.Version == "" {
			h.Version = rev.Tag
		}
		if h.Product == "" {
			h.Product = rev.Product
		}
	case o.from != "":
		r.Tree = publish.Dir(o.from)
	}
	if h.Version == "" {
		h.Version = c.getenv("GITHUB_REF_NAME")
	}
	if at, err := strconv.ParseInt(c.getenv("SOURCE_DATE_EPOCH"), 10, 64); err == nil {
		h.Generated = time.Unix(at, 0).UTC()
	}
	r.Rules = publish.Rules{Include: o.include, Exclude: o.exclude, Manifests: o.unfiltered}
	if !o.unfiltered {
		r.Rules.Exclude = append(r.Rules.Exclude, publish.DefaultExclude...)
	}
	if r.Rules.Only, err = c.lines(o.list); err != nil {
		return r, err
	}
	deletes, err := c.lines(o.deleteList)
	if err != nil {
		return r, err
	}
	h.Deletes = append(o.deletes, deletes...)
	secret := o.secret
	if secret == "" {
		secret = c.getenv("MANIFEST_KEY")
	}
	secret, err = config.NewSecret("the key of the manifest", secret).Value(c.getenv)
	r.Key = []byte(secret)
	return r, err
}

// sign is the signer that publish wants.
func (c *command) sign(ctx context.Context, key string) (publish.Sign, error) {
	s, err := c.signer(ctx, key)
	return func(ctx context.Context, message []byte) ([]byte, error) {
		b, err := s.Sign(ctx, "godwit", message)
		if sig, _, e := sshsig.Parse(b); e == nil {
			c.signedBy = sig.Key.Fingerprint()
		}
		return b, err
	}, err
}

// made says what may be a mistake in a release.
func (c *command) made(r *publish.Release, p *publish.Published) {
	if r.Sign != nil && p.Product == "" {
		c.printer().Warn("the release does not say which product it is for, and devices that ask for one refuse it: give --product")
	}
	hidden := slices.DeleteFunc(slices.Clone(p.Skipped), func(name string) bool { return name[0] != '.' && !strings.Contains(name, "/.") })
	if n := len(hidden); n > 0 {
		names := strings.Join(hidden[:min(n, 3)], ", ")
		if n > 3 {
			names += ", …"
		}
		c.printer().Warn("hidden files are never part of a release, and are left out: " + names + "; --exclude '.*' leaves them out without this warning")
	}
	if len(hidden) < len(p.Skipped) {
		c.printer().Warn(web.ManifestName + " is taken for that of an earlier release, and left out; --no-default-exclude takes it, --exclude leaves it out without this warning")
	}
}

// signature says in words who signed r.
func (c *command) signature(r *publish.Release) string {
	switch {
	case r.Sign == nil && len(r.Key) == 0:
		return "not signed"
	case r.Sign == nil:
		return "signed with an HMAC"
	case len(r.Key) > 0:
		return "signed with " + c.signedBy + " and an HMAC"
	}
	return "signed with " + c.signedBy
}

func (c *command) publishedFields(kind string, r *publish.Release, p *publish.Published) jsontext.Fields {
	return jsontext.Fields{{Name: "type", Value: kind}, {Name: "version", Value: p.Version}, {Name: "manifest", Value: p.Manifest},
		{Name: "files", Value: p.Files}, {Name: "bytes", Value: p.Bytes}, {Name: "new_files", Value: p.New}, {Name: "new_bytes", Value: p.NewBytes},
		{Name: "already", Value: p.Already}, {Name: "skipped", Value: p.Skipped}, {Name: "hmac", Value: len(r.Key) > 0}}.With("key", c.signedBy)
}

func (c *command) manifestVerb() verb {
	var o contents
	var out, sign string
	var dryRun bool
	return verb{
		name: "manifest", use: "[--root FOLDER] [--version VERSION] [--out FILE]", short: "list the files of a release in a manifest",
		long: "Write manifest.json for the files of a folder, in the form that the MicroPython updater 0x687931/ota reads: with the size, the SHA-256 and the CRC-32 of each. The folder is --root, here without it, or --rev for a revision of a repository. The manifest never lists itself, nor a manifest.json at the root from an earlier time, and is replaced at once. Without any version it says \"dev\". Where SOURCE_DATE_EPOCH is set, that is its time, so that the same files give the same manifest.\n\n" +
			"With a key it is signed by an HMAC within; the key is a secret that each device has, as text, env:NAME or file:PATH. With --sign an SSH key signs it, in manifest.json.sig beside it: only public keys are on devices then.",
		examples: []string{"godwit manifest --root app --version v1.0.0", "godwit manifest --rev v1.4.0 --sign release.key --out assets/manifest.json", "MANIFEST_KEY=secret godwit manifest --include '*.py' --dry-run"},
		exits:    []int{0, 1, 2},
		flags: func(f *pflag.FlagSet) {
			f.StringVarP(&out, "out", "o", "", "`FILE`; where to write it (default: manifest.json in the folder, or here with --rev); - is standard output")
			f.StringVar(&o.secret, "key", "", "`SECRET`; sign with an HMAC (default: MANIFEST_KEY)")
			f.StringVar(&sign, "sign", "", "`FILE`; sign with this SSH key")
			o.flags(f)
			f.BoolVar(&o.noCRC, "no-crc32", false, "leave the CRC-32 of files out")
			f.BoolVarP(&dryRun, "dry-run", "n", false, "print the manifest and write nothing")
		},
		run: func(ctx context.Context, _ string) error {
			generous()
			if o.rev == "" && c.root == "" {
				o.from = "."
			}
			r, err := c.release(ctx, &o, "manifest")
			if err != nil {
				return err
			}
			if r.CRC32 = !o.noCRC; r.Head.Version == "" {
				r.Head.Version = "dev"
			}
			if out == "" {
				out = filepath.Join(o.from, web.ManifestName)
			}
			var p *publish.Published
			switch {
			case dryRun || out == "-":
				if c.json {
					return usageText("the manifest itself is on standard output, and --json writes there too: leave it out, or give --out a file", "manifest")
				}
				if sign != "" && !dryRun {
					return usageText("--sign needs a file: the signature goes beside it", "manifest")
				}
				for _, name := range []string{out, filepath.Join(o.from, web.ManifestName)} {
					r.Rules.Without = append(r.Rules.Without, name, name+web.Suffix)
				}
				p, err = publish.Preview(ctx, c.stdout, r)
				if err == nil {
					c.made(r, p)
				}
				return err
			case sign != "":
				if r.Sign, err = c.sign(ctx, sign); err != nil {
					return err
				}
			}
			if p, err = publish.Manifest(ctx, out, r); err != nil {
				return err
			}
			c.made(r, p)
			c.printer().Emit(append(c.publishedFields("manifest", r, p), jsontext.Field{Name: "out", Value: out}))
			c.printer().Printf("%s: %s, %s, %s, %s\n", out, p.Version, files(p.Files), plan.Bytes(p.Bytes), c.signature(r))
			return nil
		},
	}
}

func (c *command) publishVerb() verb {
	var o contents
	var ch publish.Orders
	var out, assets, key string
	var unsigned, cosign bool
	var patches patchFlags
	return verb{
		name: "publish", use: "--out FOLDER [--rev REVISION] [--channel NAME]", short: "make a folder that any web server can give to devices",
		long: "Publish a release into a folder for devices whose source.type is web: its files by their digests, its manifest and the signature of that. Copy the folder to any web server, bucket, CDN or stick; files and patches first, channel.json last. Releases that are in the folder stay there and do not change.\n\n" +
			"For devices that have one of the releases before, it makes patches: what turns a file that they have into the new one, and, where that is smaller, one patch for all that changed.\n\n" +
			"With --channel the release becomes what devices of that channel take. Without --rev and --from it is a release of the folder, and only the channel changes. With another release than before, --window, --floor and --not-after stay as they are unless given; the rest begins anew, and without --rollout and --wave it is for all devices. With the same release, what is not given stays. \"none\" takes a value away.\n\n" +
			"With --assets it makes the files to attach to a release of a Git host, from where devices take the manifest: manifest.json and its signature.",
		examples: []string{
			"godwit publish --out public --rev v1.4.0 --channel stable --rollout 25%", "godwit publish --out public --version v1.4.0 --channel stable",
			"godwit publish --out /media/stick --from build --version v1.4.0 --product station", "godwit publish --assets dist --rev v1.4.0", "godwit publish --out public --version v1.4.0 --channel stable --cosign --key second",
		},
		exits: []int{0, 1, 2, 4},
		flags: func(f *pflag.FlagSet) {
			f.StringVarP(&out, "out", "o", "", "`FOLDER`; the published folder, made when needed")
			f.StringVar(&assets, "assets", "", "`FOLDER`; where to write the assets of a release of a Git host")
			f.StringVar(&o.from, "from", "", "`FOLDER`; take the files of this folder")
			f.StringVar(&key, "key", "", keyUsage)
			f.BoolVar(&unsigned, "unsigned", false, "do not sign with an SSH key")
			f.BoolVar(&cosign, "cosign", false, "add a signature to the release --version of the folder, and to the --channel that leads to it: for devices that ask for more than one signer")
			f.StringVar(&o.secret, "hmac", "", "`SECRET`; also sign with an HMAC within, for devices with trust.mode = \"hmac\" (default: MANIFEST_KEY)")
			f.StringVar(&ch.Name, "channel", "", "`NAME`; set this channel to the release: stable")
			f.StringVar(&ch.Rollout, "rollout", "", "`PERCENT`; of the devices: 25%; 0% halts")
			f.StringArrayVar(&ch.Waves, "wave", nil, "`LABEL`; devices with this label take it at once: site=lab; without --rollout only these take it; may be repeated")
			f.StringVar(&ch.Window, "window", "", "`HOURS`; install only then: 02:00-04:00")
			f.StringVar(&ch.Floor, "floor", "", "`VERSION`; older devices install this one first")
			f.BoolVar(&ch.Back, "rollback", false, "devices that have a higher version go back to this one")
			f.StringVar(&ch.Halt, "halt", "", "`TEXT`; no device takes the release, and why; the channel goes on when it is set again")
			f.Uint64Var(&ch.Number, "number", 0, "`NUMBER`; of the channel's state, where it is made anew and devices have seen higher ones (default: the next)")
			patches.flags(f)
			o.flags(f)
		},
		run: func(ctx context.Context, _ string) error {
			generous()
			if !cosign {
				p, err := patches.wanted()
				if err != nil {
					return err
				}
				return c.publish(ctx, &o, &ch, p, out, assets, key, unsigned)
			}
			if out == "" || o.version == "" || o.rev+o.from+assets != "" || unsigned {
				return usageText("--cosign is for a release of the folder: give --out and --version", "publish")
			}
			sign, err := c.sign(ctx, key)
			if err == nil {
				err = publish.Folder{Dir: out}.Cosign(ctx, o.version, ch.Name, sign)
			}
			if err == nil {
				c.printer().Emit(jsontext.Fields{{Name: "type", Value: "cosigned"}, {Name: "version", Value: o.version}}.With("channel", ch.Name))
				c.printer().Printf("added a signature to %s in %s\n", o.version, out)
			}
			return err
		},
	}
}

func (c *command) publish(ctx context.Context, o *contents, ch *publish.Orders, patches publish.Patches, out, assets, key string, unsigned bool) error {
	err := ch.Check()
	if err != nil {
		return err
	}
	if ch.Name != "" {
		if ch.Forever = o.notAfter == publish.None; !ch.Forever {
			if ch.NotAfter, err = parseNotAfter(o.notAfter, "publish"); err != nil {
				return err
			}
		}
		o.notAfter = "" // it is the channel's
	}
	r, err := c.release(ctx, o, "publish")
	if err != nil {
		return err
	}
	switch {
	case out == "" && assets == "":
		return usageText("say where to: --out FOLDER, or --assets FOLDER", "publish")
	case out == "" && (ch.Name != "" || r.Tree == nil):
		return usageText("--assets needs --rev or --from, and has no channel", "publish")
	case ch.Name == "" && (ch.Rollout+ch.Window+ch.Floor+ch.Halt != "" || len(ch.Waves) > 0 || ch.Back || ch.Number > 0):
		return usageText("how a release goes out is for a channel: give --channel NAME", "publish")
	case r.Head.Version == "":
		return usageText("give the release a version: --version, or --rev with a tag", "publish")
	case r.Tree == nil && ch.Name == "":
		return usageText("say what to publish: --rev or --from", "publish")
	}
	if !unsigned {
		if r.Sign, err = c.sign(ctx, key); err != nil {
			var e *godwit.Error
			if errors.As(err, &e) && e.Code == godwit.CodeUsage {
				e.Hint += "; or publish with --unsigned"
			}
			return err
		}
	} else if key != "" {
		return usageText("--key and --unsigned contradict each other", "publish")
	}
	ch.Sign, ch.Key = r.Sign, r.Key
	p := c.printer()
	if assets != "" {
		done, err := publish.Manifest(ctx, filepath.Join(assets, web.ManifestName), r)
		if err != nil {
			return err
		}
		c.made(r, done)
		p.Emit(c.publishedFields("assets", r, done))
		p.Printf("%s: %s, %s, %s, %s\n", filepath.Join(assets, web.ManifestName), done.Version, files(done.Files), plan.Bytes(done.Bytes), c.signature(r))
	}
	if out == "" {
		return nil
	}
	r.Patches = patches
	folder := publish.Folder{Dir: out, Events: p.Event}
	done, err := folder.Publish(ctx, r)
	if err != nil {
		return err
	}
	c.made(r, done)
	p.Done()
	p.Emit(append(c.publishedFields("published", r, done), savingFields(done)...))
	switch {
	case !done.Already:
		p.Printf("published %s in %s: %s, %s, %d new, %s\n", done.Version, out, files(done.Files), plan.Bytes(done.Bytes), done.New, c.signature(r))
		p.Printf("%s", savingText(done))
	case r.Tree != nil:
		p.Printf("%s is published already, and is the same\n", done.Version)
	}
	if ch.Name == "" {
		return nil
	}
	before, after, err := folder.SetChannel(ctx, done, ch)
	if err != nil {
		return err
	}
	was := ""
	if before != nil {
		was = before.Release
	}
	p.Emit(jsontext.Fields{{Name: "type", Value: "channel"}, {Name: "action", Value: "set"}, {Name: "name", Value: after.Name},
		{Name: "sequence", Value: int64(after.Sequence)}, {Name: "release", Value: after.Release}, {Name: "rollout", Value: after.Rollout}}.
		With("before", was).With("rollback_to", after.RollbackTo).With("halt", after.Halt).With("not_after", stamp(after.NotAfter)))
	p.Printf("channel %s, number %d: %s%s\n", after.Name, after.Sequence, after.Release, channelWords(after))
	return nil
}

// channelWords says how a channel's release goes out.
func channelWords(ch *manifest.Channel) (s string) {
	switch {
	case ch.Halt != "":
		return ", halted: " + ch.Halt
	case ch.Rollout < 100 && (ch.Rollout > 0 || len(ch.Waves) == 0):
		s = ", for " + strconv.Itoa(ch.Rollout) + "% of the devices"
	}
	for i, w := range ch.Waves {
		if ch.Rollout == 100 {
			break
		}
		switch s += ", "; {
		case i == 0 && ch.Rollout == 0:
			s += "only for "
		case i == 0:
			s += "first for "
		}
		s += w.String()
	}
	if ch.Window != (godwit.Window{}) {
		s += ", from " + strings.Replace(manifest.FormatWindow(ch.Window), "-", " to ", 1)
	}
	if ch.Floor != "" {
		s += ", by way of " + ch.Floor
	}
	return s
}
