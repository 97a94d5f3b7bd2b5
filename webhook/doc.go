// Package webhook signs webhooks, verifies them, and delivers them: from a queue
// that survives crashes, fair between receivers, to addresses that are safe to
// call. The three parts can be used apart. Messages are signed as Standard
// Webhooks describes, as the large providers do, or in the way of a [Scheme] of
// your own.
//
// Sending:
//
//	sealing, err := webhook.SealingKeyFromString(os.Getenv("WEBHOOK_SEALING")) // GenerateSealingKey(1).Reveal(), made once
//	sender, err := webhook.NewSender(db.Webhooks(nil), []webhook.SealingKey{sealing}, nil) // or NewMemoryStore(nil)
//	go sender.Run(ctx)
//	...
//	made, err := sender.CreateEndpoint(ctx, webhook.EndpointSpec{
//		Account: "acct_1", Settings: webhook.Settings{URL: "https://example.com/hooks"},
//	}) // made.Secret.Reveal() goes to the receiver, once
//	...
//	_, err = sender.Publish(ctx, webhook.Message{Account: "acct_1", Type: "image.created", Payload: body})
//
// Receiving, with each message handled once:
//
//	secret, err := webhook.SecretFromString(os.Getenv("WEBHOOK_SECRET"))
//	keys, err := webhook.NewKeys(webhook.Key{Secret: secret})
//	verifier, err := webhook.NewVerifier(keys, nil)
//	replays, err := webhook.NewMemoryReplayStore(nil) // or that of a store package, for several processes
//	handler, err := verifier.Handler(next, &webhook.HandlerOptions{Replay: replays})
//
// [Signer] and [Verifier] are there without the rest, for bytes and headers of any
// origin; so is [SafeTransport], for every request of yours to an address that
// somebody else has chosen.
//
// # Schemes
//
// A [Key] carries its [Scheme]: Standard Webhooks unless it says otherwise, with a
// secret that both sides hold (v1) or a key pair (v1a); Stripe's, GitHub's, Slack's,
// Shopify's, Paddle's, Twilio's; HTTP Message Signatures (RFC 9421); or one that you
// describe. A set may hold keys of several: the signer writes the headers of each,
// and the verifier accepts a message that is good by one of them. That is how
// receivers move from one scheme to another one by one.
//
// # Keys
//
// [Keys.Rotate] puts a new key in front and ends the others after a time of
// grace. Rotate on the receiving side first. [Verified] names the key that
// matched, so that an old one that no longer appears can go; SetKeys on
// [Signer] and [Verifier] brings a new set in without a restart. For endpoints
// [Sender.RotateSecret] does it, and their keys are sealed wherever they are
// stored.
//
// # Delivery
//
// [Sender.Publish] files a message and one delivery for each endpoint of the account
// that takes its type, in one step; [Sender.PublishIn] does so inside a transaction of
// yours, so that a message is sent exactly when what it tells of was committed. From then
// on it is delivered at least once: a message keeps its id through all attempts, and
// each attempt is signed anew when it is made, with the time of that attempt.
//
// An answer of 2xx is a delivery, everything else is a failure, redirects included.
// After a failure the next attempt follows the schedule of [StandardSchedule], with
// jitter, or that of the endpoint; ten attempts over three days, then the delivery is
// dead until [Sender.Resend] or [Sender.RecoverSince]. A Retry-After holds back the whole
// endpoint, as does the breaker, which opens on five failures in a row or when half
// of ten or more attempts within five minutes fail, and then tries one at a time; neither uses up attempts.
// An answer of 410, of "webhook-delivery: disable", or five days of nothing but failures
// disable the endpoint: its messages are held, and go out when it is enabled again.
// Enabling also ends whatever held the endpoint back; what waits for a step of the
// schedule goes on waiting for it, and what is dead stays so until it is recovered.
//
// Endpoints share nothing but the process: each is asked in turn, with at most
// MaxInFlight attempts over all processes, so that a receiver that is slow or gone
// delays nobody else.
//
// The verbs of a Sender act on any endpoint: whether the caller may is for the host to
// say. Nothing removes what was delivered but [Sender.Prune].
//
// # Errors
//
// A denial is an error: Verify returns [Verified] only with a nil error. Each
// matches one of the Err variables below by errors.Is. Its text is for the
// operator and says what to look at; what the handler tells the sender is the
// same whatever was wrong. Constructors report all faults of their arguments at
// once, with the code Invalid.
//
// # Concurrency
//
// [Signer], [Verifier], [Sender], [SafeTransport], the stores and the handler may be
// used by any number of goroutines and must not be copied. [Secret], [Key] and [Keys]
// are values that do not change. Only [Sender.Run] starts goroutines, and it ends them
// before it returns.
//
// # Time
//
// Timestamps are whole seconds and may be off by the tolerance on either side.
// A key is live before its NotAfter and expired from that instant on. A
// verifier reads its clock once for each decision: whether the headers are
// worth reading the body for, and whether the whole message is good. It takes
// another clock in its options; a replay store uses its own, and so does the store
// of a sender, so that processes whose clocks differ agree about what is due.
//
// # Security
//
// What is accepted has one spelling: one line for each header; an id of
// letters, digits, '_' and '-', since a dot would let a part of the body pass
// for a part of the id; a timestamp of plain digits that is hashed as it came;
// at most 16 signatures. All of it is bounded before it is read, and nothing is
// hashed, nor a body read, before it holds. All live keys are tried against all
// signatures in constant time. Secrets have at least 24 bytes, and redact
// themselves wherever they are printed. A zero [Secret], [Keys], [Signer], [Verifier],
// [Reader] or [SafeTransport] refuses.
//
// A valid signature can be sent again by whoever saw it, for as long as the
// tolerance lasts (for ever where the scheme has no timestamp), and an honest sender
// repeats what it believes was lost: only a [ReplayStore] makes each message be
// handled once. What it goes by is always signed: the id, or all that is signed.
//
// Whoever may name an endpoint names an address that your machines will call.
// [SafeTransport] looks at each address that is dialled, after the name was resolved,
// and refuses what is not public; it follows no redirect, uses no proxy from the
// environment, and bounds what it reads and for how long. What receivers answer is
// kept from those who could have forged their address, unless [SenderOptions.KeepBody]
// says so.
//
// # What it does not do
//
// It decodes no payload. It delivers at least once and never exactly once, and in no
// order unless an endpoint is Ordered. It writes to nobody that an endpoint was
// disabled: that is for a [SenderObserver]. [MemoryStore] and [MemoryReplayStore] lose
// everything with their process; see stores/sqlitestore, stores/pgstore and
// stores/redisstore for those that do not. docs/webhooks.md says what becomes of a
// message on its way and what it costs, docs/webhooks-defects.md which defects of
// other libraries and services are tests here.
package webhook
