package publish

import (
	"context"
	"path/filepath"

	"github.com/godwit-ota/godwit/delta"
	"github.com/godwit-ota/godwit/delta/diff"
	"github.com/godwit-ota/godwit/source/web"
)

// manifestPatches puts patches into the folder that make body, the manifest of a
// release, out of those of the releases before.
func (f Folder) manifestPatches(ctx context.Context, version string, body []byte, before []*earlier) error {
	for _, r := range before {
		if len(r.body) < web.ManifestPatchFrom || len(r.body)+len(body) > maxPatched {
			continue
		}
		b, _, err := diff.Make(ctx, r.body, body, diff.Options{Tier: delta.Tiny})
		if err != nil {
			return err
		}
		if len(b) >= len(body) {
			continue
		}
		if err := put(filepath.Join(f.Dir, filepath.FromSlash(web.ManifestPatch(version, sumOf(r.body)))), b); err != nil {
			return err
		}
	}
	return nil
}
