package creditstest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/errors"
)

// A Random makes random commands, of every verb and policy, from a seed: the
// same ones each time for the same instants. Retries, ids that were used for
// something else, settled holds, refusals and late words of leases are common in
// them. It is not safe for concurrent use.
type Random struct {
	rng      *rand.Rand
	accounts []credits.AccountID
	made     map[credits.AccountID]*past
	recent   []Command
	n        int
	untimed  bool
}

// A past is what commands before were about: of each kind the latest ids.
type past struct{ grants, holds, debits, refunds, leases ids }

// ids are the latest ids of one kind, the oldest first.
type ids []credits.OpID

// keptIDs is how many.
const keptIDs = 24

// NewRandom returns the commands of a seed, for the given accounts.
func NewRandom(seed uint64, accounts ...credits.AccountID) *Random {
	g := &Random{rng: rand.New(rand.NewPCG(seed, 1)), accounts: accounts, made: make(map[credits.AccountID]*past)}
	for _, a := range accounts {
		g.made[a] = new(past)
	}
	return g
}

// Untimed leaves out all that depends on the time, so that results differ in
// instants alone however fast the commands follow each other.
func (g *Random) Untimed() *Random {
	g.untimed = true
	return g
}

// Step returns how far to move the clock before the next command: mostly a
// little, at times far, at times back.
func (g *Random) Step() time.Duration {
	d := time.Duration(g.rng.IntN(200)) * time.Millisecond
	switch n := g.rng.IntN(60); {
	case n < 4:
		d = time.Duration(g.rng.IntN(5000)) * time.Millisecond
	case n < 5:
		d = time.Duration(g.rng.IntN(40*24)) * time.Hour
	case n < 10:
		d = -d
	}
	return d
}

// Next returns a command, about once in six times one that it has returned
// before. Now is the time of the store.
func (g *Random) Next(now time.Time) Command {
	if len(g.recent) > 0 && g.rng.IntN(6) == 0 {
		return g.recent[g.rng.IntN(len(g.recent))]
	}
	c := g.fresh(now)
	if len(g.recent) == 64 {
		g.recent = append(g.recent[:0], g.recent[1:]...)
	}
	g.recent = append(g.recent, c)
	return c
}

// id returns an id that is new, mostly, and files it. Some are version 7 UUIDs,
// which can be pruned.
func (g *Random) id(kind string, list *ids, now time.Time) credits.OpID {
	if len(*list) > 0 && g.rng.IntN(20) == 0 {
		return g.pick(*list) // used before, and mostly for something else
	}
	g.n++
	id := credits.OpID(fmt.Sprintf("%s%d", kind, g.n))
	if g.rng.IntN(3) == 0 {
		ms := uint64(now.UnixMilli())
		id = credits.OpID(fmt.Sprintf("%08x-%04x-7%03x-8000-%012x", ms>>16, ms&0xffff, g.n&0xfff, g.n))
	}
	if len(*list) == keptIDs {
		*list = append((*list)[:0], (*list)[1:]...)
	}
	*list = append(*list, id)
	return id
}

// pick returns one of the latest ids, or at times one of nothing.
func (g *Random) pick(list ids) credits.OpID {
	if len(list) == 0 || g.rng.IntN(40) == 0 {
		return "nothing"
	}
	if g.rng.IntN(4) > 0 {
		list = list[max(0, len(list)-4):]
	}
	return list[g.rng.IntN(len(list))]
}

// among returns one of the given values.
func among[T any](g *Random, of ...T) T { return of[g.rng.IntN(len(of))] }

func (g *Random) amount() credits.Amount {
	if g.rng.IntN(400) == 0 {
		return credits.MaxAmount
	}
	return credits.Amount(g.rng.IntN(20))
}

// instant is one that is near, or none.
func (g *Random) instant(now time.Time) time.Time {
	switch n := g.rng.IntN(9); {
	case g.untimed || n < 3:
		return time.Time{}
	case n == 3:
		return now.Add(time.Duration(g.rng.IntN(60*24)) * time.Hour)
	}
	return now.Add(time.Duration(g.rng.IntN(4000)-500) * time.Millisecond)
}

func (g *Random) ttl() time.Duration {
	if g.untimed {
		return credits.NoTimeout
	}
	return among(g, 0, 0, 0, credits.NoTimeout, credits.NoTimeout, time.Minute, time.Second, 300*time.Millisecond, time.Microsecond)
}

// operation and key are of so few that budgets and restricted lots are met.
func (g *Random) operation() string { return among(g, "", "image", "image", "text") }
func (g *Random) key() string       { return among(g, "", "red", "red/app", "red/app/k1", "blue") }

