package patches

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/godwit-ota/godwit/bench/corpus"
)

// total is the sum over some rows.
type total struct {
	pairs    int
	old, new int64
	peers    map[string]int64
	memory   map[string]int64 // of peers, the largest
	godwit   map[string]result
	list     int64
	best     int64 // the best peer of each pair
}

func sum(rows []row) total {
	t := total{peers: map[string]int64{}, memory: map[string]int64{}, godwit: map[string]result{}}
	for _, r := range rows {
		t.pairs++
		t.old += r.oldSize
		t.new += r.newSize
		t.best += r.best()
		for name, p := range r.peers {
			t.peers[name] += p.size
			t.memory[name] = max(t.memory[name], p.rss)
		}
		for tier, g := range r.godwit {
			s := t.godwit[tier]
			s.size += g.size
			s.made += g.made
			s.apply += g.apply
			s.rss = max(s.rss, g.rss)
			t.godwit[tier] = s
		}
		if len(r.godwit) > 0 {
			t.list += r.godwit[slices.Sorted(maps.Keys(r.godwit))[0]].list // the same at all tiers
		}
	}
	return t
}

// smallest is the least total of one peer, the full file aside.
func (t total) smallest() int64 {
	var n int64
	for name, size := range t.peers {
		if name != whole && (n == 0 || size < n) {
			n = size
		}
	}
	return n
}

// inClass gives the rows of a class, or with "" those of all small things:
// images would outweigh the rest.
func inClass(rows []row, class string) []row {
	var some []row
	for _, r := range rows {
		if r.Class == class || class == "" && r.Class != "image" {
			some = append(some, r)
		}
	}
	return some
}

// classes prints totals.
func (b *run) classes(rows []row) {
	tiers := b.tiers()
	var names []string
	for _, p := range b.peers {
		names = append(names, p.name)
	}
	fmt.Fprintf(b.w, "\nBytes of all patches of a class. \"to best\": Godwit's total to that of the best peer; in brackets to what the best peer of each single pair would add up to.\n\n"+
		"| class | pairs | bytes of new |%s%s%s\n|---|--:|--:|%s%s%s\n",
		columns(names, " %s |"), columns(tiers, " **godwit %s** |"), columns(tiers, " %s to best |"),
		columns(names, "--:|"), columns(tiers, "--:|"), columns(tiers, "--:|"))
	list := append(slices.Clone(corpus.Classes), "")
	for _, class := range list {
		some := inClass(rows, class)
		if len(some) == 0 {
			continue
		}
		t := sum(some)
		fmt.Fprintf(b.w, "| %s | %d | %d |", or(class, "**all but images**"), t.pairs, t.new)
		for _, name := range names {
			fmt.Fprintf(b.w, " %d |", t.peers[name])
		}
		for _, tier := range tiers {
			fmt.Fprintf(b.w, " **%d** |", t.godwit[tier].size)
		}
		for _, tier := range tiers {
			g := t.godwit[tier].size
			fmt.Fprintf(b.w, " %s (%s) |", ratio(g, t.smallest()), ratio(g, t.best))
		}
		fmt.Fprintln(b.w)
	}
	if t := sum(rows); t.list > 0 {
		fmt.Fprintf(b.w, "\nOf trees, the manifest that names the files and is signed goes to devices in any case and is not counted: %d bytes in all.\n", t.list)
	}
	b.costs(rows, names, tiers)
}

// costs prints memory and time.
func (b *run) costs(rows []row, names, tiers []string) {
	fmt.Fprintf(b.w, "\nLargest resident set while applying, in MB.\n\n| class |%s%s\n|---|%s%s\n",
		columns(names, " %s |"), columns(tiers, " **godwit %s** |"), columns(names, "--:|"), columns(tiers, "--:|"))
	for _, class := range corpus.Classes {
		if some := inClass(rows, class); len(some) > 0 {
			t := sum(some)
			fmt.Fprintf(b.w, "| %s |", class)
			for _, name := range names {
				fmt.Fprintf(b.w, " %s |", b.resident(t.memory[name]))
			}
			for _, tier := range tiers {
				fmt.Fprintf(b.w, " %s |", b.resident(t.godwit[tier].rss))
			}
			fmt.Fprintln(b.w)
		}
	}
	if len(tiers) == 0 {
		return
	}
	fmt.Fprintf(b.w, "\nThe program with all it has; decoding itself works in the tier's memory, which is what was given to it when time was taken. "+
		"MB of new a second when applying, and seconds that making all patches of the class took.\n\n| class |%s%s\n|---|%s%s\n",
		columns(tiers, " %s MB/s |"), columns(tiers, " %s made |"), columns(tiers, "--:|"), columns(tiers, "--:|"))
	for _, class := range corpus.Classes {
		if some := inClass(rows, class); len(some) > 0 {
			t := sum(some)
			fmt.Fprintf(b.w, "| %s |", class)
			for _, tier := range tiers {
				fmt.Fprintf(b.w, " %.1f |", float64(t.new)/1e6/t.godwit[tier].apply.Seconds())
			}
			for _, tier := range tiers {
				fmt.Fprintf(b.w, " %.1f |", t.godwit[tier].made.Seconds())
			}
			fmt.Fprintln(b.w)
		}
	}
}

// resident words a resident set in MB.
func (b *run) resident(n int64) string {
	if n <= b.floor {
		return fmt.Sprintf("< %.1f", float64(b.floor)/1e6)
	}
	return fmt.Sprintf("%.1f", float64(n)/1e6)
}

// each prints a row for each pair.
func (b *run) each(rows []row) {
	tiers := b.tiers()
	var names []string
	for _, p := range b.peers {
		names = append(names, p.name)
	}
	fmt.Fprintf(b.w, "\n| pair | old | new |%s%s%s\n|---|--:|--:|%s%s%s\n",
		columns(names, " %s |"), columns(tiers, " **godwit %s** |"), columns(tiers, " %s to best |"),
		columns(names, "--:|"), columns(tiers, "--:|"), columns(tiers, "--:|"))
	for _, r := range rows {
		fmt.Fprintf(b.w, "| %s/%s | %d | %d |", r.Class, r.Name, r.oldSize, r.newSize)
		for _, name := range names {
			fmt.Fprintf(b.w, " %d |", r.peers[name].size)
		}
		for _, tier := range tiers {
			fmt.Fprintf(b.w, " %d |", r.godwit[tier].size)
		}
		for _, tier := range tiers {
			fmt.Fprintf(b.w, " %s |", ratio(r.godwit[tier].size, r.best()))
		}
		fmt.Fprintln(b.w)
	}
}

// tiers are those that have columns.
func (b *run) tiers() []string {
	if b.Godwit == "" {
		return nil
	}
	return b.Tiers
}

func columns(names []string, format string) string {
	var s strings.Builder
	for _, n := range names {
		if !strings.Contains(format, "%") {
			s.WriteString(format)
		} else {
			fmt.Fprintf(&s, format, n)
		}
	}
	return s.String()
}

func ratio(a, b int64) string {
	if b == 0 {
		return "–"
	}
	return fmt.Sprintf("%.3f", float64(a)/float64(b))
}

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

func middle(all []time.Duration) time.Duration {
	all = slices.Sorted(slices.Values(all))
	return all[len(all)/2]
}

// list writes pairs as pairs.txt has them.
func list(w io.Writer, pairs []corpus.Have) {
	for _, h := range pairs {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", h.Set, h.Class, h.Name, h.OldPath, h.NewPath)
	}
}
