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

// A CatchUp says what a schedule does about periods that passed before anybody
// looked, or before it was set.
type CatchUp uint8

const (
	CatchUpAll    CatchUp = 0 // grants each, at its own instant; the default
	CatchUpLatest CatchUp = 1 // grants the latest alone
	CatchUpNone   CatchUp = 2 // grants none: the next one is the first to come
)

// A Schedule grants credits again and again, without anybody's doing: what is
// due is granted with the next command, at the instant it was due, and counts in
// every balance until then. Period n begins n times Every after Anchor, counted
// from Anchor itself: in months and years on Anchor's day, or on the last of
// a month that has no such day; at Anchor's time of day in Zone, or, where the
// zone skips that, at the first instant after.
type Schedule struct {
	Account  AccountID
	ID       ScheduleID
	Amount   Amount // of each grant; more than 0
	Unit     Unit
	Every    int       // how many units a period lasts; 1 or more
	Anchor   time.Time // the beginning of period 0
	Zone     string    // IANA name; empty: UTC
	Until    time.Time // no period that begins at this instant or later; zero: for ever
	CatchUp  CatchUp
	Lifetime time.Duration // of each grant; zero: until the next period begins; NoTimeout: it never expires
	Rollover Amount        // of what is left when a grant ends with its period, how much goes on to the next; Lifetime zero only
	Priority int
	Category Category
	Only     Operations

	// What the ledger keeps.
	Next   int64     // the first period that was not granted yet
	NextAt time.Time // when that begins; zero: there is none
}

// Due returns the instant at which s grants next. Zero: never. Stores keep it as
// a column.
func (s *Schedule) Due() time.Time { return s.NextAt }
