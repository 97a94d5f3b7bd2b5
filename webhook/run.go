package webhook

import (
	"context"
	"crypto/rand"
	"sync"
	"time"

	"github.com/keytoll/keytoll/errors"
)

const (
	claimGroup  = 256                    // most deliveries that one Claim asks for
	settleGroup = 256                    // most attempts that one Settle ends
	storeWithin = 10 * time.Second       // for one call of the store
	shortest    = 5 * time.Millisecond   // between two claims of which the first had room left
	soonest     = 100 * time.Millisecond // before the store is asked again after a failure, doubling up to Poll
)

// Run delivers until ctx is over. Then it claims nothing more, lets the attempts
// that run finish for up to [SenderOptions.Drain], gives back what is not finished by
// then, and returns nil. Any number of processes may run senders on one store;
// one Sender runs once at a time, and the second call returns an error.
//
// A store that fails stops nothing: Run tells the observer, waits and tries
// again, until ctx is over. What a process that dies has claimed is delivered by
// another when its lease ends, perhaps a second time: receivers tell by the id.
func (s *Sender) Run(ctx context.Context) error {
	if s.store == nil {
		return &errors.Error{Code: errors.Conflict, Op: "webhook.Sender.Run", Msg: "a zero Sender delivers nothing; make one with NewSender"}
	}
	if !s.running.CompareAndSwap(false, true) {
		return &errors.Error{Code: errors.Conflict, Op: "webhook.Sender.Run", Msg: "this sender is running already; one is enough"}
	}
	defer s.running.Store(false)
	working, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	r := &run{
		Sender:  s,
		working: working,
		slots:   make(chan struct{}, s.concurrency),
		ended:   make(chan ended, s.concurrency),
	}
	var settling sync.WaitGroup
	settling.Go(r.settleAll)
	r.claimAll(ctx)
	drain := time.AfterFunc(s.drain, cancel) //nolint:forbidigo // stopped when Run returns
	defer drain.Stop()
	r.attempts.Wait()
	close(r.ended)
	settling.Wait()
	return nil
}

// A run is one call of [Sender.Run]. The caller's goroutine claims, each claimed
// delivery has a goroutine that makes its attempt, and one more goroutine stores
// what came of them, as many at once as have come.
type run struct {
	*Sender

	working  context.Context // until the drain is over
	slots    chan struct{}   // one for each attempt until it is settled
	ended    chan ended      // has room for all slots: nobody waits to send
	attempts sync.WaitGroup
}

// An ended attempt waits to be settled until its lease is over.
type ended struct {
	Settlement

	until time.Time
}

// claimAll claims until ctx is over, whenever there is room for an attempt and
// something may be due.
func (r *run) claimAll(ctx context.Context) {
	after, failures, most := "", 0, claimGroup
	for ctx.Err() == nil {
		room := r.reserve(ctx, most)
		if room == 0 {
			return
		}
		claims, err := r.claim(ctx, after, room)
		r.free(room - len(claims.Deliveries))
		if err != nil {
			if ctx.Err() == nil {
				r.trouble(ctx, err)
			}
			r.sleep(ctx, r.retreat(failures), nil)
			failures++
			most = max(1, most/2) // so many large payloads may be more than comes within the time
			continue
		}
		after, failures, most = claims.Last, 0, min(claimGroup, most+1)
		if len(claims.Deliveries) == room {
			continue // there may be more
		}
		wait := r.poll - time.Duration(r.random()%uint64(r.poll/4))
		if !claims.Next.IsZero() {
			wait = min(wait, max(0, claims.Next.Sub(claims.Now)))
		}
		r.sleep(ctx, max(wait, shortest), r.wake)
	}
}

// claim claims up to room deliveries and begins their attempts.
func (r *run) claim(ctx context.Context, after string, room int) (Claims, error) {
	// From before the claim on, so that the attempt is over before the lease is.
	lease, cancel := context.WithTimeout(r.working, r.lease-leaseMargin)
	// The end of ctx does not cut it short: what was claimed and not heard of would
	// have to wait for its lease.
	asking, stop := context.WithTimeout(context.WithoutCancel(ctx), storeWithin)
	defer stop()
	claims, err := r.store.Claim(asking, Claim{Token: rand.Text(), Limit: room, Lease: r.lease, After: after})
	if err != nil {
		cancel()
		return Claims{}, err
	}
	over, _ := lease.Deadline()
	var batch sync.WaitGroup
	for i := range claims.Deliveries {
		batch.Go(func() { r.ended <- ended{r.attempt(lease, &claims.Deliveries[i]), over.Add(leaseMargin)} })
	}
	r.attempts.Go(func() {
		batch.Wait()
		cancel()
	})
	return claims, nil
}

