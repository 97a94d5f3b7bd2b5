-- Schema version 2. What was decided about all keys of an owner, the events of
-- keys and owners, and of a key its label, its epoch and how it came.


-- Owners: what package apikey calls an Owner. There is a row for everybody who
-- has a key, an event or a decision.
CREATE TABLE owners (
	id               TEXT    NOT NULL PRIMARY KEY,
	epoch            INTEGER NOT NULL DEFAULT 1 CHECK (epoch >= 1), -- keys of an earlier one are revoked
	revoked_reason   TEXT    NOT NULL DEFAULT '',
	suspended        INTEGER NOT NULL DEFAULT 0 CHECK (suspended IN (0, 1)),
	suspended_reason TEXT    NOT NULL DEFAULT '',
	changed_at       INTEGER,                                         -- of the last decision
	version          INTEGER NOT NULL DEFAULT 0 CHECK (version >= 0), -- counts the decisions
	events           INTEGER NOT NULL DEFAULT 0 CHECK (events >= 0),  -- seq of the last event
	head             BLOB    NOT NULL DEFAULT x'0000000000000000000000000000000000000000000000000000000000000000'
		CHECK (length(head) = 32) -- sum of the last event
) STRICT, WITHOUT ROWID;

INSERT INTO owners (id) SELECT DISTINCT owner FROM keys;


-- API keys, anew: a column with a reference cannot be added to a table.
ALTER TABLE keys RENAME TO keys_1;

CREATE TABLE keys (
	id               TEXT    NOT NULL PRIMARY KEY,
	handle           TEXT    NOT NULL UNIQUE, -- finds the key, proves nothing
	digest_version   INTEGER NOT NULL CHECK (digest_version BETWEEN 0 AND 4294967295),
	digest           BLOB    NOT NULL CHECK (length(digest) = 32),
	imported_scheme  TEXT    NOT NULL, -- how the text of a key from elsewhere is proven,
	imported_encoded TEXT    NOT NULL, -- until its first use; both empty otherwise
	owner            TEXT    NOT NULL REFERENCES owners (id),
	epoch            INTEGER NOT NULL CHECK (epoch >= 1), -- the owner's when the key was made
	label            TEXT    NOT NULL, -- the name, while it must be the owner's only one
	name             TEXT    NOT NULL,
	environment      TEXT    NOT NULL,
	scopes           TEXT    NOT NULL, -- separated by spaces
	metadata         TEXT    NOT NULL CHECK (json_valid(metadata)),
	settings         TEXT    NOT NULL CHECK (json_valid(settings)),
	networks         TEXT    NOT NULL, -- CIDRs separated by spaces
	created_at       INTEGER NOT NULL,
	secret_at        INTEGER NOT NULL, -- when the present text was made
	expires_at       INTEGER,
	last_used_at     INTEGER,
	state            TEXT    NOT NULL CHECK (state IN ('active', 'disabled', 'revoked', 'deleted')),
	revoked_reason   TEXT    NOT NULL,
	start            TEXT    NOT NULL, -- what may be shown of the key's text
	last4            TEXT    NOT NULL,
	meter            TEXT    NOT NULL,
	predecessor      TEXT    NOT NULL,
	successor        TEXT    NOT NULL,
	intent           BLOB    CHECK (length(intent) = 32), -- hash of what was asked for, under a request id
	sealed           BLOB,                                -- secrets bound to the key, encrypted
	reminded_expiry  INTEGER NOT NULL, -- microseconds; the tightest thresholds that
	reminded_age     INTEGER NOT NULL, -- reminders were given for, 0 for none
	version          INTEGER NOT NULL CHECK (version > 0),
	-- Nothing proves a deleted key, neither a digest nor an import.
	CHECK (state <> 'deleted' OR digest_version = 0 AND imported_scheme = '' AND imported_encoded = ''
		AND digest = x'0000000000000000000000000000000000000000000000000000000000000000')
) STRICT;

INSERT INTO keys
	SELECT id, handle, iif(state = 'deleted', 0, digest_version), iif(state = 'deleted', zeroblob(32), digest), '', '',
		owner, 1, '', name, environment, scopes, metadata, settings, networks, created_at, created_at, expires_at,
		last_used_at, state, revoked_reason, start, last4, meter, predecessor, successor, NULL, NULL, 0, 0, version
	FROM keys_1;

DROP TABLE keys_1;

-- A label is taken once of all keys that an owner has made since all were revoked.
CREATE UNIQUE INDEX keys_by_label ON keys (owner, epoch, label) WHERE label <> '';

-- Listings, newest first and soonest first, of everybody and of one owner. What
-- they ask for most, beside the order, is there to skip keys without reading them.
CREATE INDEX keys_by_age ON keys (created_at, id, state, secret_at, successor);
CREATE INDEX keys_by_owner ON keys (owner, created_at, id, state, secret_at, successor);
CREATE INDEX keys_by_end ON keys (expires_at, id) WHERE expires_at IS NOT NULL;
CREATE INDEX keys_by_owner_and_end ON keys (owner, expires_at, id) WHERE expires_at IS NOT NULL;

-- What a bound on the number of keys counts, and a census.
CREATE INDEX keys_that_count ON keys (owner, state, epoch, expires_at) WHERE successor = '';
CREATE INDEX keys_by_proof ON keys (digest_version, imported_scheme, state) WHERE state <> 'deleted';


-- Events: what package apikey calls an Event. Each owner's are a chain: sum is a
-- hash of the event and of the sum before.
CREATE TABLE events (
	owner    TEXT    NOT NULL REFERENCES owners (id),
	seq      INTEGER NOT NULL CHECK (seq > 0), -- 1, 2, 3, ... of the owner
	at       INTEGER NOT NULL,
	kind     TEXT    NOT NULL CHECK (kind <> ''),
	key      TEXT    NOT NULL, -- a key's id
	actor    TEXT    NOT NULL,
	actor_ip TEXT    NOT NULL,
	changes  TEXT    NOT NULL CHECK (json_valid(changes)), -- [{"field":…,"before":…,"after":…},…]
	note     TEXT    NOT NULL,
	count    INTEGER NOT NULL,
	sum      BLOB    NOT NULL CHECK (length(sum) = 32),
	PRIMARY KEY (owner, seq)
) STRICT, WITHOUT ROWID;

-- Listings of everybody's events, which also look at the kind, and of one key's.
CREATE INDEX events_by_time ON events (at, owner, seq, kind);
CREATE INDEX events_of_key ON events (key, at, owner, seq) WHERE key <> '';
CREATE INDEX events_of_key_of_owner ON events (owner, key, seq) WHERE key <> '';

-- What was written stays written, and the next comes right after the last.
CREATE TRIGGER events_follow BEFORE INSERT ON events
WHEN new.seq <> 1 + coalesce((SELECT max(seq) FROM events WHERE owner = new.owner), 0)
BEGIN SELECT raise(ABORT, 'events have no gap and come once'); END;
CREATE TRIGGER events_stay BEFORE UPDATE ON events
BEGIN SELECT raise(ABORT, 'events are never changed'); END;
CREATE TRIGGER events_last BEFORE DELETE ON events
BEGIN SELECT raise(ABORT, 'events are never deleted'); END;

-- Keys that were revoked with their owner do not come back.
CREATE TRIGGER owners_go_forward BEFORE UPDATE ON owners WHEN new.epoch < old.epoch OR new.events < old.events
BEGIN SELECT raise(ABORT, 'the epoch and the events of an owner never fall'); END;
CREATE TRIGGER owners_last BEFORE DELETE ON owners
BEGIN SELECT raise(ABORT, 'owners are never deleted'); END;
