package credits_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/credits"
	kerrors "github.com/keytoll/keytoll/errors"
)

// What was changed in the rows, and what the audit says of it. Where a change
// would also break the chain, the chain is made again: each row is found by what
// it is there for, and by nothing else.
var tamperings = []struct {
	name   string
	change func(*rows)
	says   string
}{
	// Every command sums to zero.
	{"an entry between buckets that its kind does not join", func(s *rows) {
		s.entry(credits.KindHold, "h2").To = credits.BucketConsumed
		s.chain()
	}, "moves 0.000007 of lot 2 from available to consumed"},
	{"an entry of nothing", func(s *rows) { s.entry(credits.KindHold, "h2").Amount = 0; s.chain() }, "moves 0 of lot 2"},
	{"an entry of less than nothing", func(s *rows) { s.entry(credits.KindHold, "h2").Amount = -7; s.chain() }, "moves -0.000007 of lot 2"},
	{"an entry of no kind", func(s *rows) { s.entry(credits.KindHold, "h2").Kind = 99; s.chain() }, "kind(99)"},
	{"a refund to a new lot that issues more than it took", func(s *rows) {
		s.entry(credits.KindRefund, "r3").To, s.op("r3").Parts = credits.BucketIssued, credits.NewParts(part(0, 3, 3, 0, 0), part(6, 2, 0, 0, 0))
		s.seal()
	}, "leaves -0.000003 issued out of nothing, or lost"},
	{"a roll that loses what it took", func(s *rows) { s.drop(credits.KindRoll, "@plan#1", 4) }, "leaves -0.000004 issued"},
	{"a roll out of nothing", func(s *rows) { s.drop(credits.KindRoll, "@plan#1", 3) }, "leaves 0.000004 issued"},
	{"a repayment that nobody pays", func(s *rows) { s.drop(credits.KindRepay, "g5", 5) }, "leaves 0.000005 issued"},
	{"a debt of a lot that is not the debt", func(s *rows) { s.entry(credits.KindCapture, "h4").Lot = 1; s.chain() }, "of lot 1 from debt to consumed"},
	{"a hold of the debt", func(s *rows) { s.entry(credits.KindHold, "h2").Lot = 0; s.chain() }, "of lot 0 from available to held"},

	// Each lot is the sum of its parts.
	{"a lot with less than was granted", func(s *rows) { s.lots[1].Totals.Consumed-- }, "lot 1 is not the sum of its parts"},
	{"a lot that says it owes", func(s *rows) { s.lots[2].Totals.Debt++; s.lots[2].Totals.Consumed++ }, "its journal gives"},

	// No component is below zero.
	{"an entry of more than the lot has", func(s *rows) { s.entry(credits.KindHold, "h2").Amount = 1000; s.chain() }, "takes lot 2 below zero"},
	{"a lot below zero that adds up", func(s *rows) {
		s.lots[1].Totals.Available -= 5
		s.lots[1].Totals.Consumed += 5
	}, "lot 1 is not the sum of its parts"},

	// The account is its lots, less what it owes.
	{"an account with more than its lots", func(s *rows) { s.account.Totals.Available++; s.account.Totals.Issued++ }, "its totals are"},
	{"an account that forgets its debt", func(s *rows) { s.account.Totals.Debt--; s.account.Totals.Issued++ }, "its totals are"},
	{"an account that owes while it could pay", func(s *rows) { s.lots[7].Only = "" }, "it owes 0.000001, and lot 7 has 0.000009 that would repay"},
	{"an account with a lot less", func(s *rows) { s.account.LastLot-- }, "it has 8 lots, its row says 6"},
	{"a lot that is gone", func(s *rows) { s.lots = append(s.lots[:3:3], s.lots[4:]...) }, "lot 4 stands where lot 3 should"},
	{"the last lot gone", func(s *rows) { s.lots = s.lots[:7] }, "it has 7 lots, its row says 7, its journal 8"},
	{"the debt gone", func(s *rows) { s.lots = s.lots[1:] }, "its journal 8"},
	{"a lot of another account", func(s *rows) { s.lots[3].Account = "other" }, "lot 3 stands where lot 3 should"},

	// Holds and leases are their pools.
	{"a hold that sets aside less", func(s *rows) { s.op("h2").Parts, s.op("h2").Amount = credits.NewParts(part(2, 6, 0, 0, 0)), 6 }, "lot 2 has, besides what its ops have, 0.000001 held"},
	{"a hold that is gone", func(s *rows) { s.remove("h2") }, "0.000007 held"},
	{"a hold that has ended and still holds", func(s *rows) {
		o := s.op("h2")
		o.Hold, o.SettledAt = credits.HoldReleased, epoch
	}, "is released and still sets aside 0.000007"},
	{"a hold that is open and settled", func(s *rows) { s.op("h2").SettledAt = epoch }, "is open and was settled"},
	{"a hold that says it gave more back", func(s *rows) { s.op("h1").SettledRest++ }, "gave 0.000006 back, its lots say 0.000005"},
	{"a lease that has more", func(s *rows) { s.op("l2").Parts, s.op("l2").Amount = credits.NewParts(part(2, 9, 0, 0, 0)), 9 }, "-0.000001 leased"},
	{"a lapsed lease that is open", func(s *rows) { s.op("l1").Hold = credits.HoldOpen }, "lot 1 has, besides what its ops have, 0 held, -0.000009 leased, 0.000009 in suspense"},
	{"an account with fewer holds", func(s *rows) { s.account.Holds-- }, "it has 1 open holds, its row says 0"},
	{"an account with more leases", func(s *rows) { s.account.Leases++ }, "it has 1 open leases, its row says 2"},
	{"a debit that is gone", func(s *rows) { s.remove("d3") }, "lot 6 has, besides what its ops have, 0 held, 0 leased, 0 in suspense and 0.000002 consumed"},
	{"a debit that is there twice", func(s *rows) { o := *s.op("d3"); o.ID = "again"; s.ops = append(s.ops, o) }, "-0.000002 consumed"},
	{"a refund that the journal does not know", func(s *rows) { s.op("d3").Parts = credits.NewParts(part(6, 2, 2, 0, 1)) }, "0.000001 consumed"},
	{"an op that refunded more than it spent", func(s *rows) { s.op("d3").Parts = credits.NewParts(part(6, 2, 2, 0, 3)) }, "has an impossible part"},
	{"an op whose lots are not its amount", func(s *rows) { s.op("g1").Amount++ }, "of 0.000101 credits has lots for 0.0001"},
	{"a hold that took more than was agreed", func(s *rows) { s.op("h4").Terms = credits.Terms{} }, "of 0 credits has lots for 0.000001"},
	{"a debit that has not spent", func(s *rows) { s.op("d3").Parts = credits.NewParts(part(6, 2, 1, 0, 0)) }, "has not spent all of its 0.000002"},
	{"an op of a lot that is not there", func(s *rows) { s.op("d3").Parts = credits.NewParts(part(9, 2, 2, 0, 0)) }, "is of lot 9, which is not there"},
	{"an op of another account", func(s *rows) { s.op("d3").Account = "other" }, "is another account's"},
	{"a debit that is a hold", func(s *rows) { s.op("d3").Hold = credits.HoldReleased }, "is a debit whose hold is released"},
	{"a hold in suspense", func(s *rows) { s.op("h2").Hold = credits.HoldSuspense }, "is a hold whose hold is suspense"},
	{"a refused debit that has spent", func(s *rows) { s.op("d3").Denied = credits.SourceBalance }, "was refused for its balance, and has 1 parts"},
	{"a lot that pruned ops have spent more of than was spent", func(s *rows) { s.lots[6].Pruned = 3 }, "lot 6 has consumed 0.000002, of that 0.000003 by what was pruned"},
	{"a lot that says that ops were pruned", func(s *rows) { s.lots[6].Pruned = 1 }, "-0.000001 consumed"},

	// Budgets are the ops of their window.
	{"a budget that has spent less", func(s *rows) { s.budgets[0].Used-- }, `budget "month" has, besides what its ops have, -0.000001 spent and 0 set aside`},
	{"a budget that sets more aside", func(s *rows) { s.budgets[0].Held++ }, "0 spent and 0.000001 set aside"},
	{"a budget with another base", func(s *rows) { s.budgets[0].Base-- }, "0.000001 spent"},
	{"a budget of another window", func(s *rows) { s.budgets[0].Start = s.budgets[0].Start.AddDate(0, 1, 0) }, `budget "month" has, besides`},
	{"a budget below zero", func(s *rows) { s.budgets[1].Used-- }, `budget "new" has spent -0.000001`},
	{"a budget that is gone", func(s *rows) { s.budgets = s.budgets[1:] }, "it has 1 budgets, its row says 2"},
	{"a budget of another account", func(s *rows) { s.budgets[0].Account = "other" }, `budget "month" is another account's`},

	// The chain verifies up to the account's head.
	{"an entry's key", func(s *rows) { s.entry(credits.KindHold, "h2").Key = "x" }, "is not what its hash was made of"},
	{"an entry's operation", func(s *rows) { s.entry(credits.KindHold, "h2").Operation = "x" }, "is not what its hash was made of"},
	{"an entry's price", func(s *rows) { s.entry(credits.KindHold, "h2").Price = "x" }, "is not what its hash was made of"},
	{"an entry's op", func(s *rows) { s.entry(credits.KindHold, "h2").Op = "x" }, "is not what its hash was made of"},
	{"an entry's instant", func(s *rows) { e := s.entry(credits.KindHold, "h2"); e.At = e.At.Add(time.Microsecond) }, "is not what its hash was made of"},
	{"texts that move from one field to the next", func(s *rows) { e := s.entry(credits.KindHold, "h2"); e.Key, e.Operation = "ko", "" }, "is not what its hash was made of"},
	{"an entry's hash", func(s *rows) { s.entry(credits.KindHold, "h2").Hash[31] ^= 1 }, "is not what its hash was made of"},
	{"an account's head", func(s *rows) { s.account.Head[0] ^= 1 }, "its last entry has the hash"},
	{"the whole chain made again, without the account", func(s *rows) {
		head := s.account.Head
		s.entry(credits.KindHold, "h2").Key = "x"
		s.chain()
		s.account.Head = head
	}, "its last entry has the hash"},

	// The journal gives the live state.
	{"a lot whose credit is in another bucket", func(s *rows) { s.lots[2].Totals.Held--; s.lots[2].Totals.Available++ }, "lot 2 is"},
	{"an entry that is gone", func(s *rows) { s.entries = append(s.entries[:3:3], s.entries[4:]...) }, "entry 5 stands where entry 4 should"},
	{"the last entry gone", func(s *rows) { s.entries = s.entries[:len(s.entries)-1] }, "entries, its row says"},
	{"an entry of another account", func(s *rows) { s.entries[3].Account = "other"; s.chain() }, "entry 4 stands where entry 4 should"},
	{"an entry before the one before it", func(s *rows) { s.entries[3].At = epoch; s.chain() }, "entry 4 is before entry 3"},
	{"an account before its last entry", func(s *rows) { s.account.At = epoch }, "its last entry is of"},
	{"a schedule of another account", func(s *rows) { s.schedules[0].Account = "other" }, `schedule "plan" is another account's`},
	{"a schedule that grants nothing", func(s *rows) { s.schedules[0].Amount = 0 }, "grants 0 every 1 units"},
}