// attempt makes one attempt, and returns the end of the claim.
func (r *run) attempt(ctx context.Context, d *Claimed) Settlement {
	s := Settlement{Endpoint: d.Delivery.Endpoint, Message: d.Delivery.Message, Token: d.Delivery.Token, URL: d.Endpoint.Settings.URL}
	if a, lost := r.lost(d); lost {
		s.Attempt = a
		return s
	}
	unsent := func(f Failure, detail string) Settlement {
		s.Attempt = Attempt{
			Endpoint: s.Endpoint, Message: s.Message, Number: d.Delivery.Tries, At: r.now().UTC().Truncate(time.Microsecond),
			Failure: f, Detail: detail,
		}
		return s
	}
	if d.Message.Account != d.Endpoint.Account {
		// A publisher's transaction was open for as long as it took to delete the endpoint,
		// to prune it, and to make another of its ID.
		return unsent(FailedConfig, "the endpoint is not one of the account that published the message; nothing was sent")
	}
	secrets, err := r.sealer.open(d.Endpoint.ID, d.Endpoint.Sealed)
	if err != nil {
		// Nobody but the host can mend it; the schedule goes on until it has.
		r.trouble(ctx, err)
		return unsent(FailedKeys, "the keys of the endpoint cannot be opened; nothing was sent")
	}
	if s.Attempt, err = r.courier.attempt(ctx, *d, secrets.Keys, secrets.ClientKey); err != nil {
		r.trouble(ctx, err)
	}
	return s
}

// settleAll stores what came of attempts until there are no more of them.
func (r *run) settleAll() {
	var group []ended
	names := make(map[[2]string]bool)
	settle := func() {
		r.settle(group)
		r.free(len(group))
		r.Wake() // what waited behind them may have room now
		group = group[:0]
		clear(names)
	}
	for e := range r.ended {
		for more := true; more; {
			// A delivery comes twice when its lease was over early by the store's clock.
			name := [2]string{e.Endpoint, e.Message}
			if names[name] || len(group) == settleGroup {
				settle()
			}
			names[name] = true
			group = append(group, e)
			select {
			case e, more = <-r.ended:
			default:
				more = false
			}
		}
		settle()
	}
}

// settle stores what came of some attempts. It tries until it succeeds or their
// leases are over: then others have made them again.
func (r *run) settle(group []ended) {
	settlements := make([]Settlement, len(group))
	until := group[0].until
	for i := range group {
		settlements[i] = group[i].Settlement
		until = later(until, group[i].until)
	}
	lease, cancel := context.WithDeadline(r.working, until)
	defer cancel()
	ctx := context.WithoutCancel(r.working)
	for failures := 0; ; failures++ {
		events, err := r.settleOnce(ctx, settlements)
		if err == nil {
			r.tell(ctx, events...)
			return
		}
		r.trouble(ctx, err)
		if lease.Err() != nil {
			return // this was the last try
		}
		r.sleep(lease, r.retreat(failures), nil)
	}
}

// settleOnce decides and stores, and returns what to tell of it.
func (r *run) settleOnce(ctx context.Context, settlements []Settlement) (events []SenderEvent, err error) {
	ctx, cancel := context.WithTimeout(ctx, storeWithin)
	defer cancel()
	err = r.store.Settle(ctx, settlements, func(now time.Time, cases []Case) error {
		events = events[:0] // the store may call again
		for i := range cases {
			events = append(events, r.decide(now, &cases[i])...)
		}
		return nil
	})
	return events, err
}

// reserve waits for the room of at least one attempt, and takes what there is, up
// to most. It returns 0 when ctx is over first.
func (r *run) reserve(ctx context.Context, most int) int {
	select {
	case r.slots <- struct{}{}:
	case <-ctx.Done():
		return 0
	}
	for n := 1; n < most; n++ {
		select {
		case r.slots <- struct{}{}:
		default:
			return n
		}
	}
	return most
}

// free gives n slots back.
func (r *run) free(n int) {
	for range n {
		<-r.slots
	}
}

// sleep waits for d, for ctx, or for something on wake.
func (r *run) sleep(ctx context.Context, d time.Duration, wake <-chan struct{}) {
	timer := time.NewTimer(d) //nolint:forbidigo // stopped when the sleep is over
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-wake:
	case <-ctx.Done():
	}
}

// retreat is how long to leave the store alone after so many failures in a row.
func (r *run) retreat(failures int) time.Duration {
	most := max(r.poll, soonest)
	wait := most
	if failures < 16 {
		wait = min(most, soonest<<failures)
	}
	return wait/2 + time.Duration(r.random()%uint64(wait/2))
}

// trouble tells of a failure that no receiver has a part in.
func (r *run) trouble(ctx context.Context, err error) {
	r.tell(ctx, SenderEvent{Kind: SenderTrouble, Err: err})
}
