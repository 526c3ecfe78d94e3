package soak

import (
	"strconv"
	"strings"
	"testing"

	"github.com/godwit-ota/godwit/internal/race"
	"github.com/godwit-ota/godwit/store"
	"github.com/godwit-ota/godwit/vfs"
	"github.com/godwit-ota/godwit/vfs/crashfs"
)

// damagedDisk are disks for devices that are broken on purpose.
var damagedDisk = map[string]func(*crashfs.FS) vfs.FS{
	"switch before sync": func(f *crashfs.FS) vfs.FS { f.Tell(crashfs.LieSync); return f },
	"never prune":        func(f *crashfs.FS) vfs.FS { return hoarder{f} },
}

// hoarder keeps whatever is removed from the versions.
type hoarder struct{ *crashfs.FS }

func (h hoarder) Remove(name string) error {
	if strings.HasPrefix(name, "versions/") {
		return h.Rename(name, "trash-"+strconv.Itoa(h.Ops()))
	}
	return h.FS.Remove(name)
}

// A device that breaks one of the rules must be found out: a soak that cannot fail
// proves nothing. Most damage shows within days, some needs weeks.
func TestSoakFindsDamage(t *testing.T) {
	damages := []struct {
		name   string
		layout store.Layout
		finds  string // what it says
	}{
		{"switch before sync", store.Slots, ""},
		{"switch before sync", store.InPlace, ""},
		{"confirm without health", store.Slots, "is confirmed, which is sick"},
		{"forget pauses", store.InPlace, "before the pause is over"},
		{"never ask", store.InPlace, "nothing is in its way"},
		{"never prune", store.Slots, "bytes of disk are used"},
		{"report too early", store.Slots, "is reported as confirmed"},
		{"lose reports", store.InPlace, "no report of that arrived"},
	}
	if testing.Short() || race.Enabled {
		damages = damages[:4]
	}
	key := newKey(t)
	for _, d := range damages {
		t.Run(d.name+"/"+string(d.layout), func(t *testing.T) {
			for seed := range uint64(3) {
				s := settings(3*seed, 30)[0] // devices that restart
				if d.layout == store.InPlace {
					s = settings(seed, 30)[1]
				}
				if d.name == "never prune" {
					s = settings(3*seed+2, 30)[0] // where each version takes space of its own
				}
				s.key, s.damage = key, d.name
				w, err := live(t, s)
				if err == nil {
					continue
				}
				text, _, _ := strings.Cut(err.Error(), "\n")
				if !strings.Contains(err.Error(), d.finds) {
					t.Logf("found something else: %s", text)
					continue
				}
				t.Logf("found on day %d of life %d: %s", int(w.t.found.Hours()/24), seed, text)
				return
			}
			t.Error("three lives of a month found nothing wrong")
		})
	}
}
