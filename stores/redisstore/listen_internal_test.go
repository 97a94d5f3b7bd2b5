package redisstore

import (
	"errors"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/stores/redisstore/redistest"
)

// The driver opens a subscription anew without an error, in the middle of which
// messages are lost: for a connection that it hands over, or one that turns out
// to be broken when something is written.
func TestMendedLineEndsListen(t *testing.T) {
	server := redistest.StartOwn(t)
	client := server.Client(t)
	f, err := NewFeed(client, nil)
	if err != nil {
		t.Fatal(err)
	}
	n := f.open(t.Context())
	defer n.close()
	if err := n.subscribe(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := client.ClientKillByFilter(t.Context(), "TYPE", "pubsub").Err(); err != nil {
		t.Fatal(err)
	}
	for err == nil { // until a write fails; the driver then mends the line
		err = n.pubsub.Ping(t.Context())
	}
	if err := f.Announce(t.Context(), []apikey.Notice{{Handle: "h"}}); err != nil {
		t.Fatal(err)
	}
	err = n.hear(t.Context(), apikey.Listener{
		Now:   time.Now,
		Heard: func(h apikey.Notice) { t.Errorf("heard %+v over a line that was broken meanwhile", h) },
		Alive: func(time.Time) { t.Error("alive") },
	})
	if !errors.Is(err, errMended) {
		t.Errorf("hear = %v, want %v", err, errMended)
	}
}

// Nobody can say for somebody else that the line is alive: a heartbeat cannot be
// guessed before it is sent, and counts once.
func TestForgedHeartbeatsProveNothing(t *testing.T) {
	n := &line{back: make(chan struct{}, 1)}
	if _, ok := n.returned(""); ok {
		t.Error("a heartbeat came back that was not sent")
	}
	at := time.Now()
	n.sent.Store(&heartbeat{text: "right", at: at})
	if _, ok := n.returned("wrong"); ok || len(n.back) != 0 {
		t.Error("a guess is taken for the heartbeat")
	}
	if got, ok := n.returned("right"); !ok || !got.Equal(at) || len(n.back) != 1 {
		t.Errorf("the heartbeat came back as %v, %t", got, ok)
	}
	if _, ok := n.returned("right"); ok {
		t.Error("a heartbeat counts twice")
	}
}
