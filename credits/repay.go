package credits

import "time"

// repay lets what is available pay the account's debt, first to burn first. Lots
// that can be spent on some operations only never pay it. It is called after
// every step that may have made something available, so an account has never
// both a debt and something available that can be spent on everything.
func (s *State) repay(now time.Time) {
	if s.Account.Totals.Debt == 0 {
		return
	}
	debt := s.lot(0)
	for _, r := range s.burning() {
		row := &s.Lots[r.at]
		if row.Lot.Only != "" {
			continue
		}
		amount := min(s.Account.Totals.Debt, row.Lot.Totals.Available)
		if amount == 0 || debt == nil {
			continue
		}
		e := Entry{At: now, Kind: KindRepay, Op: row.Lot.Op}
		s.move(row, BucketAvailable, BucketIssued, amount, e)
		s.move(debt, BucketIssued, BucketDebt, amount, e)
		debt.Lot.Priority, debt.Lot.Category, debt.Lot.Only, debt.Lot.ExpiresAt = row.Lot.Priority, row.Lot.Category, row.Lot.Only, row.Lot.ExpiresAt
	}
}
