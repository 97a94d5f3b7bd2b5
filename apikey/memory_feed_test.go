package apikey_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/apikey/apikeytest"
	"github.com/keytoll/keytoll/errors"
)

func TestMemoryFeed(t *testing.T) {
	apikeytest.RunFeed(t, func(*testing.T) (a, b apikey.Feed) {
		f := new(apikey.MemoryFeed)
		return f, f
	})
}

func TestMemoryStoreIsItsOwnFeed(t *testing.T) {
	apikeytest.RunFeed(t, func(*testing.T) (a, b apikey.Feed) {
		s := apikey.NewMemoryStore()
		return s, s
	})
}

// A listener that does not keep up is told that it may have missed something,
// and neither keeps others waiting nor memory for itself.
func TestMemoryFeedGivesUpOnWhoFallsBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := new(apikey.MemoryFeed)
		stuck, quick := make(chan struct{}), 0
		listen := func(ctx context.Context, heard func(apikey.Notice)) chan error {
			ended := make(chan error, 1)
			go func() {
				ended <- feed.Listen(ctx, apikey.Listener{Now: time.Now, Heard: heard, Alive: func(time.Time) {}})
			}()
			return ended
		}
		ctx, cancel := context.WithCancel(t.Context())
		first := true
		behind := listen(t.Context(), func(n apikey.Notice) {
			if !first {
				t.Errorf("%v is told after others were dropped", n)
			}
			first = false
			<-stuck
		})
		ahead := listen(ctx, func(apikey.Notice) { quick++ })
		synctest.Wait() // both listen
		const calls = 100
		notices := make([]apikey.Notice, 1000)
		for i := range notices {
			notices[i].Owner = "acct_1"
		}
		if err := feed.Announce(t.Context(), notices[:1]); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // one is stuck with it
		for range calls {
			if err := feed.Announce(t.Context(), notices); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		close(stuck)
		if err := <-behind; errors.CodeOf(err) != errors.Unavailable {
			t.Errorf("Listen = %v, want that it fell behind", err)
		}
		cancel()
		if err := <-ahead; !errors.Is(err, context.Canceled) || quick != calls*len(notices)+1 {
			t.Errorf("the other heard %d, and Listen = %v", quick, err)
		}
	})
}

// Alive is told at every wake and, while nothing happens, five times a second.
func TestMemoryFeedIsAliveAtEachBeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := new(apikey.MemoryFeed)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute-time.Millisecond)
		defer cancel()
		begin, beats := time.Now(), 0
		err := feed.Listen(ctx, apikey.Listener{Now: time.Now, Heard: func(apikey.Notice) {}, Alive: func(at time.Time) {
			if !at.Equal(begin.Add(time.Duration(beats) * 200 * time.Millisecond)) {
				t.Errorf("beat %d is at %v", beats, at.Sub(begin))
			}
			beats++
		}})
		if beats != 300 || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%d beats in a minute, and then %v; want 300", beats, err)
		}
	})
}

func TestMemoryFeedsSayWhatTheyMayLose(t *testing.T) {
	if new(apikey.MemoryFeed).Lossless() || !apikey.NewMemoryStore().Lossless() {
		t.Error("a store that sends with its changes loses nothing; a feed beside a store may")
	}
}
