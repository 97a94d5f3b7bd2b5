// Package pgstore keeps API keys in PostgreSQL, for fleets of servers that share
// them, and tells every server of a change the moment it is committed.
//
//	db, err := pgstore.Open("postgres://user:password@host:5432/database", nil)
//	if err != nil {
//		return err
//	}
//	defer db.Close(context.Background())
//	if err := db.Migrate(ctx); err != nil {
//		return err
//	}
//	keys, err := apikey.NewService(db.Keys(), format, nil)
//
// [New] takes a pool that the program has already. Tables and functions live in
// a schema of their own, [Options.Schema], and are described in the sql folder;
// other programs may read them. PostgreSQL 13 and later will do; the database
// must keep UTF-8.
//
// The store holds no rule of keys: those are in the package apikey. The schema
// holds the constraints behind them: an ID and a handle are used once, a label
// once by an owner at a time, every key and event has its owner, an event is
// never changed or deleted. A write that would break one fails with code Corrupt
// and changes nothing.
//
// # Durability
//
// A call that writes returns nil only after its transaction is committed, with
// whatever synchronous_commit the server is set to. Each is one statement and
// one round trip: the function apply of the schema takes a whole
// [apikey.Change], with the events and notices that go with it. When the
// connection is lost before the answer, the code is Unavailable, and the change
// may have happened.
//
// # Concurrency
//
// Everything is safe for concurrent use, from any number of processes. Creating
// keys and writing events takes the lock of the owner's row, so that changes of
// one owner's keys stand in line and those of different owners do not. All locks
// are taken in one order: calls do not deadlock. Every isolation level that a
// database may have by default is right; what the server undoes because of
// others, at the levels above read committed, is tried again, after a few times
// at that level. Processes may differ in it.
//
// # The feed
//
// [DB.Feed] tells caches in other processes what to forget, over LISTEN and
// NOTIFY:
//
//	keys, err := apikey.NewService(db.Keys(), format, &apikey.Options{
//		Cache: &apikey.CacheOptions{Bound: 10 * time.Second, Feed: db.Feed()},
//	})
//
// Notices are sent by the transaction of the change itself, so none is lost
// between the two. A listener sends itself heartbeats through the same queue,
// [Options.Heartbeat]: hearing one proves that it heard everything committed
// before. They write nothing to the disk that anybody waits for. When one does
// not come back in time, the server gone or the line dead, Listen ends, and
// caches trust nothing until it hears again.
//
// Each Listen has a connection of its own, outside the pool. A proxy that hands
// each transaction to another server, such as PgBouncer in transaction mode,
// cannot pass LISTEN on: the feed then stays silent, which is safe and slow. Name
// the server itself in [Options.Listen]. The pool may go through such a proxy if
// it keeps no prepared statements: default_query_exec_mode=exec in its URL.
//
// PostgreSQL lets transactions with notices commit one at a time in all of a
// server. That bounds changes of keys, not look-ups. A replica that is read from
// lags: add its lag to the bound of a cache.
//
// # Errors
//
//   - [ErrNotMigrated], [ErrNewerSchema], [ErrForeign] and [ErrEncoding] say what is wrong
//     with the database, [ErrClosed] that [DB.Close] came first;
//   - code Unavailable: the server cannot be reached, or cannot answer now;
//   - code Invalid: a value cannot be stored, such as text with a NUL in it;
//   - code Corrupt: the database is damaged, or a write was refused by a
//     constraint; a person must look.
//
// Messages are safe to show to a client. The driver's own error, reachable by
// errors.AsType, may name columns and hosts.
//
// # Time
//
// Instants are stored as timestamptz, to the microsecond. No decision rests on
// the server's clock: the package apikey brings its own.
//
// # Security
//
// Keys are stored as digests (see the package apikey), everything else in plain:
// owners, names, scopes, events. After [DB.Migrate] the program needs no right to
// create, and none to delete. Text is compared byte by byte, whatever the
// database's collation.
//
// # What it does not do
//
// It deletes nothing, so tables grow with keys and events. It makes no backups.
package pgstore
