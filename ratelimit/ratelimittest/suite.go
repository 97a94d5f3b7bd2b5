// Package ratelimittest proves that a [ratelimit.Store] keeps its contract.
//
//	func TestConformance(t *testing.T) {
//		ratelimittest.Run(t, func(t *testing.T) ratelimit.Store { return open(t) })
//	}
//
// Each subtest is one sentence of the contract. The last ones compare every
// answer of the store with a model in rational numbers, over random sequences
// of everything a [ratelimit.Limiter] can ask, at times that jump back and
// forth; a failure names its seed and step.
//
// # What the author of a store does
//
// Run the suite twice: with the store as its users get it, and with one whose
// time is the test's, which implements [Clock]. Without that method the subtests
// about time are skipped. Where a server decides at its own time, give the store
// an option to pass the time along with each request. The server must then not
// forget by its own clock what still counts by the test's: state whose Period is
// a few microseconds has to be there seconds later while the time stands still.
//
// A store over several machines that cannot decide about several keys in one
// step says so by [Divided]. All subtests apply to it but one word of them: of
// callers at once who name several keys fewer may pass than one step would let
// pass. What was refused must still be given back in full.
//
// A store in front of another that refuses by itself what the other would says
// so by [Remembering]. Of what it refuses every RetryAfter must be exact, but
// Remaining and ResetAfter may be those of the refusal that it remembers.
package ratelimittest

import (
	"context"
	"testing"
	"time"

	"github.com/keytoll/keytoll/ratelimit"
)

// A Clock is a store whose time stands still unless it is advanced.
type Clock interface {
	// Advance moves the time by d; a negative d moves it back.
	Advance(d time.Duration)
}

// A Divided store may be unable to decide about several keys in one step.
type Divided interface {
	// Divided reports whether it is.
	Divided() bool
}

func divided(s ratelimit.Store) bool {
	d, ok := s.(Divided)
	return ok && d.Divided()
}

// A Remembering store may refuse from what it remembers of an earlier refusal.
type Remembering interface {
	// Remembering reports whether it may.
	Remembering() bool
}

func remembering(s ratelimit.Store) bool {
	r, ok := s.(Remembering)
	return ok && r.Remembering()
}

// Run runs the suite. The function open returns an empty store, each time it is
// called; what it opens it cleans up itself. Subtests run in parallel.
func Run(t *testing.T, open func(t *testing.T) ratelimit.Store) {
	t.Helper()
	for _, c := range checks() {
		t.Run(c.sentence, func(t *testing.T) {
			t.Parallel()
			s := open(t)
			if _, ok := s.(Clock); c.moves && !ok {
				t.Skip("the store has no method Advance: its promises about time are not proven")
			}
			if err := c.run(t.Context(), s); err != nil {
				t.Error(err)
			}
		})
	}
}

// A check proves one sentence on an empty store.
type check struct {
	sentence string
	moves    bool // needs a Clock
	run      func(ctx context.Context, s ratelimit.Store) error
}

