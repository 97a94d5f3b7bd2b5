-- Schema version 1. Instants are microseconds since 1970 in UTC; a null one
-- means never. Amounts are micro-credits. Text is compared byte by byte.

-- The version of this schema, in the one row that the table can hold.
CREATE TABLE schema_version (
	id      INTEGER PRIMARY KEY CHECK (id = 1),
	version INTEGER NOT NULL CHECK (version > 0)
) STRICT;


-- API keys: what package apikey calls a Record.
CREATE TABLE keys (
	id             TEXT    NOT NULL PRIMARY KEY,
	handle         TEXT    NOT NULL UNIQUE, -- finds the key, proves nothing
	digest_version INTEGER NOT NULL CHECK (digest_version BETWEEN 0 AND 4294967295),
	digest         BLOB    NOT NULL CHECK (length(digest) = 32),
	owner          TEXT    NOT NULL,
	name           TEXT    NOT NULL,
	environment    TEXT    NOT NULL,
	scopes         TEXT    NOT NULL, -- separated by spaces
	metadata       TEXT    NOT NULL CHECK (json_valid(metadata)),
	settings       TEXT    NOT NULL CHECK (json_valid(settings)),
	networks       TEXT    NOT NULL, -- CIDRs separated by spaces
	created_at     INTEGER NOT NULL,
	expires_at     INTEGER,
	last_used_at   INTEGER,
	state          TEXT    NOT NULL CHECK (state IN ('active', 'disabled', 'revoked', 'deleted')),
	revoked_reason TEXT    NOT NULL,
	start          TEXT    NOT NULL, -- what may be shown of the key's text
	last4          TEXT    NOT NULL,
	meter          TEXT    NOT NULL,
	predecessor    TEXT    NOT NULL,
	successor      TEXT    NOT NULL,
	version        INTEGER NOT NULL CHECK (version > 0)
) STRICT;

-- Listings, newest first, of everybody and of one owner.
CREATE INDEX keys_by_age ON keys (created_at, id);
CREATE INDEX keys_by_owner ON keys (owner, created_at, id);


-- Credit accounts. The six amounts are the sums over the account's lots.
CREATE TABLE accounts (
	id        TEXT    NOT NULL PRIMARY KEY,
	version   INTEGER NOT NULL CHECK (version > 0), -- of updates that changed anything
	seq       INTEGER NOT NULL CHECK (seq >= 0),    -- of the last entry
	last_lot  INTEGER NOT NULL CHECK (last_lot >= 0),
	at        INTEGER NOT NULL,                     -- of the last change
	issued    INTEGER NOT NULL CHECK (issued >= 0),
	pending   INTEGER NOT NULL CHECK (pending >= 0),
	available INTEGER NOT NULL CHECK (available >= 0),
	held      INTEGER NOT NULL CHECK (held >= 0),
	consumed  INTEGER NOT NULL CHECK (consumed >= 0),
	expired   INTEGER NOT NULL CHECK (expired >= 0),
	CHECK (issued = pending + available + held + consumed + expired)
) STRICT, WITHOUT ROWID;

