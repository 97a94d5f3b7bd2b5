// Package apikey makes, proves and manages API keys.
//
// A [Format] says what keys look like, a [Store] keeps their records, and a
// [Service] does the rest:
//
//	format, err := apikey.NewFormat("sk", &apikey.FormatOptions{Environments: []string{"live", "test"}})
//	keys, err := apikey.NewService(apikey.NewMemoryStore(), format, nil)
//	defer keys.Close(ctx)
//
//	issued, err := keys.Create(ctx, apikey.Spec{Owner: "acct_42", Name: "CI", Environment: "live", Scopes: granted})
//	fmt.Println(issued.Secret.Reveal()) // sk_live_...: shown once, to its owner
//
//	key, err := keys.Verify(ctx, token, &apikey.VerifyOptions{IP: client})
//	if err != nil {
//		return err // ErrMalformed, ErrUnknown, ErrExpired, ...
//	}
//	// key.Owner, key.Scopes, key.Settings, key.Meter
//
// Every change of a key, and of what holds for all keys of an owner, writes an
// [Event] in the same transaction: who ([WithActor]), what, before and after. The
// events of an owner are chained, so that [Service.VerifyEvents] finds what was
// done to them since.
//
// Keys are disabled and enabled, revoked with a reason, rotated with a time of
// grace in which both keys work, and deleted, which leaves a tombstone for
// ledgers. Limits and credits are counted under Key.Meter, which rotation
// keeps.
//
// # Rotation
//
// [Service.Rotate] makes a successor with the same permissions, and both keys
// work until the grace is over. [Service.Readiness] says whether the old one is still
// used. When nobody would notice, it may end before its grace is over:
//
//	young, err := keys.Rotate(ctx, old.ID, 7*24*time.Hour)
//	// ... hand young.Secret to the holder, and a few days later:
//	r, err := keys.Readiness(ctx, old.ID)
//	if err == nil && !r.Noticed(24*time.Hour) {
//		_, err = keys.Revoke(ctx, old.ID, "rotated")
//	}
//
// [Service.RotationDue], [Service.Expiring] and [Service.Unused] list whose turn it
// is, and [Service.Remind] says so once. [Service.Regenerate] replaces the text of a
// key at once, without grace. See the examples of [Service.Rotate],
// [Service.Readiness] and [Service.Remind].
//
// # Existing keys
//
// Keys that another system made go on working: nobody needs a new one. A [Legacy]
// says how they look and how that system hashed them (package legacy has bcrypt,
// argon2id and SHA-256), and [Service.Import] takes rows of its table. With a
// Spec.RequestID in each row it can be run again. What was imported by a slow
// hash costs it once, at the first use. Keys of former formats of one's own need
// no import: see [Options.Former]. See the examples of [Service.Import].
//
// # Peppers
//
// A [Pepper] keeps a stolen table from being tested against guesses. One is adopted,
// and later another, step by step, each on all processes before the next, and no key
// dies:
//
//	Peppers: []apikey.Pepper{{}, first}      // every process knows it, none uses it
//	Peppers: []apikey.Pepper{first}          // keys move to it as they are used
//	Peppers: []apikey.Pepper{first, second}  // the next one: known everywhere ...
//	Peppers: []apikey.Pepper{second, first}  // ... before it is used
//	Peppers: []apikey.Pepper{second}         // once Census counts no key under the first
//
// A program of one process may leave out the first and the third step. See the
// example of [Service.Census].
//
// # Policy
//
// [Options.Policy] says what an owner's plan allows: how many keys, which scopes and
// settings, for how long, whether names are unique. What is given is held to it when it
// is given, also where two requests race for the last key; and scopes and settings
// at each Verify, so that a downgrade is felt at once. See [Policy] and the example of
// [Service.Create].
//
// # A leak
//
// Whoever finds a key ends it with the key alone: [Service.RevokeSelf]. Reports of
// scanners go to [Service.ReportLeak], which notes the place and does what the host
// decides, or to package secretscan, which takes them in over HTTP.
// [Service.Regenerate] gives the key a new text and leaves all else as it is, an end
// that was set because of the leak too. [Service.RevokeOwner] ends all keys of an
// owner, and [Service.SuspendOwner] stops them until [Service.RestoreOwner]. Who did
// what stands in [Service.Events]. See the examples of [Service.ReportLeak] and [Service.RevokeOwner].
//
// # Errors
//
// [Service.Verify] answers a key that it refuses with an error, never with a
// result that could be overlooked. Until the secret is proven all refusals have
// one code, [errors.Unauthenticated], and one message, so that a client cannot
// learn which keys exist; operators tell [ErrMalformed] and the causes of
// [ErrUnknown] apart by the text of the error. After proof the holder is told:
// [ErrDisabled], [ErrExpired], [ErrRevoked], [ErrSuspended], [ErrEnvironment],
// [ErrNetwork].
//
// The management verbs return [errors.Invalid] with every fault at once,
// [ErrNotFound], [ErrConflict], [ErrRotated] and [ErrIntent]. Where a key's end
// stands against what was asked, errors.Is finds [ErrRevoked] or [ErrExpired]
// under the code [errors.Conflict]. What the owner's [Policy] does not allow is
// [ErrMayNotCreate], a [LimitError], [ErrNameTaken], scopes.ErrPlan or Invalid.
//
// A store or a policy that cannot answer is [errors.Unavailable], never an invalid
// key and never leave. A write that ends so, or with the end of its context, may
// have happened.
//
// # Concurrency
//
// [Service], [Format], [MemoryStore] and [Secret] are safe for concurrent use.
// [Key] and the types in it ([Metadata], [Settings], [Networks]) are immutable
// values: copy and share them freely. Changes are compare-and-swap on
// Key.Version, tried again a few times where that makes sense, so that a change
// never undoes another that it did not see; what switches a key off insists, so
// that no flood of other changes keeps the key alive. There is no goroutine
// unless [Options.FlushEvery] or [CacheOptions.Feed] asks for one, which
// [Service.Close] ends. Slow proofs of imported keys run in the goroutine of
// their Verify, bounded by [Options.SlowProofs].
//
// # Time
//
// The clock is [Options.Now], read once for each decision. Times in keys are UTC to
// the microsecond. A key works at once, also where the clock is behind its
// CreatedAt, until just before Key.ExpiresAt: at that instant it is expired, with no
// background job. The zero ExpiresAt is never. LastUsedAt is noted in memory and
// written later, forward only, to the precision of [Options.LastUsedEvery];
// [Service.Verify] writes nothing.
//
// # Caching
//
// Without [Options.Cache] each Verify is one call of the store. With it, what was
// looked up is kept, and every Verify still proves the secret and judges state,
// expiry, environment and network anew. [CacheOptions.Bound] is a promise: no
// Verify that begins so long or longer after a change has come true goes by what
// was before.
//
// A fleet shares a store, and a feed that tells all of it what to forget: see the
// example of [CacheOptions], and package pgstore.
//
// The proof. A Verify goes by a read of the store: its own, or one that began
// before it, which is kept or still under way. One that began less than Bound
// before it began less than Bound ago, so it found every change that was as old
// as Bound. With MaxAge at most Bound no other counts, whatever happens to
// notices: ages are counted from before the read, by the monotonic clock and the
// wall, whichever says more. With a greater MaxAge an older read counts only if
// the feed has proven within Bound that it was heard, without a gap since before
// the read. Such a feed is lossless: the change was announced when it came true,
// its notice has been heard if the change is as old as Bound, and a notice takes
// away what is kept and what is being read at that moment.
//
// What is changed through this Service, or was already as a verb of it would have
// it, is felt by each Verify that begins after the verb returned, its error
// included. An error of the store is never kept; while the
// store is down, keys that are kept go on working, for MaxAge at most.
// [VerifyOptions.Fresh] goes by a read of its own.
//
// # Security
//
// Records hold a digest of the key ([Digest]), under a [Pepper] if the host has
// one, and never its text. Presenting what a record holds proves nothing. Keys
// hold at least [MinEntropy] random bits, drawn without bias, so a fast hash
// suffices and a flood of guesses costs little. Digests are compared in
// constant time, and an unknown handle takes the work of a wrong secret for a key
// of today, in the memory store and in the cache too. The time another store
// takes, and the hash of a key made under an older pepper or none, may still tell
// that a handle is known, which opens nothing. So
// does, until the first use, a key imported under a slow scheme: who names its
// handle waits for the slow proof and who names an unknown one does not, because
// otherwise anybody could make a server do slow proofs.
//
// A key that is used gets a digest under the present pepper with the next flush,
// whatever proved it: an older pepper, none, or the digest of another system.
// The environment is part of what is proven: a test key cannot be dressed as a
// live one. [Secret] does not let itself be printed. The checksum in a key
// proves nothing; it refuses typing errors and garbage before the store is
// asked.
//
// What must be read again, the secrets that are bound to keys ([Spec.Secrets]), is
// sealed under the host's [SealingKey], each for its own record: moved to another,
// or changed, it does not open. Who has both the database and the sealing key has
// the secrets; who has one of them has nothing.
//
// # Watching
//
// Refusals of Verify are counted ([FailureOptions]), and a [Detector], if there is
// one, is told from where keys are used. Both work off the path of requests, in
// memory of a fixed bound; [Service.Flush] writes what is worth an [Event].
//
// # What it does not do
//
// It does not read HTTP requests, find the client's address behind proxies, or
// enforce scopes and limits: package middleware composes that. [Service.Get]
// and the verbs that take an ID do not ask who is calling; compare Key.Owner
// before acting for a user.
package apikey
