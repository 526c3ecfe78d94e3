package main

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/godwit-ota/godwit/delta/model"
)

// A tally is what slots and places have seen. In one pair the first visits of a
// slot count in full, later ones little, for by then it has adapted itself.
type tally struct {
	zeros, ones           []float64
	fixedZeros, fixedOnes []float64
	seen                  []uint8
	prose                 bool // only places count
}

const (
	fullVisits = 12
	restWeight = 0.1
)

// Coded implements model.Watcher.
func (t *tally) Coded(bit int, _ uint32, _ model.Part, slots, fixed []uint32) {
	for _, i := range fixed {
		if bit != 0 {
			t.fixedOnes[i]++
		} else {
			t.fixedZeros[i]++
		}
	}
	if t.prose {
		return
	}
	for _, i := range slots {
		w := 1.0
		if t.seen[i] < fullVisits {
			t.seen[i]++
		} else {
			w = restWeight
		}
		if bit != 0 {
			t.ones[i] += w
		} else {
			t.zeros[i] += w
		}
	}
}

// proseLength is how much of each text is coded as if nothing of it was known.
const proseLength = 12 << 10

// learn goes over the pairs a few times and gives priors.
func learn(ps []pair, tier, rounds int) string {
	code := ps[0].guess.Code
	r := rand.New(rand.NewPCG(1, 2))
	priors := "none"
	var weights []byte
	for range rounds {
		r.Shuffle(len(ps), func(i, j int) { ps[i], ps[j] = ps[j], ps[i] })
		slots, places := model.Slots(tier, code), model.FixedPlaces(tier, code)
		t := &tally{
			zeros: make([]float64, slots), ones: make([]float64, slots), seen: make([]uint8, slots),
			fixedZeros: make([]float64, places), fixedOnes: make([]float64, places),
		}
		var sum []float64
		n := 0.0
		for i := range ps {
			clear(t.seen)
			w := ps[i].walk(tier, priors, t)
			if weights != nil {
				copy(w.Weights(), weights)
			}
			w.EncodeTo(int64(len(ps[i].new)))
			weights = append([]byte{}, w.Weights()...)
			if sum == nil {
				sum = make([]float64, len(weights)/2)
			}
			if i >= len(ps)/3 {
				n++
				for k := range sum {
					sum[k] += float64(int16(binary.LittleEndian.Uint16(weights[2*k:])))
				}
			}
		}
		t.prose = true
		for i := range ps {
			if c := ps[i].class; c != "source" && c != "tree" {
				continue
			}
			text := ps[i].new
			if len(text) > proseLength {
				text = text[len(text)/3:][:min(proseLength, len(text)-len(text)/3)]
			}
			p := pair{new: text}
			w := p.walk(tier, priors, t)
			w.EncodeTo(int64(len(text)))
		}
		for k := range sum {
			sum[k] /= n
		}
		priors = t.priors(sum)
	}
	return priors
}

// priors puts what was seen into the form that package model has.
func (t *tally) priors(weights []float64) string {
	var b []byte
	for i := range t.zeros {
		p := (t.ones[i] + 0.4) / (t.ones[i] + t.zeros[i] + 0.8)
		v := max(1, min(4095, math.Round(p*4096)))
		count := min(10, 0.7*math.Log2(1+t.ones[i]+t.zeros[i]))
		b = binary.LittleEndian.AppendUint16(b, uint16(v)<<4|uint16(count))
	}
	for _, w := range weights {
		b = binary.LittleEndian.AppendUint16(b, uint16(int16(math.Round(w))))
	}
	for i := range t.fixedZeros {
		x := math.Log((t.fixedOnes[i]+0.4)/(t.fixedZeros[i]+0.4)) * 16
		b = append(b, byte(int8(max(-127, min(127, math.Round(x))))))
	}
	return string(b)
}

// writeTables writes the tables of stretch and squash.
func writeTables(folder string) error {
	if folder == "" {
		return nil
	}
	var b []byte
	for i := range 4096 {
		p := (float64(i) + 0.5) / 4096
		v := max(-2047, min(2047, math.Round(math.Log(p/(1-p))*256)))
		b = binary.LittleEndian.AppendUint16(b, uint16(int16(v)))
	}
	for i := range 4096 {
		p := 65536 / (1 + math.Exp(-float64(i-2048)/256))
		b = binary.LittleEndian.AppendUint16(b, uint16(max(16, min(65520, math.Round(p)))))
	}
	return os.WriteFile(filepath.Join(folder, "tables.bin"), b, 0o644)
}
