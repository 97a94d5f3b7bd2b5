-- Schema version 4. Credits with debts, budgets, schedules, leases, restricted
-- lots, denials that stay, ops that can be pruned, and a hash chain. The tables
-- are made anew because their checks change; every row is kept.

DROP TRIGGER entries_stay;
DROP TRIGGER entries_last;
DROP TRIGGER ops_last;
DROP TRIGGER lots_last;
DROP TRIGGER accounts_last;
DROP TRIGGER holds_end_once;
DROP INDEX lots_to_burn;
DROP INDEX lots_due;
DROP INDEX ops_due;
ALTER TABLE accounts RENAME TO accounts_3;
ALTER TABLE lots RENAME TO lots_3;
ALTER TABLE ops RENAME TO ops_3;
ALTER TABLE entries RENAME TO entries_3;


-- Credit accounts. The nine amounts are the sums over the account's lots: issued
-- and debt are where credit came from, the others are where it is.
CREATE TABLE accounts (
	id          TEXT    NOT NULL PRIMARY KEY,
	version     INTEGER NOT NULL CHECK (version > 0), -- of updates that changed anything
	seq         INTEGER NOT NULL CHECK (seq >= 0),    -- of the last entry
	head        BLOB    NOT NULL CHECK (length(head) = 32), -- hash of the last entry
	last_lot    INTEGER NOT NULL CHECK (last_lot >= 0),
	at          INTEGER NOT NULL,                     -- of the last change
	issued      INTEGER NOT NULL CHECK (issued >= 0),
	pending     INTEGER NOT NULL CHECK (pending >= 0),
	available   INTEGER NOT NULL CHECK (available >= 0),
	held        INTEGER NOT NULL CHECK (held >= 0),
	leased      INTEGER NOT NULL CHECK (leased >= 0),
	consumed    INTEGER NOT NULL CHECK (consumed >= 0),
	expired     INTEGER NOT NULL CHECK (expired >= 0),
	suspense    INTEGER NOT NULL CHECK (suspense >= 0),
	debt        INTEGER NOT NULL CHECK (debt >= 0),
	holds       INTEGER NOT NULL CHECK (holds >= 0),   -- open ones
	leases      INTEGER NOT NULL CHECK (leases >= 0),  -- open ones
	budgets     INTEGER NOT NULL CHECK (budgets >= 0),
	recalled_at INTEGER, -- leases that were made before are to be returned
	pruned_to   INTEGER, -- ids that carry an earlier time are not known any more
	CHECK (issued + debt = pending + available + held + leased + consumed + expired + suspense)
) STRICT, WITHOUT ROWID;

INSERT INTO accounts
	SELECT id, version, seq, zeroblob(32), last_lot, at, issued, pending, available, held, 0, consumed, expired, 0, 0,
		(SELECT count(*) FROM ops_3 WHERE ops_3.account = accounts_3.id AND hold = 1), 0, 0, NULL, NULL
	FROM accounts_3;


-- Lots: what is left of each grant, and where the rest of it is. Lot 0 is the
-- account's debt, which no grant backs.
CREATE TABLE lots (
	account      TEXT    NOT NULL REFERENCES accounts (id),
	id           INTEGER NOT NULL CHECK (id >= 0), -- 1, 2, 3, ... within the account
	op           TEXT    NOT NULL,                 -- the grant or the refund that made it
	schedule     TEXT    NOT NULL,                 -- whose grant it is
	priority     INTEGER NOT NULL CHECK (priority BETWEEN -1000 AND 1000),
	category     INTEGER NOT NULL CHECK (category BETWEEN 0 AND 2), -- paid, plan, promo
	operations   TEXT    NOT NULL, -- what it can be spent on, a line each; empty: everything
	effective_at INTEGER NOT NULL,
	expires_at   INTEGER,
	rank         BLOB    NOT NULL CHECK (length(rank) = 28), -- place in the burn order
	due          INTEGER,                                    -- when it changes by itself
	pruned       INTEGER NOT NULL CHECK (pruned >= 0), -- of consumed, by ops that were pruned
	issued       INTEGER NOT NULL CHECK (issued >= 0),
	pending      INTEGER NOT NULL CHECK (pending >= 0),
	available    INTEGER NOT NULL CHECK (available >= 0),
	held         INTEGER NOT NULL CHECK (held >= 0),
	leased       INTEGER NOT NULL CHECK (leased >= 0),
	consumed     INTEGER NOT NULL CHECK (consumed >= 0),
	expired      INTEGER NOT NULL CHECK (expired >= 0),
	suspense     INTEGER NOT NULL CHECK (suspense >= 0),
	debt         INTEGER NOT NULL CHECK (debt >= 0),
	PRIMARY KEY (account, id),
	CHECK (issued + debt = pending + available + held + leased + consumed + expired + suspense),
	CHECK (iif(id = 0, available = 0 AND pending = 0, debt = 0))
) STRICT, WITHOUT ROWID;

