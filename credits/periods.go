package credits

import (
	"strconv"
	"time"

	"github.com/keytoll/keytoll/internal/calendar"
)

// lastYear is the last that an instant of the ledger can be in.
const lastYear = 9998

// periods are the periods of one schedule.
type periods struct {
	series calendar.Series
	until  time.Time
}

func (s *Schedule) periods(z *zones) (periods, error) {
	zone, err := z.of(s.Zone)
	if err != nil {
		return periods{}, err
	}
	return periods{calendar.Series{Anchor: s.Anchor, Unit: calendar.Unit(s.Unit), Every: int64(s.Every), Zone: zone}, s.Until}, nil
}

// next returns the first period from n on that begins after t. Where a zone skips
// a day, two periods begin at one instant, and count as one. False: the ledger's
// time ends before.
func (p periods) next(n int64, t time.Time) (int64, time.Time, bool) {
	for {
		begin, ok := p.series.At(n)
		switch {
		case !ok || begin.Year() > lastYear:
			return n, time.Time{}, false
		case begin.After(t):
			return n, begin, true
		}
		n++
	}
}

// last returns the last period that has begun by t and that the schedule grants,
// or -1.
func (p periods) last(t time.Time) int64 {
	if !p.until.IsZero() && !t.Before(p.until) {
		t = p.until.Add(-time.Microsecond)
	}
	return p.series.After(t) - 1
}

// goOn makes the first period from n on that begins after t the next one that s
// grants, unless that has no end within the ledger's time or is not before Until.
func (s *Schedule) goOn(p periods, n int64, t time.Time) {
	s.NextAt = time.Time{}
	m, begin, ok := p.next(n, t)
	if s.Next = m; !ok || !p.until.IsZero() && !begin.Before(p.until) {
		return
	}
	if _, _, ok := p.next(m+1, begin); ok {
		s.NextAt = begin
	}
}

// op names the grant of period n.
func (s *Schedule) op(n int64) OpID {
	return OpID(reservedPrefix + string(s.ID) + "#" + strconv.FormatInt(n, 10))
}
