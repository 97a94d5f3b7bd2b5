package credits

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"strings"
	"time"
)

// An Explanation says what one command did, and why with these lots: for whoever
// has to answer where a credit went.
type Explanation struct {
	Op      Op           // its record as it is now. Of what a schedule did, "@schedule#n", only Account, ID, Kind, At, Amount and Parts
	Denied  *DeniedError // of a debit that was refused: why
	Lots    []LotUse     // what it took from, in that order, or put into
	Next    []Lot        // of a command that took: what comes after the last lot in the burn order, the first three
	Related []Op         // the captures of a hold, the spends of a lease, the refunds and the resolutions of either, by instant
	Entries []Entry      // its own entries in the journal, those of its time-out and of its end included
	More    bool         // there are more of Related than the 1000 given here, or more to read for Entries than the 10 000 that were
}

// A LotUse is what a command did with one lot. Totals of the Lot are of now.
type LotUse struct {
	Lot  Lot
	Part Part
	Why  BurnReason // why it burned before the next one of Lots, or of Next
}

// A BurnReason is the first part of a [Rank] in which two lots differ: why one of
// them burns before the other.
type BurnReason uint8

const (
	BurnNoReason   BurnReason = 0 // there is no other lot; or the later one was taken later, beyond the hold
	BurnPriority   BurnReason = 1 // its priority is lower
	BurnRestricted BurnReason = 2 // it is restricted, the other is not
	BurnExpiry     BurnReason = 3 // it expires earlier
	BurnCategory   BurnReason = 4 // Promo before Plan before Paid
	BurnEffective  BurnReason = 5 // it took effect earlier
	BurnAge        BurnReason = 6 // it was made earlier
)

var burnReasons = [...]string{"none", "priority", "restricted", "expiry", "category", "effective", "age"}

// String returns the stable name of r.
func (r BurnReason) String() string {
	if int(r) < len(burnReasons) {
		return burnReasons[r]
	}
	return "burn_reason(?)"
}

// burnsBefore returns why l burns before m; BurnNoReason when it does not.
func (l *Lot) burnsBefore(m *Lot) BurnReason {
	a, b := l.Rank(), m.Rank()
	ends := [...]int{2, 3, 11, 12, 20, 28} // of the parts of a Rank
	for i, from := 0, 0; i < len(ends); from, i = ends[i], i+1 {
		if c := bytes.Compare(a[from:ends[i]], b[from:ends[i]]); c != 0 {
			if c > 0 {
				return BurnNoReason
			}
			return BurnReason(i + 1)
		}
	}
	return BurnNoReason
}

const (
	maxExplainNext    = 3
	maxExplainRelated = 1000
	maxExplainEntries = 10_000
)

// Explain says what one command did: with which lots, and why those, which entries
// it wrote, what was refunded or captured of it since, and which budgets it was
// charged to. The id is that of a command, or "@schedule#n" for period n of a
// schedule. It returns [ErrNotFound] when there is no record of it, and
// [ErrKeyTooOld] when that may have been pruned. It reads all lots of the account,
// so it is for people and not for each request.
func (l *Ledger) Explain(ctx context.Context, account AccountID, id OpID) (*Explanation, error) {
	const op = "credits.Explain"
	if err := checkRow(op, account, id); err != nil {
		return nil, err
	}
	x := &Explanation{Op: Op{Account: account, ID: id}}
	for _, step := range [...]func(context.Context, *Ledger) error{x.readOp, x.readLots, x.readEntries} {
		if err := step(ctx, l); err != nil {
			return nil, atBoundary(op, err)
		}
	}
	return x, nil
}

// readOp reads the record, and those that refer to it.
func (x *Explanation) readOp(ctx context.Context, l *Ledger) error {
	account, id := x.Op.Account, x.Op.ID
	if strings.HasPrefix(string(id), reservedPrefix) {
		return nil
	}
	need := Need{Account: account, Ops: []OpID{id}, List: List{Rows: TargetRows, Target: id, Limit: maxExplainRelated + 1}}
	return l.view(ctx, need, func(st *State, now time.Time) error {
		if st.op(id) == nil {
			return st.absent(id, "operation")
		}
		if _, err := st.advance(now); err != nil {
			return err
		}
		x.Op, x.Related, x.More, x.Denied = st.op(id).Op, nil, false, nil
		if x.Op.Denied != SourceNone {
			x.Denied = x.Op.denial()
		}
		for i := range st.Ops {
			if o := &st.Ops[i].Op; o.Target == id {
				x.Related = append(x.Related, *o)
			}
		}
		slices.SortFunc(x.Related, func(a, b Op) int { return cmp.Or(a.At.Compare(b.At), compareIDs(a.ID, b.ID)) })
		if len(x.Related) > maxExplainRelated {
			x.Related, x.More = x.Related[:maxExplainRelated], true
		}
		return nil
	})
}

