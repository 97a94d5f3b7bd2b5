// Package webhook signs webhooks and verifies them as Standard Webhooks v1
// describes: HMAC-SHA-256 over "{id}.{timestamp}.{body}", with a set of keys on
// each side so that a secret can be replaced while messages flow.
//
// Sending:
//
//	secret := webhook.GenerateSecret() // secret.Reveal() goes to the receiver
//	keys, err := webhook.NewKeys(webhook.Key{ID: "2026-01", Secret: secret})
//	signer, err := webhook.NewSigner(keys, nil)
//	...
//	err = signer.Sign(req.Header, webhook.NewID(), time.Now(), body)
//
// Receiving, with each message handled once:
//
//	secret, err := webhook.SecretFromString(os.Getenv("WEBHOOK_SECRET"))
//	keys, err := webhook.NewKeys(webhook.Key{Secret: secret})
//	verifier, err := webhook.NewVerifier(keys, nil)
//	replays, err := webhook.NewMemoryReplayStore(nil)
//	handler, err := verifier.Handler(next, &webhook.HandlerOptions{Replay: replays})
//
// [Verifier.Verify] and [Verifier.VerifyRequest] are there without the handler.
// A message keeps its id through all attempts; each attempt is signed anew when
// it is sent, with the time of that attempt.
//
// # Keys
//
// [Keys.Rotate] puts a new key in front and ends the others after a time of
// grace. Rotate on the receiving side first. [Verified] names the key that
// matched, so that an old one that no longer appears can go; SetKeys on
// [Signer] and [Verifier] brings a new set in without a restart.
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
// [Signer], [Verifier], [MemoryReplayStore] and the handler may be used by any
// number of goroutines and must not be copied. [Secret], [Key] and [Keys] are
// values that do not change. Nothing here starts a goroutine.
//
// # Time
//
// Timestamps are whole seconds and may be off by the tolerance on either side.
// A key is live before its NotAfter and expired from that instant on. A
// verifier reads its clock once for each decision: whether the headers are
// worth reading the body for, and whether the whole message is good. It takes
// another clock in its options; a replay store uses its own.
//
// # Security
//
// What is accepted has one spelling: one line for each header; an id of
// letters, digits, '_' and '-', since a dot would let a part of the body pass
// for a part of the id; a timestamp of plain digits that is hashed as it came;
// at most 16 signatures of strict base64. All of it is bounded before it is
// read, and nothing is hashed, nor a body read, before it holds. All live keys
// are tried against all signatures in constant time. Secrets have 24 to 64
// bytes, and redact themselves wherever they are printed. Zero values refuse.
//
// A valid signature can be sent again by whoever saw it, for as long as the
// tolerance lasts, and an honest sender repeats what it believes was lost: only
// a [ReplayStore] makes each message be handled once.
//
// # What it does not do
//
// It does not deliver, retry or decode messages, and it signs neither the
// address nor any other header. Asymmetric signatures (v1a) are passed over.
// How long a body may take to arrive is for the server to say, in
// [http.Server.ReadTimeout].
package webhook
