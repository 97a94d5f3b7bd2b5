package pgstore_test

import (
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/apikey/apikeytest"
	"github.com/keytoll/keytoll/stores/pgstore"
)

func TestFeedKeepsTheContract(t *testing.T) {
	d := newDatabase(t)
	apikeytest.RunFeed(t, func(t *testing.T) (a, b apikey.Feed) {
		one := d.open(t)
		other, err := pgstore.New(d.pool, &pgstore.Options{Schema: one.Schema()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { other.Close(t.Context()) })
		return one.Feed(), other.Feed()
	})
}

// listener returns a listener on the real clock.
func listener(heard func(apikey.Notice), alive func()) apikey.Listener {
	return apikey.Listener{Now: time.Now, Heard: heard, Alive: func(time.Time) { alive() }}
}