func (g *Random) only() credits.Operations {
	return among(g, "", "", "", credits.Only("image"), credits.Only("image", "text"))
}

func (g *Random) fresh(now time.Time) Command {
	a := among(g, g.accounts...)
	p := g.made[a]
	switch n := g.rng.IntN(100); {
	case n < 14:
		return NewCommand("Grant", a, credits.Grant{
			Account: a, ID: g.id("g", &p.grants, now), Amount: 10 + min(3*g.amount(), credits.MaxAmount-10), Priority: g.rng.IntN(3) - 1, Category: among(g, credits.Paid, credits.Plan, credits.Promo),
			Only: g.only(), EffectiveAt: g.instant(now), ExpiresAt: g.instant(now), Note: among(g, "", "a note"),
		}, (*credits.Ledger).Grant)
	case n < 36:
		h := credits.Hold{
			Account: a, ID: g.id("h", &p.holds, now), Amount: g.amount(), TTL: g.ttl(), Key: g.key(), Operation: g.operation(), Price: among(g, "", "v2"),
			Overrun: among(g, credits.OverrunRefused, credits.OverrunCapped, credits.OverrunDebt), Late: among(g, credits.LateRefused, credits.LateCharged),
		}
		if h.Overrun == credits.OverrunDebt {
			h.DebtLimit = g.amount()
		}
		return NewCommand("Hold", a, h, (*credits.Ledger).Hold)
	case n < 60:
		return g.endHold(a, p, now)
	case n < 76:
		return NewCommand("Debit", a, credits.Debit{
			Account: a, ID: g.id("d", &p.debits, now), Amount: g.amount(), Key: g.key(), Operation: g.operation(), Price: among(g, "", "v1"),
		}, (*credits.Ledger).Debit)
	case n < 84:
		of := p.debits
		if g.rng.IntN(2) == 0 {
			of = p.holds
		}
		r := credits.Refund{Account: a, ID: g.id("r", &p.refunds, now), Of: g.pick(of), Amount: g.amount()}
		if g.rng.IntN(2) == 0 {
			r.Amount, r.All = 0, true
		}
		return NewCommand("Refund", a, r, (*credits.Ledger).Refund)
	}
	switch n := g.rng.IntN(16); {
	case n < 4 && !g.untimed:
		return g.rule(a, now)
	case n == 4:
		return NewCommand("Balance", a, a, (*credits.Ledger).Balance)
	case n == 5 && !g.untimed && g.rng.IntN(4) == 0:
		return prune(a)
	}
	if g.untimed { // whose leases would lapse
		return NewCommand("Release", a, credits.Release{Account: a, Hold: g.pick(p.holds)}, (*credits.Ledger).Release)
	}
	return g.lease(a, p, now)
}

// endHold does something about a hold of before.
func (g *Random) endHold(a credits.AccountID, p *past, now time.Time) Command {
	hold := g.pick(p.holds)
	switch g.rng.IntN(10) {
	case 0, 1, 2, 3:
		return NewCommand("Capture", a, credits.Capture{Account: a, Hold: hold, Amount: g.amount()}, (*credits.Ledger).Capture)
	case 4:
		return NewCommand("Capture", a, credits.Capture{Account: a, Hold: hold, All: true}, (*credits.Ledger).Capture)
	case 5, 6:
		return NewCommand("Capture", a, credits.Capture{
			Account: a, Hold: hold, Amount: g.amount() / 3, Keep: true, ID: g.id("c", &p.refunds, now),
		}, (*credits.Ledger).Capture)
	case 7, 8:
		if !g.untimed {
			return NewCommand("Extend", a, credits.Extend{Account: a, Hold: hold, TTL: among(g, 0, time.Minute, time.Hour)}, (*credits.Ledger).Extend)
		}
	}
	return NewCommand("Release", a, credits.Release{Account: a, Hold: hold}, (*credits.Ledger).Release)
}

