// Package sqlitestore keeps API keys, credits, rate limits, webhooks and the answers to
// requests with an Idempotency-Key in one SQLite file: the durable default for a service that runs on one machine. The driver
// is pure Go, so nothing needs a C compiler.
//
//	db, err := sqlitestore.Open("keytoll.db", nil)
//	if err != nil {
//		return err
//	}
//	defer db.Close(context.Background())
//	if err := db.Migrate(ctx); err != nil {
//		return err
//	}
//	keys, err := apikey.NewService(db.Keys(), format, nil)
//	ledger, err := credits.NewLedger(db.Credits(), nil)
//	limiter, err := ratelimit.NewLimiter(db.Limits(), limits, nil)
//	sender, err := webhook.NewSender(db.Webhooks(), sealing, nil)
//	handler, err := verifier.Handler(next, &webhook.HandlerOptions{Replay: db.Replays()})
//	answers := &middleware.IdempotencyOptions{Store: db.Idempotency()}
//
// The stores hold no rule of keys, credits, limits or deliveries: those are in the
// packages apikey, credits, ratelimit and webhook. The file holds the constraints behind them: amounts are
// never negative, the parts of an account and of a lot sum to what was issued
// and is owed, only lot 0 owes, a handle and an op id are used once, a hold ends once
// (but for a late capture, and a lease whose owner is heard after all), a denied debit
// stays denied, an op is deleted only if its id tells its age and it is not open, an
// account, a lot and a journal entry are never deleted, and an entry is never
// changed; a label is taken once by an owner, nothing proves a
// deleted key, an owner's epoch never falls, and the events of an owner have no
// gap and are never changed or deleted; a webhook message is never changed, goes to an
// endpoint once, and is not deleted while it is on its way; an attempt is never
// changed. A write that would break one fails with
// code Corrupt and changes nothing. The tables are described in the sql folder of
// this package; other programs may read them while the service runs.
//
// # Durability
//
// A call that writes returns nil only after its transaction is committed. With
// [Full], the default, that means it is on the disk: it survives kill -9, a
// crash of the machine and a loss of power, if the disk keeps what it says it
// has kept. With [Normal] a crash of the machine or a loss of power may take
// the last transactions, all of each; kill -9 takes nothing.
//
// Writes that wait at the same time share one transaction and one wait for the
// disk, each in a savepoint of its own: one that fails undoes itself and hurts
// no other. When the commit fails they all fail with code Unavailable, refused
// ones too, because their refusal may rest on what was undone. After such an
// error it can, rarely, still turn out that the transaction is there once the
// machine has crashed and the file is recovered: repeat the command with the
// same id, and the ledger tells.
//
// A [credits.Batcher] over [DB.Credits] goes further: the commands that wait become
// one write, which reads and writes each account once.
//
//	batcher, err := credits.NewBatcher(db.Credits(), nil)
//	ledger, err := credits.NewLedger(batcher, nil)
//
// What a command costs does not depend on how many entries, ops and accounts the
// file holds, but for the depth of its indexes.
//
// # Upgrades
//
// [DB.Migrate] brings a file of any older version to the present one and keeps
// every row. From version 4 on journals have a chain of hashes; an older journal
// gets one then, all in one transaction, which reads and writes the whole of it and
// takes as much room again on the disk.
//
// # Concurrency
//
// Everything is safe for concurrent use. One connection writes, others read,
// each call as of one moment; neither waits for the other. Several processes on
// one machine may use the same file: they take turns, and a write that got no
// turn within [Options.BusyTimeout] fails with code Unavailable. The file must
// be on a local file system; a write-ahead log does not work over a network.
//
// A context that ends withdraws a call that still waits for its turn. A write
// that has begun is finished, and its outcome is told as it is, even if that
// takes longer than the context. A function given to a method of the credits
// store must not call the store: it could wait for itself.
//
// # Limits
//
// [DB.Limits] is for limits that several processes of one machine share, or that
// must outlast them: a day's quota does not begin again because a program did.
// Where neither matters, [ratelimit.MemoryStore] decides without a disk.
// Every take is a write: it is on the disk, as a debit is, before it is allowed.
// A refused take and a repeated settlement change no byte and wait for no disk;
// a peek does not wait for the writer either.
//
// All limits of a request are decided in one turn of the writer, at one reading
// of the clock in that turn. Processes read the same machine's clock; when it is
// put back, each state stands still until the clock has caught up (see the
// package ratelimit). The state of a [ratelimit.SlidingLog] or a
// [ratelimit.Concurrency] limit is one row of 32 bytes for each take that still
// counts, written anew with each change: choose a small Count.
//
// States that have expired are deleted as new ones are made, a few at a time, so
// that the table holds little more than the states that count. Nothing else
// bounds it: an attacker who invents subjects fills the disk, so hold invented
// subjects to a limit on something that cannot be invented.
//
// # Webhooks
//
// [DB.Webhooks] is the queue of a [webhook.Sender]. A claim is one turn of the one
// writer, so the attempts in flight to an endpoint are counted exactly, over all
// processes; one that finds nothing only reads, and holds up nobody. What it costs
// grows with the endpoints for which something waits, not with how much waits,
// was delivered or is dead. A payload is stored once, however many endpoints take
// it. Publications and settlements that wait together share a commit.
//
// [WebhookStore.In] publishes in a transaction of the host's own, with tables of the
// host's in the same file: the message is there exactly if the transaction is
// committed.
//
//	own, err := sql.Open("sqlite", "file:keytoll.db?_txlock=immediate&_busy_timeout=5000")
//	tx, err := own.BeginTx(ctx, nil)
//	_, err = tx.ExecContext(ctx, `INSERT INTO shop_orders ...`)
//	_, err = sender.PublishIn(ctx, db.Webhooks().In(tx), message)
//	err = tx.Commit()
//	sender.Wake()
//
// Call Migrate before the host makes tables of its own: a file that has tables but
// none of this package's is refused ([ErrForeign]). Give them names with a prefix
// of the host's own, so that no later version of this package comes to need one.
//
// Settings and health of an endpoint are JSON. A version of this package that adds
// a field to them adds a schema version, so an older program does not open the file
// and cannot drop the field; a row with a field that it does not know is refused
// with code Corrupt.
//
// [DB.Replays] remembers the messages that were received. A claim is a write, on
// the disk before it is granted; one that is refused changes no byte. What is over
// is deleted as others come.
//
// # Idempotency
//
// [DB.Idempotency] is an [idempotency.Store]. A claim is one turn of the one writer,
// on the disk before it is granted, so no two processes do the same; so is an answer
// before Finish returns. What is answered Running, Mismatch or Done changes no byte.
// What is over is deleted as others come, so the table holds little more than what
// counts. Nothing else bounds it: limit how often a key may ask, and how long an
// answer is kept. A full disk is code Unavailable.
//
// # Caches
//
// A file tells nobody of its changes: the store is no [apikey.Feed]. What a
// Service changes, its own cache hears at once. What another process changes is
// seen when the entry's time is over: at most [apikey.CacheOptions.Bound] later,
// which is how long a key that was revoked there may go on working here. Choose a
// Bound that may be that long, or no cache: a look-up is one row by an index, tens
// of microseconds. Services of one process can share an [apikey.MemoryFeed];
// MaxAge must not exceed Bound, since no feed knows what other processes write.
//
// # Errors
//
//   - [ErrNotMigrated], [ErrNewerSchema] and [ErrForeign] say what is wrong with
//     the tables, [ErrClosed] that [DB.Close] came first;
//   - code Unavailable: the file cannot be read or written now, because it is
//     locked, read-only, or its disk is full or fails; nothing was changed but as
//     said above;
//   - code Corrupt: the file is damaged, or no database, or a write was refused by a
//     constraint; a person must look.
//
// Messages are safe to show to a client. The driver's own error, reachable by
// errors.AsType, may name columns and files.
//
// # Time
//
// Instants are stored as microseconds since 1970, in UTC. [Options.Now] is the
// clock of credits, limits, webhooks and idempotency, read once for each update, each
// decision and each claim; it may jump. When it is put back, leases last so much longer.
//
// # Security
//
// A new file, its write-ahead log and its index are readable by their owner
// only (mode 0600); an existing file keeps its mode. Keys are stored as digests
// (see the package apikey) and secrets bound to them are sealed; everything else
// is in plain: owners, names, amounts, notes, who did what from where, and the
// subjects of limits, and the answers that are kept, with their bodies. A file from somebody else is not trusted with code: the schema may
// call no function with side effects, and the file's own structures cannot be
// overwritten by statements.
//
// # What it does not do
//
// It makes no backups; copy the file with sqlite3's .backup or VACUUM INTO,
// never with cp while it is in use. It deletes nothing but what expired of
// limits, of received webhooks and of idempotency, and what [credits.Ledger.Prune] and
// [webhook.Sender.Prune] drop, so the file grows with the journal and the events. A read that goes on for long, such as an audit of an
// account with a great journal, keeps the write-ahead log from being folded
// back meanwhile.
package sqlitestore