-- In a rank a lot for everything has the byte 01 after its priority.
INSERT INTO lots
	SELECT account, id, op, '', priority, category, '', effective_at, expires_at,
		unhex(substr(hex(rank), 1, 4) || '01' || substr(hex(rank), 5)), due, 0,
		issued, pending, available, held, 0, consumed, expired, 0, 0
	FROM lots_3;

CREATE UNIQUE INDEX lots_to_burn ON lots (account, rank) WHERE available > 0;
CREATE INDEX lots_due ON lots (account, due, id) WHERE due IS NOT NULL;


-- Ops: one for each command that was accepted, and for each debit that was
-- denied, from which a retry is answered. Of a hold or a lease it is that itself,
-- with its one terminal record in the settled columns. A denied debit may be the
-- first that is heard of an account, so an op needs none.
-- kind: 1 grant, 3 hold, 4 capture that kept the rest, 7 debit, 8 refund, 10 lease, 13 resolve.
-- hold: 0 none, 1 open, 2 captured, 3 released, 4 timed out, 5 suspense.
-- totals: of the account, right after: issued:pending:available:held:leased:consumed:expired:suspense:debt.
CREATE TABLE ops (
	account        TEXT    NOT NULL,
	id             TEXT    NOT NULL CHECK (id <> ''),
	kind           INTEGER NOT NULL CHECK (kind IN (1, 3, 4, 7, 8, 10, 13)),
	hold           INTEGER NOT NULL CHECK (hold BETWEEN 0 AND 5),
	intent         BLOB    NOT NULL CHECK (length(intent) = 32),
	at             INTEGER NOT NULL,
	amount         INTEGER NOT NULL CHECK (amount >= 0),
	target         TEXT    NOT NULL,
	parts          TEXT    NOT NULL, -- lot:amount:captured:released:refunded;...
	charges        TEXT    NOT NULL CHECK (charges = '' OR json_valid(charges)), -- the budgets that it counts against
	terms          TEXT    NOT NULL, -- overrun:debt limit:late:epoch:owner
	totals         TEXT    NOT NULL,
	seq            INTEGER NOT NULL CHECK (seq >= 0), -- the account's last entry, right after
	key            TEXT    NOT NULL,
	operation      TEXT    NOT NULL,
	price          TEXT    NOT NULL,
	note           TEXT    NOT NULL,
	denied         INTEGER NOT NULL CHECK (denied >= 0), -- by what; 0: it was accepted
	deadline       INTEGER,
	due            INTEGER, -- when it changes by itself
	prunable       INTEGER, -- what time its id says it was made at; null: never to be deleted
	settled_at     INTEGER,
	settled_amount INTEGER NOT NULL DEFAULT 0 CHECK (settled_amount >= 0),
	settled_rest   INTEGER NOT NULL DEFAULT 0 CHECK (settled_rest >= 0),
	settled_seq    INTEGER NOT NULL DEFAULT 0 CHECK (settled_seq >= 0), -- the account's last entry, right after the end
	settled_totals TEXT    NOT NULL DEFAULT '',
	UNIQUE (account, id),
	CHECK ((kind IN (3, 10)) = (hold > 0)),
	CHECK (hold <> 5 OR kind = 10),
	CHECK (hold = 5 OR denied > 0 OR (hold > 1) = (settled_at IS NOT NULL)),
	CHECK (due IS NULL OR hold = 1),
	CHECK (prunable IS NULL OR hold NOT IN (1, 5)),
	CHECK (denied = 0 OR kind = 7)
) STRICT;

