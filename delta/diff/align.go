package diff

import (
	"context"
	"math/bits"

	"github.com/godwit-ota/godwit/delta/model"
)

// An aligner finds a way through the source, which is the old content with the
// new one behind it, that costs few bits: at each byte of the new content several
// lanes, places in the source, are followed side by side, and a lane that is
// cheaper to jump to than to go on with takes the place of others. What a byte
// costs is a rough guess of what the model will say.
type aligner struct {
	old, new     []byte
	back         bool  // sources may be in the new content
	slack, block int64 // in place: see delta.Header

	marks    []bool // old bytes that are cheap to miss: see operands
	literal  int32  // cost of a literal
	jump     int32  // cost of a jump but for its distance
	lanes    int    // followed at once
	progress func(done int)

	long, short seeds
	events      []event
	total       int64 // size of the old content
}

// Costs are in 16ths of a bit, by how long the run of hits is: class k has runs of
// up to 2^k - 1.
var (
	hitCost  = [8]int32{12, 8, 6, 4, 3, 2, 1, 0}
	missCost = [8]int32{8, 16, 32, 48, 64, 80, 96, 112}
)

// operandCost is what a miss in an operand costs, which does not end a run.
const operandCost = 100

func runClass(run int32) int { return min(7, bits.Len32(uint32(run))) }

// numberCost is the cost of a distance.
func numberCost(d int64) int32 { return 16 + int32(bits.Len64(uint64(max(d, -d))))*22 }

// A lane is a place in the source that is followed.
type lane struct {
	shift int64 // source less place in the new content
	cost  int32 // above that of the best lane, one byte before
	run   int32 // hits in a row
	event int32 // the jump that led here
	miss0 int64 // source where the present misses began, -1 if there are none
	lefts model.Lefts
}

// An event is a jump.
type event struct {
	at, parent int32
	shift      int64
}

// left is the source where l would be left at i.
func (l *lane) left(i int) int64 {
	if l.miss0 >= 0 {
		return l.miss0
	}
	return int64(i) + l.shift
}

// jumpCost is what leaving l at i for a source costs.
func (a *aligner) jumpCost(l *lane, i int, to int64) int32 {
	cost := a.jump
	if l.miss0 < 0 {
		cost += missCost[runClass(l.run)]
	}
	kind, base := l.lefts.Kind(l.left(i), to, a.total)
	d := to - base
	if kind == 5 {
		d = a.total + int64(i) - to
	}
	return cost + [6]int32{0, 32, 48, 64, 32, 64}[kind] + numberCost(d)
}

// add follows another source from i on, where l is the best lane.
func (a *aligner) add(lanes []lane, l lane, i int, shift int64) []lane {
	to := int64(i) + shift
	n := lane{shift: shift, cost: l.cost + a.jumpCost(&l, i, to), run: 2, miss0: -1, lefts: l.lefts}
	at := -1
	for k := range lanes {
		if lanes[k].shift == shift {
			if lanes[k].cost <= n.cost {
				return lanes
			}
			at = k
			break
		}
	}
	if at < 0 && len(lanes) == a.lanes {
		at = 0
		for k := range lanes {
			if lanes[k].cost > lanes[at].cost {
				at = k
			}
		}
		if lanes[at].cost <= n.cost {
			return lanes
		}
	}
	left := l.left(i)
	kind, _ := n.lefts.Kind(left, to, a.total)
	n.lefts.Leave(left, kind)
	n.event = int32(len(a.events))
	a.events = append(a.events, event{int32(i), l.event, shift})
	if at < 0 {
		return append(lanes, n)
	}
	lanes[at] = n
	return lanes
}

// readable tells whether source q can be read while new[i] is made.
func (a *aligner) readable(q int64, i int) bool {
	if q < a.total {
		return q >= 0 && (a.block == 0 || q+a.slack >= (int64(i)/a.block+1)*a.block)
	}
	return a.back && q-a.total < int64(i)
}

func (a *aligner) at(q int64) byte {
	if q < a.total {
		return a.old[q]
	}
	return a.new[q-a.total]
}

// from is the content from source q on.
func (a *aligner) from(q int64) []byte {
	if q < a.total {
		return a.old[q:]
	}
	return a.new[q-a.total:]
}

// trouble is the run of hits below which other sources are looked for.
const trouble = 16

// jumps is the cheapest way that was found.
func (a *aligner) jumps(ctx context.Context) ([]model.Jump, error) {
	a.total = int64(len(a.old))
	a.index()
	a.events = []event{{parent: -1}}
	lanes := append(make([]lane, 0, a.lanes), lane{miss0: -1})
	var found []int64
	next := 0
	for i := range a.new {
		if i%(1<<14) == 0 {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			a.progress(i)
		}
		if a.back {
			for ; next < i; next++ {
				a.insert(a.new[next:], int(a.total)+next)
			}
		}
		best := lanes[cheapest(lanes)]
		if best.run < trouble {
			found = a.sources(&best, i, found[:0])
			for _, shift := range found {
				lanes = a.add(lanes, best, i, shift)
			}
		}
		a.step(lanes, i)
		lanes = prune(lanes)
	}
	a.progress(len(a.new))
	var list []model.Jump
	for e := lanes[cheapest(lanes)].event; e > 0; e = a.events[e].parent {
		v := a.events[e]
		list = append(list, model.Jump{New: int64(v.at), Source: int64(v.at) + v.shift})
	}
	for i, j := 0, len(list)-1; i < j; i, j = i+1, j-1 {
		list[i], list[j] = list[j], list[i]
	}
	return list, nil
}

func cheapest(lanes []lane) int {
	b := 0
	for k := range lanes {
		if lanes[k].cost < lanes[b].cost {
			b = k
		}
	}
	return b
}

// step lets all lanes make new[i].
func (a *aligner) step(lanes []lane, i int) {
	for k := range lanes {
		l := &lanes[k]
		q := int64(i) + l.shift
		c := runClass(l.run)
		if a.readable(q, i) && a.at(q) == a.new[i] {
			l.cost += hitCost[c]
			l.run++
			l.miss0 = -1
			continue
		}
		if a.marks != nil && q >= 0 && q < a.total && a.marks[q] {
			l.cost += operandCost
			continue
		}
		l.cost += missCost[c] + a.literal
		l.run = 0
		if l.miss0 < 0 {
			l.miss0 = q
		}
	}
}

// hopeless is how much more a lane may cost than the best one.
const hopeless = 16 * 60

// prune counts costs from the best lane on and gives up the hopeless ones.
func prune(lanes []lane) []lane {
	least := lanes[cheapest(lanes)].cost
	kept := lanes[:0]
	for _, l := range lanes {
		if l.cost -= least; l.cost < hopeless {
			kept = append(kept, l)
		}
	}
	return kept
}
