package webhook

import "time"

// MaxRetryAfter is the longest pause that a receiver can ask for.
const MaxRetryAfter = 24 * time.Hour

// failingAt is the failure of one message, by its schedule, at which its endpoint
// counts as failing.
const failingAt = 4

// decide says what the attempt of c leads to: it changes the delivery and its
// endpoint, and returns what to tell once that is stored. Equal arguments have
// equal outcomes, so it can be called again on rows loaded anew.
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
	o := outcome{Case: c, now: now, before: c.Endpoint.Health, moved: c.Settlement.URL != c.Endpoint.Settings.URL}
	health := &c.Endpoint.Health
	if o.moved {
		health = new(Health) // what another address did says nothing of the one that there is now
	}
	manual := d.Manual
	d.Manual, d.Failure = false, a.Failure
	switch {
	case a.Failure == 0:
		o.end(DeliveryDelivered, MessageDelivered)
		health.succeed(now)
	case a.Failure == FailedLost:
		o.end(DeliveryDead, MessageExhausted) // the endpoint has done nothing
	case a.Control == ControlAbort:
		// Whoever says so is there, and knows what it wants: it is not failing.
		o.end(DeliveryDropped, MessageDropped)
		health.pause(now, a.RetryAfter)
	case a.Failure == FailedKeys:
		s.again(&o, manual) // nor here: the host has
	default:
		health.fail(now)
		health.pause(now, a.RetryAfter)
		s.again(&o, manual)
	}
	if !o.moved {
		o.judge(s.disableAfter)
	}
	return o.events
}

// again decides on a failed attempt, which counts in the health already: whether
// another is made, and when.
func (s *Sender) again(o *outcome, manual bool) {
	a, d := &o.Settlement.Attempt, &o.Delivery
	switch {
	case o.Endpoint.State == EndpointDeleted:
		o.end(DeliveryDropped, MessageDropped)
		return
	case !o.moved && (a.Failure == FailedRefused || a.Failure == FailedConfig):
		o.end(DeliveryDead, MessageExhausted)
		return
	case a.Failure == FailedGone || a.Control == ControlDisable:
		// Held, unless there is another address now. Either is a new beginning.
		d.State, d.Due, d.Attempt = DeliveryPending, o.now, 0
		o.tell(AttemptFailed)
		return
	}
	wait, again := s.retry(s.failed(d, o.Endpoint, a))
	if !again {
		o.end(DeliveryDead, MessageExhausted)
		return
	}
	wait = max(0, min(wait, MaxWait))
	if !o.moved {
		wait = max(wait, min(a.RetryAfter, MaxRetryAfter))
	}
	d.State, d.Due = DeliveryPending, o.now.Add(wait.Truncate(time.Microsecond))
	if manual {
		d.Attempt-- // somebody asked for it: the schedule has as many left as before
	}
	o.tell(AttemptFailed).Until = later(d.Due, o.Endpoint.Health.BlockedUntil)
}

// lost reports whether a delivery was claimed more often than its schedule has
// attempts, because process after process died over it, and returns the attempt
// to settle it with instead of making one.
func (s *Sender) lost(c *Claimed) (Attempt, bool) {
	d := c.Delivery
	if d.Attempt <= 1 {
		return Attempt{}, false
	}
	d.Attempt--
	if _, again := s.retry(s.failed(&d, c.Endpoint, &Attempt{})); again {
		return Attempt{}, false
	}
	return Attempt{
		Endpoint: d.Endpoint, Message: d.Message, Number: d.Tries, At: s.now().UTC().Truncate(time.Microsecond), Failure: FailedLost,
		Detail: "every process that began an attempt ended before it could tell what came of it",
	}, true
}

// failed returns what a [Retry] is asked.
func (s *Sender) failed(d *Delivery, e *Endpoint, a *Attempt) FailedAttempt {
	return FailedAttempt{
		Account: d.Account, Endpoint: d.Endpoint, Type: d.Type, Attempt: d.Attempt,
		Failure: a.Failure, Status: a.Status, RetryAfter: a.RetryAfter,
		Schedule: e.Settings.Schedule, Random: s.luck(d),
	}
}

// luck returns a number that is drawn anew for each attempt, and stays the same
// when the attempt is decided on again: FNV-1a of what names the attempt, and the
// finish of SplitMix64, since the high bits are those that count.
func (s *Sender) luck(d *Delivery) uint64 {
	x := s.seed ^ 0xcbf29ce484222325
	for _, text := range [...]string{d.Endpoint, "/", d.Message} {
		for i := range len(text) {
			x = (x ^ uint64(text[i])) * 0x100000001b3
		}
	}
	x += uint64(d.Tries) * 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// An outcome is a case while it is decided on.
type outcome struct {
	*Case

	now    time.Time
	before Health
	moved  bool // the endpoint has another URL than the attempt had
	events []SenderEvent
}

// tell notes an event about the message.
func (o *outcome) tell(kind SenderEventKind) *SenderEvent {
	d := &o.Delivery
	o.events = append(o.events, SenderEvent{
		Kind: kind, Account: d.Account, Endpoint: d.Endpoint, Message: d.Message, Type: d.Type, Attempt: o.Settlement.Attempt,
	})
	return &o.events[len(o.events)-1]
}

// note notes an event about the endpoint as a whole.
func (o *outcome) note(kind SenderEventKind) *SenderEvent {
	e := o.tell(kind)
	e.Message, e.Type = "", ""
	return e
}

// end brings the delivery to a state that has ended.
func (o *outcome) end(state DeliveryState, kind SenderEventKind) {
	o.Delivery.State, o.Delivery.EndedAt = state, o.now
	o.tell(kind)
}

// judge says what the attempt means for the endpoint as a whole.
func (o *outcome) judge(disableAfter time.Duration) {
	e, a, h := o.Endpoint, &o.Settlement.Attempt, &o.Endpoint.Health
	if o.before.Told && !h.Told {
		o.note(EndpointRecovered)
	}
	if h.Failures > o.before.Failures && o.Delivery.Attempt >= failingAt && !h.Told {
		h.Told = true
		o.note(EndpointIsFailing)
	}
	if h.blocked(o.now) && !o.before.blocked(o.now) {
		o.note(EndpointWasBlocked).Until = h.BlockedUntil
	}
	if e.State != EndpointActive {
		return
	}
	switch {
	case a.Failure == FailedGone:
		e.Reason = DisabledByGone
	case a.Control == ControlDisable:
		e.Reason = DisabledByReceiver
	case disableAfter > 0 && h.FailedAt.Sub(h.FailingSince) >= disableAfter:
		e.Reason = DisabledByFailures
	default:
		return
	}
	e.State, e.UpdatedAt = EndpointDisabled, o.now
	o.note(EndpointWasDisabled).Reason = e.Reason
}
