package pgstore_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/apikey/apikeytest"
	"github.com/keytoll/keytoll/stores/pgstore"
	"github.com/keytoll/keytoll/stores/pgstore/pgtest"
)

func TestFeedKeepsTheContract(t *testing.T) {
	d := newDatabase(t)
	apikeytest.RunFeed(t, func(t *testing.T) (a, b apikey.Feed) {
		schema := d.open(t).Schema()
		ends := make([]*pgstore.DB, 2)
		for i := range ends {
			// Many heartbeats, so that notices come while one is under way.
			db, err := pgstore.New(d.pool, &pgstore.Options{Schema: schema, Heartbeat: 10 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := db.Close(context.WithoutCancel(t.Context())); err != nil {
					t.Error(err)
				}
			})
			ends[i] = db
		}
		return ends[0].Feed(), ends[1].Feed()
	})
}

// listener returns a listener on the real clock.
func listener(heard func(apikey.Notice), alive func()) apikey.Listener {
	return apikey.Listener{Now: time.Now, Heard: heard, Alive: func(time.Time) { alive() }}
}

// Two services with caches of their own, as in two processes: what one revokes,
// the other refuses long before its cache would have forgotten.
func TestAKeyRevokedHereIsRefusedThere(t *testing.T) {
	d := newDatabase(t)
	one := d.open(t)
	other := d.raw(t, one.Schema())
	format, err := apikey.NewFormat("gx", nil)
	if err != nil {
		t.Fatal(err)
	}
	service := func(db *pgstore.DB) *apikey.Service {
		s, err := apikey.NewService(db.Keys(), format, &apikey.Options{
			Cache: &apikey.CacheOptions{Bound: time.Hour, Feed: db.Feed()},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := s.Close(context.WithoutCancel(t.Context())); err != nil {
				t.Error(err)
			}
		})
		return s
	}
	here, there := service(one), service(other)
	for name, revoke := range map[string]func(apikey.Key) error{
		"a key":    func(k apikey.Key) error { _, err := here.Revoke(t.Context(), k.ID, "leaked"); return err },
		"an owner": func(k apikey.Key) error { _, err := here.RevokeOwner(t.Context(), k.Owner, "left"); return err },
	} {
		issued, err := here.Create(t.Context(), apikey.Spec{Owner: name})
		if err != nil {
			t.Fatal(err)
		}
		token := issued.Secret.Reveal()
		for range 100 {
			if _, err := there.Verify(t.Context(), token, nil); err != nil {
				t.Fatal(err)
			}
		}
		if err := revoke(issued.Key); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		for err = nil; err == nil; {
			_, err = there.Verify(ctx, token, nil)
		}
		cancel()
		if !errors.Is(err, apikey.ErrRevoked) {
			t.Errorf("%s: %v, want ErrRevoked", name, err)
		}
	}
}

func TestTheExampleOfAFleet(t *testing.T) {
	var out strings.Builder
	if err := fleet(t.Context(), pgtest.Database(t), &out); err != nil {
		t.Fatal(err)
	}
	if want := "there: acct_42\nthere: apikey.Verify: the API key has been revoked\n"; out.String() != want {
		t.Errorf("said %q, want %q", out.String(), want)
	}
}