INSERT INTO ops
	SELECT account, id, kind, hold, intent, at, amount, target, parts, '', '',
		concat_ws(':', issued, pending, available, held, 0, consumed, expired, 0, 0),
		seq, key, operation, '', note, 0, deadline, due, NULL,
		settled_at, settled_amount, settled_rest, 0,
		iif(settled_at IS NULL, '', concat_ws(':', settled_issued, settled_pending, settled_available, settled_held, 0,
			settled_consumed, settled_expired, 0, 0))
	FROM ops_3 ORDER BY rowid;

-- The end of a hold is in the journal by its last entry that takes from it; one
-- of nothing is not, and ended when the account had come to the instant.
CREATE INDEX entries_3_of_ops ON entries_3 (account, op, seq) WHERE kind IN (4, 5, 6);
CREATE INDEX entries_3_by_time ON entries_3 (account, at, seq);
UPDATE ops SET settled_seq = max(seq, coalesce(
		(SELECT max(e.seq) FROM entries_3 e WHERE e.account = ops.account AND e.op = ops.id AND e.kind IN (4, 5, 6)),
		(SELECT max(e.seq) FROM entries_3 e WHERE e.account = ops.account AND e.at = (
			SELECT max(f.at) FROM entries_3 f WHERE f.account = ops.account AND f.at <= ops.settled_at)),
		0))
	WHERE hold > 1;

CREATE INDEX ops_due ON ops (account, due, id) WHERE due IS NOT NULL;
CREATE INDEX ops_prunable ON ops (account, prunable, id) WHERE prunable IS NOT NULL;
CREATE INDEX ops_open ON ops (account, id) WHERE hold IN (1, 5);
CREATE INDEX ops_of_target ON ops (account, target, id) WHERE target <> '';


