package credits

import "time"

// admit says why a hold or a debit of amount has no room, or nil.
func (s *State) admit(amount Amount, _, _ string, _ time.Time) error {
	if amount > s.Account.Totals.Available {
		return s.denied(amount)
	}
	return nil
}
