package diff

import (
	"encoding/binary"
	"math"
	"slices"
	"sync"

	"github.com/godwit-ota/godwit/delta/model"
)

// A polisher makes a way better by trial: at each jump the model codes a short
// stretch of the new content with the jump, without it and with others in its
// place, and the cheapest stays. What the aligner weighs are guesses of costs; these
// are true, but for what a change does to all that comes behind the stretch.
type polisher struct {
	s      *search
	way    []model.Jump
	w      *model.Walk // coded up to where the way is settled
	done   int         // jumps up to there
	left   *int64      // how many more bytes may be coded
	trials [2]trial
	places seeds // where strings of four bytes are in the source
	next   int   // up to where the new content is among them
}

// A trial is what one goroutine codes stretches with.
type trial struct {
	w      model.Walk
	memory []byte
	meter  costMeter
	costs  []float64 // after each look
}

// A costMeter adds up what bits cost, and notes where literals were coded.
type costMeter struct {
	sum      float64
	literals bool
}

// bitCost is what a bit costs by its probability in 4096ths.
var bitCost = sync.OnceValue(func() *[4096]float64 {
	var t [4096]float64
	for p := range t {
		t[p] = -math.Log2((float64(p) + 0.5) / 4096)
	}
	return &t
})

// Coded implements model.Watcher.
func (m *costMeter) Coded(bit int, p uint32, part model.Part, _, _ []uint32) {
	if bit == 0 {
		p = 1<<16 - p
	}
	m.sum += bitCost()[min(p>>4, 4095)]
	m.literals = m.literals || part == model.Literals
}

// A change takes the place of so many jumps.
type change struct {
	drop int
	put  []model.Jump
}

const (
	// A change is looked at for so many bytes, or until behind so many jumps.
	followBytes, followJumps = 128, 3
	// gain is what a change has to save, in bits.
	gain = 0.25
	// shiftBack and shiftOn are how far jumps are moved.
	shiftBack, shiftOn = 3, 4
	// candidates are how many other sources are tried at a place.
	candidates = 6
	// changes are how many are made at one jump.
	changes = 4
	// Each so many bytes it is looked whether a change is hopeless: more than so
	// many bits behind.
	look, behind = 8, 40
	// copying is how many bytes are coded in the time that copying a walk takes.
	copying = 64
)

// polish gives a way that costs less than way, or as much. It codes *left bytes at
// most, and says how many are left.
func (s *search) polish(way []model.Jump, guess Guess, left *int64) []model.Jump {
	h := s.header
	h.Code, h.Recipe, h.ReadBack = guess.Code, guess.Recipe, s.back
	p := &polisher{
		s: s, way: slices.Clone(way), left: left,
		w: coding(h, s.old, s.new), places: makeSeeds(len(s.old)+len(s.new), 22),
	}
	for i := range p.trials {
		p.trials[i].memory = make([]byte, model.Memory(int(h.Tier)))
	}
	for i := range s.old {
		p.insert(s.old[i:], i)
	}
	p.w.Encode(s.new, nil, nil)
	for k := 0; k <= len(p.way) && !p.late(); k++ {
		if !guess.Code {
			p.leave(k)
		}
		for range changes {
			if k == len(p.way) || !p.settle(k, p.way[k].New) || !p.change(k, p.others(k)) {
				break
			}
		}
	}
	return p.way
}

func (p *polisher) late() bool { return *p.left <= 0 || p.s.late() }

// spend takes note of so many bytes that are coded.
func (p *polisher) spend(n int64) {
	*p.left -= n
	p.s.worked(n)
}

// leave tries to leave the way where literals are, before the k-th jump, and ends
// with the first jump that this gives.
func (p *polisher) leave(k int) {
	for at := p.end(k - 1); !p.late(); at++ {
		if at = p.literal(k, at); at >= p.end(k) || p.change(k, p.detours(k, at)) {
			return
		}
	}
}

// literal is where, from at on and before the k-th jump, a run of literals begins;
// else where that jump is.
func (p *polisher) literal(k int, at int64) int64 {
	t := &p.trials[0]
	p.w.Copy(&t.w, t.memory)
	t.w.Follow(p.way[p.done:k])
	t.w.Watch(&t.meter)
	before := false
	end := p.end(k)
	from := t.w.At()
	for q := from; q < end; q++ {
		t.meter.literals = false
		t.w.EncodeTo(q + 1)
		if t.meter.literals && !before && q >= at {
			p.spend(q - from)
			return q
		}
		before = t.meter.literals
	}
	p.spend(end - from)
	return end
}

// end is where the k-th jump is, or the end of the new content.
func (p *polisher) end(k int) int64 {
	switch {
	case k < 0:
		return 0
	case k < len(p.way):
		return p.way[k].New
	}
	return int64(len(p.s.new))
}

// settle codes up to shortly before n, which is where the k-th jump is or before
// that, by the jumps before. It cannot where another jump is at the same place.
func (p *polisher) settle(k int, n int64) bool {
	from := max(n-shiftBack, p.w.At())
	if k > 0 {
		from = max(from, p.way[k-1].New+1)
	}
	if from > n {
		return false
	}
	p.w.Follow(p.way[p.done:k])
	p.w.EncodeTo(from)
	p.done = k
	return true
}