-- Budgets: what may be spent in a window, and what was.
CREATE TABLE budgets (
	account      TEXT    NOT NULL REFERENCES accounts (id),
	id           TEXT    NOT NULL CHECK (id <> ''),
	key          TEXT    NOT NULL, -- whose spending counts
	operation    TEXT    NOT NULL, -- which
	amount       INTEGER NOT NULL CHECK (amount >= 0),
	every        INTEGER NOT NULL CHECK (every BETWEEN 0 AND 4), -- total, day, week, month, year
	zone         TEXT    NOT NULL,
	soft         INTEGER NOT NULL CHECK (soft IN (0, 1)),
	thresholds   TEXT    NOT NULL, -- in percent, separated by commas
	window_start INTEGER,
	window_end   INTEGER,
	base         INTEGER NOT NULL CHECK (base >= 0), -- of used, what no op accounts for
	used         INTEGER NOT NULL CHECK (used >= 0),
	held         INTEGER NOT NULL CHECK (held >= 0),
	fired        INTEGER NOT NULL CHECK (fired BETWEEN 0 AND 65535), -- bit i: threshold i was reached
	PRIMARY KEY (account, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX budgets_by_scope ON budgets (account, key, operation);


-- Schedules: grants that come again and again.
CREATE TABLE schedules (
	account    TEXT    NOT NULL REFERENCES accounts (id),
	id         TEXT    NOT NULL CHECK (id <> ''),
	amount     INTEGER NOT NULL CHECK (amount > 0),
	unit       INTEGER NOT NULL CHECK (unit BETWEEN 1 AND 5), -- hours, days, weeks, months, years
	every      INTEGER NOT NULL CHECK (every > 0),
	anchor     INTEGER NOT NULL,
	zone       TEXT    NOT NULL,
	until      INTEGER,
	catch_up   INTEGER NOT NULL CHECK (catch_up BETWEEN 0 AND 2), -- all, latest, none
	lifetime   INTEGER NOT NULL, -- in nanoseconds; 0: the period; -1: never ends
	rollover   INTEGER NOT NULL CHECK (rollover >= 0),
	priority   INTEGER NOT NULL CHECK (priority BETWEEN -1000 AND 1000),
	category   INTEGER NOT NULL CHECK (category BETWEEN 0 AND 2),
	operations TEXT    NOT NULL,
	next       INTEGER NOT NULL, -- the first period that was not granted
	due        INTEGER,          -- when that begins
	PRIMARY KEY (account, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX schedules_due ON schedules (account, due, id) WHERE due IS NOT NULL;


-- Entries: the journal. Each moves an amount between two buckets of one lot.
-- kind: as of ops, and 2 effect, 5 release, 6 timeout, 9 expire, 11 return, 12 lapse, 14 repay, 15 roll.
-- buckets: 1 issued, 2 pending, 3 available, 4 held, 5 consumed, 6 expired, 7 leased, 8 suspense, 9 debt.
-- hash: of the entry and of the hash before, see credits.Entry.Chain.
CREATE TABLE entries (
	account     TEXT    NOT NULL,
	seq         INTEGER NOT NULL CHECK (seq > 0), -- 1, 2, 3, ... within the account
	at          INTEGER NOT NULL,
	kind        INTEGER NOT NULL CHECK (kind BETWEEN 1 AND 15),
	op          TEXT    NOT NULL,
	lot         INTEGER NOT NULL,
	from_bucket INTEGER NOT NULL CHECK (from_bucket BETWEEN 1 AND 9),
	to_bucket   INTEGER NOT NULL CHECK (to_bucket BETWEEN 1 AND 9),
	amount      INTEGER NOT NULL CHECK (amount > 0),
	key         TEXT    NOT NULL,
	operation   TEXT    NOT NULL,
	price       TEXT    NOT NULL,
	hash        BLOB    NOT NULL CHECK (length(hash) = 32),
	PRIMARY KEY (account, seq),
	FOREIGN KEY (account, lot) REFERENCES lots (account, id),
	CHECK (from_bucket <> to_bucket)
) STRICT, WITHOUT ROWID;

-- The journal of version 3 is written into it by chain.go, which works out the
-- hashes, and then drops the old tables.


-- What was written stays written.
CREATE TRIGGER entries_stay BEFORE UPDATE ON entries
BEGIN SELECT raise(ABORT, 'entries are never changed'); END;
CREATE TRIGGER entries_last BEFORE DELETE ON entries
BEGIN SELECT raise(ABORT, 'entries are never deleted'); END;
CREATE TRIGGER lots_last BEFORE DELETE ON lots
BEGIN SELECT raise(ABORT, 'lots are never deleted'); END;
CREATE TRIGGER accounts_last BEFORE DELETE ON accounts
BEGIN SELECT raise(ABORT, 'accounts are never deleted'); END;

-- An op whose id tells no time could be done again if it were forgotten, and one
-- that is open is not over.
CREATE TRIGGER ops_last BEFORE DELETE ON ops WHEN old.prunable IS NULL
BEGIN SELECT raise(ABORT, 'ops that cannot be pruned are never deleted'); END;

-- A hold ends once, but for a late capture of one that had timed out, and a lease
-- in suspense of which the rest was heard.
CREATE TRIGGER holds_end_once BEFORE UPDATE ON ops
WHEN old.hold > 1 AND new.hold <> old.hold AND (old.hold, new.hold) NOT IN (VALUES (4, 2), (5, 3))
BEGIN SELECT raise(ABORT, 'a hold ends once'); END;
CREATE TRIGGER denials_stay BEFORE UPDATE ON ops WHEN new.denied <> old.denied
BEGIN SELECT raise(ABORT, 'a denied debit stays denied'); END;
