package webhook

import "time"

// Decide is what the sender hands to [Store.Settle] for each case.
func (s *Sender) Decide(now time.Time, c *Case) []SenderEvent { return s.decide(now, c) }

// Lost says whether a claimed delivery is given up without an attempt.
func (s *Sender) Lost(c *Claimed) (Attempt, bool) { return s.lost(c) }

// Woken reports whether a Run would look for deliveries now, and forgets it.
func (s *Sender) Woken() bool {
	select {
	case <-s.wake:
		return true
	default:
		return false
	}
}