// readLots goes through all lots, for those of the op, and those that come after
// them.
func (x *Explanation) readLots(ctx context.Context, l *Ledger) error {
	all := make(map[LotID]Lot)
	for q := (ListQuery{Account: x.Op.Account, Limit: maxLimit}); ; {
		page, err := l.Lots(ctx, q)
		if err != nil {
			return err
		}
		for _, lot := range page.Lots {
			if x.mayConcern(&lot) {
				all[lot.ID] = lot
			}
		}
		if q.Cursor = page.Next; q.Cursor == "" {
			break
		}
	}
	if strings.HasPrefix(string(x.Op.ID), reservedPrefix) {
		x.ofSchedule(all)
		if len(x.Lots) == 0 {
			return refuse(ErrNotFound, "no grant "+quote(string(x.Op.ID)))
		}
		return nil
	}
	for p := range x.Op.Parts.All() {
		x.Lots = append(x.Lots, LotUse{Lot: all[p.Lot], Part: p})
	}
	if !x.takes() || len(x.Lots) == 0 {
		return nil
	}
	last := x.lastOf()
	for _, lot := range all {
		if lot.ID != 0 && last.burnsBefore(&lot) != BurnNoReason {
			x.Next = append(x.Next, lot)
		}
	}
	slices.SortFunc(x.Next, func(a, b Lot) int {
		ra, rb := a.Rank(), b.Rank()
		return bytes.Compare(ra[:], rb[:])
	})
	x.Next = slices.Clip(x.Next[:min(len(x.Next), maxExplainNext)])
	x.giveReasons()
	return nil
}

// takes reports whether the op took from lots in the burn order.
func (x *Explanation) takes() bool {
	return x.Op.Kind == KindHold || x.Op.Kind == KindLease || x.Op.Kind == KindDebit && x.Op.Target == ""
}

// mayConcern reports whether a lot can be one of the op, or one that it could have
// taken from when it was made.
func (x *Explanation) mayConcern(lot *Lot) bool {
	if lot.Op == x.Op.ID {
		return true
	}
	for p := range x.Op.Parts.All() {
		if p.Lot == lot.ID {
			return true
		}
	}
	return x.takes() && !lot.EffectiveAt.After(x.Op.At) && !lot.expired(x.Op.At) && lot.Only.Has(x.Op.Operation)
}

// lastOf returns the last lot, in the burn order, that the op took from.
func (x *Explanation) lastOf() *Lot {
	last := &x.Lots[0].Lot
	for i := range x.Lots {
		if lot := &x.Lots[i].Lot; lot.ID != 0 && last.burnsBefore(lot) != BurnNoReason {
			last = lot
		}
	}
	return last
}

func (x *Explanation) giveReasons() {
	for i := range x.Lots {
		switch lot := &x.Lots[i]; {
		case lot.Lot.ID == 0:
		case i+1 < len(x.Lots):
			if next := &x.Lots[i+1].Lot; next.ID != 0 {
				lot.Why = lot.Lot.burnsBefore(next)
			}
		case len(x.Next) > 0:
			lot.Why = lot.Lot.burnsBefore(&x.Next[0])
		}
	}
}

// ofSchedule says what is known of a period of a schedule, which has no record.
func (x *Explanation) ofSchedule(all map[LotID]Lot) {
	for _, lot := range all {
		x.Lots = append(x.Lots, LotUse{Lot: lot})
	}
	slices.SortFunc(x.Lots, func(a, b LotUse) int { return cmp.Compare(a.Lot.ID, b.Lot.ID) })
	for i := range x.Lots {
		x.Op.Kind, x.Op.At = KindGrant, x.Lots[i].Lot.EffectiveAt
	}
}

// readEntries reads the op's entries where they are: at the instants at which
// something happened to it, and of a lease from then on.
func (x *Explanation) readEntries(ctx context.Context, l *Ledger) error {
	o := &x.Op
	if o.Kind == KindLease {
		end := o.SettledAt
		if end.IsZero() {
			end = latest()
		}
		return x.readSpan(ctx, l, o.At, end)
	}
	at := []time.Time{o.At}
	if o.Kind == KindHold {
		at = append(at, o.SettledAt, o.Deadline)
	}
	for i := range x.Lots { // what time did to lots that it made is told under its id
		if lot := &x.Lots[i].Lot; lot.Op == o.ID {
			at = append(at, lot.EffectiveAt, lot.ExpiresAt)
		}
	}
	slices.SortFunc(at, time.Time.Compare)
	for _, t := range slices.CompactFunc(at, time.Time.Equal) {
		if t.IsZero() {
			continue
		}
		if err := x.readSpan(ctx, l, t, t); err != nil {
			return err
		}
	}
	if strings.HasPrefix(string(o.ID), reservedPrefix) {
		if len(x.Entries) == 0 { // of a time that had passed when it was granted
			if err := x.readSpan(ctx, l, o.At, latest()); err != nil {
				return err
			}
		}
		x.amounts()
	}
	return nil
}

// readSpan reads the op's entries of a stretch of time, both ends included.
func (x *Explanation) readSpan(ctx context.Context, l *Ledger, from, to time.Time) error {
	q := Query{Account: x.Op.Account, From: from, To: to.Add(time.Microsecond), Limit: maxLimit}
	for range maxExplainEntries / maxLimit {
		page, err := l.Entries(ctx, q)
		if err != nil {
			return err
		}
		for i := range page.Entries {
			if page.Entries[i].Op == x.Op.ID {
				x.Entries = append(x.Entries, page.Entries[i])
			}
		}
		if q.Cursor = page.Next; q.Cursor == "" {
			return nil
		}
	}
	x.More = true
	return nil
}

// latest is after every instant that a ledger can hold.
func latest() time.Time { return time.Date(9998, 12, 31, 0, 0, 0, 0, time.UTC) }

// amounts fills in, from the entries, what a period of a schedule put into its
// lots.
func (x *Explanation) amounts() {
	var parts []Part
	for i := range x.Lots {
		p := &x.Lots[i].Part
		p.Lot = x.Lots[i].Lot.ID
		for _, e := range x.Entries {
			if e.Lot == p.Lot && e.From == BucketIssued && e.To != BucketDebt {
				p.Amount += e.Amount
				x.Op.At = e.At
			}
		}
		x.Op.Amount += p.Amount
		parts = append(parts, *p)
	}
	x.Op.Parts = NewParts(parts...)
}