// drop takes one entry out, and makes the rest agree with each other again.
func (s *rows) drop(kind credits.Kind, op credits.OpID, lot credits.LotID) {
	list := s.entries[:0]
	for _, e := range s.entries {
		if e.Kind != kind || e.Op != op || e.Lot != lot {
			e.Seq = int64(len(list) + 1)
			list = append(list, e)
		}
	}
	s.entries = list
	s.seal()
}

func (s *rows) remove(id credits.OpID) {
	o := s.op(id)
	*o = s.ops[len(s.ops)-1]
	s.ops = s.ops[:len(s.ops)-1]
}

func verifyRows(t *testing.T, s *rows) (credits.Audited, error) {
	t.Helper()
	l, err := credits.NewLedger(s, nil)
	if err != nil {
		t.Fatal(err)
	}
	return l.Verify(t.Context(), nil)
}

func TestVerifySaysWhatWasTamperedWith(t *testing.T) {
	s := everything()
	if sum, err := verifyRows(t, s); err != nil || sum.Entries != int64(len(s.entries)) || sum.Lots != 8 || sum.Ops != int64(len(s.ops)) {
		t.Fatalf("sound rows: %+v, %v", sum, err)
	}
	kinds := make(map[credits.Kind]bool)
	for _, e := range s.entries {
		kinds[e.Kind] = true
	}
	for k := credits.KindGrant; k <= credits.KindRoll; k++ {
		if !kinds[k] && k != credits.KindTimeout && k != credits.KindResolve { // a release, and a return, by others
			t.Errorf("no entry is a %v", k)
		}
	}
	for _, c := range tamperings {
		s := everything()
		c.change(s)
		sum, err := verifyRows(t, s)
		if !errors.Is(err, credits.ErrCorrupt) || kerrors.CodeOf(err) != kerrors.Corrupt || sum.Faults != 1 {
			t.Errorf("%s: %+v, %v", c.name, sum, err)
			continue
		}
		if text := err.Error(); !strings.Contains(text, c.says) || !strings.Contains(text, `account "acme"`) {
			t.Errorf("%s: the audit says\n%s\nand not %q", c.name, text, c.says)
		}
		if strings.Contains(kerrors.MessageOf(err), "account") {
			t.Errorf("%s: a client reads %q", c.name, kerrors.MessageOf(err))
		}
	}
}

