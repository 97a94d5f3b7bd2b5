package credits

import "time"

// A ScheduleID is the caller's name for a schedule, unique within its account.
type ScheduleID string

// A Unit is what the periods of a schedule are counted in.
type Unit uint8

const (
	Hours  Unit = 1
	Days   Unit = 2
	Weeks  Unit = 3
	Months Unit = 4
	Years  Unit = 5
)

// A CatchUp says what a schedule does about periods that it has missed. A period
// was missed when the next one has begun before any command changed the account,
// or when both began before the schedule was set. Only CatchUpAll makes no
// difference between an account that is used all the time and one that is not.
type CatchUp uint8

const (
	CatchUpAll    CatchUp = 0 // grants each, at its own instant; the default
	CatchUpLatest CatchUp = 1 // of all that have begun grants the latest alone
	CatchUpNone   CatchUp = 2 // grants none of those that have begun: the next one to come is the first
)

// A Schedule grants credits again and again, without anybody's doing: what is
// due is granted with the next command, at the instant it was due, and counts in
// every balance until then. Period n begins n times Every after Anchor, counted
// from Anchor itself: in months and years on Anchor's day, or on the last of
// a month that has no such day; at Anchor's time of day in Zone, or, where the
// zone skips that, at the first instant after. Where it skips a whole day, two
// periods begin at once, and one of them is granted.
//
// The grant of period 3 of the schedule "plan" is the lot, and stands in the
// journal, under the id "@plan#3". A grant that would take the account over
// [MaxAmount] is cut to what can be issued, and to nothing when that is nothing.
//
// What is left of a grant when its period ends goes on to the next one up to
// Rollover, in a new lot that ends with that one, and does not go on again; so no
// more than Rollover was ever carried into a period. What is held does not go on:
// it can be captured, and expires when it comes back. Nothing goes on when there
// is no next period.
type Schedule struct {
	Account  AccountID
	ID       ScheduleID // up to 233 bytes
	Amount   Amount     // of each grant; more than 0
	Unit     Unit
	Every    int           // how many units a period lasts: 1 or more, up to ten years
	Anchor   time.Time     // the beginning of period 0
	Zone     string        // IANA name; empty: UTC
	Until    time.Time     // no period that begins at this instant or later; zero: for ever
	CatchUp  CatchUp       // zero: CatchUpAll
	Lifetime time.Duration // of each grant, up to ten years; zero: until the next period begins; NoTimeout: it never expires
	Rollover Amount        // how much goes on to the next period; zero: nothing. With Lifetime zero only
	Priority int           // as in Grant
	Category Category      // as in Grant
	Only     Operations    // as in Grant

	// What the ledger keeps.
	Next   int64     // the first period that was not granted yet
	NextAt time.Time // when that begins; zero: there is none
}

// Due returns the instant at which s grants next. Zero: never. Stores keep it as
// a column.
func (s *Schedule) Due() time.Time { return s.NextAt }
