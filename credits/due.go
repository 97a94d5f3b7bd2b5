package credits

import (
	"context"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// dueLimit is how many rows of each kind that are due an update is given at once,
// and three times that many events what it posts. So no command makes a store
// write without bound, however long nobody came by. No [Need] of an update may
// have a Limit that is less and not 0.
const dueLimit = 1000

// errMore is what a command returns that was not decided, because more was due
// than one update may post. What was posted is to be written all the same.
var errMore error = &errors.Error{Code: errors.Unavailable, Op: "credits.Ledger", Msg: "more is due than one update may post; the command is to be sent again"}

// update calls fn with exclusive access to one account, again while fn returns
// errMore: so it may be called many times, and is decided when all that was due
// has been posted.
func (l *Ledger) update(ctx context.Context, need Need, fn func(st *State, now time.Time) error) error {
	need.Limit = dueLimit
	needs := []Need{need}
	for {
		again := false
		err := l.store.Update(ctx, needs, func(now time.Time, states []*State) error {
			states[0].limit, states[0].zones = dueLimit, l.opt.zones
			err := fn(states[0], micros(now))
			if again = errors.Is(err, errMore); again {
				return nil
			}
			return err
		})
		if !l.opt.zones.again(err) && (err != nil || !again) {
			return err
		}
	}
}
