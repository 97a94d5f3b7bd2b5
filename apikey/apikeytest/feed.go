package apikeytest

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
)

// patience is how long a feed may take for what it owes. Only a broken one
// needs it.
const patience = 20 * time.Second

// RunFeed proves feeds. At each call newFeed returns two ends of one feed that
// nobody else uses, such as those of two processes; they may be the same value,
// and newFeed cleans them up through t.Cleanup. Ends that are an [apikey.Store]
// too are taken as stores that are their own feed, and must share what they
// keep. Subtests run one after the other.
//
// It cannot break a line or a server: that Listen then returns, that Alive
// stays silent, and that a feed which is Lossless loses nothing, is for the
// feed's own tests.
func RunFeed(t *testing.T, newFeed func(t *testing.T) (a, b apikey.Feed)) {
	t.Helper()
	probe, _ := newFeed(t)
	_, own := probe.(apikey.Store)
	for _, c := range feedChecks() {
		if c.only != nil && *c.only != own {
			continue
		}
		t.Run(c.sentence, func(t *testing.T) {
			a, b := newFeed(t)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			if err := c.run(ctx, a, b); err != nil {
				t.Error(err)
			}
		})
	}
}

// A feedCheck is one sentence of the contract: run returns nil if two ends of a
// feed keep it.
type feedCheck struct {
	sentence string
	only     *bool // unless nil: of feeds that are their store's own, or that are not
	run      func(ctx context.Context, a, b apikey.Feed) error
}

func feedChecks() []feedCheck {
	return []feedCheck{
		{"what is announced is heard by whomever listens, the sender included", nil, heardByAll},
		{"notices are heard in the order of sending", nil, heardInOrder},
		{"a thousand notices go in one call, and owners of 255 bytes", nil, thousandNotices},
		{"handles and owners are heard byte by byte", nil, oddNotices},
		{"a call without notices succeeds", nil, noNotices},
		{"sending does not wait for a listener to hear", nil, slowListener},
		{"listeners at one end each hear all", nil, manyListeners},
		{"everything announced before the instant told by Alive has been heard", nil, neverAhead},
		{"Alive is told again and again while nothing is announced", nil, aliveAgain},
		{"Alive is never told an instant before the one told last", nil, neverBack},
		{"Listen returns the context's error when it is over", nil, endsWithContext},
		{"Listen can be ended from within what it tells", nil, endsFromWithin},
		{"Listen tells nothing after it returned", nil, silentAfterwards},
		{"Listen begins anew after it ended", nil, beginsAnew},
		{"a call whose context is over returns its error and sends nothing", new(false), announceTooLate},
		{"of a store that is its own feed Announce does nothing", new(true), announceOfOwn},
		{"a refused change sends nothing", new(true), refusedIsSilent},
		{"who hears of a change can read it from the store", new(true), heardCanBeRead},
		{"notices of concurrent changes are heard in the order of the changes", new(true), orderOfChanges},
	}
}

// send announces notices, or has the feed that is a store send them.
func send(ctx context.Context, f apikey.Feed, notices ...apikey.Notice) error {
	if s, own := f.(apikey.Store); own {
		return s.Apply(ctx, apikey.Change{Notices: notices})
	}
	return f.Announce(ctx, notices)
}

// notice returns the n-th notice, like no other: of a key or of an owner.
func notice(n int) apikey.Notice {
	if n%2 == 0 {
		return apikey.Notice{Handle: fmt.Sprintf("handle%d", n)}
	}
	return apikey.Notice{Owner: fmt.Sprintf("acct_%d", n)}
}

// ears returns an ear at each feed, on one clock.
func ears(ctx context.Context, w *watch, feeds ...apikey.Feed) ([]*ear, error) {
	var all []*ear
	for _, f := range feeds {
		e, err := listen(ctx, f, w, nil)
		if err != nil {
			return nil, err
		}
		all = append(all, e)
	}
	return all, nil
}

