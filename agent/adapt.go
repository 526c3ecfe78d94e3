package agent

import (
	"strconv"
	"time"

	"github.com/godwit-ota/godwit/plan"
)

// A Tuning is how a source is asked.
type Tuning struct {
	Chunk   int           // bytes of a transfer that are held at once; 0 is the source's own choice
	Retries int           // tries of a request
	Backoff time.Duration // pause before the second one
}

// A Signal is how well the radio is heard.
type Signal struct {
	Known bool
	DBm   int
	Where string // the interface
}

// Bounds of a chunk, in bytes.
const (
	leastChunk = 256
	mostChunk  = 4096
)

// Below these strengths, in dBm, a Wi-Fi link is weak, and very weak.
const (
	weak     = -70
	veryWeak = -75
)

// adapt fits a tuning to the free memory, in bytes, and the signal, and says what
// it changed: a chunk is at most a quarter of the memory, and 256 to 4096 bytes; on a weak
// link a request is tried six times or more, on a very weak one eight times or more with pauses of
// five seconds or more.
func adapt(t Tuning, free int64, s Signal) (Tuning, []string) {
	var said []string
	if t.Chunk > 0 && free > 0 {
		chunk := max(leastChunk, min(int64(t.Chunk), free/4, mostChunk))
		if chunk != int64(t.Chunk) {
			said = append(said, "chunks of "+plan.Bytes(chunk)+": "+plan.Bytes(free)+" of memory are free")
			t.Chunk = int(chunk)
		}
	}
	retries, pause := t.Retries, t.Backoff
	switch {
	case !s.Known || s.DBm >= weak:
		return t, said
	case s.DBm >= veryWeak:
		retries = max(retries, 6)
	default:
		retries, pause = max(retries, 8), max(pause, 5*time.Second)
	}
	if retries != t.Retries || pause != t.Backoff {
		said = append(said, strconv.Itoa(retries)+" tries, "+pause.String()+" apart: "+s.Where+" hears "+strconv.Itoa(s.DBm)+" dBm")
	}
	t.Retries, t.Backoff = retries, pause
	return t, said
}
