package apikeytest

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
)

// neverAhead sends from several goroutines at both ends and notes when each
// call had returned, on the clock that the listeners have too.
func neverAhead(ctx context.Context, a, b apikey.Feed) error {
	w := new(watch)
	all, err := ears(ctx, w, a, b)
	if err != nil {
		return err
	}
	const senders, each = 4, 25
	faults := make([]error, senders)
	var sent [senders * each]time.Time // when the call that sent it had returned
	var wg sync.WaitGroup
	for sender := range senders {
		wg.Go(func() {
			for i := range each {
				n := sender*each + i
				if faults[sender] = send(ctx, []apikey.Feed{a, b}[sender%2], notice(n)); faults[sender] != nil {
					return
				}
				sent[n] = w.now()
			}
		})
	}
	wg.Wait()
	if err := errors.Join(faults...); err != nil {
		return err
	}
	for _, e := range all {
		err := e.await(ctx, "all notices", func() bool { return len(e.notices()) >= len(sent) })
		faults = append(faults, err, e.aliveAgain(ctx, 1), e.end(ctx), proven(e.history(), sent[:]))
	}
	return errors.Join(faults...)
}

// proven returns nil if no Alive in history came before a notice that was sent
// before the instant it told.
func proven(history []moment, sent []time.Time) error {
	place := make(map[apikey.Notice]int, len(sent))
	for i, m := range history {
		if m.alive.IsZero() {
			place[m.notice] = i
		}
	}
	for i, m := range history {
		if m.alive.IsZero() {
			continue
		}
		for n, at := range sent {
			if heard, ok := place[notice(n)]; at.Before(m.alive) && (!ok || heard > i) {
				return fmt.Errorf("the instant told by Alive is %v, while notice %d, sent before that, at %v, is not heard yet", m.alive, n, at)
			}
		}
	}
	return nil
}

func aliveAgain(ctx context.Context, a, b apikey.Feed) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second) // some times a second, and then some
	defer cancel()
	w := new(watch)
	all, err := ears(ctx, w, a, b)
	if err != nil {
		return err
	}
	var faults []error
	for _, e := range all {
		for range 2 {
			at := w.now()
			faults = append(faults, e.await(ctx, "an Alive of after it was asked for", func() bool {
				last := e.told[len(e.told)-1].alive
				return last.After(at)
			}))
		}
	}
	for _, e := range all {
		faults = append(faults, e.end(ctx))
	}
	return errors.Join(faults...)
}

func neverBack(ctx context.Context, a, b apikey.Feed) error {
	w := new(watch)
	e, err := listen(ctx, b, w, nil)
	if err != nil {
		return err
	}
	w.turnBack(time.Hour)
	for n := range 5 { // each wakes the feed up
		if err := errors.Join(send(ctx, a, notice(n)), e.await(ctx, "a notice", func() bool { return len(e.notices()) > n })); err != nil {
			return err
		}
	}
	w.turnBack(-time.Hour)
	at := w.now()
	err = e.await(ctx, "an Alive of after the clock was set right", func() bool { return e.told[len(e.told)-1].alive.After(at) })
	if err := errors.Join(err, e.end(ctx)); err != nil {
		return err
	}
	var last time.Time
	for _, m := range e.history() {
		if !m.alive.IsZero() && m.alive.Before(last) {
			return fmt.Errorf("the instant told by Alive is %v after %v", m.alive, last)
		}
		if !m.alive.IsZero() {
			last = m.alive
		}
	}
	return nil
}

func endsWithContext(ctx context.Context, a, b apikey.Feed) error {
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	late, stop := context.WithDeadline(ctx, longAgo)
	defer stop()
	soon, stop2 := context.WithTimeout(ctx, 50*time.Millisecond)
	defer stop2()
	e, err := listen(ctx, b, new(watch), nil)
	if err != nil {
		return err
	}
	return errors.Join(
		begun(canceled, a, new(watch), nil).over(ctx, context.Canceled),
		begun(late, a, new(watch), nil).over(ctx, context.DeadlineExceeded),
		begun(soon, a, new(watch), nil).over(ctx, context.DeadlineExceeded),
		e.end(ctx),
	)
}

func endsFromWithin(ctx context.Context, a, b apikey.Feed) error {
	for _, heard := range []bool{true, false} {
		within, cancel := context.WithCancel(ctx)
		e, err := listen(within, b, new(watch), func(m moment) {
			if m.alive.IsZero() == heard {
				cancel()
			}
		})
		if err != nil && heard {
			cancel()
			return err
		}
		if heard {
			err = errors.Join(send(ctx, a, notice(1), notice(2)), e.over(ctx, context.Canceled))
		} else if e != nil { // else it had ended when it was looked at
			err = e.over(ctx, context.Canceled)
		} else if errors.Is(err, context.Canceled) {
			err = nil
		}
		cancel()
		if err != nil {
			return err
		}
	}
	return nil
}

func silentAfterwards(ctx context.Context, a, b apikey.Feed) error {
	all, err := ears(ctx, new(watch), a, b)
	if err != nil {
		return err
	}
	gone, stays := all[0], all[1]
	if err := gone.end(ctx); err != nil {
		return err
	}
	before := len(gone.history())
	err = errors.Join(send(ctx, a, notice(1)), send(ctx, b, notice(2)), stays.hears(ctx, notice(1), notice(2)), stays.aliveAgain(ctx, 2), stays.end(ctx))
	if after := len(gone.history()); err == nil && after != before {
		err = fmt.Errorf("the listener is told %d things after Listen returned", after-before)
	}
	return err
}

