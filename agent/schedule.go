package agent

import (
	"hash/fnv"
	"math/rand/v2"
	"time"
)

// slot is when a device called id checks next, not sooner than soonest: at its own
// place in the time between two checks, so that a fleet spreads itself evenly over
// it and stays so, however many devices are started at once.
func slot(soonest time.Time, every time.Duration, id string) time.Time {
	h := fnv.New64a()
	h.Write([]byte(id))
	x := h.Sum64()
	x ^= x >> 33 // the upper bits of FNV of short texts are not good enough
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	phase := time.Duration(x % uint64(every))
	n := time.Duration(soonest.UnixNano()) - phase
	k := n / every
	if n%every > 0 {
		k++
	}
	return time.Unix(0, int64(k*every+phase))
}

// next is when to check after a check at now that told something.
func next(now time.Time, every time.Duration, id string) time.Time {
	return slot(now.Add(every/2), every, id)
}

// until is how long it is from now until the check after one at last, which was no
// further away than every. It is never more than two and a half times that, also where a clock is so
// wrong that its nanoseconds cannot be counted: from the year 2262 on.
func until(now, last time.Time, every time.Duration, id string) time.Duration {
	return max(0, min(next(last, every, id).Sub(now), every/2*5))
}

// firstBackoff is the pause after a first failure.
const firstBackoff = time.Minute

// backoff is the pause after so many failures in a row: a minute, doubled with each
// up to every, give or take a quarter.
func backoff(failures int, every time.Duration, r *rand.Rand) time.Duration {
	d := firstBackoff
	for i := 1; i < failures && d < every; i++ {
		d *= 2
	}
	d = min(d, every)
	return d - d/4 + time.Duration(r.Int64N(int64(d/2)+1))
}

// soon is a short pause by chance, so that devices that get power at the same time
// do not ask at the same time.
func soon(every time.Duration, r *rand.Rand) time.Duration {
	return time.Duration(r.Int64N(int64(min(every/10, 2*time.Minute)) + 1))
}
