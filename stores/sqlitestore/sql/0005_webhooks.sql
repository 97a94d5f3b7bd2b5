-- Schema version 5. Webhooks: what is sent, and which messages were received. The
-- names begin with webhook_, so that tables of the host's own have room beside them.


-- Endpoints: where the messages of an account go. What is not searched by is JSON.
CREATE TABLE webhook_endpoints (
	id         TEXT    NOT NULL PRIMARY KEY CHECK (id <> ''),
	account    TEXT    NOT NULL,
	state      INTEGER NOT NULL CHECK (state BETWEEN 1 AND 3), -- active, disabled, deleted
	reason     INTEGER NOT NULL CHECK (reason >= 0),           -- what disabled it
	created_at INTEGER NOT NULL,
	updated_at INTEGER NOT NULL,
	events     TEXT    NOT NULL CHECK (events = '' OR json_valid(events)), -- the types that it takes; empty: all
	settings   TEXT    NOT NULL CHECK (json_valid(settings)),              -- all others
	health     TEXT    NOT NULL CHECK (health = '' OR json_valid(health)), -- empty: healthy
	sealed     BLOB
) STRICT;

CREATE INDEX webhook_endpoints_of_account ON webhook_endpoints (account, id) WHERE state < 3;
CREATE INDEX webhook_endpoints_deleted ON webhook_endpoints (id) WHERE state = 3;


-- Messages: each payload once, however many endpoints take it.
CREATE TABLE webhook_messages (
	seq          INTEGER PRIMARY KEY,
	id           TEXT    NOT NULL UNIQUE CHECK (id <> ''),
	account      TEXT    NOT NULL,
	type         TEXT    NOT NULL,
	endpoint     TEXT    NOT NULL, -- the one that it goes to; empty: all that take it
	content_type TEXT    NOT NULL,
	at           INTEGER NOT NULL,
	deliveries   INTEGER NOT NULL CHECK (deliveries >= 0),
	payload      BLOB    NOT NULL
) STRICT;

CREATE INDEX webhook_messages_by_age ON webhook_messages (at);


-- Deliveries: one message on its way to one endpoint. Those of one message were
-- filed together, in the order of their endpoints.
CREATE TABLE webhook_deliveries (
	seq        INTEGER PRIMARY KEY AUTOINCREMENT, -- never used again
	message    INTEGER NOT NULL REFERENCES webhook_messages (seq),
	endpoint   TEXT    NOT NULL REFERENCES webhook_endpoints (id),
	state      INTEGER NOT NULL DEFAULT 1 CHECK (state BETWEEN 1 AND 5), -- pending, sending, delivered, dead, dropped
	due        INTEGER, -- when the next attempt may begin
	tries      INTEGER NOT NULL DEFAULT 0,  -- attempts begun
	attempt    INTEGER NOT NULL DEFAULT 0,  -- of them in this schedule
	token      TEXT    NOT NULL DEFAULT '', -- whose attempt is being made
	lease      INTEGER,                     -- until when
	failure    INTEGER NOT NULL DEFAULT 0 CHECK (failure >= 0), -- of the last attempt
	manual     INTEGER NOT NULL DEFAULT 0 CHECK (manual IN (0, 1)),
	created_at INTEGER NOT NULL,
	ended_at   INTEGER,
	UNIQUE (message, endpoint),
	CHECK (state > 2 OR due IS NOT NULL),
	CHECK (state <> 2 OR lease IS NOT NULL)
) STRICT;

-- What a claim costs must not grow with what waits: the first index gives the next
-- endpoint with something waiting, and what of it is due first; the second the same
-- of attempts, and how many are being made.
CREATE INDEX webhook_deliveries_waiting ON webhook_deliveries (endpoint, due) WHERE state = 1;
CREATE INDEX webhook_deliveries_sending ON webhook_deliveries (endpoint, lease) WHERE state = 2;
CREATE INDEX webhook_deliveries_by_state ON webhook_deliveries (endpoint, state, seq, created_at);


-- Attempts: what came of each try.
CREATE TABLE webhook_attempts (
	delivery    INTEGER NOT NULL REFERENCES webhook_deliveries (seq),
	number      INTEGER NOT NULL CHECK (number > 0),
	at          INTEGER NOT NULL,
	took        INTEGER NOT NULL, -- in nanoseconds
	failure     INTEGER NOT NULL CHECK (failure >= 0), -- 0: delivered
	status      INTEGER NOT NULL,
	retry_after INTEGER NOT NULL, -- in nanoseconds
	control     INTEGER NOT NULL CHECK (control >= 0),
	detail      TEXT    NOT NULL,
	location    TEXT    NOT NULL,
	address     TEXT    NOT NULL,
	body        BLOB,
	PRIMARY KEY (delivery, number)
) STRICT, WITHOUT ROWID;


-- What was written stays written.
CREATE TRIGGER webhook_messages_stay BEFORE UPDATE ON webhook_messages
BEGIN SELECT raise(ABORT, 'messages are never changed'); END;
CREATE TRIGGER webhook_attempts_stay BEFORE UPDATE ON webhook_attempts
BEGIN SELECT raise(ABORT, 'attempts are never changed'); END;
CREATE TRIGGER webhook_deliveries_stay BEFORE UPDATE OF seq, message, endpoint, created_at ON webhook_deliveries
BEGIN SELECT raise(ABORT, 'a delivery stays that of its message and its endpoint'); END;


-- Replays: messages that were received, and are being handled or were. One may be
-- deleted from the instant its time is over.
CREATE TABLE webhook_replays (
	key   BLOB    NOT NULL PRIMARY KEY CHECK (length(key) > 0),
	owner TEXT    NOT NULL, -- who is handling it; empty: it is done
	until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX webhook_replays_by_end ON webhook_replays (until);