// Every pair of buckets that a kind may not join is refused, in lot 0 and in
// others: the table is the one of the Kind constants.
func TestVerifyKnowsWhereEachKindMayMove(t *testing.T) {
	const (
		issued, pending, available, held = credits.BucketIssued, credits.BucketPending, credits.BucketAvailable, credits.BucketHeld
		consumed, expired, leased        = credits.BucketConsumed, credits.BucketExpired, credits.BucketLeased
		suspense, debt                   = credits.BucketSuspense, credits.BucketDebt
	)
	type way [2]credits.Bucket
	lots := map[credits.Kind][]way{
		credits.KindGrant: {{issued, available}, {issued, pending}}, credits.KindEffect: {{pending, available}}, credits.KindHold: {{available, held}},
		credits.KindCapture: {{held, consumed}, {available, consumed}}, credits.KindRelease: {{held, available}, {held, expired}},
		credits.KindTimeout: {{held, available}, {held, expired}}, credits.KindDebit: {{available, consumed}, {leased, consumed}, {suspense, consumed}},
		credits.KindRefund: {{consumed, available}, {consumed, issued}, {issued, available}}, credits.KindExpire: {{available, expired}},
		credits.KindLease: {{available, leased}}, credits.KindReturn: {{leased, available}, {leased, expired}, {suspense, available}, {suspense, expired}},
		credits.KindLapse: {{leased, suspense}}, credits.KindResolve: {{suspense, available}, {suspense, consumed}, {suspense, expired}},
		credits.KindRepay: {{available, issued}}, credits.KindRoll: {{available, issued}, {issued, available}},
	}
	owed := map[credits.Kind][]way{
		credits.KindCapture: {{debt, consumed}}, credits.KindDebit: {{debt, consumed}},
		credits.KindRefund: {{consumed, debt}, {consumed, issued}}, credits.KindRepay: {{issued, debt}},
	}
	for lot, table := range []map[credits.Kind][]way{owed, lots} {
		for kind := range credits.KindRoll + 3 {
			for from := range debt + 2 {
				for to := range debt + 2 {
					may := false
					for _, w := range table[kind] {
						may = may || w == way{from, to}
					}
					s := &rows{account: credits.Account{ID: acme}}
					s.move(kind, "x", credits.LotID(lot), 1, from, to)
					s.chain()
					_, err := verifyRows(t, s)
					if refused := strings.Contains(err.Error(), " moves "); refused == may { // alone in its account, it is never sound
						t.Errorf("%v of lot %d from %v to %v: %v", kind, lot, from, to, err)
					}
				}
			}
		}
	}
}

