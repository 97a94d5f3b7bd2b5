// Package ratelimit decides how much a subject may use in which time: several
// limits and several subjects in one atomic, all-or-nothing decision, in exact
// integer arithmetic.
//
//	limits, err := ratelimit.NewLimits(
//		ratelimit.Limit{Name: "second", Count: 10, Period: time.Second},
//		ratelimit.Limit{Name: "day", Algorithm: ratelimit.FixedWindow, Count: 1000, Period: 24 * time.Hour},
//	)
//	store, err := ratelimit.NewMemoryStore(nil)
//	limiter, err := ratelimit.NewLimiter(store, limits, nil)
//
//	res, err := limiter.Take(ctx, "customer 7", 1)
//	if err == nil && !res.Allowed {
//		// refused by res.Limit; this very cost passes after res.RetryAfter, or Never
//	}
//
// # Verbs
//
// Every verb is one atomic step on the store. Its form for several subjects,
// such as a key, its owner and its address, each under limits of its own, takes
// [Charge] values and decides about all of them together: what any limit refuses
// charges nobody, and the state of every store stays as it was, byte for byte.
//
//   - [Limiter.Take], [Limiter.TakeAll]: take the costs when all pass.
//   - [Limiter.TakeUpTo]: takes as much of a cost as passes.
//   - [Limiter.Wait], [Limiter.WaitAll]: take as soon as the costs pass, first
//     come, first served, within bounds.
//   - [Limiter.Peek], [Limiter.PeekAll]: tell what a take would answer. They
//     spend nothing and make no key.
//   - [Limiter.Refund]: gives back what a decision took.
//   - [Limiter.Settle]: brings what a decision took to what the work came to.
//   - [Limiter.Renew], [Limiter.RenewAll]: prolong leases of [Concurrency] limits,
//     by the decision's [ID], which may come from another process.
//   - [Limiter.Release], [Limiter.ReleaseAll]: end such leases.
//   - [Limiter.Reset], [Limiter.ResetAll]: forget what a subject used.
//
// # What each algorithm admits
//
// For a limit of Count per Period, any subject, and costs that were neither
// refunded nor settled to more:
//
//   - [TokenBucket]: in any span of time T at most Burst + Count*T/Period,
//     rounded down. Over one Period that is up to twice the Count when Burst is
//     Count; a smaller Burst bounds it more tightly. It is GCRA without a rounded
//     interval: 700000 a second are exactly that.
//   - [FixedWindow]: at most Count in each window, so up to 2*Count within two
//     instants around a window's end. Windows are aligned to the Unix epoch: a
//     minute, an hour and a day end where UTC's do.
//   - [SlidingWindow]: at most Count in each window, aligned as fixed ones are,
//     and up to 2*Count-1 in some trailing Period: Count at the end of one window,
//     and what its falling weight lets through by the end of the next.
//   - [SlidingLog]: at most Count in any trailing Period, wherever it starts.
//   - [Calendar]: at most Count in each day, week, month or year of its zone, so
//     up to 2*Count around a window's end, as for FixedWindow. A window starts
//     when the zone's clock first shows its first date, or a later one where that
//     date is skipped. So a day may have 23 or 25 hours, and where the clock is
//     put back after midnight, what repeats of the old date is in the new day.
//   - [Concurrency]: at most Count leased at any time. A lease that is neither
//     released nor renewed ends by itself after Period, however its holder died.
//   - [Unlimited]: everything, and it counts nothing.
//   - [DenyAll]: nothing but costs of 0.
//
// Every bound is reached: plan with it, not with the Count alone. Limits that
// change, and refunds of a bucket, may add what their sections below say.
//
// A cost of 0 always passes and spends nothing. A cost above what a limit can
// ever have free is refused with the RetryAfter [Never]. Every other refusal
// names the least wait, in whole microseconds, after which the same cost passes
// if nothing else is taken or given back: one microsecond earlier it is still
// refused.
//
// # Limits that change
//
// State belongs to a subject, a limit's name and its algorithm. Limits are given
// with each decision, so a plan may change between two: what was used stays
// used, up to the new quota, and comes back at the new rate. Changing Period,
// Every or Zone is meant to be rare. The fraction of a unit that a bucket holds
// is then read as of the new Period, which shifts what is used by less than one
// unit; a window's units count in the new window that their latest one falls
// into; what a log or a lease holds keeps the end that it was given. State is
// kept until the limit that last took from it would have everything free.
//
// # Refunds and settlements
//
// [Limiter.Refund] gives back a whole decision, once, however often it is
// asked, and never more than it took. It gives back what is still in use:
// nothing of a window that has passed, and of a bucket's cost only what time has
// not refilled. So a refund lets through no more than if the cost had not been
// taken, with one exception: a bucket holds no more than the sum of what is in
// use. Where its limit changed, or another take was refunded, while a take was
// out, the refund of this one may give back what time has given back already, at
// most its cost.
//
// [Limiter.Settle] brings an estimate to what the work came to, also once. What
// exceeds the estimate is charged even where it does not pass, because the work
// is done. A bucket then owes, and lets nothing pass until time has paid the
// debt back to its quota; it owes at most what [MaxPeriod], 100 years, refills. A
// window counts it until it ends, and weighs it with at most the quota in the
// next. A log counts it as long as the take, or for a Period when the take does
// not count any more. To a lease that has ended nothing is charged. An estimate
// of 0 leaves nothing to settle.
//
// A settlement is remembered until what it gave back would have come back by
// itself, or what it charged has, and for a minute at least; that of a renewed
// lease for a Period.
//
// # Shadow limits
//
// A limit with Shadow set decides as any other and its [State] says what it
// decided, but it denies nobody: what passes it is taken, what it would refuse
// takes nothing from it. So it shows what it would do to real traffic before it
// is allowed to.
//
// # When the store fails
//
// [NewGuardedStore] puts a deadline, a breaker and a [Policy] around a store.
// While the store fails, [Closed] refuses with an error, [Open] lets pass, and
// [Local] decides in this process by Count/Nodes and Burst/Nodes of each limit;
// what the policy decided has Degraded set. A denial, [ErrFull], a wrong
// argument and a caller who gives up are no failures and never meet the policy.
//
// Local starts from what this node used while the store answered, and what it
// lets pass is charged to the store before that decides about the subject again.
// So N nodes admit together, over any outages, at most what the limit admits and
// N times what a share admits, of costs that are not refunded. A decision whose
// outcome is unknown is charged here and left charged there. Reservations and
// leases of either side are settled, renewed and released on the side that has
// them. A store that forgets what it had taken frees it; no policy can know.
//
// # Fleets at memory speed
//
// [NewLeasingStore] takes several units a trip from a store that a fleet shares,
// and spends them in this process: takes that pass need few trips.
// [NewBlockedStore] remembers refusals: takes that are refused need few. Neither
// lets pass what the limits would not. What a node holds is missing to the
// others: each holds at most the units that NewLeasingStore is given.
//
// # Errors
//
// A refusal is a [Result], never an error. An error means that nothing was
// decided, and nothing taken as far as is known: code Invalid for an argument
// that can never be right, [ErrFull] (code Unavailable) when a store has no
// room to track another subject or to remember another refund, the context's
// error, or the store's. Whether to let the request pass then is the caller's
// choice; the zero Result refuses.
//
// # Concurrency
//
// [Limiter], [Limits], [Rule] and every [Store] are safe for concurrent use.
// [Result] and [Reservation] are values of the caller.
//
// # Time
//
// The store's clock decides, read once a decision and, in memory, under the
// locks; [MemoryStore] counts monotonic time. Times are whole microseconds. A
// clock that goes back mints nothing: each state stands still until the clock
// has caught up with the latest time the state has seen.
//
// # Security
//
// Keys are any bytes and never joined with anything, so no key can be made to
// collide with another; the memory store tells them apart by 87 bits of a hash
// with a random seed. Empty keys are refused, because they are how an unknown
// address or a missing header would share one bucket. An attacker who invents
// keys fills a store up to its bound and no further, and pushes nobody's state
// out: hold invented keys to a limit on something that cannot be invented.
//
// # What it does not do
//
// Only Wait waits; nothing shapes traffic by itself. It keeps no statistics,
// writes no headers, and starts no goroutine.
package ratelimit
