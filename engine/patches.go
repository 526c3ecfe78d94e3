package engine

import (
	"strconv"

	"github.com/godwit-ota/godwit"
)

// notePatches remembers for status what became of patches since it was called
// last, in one write, and gives that.
func (e *Engine) notePatches() godwit.Patched {
	src, ok := e.Source.(Patches)
	if !ok {
		return godwit.Patched{}
	}
	all := src.Patched()
	now := all.Minus(e.patched)
	e.patched = all
	if now == (godwit.Patched{}) {
		return now
	}
	sum := patched(e.Store.Notes()).Plus(now)
	change := map[string]string{
		"patches.applied": strconv.Itoa(sum.Applied), "patches.saved": strconv.FormatInt(sum.Saved, 10), "patches.failed": strconv.Itoa(sum.Failed),
	}
	if now.Failed > 0 {
		change["patches.at"], change["patches.reason"] = e.stamp(), cut(sum.Reason, 300)
	}
	e.note(change)
	return now
}

// patched is what notes say of patches.
func patched(n map[string]string) godwit.Patched {
	number := func(key string) int64 {
		v, err := strconv.ParseInt(n["patches."+key], 10, 64)
		if err != nil || v < 0 {
			return 0
		}
		return v
	}
	return godwit.Patched{Applied: int(number("applied")), Saved: number("saved"), Failed: int(number("failed")), Reason: n["patches.reason"]}
}
