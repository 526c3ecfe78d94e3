package publish_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/manifest"
	"github.com/godwit-ota/godwit/publish"
	"github.com/godwit-ota/godwit/source/dir"
	"github.com/godwit-ota/godwit/source/web"
	"github.com/godwit-ota/godwit/source/web/mirror"
	"github.com/godwit-ota/godwit/trust"
	"github.com/godwit-ota/godwit/vfs"
)

// TestGateTakesIt: what is published and signed here with a real ssh-keygen, or
// with an HMAC, a device's gate admits, and what was changed afterwards it does
// not.
func TestGateTakesIt(t *testing.T) {
	if _, err := exec.LookPath("ssh-keygen"); err != nil {
		t.Skip("ssh-keygen is not installed")
	}
	keys := t.TempDir()
	key := filepath.Join(keys, "key")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	public, err := os.ReadFile(key + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	sign := func(_ context.Context, b []byte) ([]byte, error) {
		cmd := exec.Command("ssh-keygen", "-q", "-Y", "sign", "-n", "godwit", "-f", key)
		cmd.Stdin = bytes.NewReader(b)
		return cmd.Output()
	}
	secret := []byte("shared")
	gates := map[trust.Mode]trust.Config{
		trust.Signed: {Mode: trust.Signed, Product: "station", Channel: "stable", Allowed: func() (io.ReadCloser, error) {
			return io.NopCloser(strings.NewReader("maker@example.org namespaces=\"godwit\" " + string(public))), nil
		}},
		trust.HMAC: {Mode: trust.HMAC, Product: "station", Channel: "stable", Key: secret},
	}
	for mode, cfg := range gates {
		t.Run(string(mode), func(t *testing.T) {
			from, out := t.TempDir(), t.TempDir()
			write(t, from, app)
			f := publish.Folder{Dir: out}
			r := &publish.Release{Tree: publish.Dir(from), Rules: publish.Rules{Exclude: publish.DefaultExclude}, Head: manifest.Head{Version: "v1.0.0", Product: "station"}}
			o := publish.Orders{Name: "stable"}
			if mode == trust.Signed {
				r.Sign, o.Sign = sign, sign
			} else {
				r.Key, o.Key = secret, secret
			}
			p, err := f.Publish(ctx, r)
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := f.SetChannel(ctx, p, &o); err != nil {
				t.Fatal(err)
			}
			gate, err := trust.New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			judge := func() (godwit.Described, error) {
				published, err := vfs.OS(out)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { published.Close() })
				state, err := vfs.OS(t.TempDir())
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { state.Close() })
				src, err := web.New(web.Config{Mirrors: []mirror.Mirror{dir.New(published)}, State: state, Folder: "web", Channel: "stable"})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { src.Close() })
				var d godwit.Described
				tip, err := src.Tip(ctx)
				if err != nil {
					return d, err
				}
				st, err := src.Channel(ctx, tip)
				if err != nil {
					return d, err
				}
				orders, err := gate.Orders(ctx, st, tip, godwit.Memory{})
				if err != nil {
					return d, err
				}
				if tip, err = src.Named(ctx, orders.Release, orders.Commit); err != nil || tip.Commit != orders.Commit {
					return d, fmt.Errorf("%+v is not %s: %v", tip, orders.Commit, err)
				}
				rel, err := src.Release(ctx, tip)
				if err != nil {
					return d, err
				}
				v, err := gate.Admit(ctx, rel, orders.Memory)
				if err != nil {
					return d, err
				}
				return src.Describe(ctx, v, nil)
			}
			d, err := judge()
			if err != nil || d.Version != "v1.0.0" || d.Policy != string(mode) {
				t.Fatalf("%+v, %v", d, err)
			}
			var paths []string
			for e, err := range d.Listing {
				if err != nil {
					t.Fatal(err)
				}
				paths = append(paths, e.Path)
			}
			if !slices.Equal(paths, appPaths) {
				t.Errorf("%q", paths)
			}
			for _, name := range []string{"releases/v1.0.0/manifest.json", "channel.json"} {
				b := []byte(every(t, out)[name])
				changed := bytes.Replace(b, []byte(`"station"`), []byte(`"stativn"`), 1)
				os.WriteFile(filepath.Join(out, name), changed, 0o644)
				if _, err := judge(); err == nil || bytes.Equal(changed, b) {
					t.Errorf("%s was changed, and is taken", name)
				}
				os.WriteFile(filepath.Join(out, name), b, 0o644)
			}
		})
	}
}
