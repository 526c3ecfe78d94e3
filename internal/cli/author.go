package cli

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/godwit-ota/godwit/author"
	"github.com/godwit-ota/godwit/internal/jsontext"
	"github.com/godwit-ota/godwit/internal/status"
)

const keyUsage = "`FILE`; the SSH key to sign with: a private key, or a public one that an agent has the other half of (default: what git signs with if gpg.format is ssh, else GODWIT_KEY)"

// signer is who signs: with the key given, or the usual one.
func (c *command) signer(ctx context.Context, key string) (author.Signer, error) {
	if key == "" {
		var err error
		if key, err = author.DefaultKey(ctx, "", c.getenv); err != nil {
			return author.Signer{}, err
		}
	}
	return author.Signer{Key: key, Notes: c.stderr}, nil
}

// repository opens the clone that the command runs in.
func (c *command) repository(ctx context.Context, remote string, s author.Signer) (*author.Repository, error) {
	return author.Open(ctx, author.Options{Remote: remote, Signer: s})
}

func (c *command) keygenVerb() verb {
	var principal string
	var bare bool
	return verb{
		name: "keygen", use: "[FILE] [--principal NAME] [--no-passphrase]", short: "make a key for signing releases", operands: [2]int{0, 1},
		long: "Make an SSH key (Ed25519) with ssh-keygen, which asks for a passphrase, and print the line of allowed_signers that allows it. Put this line on each device, into the file that trust.allowed_signers names. FILE is ~/.ssh/godwit_ed25519 if none is given; the public half goes to FILE.pub. An existing file is never overwritten.\n\n" +
			"Any other SSH key does as well: one that you have, one in an agent, one in a security key (ssh-keygen -t ed25519-sk).",
		examples: []string{"godwit keygen", "godwit keygen release.key --principal release@example.org"},
		exits:    []int{0, 1, 2},
		flags: func(f *pflag.FlagSet) {
			f.StringVar(&principal, "principal", "", "`NAME`; who signs with it (default: git's user.email, else USER@HOST)")
			f.BoolVar(&bare, "no-passphrase", false, "the key has no passphrase: for machines, where something else protects it")
		},
		run: func(ctx context.Context, file string) error {
			if file == "" {
				home, err := os.UserHomeDir()
				if err != nil {
					return usageText("there is no home folder for the key: name a FILE", "keygen")
				}
				file = filepath.Join(home, ".ssh", "godwit_ed25519")
			}
			if principal == "" {
				principal = author.Self(ctx, c.getenv)
			}
			k, err := author.NewKey(ctx, file, principal, !bare, c.stdin, c.stderr)
			if err != nil {
				return err
			}
			p := c.printer()
			p.Emit(jsontext.Fields{{Name: "type", Value: "key"}, {Name: "file", Value: k.File}, {Name: "fingerprint", Value: k.Fingerprint},
				{Name: "principal", Value: principal}, {Name: "allowed_signers", Value: k.Line}})
			if !c.json && !c.quiet {
				// Only the line goes to standard output, so that it can go to a file.
				c.stderr.Write([]byte("made " + k.File + ", " + k.Fingerprint + "; keep it safe, and a copy elsewhere\nthe line for allowed_signers on each device:\n"))
			}
			p.Printf("%s\n", k.Line)
			return nil
		},
	}
}

