package pgstore

import (
	"context"
	"crypto/rand"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
)

var _ apikey.Feed = keys{}

// Feed returns the feed of changes, over LISTEN and NOTIFY; it is the same value
// as [DB.Keys]. Each Listen has a connection of its own, which counts towards
// the server's limit and not towards the pool's.
func (db *DB) Feed() apikey.Feed { return keys{db} }

// Announce implements [apikey.Feed]: it does nothing, because Apply sends what a
// Change brings.
func (keys) Announce(ctx context.Context, _ []apikey.Notice) error { return ctx.Err() }

// Lossless implements [apikey.Feed]: true, because the server sends notices when
// it commits the change.
func (keys) Lossless() bool { return true }

// errSilent ends a Listen whose own heartbeat did not come back.
var errSilent error = &errors.Error{
	Code: errors.Unavailable, Msg: "the feed was not heard in time: the server is gone, overloaded, or behind a proxy that does not pass LISTEN on",
}

// Listen implements [apikey.Feed]. The server keeps one queue of notifications
// for a database, in the order of commits. A heartbeat is a notification like
// any other, sent by the listener itself: once it comes back, all that was
// committed before it was sent has come too.
func (k keys) Listen(ctx context.Context, l apikey.Listener) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(k.db.closed, cancel)
	defer stop()
	err := k.db.listenOn(inner, l)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case k.db.closed.Err() != nil:
		return ErrClosed
	}
	return k.db.fault(ctx, err)
}

func (db *DB) listenOn(ctx context.Context, l apikey.Listener) error {
	conn, err := db.connect(ctx)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(ctx) // it only listened
	}()
	e := &ear{conn: conn, notices: db.channel(), own: db.schema + ":" + rand.Text()[:16], beat: db.beat, l: l}
	if err := e.subscribe(ctx); err != nil {
		return err
	}
	for {
		if err := e.prove(ctx); err != nil {
			return err
		}
		if err := e.pause(ctx); err != nil {
			return err
		}
	}
}

// connect opens a connection outside the pool, as the pool would.
func (db *DB) connect(ctx context.Context) (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	config := db.listen
	if config == nil {
		pool := db.pool.Config()
		config = pool.ConnConfig
		if pool.BeforeConnect != nil {
			if err := pool.BeforeConnect(ctx, config); err != nil {
				return nil, err
			}
		}
	}
	config = config.Copy()
	config.OnNotification = nil                      // so that WaitForNotification gets them
	config.RuntimeParams["client_encoding"] = "UTF8" // an owner must be heard as it was told
	// A wait that ends must leave the connection as it is.
	config.BuildContextWatcherHandler = func(conn *pgconn.PgConn) ctxwatch.Handler {
		return &pgconn.DeadlineContextWatcherHandler{Conn: conn.Conn()}
	}
	return pgx.ConnectConfig(ctx, config)
}

// An ear is the connection of one Listen.
type ear struct {
	conn    *pgx.Conn
	notices string // the channel of notices
	own     string // the channel of this ear's heartbeats
	beat    time.Duration
	beats   int64 // sent
	l       apikey.Listener
	told    time.Time // by Alive
}

// patience is how long a heartbeat may be under way.
func (e *ear) patience() time.Duration { return max(4*e.beat, 2*time.Second) }

// subscribe listens to both channels. Heartbeats need not survive a crash, so
// none waits for the disk.
func (e *ear) subscribe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, e.patience())
	defer cancel()
	_, err := e.conn.Exec(ctx, `SET synchronous_commit = off; LISTEN `+quoted(e.notices)+`; LISTEN `+quoted(e.own))
	return silent(ctx, err)
}

// prove sends a heartbeat, tells what comes before it, and then that all was
// heard which was sent before.
func (e *ear) prove(ctx context.Context) error {
	waiting, cancel := context.WithTimeout(ctx, e.patience())
	defer cancel()
	at := e.l.Now()
	e.beats++
	if _, err := e.conn.Exec(waiting, `NOTIFY `+quoted(e.own)+`, '`+strconv.FormatInt(e.beats, 10)+`'`); err != nil {
		return silent(waiting, err)
	}
	for {
		n, err := e.conn.WaitForNotification(waiting)
		if err != nil {
			return silent(waiting, err)
		}
		if n.Channel == e.own && n.Payload == strconv.FormatInt(e.beats, 10) {
			break
		}
		if err := e.tell(ctx, n); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if !at.Before(e.told) { // else the clock was set back, and has nothing new to say
		e.l.Alive(at)
		e.told = at
	}
	return nil
}

// pause tells what comes until it is time for a heartbeat.
func (e *ear) pause(ctx context.Context) error {
	waiting, cancel := context.WithTimeout(ctx, e.beat)
	defer cancel()
	for {
		n, err := e.conn.WaitForNotification(waiting)
		if err != nil {
			if ctx.Err() == nil && waiting.Err() != nil && !e.conn.IsClosed() {
				return nil
			}
			return err
		}
		if err := e.tell(ctx, n); err != nil {
			return err
		}
	}
}

// tell tells the notices of a notification.
func (e *ear) tell(ctx context.Context, n *pgconn.Notification) error {
	if n.Channel != e.notices {
		return nil
	}
	notices, err := noticesOf(n.Payload)
	if err != nil {
		return err
	}
	for _, notice := range notices {
		if err := ctx.Err(); err != nil {
			return err
		}
		e.l.Heard(notice)
	}
	return nil
}

// silent makes the end of waiting, which is none of the caller's, an error that
// says what it means.
func silent(waiting context.Context, err error) error {
	if err != nil && errors.Is(waiting.Err(), context.DeadlineExceeded) {
		return &errors.Error{Err: errors.Join(errSilent, err)}
	}
	return err
}

// quoted returns the name of a channel as SQL; ours hold no quotes.
func quoted(channel string) string { return `"` + channel + `"` }
