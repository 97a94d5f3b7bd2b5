package credits

// A Lessor is what a lessee needs of a ledger, so that tests can stand between
// the two.
type Lessor = lessor

// LessorOf returns what a lessee of that ledger uses.
func LessorOf(l *Ledger) Lessor { return counter{l} }

// NewLesseeOf returns a lessee of any lessor.
func NewLesseeOf(from Lessor, o *LesseeOptions) (*Lessee, error) {
	terms, _ := (*Options)(nil).settings()
	return newLessee(from, terms, o)
}

// Unsettled returns how many spends and holds the lessee remembers, and of how
// many leases.
func (l *Lessee) Unsettled() (spends int64, leases int) {
	_, leases = l.left()
	return l.unsettled.Load(), leases
}

// Remembered returns how many holds the lessee keeps, open or ended, and how many
// accounts, keys and operations it watches.
func (l *Lessee) Remembered() (holds, watched int) {
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		holds += len(s.holds)
		watched += len(s.purses)
		s.mu.Unlock()
	}
	return holds, watched
}
