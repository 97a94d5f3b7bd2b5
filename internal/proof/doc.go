// Package proof holds the stores of credits against each other and against the
// core of the ledger, and the ready handlers against what they say of themselves,
// with what neither may depend on.
//
// It has five proofs. The stores agree: long runs of random commands, one by one
// and in batches, come to the same receipts and refusals, journals and rows in
// memory, in SQLite and in PostgreSQL. And they are linearizable: histories of
// callers at once, with faults whose outcome nobody knows, are checked by
// Porcupine against the ledger in memory, one command after the other. And what a
// gate has set aside is settled by another process than the one that was killed.
// And the handlers of packages management, on SQLite, and selfservice answer as
// their OpenAPI descriptions say: libopenapi-validator checks those, and every kind
// of answer that they name is asked for and checked. And two instances of a gate over
// HTTP, in every place that a fleet may keep its state, give nothing twice to a
// crowd that asks at once, hold nothing of what a store that hangs or is killed left
// undecided, and charge each request once, wherever a process is killed.
//
// The runs that CI makes are short. make ledgers makes long ones:
// KEYTOLL_LEDGER_STEPS and KEYTOLL_LEDGER_HISTORIES say how long, and
// KEYTOLL_LEDGER_SEED which.
package proof