func (c *command) tagVerb() verb {
	var n author.NewTag
	var key, remote, notAfter string
	var cosign bool
	return verb{
		name: "tag", use: "VERSION [--product NAME] [--push]", short: "sign a release: a tag that devices accept", operands: [2]int{1, 1},
		long: "Write and sign the tag of a release, for the commit that is checked out: an annotated Git tag with an SSH signature, which `git verify-tag` checks as well, and with the trailers Product, Tree and, if given, Not-After. VERSION is a semantic version, such as v1.4.0.\n\n" +
			"It refuses what would be a mistake: changes that are not committed, a version that is not higher than every other, a tag that exists, a release without a product. The product is --product, else godwit.product of git's configuration, else that of the newest signed tag.\n\n" +
			"With --cosign it adds a signature to a tag that exists, for devices that ask for more than one signer (trust.threshold). A tag that was pushed before is then replaced at the remote, which Git hosts with protected tags may refuse: sign first, then push.",
		examples: []string{"godwit tag v1.0.0 --product station", "godwit tag v1.4.0 --push", "godwit tag v1.4.0 --cosign --key ~/.ssh/second.pub --push"},
		exits:    []int{0, 1, 2, 4, 6},
		flags: func(f *pflag.FlagSet) {
			f.StringVar(&key, "key", "", keyUsage)
			f.StringVar(&n.Product, "product", "", "`NAME`; what the release is for; devices of another product refuse it")
			f.StringVar(&n.Message, "message", "", "`TEXT`; of the tag (default: Release VERSION)")
			f.StringVar(&notAfter, "not-after", "", "`TIME`; devices do not install it any more after that: 2027-01-31, 2027-01-31T12:00:00Z, or from now: 90d")
			f.BoolVar(&n.AllowLower, "allow-lower", false, "a higher version may exist: for a fix of an older line")
			f.BoolVar(&cosign, "cosign", false, "add a signature to the tag VERSION, which exists")
			f.BoolVar(&n.Push, "push", false, "push the tag")
			f.StringVar(&remote, "remote", "origin", "`NAME`; where to push it to")
		},
		run: func(ctx context.Context, version string) error {
			if cosign && (n.Product != "" || n.Message != "" || notAfter != "") {
				return usageText("with --cosign, the tag stays as it is: --product, --message and --not-after say nothing", "tag")
			}
			var err error
			if n.NotAfter, err = parseNotAfter(notAfter, "tag"); err != nil {
				return err
			}
			s, err := c.signer(ctx, key)
			if err != nil {
				return err
			}
			r, err := c.repository(ctx, remote, s)
			if err != nil {
				return err
			}
			n.Version = version
			var t *author.Tagged
			if cosign {
				t, err = r.Cosign(ctx, version, n.Push)
			} else {
				t, err = r.Tag(ctx, n)
			}
			if err != nil {
				return err
			}
			p := c.printer()
			p.Emit(jsontext.Fields{{Name: "type", Value: "tag"}, {Name: "name", Value: t.Name}, {Name: "tag", Value: t.ID}, {Name: "commit", Value: t.Commit},
				{Name: "product", Value: t.Product}, {Name: "keys", Value: t.Keys}, {Name: "time", Value: stamp(t.Time)}, {Name: "pushed", Value: t.Pushed}}.With("not_after", t.Get("Not-After")))
			p.Printf("signed %s of %s, with %s\n", status.Named(t.Name, t.Commit), t.Product, strings.Join(t.Keys, " and "))
			if t.Before != "" && t.Before != t.Product {
				p.Warn("the newest release before it was of " + t.Before + ": devices of that product refuse this one")
			}
			if t.Pushed {
				p.Printf("pushed to %s\n", remote)
			} else {
				force := ""
				if cosign {
					force = "--force " // the remote may have it with fewer signatures
				}
				p.Printf("next: git push %s%s %s\n", force, remote, t.Name)
			}
			return nil
		},
	}
}

// parseNotAfter reads a time of the future: a date, a time, or days from now.
func parseNotAfter(s, verb string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if n, ok := strings.CutSuffix(s, "d"); ok {
		if days, err := strconv.Atoi(n); err == nil && days > 0 && days < 100_000 {
			return time.Now().Add(time.Duration(days) * 24 * time.Hour).UTC().Truncate(time.Second), nil
		}
	}
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, usageText("--not-after takes a date (2027-01-31), a time (2027-01-31T12:00:00Z) or days from now (90d), and not \""+s+"\"", verb)
}

// authorVerbs are the commands that make releases.
func (c *command) authorVerbs() []verb {
	return []verb{c.keygenVerb(), c.tagVerb(), c.channelVerb(), c.manifestVerb(), c.publishVerb(), c.deltaVerb()}
}
