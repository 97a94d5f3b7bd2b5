// Package credits is a ledger of prepaid usage credits: grants that expire,
// holds that are captured or released, debits, refunds, and a double-entry
// journal that proves where each credit went.
//
//	ledger, err := credits.NewLedger(credits.NewMemoryStore(nil), nil)
//	...
//	_, err = ledger.Grant(ctx, credits.Grant{Account: "acme", ID: "invoice-17", Amount: 100 * credits.Credit})
//	hold, err := ledger.Hold(ctx, credits.Hold{Account: "acme", ID: "request-1", Amount: 5 * credits.Credit})
//	if errors.Is(err, credits.ErrInsufficient) {
//		// ask for payment
//	}
//	// ... do the work, then spend what it really cost; the rest goes back:
//	_, err = ledger.Capture(ctx, credits.Capture{Account: "acme", Hold: hold.Op, Amount: 3 * credits.Credit})
//
// # Lots
//
// Each [Grant] is a lot of its own, that can be spent from its EffectiveAt until
// before its ExpiresAt; one with Only is for those operations alone. Lots burn
// in one total order: lower priority first, then lots with Only, then the earlier
// expiry with "never" last, then [Promo], [Plan], [Paid], then the earlier
// EffectiveAt, then the older lot. Every spend remembers the lots it used, and
// whatever comes back goes back to those lots:
//
//   - A [Hold] pins what it takes: nobody else can spend it and it cannot expire.
//     So a hold can be captured in full after its lots have expired.
//   - A [Capture] spends in the order in which the hold took; its rest, a
//     [Release] and a time-out give back to the very lots. What came from a lot that
//     has expired meanwhile expires in that step.
//   - A [Refund] unwinds a spend, the last lot first. For a lot that has expired
//     it makes a new one, that lives as long from now as the old one had left when
//     the debit or the hold was made.
//
// # Schedules
//
// A [Schedule] grants again and again: 90 000 a month on the day that the plan was
// bought on, a million a year, a thousand an hour. Nobody has to run anything for
// it. [Ledger.SetSchedule] says what becomes of periods that have begun, and of
// one that is replaced.
//
// [Ledger.SpendableAt] and [Ledger.Upcoming] tell what time alone will do, and
// [Ledger.BalanceAt] what the balance was.
//
// # Debts
//
// A hold that was made with [OverrunDebt] lets its captures spend what is not
// there. What the account owes then is the debt of lot 0. Whatever becomes
// available in a lot for everything repays at once: a grant, the rest of a hold, a
// refund. So nobody owes and has credit to spend but in lots that are for some
// operations only; and whoever owes can hold and debit nothing. A refund of what
// was spent beyond all lots lessens the debt, and what was repaid of it becomes a
// lot of the terms of the one that repaid.
//
// # Budgets, usage and prices
//
// A [Budget] bounds what an account, a key, a group of keys or an operation may
// spend and set aside: for life, or in each day, week, month or year of a zone's
// calendar. [Ledger.SetBudget] sets it; all that cover a hold, a debit or a lease
// are asked in the step that takes the credits, so they hold under any number of
// requests at once. [Receipt].Alerts tells of thresholds.
//
// [Ledger.Usage] adds up the journal by period, key and operation. A [PriceTable]
// works out what an operation costs; its version stands on every entry.
//
// # Policies and their defaults
//
//	Ids                   the caller's, once in an account across all verbs; those that begin with "@" are the ledger's
//	  retry               the first result, Replayed; one that comes while the first is decided waits for it
//	  for something else  ErrIntent
//	Clock                 the store's; where it goes back, the account's last instant
//	Grant                 effective now, never expires, priority 0, Paid, for every operation
//	  already expired     refused: ErrExpired
//	Burn order            see Lots; fixed
//	Amount 0              holds and debits of nothing are accepted; grants, refunds and schedules of nothing are not
//	Overdraft             none: no bucket is ever below zero. A debt only where a hold allows it
//	Debit                 all of it or nothing; once refused, refused for good
//	Hold                  all of it or nothing; once refused, it may be tried again
//	Open holds            Options.MaxHolds for each account; any number
//	TTL of a hold         Options.HoldTTL, 10 minutes; at most Options.MaxHoldTTL, 24 hours; NoTimeout: none
//	Extend                never shortens; until Options.MaxHoldLife after the hold was made, 7 days
//	Amount of a capture   as given; 0 spends nothing; All spends what is held
//	Rest of a capture     given back at once; Keep leaves it held
//	Capture over the hold Hold.Overrun; OverrunRefused: ErrOverHold
//	Debt                  Hold.DebtLimit, of all that the account owes after the capture; 0
//	Repayment             at once, from whatever becomes available in lots for everything
//	While in debt         holds, debits and leases of more than 0 are refused
//	Capture too late      Hold.Late; LateRefused: ErrTimedOut, and nothing is charged
//	Refund                to the very lots, what was taken last first
//	  to an expired lot   a new lot of its terms, which lives as long as it had left when it was spent from
//	  when not known      as long as the old one lived in all: of a lease that was told after its lot's end
//	  of a debt           lessens it; what was repaid becomes a lot of the terms of what repaid
//	Budgets               none. All that fit a command must have room; they refuse, unless Soft
//	  window              Total; of calendars in UTC; the one in which the hold or the debit was made is charged
//	  capture             is never refused for a budget: its work is done
//	  of Amount 0         refuses everything but what is free
//	  keys                paths: each budget of a path counts what is below it, down to 8 segments
//	  begun or changed    counts from then on, and Base; other numbers keep what was counted
//	  thresholds          none; each tells once a window, and to a retry again
//	Schedule              in UTC, for ever, Paid, priority 0; each grant ends as the next period begins
//	  periods missed      CatchUpAll: each is granted, at its own instant
//	  replaced, removed   what was due is granted by the old terms, and what was granted stays
//	  rollover            nothing; up to Rollover of a grant, for one more period
//	  made again          after its removal: grants only what begins after the last grant before
//	Zones unknown here    refused where they are set; later whatever needs one fails, until the machine knows it
//	Grant over MaxAmount  refused: ErrOverIssue; of a schedule it is cut
//	Leases                none: every command goes to the store. See Lessee
//	  size                what two flushes spend; at most one 4*LesseeOptions.Instances-th of what there is, Instances 4; from 8 of the largest spends on
//	  flush               every second; idle leases go back after two
//	  TTL                 1 minute, or four flushes; its last quarter is not spent; never beyond a lot's expiry or a budget's window
//	  unsettled           65536 spends and holds in memory; what is more goes to the store
//	  journal             none; each spend is durable before it is answered, unless Relaxed
//	  after a crash       what was not told is in suspense, until the owner tells or an operator resolves it
//	Denials               tell one source, the first in the order of Source; look Options.LookAhead ahead, 35 days
//	Records of commands   kept for ever; with Prune those of version 7 UUIDs older than 30 days go, at the least an hour
//	  ids as old, unknown refused, never done: ErrKeyTooOld
//	Due work              counts from its instant, and is posted with the next command, at most 1000 rows of a kind at once
//	Journal, lots         kept for ever
//	Prices                exact sums of integer ratios, rounded up once; what has no rate is refused
//	Usage                 a spend and a refund each when it was made, by UTC; 10 000 rows, at most 100 000
//	Forecasts             up to 10 000 rows that time changes; beyond them ErrTooFar
//	Batching              none; with a Batcher the commands that wait are merged, each account's in the order they came
//	  lanes               BatcherOptions.Lanes, 4: so many updates of the store at a time; an account has one lane
//	  batch               BatcherOptions.MaxBatch, 512 commands; in turn one of each account that waits
//	  queue               BatcherOptions.Queue, 16384 commands in each lane; beyond it ErrOverloaded
//	Pages                 100 rows, at most 1000; cursors do not grow old
//	CSV                   RFC 4180; what a spreadsheet would compute gets a quote before it
//	Seal                  all accounts, what is due posted before; signed with Ed25519, or HMAC-SHA-256 within one house
//	Statement             from the first entry to all that was sealed
//	Verify                every account, and goes on after a fault; names the first hundred; changes nothing
//
// # Idempotency
//
// A command carries an id that its caller chose, unique in its account across
// all verbs. The same id with the same intent returns the first result, with
// Replayed set, and writes nothing; this is looked at before everything else, so
// a retry succeeds whatever has happened since. The same id with another intent is
// [ErrIntent]. The intent is what the caller asked for, field by field, and
// neither the clock nor what came of it.
//
// A final capture and a release have no id: a hold has one terminal record, for
// which capture, release and time-out compete. A retry that asks for what was
// done replays; anything else is [ErrSettled] or [ErrTimedOut].
//
// A command that is refused is not recorded, so it may be tried again under its
// id, and can then succeed; all but a debit that was denied, whose record is all
// that the denial writes: a retry gets the same [*DeniedError]. Who was told "no"
// has done without, and must not be charged by a stray retry. A stray hold heals
// itself: it times out. Ids that begin with "@" are the ledger's own.
//
// Ids are kept until [Ledger.Prune] drops them, which it does only with ids that
// tell how old they are; what is that old and not known any more is
// [ErrKeyTooOld], and never done again.
//
// # Errors
//
// Commands that can never be right are refused with every fault at once, with
// code Invalid. Refusals are the package's Err values, for errors.Is; a hold or
// a debit that cannot be paid is a [*DeniedError]. What a store could not decide
// has code Unavailable unless the store says otherwise, and the outcome may be
// unknown: retry with the same id. [ErrCorrupt] means that stored records
// contradict each other, and a person must look. A refusal leaves the state
// exactly as it was, but for the record of a denied debit.
//
// # Time
//
// The store's clock decides, in UTC with microseconds, read once per command, so
// application servers need not agree. For one account time never goes back: a
// clock that jumps back is taken for the account's last instant. Nothing depends
// on a background job: grants take effect, lots expire and holds time out by time
// alone, counted in every balance and every decision, and posted to the journal,
// each at its own instant, with the next command that changes the account. When
// that is changes no result. What happens at one instant happens in this order:
// lots take effect and expire, by id; holds time out and leases lapse, by id;
// schedules grant, by id. So a hold that times out as its lot expires gives
// nothing back, and what a period leaves is settled before the next is granted.
//
// The next command pays for all that became due since the last, a thousand rows
// of each kind at a time, each in an update of its own, and is decided when all of
// it was posted; until there is one, reads and refusals work it out anew.
//
// # Accounting
//
// Every [Entry] moves an amount between two buckets of one lot: issued, pending,
// available, held, leased, consumed, expired, suspense, debt. So every command sums
// to zero, a lot is the sum of its parts, an account is the sum of its lots, and the
// journal rebuilds them all; [Ledger.Verify] proves it. Amounts are integers of a
// millionth of a credit, checked against overflow; a [Price] rounds up, once.
//
// # Audit
//
// [Ledger.Explain] tells of one command which lots paid, and why those;
// [Ledger.Entries], [Ledger.Lots], [Ledger.Holds] and [Ledger.Ops] list what there
// is, and [Ledger.WriteCSV] exports it. Each entry carries a hash of itself and of
// the one before it. [Ledger.Seal] signs the root of a tree over the last hashes of
// all accounts; whoever keeps that root can be given a [Statement], and can check
// without the ledger that it is part of what was sealed. [Ledger.Verify] finds what
// was changed behind the ledger's back, and with an old seal also what was changed
// everywhere at once.
//
// # Concurrency
//
// A [Ledger] is safe for concurrent use, also by many processes over one store.
// Commands of one account are decided one after the other: on the last credits
// exactly as many callers succeed as can be paid. [Receipt], [Entry] and [Parts] are
// values of their holder.
//
// # Batching
//
// Where many callers wait for one account, or for one disk, put a [Batcher]
// between the ledger and the store. It merges the commands that wait anyway into
// one update of the store, decides them one after the other, and tells each its own
// outcome, the same that it would have had alone. A caller who finds its lane idle
// waits for nobody. What comes beyond Queue is refused at once with
// [ErrOverloaded], so that a store which stands still does not fill the memory of
// those who call it. The commands of a batch share one reading of the clock, and one
// that is refused may leave behind what was due, posted with the others' writes.
//
// # What it does not do
//
// It knows no currencies, takes no payments and sends no invoices. [MemoryStore]
// loses everything with its process; see stores/sqlitestore and stores/pgstore for
// stores that do not. docs/leases.md says what leases cost and cannot do,
// docs/credits-defects.md which defects of other ledgers are tests here, and
// docs/credits-mutants.md how those tests were tried.
package credits
