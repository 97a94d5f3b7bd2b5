// Package pgstore keeps API keys, rate limits, credits, webhooks and the answers to
// requests with an Idempotency-Key in PostgreSQL, for fleets of servers that share them, and tells every server of a change of keys
// the moment it is committed.
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
//	limiter, err := ratelimit.NewLimiter(db.Limits(nil), limits, nil)
//	ledger, err := credits.NewLedger(db.Credits(nil), nil)
//	sender, err := webhook.NewSender(db.Webhooks(nil), sealing, nil)
//	answers := &middleware.IdempotencyOptions{Store: db.Idempotency(nil)}
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
// and changes nothing. Of limits the schema computes what the package ratelimit
// does, in whole numbers without a bound, and the two are held to each other by
// tests: so a decision is one statement, and no lock is held over the network.
//
// # Durability
//
// A call that writes returns nil only after its transaction is committed, with
// whatever synchronous_commit the server is set to. A change of keys is one
// statement and one round trip: the function apply of the schema takes a whole
// [apikey.Change], with the events and notices that go with it. When the
// connection is lost before the answer, the code is Unavailable, and the change
// may have happened.
//
// # Limits
//
// [DB.Limits] decides all ops of a request in one round trip and one
// transaction, by the server's clock, read once under the locks of all subjects.
// Refused takes, peeks and settlements of what is settled write nothing, and so
// wait for no disk. A take is on the disk before it passes: kill -9 of the server
// hands nobody a fresh quota. [LimitsOptions.Relaxed] gives that up for the last
// moments before a crash, and waits for no disk.
// The tables are logged for the same reason; who can bear that a crash empties
// them, and that they exist on no replica, may ALTER TABLE ... SET UNLOGGED.
//
// Takes of one subject stand in line, each until the one before is committed.
// What one subject can take in a second is therefore bounded by the disk, or with
// Relaxed by the round trip inside the server; subjects that many share, such as
// a limit for everybody, belong in Redis or in front of it.
//
// Locks are advisory ones, of 64 bits of a hash of schema and key, taken in order
// and held for the transaction: two subjects that share one wait for each other
// and no more, and the same numbers are free for other uses of the database but
// for that. A request takes one for each subject; where many requests of dozens
// of subjects run at the same time, raise max_locks_per_transaction.
//
// A call whose context ends is told so within 100 milliseconds, in which its
// answer may still come: breaking a statement off costs its connection, and a
// crowd of short deadlines would cost them all. What was broken off may have been
// taken; it is never taken in part.
//
// A calendar's windows come from Go's time zones, so server and programs need not
// agree about them; programs of one limit should carry the same ones.
//
// States that have expired are deleted as new ones are made, a few at a time;
// [LimitStore.Sweep] does it on demand, for a quiet table. No decision depends on
// it. Nothing else bounds the table: an attacker who invents subjects fills the
// disk, so hold invented subjects to a limit on something that cannot be invented.
//
// # Credits
//
// [DB.Credits] keeps no rule: those are in the package credits. An update is two
// round trips. The first begins a transaction, locks the rows of its accounts in
// the order of their ids, and then reads, in a statement of its own: one that
// locks and reads at once would read the lots as they were before it waited. The
// second writes and commits. Whatever a command needs, and however many commands
// a [credits.Batcher] puts into one update, these are the same few statements. A
// refusal rolls back in the second round trip, and a balance is one statement and
// one round trip.
//
// Updates of one account stand in line, each until the one before is on the disk,
// and each with a connection of the pool. Put a [credits.Batcher] before the store
// where many callers share an account: they then wait in the process, and one
// commit carries all that came meanwhile.
//
// An update returns nil once its transaction is committed, with whatever
// synchronous_commit the server is set to; leave it on. What the server undoes
// because of others is tried again, up to 30 times, after pauses that grow to a
// tenth of a second and differ at random; so is what was lost before anything was
// asked to stay. When the connection is lost after that, the code is Unavailable
// and the outcome not known: repeat the command with the same id, which finds
// out. The store never repeats such a one by itself.
//
// [CreditStore.In] works in a transaction of the caller's, so that a debit and the
// row it pays for are there together or not at all.
//
// Now is the server's clock, read once the accounts are locked, so programs need
// not agree about the time. What an update reads does not grow with the journal,
// and with the lots of an account as the depth of an index does.
//
// Behind the rules stand constraints: no amount of an account or a lot is below
// zero, what came in is what is somewhere, a hold ends once, an entry is never
// changed or deleted, and an op is deleted only when its id says that it is old. A
// write that would break one fails with code Corrupt and changes nothing. Tables
// grow with every command; [credits.Ledger.Prune] takes old ops away, and entries
// stay.
//
// # Webhooks
//
// [DB.Webhooks] keeps what a [webhook.Sender] sends. It holds no rule: those are in
// the package webhook. [WebhookStore.In] publishes in a transaction of the caller's,
// so that a message goes out exactly when what it tells of is committed.
//
// A publication is two round trips: the first reads the account's endpoints, the
// second files the message, once, and a row for each endpoint that takes it. It
// locks nothing but the message's own ID, so that no delivery and no other publisher
// waits for a transaction of the caller's, however long that takes.
//
// A claim is two round trips, and so is a settlement, however many deliveries they
// move. A claim leaps through two indexes from an active endpoint to the next one
// that something waits for, and looks at no more than the first rows of each: what
// it costs does not depend on how much waits, nor on endpoints that are disabled
// with a backlog or have nothing to do. It takes the locks of the endpoints' rows
// that have something due, passes over those that others hold, and counts what is in
// flight after that: there is no counter to go wrong, and no more attempts run at
// once than the endpoint has room for, however many processes claim. No lock is held
// while attempts are made, only a lease.
//
// A claim or a settlement that is not known to have come true is safe to leave: what
// it claimed is claimed again when the lease is over, and a settlement that is sent
// again changes nothing twice.
//
// Every attempt changes rows and index entries, which vacuum has to clean up: the
// tables are set so that it comes often. A transaction that stays open for hours,
// anywhere in the database, keeps it from that, and claims get slower with what it
// leaves behind. Messages, deliveries and attempts stay until
// [webhook.Sender.Prune] takes those away that have ended.
//
// [DB.Replays] is a [webhook.ReplayStore] for receivers: one round trip for each
// step, and none of a message that comes again writes anything. Keys whose time is
// over are deleted as new ones come, two for each.
//
// # Idempotency
//
// [DB.Idempotency] is an [idempotency.Store]: one round trip and one transaction for
// each step. A claim and an answer are on the disk before they are told, so kill -9
// of the server has nothing done twice; what is answered Running, Mismatch or Done
// writes nothing and waits for no lock. Of those who claim one key at once the row
// lets one pass. Keys whose time is over are deleted as new ones come, two for each.
// A claim whose answer was lost with its connection is code Unavailable, and not
// known; the same claim again tells what it would have told.
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
// Instants are stored as timestamptz, to the microsecond; those of limits, of
// credits, of webhooks and of idempotency as microseconds since 1970. No decision about keys rests on
// the server's clock: the package apikey brings its own. All others go by nothing
// else, unless the Now of their options is given. A
// server that takes over with a clock that is behind mints nothing: each state
// stands still until that clock has caught up.
//
// # Security
//
// Keys are stored as digests (see the package apikey), and the secrets of webhook
// endpoints sealed (see [webhook.SealingKey]). Everything else is in plain: owners,
// names, scopes, events, the subjects of limits, credits, payloads, what receivers
// answered, the headers that an endpoint is to be sent, and the answers that are kept
// of requests, with their bodies. After
// [DB.Migrate] the program needs no right to create, and none to delete but in the
// tables that [DB.Migrate] names. Text is compared byte by byte, whatever the
// database's collation.
//
// # What it does not do
//
// It deletes nothing but what expired of limits, replays and idempotency, and what is
// pruned of credits and webhooks, so tables grow with keys, events and entries. It makes no
// backups.
package pgstore