func beginsAnew(ctx context.Context, a, b apikey.Feed) error {
	for n := range 3 {
		all, err := ears(ctx, new(watch), a, b)
		if err != nil {
			return err
		}
		if err := errors.Join(send(ctx, a, notice(n)), told(ctx, all, notice(n))); err != nil {
			return err
		}
	}
	return nil
}

func announceTooLate(ctx context.Context, a, b apikey.Feed) error {
	all, err := ears(ctx, new(watch), a, b)
	if err != nil {
		return err
	}
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	late, stop := context.WithDeadline(ctx, longAgo)
	defer stop()
	return errors.Join(
		want("Announce", a.Announce(canceled, []apikey.Notice{notice(1)}), context.Canceled),
		want("Announce", b.Announce(late, []apikey.Notice{notice(2)}), context.DeadlineExceeded),
		send(ctx, a, notice(3)), told(ctx, all, notice(3)),
	)
}

func announceOfOwn(ctx context.Context, a, b apikey.Feed) error {
	all, err := ears(ctx, new(watch), a, b)
	if err != nil {
		return err
	}
	return errors.Join(
		want("Announce", a.Announce(ctx, []apikey.Notice{notice(1)}), nil),
		want("Announce", b.Announce(ctx, []apikey.Notice{notice(2)}), nil),
		send(ctx, a, notice(3)), told(ctx, all, notice(3)),
	)
}

func refusedIsSilent(ctx context.Context, a, b apikey.Feed) error {
	all, err := ears(ctx, new(watch), a, b)
	if err != nil {
		return err
	}
	s := a.(apikey.Store)
	if err := insert(ctx, s, record(1)); err != nil {
		return err
	}
	refused := func(c apikey.Change, is error) error {
		c.Notices = []apikey.Notice{notice(1)}
		return want("Apply", s.Apply(ctx, c), is)
	}
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	return errors.Join(
		refused(apikey.Change{Insert: []apikey.Record{record(1)}}, apikey.ErrExists),
		refused(apikey.Change{Update: []apikey.Record{record(1)}}, apikey.ErrConflict),
		refused(apikey.Change{Update: []apikey.Record{next(record(2))}}, apikey.ErrNotFound),
		refused(apikey.Change{Cap: &apikey.Cap{Owner: record(1).Key.Owner, States: allStates}, Update: []apikey.Record{unreplaced(next(record(1)))}}, apikey.ErrKeyLimit),
		want("Apply", s.Apply(canceled, apikey.Change{Notices: []apikey.Notice{notice(1)}}), context.Canceled),
		send(ctx, b, notice(2)), told(ctx, all, notice(2)),
	)
}

func unreplaced(rec apikey.Record) apikey.Record {
	rec.Key.Successor = ""
	return rec
}

// heardCanBeRead changes a record at one end, and reads it at the other each
// time a notice is heard.
func heardCanBeRead(ctx context.Context, a, b apikey.Feed) error {
	s, other := a.(apikey.Store), b.(apikey.Store)
	rec := record(1)
	if err := insert(ctx, s, rec); err != nil {
		return err
	}
	var fault error // guarded by the end of Listen
	var heard int64
	e, err := listen(ctx, b, new(watch), func(m moment) {
		if !m.alive.IsZero() {
			return
		}
		heard++
		switch got, err := other.ByHandle(ctx, record(1).Handle); {
		case err != nil:
			fault = err
		case got.Key.Version < heard+1:
			fault = fmt.Errorf("the store still has version %d when the notice of version %d is heard", got.Key.Version, heard+1)
		}
	})
	if err != nil {
		return err
	}
	var sent []apikey.Notice
	for n := range 50 {
		rec = next(rec)
		if err := s.Apply(ctx, apikey.Change{Update: []apikey.Record{rec}, Notices: []apikey.Notice{notice(n)}}); err != nil {
			return err
		}
		sent = append(sent, notice(n))
	}
	err = told(ctx, []*ear{e}, sent...)
	return errors.Join(err, fault)
}

// orderOfChanges has several writers change one record, each change with a
// notice of its version.
func orderOfChanges(ctx context.Context, a, b apikey.Feed) error {
	all, err := ears(ctx, new(watch), a, b)
	if err != nil {
		return err
	}
	if err := insert(ctx, a.(apikey.Store), record(1)); err != nil {
		return err
	}
	const last = 40
	writer := func(s apikey.Store) error {
		for {
			rec, err := s.ByID(ctx, record(1).Key.ID)
			if err != nil || rec.Key.Version >= last {
				return err
			}
			rec = next(rec)
			err = s.Apply(ctx, apikey.Change{Update: []apikey.Record{rec}, Notices: []apikey.Notice{notice(int(rec.Key.Version))}})
			if err != nil && !errors.Is(err, apikey.ErrConflict) {
				return err
			}
		}
	}
	var faults [4]error
	var wg sync.WaitGroup
	for i := range faults {
		wg.Go(func() { faults[i] = writer([]apikey.Feed{a, b}[i%2].(apikey.Store)) })
	}
	wg.Wait()
	var sent []apikey.Notice
	for version := 2; version <= last; version++ {
		sent = append(sent, notice(version))
	}
	return errors.Join(errors.Join(faults[:]...), told(ctx, all, sent...))
}
