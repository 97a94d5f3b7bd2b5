// Package benchcmp puts the packages of this repository beside others that do
// the same work, in one run on one machine with one set of keys. It is a module
// of its own, so that nobody who uses the library carries the peers.
//
// # Running it
//
//	make limits                                        # limiters: writes docs/limits.md, about an hour
//	make webhooks                                      # signing and verifying: writes docs/webhooks.md
//	make gate                                          # whole requests: writes docs/gate.md
//	cd internal/benchcmp
//	go test ./...                                      # each peer decides as it should
//	go test -run='^$' -bench='Prove|Sign|Verify|Hostile' -count=6 | tee new.txt
//	go test -run='^$' -bench='Limit/keys=10000/' -benchtime=200ms
//	go test -short -run='^$' -bench=. -benchtime=10x   # does each of them run at all
//
// The largest tables hold 10^6 keys and up to 2 GiB; -short leaves them out. Those
// of BenchmarkState with 10^7 keys, up to 8 GiB, are measured with -large only. A
// machine that does something else at the same time spoils the figures. To see
// each column divided by the first:
//
//	benchstat -row .name,/keys,/limits,/size,/mode -col /peer new.txt
//
// # Reading it
//
// Absolute figures belong to the machine. What counts are ratios within one
// run: each table begins with peer=floor, the least work that could do, and every
// other column divided by it is the price of everything else. The floors are:
//
//   - Limit, LimitRefused: a map in 256 shards with one int64 for each key,
//     counted up under the shard's lock. It has no clock: what is used up stays so.
//   - Redis: a PING, and a script that returns 1, by each client. They have no
//     keys, and for three limits they are asked three times.
//   - Sign, Verify: HMAC-SHA-256 with a reused state over the same bytes, once for
//     each key.
//   - Prove: the same over the key's text, and one look-up in a map that nobody
//     writes.
//
// keys=1 is one hot key, where locks and caches are fought over; keys=1000000
// does not fit a cache, and memory decides. mode=serial is one goroutine,
// mode=parallel one for each core on the same tables. B/key is the heap that
// one tracked key takes, all in: the text of the key, too, where it is kept.
// ms/GC is a full collection with nothing but that table in the heap, the least
// of three.
//
// limits=3 holds each key to three limits of one kind. peer=keytoll decides them
// in one atomic step; the others are asked in turn, one limiter for each limit,
// which a refusal leaves half done.
//
// The peers do not all do the same. A token bucket, GCRA and a fixed window cost
// differently; x/time/rate is one limiter, here put in a map in 256 shards that
// forgets nothing; the map of throttled has no bound and one lock; the token
// buckets of mennanov/limiters are found by its registry; of tollbooth it is the
// limiter without the middleware. httprate decides for a response only:
// peer=httprate is that, without the headers, and peer=httprate-counter the
// counter below it, counted up in the same way. Of stripe-go, Sign is the bare
// MAC, and Verify checks no future timestamp.
// peer=keytoll-headers sets all three headers of a new request, keytoll-stripe
// signs and verifies as stripe-go does, and keytoll-plain keeps keys without a
// pepper.
//
// keys=3 of Sign and Verify is a change of keys: all three sign, and what is
// verified was signed with the last. Libraries without sets of keys are asked once
// for each, and stop at the first that matches; keytoll tries all, in constant
// time. Hostile is a header of 1 MiB, of which nothing is right.
//
// # What the official libraries of webhooks accept
//
// TestWeAreOnlyStricterThanTheOfficialLibraries asks those of Standard Webhooks,
// Svix and Stripe and us about the same messages. Longer runs, and others:
//
//	KEYTOLL_WEBHOOK_SAMPLES=1000000 KEYTOLL_WEBHOOK_SEED=7 go test -run=OfficialLibraries -v .
//
// # The gate
//
// peer=floor is the handler alone. handwritten is the SHA-256 of the key and one
// look-up in a map, and handwritten-httprate that with one window; on a server of a
// fleet the look-up and the debit are statements, and the window stays in the
// process. Over loopback the client writes texts that were made before, and reads
// no more of an answer than it must; p50-ns and p99-ns are what one of 64
// connections waits for an answer while the others wait for theirs. trips/op is how
// often a server went to PostgreSQL or Redis, in the background too.
//
// # Redis
//
// The server is a process of its own on this machine, without persistence, so
// that nothing waits for a disk or a network: what is left is the work of the
// client and the server, which share the cores. The name of a peer ends with the
// client below it; go-redis and redigo have 64 connections, rueidis puts all
// callers on few. callers=64 are as many goroutines, and ops/s is what all of
// them get together. For limits=3 the peers are asked three times, which is three
// round trips or more; peer=keytoll makes one.
//
// peer=window-rueidis stands for rueidislimiter, which the Go module proxy does not
// serve: a fixed window with the same commands in its script, written for this
// comparison. throttled gives up after ten lost races for a key, which most
// callers of one hot key lose; it is told to go on.
//
// # What keeps it honest
//
// Each table is filled before the clock starts, each call takes a key drawn at
// random, all with the same chance, the same ones for each peer, and each answer
// is looked at: a limiter that refuses or a verifier that does not accept ends
// the run, and so do keys that do not vary. The tests prove that the same values
// refuse what they should, so that no figure is that of an early return.
package benchcmp