// change makes the best of some changes at the k-th jump, if it saves something.
func (p *polisher) change(k int, list []change) bool {
	rest := p.way[k:]
	total, limit := int64(len(p.s.old)), int64(len(p.s.new))
	end := p.w.At() + shiftBack + followBytes
	if len(rest) > 0 {
		end = max(end, rest[min(followJumps, len(rest)-1)].New+32)
	}
	end = min(end, limit)
	p.spend(int64(1+len(list)) * (end - p.w.At() + copying))
	least := p.trials[0].cost(p, rest, end, math.Inf(1), nil) - gain
	base := slices.Clone(p.trials[0].costs)
	best := -1
	var mu sync.Mutex
	next := 0
	work := func(t *trial) {
		for {
			mu.Lock()
			i, most := next, least
			next++
			mu.Unlock()
			if i >= len(list) {
				return
			}
			c := list[i]
			ok := c.drop <= len(rest)
			for _, j := range c.put {
				ok = ok && j.Source >= 0 && j.Source < total+j.New && (j.Source < total || p.s.back)
			}
			if !ok {
				continue
			}
			cost := t.cost(p, slices.Concat(c.put, rest[c.drop:]), end, most, base)
			mu.Lock()
			if cost < least || cost == least && i < best {
				best, least = i, cost
			}
			mu.Unlock()
		}
	}
	var wait sync.WaitGroup
	wait.Go(func() { work(&p.trials[1]) })
	work(&p.trials[0])
	wait.Wait()
	if best < 0 {
		return false
	}
	p.way = slices.Concat(p.way[:k], list[best].put, rest[list[best].drop:])
	return true
}

// others are changes of the k-th jump: without it, moved, to other sources, and
// the same without the one behind it.
func (p *polisher) others(k int) []change {
	j := p.way[k]
	limit := p.end(k + 1)
	list := []change{{drop: 1}, {drop: 2}}
	back := p.w.At() - j.New
	for d := back; d <= shiftOn; d++ {
		if d != 0 && j.New+d < limit {
			list = append(list, change{1, []model.Jump{{New: j.New + d, Source: j.Source + d}}})
		}
	}
	for d := back; d <= 2; d++ {
		at := j.New + d
		if at >= limit {
			break
		}
		for _, q := range p.sources(k, int(at), j.Source+d) {
			to := []model.Jump{{New: at, Source: q}}
			list = append(list, change{1, to}, change{2, to})
		}
	}
	return list
}

// detours are changes that leave the way at a place before the k-th jump, for
// good or for as long as the content is the same.
func (p *polisher) detours(k int, at int64) (list []change) {
	if !p.settle(k, at) {
		return nil
	}
	limit := p.end(k)
	for d := int64(0); d <= 1; d++ {
		n := at + d
		if n >= limit {
			break
		}
		for _, q := range p.sources(k, int(n), n+p.shift(k-1)) {
			to := model.Jump{New: n, Source: q}
			list = append(list, change{0, []model.Jump{to}}, change{1, []model.Jump{to}})
			if back := n + int64(matchLength(p.from(int(q)), p.s.new[n:limit])); back < limit {
				list = append(list,
					change{0, []model.Jump{to, {New: back, Source: back + p.shift(k-1)}}},
					change{0, []model.Jump{to, {New: back, Source: at + p.shift(k-1)}}})
			}
		}
	}
	return list
}

// shift is how far the source is from the new content behind the k-th jump.
func (p *polisher) shift(k int) int64 {
	if k < 0 {
		return 0
	}
	return p.way[k].Source - p.way[k].New
}

// cost is what it costs to code up to end by jumps, or more than most. Where base
// is what the way as it is had cost after each look, jumps that fall far behind are
// given up.
func (t *trial) cost(p *polisher, jumps []model.Jump, end int64, most float64, base []float64) float64 {
	p.w.Copy(&t.w, t.memory)
	t.w.Follow(jumps)
	t.w.Watch(&t.meter)
	t.meter.sum = 0
	t.costs = t.costs[:0]
	for at := t.w.At(); at < end; {
		at = min(end, at+look)
		t.w.EncodeTo(at)
		if t.meter.sum > most || len(t.costs) < len(base) && t.meter.sum > base[len(t.costs)]+behind {
			return math.Inf(1)
		}
		t.costs = append(t.costs, t.meter.sum)
	}
	return t.meter.sum
}

// insert takes in the string at a source.
func (p *polisher) insert(b []byte, at int) {
	if len(b) >= 4 {
		p.places.put(uint64(binary.LittleEndian.Uint32(b))*golden, at)
	}
}

// sources are places that are like the new content from at on, the most promising
// ones, where the k-th jump is; not that of the jump itself.
func (p *polisher) sources(k, at int, not int64) []int64 {
	total := len(p.s.old)
	if p.s.back {
		for ; p.next < at; p.next++ {
			p.insert(p.s.new[p.next:], total+p.next)
		}
	}
	want := p.s.new[at:]
	if len(want) < 4 {
		return nil
	}
	near := []int64{int64(at) + p.shift(k-1)}
	for i := k - 1; i >= 0 && i >= k-4; i-- {
		near = append(near, p.way[i].New+p.shift(i-1))
	}
	type place struct {
		source int64
		cost   int
	}
	var found []place
	const longest = 96
	for q, n := p.places.first(uint64(binary.LittleEndian.Uint32(want))*golden), 0; q >= 0 && n < longest; q, n = p.places.before(q), n+1 {
		source := int64(q)
		if source == not || q >= total+at {
			continue
		}
		length := matchLength(p.from(q), want)
		if length < 4 {
			continue
		}
		cost := int(numberCost(int64(total+at) - source))
		for _, b := range near {
			cost = min(cost, int(numberCost(source-b)))
		}
		found = append(found, place{source, cost - 48*min(length, 24)})
	}
	slices.SortFunc(found, func(a, b place) int { return a.cost - b.cost })
	var list []int64
	for _, f := range found[:min(len(found), candidates)] {
		list = append(list, f.source)
	}
	return list
}

// from is the content from a source on.
func (p *polisher) from(q int) []byte {
	if q < len(p.s.old) {
		return p.s.old[q:]
	}
	return p.s.new[q-len(p.s.old):]
}
