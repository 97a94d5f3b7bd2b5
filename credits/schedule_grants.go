package credits

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// grants is what a schedule has granted that was removed: its lots stay, so that
// another one of its ID does not grant the same again.
type grants struct {
	upTo LotID     // of the account's lots so many were looked at
	last time.Time // when the last period began that was granted; zero: none
}

// errUnseen is the outcome of an update that makes a schedule in an account with
// lots that were not looked at.
var errUnseen error = &errors.Error{Code: errors.Conflict, Op: "credits.SetSchedule", Msg: "the account has new lots; set the schedule again"}

// see looks at the lots that are new since it did so before. There may be many,
// but a schedule is seldom made.
func (l *Ledger) see(ctx context.Context, account AccountID, id ScheduleID, g *grants) error {
	const page = 1000
	for whole := false; !whole; {
		next := *g
		need := Need{Account: account, List: List{Rows: LotRows, Lot: g.upTo, Limit: page}}
		err := l.view(ctx, need, func(st *State, _ time.Time) error {
			next = *g
			var lots []*Lot // the first of these are the first of the listing
			for i := range st.Lots {
				if lot := &st.Lots[i].Lot; lot.ID > g.upTo {
					lots = append(lots, lot)
				}
			}
			slices.SortFunc(lots, func(a, b *Lot) int { return cmp.Compare(a.ID, b.ID) })
			if whole = len(lots) < page; whole {
				next.upTo = st.Account.LastLot
			} else {
				lots = lots[:page]
				next.upTo = lots[page-1].ID
			}
			for _, lot := range lots {
				if lot.Schedule == id && lot.EffectiveAt.After(next.last) {
					next.last = lot.EffectiveAt
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		*g = next
	}
	return nil
}