func checks() []check {
	return []check{
		{"a combination never seen has its whole quota free", false, wholeQuota},
		{"a take that passes takes every cost", false, takesEvery},
		{"a refused take changes nothing", false, refusedChangesNothing},
		{"a refused take says of each limit what a peek says", false, refusedPeeks},
		{"cells and logs are taken all or none", false, mixed},
		{"a peek changes nothing and answers as a take would", false, peekOnly},
		{"a cost of 0 passes and spends nothing", false, costZero},
		{"a cost above the quota can never pass", false, costAboveQuota},
		{"keys are any bytes", false, anyKeys},
		{"limits of different names and algorithms are apart", false, namesApart},
		{"each take has an ID of its own and spending nothing has none", false, freshIDs},
		{"what is filled in does not depend on what the request held", false, staleRequest},
		{"a request has up to the most ops", false, mostOps},
		{"bounds of count and period do not overflow", false, atBounds},
		{"a changed count or burst keeps what was used", false, keepsUsed},
		{"a context that is done is an error and changes nothing", false, doneContext},
		{"callers at once get exactly the quota", false, exactAtOnce},
		{"several subjects at once are taken all or none", false, allOrNoneAtOnce},
		{"subjects in any order never wait for each other for ever", false, anyOrder},

		{"a take up to a cost takes the greatest that passes", false, takesUpTo},
		{"a take up to a cost takes the same of every op", false, takesUpToOfSeveral},
		{"takes up to a cost at once get exactly the quota", false, takesUpToAtOnce},
		{"a shadow limit denies nothing", false, shadowNeverDenies},
		{"a shadow limit takes what passes it when the request passes", false, shadowTakesWhatPasses},
		{"what only shadow limits refused has no ID and is not settled", false, shadowSpendsNothing},
		{"a charge takes every cost whether it passes or not", false, charges},

		{"a refund frees what was taken", false, refundFrees},
		{"a refund acts once for each ID", false, refundOnce},
		{"refunds at once of one ID act once", false, refundOnceAtOnce},
		{"a refund never frees more than the quota", false, refundClamped},
		{"a refund after a reset changes nothing", false, refundAfterReset},
		{"a settlement brings what was taken to what it came to", false, settles},
		{"a settlement charges more than passes", false, settlesBeyond},
		{"a settlement or a refund acts once for each ID", false, settlesOnce},
		{"settlements and refunds at once of one ID act once", false, settlesOnceAtOnce},
		{"a release ends the leases of its ID and no other", false, releases},
		{"a release remembers no ID", false, releaseAndRefund},
		{"leases at once are never more than the quota", false, leasesAtOnce},
		{"a reset forgets one combination and no other", false, resetForgets},

		{"a retry passes after RetryAfter and not before", true, leastWait},
		{"the whole quota is free after ResetAfter and not before", true, resetAfter},
		{"a bucket refills at exactly its rate", true, exactRate},
		{"a window ends where the Unix epoch's do", true, windowTurns},
		{"a calendar's window starts when its first date does", true, calendarTurns},
		{"an entry of a log counts for its Period to the microsecond", true, logTrails},
		{"a clock that goes back mints nothing", true, clockBack},
		{"a peek or a refusal at another time leaves nothing", true, peekLeavesNoTime},
		{"a changed period keeps what was used until it has come back", true, keepsUsedInTime},
		{"a refund gives back nothing that time gave back", true, refundLate},
		{"an ID is remembered as long as its refund could act", true, refundRemembered},
		{"a debt is paid back before anything passes", true, debtIsPaid},
		{"what work came to is charged also when its take is over", true, settledLate},
		{"a settlement is remembered until what it charged has come back", true, settlementRemembered},
		{"a lease that lapsed is over", true, leaseLapses},
		{"a renewed lease counts for one Period from then", true, renewedLease},
		{"leases are renewed all or none", true, renewsAllOrNone},
		{"a changed Period of leases concerns those taken or renewed later", true, leasePeriod},
		{"every decision is the one that rational numbers give", true, agrees(unchanged, 1500)},
		{"and so it is when counts and bursts change", true, agrees(recounted, 1500)},
		{"and when periods, spans and zones change", true, agrees(changing, 1500)},
		{"and at the ends of all ranges", true, agrees(extreme, 1500)},
	}
}

// Bench measures the store: one key and many, one limit to eight, alone and in
// parallel.
func Bench(b *testing.B, open func(b *testing.B) ratelimit.Store) {
	b.Helper()
	for _, keys := range []int{1, 10_000} {
		for _, limits := range []int{1, 2, 4, 8} {
			b.Run(benchName(keys, limits), func(b *testing.B) {
				l := must(ratelimit.NewLimiter(open(b), manyLimits(limits), nil))
				names := benchKeys(keys)
				b.Run("serial", func(b *testing.B) {
					b.ReportAllocs()
					next := keyOrder(1, keys)
					for b.Loop() {
						if _, err := l.Take(b.Context(), names[next()], 1); err != nil {
							b.Fatal(err)
						}
					}
				})
				b.Run("parallel", func(b *testing.B) {
					b.ReportAllocs()
					b.RunParallel(func(pb *testing.PB) {
						next := keyOrder(2, keys)
						for pb.Next() {
							if _, err := l.Take(b.Context(), names[next()], 1); err != nil {
								b.Error(err)
								return
							}
						}
					})
				})
			})
		}
	}
}
