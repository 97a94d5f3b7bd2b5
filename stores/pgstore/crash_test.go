package pgstore_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/keytoll/keytoll/apikey"
	kerrors "github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/stores/pgstore"
	"github.com/keytoll/keytoll/stores/pgstore/pgtest"
)

// A pair is a Change of two keys and an event, which is there as a whole or not
// at all.
func pair(n int) apikey.Change {
	one, two := keyRecord(2*n), keyRecord(2*n+1)
	one.Key.Owner, two.Key.Owner = fmt.Sprintf("acct_%d", n%7), fmt.Sprintf("acct_%d", n%5)
	return apikey.Change{
		Insert:  []apikey.Record{one, two},
		Events:  []apikey.Event{{Owner: one.Key.Owner, Kind: apikey.EventCreated, Key: one.Key.ID, At: begin}},
		Notices: []apikey.Notice{{Handle: one.Handle}, {Handle: two.Handle}},
	}
}

// The server is killed again and again under load. What was acknowledged is
// there, no change is there in part, each owner's events are a chain without a
// gap, and in between every call says Unavailable, and nothing else. Listeners
// hear of every change, or that they may have missed some.
func TestNothingIsLostWhenTheServerIsKilled(t *testing.T) {
	server := pgtest.Start(t)
	db, err := pgstore.Open(server.URL(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close(context.WithoutCancel(t.Context()))
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	var next atomic.Int64
	var mu sync.Mutex
	acknowledged := make(map[int]bool)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	progress := make(chan struct{}, 1)
	var group sync.WaitGroup
	for range 6 {
		group.Go(func() {
			for ctx.Err() == nil {
				n := int(next.Add(1))
				err := db.Keys().Apply(ctx, pair(n))
				if ctx.Err() != nil {
					return
				}
				if err != nil && kerrors.CodeOf(err) != kerrors.Unavailable {
					t.Errorf("Apply: %v, want success or Unavailable", err)
				}
				mu.Lock()
				acknowledged[n] = err == nil
				mu.Unlock()
				if err == nil {
					select {
					case progress <- struct{}{}:
					default:
					}
				}
			}
		})
	}
	for range 3 {
		for range 50 {
			<-progress
		}
		server.Kill()
		for range 20 {
			if _, err := db.Keys().ByID(t.Context(), "key"); kerrors.CodeOf(err) != kerrors.Unavailable {
				t.Errorf("ByID without a server: %v, want Unavailable", err)
			}
		}
		server.Restart()
	}
	for range 50 {
		<-progress
	}
	cancel()
	group.Wait()
	verify(t, db, acknowledged)
}

func verify(t *testing.T, db *pgstore.DB, acknowledged map[int]bool) {
	t.Helper()
	ctx, kept, unsure, events := t.Context(), 0, 0, make(map[string]bool)
	for i := range 7 {
		owner := fmt.Sprintf("acct_%d", i)
		list, err := db.Keys().Events(ctx, apikey.EventQuery{Owner: owner, OldestFirst: true, Limit: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		var head [32]byte
		for n, e := range list {
			if e.Seq != int64(n+1) || e.Link(head) != e.Sum {
				t.Fatalf("event %d of %s is not linked to the one before", e.Seq, owner)
			}
			head = e.Sum
			events[e.Key] = true
		}
		o, err := db.Keys().Owner(ctx, owner)
		if err != nil || o.Events != int64(len(list)) || o.Head != head {
			t.Errorf("%s has %d events and is %+v, %v", owner, len(list), o, err)
		}
	}
	for n, ok := range acknowledged {
		c := pair(n)
		_, one := db.Keys().ByID(ctx, c.Insert[0].Key.ID)
		_, two := db.Keys().ByHandle(ctx, c.Insert[1].Handle)
		there := one == nil
		switch {
		case (two == nil) != there || events[c.Insert[0].Key.ID] != there:
			t.Errorf("change %d is there in part: %v, %v, event %t", n, one, two, events[c.Insert[0].Key.ID])
		case ok && !there:
			t.Errorf("change %d was acknowledged and is gone: %v", n, one)
		case ok:
			kept++
		case there:
			unsure++
		}
	}
	t.Logf("%d changes acknowledged and kept, %d told as Unavailable that came true", kept, unsure)
}

// The feed ends with its server, and hears again from the next.
func TestTheFeedIsSilentWhileTheServerIsGone(t *testing.T) {
	server := pgtest.Start(t)
	db, err := pgstore.Open(server.URL(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close(context.WithoutCancel(t.Context()))
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	for round := range 2 {
		heard, alive, ended := make(chan apikey.Notice, 10), make(chan struct{}, 1000), make(chan error, 1)
		go func() {
			ended <- db.Feed().Listen(t.Context(), listener(func(n apikey.Notice) { heard <- n }, func() { alive <- struct{}{} }))
		}()
		<-alive
		if err := db.Keys().Apply(t.Context(), apikey.Change{Notices: []apikey.Notice{{Owner: "o"}}}); err != nil {
			t.Fatal(err)
		}
		if n := <-heard; n.Owner != "o" {
			t.Errorf("round %d: heard %+v", round, n)
		}
		server.Kill()
		wantCode(t, <-ended, kerrors.Unavailable)
		wantCode(t, db.Feed().Listen(t.Context(), listener(func(apikey.Notice) {}, func() { t.Error("alive without a server") })), kerrors.Unavailable)
		server.Restart()
	}
}

// A line that carries nothing any more, but was never closed, is noticed: by its
// heartbeat, within two seconds and not by TCP.
func TestTheFeedNoticesALineThatIsDeadAndNotClosed(t *testing.T) {
	line := newLine(t, pgtest.Database(t))
	pool, err := pgxpool.New(t.Context(), line.url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	db, err := pgstore.New(pool, &pgstore.Options{Heartbeat: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	alive, ended := make(chan struct{}, 1000), make(chan error, 1)
	go func() {
		ended <- db.Feed().Listen(t.Context(), listener(func(apikey.Notice) {}, func() { alive <- struct{}{} }))
	}()
	<-alive
	<-alive
	line.cut.Store(true)
	select {
	case err := <-ended:
		if wantCode(t, err, kerrors.Unavailable); err == nil || !strings.Contains(err.Error(), "not heard in time") {
			t.Errorf("error is %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("the feed goes on listening to a dead line")
	}
}

// An answer that is lost on its way is Unavailable, and no success and no
// refusal, although the change came true.
func TestALostAnswerIsNoSuccess(t *testing.T) {
	direct := pgtest.Database(t)
	line := newLine(t, direct)
	through, err := pgstore.Open(line.url, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer through.Close(context.WithoutCancel(t.Context()))
	if err := through.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := through.Keys().Apply(t.Context(), apikey.Change{Insert: []apikey.Record{keyRecord(1)}}); err != nil {
		t.Fatal(err)
	}
	line.deaf.Store(true) // the next answer is lost; whoever tries again is answered
	err = through.Keys().Apply(t.Context(), apikey.Change{Insert: []apikey.Record{keyRecord(2)}})
	wantCode(t, err, kerrors.Unavailable)
	db, err := pgstore.Open(direct, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close(context.WithoutCancel(t.Context()))
	if _, err := db.Keys().ByID(t.Context(), keyRecord(2).Key.ID); err != nil {
		t.Errorf("the change whose answer was lost: %v, want it there", err)
	}
}

// A context that ends while a statement runs is the error, and the pool's
// connection is none the worse for it.
func TestACallerWhoGivesUpIsToldSo(t *testing.T) {
	d := newDatabase(t)
	db := d.open(t)
	rec := keyRecord(1)
	if err := db.Keys().Apply(t.Context(), apikey.Change{Insert: []apikey.Record{rec}}); err != nil {
		t.Fatal(err)
	}
	tx, err := d.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }()
	if _, err := tx.Exec(t.Context(), pgstore.InSchema(db, "SELECT FROM keytoll.keys FOR UPDATE")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	rec.Key.Version++
	for name, err := range map[string]error{
		"Apply": db.Keys().Apply(ctx, apikey.Change{Update: []apikey.Record{rec}}),
		"Touch": db.Keys().Touch(ctx, []apikey.Use{{ID: rec.Key.ID, At: begin}}),
	} {
		if !errors.Is(err, context.DeadlineExceeded) || kerrors.CodeOf(err) != kerrors.DeadlineExceeded {
			t.Errorf("%s: %v, want the end of the time", name, err)
		}
	}
}

// A line is a proxy on loopback between a pool and a server.
type line struct {
	url  string
	cut  atomic.Bool // nothing goes either way, and nobody is told
	deaf atomic.Bool // the next answer is lost, and the line with it

	asking atomic.Bool  // the last to speak was the client
	turns  atomic.Int64 // how often it was its turn
}

func newLine(t *testing.T, server string) *line {
	t.Helper()
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	network, address := "tcp", u.Host
	if dir := u.Query().Get("host"); dir != "" {
		network, address = "unix", dir+"/.s.PGSQL.5432"
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	ln := new(line)
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial(network, address)
			if err != nil {
				client.Close()
				continue
			}
			t.Cleanup(func() { client.Close(); server.Close() })
			go ln.carry(server, client, false)
			go ln.carry(client, server, true)
		}
	}()
	u.Host = l.Addr().String()
	q := u.Query()
	q.Del("host")
	q.Set("sslmode", "disable")
	u.RawQuery = q.Encode()
	ln.url = u.String()
	return ln
}

func (l *line) carry(to, from net.Conn, answers bool) {
	buffer := make([]byte, 1<<16)
	for {
		n, err := from.Read(buffer)
		if answers && l.deaf.CompareAndSwap(true, false) {
			to.Close()
			return
		}
		if n > 0 && !l.asking.Swap(!answers) && !answers {
			l.turns.Add(1)
		}
		if n > 0 && !l.cut.Load() {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				to.Close()
			}
			return
		}
	}
}