-- Lots: what is left of each grant, and where the rest of it is.
CREATE TABLE lots (
	account      TEXT    NOT NULL REFERENCES accounts (id),
	id           INTEGER NOT NULL CHECK (id > 0), -- 1, 2, 3, ... within the account
	op           TEXT    NOT NULL,                -- the grant or the refund that made it
	priority     INTEGER NOT NULL CHECK (priority BETWEEN -1000 AND 1000),
	category     INTEGER NOT NULL CHECK (category BETWEEN 0 AND 2), -- paid, plan, promo
	effective_at INTEGER NOT NULL,
	expires_at   INTEGER,
	rank         BLOB    NOT NULL CHECK (length(rank) = 27), -- place in the burn order
	due          INTEGER,                                    -- when it changes by itself
	issued       INTEGER NOT NULL CHECK (issued >= 0),
	pending      INTEGER NOT NULL CHECK (pending >= 0),
	available    INTEGER NOT NULL CHECK (available >= 0),
	held         INTEGER NOT NULL CHECK (held >= 0),
	consumed     INTEGER NOT NULL CHECK (consumed >= 0),
	expired      INTEGER NOT NULL CHECK (expired >= 0),
	PRIMARY KEY (account, id),
	CHECK (issued = pending + available + held + consumed + expired)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX lots_to_burn ON lots (account, rank) WHERE available > 0;
CREATE INDEX lots_due ON lots (account, due) WHERE due IS NOT NULL;

-- Ops: one for each accepted command, from which a retry is answered. Of a hold
-- it is the hold itself, with its one terminal record in the settled columns.
-- kind: 1 grant, 3 hold, 4 capture that kept the rest, 7 debit, 8 refund.
-- hold: 0 none, 1 open, 2 captured, 3 released, 4 timed out.
CREATE TABLE ops (
	account           TEXT    NOT NULL REFERENCES accounts (id),
	id                TEXT    NOT NULL CHECK (id <> ''),
	kind              INTEGER NOT NULL CHECK (kind IN (1, 3, 4, 7, 8)),
	intent            BLOB    NOT NULL CHECK (length(intent) = 32),
	at                INTEGER NOT NULL,
	amount            INTEGER NOT NULL CHECK (amount >= 0),
	target            TEXT    NOT NULL,
	parts             TEXT    NOT NULL, -- lot:amount:captured:released:refunded;...
	seq               INTEGER NOT NULL CHECK (seq >= 0), -- the account's last entry, right after
	issued            INTEGER NOT NULL CHECK (issued >= 0), -- the account's totals, right after
	pending           INTEGER NOT NULL CHECK (pending >= 0),
	available         INTEGER NOT NULL CHECK (available >= 0),
	held              INTEGER NOT NULL CHECK (held >= 0),
	consumed          INTEGER NOT NULL CHECK (consumed >= 0),
	expired           INTEGER NOT NULL CHECK (expired >= 0),
	key               TEXT    NOT NULL,
	operation         TEXT    NOT NULL,
	note              TEXT    NOT NULL,
	hold              INTEGER NOT NULL CHECK (hold BETWEEN 0 AND 4),
	deadline          INTEGER,
	due               INTEGER, -- when it changes by itself
	settled_at        INTEGER,
	settled_amount    INTEGER NOT NULL DEFAULT 0 CHECK (settled_amount >= 0),
	settled_rest      INTEGER NOT NULL DEFAULT 0 CHECK (settled_rest >= 0),
	settled_issued    INTEGER NOT NULL DEFAULT 0 CHECK (settled_issued >= 0),
	settled_pending   INTEGER NOT NULL DEFAULT 0 CHECK (settled_pending >= 0),
	settled_available INTEGER NOT NULL DEFAULT 0 CHECK (settled_available >= 0),
	settled_held      INTEGER NOT NULL DEFAULT 0 CHECK (settled_held >= 0),
	settled_consumed  INTEGER NOT NULL DEFAULT 0 CHECK (settled_consumed >= 0),
	settled_expired   INTEGER NOT NULL DEFAULT 0 CHECK (settled_expired >= 0),
	UNIQUE (account, id),
	CHECK (issued = pending + available + held + consumed + expired),
	CHECK ((kind = 3) = (hold > 0)),
	CHECK ((hold > 1) = (settled_at IS NOT NULL)),
	CHECK (due IS NULL OR hold = 1)
) STRICT;

CREATE INDEX ops_due ON ops (account, due) WHERE due IS NOT NULL;

-- Entries: the journal. Each moves an amount between two buckets of one lot.
-- kind: as of ops, and 2 effect, 5 release, 6 timeout, 9 expire.
-- buckets: 1 issued, 2 pending, 3 available, 4 held, 5 consumed, 6 expired.
CREATE TABLE entries (
	account     TEXT    NOT NULL,
	seq         INTEGER NOT NULL CHECK (seq > 0), -- 1, 2, 3, ... within the account
	at          INTEGER NOT NULL,
	kind        INTEGER NOT NULL CHECK (kind BETWEEN 1 AND 9),
	op          TEXT    NOT NULL,
	lot         INTEGER NOT NULL,
	from_bucket INTEGER NOT NULL CHECK (from_bucket BETWEEN 1 AND 6),
	to_bucket   INTEGER NOT NULL CHECK (to_bucket BETWEEN 1 AND 6),
	amount      INTEGER NOT NULL CHECK (amount > 0),
	key         TEXT    NOT NULL,
	operation   TEXT    NOT NULL,
	PRIMARY KEY (account, seq),
	FOREIGN KEY (account, lot) REFERENCES lots (account, id),
	CHECK (from_bucket <> to_bucket)
) STRICT, WITHOUT ROWID;

-- What was written stays written.
CREATE TRIGGER entries_stay BEFORE UPDATE ON entries
BEGIN SELECT raise(ABORT, 'entries are never changed'); END;
CREATE TRIGGER entries_last BEFORE DELETE ON entries
BEGIN SELECT raise(ABORT, 'entries are never deleted'); END;
CREATE TRIGGER ops_last BEFORE DELETE ON ops
BEGIN SELECT raise(ABORT, 'ops are never deleted'); END;
CREATE TRIGGER lots_last BEFORE DELETE ON lots
BEGIN SELECT raise(ABORT, 'lots are never deleted'); END;
CREATE TRIGGER accounts_last BEFORE DELETE ON accounts
BEGIN SELECT raise(ABORT, 'accounts are never deleted'); END;
CREATE TRIGGER holds_end_once BEFORE UPDATE ON ops WHEN old.hold > 1 AND new.hold <> old.hold
BEGIN SELECT raise(ABORT, 'a hold ends once'); END;
