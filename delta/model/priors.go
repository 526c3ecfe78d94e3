package model

import _ "embed"

// What ordinary pairs of contents look like, of texts and of programs: the slots,
// the weights and the fixed probabilities that coding begins with. delta/train
// writes the files. The largest tier begins with the slots of the middle one, each
// spread over several.
var (
	//go:embed text-6k.bin
	text6k string
	//go:embed text-64k.bin
	text64k string
	//go:embed code-6k.bin
	code6k string
	//go:embed code-64k.bin
	code64k string
)

// FixedPlaces is how many fixed probabilities a tier, 1 or 2, has.
func FixedPlaces(tier int, code bool) int {
	l := layoutOf(tier, code)
	return l.literalPlaces + l.hitPlaces
}

// PriorSize is how long the file of a tier, 1 or 2, is: slots, weights, fixed
// probabilities, in the form that the memory has them in.
func PriorSize(tier int, code bool) int {
	l := layoutOf(tier, code)
	return 2*l.slots() + 2*l.weights() + FixedPlaces(tier, code)
}

// PriorFile is the name of the file of priors of a tier, 1 or 2.
func PriorFile(tier int, code bool) string {
	name := "text"
	if code {
		name = "code"
	}
	if tier == 1 {
		return name + "-6k.bin"
	}
	return name + "-64k.bin"
}

// learned sets w to what is known from the start.
func (w *Walk) learned() {
	priors := text64k
	switch {
	case w.Tier == 1 && w.Code:
		priors = code6k
	case w.Tier == 1:
		priors = text6k
	case w.Code:
		priors = code64k
	}
	w.Learned(priors)
}

// Learned sets w to priors, of the size that PriorSize says; to knowing nothing
// where they are of another.
func (w *Walk) Learned(priors string) {
	t := min(w.Tier, 2)
	from := layoutOf(t, w.Code)
	w.places, w.hitPlaces = uint32(from.literalPlaces), uint32(from.hitPlaces)
	if len(priors) != PriorSize(t, w.Code) {
		w.fixed = string(make([]byte, FixedPlaces(t, w.Code)))
		for i := 0; i < len(w.slots); i += 2 {
			w.slots[i], w.slots[i+1] = fresh&255, fresh>>8
		}
		for i := 0; i < len(w.weights); i += 2 {
			const third = one * 3 / 10
			w.weights[i], w.weights[i+1] = third&255, third>>8
		}
		return
	}
	l := layoutOf(w.Tier, w.Code)
	spread := func(to []byte, slots string) {
		n, m := uint64(len(to)/2), uint64(len(slots)/2)
		for i := range n {
			j := 2 * (i * m / n)
			to[2*i], to[2*i+1] = slots[j], slots[j+1]
		}
	}
	spread(w.slots[:2*l.shared], priors[:2*from.shared])
	spread(w.slots[2*l.shared:2*l.pool], priors[2*from.shared:2*from.pool])
	copy(w.slots[2*l.pool:], priors[2*from.pool:])
	priors = priors[2*from.slots():]
	copy(w.weights, priors)
	w.fixed = priors[2*from.weights():]
}

// Slots is how many slots a tier has.
func Slots(tier int, code bool) int { return layoutOf(tier, code).slots() }

// Weights is the part of the memory that has the weights.
func (w *Walk) Weights() []byte { return w.weights }
