package webhook

import "time"

const (
	// MaxRetryAfter is the longest pause that a receiver can ask for.
	MaxRetryAfter = 24 * time.Hour

	// failingAt is the failure of one message at which its endpoint counts as
	// failing.
	failingAt = 4
)

// decide says what the attempt of c leads to: it changes the delivery and its
// endpoint, and returns what to tell once that is stored. It depends on nothing
// but its arguments, so that it can be called again on rows loaded anew.
func (s *Sender) decide(now time.Time, c *Case) []SenderEvent {
	if c.Late {
		return nil
	}
	a, d := &c.Settlement.Attempt, &c.Delivery
	d.Token, d.Lease = "", time.Time{}
	if a.Number == 0 {
		d.State, d.Due = DeliveryPending, now
		d.Tries--
		d.Attempt--
		return nil
	}
	manual := d.Manual
	d.Manual, d.Failure = false, a.Failure
	t := telling{c: c, before: c.Endpoint.Health}
	switch {
	case a.Failure == 0:
		d.end(DeliveryDelivered, now)
		t.add(MessageDelivered)
		t.succeed(now)
	case a.Failure == FailedLost:
		d.end(DeliveryDead, now)
		t.add(MessageExhausted)
	case a.Control == ControlAbort:
		// The receiver is there and knows what it wants: it is not failing.
		t.pause(now)
		d.end(DeliveryDropped, now)
		t.add(MessageDropped)
	default:
		s.fail(now, &t, manual)
	}
	t.disable(now, a, s.disableAfter)
	return t.events
}