// lease does something about a lease: two owners, the second of two epochs.
func (g *Random) lease(a credits.AccountID, p *past, now time.Time) Command {
	owner, epoch := among(g, "one", "two", "two"), int64(1)
	switch n := g.rng.IntN(16); {
	case n < 5 || len(p.leases) == 0:
		least := 1 + g.amount()/4
		return NewCommand("AcquireLease", a, credits.AcquireLease{
			Account: a, ID: g.id("l", &p.leases, now), Owner: owner, Epoch: epoch, Key: g.key(), Operation: g.operation(),
			Min: least, Want: min(least+g.amount(), credits.MaxAmount), Share: among[int64](g, 0, 1, 2), TTL: among(g, 0, time.Second, 300*time.Millisecond),
		}, (*credits.Ledger).AcquireLease)
	case n < 12:
		s := credits.SettleLease{
			Account: a, Lease: g.pick(p.leases), Owner: owner, Epoch: epoch, Return: g.amount() / 4, Close: g.rng.IntN(4) == 0,
			TTL: among(g, 0, 0, time.Second),
		}
		for range g.rng.IntN(4) {
			s.Spends = append(s.Spends, credits.LeaseSpend{ID: g.id("s", &p.debits, now), Amount: g.amount() / 4, Price: among(g, "", "v3")})
		}
		return NewCommand("SettleLease", a, s, (*credits.Ledger).SettleLease)
	case n < 15:
		r := credits.ResolveLease{
			Account: a, ID: g.id("o", &p.refunds, now), Lease: g.pick(p.leases), Amount: 1 + g.amount()/4,
			To: among(g, credits.BucketAvailable, credits.BucketConsumed, credits.BucketExpired), Note: "resolved",
		}
		if g.rng.IntN(2) == 0 {
			r.Amount, r.All = 0, true
		}
		return NewCommand("ResolveLease", a, r, (*credits.Ledger).ResolveLease)
	}
	return Command{Verb: "RecallLeases", Account: a, Args: a, run: recall(a)}
}

func recall(a credits.AccountID) func(context.Context, *credits.Ledger) (any, error) {
	return func(ctx context.Context, l *credits.Ledger) (any, error) { return nil, l.RecallLeases(ctx, a) }
}

// prune drops what is older than an hour.
func prune(a credits.AccountID) Command {
	o := credits.PruneOptions{Accounts: []credits.AccountID{a}, MinAge: time.Hour}
	return Command{Verb: "Prune", Account: a, Args: o, run: func(ctx context.Context, l *credits.Ledger) (any, error) {
		_, err := l.Prune(ctx, &o) // how much it dropped, a retry does not know
		return "pruned", err
	}}
}

// gone is what taking away comes to, the second time as the first.
func gone(err error) (any, error) {
	if errors.Is(err, credits.ErrNotFound) {
		err = nil
	}
	return "gone", err
}

// rule sets or removes a budget or a schedule.
func (g *Random) rule(a credits.AccountID, now time.Time) Command {
	switch n := g.rng.IntN(10); {
	case n == 0:
		id := among[credits.BudgetID](g, "all", "red", "image")
		return Command{Verb: "RemoveBudget", Account: a, Args: id, run: func(ctx context.Context, l *credits.Ledger) (any, error) {
			return gone(l.RemoveBudget(ctx, a, id))
		}}
	case n == 1:
		id := among[credits.ScheduleID](g, "s", "t")
		return Command{Verb: "RemoveSchedule", Account: a, Args: id, run: func(ctx context.Context, l *credits.Ledger) (any, error) {
			return gone(l.RemoveSchedule(ctx, a, id))
		}}
	case n < 6:
		b := credits.Budget{
			Account: a, ID: among[credits.BudgetID](g, "all", "red", "red/app", "image", "blue"), Key: among(g, "", "red", "red/app", "blue"), Operation: among(g, "", "", "image"),
			Amount: 20 + 5*credits.Amount(g.rng.IntN(40)), Every: among(g, credits.Total, credits.Day, credits.Week, credits.Month, credits.Year),
			Zone: among(g, "", "UTC", "America/New_York", "Asia/Kolkata"), Soft: g.rng.IntN(4) == 0, Thresholds: among[credits.Thresholds](g, "", "50,80,100", "10,90"),
			Base: credits.Amount(g.rng.IntN(5)),
		}
		return NewCommand("SetBudget", a, b, (*credits.Ledger).SetBudget)
	}
	sc := credits.Schedule{
		Account: a, ID: among[credits.ScheduleID](g, "s", "t"), Amount: 5 + credits.Amount(g.rng.IntN(40)), Unit: among(g, credits.Days, credits.Weeks, credits.Months, credits.Years),
		Every: 1 + g.rng.IntN(3), Anchor: now.Add(time.Duration(g.rng.IntN(80*24)-60*24) * time.Hour), Zone: among(g, "", "America/New_York", "Asia/Kolkata"),
		CatchUp: among(g, credits.CatchUpAll, credits.CatchUpLatest, credits.CatchUpNone), Lifetime: among(g, 0, 0, credits.NoTimeout, 36*time.Hour),
		Priority: g.rng.IntN(3) - 1, Category: credits.Plan, Only: g.only(),
	}
	if sc.Lifetime == 0 {
		sc.Rollover = credits.Amount(g.rng.IntN(20))
	}
	if g.rng.IntN(4) == 0 {
		sc.Until = now.Add(time.Duration(g.rng.IntN(90*24)) * time.Hour)
	}
	return NewCommand("SetSchedule", a, sc, (*credits.Ledger).SetSchedule)
}