// An audit of a large account tells how far it is, and ends when it is told to.
func TestVerifyTellsItsProgressAndCanBeCancelled(t *testing.T) {
	s := &rows{account: credits.Account{ID: acme, Version: 1}}
	const n = 20_000
	for range n {
		s.move(credits.KindGrant, "g", 1, 1, credits.BucketIssued, credits.BucketAvailable)
	}
	s.lots = []credits.Lot{{ID: 1}}
	s.seal()
	l, err := credits.NewLedger(s, nil)
	if err != nil {
		t.Fatal(err)
	}
	var told []int64
	sum, err := l.Verify(t.Context(), &credits.VerifyOptions{Progress: func(a credits.Audited) { told = append(told, a.Entries) }})
	if err != nil || sum.Entries != n || len(told) < 4 || told[0] == 0 || told[0] > n/3 || told[len(told)-1] != n {
		t.Errorf("%+v, %v, told %v", sum, err, told)
	}
	ctx, cancel := context.WithCancel(t.Context())
	sum, err = l.Verify(ctx, &credits.VerifyOptions{Progress: func(credits.Audited) { cancel() }})
	if !errors.Is(err, context.Canceled) || errors.Is(err, credits.ErrCorrupt) || sum.Entries == 0 || sum.Entries > n/3 {
		t.Errorf("cancelled: %+v, %v", sum, err)
	}
}

