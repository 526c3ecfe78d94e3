package git

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/godwit-ota/godwit"
)

// goOn decides whether an exchange that broke goes on at once, after a pause: if
// what broke is the connection, and the exchange came further before that. It is
// for links that break again and again: each new run costs a poll, and the pause
// between runs grows with each that fails.
func (s *Source) goOn(ctx context.Context, cut error, further bool) bool {
	code := godwit.CodeOf(cut)
	if !further || ctx.Err() != nil || s.cfg.Remote.Attempts == 1 || code != godwit.CodeNetwork && code != godwit.CodeTimeout {
		return false
	}
	pause := s.cfg.Remote.Backoff
	if pause <= 0 {
		pause = time.Second
	}
	s.cfg.Events.Say(godwit.StageFetch, godwit.Debug, "going on after: "+cut.Error())
	select {
	case <-ctx.Done():
		return false
	case <-time.After(pause/2 + rand.N(pause)):
		return true
	}
}