// told returns nil once every ear heard exactly these, and ends them.
func told(ctx context.Context, ears []*ear, want ...apikey.Notice) error {
	var faults []error
	for i, e := range ears {
		if err := e.hears(ctx, want...); err != nil {
			faults = append(faults, fmt.Errorf("listener %d: %w", i, err))
		}
	}
	for _, e := range ears {
		faults = append(faults, e.end(ctx))
	}
	return errors.Join(faults...)
}

func heardByAll(ctx context.Context, a, b apikey.Feed) error {
	all, err := ears(ctx, new(watch), a, b)
	if err != nil {
		return err
	}
	return errors.Join(send(ctx, a, notice(0)), send(ctx, b, notice(1)), send(ctx, a, notice(2), notice(3)),
		told(ctx, all, notice(0), notice(1), notice(2), notice(3)))
}

func heardInOrder(ctx context.Context, a, b apikey.Feed) error {
	all, err := ears(ctx, new(watch), a, b)
	if err != nil {
		return err
	}
	var sent []apikey.Notice
	for n := range 30 {
		batch := []apikey.Notice{notice(3 * n), notice(3*n + 1), notice(3*n + 2)}
		if err := send(ctx, []apikey.Feed{a, b}[n/3%2], batch...); err != nil {
			return err
		}
		sent = append(sent, batch...)
	}
	return told(ctx, all, sent...)
}

func thousandNotices(ctx context.Context, a, b apikey.Feed) error {
	all, err := ears(ctx, new(watch), a, b)
	if err != nil {
		return err
	}
	sent := make([]apikey.Notice, 1000)
	for i := range sent {
		sent[i] = notice(i)
		if sent[i].Owner != "" {
			sent[i].Owner += strings.Repeat("\u00e9", (apikey.MaxOwner-len(sent[i].Owner))/2)
			sent[i].Owner += strings.Repeat("x", apikey.MaxOwner-len(sent[i].Owner))
		}
	}
	return errors.Join(send(ctx, a, sent...), told(ctx, all, sent...))
}

func oddNotices(ctx context.Context, a, b apikey.Feed) error {
	all, err := ears(ctx, new(watch), b)
	if err != nil {
		return err
	}
	var sent []apikey.Notice
	for _, text := range odd {
		if text != "" {
			sent = append(sent, apikey.Notice{Handle: text}, apikey.Notice{Owner: text})
		}
	}
	for i, n := range sent { // one by one, and then all at once
		if err := send(ctx, a, n); err != nil {
			return fmt.Errorf("notice %d: %w", i, err)
		}
	}
	return errors.Join(send(ctx, a, sent...), told(ctx, all, append(sent, sent...)...))
}

func noNotices(ctx context.Context, a, b apikey.Feed) error {
	all, err := ears(ctx, new(watch), a, b)
	if err != nil {
		return err
	}
	return errors.Join(
		want("without notices", send(ctx, a), nil), want("Announce(nil)", b.Announce(ctx, nil), nil),
		send(ctx, b, notice(1)), told(ctx, all, notice(1)),
	)
}

func slowListener(ctx context.Context, a, b apikey.Feed) error {
	release := make(chan struct{})
	free := sync.OnceFunc(func() { close(release) })
	defer free()
	e, err := listen(ctx, b, new(watch), func(m moment) {
		if m.alive.IsZero() {
			<-release
		}
	})
	if err != nil {
		return err
	}
	var sent []apikey.Notice
	for n := range 20 {
		if err := send(ctx, []apikey.Feed{a, b}[n%2], notice(n)); err != nil {
			return err
		}
		sent = append(sent, notice(n))
	}
	free()
	return told(ctx, []*ear{e}, sent...)
}

func manyListeners(ctx context.Context, a, b apikey.Feed) error {
	all, err := ears(ctx, new(watch), a, a, b, b)
	if err != nil {
		return err
	}
	var sent []apikey.Notice
	for n := range 10 {
		sent = append(sent, notice(n))
		if err := send(ctx, a, notice(n)); err != nil {
			return err
		}
	}
	return told(ctx, all, sent...)
}