// What was sealed must still be there: a journal that was made again from the
// first entry on, hashes and all, is sound in itself, and found all the same.
func TestVerifyFindsAJournalThatWasRewrittenSinceItWasSealed(t *testing.T) {
	sound := everything()
	l, err := credits.NewLedger(heads{sound}, nil)
	if err != nil {
		t.Fatal(err)
	}
	tree, err := l.Seal(t.Context(), sealer(t, "2026"))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*rows)
		says   string
	}{
		"": {func(*rows) {}, ""},
		"grown": {func(s *rows) {
			s.move(credits.KindGrant, "g8", 8, 1, credits.BucketIssued, credits.BucketPending)
			s.grown()
		}, ""},
		"one key": {func(s *rows) { s.entry(credits.KindHold, "h2").Key = "x" }, "is not the one that was sealed"},
		"the last entry less": {func(s *rows) {
			s.drop(credits.KindGrant, "g7", 7)
			s.lots = s.lots[:7]
			s.account.LastLot--
			s.remove("g7")
		}, "entries, 34 were sealed"},
		"nothing of it is left": {func(s *rows) { *s = rows{account: credits.Account{ID: acme}} }, "it has 0 entries, 34 were sealed"},
		"another account there": {func(s *rows) { *s = rows{account: credits.Account{ID: "zoe", Version: 1}} }, "it has 0 entries, 34 were sealed"},
	} {
		s := everything()
		c.change(s)
		s.chain()
		l, err := credits.NewLedger(s, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.Verify(t.Context(), nil); err != nil {
			t.Errorf("%s: it is not even sound: %v", name, err)
		}
		_, err = l.Verify(t.Context(), &credits.VerifyOptions{Sealed: tree})
		if (err == nil) != (c.says == "") || err != nil && !(errors.Is(err, credits.ErrCorrupt) && strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: the audit says %v", name, err)
		}
	}
}

func (s *rows) grown() {
	s.lots = append(s.lots, credits.Lot{ID: 8})
	s.ops = append(s.ops, credits.Op{ID: "g8", Kind: credits.KindGrant, Amount: 1, Parts: credits.NewParts(part(8, 1, 0, 0, 0))})
	s.seal()
}

// heads shows a seal the account of rows.
type heads struct{ *rows }

func (s heads) View(_ context.Context, needs []credits.Need, fn func(time.Time, []*credits.State) error) error {
	states := make([]*credits.State, len(needs))
	for i := range needs {
		states[i] = &credits.State{Account: s.account}
	}
	return fn(s.account.At, states)
}
